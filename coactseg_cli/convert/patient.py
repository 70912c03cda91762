"""What a converter reads of one patient, before anything is written; only values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coactseg_cli.volumes import Volume

CONSENSUS = "labels"  # name of the derivative data set, as -d labels=... takes it


def dataset_of(expert: int) -> str:
    """Name of the derivative data set of one expert, counted from 1."""
    return f"{CONSENSUS}-expert{expert}"


@dataclass(frozen=True, slots=True)
class Source:
    """One patient of a foreign data set."""

    path: Path  # folder or file
    label: str  # of the participant, without 'sub-'
    split: str | None  # train, validation or test; None: nobody said


@dataclass(frozen=True, slots=True, eq=False)
class LesionMask:
    """One lesion mask of one visit."""

    dataset: str  # derivative data set that it goes to: labels, labels-expert1, ...
    desc: str  # all or new
    volume: Volume  # (X, Y, Z) bool, on the scan's own grid
    description: str  # one sentence


@dataclass(frozen=True, slots=True, eq=False)
class Visit:
    """One scan of one patient."""

    session: str | None  # without 'ses-'; None: a data set without that level
    flair: Path | Volume  # a NIfTI file that is taken as it is, or voxels
    sidecar: Mapping[str, Any] = field(default_factory=dict)  # of the scan
    brain: Volume | None = None  # (X, Y, Z) bool
    lesions: tuple[LesionMask, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Patient:
    """Everything of one patient, read and checked."""

    label: str
    split: str | None
    visits: tuple[Visit, ...]  # in temporal order
