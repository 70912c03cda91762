"""Who is in the example data set: heads, lesions with a known fate, and how each visit was scanned. Only values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from examples.anatomy import draw_anatomy
from examples.phantom import Fate, Lesion, Rendering, Scanning, centred_grid, render, rigid

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Visit:
    """One scan session."""

    session: str | None  # label without 'ses-'; None: a data set without that level
    acq_time: str | None
    rotation_deg: Triple  # head position
    shift_mm: Triple
    fov_mm: Triple = (192, 240, 210)  # along the array axes
    spacing_mm: Triple = (1, 1, 1)
    axes: str = "RAS"
    tilt_deg: Triple = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Participant:
    """One made-up person."""

    label: str  # without 'sub-'
    seed: int
    age: int
    sex: str
    visits: tuple[Visit, ...]
    lesions: tuple[Lesion, ...]
    ventricles: float = 1.0
    size: float = 1.0


COHORT = (
    Participant(
        label="01",
        seed=101,
        age=34,
        sex="F",
        visits=(
            Visit("01", "2019-03-12T10:05:00", (4, -3, 5), (3, -4, 5), spacing_mm=(1, 1, 3), axes="LAS"),
            Visit("02", "2020-04-02T15:40:00", (-5, 4, -6), (-5, 5, -6), spacing_mm=(1, 1, 1.5), tilt_deg=(3, 0, 2)),
        ),
        lesions=(
            Lesion((-22, 22, 22), (6, 9, 5), (1.0, 1.0)),  # beside the left front horn
            Lesion((23, -38, 21), (7, 10, 6), (1.0, 1.0)),  # beside the right back horn
            Lesion((-45, -20, 36), (6, 6, 6), (1.0, 1.0)),  # under the cortex
            Lesion((-26, -16, 30), (5, 6, 5), (1.0, 1.35)),
            Lesion((36, 8, 30), (7, 6, 6), (1.0, 0.65)),
            Lesion((-36, 12, 34), (6, 6, 6), (1.0, 0.0)),
            Lesion((25, 26, 24), (7, 7, 6), (0.0, 1.0)),
            Lesion((-32, -46, 22), (6, 5, 5), (0.0, 1.0)),
            Lesion((40, -28, 32), (4, 4, 4), (0.0, 1.0)),
        ),
    ),
    Participant(
        label="02",
        seed=102,
        age=51,
        sex="M",
        ventricles=1.3,
        size=1.03,
        visits=(
            Visit("01", "2021-09-20T08:30:00", (2, 3, -4), (2, -2, -3), fov_mm=(240, 210, 192), spacing_mm=(1.2, 1.2, 1.5), axes="PSR"),
        ),
        lesions=(
            Lesion((-24, 24, 20), (7, 9, 6)),
            Lesion((25, 20, 24), (6, 8, 5)),
            Lesion((-26, -36, 22), (8, 11, 7)),
            Lesion((44, -10, 36), (5, 6, 5)),
            Lesion((-30, 0, 36), (5, 5, 5)),
        ),
    ),
    Participant(
        label="03",
        seed=103,
        age=28,
        sex="F",
        ventricles=0.9,
        size=0.97,
        visits=(Visit(None, None, (-3, 2, 3), (-2, 3, 2), spacing_mm=(1, 1, 2), axes="LPS"),),
        lesions=(
            Lesion((22, 26, 20), (5, 7, 5)),
            Lesion((-24, -34, 22), (6, 8, 5)),
            Lesion((32, -8, 34), (5, 5, 5)),
        ),
    ),
)


def scanning(visit: Visit, coarseness: float = 1.0) -> Scanning:
    """Grid and head position of a visit; `coarseness` multiplies the voxel edges."""
    x, y, z = visit.spacing_mm
    grid = centred_grid(visit.fov_mm, (x * coarseness, y * coarseness, z * coarseness), visit.axes, visit.tilt_deg)
    return Scanning(grid, rigid(visit.rotation_deg, visit.shift_mm))


def scan(participant: Participant, visit: int, coarseness: float = 1.0) -> Rendering:
    """One visit's FLAIR with its true masks, on the visit's own grid."""
    anatomy = draw_anatomy(np.random.default_rng(participant.seed), participant.ventricles, participant.size)
    how = scanning(participant.visits[visit], coarseness)
    return render(anatomy, participant.lesions, visit, how, (participant.seed, visit))


def numbers_with(participant: Participant, fate: Fate, baseline: int, followup: int) -> tuple[int, ...]:
    """Numbers (1..n, as in Rendering.lesions) of the lesions with a fate between two visits."""
    return tuple(i for i, lesion in enumerate(participant.lesions, start=1) if lesion.fate(baseline, followup) is fate)


def between_visits(participant: Participant, baseline: int, followup: int) -> np.ndarray:
    """(4, 4) scanner mm of one visit to scanner mm of another: the true registration."""
    first, second = (scanning(participant.visits[v]).pose for v in (baseline, followup))
    transform: np.ndarray = second @ np.linalg.inv(first)
    return transform
