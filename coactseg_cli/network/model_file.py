"""What a model file says of itself, read without torch and without trusting it. Loads no weights."""

from __future__ import annotations

import hashlib
import io
import json
import math
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from coactseg_cli.errors import MissingWeights, WrongWeights
from coactseg_cli.seen import SeenRanges, parse_ranges

METADATA_KEY = "coactseg"
SUFFIX = ".safetensors"
MAX_FILE_BYTES = 4_000_000_000  # a network of 256 base filters in fp32
MAX_HEADER_BYTES = 10_000_000  # the packaged model's has 23,000
MAX_TEXT = 200  # characters of a name
MAX_COUNT = 10**9
_ITEM_BYTES = {"BOOL": 1, "I8": 1, "U8": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2} | {
    **dict.fromkeys(("I32", "U32", "F32"), 4),
    **dict.fromkeys(("I64", "U64", "F64"), 8),
}


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """What a model file says of itself; travels into every sidecar."""

    name: str = "unnamed"
    base_filters: int = 16
    patch_size: tuple[int, int, int] = (80, 80, 80)  # voxels, of training
    spacing_mm: tuple[float, float, float] | None = None  # of training; None: not recorded
    normalisation: str = "zscore"  # zscore (inside the brain mask) or none
    threshold_all: float = 0.5
    threshold_new: float = 0.5
    peak_new: float = 0.0  # a new lesion must reach it somewhere (hysteresis); 0: none must
    temperature_all: float = 1.0  # by which the log-odds were divided; the weights have it in them already
    temperature_new: float = 1.0
    n_pairs: int | None = None  # real pairs with a label in training; None: not recorded
    n_singles: int | None = None  # real single scans with a label
    training_data: tuple[str, ...] = ()  # participants
    iterations: int | None = None
    seen: SeenRanges | None = None  # what the scans of training looked like; None: not recorded
    version: str = ""  # of coactseg that wrote it
    source: str = "coactseg train"  # or 'state dict' for a foreign .pth


@dataclass(frozen=True, slots=True, eq=False)
class ModelFile:
    """A model file that was looked at; checkpoint.Model is one that was loaded too."""

    path: Path
    info: CheckpointInfo
    sha256: str  # of the file

    @property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """Grid of training in mm, None where not recorded."""
        return self.info.spacing_mm

    @property
    def normalisation(self) -> str:
        """How the intensities of training were normalised."""
        return self.info.normalisation

    @property
    def research_line(self) -> str:
        """The line that stands on every page and README."""
        if self.info.n_pairs is None:
            return "Research use only; not for diagnosis. The model's file does not say on how many scans it was trained."
        pairs = f"{self.info.n_pairs} pair" + "s" * (self.info.n_pairs != 1)
        singles = f"{self.info.n_singles} single scan" + "s" * (self.info.n_singles != 1)
        return f"Research use only; model trained on {pairs} and {singles}."


def look_at(path: Path) -> ModelFile:
    """The file's hash and, of our own format, what it says of its training. Raises: MissingWeights, WrongWeights."""
    size_bytes = size_of(path)
    with path.open("rb") as file:
        info = parse_header(file, size_bytes, path) if path.suffix == SUFFIX else state_dict_info(path)
        file.seek(0)
        return ModelFile(path, info, hashlib.file_digest(file, "sha256").hexdigest())


def size_of(path: Path) -> int:
    """Bytes of a model file. Raises: MissingWeights; WrongWeights where it is larger than any network of this kind."""
    if not path.is_file():
        msg = f"{path}: no such model file. Give a file, a packaged name ('default') or 'miccai2023' to --model."
        raise MissingWeights(msg)
    size_bytes = path.stat().st_size
    if size_bytes > MAX_FILE_BYTES:
        msg = f"{path}: {size_bytes} bytes were found; a model has {MAX_FILE_BYTES} at most. This is another file."
        raise WrongWeights(msg)
    return size_bytes


def state_dict_info(path: Path) -> CheckpointInfo:
    """What is known of a foreign state dict: its file's name."""
    return CheckpointInfo(name=path.stem[:MAX_TEXT], source="state dict")


def parse_header(file: BinaryIO, size_bytes: int, path: Path) -> CheckpointInfo:
    """Check a safetensors header against the size of its file, before anything is allocated, and read its metadata.

    Args:
        file: at its beginning.
        size_bytes: of the whole file.
        path: named in errors.

    Raises: WrongWeights for a header that is too long, broken, or names bytes that are not there, overlap or are left over.
    """
    try:
        header, data_bytes = _read_json(file, size_bytes)
        metadata = _object(header.pop("__metadata__", {}))
        _check_places(header, data_bytes)
    except (ValueError, TypeError, RecursionError, struct.error) as error:
        msg = f"{path}: not a readable safetensors file ({error}); {size_bytes} bytes were found. Copy or download it again."
        raise WrongWeights(msg) from error
    return parse_info(metadata.get(METADATA_KEY, "{}"), path)


def check_content(content: bytes, path: Path) -> CheckpointInfo:
    """As parse_header, for the bytes of a whole file."""
    return parse_header(io.BytesIO(content), len(content), path)


