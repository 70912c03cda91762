"""A NIfTI or MGH file to its header and voxels; what the header promises is checked before a voxel is read. Interprets no affine.

    stat -> stream (gzip by content) -> header -> shape, type, memory, size of the file -> voxels -> end of the stream

The end of the stream is read too: only there does gzip compare its checksum.
"""

from __future__ import annotations

import gzip
import math
import os
import resource
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

import nibabel as nib
import numpy as np
from nibabel.volumeutils import apply_read_scaling

from bids_app.errors import UnreadableImage
from coactseg_cli.errors import OutOfMemory

Header: TypeAlias = Any  # Nifti1Header (Nifti2Header is one) or MGHHeader; nibabel types them in part
MGHHeader = nib.freesurfer.mghformat.MGHHeader

MOST_VOXELS = 2**29  # 800 voxels in each direction
MOST_BEFORE_VOXELS = 2**24  # bytes of header extensions: they are text
MOST_AFTER_VOXELS = 2**16  # bytes: padding, and no more
DEFLATE_RATIO = 1032  # no stream of zlib holds more than this for each of its bytes
_WORK_BYTES = 4  # per voxel: the float32 copy that every stage works on
_GZIP, _FREESURFER = b"\x1f\x8b", (".mgz", ".mgh")
_SINGLE: dict[int, tuple[Any, bytes]] = {348: (nib.Nifti1Header, b"n+1\0"), 540: (nib.Nifti2Header, b"n+2\0\r\n\x1a\n")}
_WAY_OUT = "The file may be truncated or damaged: copy or convert it again."


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """An image as its file holds it."""

    header: Header
    data: np.ndarray  # (X, Y, Z), scaling applied, in the byte order of this machine


def read_image(path: Path) -> Stored:
    """Read a 3D image of real numbers; further dimensions of one are dropped.

    Raises: UnreadableImage (no file, truncated, damaged, not 3D, not real numbers), OutOfMemory where it cannot fit.
    """
    with _guarded(path), _stream(path) as stream:
        header = _header(stream, path)
        shape, dtype = _checked_shape(header, path), _checked_dtype(header, path)
        start = 284 if isinstance(header, MGHHeader) else _voxel_offset(header, path)
        n_bytes = math.prod(shape) * dtype.itemsize
        slope, inter = header.get_slope_inter()
        _require_memory(path, shape, dtype, scaled=(slope, inter) not in {(None, None), (1.0, 0.0)})
        _require_size(path, start + n_bytes)
        data = _voxels(stream, start, n_bytes, path)
        if not isinstance(header, MGHHeader):
            _require_end(stream, path, shape)
    native = data.view(dtype).reshape(shape, order="F")
    native = native.astype(dtype.newbyteorder("="), copy=False)
    scaling: list[Any] = [None if value is None else np.asarray(value, np.float64) for value in (slope, inter)]
    return Stored(header, apply_read_scaling(native, *scaling))


def read_header(path: Path) -> Header:
    """The header alone. Raises: UnreadableImage."""
    with _guarded(path), _stream(path) as stream:
        return _header(stream, path)


@contextmanager
def _guarded(path: Path) -> Iterator[None]:
    """Whatever a broken file makes the libraries raise becomes an error that names it."""
    try:
        yield
    except FileNotFoundError as error:
        msg = f"{path}: no such file."
        raise UnreadableImage(msg) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        msg = f"{path}: the voxels cannot be read ({error}). {_WAY_OUT}"
        raise UnreadableImage(msg) from error
    except MemoryError as error:
        msg = f"{path}: out of memory while it was read. Give more --mem, or a smaller image."
        raise OutOfMemory(msg) from error
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror or error}). Check that it is a file that you may read."
        raise UnreadableImage(msg) from error
    except (ValueError, TypeError, KeyError, OverflowError, nib.spatialimages.HeaderDataError) as error:
        msg = f"{path}: not a readable NIfTI file ({error}). {_WAY_OUT}"
        raise UnreadableImage(msg) from error


@contextmanager
def _stream(path: Path) -> Iterator[BinaryIO]:
    """The content, unpacked where it is gzip, whatever the name says."""
    if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
        msg = f"{path}: expected a file; it is a folder, a pipe or a device. Give the image itself."
        raise UnreadableImage(msg)
    with path.open("rb") as plain:
        packed = plain.read(2) == _GZIP
        plain.seek(0)
        if packed:
            with gzip.GzipFile(fileobj=plain) as unpacked:
                yield cast("BinaryIO", unpacked)
        else:
            yield plain


def _header(stream: BinaryIO, path: Path) -> Header:
    """Read the header and leave the stream behind it. Raises: UnreadableImage, ValueError."""
    if path.name.lower().endswith(_FREESURFER):
        block = _exactly(stream, 284, path)
        return MGHHeader(binaryblock=block)
    block = _exactly(stream, 348, path)
    size = next((n for n in _SINGLE if block[:4] in {n.to_bytes(4, "little"), n.to_bytes(4, "big")}), None)
    if size is None:
        found = "nothing but zeros" if not any(block) else f"{block[:4].hex(' ')}"
        msg = f"{path}: not a readable NIfTI file (it begins with {found}; expected the header's size, 348 or 540). {_WAY_OUT}"
        raise UnreadableImage(msg)
    kind, magic = _SINGLE[size]
    block += _exactly(stream, size - len(block), path)
    marked = block[4:12] if size == 540 else block[344:348]
    if marked != magic:
        msg = f"{path}: not a readable NIfTI file (magic {marked!r}; expected {magic!r}, one file with header and voxels). Convert it."
        raise UnreadableImage(msg)
    header = kind(binaryblock=block, check=False)
    _require_pixdim(header, path)
    header.check_fix(logger=nib.imageglobals.logger, error_level=40)
    return header


