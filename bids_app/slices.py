"""Which part of a volume is shown: slices that cut lesions, views for a check, the field around a lesion. Draws nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from bids_app.tiles import Plane, Region, Triple, View

MARGIN_MM = 6.0  # kept around the brain


def choose_slices(lesions: np.ndarray, brain: np.ndarray | None, count: int = 12) -> tuple[tuple[int, ...], int, int]:
    """Choose axial slices that cut as many lesions as possible; what is left over is spread through the brain.

    Args:
        lesions: (X, Y, Z) bool, may be empty.
        brain: (X, Y, Z) bool; None or empty: the whole height.
        count: slices wanted.

    Returns: slice indices in rising order, number of lesions that they cut, number of lesions.
    """
    chosen, shown, total = _covering_slices(lesions, count)
    low, high = _height(brain, lesions.shape[2])
    spread = np.unique(np.linspace(low, high, count).round().astype(int))
    while len(chosen) < count:
        far = [min((abs(int(z) - c) for c in chosen), default=count) for z in spread]
        if max(far) == 0:
            break
        chosen.append(int(spread[int(np.argmax(far))]))
    return tuple(sorted(chosen)), shown, total


def _covering_slices(lesions: np.ndarray, count: int) -> tuple[list[int], int, int]:
    """Greedy cover: each next slice cuts the most lesions not yet cut, among these the largest area."""
    labels, total = ndimage.label(lesions)
    spans = [(box[2].start, box[2].stop) for box in ndimage.find_objects(labels)]
    area = np.count_nonzero(lesions, axis=(0, 1))
    chosen: list[int] = []
    while spans and len(chosen) < count:
        hits = np.zeros(lesions.shape[2], int)
        for start, stop in spans:
            hits[start:stop] += 1
        best = int(np.lexsort((area, hits))[-1])
        chosen.append(best)
        spans = [span for span in spans if not span[0] <= best < span[1]]
    return chosen, int(total) - len(spans), int(total)


def _height(brain: np.ndarray | None, depth: int) -> tuple[int, int]:
    """First and last slice worth showing: the brain without its lowest and highest twelfth."""
    if brain is None or not brain.any():
        return depth // 12, depth - 1 - depth // 12
    line = np.flatnonzero(brain.any(axis=(0, 1)))
    trim = (line[-1] - line[0]) // 12
    return int(line[0] + trim), int(line[-1] - trim)


def brain_region(image: np.ndarray, brain: np.ndarray | None, spacing_mm: Triple) -> Region:
    """Find the box of the brain with a margin, everything where there is no brain mask."""
    if brain is None or not brain.any():
        return slice(0, image.shape[0]), slice(0, image.shape[1]), slice(0, image.shape[2])
    parts = []
    for axis, step in enumerate(spacing_mm):
        line = np.flatnonzero(brain.any(axis=tuple(a for a in range(3) if a != axis)))
        margin = round(MARGIN_MM / step)
        parts.append(slice(max(int(line[0]) - margin, 0), min(int(line[-1]) + 1 + margin, image.shape[axis])))
    return parts[0], parts[1], parts[2]


def spread(mask: np.ndarray, plane: Plane, count: int) -> list[int]:
    """Take indices spread evenly through a mask along one axis, its ends left out; through the array where the mask is empty."""
    line = np.flatnonzero(mask.any(axis=tuple(axis for axis in range(3) if axis != plane)))
    low, high = (int(line[0]), int(line[-1])) if line.size else (0, mask.shape[plane] - 1)
    return [round(low + (high - low) * (i + 1) / (count + 1)) for i in range(count)]


def usual_views(brain: np.ndarray) -> tuple[View, ...]:
    """Take three axial slices, one coronal and, on each side of the midline, one sagittal where the ventricle shows."""
    axial, coronal, sagittal = spread(brain, Plane.AXIAL, 9), spread(brain, Plane.CORONAL, 3), spread(brain, Plane.SAGITTAL, 9)
    places = [(Plane.AXIAL, axial[i]) for i in (2, 4, 6)]
    places += [(Plane.CORONAL, coronal[1]), (Plane.SAGITTAL, sagittal[3]), (Plane.SAGITTAL, sagittal[5])]
    return tuple(View(plane, index) for plane, index in places)


def field_around(shape: tuple[int, ...], centre: Sequence[float], spacing_mm: Triple, field_mm: float) -> Region:
    """Find a field around a point, moved inwards at the border; smaller where the array is smaller."""
    parts = []
    for n, middle, step in zip(shape, centre, spacing_mm, strict=True):
        length = min(max(round(field_mm / step), 1), n)
        start = min(max(math.floor(middle + 0.5 - length / 2), 0), n - length)
        parts.append(slice(start, start + length))
    return parts[0], parts[1], parts[2]


def nearest_slice(mask: np.ndarray, box: Region, z: float) -> int:
    """Find the slice nearest to z where the field holds something of the mask, else z itself."""
    found = np.flatnonzero(mask[box[0], box[1]].any(axis=(0, 1)))
    return int(found[np.argmin(abs(found - z))]) if found.size else min(max(round(z), 0), mask.shape[2] - 1)
