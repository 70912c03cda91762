"""Made-up lesions of a known size: shapes, contrasts and places in white matter. Renders nothing and knows no network.

Not the lesions that training paints (sampling/): other shapes, places chosen otherwise, no real texture.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from coactseg_cli.components import label

FINE = 3  # sub-voxels per voxel edge while a shape is made
TEXTURE_SHARE = 0.15  # SD of the contrast within a lesion
GAP_MM = 5.0  # between two lesions, and from every known one
DEPTH_MM = 8.0  # below the border of the brain mask
BAND_SD = (-0.4, 0.3)  # around the usual intensity of deep tissue: white matter that looks normal
SMOOTH_MM = 1.0  # before intensities are judged
ROOM = 0.9  # share of a lesion that must lie in white matter
TRIES = 60  # places that are looked at for one lesion

# Quartiles of the mean contrast of real lesions, SD above the tissue around (docs/synthesis.md, "What was measured"), by size
CONTRASTS_SD = ((15.0, 0.54, 0.81), (50.0, 0.70, 0.99), (200.0, 0.85, 1.33), (math.inf, 1.17, 1.58))


@dataclass(frozen=True, slots=True)
class SizeClass:
    """Lesions of `low_mm3` up to `high_mm3`; the largest class is drawn up to `drawn_mm3`."""

    low_mm3: float
    high_mm3: float  # infinite for the largest
    drawn_mm3: float  # largest volume that is drawn

    @property
    def words(self) -> str:
        """As it stands in a sentence."""
        return f"> {self.low_mm3:g} mm3" if math.isinf(self.high_mm3) else f"{self.low_mm3:g}-{self.high_mm3:g} mm3"


SIZES = (SizeClass(3.0, 10.0, 10.0), SizeClass(10.0, 50.0, 50.0), SizeClass(50.0, 100.0, 100.0), SizeClass(100.0, math.inf, 400.0))


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """A lesion before it has a place."""

    size: SizeClass
    volume_mm3: float
    contrast_sd: float  # mean over the lesion, as the finished scan shows it
    filled: np.ndarray  # (x, y, z) float32, 0 to 1: share of each voxel that the lesion fills
    texture: np.ndarray  # (x, y, z) float32 around 1


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """A lesion in a scan."""

    shape: Shape
    corner: tuple[int, int, int]  # first voxel of its box, which lies inside the scan

    @property
    def box(self) -> tuple[slice, ...]:
        """Where its box lies."""
        return tuple(slice(c, c + n) for c, n in zip(self.corner, self.shape.filled.shape, strict=True))


def contrast_range_sd(volume_mm3: float) -> tuple[float, float]:
    """Quartiles of the contrast of real lesions of this size."""
    return next((low, high) for below, low, high in CONTRASTS_SD if volume_mm3 < below)


def draw_shape(rng: np.random.Generator, size: SizeClass, spacing_mm: tuple[float, float, float]) -> Shape:
    """A lesion whose volume is even on a logarithmic scale within its class; contrast even within the quartiles of its size."""
    volume = float(np.exp(rng.uniform(np.log(size.low_mm3), np.log(size.drawn_mm3))))
    contrast = float(rng.uniform(*contrast_range_sd(volume)))
    filled = draw_blob(rng, volume, spacing_mm)
    grain = ndimage.gaussian_filter(rng.standard_normal(filled.shape), 1.0)
    texture = 1.0 + TEXTURE_SHARE * grain / max(float(grain.std()), 1e-6)
    return Shape(size, volume, contrast, filled, texture.astype(np.float32))


def draw_blob(rng: np.random.Generator, volume_mm3: float, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Two to five soft balls that flow together, cut at the level that gives the wanted volume.

    Returns: (x, y, z) float32, share of each voxel that is filled; sums to the volume up to 1 / FINE**3 of a voxel.
    """
    radius = (3.0 * volume_mm3 / (4.0 * np.pi)) ** (1 / 3)
    n = int(rng.integers(2, 6))
    spacing = np.array(spacing_mm)
    middles = rng.normal(0.0, 0.4 * radius, (n, 3)) + rng.uniform(-0.5, 0.5, 3) * spacing
    widths = radius * rng.uniform(0.5, 0.9, n)
    half = np.ceil((2.8 * radius + spacing) / spacing).astype(int)
    axes = [((np.arange((2 * h + 1) * FINE) + 0.5) / FINE - h - 0.5) * s for h, s in zip(half, spacing, strict=True)]
    field = np.zeros([len(a) for a in axes], np.float32)
    for middle, width in zip(middles, widths, strict=True):
        x, y, z = (np.exp(-0.5 * ((a - m) / width) ** 2).astype(np.float32) for a, m in zip(axes, middle, strict=True))
        field += x[:, None, None] * y[None, :, None] * z
    wanted = max(1, round(volume_mm3 / float(spacing.prod()) * FINE**3))
    level = np.partition(field.ravel(), -wanted)[-wanted]
    blocks = [size for h in half for size in (2 * int(h) + 1, FINE)]
    filled: np.ndarray = (field >= level).astype(np.float32).reshape(blocks).mean(axis=(1, 3, 5))
    return filled


