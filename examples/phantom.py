"""Pictures of the made-up head: lesions, a grid, a head position, a FLAIR scan with its true masks. No file is written.

Everything is evaluated at the points of the grid asked for, so two visits in different positions share no resampling,
and the true masks of a visit are exact on its own grid.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from examples.anatomy import FLAIR_SIGNAL, LESION_SIGNAL, Anatomy, Points, Tissue, Waves, draw_waves, tissue_at

SAMPLE_MM = 1.5  # a voxel is the mean of points about this far apart
BLUR_MM = 0.7  # standard deviation of the scanner's point spread
PARENCHYMA = (Tissue.GREY, Tissue.WHITE, Tissue.RIM)


class Fate(StrEnum):
    """What becomes of a lesion between two visits."""

    STABLE = "stable"
    NEW = "new"
    GONE = "gone"
    GROWN = "grown"
    SHRUNK = "shrunk"


@dataclass(frozen=True, slots=True)
class Lesion:
    """A blob in head coordinates; `scale` gives its size at each visit, 0 where it is not there."""

    centre_mm: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    scale: tuple[float, ...] = (1.0,)

    def fate(self, baseline: int, followup: int) -> Fate | None:
        """What becomes of it from one visit to another; None where neither has it."""
        before, after = self.scale[baseline], self.scale[followup]
        if not before and not after:
            return None
        if not before or not after:
            return Fate.NEW if after else Fate.GONE
        if before == after:
            return Fate.STABLE
        return Fate.GROWN if after > before else Fate.SHRUNK


@dataclass(frozen=True, slots=True)
class Grid:
    """Where a scan's voxels lie: shape (X, Y, Z), affine (4, 4) voxel index to scanner RAS mm."""

    shape: tuple[int, int, int]
    affine: np.ndarray

    @property
    def spacing_mm(self) -> np.ndarray:
        """(3,) voxel edges."""
        spacing: np.ndarray = np.linalg.norm(self.affine[:3, :3], axis=0)
        return spacing


@dataclass(frozen=True, slots=True)
class Scanning:
    """How one visit is scanned."""

    grid: Grid
    pose: np.ndarray  # (4, 4), head coordinates to scanner RAS mm, rigid
    gain: float = 4.0  # stored value of white matter is 100 times this
    noise: float = 5.0  # standard deviation, white matter is 100
    bias: float = 0.15  # strength of the bias field; 0: none


@dataclass(frozen=True, slots=True)
class Rendering:
    """One visit on its own grid: each (X, Y, Z)."""

    grid: Grid
    flair: np.ndarray  # int16
    brain: np.ndarray  # bool
    lesions: np.ndarray  # uint8, 0: none, i: the i-th lesion of the head


