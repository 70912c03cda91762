"""Checks of brain masks on the scans' own grids: size, shape, the edge of the image, change between visits. Makes no mask."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy import ndimage

from coactseg_cli.components import label, sizes
from coactseg_cli.preprocessing.quality import Check, Rule
from coactseg_cli.volumes import Volume, box_of

VOLUME = Rule(
    "brain-volume",
    "ml",
    "The brain mask is smaller or larger than an adult's brain with its fluid is: look at the mask, or give another one.",
    low=700.0,
    high=2000.0,
)
CHANGE = Rule(
    "brain-change",
    "%",
    "The brain mask changed since the visit before by more than a brain does: look at both masks, one of them is wrong.",
    low=-15.0,
    high=15.0,
)
PIECES = Rule(
    "brain-pieces",
    "%",
    "Part of the brain mask lies apart from its largest piece: it may hold eyes, scalp or noise, so look at the mask.",
    high=1.0,
)
HOLES = Rule(
    "brain-holes",
    "%",
    "The brain mask has holes that are closed on all sides, in which no lesion is looked for: fill them or give another mask.",
    high=0.5,
)
CUT = Rule(
    "field-of-view",
    "cm2",
    "The brain mask reaches the edge of the image: the brain is cut off, and lesions beyond are not seen, or the mask leaks.",
    high=10.0,
)
EMPTY = Rule(
    "brain-empty",
    "%",
    "Part of the brain mask holds no signal: the image was cut or masked before, or the mask lies wrong, so look at both.",
    high=3.0,
)


def brain_checks(scan: Volume, brain: np.ndarray, session: str | None) -> tuple[Check, ...]:
    """The checks of one mask.

    Args:
        scan: (X, Y, Z), on its own grid.
        brain: (X, Y, Z) bool, on the same grid.
        session: the visit.
    """
    volume_ml = brain_ml(scan, brain)
    if volume_ml == 0:
        return VOLUME.judge(0.0, session)
    box = box_of(brain, 1)
    inside = brain[box.slices]
    return (
        *VOLUME.judge(volume_ml, session),
        *PIECES.judge(apart_percent(inside), session),
        *HOLES.judge(holes_percent(inside), session),
        *CUT.judge(cut_cm2(brain, scan.spacing_mm), session),
        *EMPTY.judge(100.0 * float((scan.data[brain] <= 0).mean()), session),
    )


def change_checks(volumes_ml: Sequence[float], sessions: Sequence[str | None]) -> tuple[Check, ...]:
    """The change of the brain mask from each visit to the next, in per cent; undefined after an empty mask."""
    changes = [100.0 * (after / before - 1.0) if before > 0 else float("nan") for before, after in pairwise(volumes_ml)]
    return tuple(c for change, session in zip(changes, sessions[1:], strict=True) for c in CHANGE.judge(change, session))


def brain_ml(scan: Volume, brain: np.ndarray) -> float:
    """Volume of a brain mask."""
    return float(np.count_nonzero(brain)) * scan.voxel_mm3 / 1000.0


def apart_percent(brain: np.ndarray) -> float:
    """Share of a mask (not empty) that lies outside its largest 26-connected piece."""
    parts = sizes(*label(brain, 26))
    return 100.0 * (1.0 - float(parts.max()) / float(parts.sum()))


def holes_percent(brain: np.ndarray) -> float:
    """Volume of the holes that no path of face neighbours joins to the outside, relative to a mask (not empty)."""
    filled = np.count_nonzero(ndimage.binary_fill_holes(brain))
    return 100.0 * (filled / np.count_nonzero(brain) - 1.0)


def cut_cm2(brain: np.ndarray, spacing_mm: Sequence[float]) -> float:
    """The largest area of a mask on one of the six faces of the image."""
    areas = []
    for axis in range(3):
        u, v = (spacing_mm[i] for i in range(3) if i != axis)
        areas += [np.count_nonzero(np.moveaxis(brain, axis, 0)[side]) * u * v / 100.0 for side in (0, -1)]
    return float(max(areas))
