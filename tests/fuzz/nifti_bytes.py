"""A NIfTI-1 file as bytes, and its header fields at their places; nothing here checks anything."""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

PLACES = {  # field: (byte, struct format), from nifti1.h
    "sizeof_hdr": (0, "i"),
    "dim": (40, "8h"),
    "datatype": (70, "h"),
    "bitpix": (72, "h"),
    "pixdim": (76, "8f"),
    "vox_offset": (108, "f"),
    "scl_slope": (112, "f"),
    "scl_inter": (116, "f"),
    "xyzt_units": (123, "B"),
    "qform_code": (252, "h"),
    "sform_code": (254, "h"),
    "quatern": (256, "3f"),
    "qoffset": (268, "3f"),
    "srow": (280, "12f"),
    "magic": (344, "4s"),
    "extension": (348, "4B"),
}
VOXELS = 352


@dataclass(frozen=True, slots=True)
class Forms:
    """Which of the two affines a header has."""

    sform: int = 1
    qform: int = 1


def encode(
    data: np.ndarray,
    affine: np.ndarray,
    *,
    dtype: np.dtype | type = np.int16,
    order: str = "<",
    scaling: tuple[float, float] | None = None,
    forms: Forms = Forms(),
    version: int = 1,
) -> bytes:
    """An uncompressed file. `scaling`: slope and intercept; the stored numbers are those that give `data` back."""
    kind = nib.Nifti2Header if version == 2 else nib.Nifti1Header
    header = kind(endianness=order)
    stored = data if scaling is None else np.round((data - scaling[1]) / scaling[0])
    header.set_data_dtype(np.dtype(dtype))
    header.set_data_shape(data.shape)
    header.set_xyzt_units("mm")
    if scaling is not None:
        header["scl_slope"], header["scl_inter"] = scaling
    else:
        header["scl_slope"], header["scl_inter"] = 1, 0
    header.set_qform(affine, forms.qform)
    header.set_sform(affine if forms.sform else None, forms.sform)
    header["vox_offset"] = 544 if version == 2 else VOXELS
    header["magic"] = b"n+2" if version == 2 else b"n+1"
    with io.BytesIO() as out:
        out.write(header.binaryblock)
        if version == 2:
            out.seek(4)
            out.write(b"n+2\0\r\n\x1a\n")
            out.seek(540)
        out.write(bytes(4))
        out.write(stored.astype(np.dtype(dtype).newbyteorder(order)).tobytes(order="F"))
        return out.getvalue()


def patch(content: bytes, field: str, *values: object) -> bytes:
    """The file with other values in a field (little-endian)."""
    at, form = PLACES[field]
    packed = struct.pack("<" + form, *values)
    return content[:at] + packed + content[at + len(packed) :]


def patch_at(content: bytes, field: str, index: int, value: float) -> bytes:
    """The file with one element of a field changed."""
    values = list(read(content, field))
    values[index] = value
    return patch(content, field, *values)


def read(content: bytes, field: str) -> Sequence[float]:
    """The values of a field."""
    at, form = PLACES[field]
    return struct.unpack_from("<" + form, content, at)


def unpacked(path: Path) -> bytes:
    """The uncompressed content of a .nii.gz file."""
    return gzip.decompress(path.read_bytes())


def pack(content: bytes) -> bytes:
    """As gzip, without a time stamp."""
    return gzip.compress(content, 1, mtime=0)
