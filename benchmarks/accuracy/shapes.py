"""Lesion shapes as formulas: blobs of a smooth random field, balls that melt together, fingers that leave a ventricle.

A shape is the set where a formula of position (mm) lies above a level; the level is chosen for the wanted volume, and the voxels
get the share of them that lies inside, from 3 x 3 x 3 points each. No shape comes from a lesion mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import ndimage

from coactseg_cli.components import label, sizes

POINTS = 3  # per voxel edge
STEPS = 11  # of halving the interval of the level
REACH = 3.0  # the box reaches so many radii (of the ball of that volume) from the middle


class Family(StrEnum):
    """Kinds of shapes."""

    FIELD = "field"
    BALLS = "balls"
    FINGER = "finger"


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """Share of each voxel that lies inside, 0 to 1, in a cubic box of odd edge whose middle voxel is the lesion's place."""

    share: np.ndarray  # (N, N, N) float32
    family: Family

    @property
    def radius(self) -> int:
        """Voxels from the middle to the box's side."""
        return self.share.shape[0] // 2


def draw_shape(rng: np.random.Generator, volume_mm3: float, family: Family, axis: np.ndarray | None = None) -> Shape:
    """A shape of this volume, one connected piece.

    Args:
        rng: all chance comes from it.
        volume_mm3: wanted; met within a point of the grid where the formula allows.
        family: which formula.
        axis: (3,) direction of a finger, None: any.
    """
    ball_mm = (3 * volume_mm3 / (4 * np.pi)) ** (1 / 3)
    radius = int(np.ceil(REACH * ball_mm + 1))
    line = (np.arange(POINTS * (2 * radius + 1)) + 0.5) / POINTS - radius - 0.5
    points = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1) - rng.uniform(-0.5, 0.5, 3)
    formulas = {Family.FIELD: field, Family.BALLS: balls}
    values = finger(rng, points, ball_mm, axis) if family is Family.FINGER else formulas[family](rng, points, ball_mm)
    inside = level_set(values, round(volume_mm3 * POINTS**3))
    n = 2 * radius + 1
    share = inside.reshape(n, POINTS, n, POINTS, n, POINTS).mean(axis=(1, 3, 5), dtype=np.float32)
    return Shape(share, family)


def field(rng: np.random.Generator, points: np.ndarray, ball_mm: float) -> np.ndarray:
    """A ball, stretched and turned, whose border a smooth random field moves in and out: (..., 3) mm -> (...)."""
    noise = ndimage.gaussian_filter(rng.standard_normal(points.shape[:3]), 0.5 * ball_mm * POINTS)
    stretched = points @ (random_rotation(rng) * np.exp(rng.normal(0, 0.25, 3)))
    return np.asarray(rng.uniform(0.4, 0.9) * noise / max(noise.std(), 1e-12) - (stretched**2).sum(axis=-1) / ball_mm**2)


def balls(rng: np.random.Generator, points: np.ndarray, ball_mm: float) -> np.ndarray:
    """Three to six soft balls along a random walk, added up: (..., 3) mm -> (...)."""
    n = int(rng.integers(3, 7))
    places = np.cumsum(rng.normal(0, 0.45 * ball_mm, (n, 3)), axis=0)
    widths = rng.uniform(0.4, 0.8, n) * ball_mm
    squared = [((points - p) ** 2).sum(axis=-1) for p in places - places.mean(axis=0)]
    return np.asarray(sum(np.exp(-d / (2 * w * w)) for d, w in zip(squared, widths, strict=True)))


def finger(rng: np.random.Generator, points: np.ndarray, ball_mm: float, axis: np.ndarray | None) -> np.ndarray:
    """A bent, tapered rod along `axis`, as lesions along the veins that leave a ventricle: (..., 3) mm -> (...)."""
    direction = random_rotation(rng)[0] if axis is None else axis / np.linalg.norm(axis)
    side = np.cross(direction, rng.standard_normal(3))
    side /= np.linalg.norm(side)
    length_mm = rng.uniform(2.2, 3.2) * ball_mm
    bend_mm = rng.uniform(-0.4, 0.4) * ball_mm
    steps = np.linspace(0, 1, 9)
    centres = np.outer((steps - 0.5) * length_mm, direction) + np.outer(4 * steps * (1 - steps) * bend_mm, side)
    widths = np.linspace(1.0, rng.uniform(0.45, 0.9), 9)  # the near end is the thick one
    distance = np.full(points.shape[:3], np.inf)
    for centre, width in zip(centres, widths, strict=True):
        np.minimum(distance, np.linalg.norm(points - centre, axis=-1) / width, out=distance)
    return -distance


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    """A uniformly drawn rotation, (3, 3)."""
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    return np.asarray(q * np.sign(np.diag(r)))


def level_set(values: np.ndarray, n_wanted: int) -> np.ndarray:
    """The connected piece around the largest value that holds about `n_wanted` points: where values are above a level."""
    peak = np.unravel_index(int(values.argmax()), values.shape)
    low, high = float(values.min()), float(values.max())
    best = values >= high
    for _ in range(STEPS):
        level = (low + high) / 2
        labels, n = label(values >= level, 26)
        piece = labels == labels[peak]
        size = int(sizes(labels, n)[int(labels[peak]) - 1])
        if abs(size - n_wanted) < abs(int(best.sum()) - n_wanted):
            best = piece
        low, high = (level, high) if size > n_wanted else (low, level)
    return np.asarray(best)