def require_plain_zip(content: bytes) -> None:
    """PyTorch stores what it writes uncompressed: a file that would unpack to more than itself is none of its own. Raises: ValueError."""
    if not content.startswith(b"PK\x03\x04"):
        return  # the format before PyTorch 1.6
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = archive.infolist()
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts) or sum(part.file_size for part in parts) > len(content):
        msg = "its parts are compressed or overlap, as PyTorch never writes them"
        raise ValueError(msg)


def _read_json(file: BinaryIO, size_bytes: int) -> tuple[dict[str, Any], int]:
    """The header, and how many bytes of weights follow it. Layout: 8 bytes length (little endian), JSON, weights."""
    (length,) = struct.unpack("<Q", file.read(8))
    most = min(size_bytes - 8, MAX_HEADER_BYTES)
    if length > most:
        msg = f"its header claims {length} bytes; at most {most} are possible"
        raise ValueError(msg)
    return _object(json.loads(file.read(length).decode("utf-8"))), size_bytes - 8 - length


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        msg = f"expected a JSON object, got {type(value).__name__}"
        raise TypeError(msg)
    return value


def _check_places(header: Mapping[str, Any], data_bytes: int) -> None:
    """Raises: ValueError unless the tensors fill the data, one after the other, each as large as its type and shape say."""
    places = sorted((_place(name, entry) for name, entry in header.items()), key=lambda place: place[:2])
    end = 0
    for start, stop, name in places:
        if start != end:
            msg = f"tensor {name[:MAX_TEXT]!r} begins at byte {start}; expected {end}"
            raise ValueError(msg)
        end = stop
    if end != data_bytes:
        msg = f"its tensors need {end} bytes and {data_bytes} are there"
        raise ValueError(msg)


def _place(name: str, entry: Any) -> tuple[int, int, str]:
    """First byte, byte after the last, name of a tensor."""
    try:
        item, shape, (start, stop) = _ITEM_BYTES[entry["dtype"]], entry["shape"], entry["data_offsets"]
    except (KeyError, TypeError, ValueError) as error:
        msg = f"tensor {name[:MAX_TEXT]!r} has no known type, shape and place"
        raise ValueError(msg) from error
    numbers = [*shape, start, stop] if isinstance(shape, list) and len(shape) <= 8 else []
    if not numbers or not all(_is_count(number, 2**62) for number in numbers) or stop - start != math.prod(shape) * item:
        msg = f"tensor {name[:MAX_TEXT]!r} of type {entry['dtype']} and shape {str(shape)[:100]} cannot lie at bytes {start} to {stop}"
        raise ValueError(msg)
    return start, stop, name


def parse_info(text: str, path: Path) -> CheckpointInfo:
    """What the metadata say; unknown keys are passed over. Raises: WrongWeights for a value that cannot be."""
    try:
        fields = _object(json.loads(text))
        known = {key: _checked(key, fields[key]) for key in _CHECKS if key in fields}
        seen = fields.get("seen")
        return CheckpointInfo(**known, seen=None if seen is None else parse_ranges(seen))
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError) as error:
        msg = f"{path}: the metadata of the model file cannot be used ({str(error)[:300]}). Copy or download it again."
        raise WrongWeights(msg) from error


def _checked(key: str, value: Any) -> Any:
    value = tuple(value) if isinstance(value, list) else value
    wanted, fits = _CHECKS[key]
    if not fits(value):
        msg = f"{key} must be {wanted}; got {str(value)[:100]!r}"
        raise ValueError(msg)
    return value


def _is_count(value: Any, most: int = MAX_COUNT) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _is_between(value: Any, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _is_text(value: Any) -> bool:
    """Short and printable: no line ends, no control characters, nothing that turns the direction of writing."""
    return isinstance(value, str) and len(value) <= MAX_TEXT and value.isprintable()


def _is_triple(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, tuple) and len(value) == 3 and all(fits(item) for item in value)


def _is_share(value: Any) -> bool:
    return _is_between(value, 0, 1) and 0 < value < 1


def _is_temperature(value: Any) -> bool:
    return _is_between(value, 1e-3, 1e3)


def _is_number_or_none(value: Any) -> bool:
    return value is None or _is_count(value)


_CHECKS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "name": (f"a printable text of {MAX_TEXT} characters at most", _is_text),
    "base_filters": ("a whole number", _is_count),
    "patch_size": ("three whole numbers of voxels", lambda v: _is_triple(v, lambda n: _is_count(n, 10_000) and n > 0)),
    "spacing_mm": (
        "null or three numbers from 0.1 to 10 (mm)",
        lambda v: v is None or _is_triple(v, lambda s: _is_between(s, 0.1, 10)),
    ),
    "normalisation": ("a printable text", _is_text),
    "threshold_all": ("a number between 0 and 1", _is_share),
    "threshold_new": ("a number between 0 and 1", _is_share),
    "peak_new": ("a number from 0 to 1, 1 excluded", lambda v: _is_between(v, 0, 1) and v < 1),
    "temperature_all": ("a number from 0.001 to 1000", _is_temperature),
    "temperature_new": ("a number from 0.001 to 1000", _is_temperature),
    "n_pairs": ("null or a whole number", _is_number_or_none),
    "n_singles": ("null or a whole number", _is_number_or_none),
    "training_data": ("a list of printable texts", lambda v: isinstance(v, tuple) and all(map(_is_text, v))),
    "iterations": ("null or a whole number", _is_number_or_none),
    "version": ("a printable text", _is_text),
    "source": ("a printable text", _is_text),
}
