"""How well two visits lie on each other on their common grid: similarity, and the motion that is left. Moves no image.

The registration is not asked again: what it gave is measured by another cost (least squares of smoothed intensities) in another
way (Gauss-Newton from where the visits lie), so that one failure does not hide the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from coactseg_cli.components import depth_mm
from coactseg_cli.preprocessing.transforms import apply

COARSE_MM = 3.0  # voxels are averaged to about this, and then smoothed by a Gaussian of this standard deviation
RIM_MM = 6.0  # of the brain that is left out: there, two brain masks differ more than two brains
ITERATIONS = 8
STEP_MM = 0.02  # the last step
LEAST_VOXELS = 200
LEAST_SLOPE = 0.2  # of one visit's intensities on the other's: below, they do not look alike, and both are taken as they are


@dataclass(frozen=True, slots=True)
class Alignment:
    """How two visits lie on each other; NaN where the brains share too little."""

    similarity: float  # normalised cross-correlation of the smoothed visits inside both brains, -1 to 1
    residual_mm: float  # root mean square, over the brain, of the rigid motion that would make them more alike
    overlap: float  # Dice of the two brain masks, 0 to 1


def align(
    baseline: np.ndarray, followup: np.ndarray, baseline_brain: np.ndarray, followup_brain: np.ndarray, spacing_mm: Sequence[float]
) -> Alignment:
    """Measure how two visits lie on each other.

    Args:
        baseline: (X, Y, Z), any linear scale of intensities.
        followup: (X, Y, Z), the same grid.
        baseline_brain: (X, Y, Z) bool.
        followup_brain: (X, Y, Z) bool.
        spacing_mm: of the grid.

    Reference: Gauss-Newton registration, Baker and Matthews, IJCV 2004; the distance is that of Jenkinson 1999 (FMRIB TR99MJ1), taken
        over the voxels of the brain.
    """
    both = baseline_brain & followup_brain
    sizes = int(baseline_brain.sum()) + int(followup_brain.sum())
    overlap = 2.0 * int(both.sum()) / sizes if sizes else float("nan")
    factors = [max(1, round(COARSE_MM / s)) for s in spacing_mm]
    edges = np.array([s * f for s, f in zip(spacing_mm, factors, strict=True)])
    inside = _inside(block_mean(both, factors) > 0.5, edges)
    if int(inside.sum()) < LEAST_VOXELS:
        return Alignment(float("nan"), float("nan"), overlap)
    a, b = (ndimage.gaussian_filter(block_mean(image, factors), COARSE_MM / edges) for image in (baseline, followup))
    if a[inside].std() == 0 or b[inside].std() == 0:
        return Alignment(float("nan"), float("nan"), overlap)
    a, b = ((image - image[inside].mean()) / image[inside].std() for image in (a, b))
    return Alignment(float((a[inside] * b[inside]).mean(dtype=np.float64)), _residual_mm(a, b, inside, edges), overlap)


def block_mean(data: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """Means of blocks of `factors` voxels, float32; what does not fill a block at the end of an axis is left out."""
    x, y, z = (n // f for n, f in zip(data.shape, factors, strict=True))
    fx, fy, fz = factors
    cut = data[: x * fx, : y * fy, : z * fz].astype(np.float32)
    means: np.ndarray = cut.reshape(x, fx, y, fy, z, fz).mean(axis=(1, 3, 5))
    return means


def _inside(brain: np.ndarray, edges_mm: np.ndarray) -> np.ndarray:
    """The brain without its rim; all of it where next to nothing would be left."""
    deep: np.ndarray = depth_mm(np.pad(brain, 1), edges_mm.tolist())[1:-1, 1:-1, 1:-1] > RIM_MM
    return deep if int(deep.sum()) >= LEAST_VOXELS else brain


def _residual_mm(fixed: np.ndarray, moving: np.ndarray, inside: np.ndarray, edges_mm: np.ndarray) -> float:
    """Rigid motion of `moving` that fits it to `fixed` up to gain and offset, as the root mean square distance over `inside`."""
    index = np.argwhere(inside)
    centre = index.mean(axis=0)
    points = (index - centre) * edges_mm  # mm along the axes of the grid
    values = fixed[inside].astype(np.float64)
    slope = np.stack([g[inside] for g in np.gradient(fixed, *edges_mm)], axis=1)
    jacobian = np.column_stack([slope, np.cross(points, slope), np.ones(len(points))])
    motion = np.eye(4)
    for _ in range(ITERATIONS):
        at = (apply(motion, points) / edges_mm + centre).T
        difference = _fitted(ndimage.map_coordinates(moving, at, order=1, mode="nearest"), values) - values
        weights = _weights(difference)[:, None] * jacobian
        update = np.linalg.lstsq(weights.T @ jacobian, weights.T @ difference, rcond=None)[0]
        step = np.eye(4)
        step[:3, :3], step[:3, 3] = Rotation.from_rotvec(update[3:6]).as_matrix(), update[:3]
        motion = motion @ np.linalg.inv(step)
        if _distance_mm(step, points) < STEP_MM:
            break
    return _distance_mm(motion, points)


def _fitted(values: np.ndarray, to: np.ndarray) -> np.ndarray:
    """The gain and offset that bring `values` nearest to `to`, applied."""
    gain, offset = np.polyfit(values, to, 1)
    fitted: np.ndarray = gain * values + offset if gain > LEAST_SLOPE else values
    return fitted


def _weights(difference: np.ndarray) -> np.ndarray:
    """Cauchy weights: a lesion that came or went pulls at nothing."""
    weights: np.ndarray = 1.0 / (1.0 + (difference / (2.0 * np.median(np.abs(difference)) + 1e-9)) ** 2)
    return weights


def _distance_mm(motion: np.ndarray, points: np.ndarray) -> float:
    return float(np.sqrt(((apply(motion, points) - points) ** 2).sum(axis=1).mean()))
