"""Text of an option -> the value that a configuration holds; every error names the option."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from bids_app.cases import LabelKind
from bids_app.errors import NoInput
from coactseg_cli.errors import InvalidConfig

Number = TypeVar("Number", int, float)

_KINDS = {"all": LabelKind.ALL, "new": LabelKind.NEW, "ignore-all": LabelKind.IGNORE_ALL, "ignore-new": LabelKind.IGNORE_NEW}
_MEM = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", re.IGNORECASE)
_MEM_UNIT_MB = {"K": 1 / 1000, "M": 1.0, "": 1.0, "G": 1000.0, "T": 1_000_000.0}


def labels(values: Iterable[str] | None, prefix: str, option: str) -> tuple[str, ...]:
    """['sub-01,02', '03'] -> ('01', '02', '03'), each once.

    Raises: InvalidConfig for what cannot be a BIDS label.
    """
    words = [word.strip().removeprefix(prefix) for value in values or () for word in value.split(",") if word.strip()]
    for word in words:
        if not re.fullmatch(r"[0-9A-Za-z+]+", word):
            msg = f"{option} must be a BIDS label (letters and digits, with or without '{prefix}'); got {word!r}"
            raise InvalidConfig(msg)
    if values and not words:
        msg = f"{option} is empty"
        raise InvalidConfig(msg)
    return tuple(dict.fromkeys(words))


def derivatives(values: Iterable[str] | None) -> dict[str, Path]:
    """['prep=/data/prep'] -> {'prep': Path('/data/prep')}; a bare path takes its folder's name.

    Raises: InvalidConfig for a name given twice, NoInput where the folder does not exist.
    """
    found: dict[str, Path] = {}
    for value in values or ():
        name, equals, path = value.partition("=")
        if not equals:
            name, path = Path(value).name, value
        if not path or not re.fullmatch(r"[^/:\\]+", name) or not name.isprintable() or name in {".", ".."}:
            msg = f"--derivatives takes NAME=PATH, with a NAME without '/' and ':'; got {value!r}"
            raise InvalidConfig(msg)
        if name in found:
            msg = f"--derivatives names {name!r} twice: {found[name]} and {path}"
            raise InvalidConfig(msg)
        found[name] = existing(Path(path), f"--derivatives {name}")
    return found


def label_desc(values: Iterable[str] | None) -> dict[str, LabelKind]:
    """['brighter=new'] -> {'brighter': LabelKind.NEW}.

    Raises: InvalidConfig for an unknown kind.
    """
    found: dict[str, LabelKind] = {}
    for value in values or ():
        name, _, kind = value.partition("=")
        if not name or kind not in _KINDS:
            msg = f"--label-desc takes NAME=KIND with KIND one of {', '.join(_KINDS)}; got {value!r}"
            raise InvalidConfig(msg)
        found[name.removeprefix("desc-")] = _KINDS[kind]
    return found


def spacing_mm(value: str) -> tuple[float, float, float] | None:
    """'native' -> None, '1' -> (1.0, 1.0, 1.0), '0.5,0.75,0.75' -> those, in mm.

    Raises: InvalidConfig for other text.
    """
    return None if value == "native" else _triple(value, "--spacing", float, "'native', one number or three, in mm")


def triple(value: str, option: str) -> tuple[int, int, int]:
    """'80' -> (80, 80, 80), '80,96,64' -> those, in voxels.

    Raises: InvalidConfig for other text.
    """
    return _triple(value, option, int, "one whole number or three, in voxels")


def _triple(value: str, option: str, number: Callable[[str], Number], wanted: str) -> tuple[Number, Number, Number]:
    try:
        parts = [number(part) for part in value.split(",")]
    except ValueError:
        parts = []
    if len(parts) == 1:
        parts *= 3
    if len(parts) != 3:
        msg = f"{option} takes {wanted}, comma between them; got {value!r}"
        raise InvalidConfig(msg)
    return parts[0], parts[1], parts[2]


def mem_mb(value: str | None) -> int | None:
    """'8000' -> 8000, '8G' -> 8000, '500K' -> 1; None stays None.

    Raises: InvalidConfig for other text and for nothing.
    """
    if value is None:
        return None
    match = _MEM.fullmatch(value.strip())
    if match is None or float(match[1]) <= 0:
        msg = f"--mem takes a number of MB, or one with the suffix K, M, G or T; got {value!r}"
        raise InvalidConfig(msg)
    return max(1, round(float(match[1]) * _MEM_UNIT_MB[match[2].upper()]))


def device(value: str) -> str:
    """The device as torch names it, or 'auto'.

    Raises: InvalidConfig for other text.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        msg = f"--device takes auto, cpu, cuda or cuda:N; got {value!r}"
        raise InvalidConfig(msg)
    return value


def cpus(nprocs: int | None, omp_threads: int | None) -> tuple[int, int]:
    """CPUs in total (default: those this process may use) and CPUs per participant (default: all, 8 at most).

    Raises: InvalidConfig where a participant would get more than there are in total.
    """
    total = nprocs if nprocs is not None else len(os.sched_getaffinity(0))
    each = omp_threads if omp_threads is not None else min(total, 8)
    if not 1 <= each <= total:
        msg = f"--omp-nthreads is the CPUs of one participant and at most --nprocs, the total; got {each} and {total}"
        raise InvalidConfig(msg)
    return total, each


def cpus_of_this_process(nprocs: int | None) -> int:
    """CPUs of one of the processes that torchrun started on this machine: its share of the total, one at least."""
    total, _ = cpus(nprocs, 1)
    return max(1, total // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def fold(value: str | None) -> tuple[int, int] | None:
    """'2/5' -> (2, 5); None stays None.

    Raises: InvalidConfig for other text, and where K is not between 1 and N or N is below 2.
    """
    if value is None:
        return None
    match = re.fullmatch(r"(\d+)/(\d+)", value.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]) or int(match[2]) < 2:
        msg = f"--fold takes K/N, part K of N with K from 1 to N and N at least 2; got {value!r}"
        raise InvalidConfig(msg)
    return int(match[1]), int(match[2])


def existing(path: Path, option: str) -> Path:
    """The path.

    Raises: NoInput where nothing is there.
    """
    if not path.exists():
        msg = f"{option}: {path} does not exist"
        raise NoInput(msg)
    return path
