"""Volumes as training reads them: cut to the brain, one plain array per file, mapped into memory; written once, shared by processes.

    CACHE/sub-01-<digest>/0_image.npy, 0_brain.npy, 0_all.npy, 1_new.npy, ..., case.json      the number is that of the visit

The digest covers the prepared files (path, size, time of change): a participant that is prepared again gets a folder of its own.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bids_app.cases import PreparedTimeline
from bids_app.files import make_folder

VERSION = "2"  # of this layout
FACTS = "case.json"


def digest(timeline: PreparedTimeline) -> str:
    """What a participant's cached volumes were made from: 16 hexadecimal digits."""
    files = [path for visit in timeline.visits for path in (visit.image, visit.brain_mask)] + [label.path for label in timeline.labels]
    lines = [VERSION, str(timeline.comparable), *(f"{p.resolve()} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in files)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def fetch(folder: Path, timeline: PreparedTimeline, make: Callable[[], tuple[Mapping[str, np.ndarray], Mapping[str, Any]]]) -> Path:
    """The folder of a participant's arrays; `make` is called and its arrays and facts are written where it is not there yet.

    The folder is written under a temporary name and renamed, so that a half-written one is never taken; of two processes that
    write at once, the first stays.

    Raises: CannotCreate; OSError (a full disk), after which nothing is left behind.
    """
    place = folder / f"sub-{timeline.subject}-{digest(timeline)}"
    if (place / FACTS).is_file():
        return place
    arrays, facts = make()
    make_folder(folder)
    temporary = folder / f".tmp-{secrets.token_hex(6)}"
    try:
        temporary.mkdir()
        for name, array in arrays.items():
            np.save(temporary / f"{name}.npy", array, allow_pickle=False)
        (temporary / FACTS).write_text(json.dumps(facts), encoding="utf-8")
        _settle(temporary, place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return place


def _settle(temporary: Path, place: Path) -> None:
    try:
        temporary.rename(place)
    except OSError:
        if not (place / FACTS).is_file():  # another process has not just put it there
            raise


def read(place: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Name to memory-mapped array, and the facts."""
    arrays = {path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in sorted(place.glob("*.npy"))}
    return arrays, json.loads((place / FACTS).read_text(encoding="utf-8"))