def _require_pixdim(header: nib.Nifti1Header, path: Path) -> None:
    """Without an sform the voxel edges come from pixdim; nibabel would take 0 for 1 mm. Raises: UnreadableImage."""
    edges = np.asarray(header["pixdim"][1:4], np.float64)
    if int(header["sform_code"]) <= 0 and not (np.isfinite(edges).all() and (edges != 0).all()):
        msg = f"{path}: the voxel edges in pixdim are {edges.tolist()} mm, and there is no sform. Repair the header."
        raise UnreadableImage(msg)


def _checked_shape(header: Header, path: Path) -> tuple[int, int, int]:
    """(X, Y, Z). Raises: UnreadableImage."""
    shape = tuple(int(n) for n in header.get_data_shape())
    if len(shape) < 3 or any(n != 1 for n in shape[3:]) or min(shape[:3]) < 2:
        msg = f"{path}: expected a 3D image; got shape {shape}. Give one volume per file."
        raise UnreadableImage(msg)
    if math.prod(shape) > MOST_VOXELS:
        msg = f"{path}: the header promises {shape} voxels, more than {MOST_VOXELS:,}. Repair the header, or crop the image."
        raise UnreadableImage(msg)
    return shape[0], shape[1], shape[2]


def _checked_dtype(header: Header, path: Path) -> np.dtype:
    dtype: np.dtype = header.get_data_dtype()
    if dtype.kind not in "iufb":
        name = "RGB or complex" if dtype.kind in "cV" else "unknown"
        msg = f"{path}: expected real numbers; got {dtype} ({name}). Convert it to a scalar image."
        raise UnreadableImage(msg)
    return dtype


def _voxel_offset(header: nib.Nifti1Header, path: Path) -> int:
    """Where the voxels begin. Raises: UnreadableImage."""
    size, offset = int(header["sizeof_hdr"]), float(header["vox_offset"])
    least = size + 4 if offset else 0  # 0 has always been taken for "behind the header"
    if not (math.isfinite(offset) and offset == int(offset) and least <= offset <= MOST_BEFORE_VOXELS):
        msg = f"{path}: the voxels begin at byte {offset:g} by its header; expected {size + 4} to {MOST_BEFORE_VOXELS}. Repair the header."
        raise UnreadableImage(msg)
    return int(offset) or size + 4


def _require_memory(path: Path, shape: tuple[int, int, int], dtype: np.dtype, *, scaled: bool) -> None:
    """Raises: OutOfMemory where reading alone needs more than there is."""
    need = math.prod(shape) * (dtype.itemsize + _WORK_BYTES + (8 if scaled else 0))
    limit = memory_limit()
    if need > limit:
        msg = (
            f"{path}: {shape} voxels of {dtype} need {need / 1e6:,.0f} MB to be read; {limit / 1e6:,.0f} MB is the limit "
            "(--mem, the job's or the machine's). Give more memory, or a smaller image."
        )
        raise OutOfMemory(msg)


def memory_limit() -> int:
    """Bytes that this process may have: the least of its own limits (--mem sets one), its container's and the machine's."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    own = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_DATA, resource.RLIMIT_AS)]
    limits += [limit for limit in own if limit != resource.RLIM_INFINITY]
    with suppress(OSError, ValueError):  # no such group, or the word "max"
        limits.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(limits)


def _require_size(path: Path, n_bytes: int) -> None:
    """Raises: UnreadableImage where no file of this size can hold what the header promises."""
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
    size = path.stat().st_size
    if size * (DEFLATE_RATIO if packed else 1) < n_bytes:
        msg = f"{path}: the voxels cannot be read (the header promises {n_bytes:,} bytes, the file has {size:,}). {_WAY_OUT}"
        raise UnreadableImage(msg)


def _voxels(stream: BinaryIO, start: int, n_bytes: int, path: Path) -> np.ndarray:
    """(n_bytes,) uint8, nothing beyond. Raises: UnreadableImage."""
    _exactly(stream, start - stream.tell(), path)
    buffer = np.empty(n_bytes, np.uint8)
    view, done = memoryview(buffer), 0  # type: ignore[arg-type]  # an array is a buffer
    while done < n_bytes and (n := stream.readinto(view[done:])):  # type: ignore[attr-defined]
        done += n
    if done < n_bytes:
        msg = f"{path}: the voxels cannot be read (expected {n_bytes:,} bytes, got {done:,}). {_WAY_OUT}"
        raise UnreadableImage(msg)
    return buffer


def _exactly(stream: BinaryIO, n: int, path: Path) -> bytes:
    found = stream.read(n)
    if len(found) < n:
        msg = f"{path}: not a readable NIfTI file (it ends within its header). {_WAY_OUT}"
        raise UnreadableImage(msg)
    return found


def _require_end(stream: BinaryIO, path: Path, shape: tuple[int, int, int]) -> None:
    """Raises: UnreadableImage where much more follows: then the header does not describe these voxels."""
    if len(stream.read(MOST_AFTER_VOXELS + 1)) > MOST_AFTER_VOXELS:
        msg = f"{path}: more than {MOST_AFTER_VOXELS:,} bytes follow the voxels, so {shape} cannot be the image's shape. Repair the header."
        raise UnreadableImage(msg)
