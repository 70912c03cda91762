"""A scan as another acquisition of the same head would show it: a small motion, other slices, new noise. Writes no file."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from coactseg_cli.preprocessing.resampling import Grid, Interpolation, grid_of, inside_field, resample
from coactseg_cli.preprocessing.transforms import translation
from coactseg_cli.volumes import Volume

THICK = 1.5  # slices are thick where one edge of a voxel is so many times the shortest
SUBSLICE_MM = 1.0  # a thick slice is averaged over planes no farther apart than this
PEDESTAL = 1.0  # under what is interpolated, so that the dark rim of a cubic spline is not cut off at zero: in a scan it is not
_LAPLACE = np.outer((1.0, -2.0, 1.0), (1.0, -2.0, 1.0))  # no answer to a plane or a straight edge; its squares sum to 36
_NORMAL_MEDIAN = 0.6745  # median of |x| of a normal variable, in standard deviations


def slice_axis(spacing_mm: tuple[float, float, float]) -> int | None:
    """The axis 0, 1 or 2 along which slices are thick; None where voxels are about cubes."""
    axis = int(np.argmax(spacing_mm))
    return axis if spacing_mm[axis] > THICK * min(spacing_mm) else None


def noise_sd(scan: Volume, brain: np.ndarray) -> float:
    """Standard deviation of a scan's noise, from what neighbours in one slice do not explain, median over the brain.

    Args:
        scan: (X, Y, Z) on its own grid, any unit.
        brain: (X, Y, Z) bool; its rim of three voxels is left out where something stays.

    Returns: in the scan's unit; 0 for an empty brain. A scan that was interpolated in plane looks less noisy than it is.
    Reference: Immerkaer 1996, Computer Vision and Image Understanding 64, 300-302; with a median instead of the mean.
    """
    axis = slice_axis(scan.spacing_mm)
    kernel = np.expand_dims(_LAPLACE, 2 if axis is None else axis)
    inner = ndimage.binary_erosion(brain, iterations=3)
    inside = inner if inner.any() else brain
    if not inside.any():
        return 0.0
    rest = np.abs(ndimage.convolve(scan.data.astype(np.float32), kernel))[inside]
    return float(np.median(rest) / _NORMAL_MEDIAN / 6.0)


def small_motion(rng: np.random.Generator, centre_mm: np.ndarray, most_mm: float, most_deg: float) -> np.ndarray:
    """A rigid motion (4, 4), RAS mm: a shift of 0 to `most_mm` and a turn of 0 to `most_deg` about `centre_mm`, any direction."""
    direction, axis = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
    shift, angle = rng.uniform(0.0, 1.0, 2) * (most_mm, most_deg)
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec(axis * np.radians(angle)).as_matrix()
    motion: np.ndarray = translation(centre_mm + direction * shift) @ turn @ translation(-centre_mm)
    return motion


def smooth_field(rng: np.random.Generator, shape: tuple[int, int, int], most: float) -> np.ndarray:
    """A quadratic field (X, Y, Z) float32 around one that leaves it by `most` at its extreme: what a coil does to a scan."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n, dtype=np.float32) for n in shape], indexing="ij", sparse=True)
    a = rng.normal(size=6).astype(np.float32)
    field = a[0] * x + a[1] * y + a[2] * z + a[3] * x * y + a[4] * y * z + a[5] * (x**2 - z**2)
    return np.asarray(1.0 + most * field / np.abs(field).max(), np.float32)


def magnitude_noise(rng: np.random.Generator, scan: np.ndarray, sd: float) -> np.ndarray:
    """Add the noise of a magnitude image (Rician) to a scan (X, Y, Z) in its own unit; what is negative counts as no signal."""
    real, imaginary = (rng.normal(0.0, sd, scan.shape) for _ in range(2))
    return np.asarray(np.hypot(np.maximum(scan, 0.0) + real, imaginary), np.float32)


def through_slices(fine: Volume, scan: Grid, fine_from_scan: np.ndarray) -> Volume:
    """What the slices of a scan show of a fine volume, carried back to the fine grid as `prep` carries the scan.

        fine voxels --mean through each slice--> scan voxels --cubic--> fine voxels

    Args:
        fine: (X, Y, Z) float32 between 0 and about 2, 0 outside its field of view.
        scan: the grid of the scan. Where its voxels are about cubes nothing is averaged.
        fine_from_scan: (4, 4), RAS mm, points of the scan's space to points of the fine volume's.

    Returns: float32 on the grid of `fine`.
    """
    spacing = np.linalg.norm(scan.affine[:3, :3], axis=0)
    axis = slice_axis((float(spacing[0]), float(spacing[1]), float(spacing[2])))
    planes = 1 if axis is None else int(np.ceil(spacing[axis] / SUBSLICE_MM))
    shown = resample(fine, _refined(scan, axis or 0, planes), fine_from_scan, Interpolation.LINEAR).data
    if axis is not None:
        split = (*scan.shape[:axis], scan.shape[axis], planes, *scan.shape[axis + 1 :])
        shown = shown.reshape(split).mean(axis=axis + 1)
    back, scan_from_fine = grid_of(fine), np.linalg.inv(fine_from_scan)
    raised = resample(Volume(shown + PEDESTAL, scan.affine), back, scan_from_fine, Interpolation.CUBIC)
    inside = inside_field(back, scan, scan_from_fine)
    return raised.like(np.where(inside, raised.data - np.float32(PEDESTAL), np.float32(0.0)))


def _refined(grid: Grid, axis: int, planes: int) -> Grid:
    """The same box with `planes` planes in each slice; the first lies (planes - 1) / 2 planes before the slice's middle."""
    shape = [n * planes if a == axis else n for a, n in enumerate(grid.shape)]
    affine = grid.affine.copy()
    affine[:3, axis] /= planes
    affine[:3, 3] -= (planes - 1) / 2 * affine[:3, axis]
    return Grid((shape[0], shape[1], shape[2]), affine)