def white_matter(images: Sequence[np.ndarray], brain: np.ndarray, known: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Where a lesion may be put: normal-looking at every visit, deep enough, away from every known lesion.

    No tissue segmentation: smoothed intensity near the commonest one of the deep brain. Mostly white matter; brain stem, deep grey
    nuclei, cerebellum and cortex of the same intensity are in it too.

    Args:
        images: per visit (X, Y, Z), normalised, on one grid.
        brain: (X, Y, Z) bool, in every visit's brain.
        known: (X, Y, Z) bool, every lesion that is known at any visit.
        spacing_mm: voxel edges.
    """
    deep = ndimage.distance_transform_edt(brain, sampling=spacing_mm) >= DEPTH_MM
    normal = deep & (ndimage.distance_transform_edt(~known, sampling=spacing_mm) > GAP_MM if known.any() else True)
    for image in images:
        smooth = ndimage.gaussian_filter(image.astype(np.float32), [SMOOTH_MM / s for s in spacing_mm])
        usual = _commonest(smooth[deep])
        normal &= (smooth > usual + BAND_SD[0]) & (smooth < usual + BAND_SD[1])
    return np.asarray(normal, bool)


def _commonest(values: np.ndarray) -> float:
    """Peak of the smoothed histogram between -1 and 1.5 SD; 0 where there is nothing."""
    counts, edges = np.histogram(values, 50, (-1.0, 1.5))
    peak = int(np.argmax(ndimage.gaussian_filter1d(counts.astype(float), 2.0)))
    return float((edges[peak] + edges[peak + 1]) / 2) if counts.any() else 0.0


def place(
    rng: np.random.Generator, shapes: Iterable[Shape], allowed: np.ndarray, spacing_mm: tuple[float, float, float]
) -> tuple[Placed, ...]:
    """Find a place for each shape, the largest first, GAP_MM or more from one another. What finds none is left out.

    Args:
        rng: of the places.
        shapes: lesions.
        allowed: (X, Y, Z) bool, see white_matter.
        spacing_mm: voxel edges.
    """
    depth = ndimage.distance_transform_edt(allowed, sampling=spacing_mm)
    gap = np.ceil(GAP_MM / np.array(spacing_mm)).astype(int)
    taken = np.zeros(allowed.shape, bool)
    placed: list[Placed] = []
    for shape in sorted(shapes, key=lambda s: -s.volume_mm3):
        found = _find(rng, shape, allowed & ~taken, depth)
        if found is None:
            continue
        placed.append(found)
        touched = ndimage.find_objects((shape.filled > 0).astype(np.uint8))[0]
        grown = zip(found.corner, touched, gap, strict=True)
        taken[tuple(slice(max(c + t.start - g, 0), c + t.stop + g) for c, t, g in grown)] = True
    return tuple(placed)


def _find(rng: np.random.Generator, shape: Shape, free: np.ndarray, depth: np.ndarray) -> Placed | None:
    """The first of some random places, deep enough in white matter for a ball of this volume, at which the shape fits."""
    radius = (3.0 * shape.volume_mm3 / (4.0 * np.pi)) ** (1 / 3)
    candidates = np.flatnonzero(free & (depth >= 0.8 * radius))
    if not candidates.size:
        return None
    size, half = np.array(shape.filled.shape), np.array(shape.filled.shape) // 2
    filled = shape.filled > 0
    for choice in rng.choice(candidates, TRIES):
        corner = np.array(np.unravel_index(choice, free.shape)) - half
        if (corner < 0).any() or (corner + size > free.shape).any():
            continue
        x, y, z = (int(c) for c in corner)
        here = Placed(shape, (x, y, z))
        if free[here.box][filled].mean() >= ROOM:
            return here
    return None


def canvas(placed: Sequence[Placed], shape: tuple[int, int, int]) -> np.ndarray:
    """All lesions in one image (X, Y, Z) float32: share of each voxel that is filled, times texture."""
    image = np.zeros(shape, np.float32)
    for lesion in placed:
        image[lesion.box] += lesion.shape.filled * lesion.shape.texture
    return image


def truth(placed: Sequence[Placed], shape: tuple[int, int, int], voxel_mm3: float) -> np.ndarray:
    """Which voxels are lesion: (X, Y, Z) uint16, 1 for the first; the fullest ones of each, as many as its volume asks for."""
    labels = np.zeros(shape, np.uint16)
    for i, lesion in enumerate(placed, start=1):
        filled = lesion.shape.filled
        wanted = max(1, round(lesion.shape.volume_mm3 / voxel_mm3))
        level = np.partition(filled.ravel(), -wanted)[-wanted]
        labels[lesion.box][(filled >= level) & (filled > 0)] = i
    return labels


def found_of(labels: np.ndarray, n: int, mask: np.ndarray) -> np.ndarray:
    """Which of lesions 1..n have a voxel inside a mask: (n,) bool."""
    found: np.ndarray = np.isin(np.arange(1, n + 1), labels[mask])
    return found


def count(mask: np.ndarray) -> int:
    """Lesions in a mask."""
    return label(mask)[1]
