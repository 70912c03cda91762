"""What can be wrong with an image: each damage turns the bytes of a sound file into those of a bad one, or puts something else there."""

from __future__ import annotations

import gzip
import os
import socket
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np

from tests.fuzz.cases import Expect
from tests.fuzz.nifti_bytes import VOXELS, encode, pack, patch, patch_at, read
from tests.fuzz.world import AFFINE

R, E = Expect.REFUSED, Expect.EITHER
_NAN, _INF = float("nan"), float("inf")
BOMB_BYTES = 3 * 10**8


@dataclass(frozen=True, slots=True)
class Damage:
    """One way to be wrong."""

    name: str
    spoil: Callable[[Random, bytes], bytes] | None  # of the uncompressed file; None: `place` does it
    as_scan: Expect = R
    as_mask: Expect = R  # a mask of zeros, or one that is constant, can be right
    place: Callable[[Random, Path, bytes], None] | None = None  # puts something at the path itself


def put(damage: Damage, rng: Random, path: Path, sound: bytes) -> None:
    """Put a damaged file at a path (which may be there already); its name says whether it is compressed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if damage.place is not None:
        damage.place(rng, path, sound)
    elif damage.spoil is not None:
        content = damage.spoil(rng, sound)
        path.write_bytes(pack(content) if path.name.endswith(".gz") else content)


def _values(content: bytes) -> np.ndarray:
    """The voxels of a sound file, as float32 in its order."""
    dtype = {2: np.uint8, 4: np.int16, 16: np.float32, 512: np.uint16}[int(read(content, "datatype")[0])]
    return np.frombuffer(content[VOXELS:], dtype).astype(np.float32)


def _with(content: bytes, values: np.ndarray, code: int = 16) -> bytes:
    """The same header with other voxels of a type (16: float32)."""
    bits = values.dtype.itemsize * 8
    return patch(patch(content[:VOXELS], "datatype", code), "bitpix", bits) + values.tobytes()


def _some(value: float, share: float) -> Callable[[Random, bytes], bytes]:
    def spoil(rng: Random, content: bytes) -> bytes:
        values = _values(content)
        at = np.random.default_rng(rng.getrandbits(32)).permutation(values.size)[: max(1, int(share * values.size))]
        values[at] = value
        return _with(content, values)

    return spoil


def _all(value: float) -> Callable[[Random, bytes], bytes]:
    return lambda _, content: _with(content, np.full_like(_values(content), value))


def _single_voxel(rng: Random, content: bytes) -> bytes:
    values = np.zeros_like(_values(content))
    values[rng.randrange(values.size)] = rng.choice([1.0, 1000.0, 1e30])
    return _with(content, values)


def _scaled_to(factor: float) -> Callable[[Random, bytes], bytes]:
    return lambda _, content: _with(content, _values(content) * np.float32(factor))


def _field(field: str, *choices: object) -> Callable[[Random, bytes], bytes]:
    """One of several values of a field of one value."""
    return lambda rng, content: patch(content, field, rng.choice(choices))


def _element(field: str, indices: tuple[int, ...], *choices: float) -> Callable[[Random, bytes], bytes]:
    return lambda rng, content: patch_at(content, field, rng.choice(indices), rng.choice(choices))


def _only(form: str, then: Callable[[Random, bytes], bytes]) -> Callable[[Random, bytes], bytes]:
    """The other form is switched off first."""
    other = "qform_code" if form == "sform" else "sform_code"
    return lambda rng, content: then(rng, patch(content, other, 0))


def _matrix(content: bytes, matrix: np.ndarray) -> bytes:
    return patch(patch(content, "qform_code", 0), "srow", *matrix[:3].ravel().tolist())


def _singular(rng: Random, content: bytes) -> bytes:
    matrix = AFFINE.copy()
    matrix[:3, rng.randrange(3)] = 0 if rng.random() < 0.5 else matrix[:3, rng.randrange(3)] * 0
    return _matrix(content, matrix)


def _plane(rng: Random, content: bytes) -> bytes:
    matrix = AFFINE.copy()
    a, b = rng.sample(range(3), 2)
    matrix[:3, a] = matrix[:3, b] * rng.choice([1.0, -1.0, 1.0001])
    return _matrix(content, matrix)


def _size(factor: float) -> Callable[[Random, bytes], bytes]:
    return lambda _, content: _matrix(content, np.diag([factor, factor, factor, 1.0]) @ AFFINE)


def _far(rng: Random, content: bytes) -> bytes:
    matrix = AFFINE.copy()
    matrix[rng.randrange(3), 3] = rng.choice([1e6, -1e9, 1e30, 3e38])
    return _matrix(content, matrix)


def _conflict(rng: Random, content: bytes) -> bytes:
    at = rng.choice([0, 5, 10, 3, 7, 11])
    row = list(read(content, "srow"))
    row[at] = -row[at] if at not in (3, 7, 11) else row[at] + rng.choice([5.0, -80.0])
    return patch(content, "srow", *row)


def _codes(rng: Random, content: bytes) -> bytes:
    return patch(content, rng.choice(["qform_code", "sform_code"]), rng.choice([-1, 7, 32767]))


def _dims(rng: Random, content: bytes) -> bytes:
    n = rng.choice([32767, 20000, 3000])
    return patch(content, "dim", 3, n, rng.choice([n, 512]), n, 1, 1, 1, 1)


def _shape(*shapes: tuple[int, ...]) -> Callable[[Random, bytes], bytes]:
    """Another shape, with the voxels that it needs."""

    def spoil(rng: Random, content: bytes) -> bytes:
        shape = rng.choice(shapes)
        dim = [len(shape), *shape, *[1] * (7 - len(shape))]
        return patch(content[:VOXELS], "dim", *dim) + bytes(int(read(content, "bitpix")[0]) // 8 * int(np.prod(shape)))

    return spoil


def _lying_shape(factor: float) -> Callable[[Random, bytes], bytes]:
    """A shape that the file does not hold, or holds only a part of."""

    def spoil(rng: Random, content: bytes) -> bytes:
        dim = list(read(content, "dim"))
        axis = rng.randrange(1, 4)
        dim[axis] = max(2, int(dim[axis] * factor))
        padding = bytes(2**17) if factor < 1 else b""
        return patch(content, "dim", *map(int, dim)) + padding

    return spoil


def _typed(code: int, dtype: type[np.generic] | np.dtype) -> Callable[[Random, bytes], bytes]:
    return lambda _, content: _with(content, _values(content).astype(dtype), code)


def _rgb(_: Random, content: bytes) -> bytes:
    return patch(_with(content, np.repeat(_values(content).astype(np.uint8), 3), 128), "bitpix", 24)


def _extension(rng: Random, content: bytes) -> bytes:
    """Extensions that say nonsense about their own length; the voxels stay where they were, or move behind them."""
    size = rng.choice([0, 8, 15, 16, 2**31 - 1, -16, 4096])
    head = patch(patch(content[:VOXELS], "extension", 1, 0, 0, 0), "vox_offset", float(VOXELS + 64))
    return head + struct.pack("<ii", size, rng.randrange(100)) + bytes(56) + content[VOXELS:]


def _cut(low: float, high: float) -> Callable[[Random, bytes], bytes]:
    return lambda rng, content: content[: int(len(content) * rng.uniform(low, high))]


def _nonsense(rng: Random, content: bytes) -> bytes:
    return rng.randbytes(rng.choice([1, 10, 347, 348, 4000, len(content)]))


def _flipped_header(rng: Random, content: bytes) -> bytes:
    """A few bytes of the header at random."""
    header = bytearray(content)
    for _ in range(rng.randrange(1, 12)):
        header[rng.randrange(VOXELS)] = rng.randrange(256)
    return bytes(header)


# ---- what is put at the path itself


def _packed(change: Callable[[Random, bytearray], bytes | bytearray]) -> Callable[[Random, Path, bytes], None]:
    return lambda rng, path, sound: path.write_bytes(change(rng, bytearray(pack(sound))))  # type: ignore[return-value]


def _flip(rng: Random, content: bytearray) -> bytearray:
    """One bit, where it matters: the last byte of a stream has bits that nobody reads."""
    sound = gzip.decompress(content)
    while True:
        spoilt = bytearray(content)
        spoilt[rng.randrange(40, len(content) - 8)] ^= 1 << rng.randrange(8)
        try:
            if gzip.decompress(spoilt) != sound:
                return spoilt
        except (OSError, EOFError, zlib.error):
            return spoilt


def _checksum(rng: Random, content: bytearray) -> bytearray:
    content[-rng.randrange(5, 9)] ^= 0xFF
    return content


def _bomb(rng: Random, path: Path, sound: bytes) -> None:
    """A few hundred kB that become 300 MB: behind voxels that are sound, or promised by the header."""
    n = int((BOMB_BYTES / 2) ** (1 / 3))
    header = sound if rng.random() < 0.5 else patch(sound[:VOXELS], "dim", 3, n, n, n, 1, 1, 1, 1)
    path.write_bytes(_long_gzip(header))


_BOMBS: dict[bytes, bytes] = {}


def _long_gzip(header: bytes) -> bytes:
    if header not in _BOMBS:
        _BOMBS[header] = pack(header + bytes(BOMB_BYTES))
    return _BOMBS[header]


def _folder(_: Random, path: Path, __: bytes) -> None:
    path.mkdir()


def _pipe(_: Random, path: Path, __: bytes) -> None:
    os.mkfifo(path)


def _socket(_: Random, path: Path, __: bytes) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket may have 107 letters only
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(here)


def _nowhere(_: Random, path: Path, __: bytes) -> None:
    path.symlink_to("nowhere.nii.gz")


def _loop(_: Random, path: Path, __: bytes) -> None:
    path.symlink_to(path.name)


DAMAGES: tuple[Damage, ...] = (
    Damage("empty file", lambda *_: b""),
    Damage("header cut", _cut(0.0001, 0.015)),
    Damage("voxels cut", _cut(0.05, 0.999)),
    Damage("random bytes", _nonsense),
    Damage("text", lambda *_: b"This is not an image.\n" * 100),
    Damage("a few header bytes changed", _flipped_header, E, E),
    Damage("magic", _field("magic", b"ni1\0", b"\0\0\0\0", b"n+3\0", b"N+1\0", b"abcd")),
    Damage("sizeof_hdr", _field("sizeof_hdr", 0, 347, 540, -1, 2**31 - 1, 348 * 256)),
    Damage("huge dimensions", _dims),
    Damage("dim[0]", _element("dim", (0,), 0, 8, 9, -3, 300, 1, 2)),
    Damage("a dimension of zero or less", _element("dim", (1, 2, 3), 0, -1, -32768)),
    Damage("a dimension too large for the file", _lying_shape(3)),
    Damage("a dimension too small for the file", _lying_shape(0.5)),
    Damage("2D", _shape((22, 26), (500, 500), (22, 26, 1), (1, 26, 20))),
    Damage("4D", _shape((22, 26, 20, 2), (8, 8, 8, 100))),
    Damage("5D", _shape((22, 26, 20, 1, 3), (10, 10, 10, 2, 2))),
    Damage("RGB", _rgb),
    Damage("complex64", _typed(32, np.complex64)),
    Damage("complex128", _typed(1792, np.complex128)),
    Damage("float128", _typed(1536, np.longdouble), E, E),
    Damage("unknown data type", _field("datatype", 0, 1, 3, 255, 9999, -1)),
    Damage("bitpix", _field("bitpix", 0, 1, 7, -16, 128), E, E),
    Damage("vox_offset", _field("vox_offset", -1.0, 3.0, 353.5, 1e9, 3e38, _NAN, _INF)),
    Damage("extensions", _extension, E, E),
    Damage("some NaN", _some(_NAN, 0.01)),
    Damage("some infinite", _some(_INF, 0.001)),
    Damage("all NaN", _all(_NAN)),
    Damage("constant", _all(7.0), R, E),
    Damage("zeros", _all(0.0), R, E),
    Damage("one voxel", _single_voxel, E, E),
    Damage("huge values", _scaled_to(1e36), E, E),
    Damage("tiny values", _scaled_to(1e-40), E, E),
    Damage("negative values", _scaled_to(-1.0), E, E),
    Damage("scl_slope", _field("scl_slope", 0.0, _NAN, _INF, -1.0, 1e38, 1e-44), E, E),
    Damage("scl_inter", _field("scl_inter", _NAN, _INF, -_INF, 1e38), E, E),
    Damage("pixdim with both forms", _element("pixdim", (1, 2, 3), 0.0, -6.0, _NAN, _INF, 100.0), E, E),
    Damage("pixdim with a qform", _only("qform", _element("pixdim", (1, 2, 3), 0.0, _NAN, _INF, 1e-20, 1e20))),
    Damage("pixdim with an sform", _only("sform", _element("pixdim", (0, 1, 2, 3), 0.0, -6.0, _NAN, _INF, 100.0)), E, E),
    Damage("qfac", _element("pixdim", (0,), 0.0, _NAN, 5.0, -7.0), E, E),
    Damage("neither form", lambda _, c: patch(patch(c, "qform_code", 0), "sform_code", 0)),
    Damage("forms that conflict", _conflict),
    Damage("form codes", _codes, E, E),
    Damage("singular affine", _singular),
    Damage("axes in one plane", _plane),
    Damage("NaN in the sform", _element("srow", tuple(range(12)), _NAN, _INF, -_INF)),
    Damage("quaternion", _only("qform", _element("quatern", (0, 1, 2), 1.5, -3.0, 1e20, _NAN, _INF))),
    Damage("qoffset", _only("qform", _element("qoffset", (0, 1, 2), _NAN, _INF, 1e12))),
    Damage("voxels of a kilometre", _size(1e5)),
    Damage("voxels of a micrometre", _size(1e-6)),
    Damage("far away", _far),
    Damage("gzip cut", None, place=_packed(lambda rng, c: c[: rng.randrange(3, len(c) - 1)])),
    Damage("gzip with a flipped bit", None, place=_packed(_flip)),
    Damage("gzip checksum", None, place=_packed(_checksum)),
    Damage("gzip with junk behind", None, E, E, place=_packed(lambda rng, c: c + rng.randbytes(1000))),
    Damage("gzip within gzip", None, place=lambda _, p, c: p.write_bytes(pack(pack(c)))),
    Damage("gzip bomb", None, place=_bomb),
    Damage("PNG", None, place=lambda _, p, __: p.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(400))),
    Damage("folder", None, place=_folder),
    Damage("pipe", None, place=_pipe),
    Damage("socket", None, place=_socket),
    Damage("dangling link", None, place=_nowhere),
    Damage("link to itself", None, place=_loop),
)
SPECIAL = frozenset({"folder", "pipe", "socket", "dangling link", "link to itself"})  # where masks lie they may be passed over


def sound_bytes(data: np.ndarray, dtype: type[np.generic]) -> bytes:
    """The sound file that damage is done to."""
    return encode(data, AFFINE, dtype=dtype)
