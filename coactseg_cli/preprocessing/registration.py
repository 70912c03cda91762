"""Rigid registration of two visits: accurate, quick, and the same bytes every time. Resamples nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from coactseg_cli.components import depth_mm
from coactseg_cli.errors import ImplausibleRegistration
from coactseg_cli.preprocessing.halfway import mean_rigid, orthonormal
from coactseg_cli.preprocessing.itk import one_thread, simpleitk, to_image, to_matrix
from coactseg_cli.preprocessing.transforms import apply, rotation_deg, settled
from coactseg_cli.volumes import Volume, box_of, crop

_MARGIN_MM = 12.0  # kept around the brain
_RIM_MM = 6.0  # around the brain that counts too: where the cortex is smooth, its border with the skull says most


@dataclass(frozen=True, slots=True, eq=False)
class RigidResult:
    """Where one visit lies relative to another."""

    matrix: np.ndarray  # (4, 4) RAS mm: points of `fixed` to points of `moving`; resamples moving onto the grid of fixed
    metric: float  # mutual information of the brain at the end, averaged over both directions; negative, smaller is better
    asymmetry_mm: float  # largest distance over the brain between the two directions' answers

    @property
    def rotation_deg(self) -> float:
        """Rotation angle."""
        return rotation_deg(self.matrix)


@dataclass(frozen=True, slots=True)
class Level:
    """One level of the pyramid."""

    voxel_mm: float  # voxels are averaged until no edge is much shorter than this
    iterations: int
    step: float  # first step, mm at the edge of the brain
    least_step: float


LEVELS = (Level(4.0, 60, 2.0, 0.02), Level(2.0, 40, 0.5, 0.01), Level(1.6, 30, 0.05, 0.002))
SEARCH = Level(6.0, 20, 4.0, 0.3)  # from each of the first guesses
GUESSES_RAD = ((0.0, 0.0, 0.0), *(tuple(angle * (i == axis) for i in range(3)) for axis in range(3) for angle in (-0.45, -0.2, 0.2, 0.45)))


def rigid(fixed: Volume, moving: Volume, fixed_mask: np.ndarray | None = None, moving_mask: np.ndarray | None = None) -> RigidResult:
    """Find the rigid motion between two scans of one head.

    Mutual information (Mattes) over every voxel of the brain and a rim around it. First guesses bring the centres of the two
    brains together and turn by 0, 11 or 26 degrees; the best goes on, coarse to fine. Once from each scan to the other, and
    the mean of both, so that swapping the scans inverts the answer. No random numbers, and one thread: what several threads add
    up differs in its last bits from run to run.

    Args:
        fixed: (X, Y, Z), any grid.
        moving: (X, Y, Z), any grid.
        fixed_mask: (X, Y, Z) bool, the brain in `fixed`; None: what is brighter than the mean.
        moving_mask: the same for `moving`.

    Raises: ImplausibleRegistration where the scans do not meet.
    """
    fixed_head, moving_head = _head(fixed, fixed_mask), _head(moving, moving_mask)
    forward, forward_metric = _register(fixed_head, moving_head)
    backward, backward_metric = _register(moving_head, fixed_head)
    backward = np.linalg.inv(backward)
    matrix = mean_rigid([forward, backward])
    points = apply(fixed_head.volume.affine, np.argwhere(fixed_head.mask)[::101])
    gap = np.linalg.norm(apply(forward, points) - apply(backward, points), axis=1)
    return RigidResult(matrix, (forward_metric + backward_metric) / 2, float(settled(gap.max())))


@dataclass(frozen=True, slots=True, eq=False)
class _Head:
    """A scan cut to the brain and a margin."""

    volume: Volume
    mask: np.ndarray

    def averaged(self, voxel_mm: float) -> _Head:
        """Voxels averaged in blocks whose edges come near `voxel_mm`; thick slices stay as they are."""
        factors = tuple(max(1, round(voxel_mm / s)) for s in self.volume.spacing_mm)
        shape = tuple(n // f for n, f in zip(self.mask.shape, factors, strict=True))
        affine = self.volume.affine @ np.diag([*factors, 1.0])
        affine[:3, 3] = apply(self.volume.affine, (np.array([factors]) - 1) / 2)[0]
        return _Head(Volume(_block_mean(self.volume.data, shape, factors), affine), _block_mean(self.mask, shape, factors) >= 0.5)


def _block_mean(data: np.ndarray, shape: tuple[int, ...], factors: tuple[int, ...]) -> np.ndarray:
    cut = data[tuple(slice(0, n * f) for n, f in zip(shape, factors, strict=True))].astype(np.float32)
    split = [size for pair in zip(shape, factors, strict=True) for size in pair]
    means: np.ndarray = cut.reshape(split).mean(axis=(1, 3, 5))
    return means


def _head(volume: Volume, mask: np.ndarray | None) -> _Head:
    inside = volume.data > volume.data.mean() if mask is None else mask.astype(bool)
    margin = int(np.ceil(_MARGIN_MM / min(volume.spacing_mm)))
    box = box_of(inside, margin)
    part = crop(volume, box)
    inside = inside[box.slices]
    if mask is not None:
        inside = depth_mm(~inside, part.spacing_mm) <= _RIM_MM
    top = float(np.percentile(part.data[inside], 99.8))
    return _Head(part.like(np.clip(part.data, 0.0, max(top, 1e-6)) / max(top, 1e-6)), inside)


def _centre(head: _Head) -> np.ndarray:
    """Centre of the brain in RAS mm, (3,)."""
    centre: np.ndarray = apply(head.volume.affine, np.array([ndimage.center_of_mass(head.mask)]))[0]
    return centre


def _register(fixed: _Head, moving: _Head) -> tuple[np.ndarray, float]:
    """One direction: moving_from_fixed (4, 4) in RAS mm and the metric at its end."""
    transform = _first_guess(fixed, moving)
    metric = 0.0
    for level in LEVELS:
        metric = _descend(fixed.averaged(level.voxel_mm), moving.averaged(level.voxel_mm), transform, level)
    return orthonormal(to_matrix(transform)), metric


def _first_guess(fixed: _Head, moving: _Head) -> Any:
    """The best of some starts, each followed downhill for a little on few voxels: a SimpleITK Euler3DTransform."""
    sitk = simpleitk()
    centre = _centre(fixed)
    shift = _centre(moving) - centre
    small = fixed.averaged(SEARCH.voxel_mm), moving.averaged(SEARCH.voxel_mm)
    found: list[tuple[float, Any]] = []
    for turn in GUESSES_RAD:
        transform = sitk.Euler3DTransform()
        transform.SetCenter([-centre[0], -centre[1], centre[2]])
        transform.SetTranslation([-shift[0], -shift[1], shift[2]])
        transform.SetRotation(*turn)
        found.append((_descend(*small, transform, SEARCH), transform))
    return min(found, key=lambda pair: pair[0])[1]


def _descend(fixed: _Head, moving: _Head, transform: Any, level: Level) -> float:
    """Move `transform` downhill in place. Returns: the metric reached."""
    sitk = simpleitk()
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(numberOfHistogramBins=32)
    method.SetMetricSamplingStrategy(method.NONE)
    # The default gradient is smoothed by the thickest edge of a voxel: its zero is not the metric's optimum (0.25 mm off).
    method.MetricUseFixedImageGradientFilterOff()
    method.MetricUseMovingImageGradientFilterOff()
    method.SetMetricFixedMask(sitk.Cast(to_image(fixed.volume.like(fixed.mask)), sitk.sitkUInt8))
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        level.step, level.least_step, level.iterations, relaxationFactor=0.5, gradientMagnitudeTolerance=1e-8
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(transform, inPlace=True)
    try:
        with one_thread():
            method.Execute(to_image(fixed.volume), to_image(moving.volume))
    except RuntimeError as error:
        msg = f"the two scans do not meet ({str(error).splitlines()[-1]}). Is it the same head?"
        raise ImplausibleRegistration(msg) from error
    return float(method.GetMetricValue())
