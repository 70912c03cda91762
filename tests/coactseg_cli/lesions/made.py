"""Masks whose lesions are known: boxes drawn by hand, and random blobs that persist, grow, vanish, merge and split."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from coactseg_cli.lesions.tracking import VisitMaps

SHAPE = (10, 20, 30)
SPACING_MM = (0.5, 1.0, 2.0)  # a voxel is 1 mm3
Box = tuple[slice, slice, slice]

A: Box = (slice(1, 4), slice(1, 4), slice(1, 4))  # 27 voxels
B: Box = (slice(1, 4), slice(6, 9), slice(1, 4))  # 27 voxels, two voxels beside A
BRIDGE: Box = (slice(1, 4), slice(4, 6), slice(1, 4))  # 18 voxels that join A and B
FAR: Box = (slice(6, 8), slice(12, 14), slice(20, 25))  # 20 voxels, touches nothing
EMPTY: tuple[Box, ...] = ()


def mask(*boxes: Box) -> np.ndarray:
    """(10, 20, 30) bool, True in the boxes."""
    drawn = np.zeros(SHAPE, bool)
    for box in boxes:
        drawn[box] = True
    return drawn


def maps(*masks: np.ndarray) -> list[VisitMaps]:
    """Visits of which only the mask of all lesions is known."""
    return [VisitMaps(m) for m in masks]


def blobs(rng: np.random.Generator, n_visits: int) -> list[np.ndarray]:
    """Random lesions that the visits have partly in common."""
    shape = (14, 16, 18)
    common = gaussian_filter(rng.normal(size=shape), 1.2)
    fields = [common + 0.7 * gaussian_filter(rng.normal(size=shape), 1.2) for _ in range(n_visits)]
    return [field > rng.uniform(1.0, 1.6) * field.std() for field in fields]