def rigid(rotation_deg: tuple[float, float, float], shift_mm: tuple[float, float, float]) -> np.ndarray:
    """(4, 4) turn about x, then y, then z (degrees, fixed axes, about the origin), then shift."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", rotation_deg, degrees=True).as_matrix()
    matrix[:3, 3] = shift_mm
    return matrix


def centred_grid(
    fov_mm: tuple[float, float, float],
    spacing_mm: tuple[float, float, float],
    axes: str = "RAS",
    tilt_deg: tuple[float, float, float] = (0, 0, 0),
    centre_mm: tuple[float, float, float] = (0, 6, -8),
) -> Grid:
    """A grid around a scanner point. `fov_mm` and `spacing_mm` go along the array axes, `axes` names where each points (as 'PSR').

    Raises: ValueError where `axes` does not name the three directions once each.
    """
    direction = np.zeros((3, 3))
    for column, letter in enumerate(axes):
        row = next((r for r, pair in enumerate(("RL", "AP", "SI")) if letter in pair), None)
        if row is None or direction[row].any():
            msg = f"axes must name three different directions out of R/L, A/P, S/I; got {axes!r}"
            raise ValueError(msg)
        direction[row, column] = 1.0 if letter in "RAS" else -1.0
    shape = tuple(max(round(f / s), 1) for f, s in zip(fov_mm, spacing_mm, strict=True))
    affine = np.eye(4)
    affine[:3, :3] = rigid(tilt_deg, (0, 0, 0))[:3, :3] @ direction * np.asarray(spacing_mm)
    affine[:3, 3] = np.asarray(centre_mm) - affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return Grid((shape[0], shape[1], shape[2]), affine)


def render(anatomy: Anatomy, lesions: tuple[Lesion, ...], visit: int, scanning: Scanning, seed: tuple[int, ...]) -> Rendering:
    """Scan a head once. The same arguments give the same voxels."""
    rng = np.random.default_rng(seed)
    shape = scanning.grid.shape
    signal, brain = np.zeros(shape, np.float32), np.zeros(shape, bool)
    found = np.zeros(shape, np.uint8)
    shapes = [draw_waves(np.random.default_rng((i, 7)), 8, 9, 18) for i in range(len(lesions))]
    for slab in _slabs(shape):
        points, size, samples = _sample(scanning, slab)
        tissue, in_brain = tissue_at(points, anatomy)
        values = _tissue_signal(tissue, points, anatomy)
        share = _paint(values, tissue, points, [(le, le.scale[visit], s) for le, s in zip(lesions, shapes, strict=True)])
        signal[..., slab] = _mean(values, size, samples)
        brain[..., slab] = _mean(in_brain, size, samples) >= 0.5
        for number, (index, inside) in share.items():
            full = np.zeros(len(values), np.float32)
            full[index] = inside
            found[..., slab][_mean(full, size, samples) >= 0.5] = number
    return Rendering(scanning.grid, _acquire(signal, scanning, rng), brain, found)


def _slabs(shape: tuple[int, int, int]) -> Iterator[slice]:
    thickness = max(1, 400_000 // (shape[0] * shape[1]))  # keeps the working memory small
    return (slice(k, min(k + thickness, shape[2])) for k in range(0, shape[2], thickness))


def _sample(scanning: Scanning, slab: slice) -> tuple[Points, tuple[int, int, int], tuple[int, int, int]]:
    """Sample points of some slices in head coordinates, in the order x, y, z, then (sx, sy, sz) inside a voxel."""
    grid = scanning.grid
    samples = [int(np.clip(round(s / SAMPLE_MM), 1, 3)) for s in grid.spacing_mm]
    to_head = np.linalg.inv(scanning.pose) @ grid.affine
    ranges = (range(grid.shape[0]), range(grid.shape[1]), range(slab.start, slab.stop))
    axes = []
    for axis, (indices, n) in enumerate(zip(ranges, samples, strict=True)):
        offsets = (np.arange(n) + 0.5) / n - 0.5
        position = np.asarray(indices, float)[:, None] + offsets
        axes.append(position.reshape([len(indices) if a == axis else n if a == axis + 3 else 1 for a in range(6)]))
    coordinates = []
    for row in range(3):
        total = sum(to_head[row, a] * axes[a] for a in range(3)) + to_head[row, 3]
        coordinates.append(np.asarray(total, np.float32).ravel())
    size = (grid.shape[0], grid.shape[1], slab.stop - slab.start)
    return Points(*coordinates), size, (samples[0], samples[1], samples[2])


def _mean(values: np.ndarray, size: tuple[int, int, int], samples: tuple[int, int, int]) -> np.ndarray:
    mean: np.ndarray = values.reshape(*size, -1).mean(axis=3, dtype=np.float32)
    if mean.shape != size or values.size != np.prod(size) * np.prod(samples):
        msg = f"{values.size} samples do not fill {size} voxels of {samples} samples"
        raise ValueError(msg)
    return mean


def _tissue_signal(tissue: np.ndarray, points: Points, anatomy: Anatomy) -> np.ndarray:
    table = np.zeros(len(Tissue), np.float32)
    for kind, value in FLAIR_SIGNAL.items():
        table[kind] = value
    values: np.ndarray = table[tissue]
    solid = np.flatnonzero(np.isin(tissue, [*PARENCHYMA, Tissue.MUSCLE]))
    values[solid] *= 1 + np.float32(0.03) * anatomy.texture.value(points[solid])
    return values


def _paint(
    values: np.ndarray, tissue: np.ndarray, points: Points, lesions: list[tuple[Lesion, float, Waves]]
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Brighten the lesions in `values`; give per lesion number the sample points and whether each is inside."""
    inside: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    solid = np.isin(tissue, PARENCHYMA)
    for number, (lesion, scale, waves) in enumerate(lesions, start=1):
        if not scale:
            continue
        radii = np.asarray(lesion.radii_mm) * scale
        offset = [v - np.float32(c) for v, c in zip((points.x, points.y, points.z), lesion.centre_mm, strict=True)]
        near = solid & (np.maximum.reduce([np.abs(o) for o in offset]) < 1.5 * radii.max())
        index = np.flatnonzero(near)
        if not len(index):
            continue
        radius = np.sqrt(sum((o[index] / np.float32(r)) ** 2 for o, r in zip(offset, radii, strict=True)))
        radius *= 1 + np.float32(0.1) * waves.value(points[index])
        strength = np.clip((1.2 - radius) / 0.4, 0, 1)  # one half at the border
        values[index] += strength * np.maximum(LESION_SIGNAL - values[index], 0)
        inside[number] = (index, radius < 1)
    return inside


def _acquire(signal: np.ndarray, scanning: Scanning, rng: np.random.Generator) -> np.ndarray:
    """Point spread, bias field, Rician noise, gain: (X, Y, Z) int16."""
    signal = gaussian_filter(signal, BLUR_MM / scanning.grid.spacing_mm)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in signal.shape), indexing="ij", sparse=True)
    terms = (x, y, z, x * y, y * z, x * z, x * x - 0.3, y * y - 0.3, z * z - 0.3)
    weights = rng.normal(size=len(terms)) * scanning.bias * 0.5
    field = np.exp(sum(np.float32(w) * t for w, t in zip(weights, terms, strict=True)))
    noise = rng.normal(scale=scanning.noise, size=(2, *signal.shape)).astype(np.float32)
    stored = np.hypot(signal * field + noise[0], noise[1]) * scanning.gain
    rounded: np.ndarray = np.clip(np.rint(stored), 0, 32767).astype(np.int16)
    return rounded
