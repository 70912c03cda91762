"""Grids, and carrying an image to another grid in one interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from coactseg_cli.preprocessing.itk import simpleitk, to_image, to_transform, to_volume
from coactseg_cli.preprocessing.transforms import apply
from coactseg_cli.volumes import Box, Volume, box_of, crop, from_ras, to_ras

_PAD_MM = 12.0  # of the source around the target's box: more than a cubic spline's reach across 4 mm slices


class Interpolation(StrEnum):
    """How values between voxels are found."""

    LINEAR = "linear"  # probabilities
    CUBIC = "cubic"  # images: cubic B-spline, kept within the source's range
    MASK = "mask"  # linear, then 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Where voxels lie: shape (X, Y, Z) and affine (4, 4) to RAS mm."""

    shape: tuple[int, int, int]
    affine: np.ndarray


def grid_of(volume: Volume) -> Grid:
    """The grid of a volume."""
    return Grid(volume.shape, volume.affine)


def resample(volume: Volume, grid: Grid, volume_from_grid: np.ndarray, how: Interpolation) -> Volume:
    """Carry a volume to a grid; zero where the grid leaves the field of view.

    Args:
        volume: (X, Y, Z), any orientation; a mask for MASK.
        grid: the target.
        volume_from_grid: (4, 4), RAS mm, points of the grid's space to points of the volume's space.
        how: interpolation. CUBIC is clipped to the source's range, so that it cannot ring below zero.

    Returns: float32 on the grid, bool for MASK; the same numbers whatever the order of the axes of the volume and of the grid.
    """
    target = Volume(np.broadcast_to(np.float32(0.0), grid.shape), grid.affine)
    return from_ras(_resample(to_ras(volume), grid_of(to_ras(target)), volume_from_grid, how), target)


def _resample(volume: Volume, grid: Grid, volume_from_grid: np.ndarray, how: Interpolation) -> np.ndarray:
    """(X, Y, Z) on a grid."""
    sitk = simpleitk()
    source = _part_seen(volume, grid, volume_from_grid)
    if source is None:
        return np.zeros(grid.shape, bool if how is Interpolation.MASK else np.float32)
    resampler = sitk.ResampleImageFilter()
    resampler.SetReferenceImage(to_image(Volume(np.zeros(grid.shape, np.float32), grid.affine)))
    resampler.SetTransform(to_transform(volume_from_grid))
    resampler.SetInterpolator(sitk.sitkBSpline3 if how is Interpolation.CUBIC else sitk.sitkLinear)
    resampler.SetDefaultPixelValue(0.0)
    resampler.SetNumberOfThreads(1)
    data = to_volume(resampler.Execute(to_image(source))).data
    if how is Interpolation.MASK:
        return data >= 0.5
    if how is Interpolation.CUBIC:
        data = np.clip(data, min(float(source.data.min()), 0.0), max(float(source.data.max()), 0.0))
    return data


def inside_field(grid: Grid, source: Grid, source_from_grid: np.ndarray) -> np.ndarray:
    """Which voxels (X, Y, Z) of a grid lie inside the field of view of another, between its outermost voxel centres."""
    index_from_grid = np.linalg.inv(source.affine) @ source_from_grid @ grid.affine
    inside = np.ones(grid.shape, bool)
    i, j, k = np.ogrid[: grid.shape[0], : grid.shape[1], : grid.shape[2]]
    for row, n in zip(index_from_grid[:3], source.shape, strict=True):
        at = (row[0] * i + row[3]) + row[1] * j + row[2] * k
        inside &= (at >= -1e-3) & (at <= n - 1 + 1e-3)
    return inside


def _part_seen(volume: Volume, grid: Grid, volume_from_grid: np.ndarray) -> Volume | None:
    """The part of the volume that the grid's box covers, with a margin; None where they do not meet."""
    index_from_grid = np.linalg.inv(volume.affine) @ volume_from_grid @ grid.affine
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in grid.shape], indexing="ij")).reshape(3, -1).T
    at = apply(index_from_grid, corners)
    pad = _PAD_MM / np.array(volume.spacing_mm)
    start = np.maximum(np.floor(at.min(axis=0) - pad), 0).astype(int)
    stop = np.minimum(np.ceil(at.max(axis=0) + pad) + 1, volume.shape).astype(int)
    if (stop <= start).any():
        return None
    x0, y0, z0 = start.tolist()
    x1, y1, z1 = stop.tolist()
    return crop(volume, Box((x0, y0, z0), (x1, y1, z1)))


def reference_grid(
    masks: Sequence[Volume], visits_from_reference: Sequence[np.ndarray], spacing_mm: tuple[float, float, float], margin_mm: float = 8.0
) -> Grid:
    """The smallest RAS-aligned grid that covers every visit's brain and a margin.

    Its lattice passes through the centre of the first visit's first voxel, so that a scan that is axis-aligned with
    this spacing already is carried over without any interpolation.

    Args:
        masks: per visit the brain mask (X, Y, Z) on its own grid, none empty.
        visits_from_reference: per visit (4, 4), points of the reference space to points of the visit.
        spacing_mm: voxel edges.
        margin_mm: around the brain on each side.
    """
    spacing = np.array(spacing_mm)
    points = np.vstack([apply(np.linalg.inv(v), _brain_corners(m)) for m, v in zip(masks, visits_from_reference, strict=True)])
    anchor = apply(np.linalg.inv(visits_from_reference[0]), masks[0].affine[None, :3, 3])[0]
    low = np.floor((points.min(axis=0) - margin_mm - anchor) / spacing - 1e-6)
    high = np.ceil((points.max(axis=0) + margin_mm - anchor) / spacing + 1e-6)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = anchor + low * spacing
    x, y, z = (high - low).astype(int) + 1
    return Grid((int(x), int(y), int(z)), affine)


def _brain_corners(mask: Volume) -> np.ndarray:
    """World points (N, 3), RAS mm, of the brain's surface voxels: enough to bound it in any rotated frame."""
    box = box_of(mask.data)
    inside = mask.data[box.slices].astype(bool)
    first, last = inside.argmax(axis=0), inside.shape[0] - 1 - inside[::-1].argmax(axis=0)
    y, z = np.nonzero(inside.any(axis=0))
    index = np.vstack([np.stack([line[y, z], y, z], axis=1) for line in (first, last)]) + np.array(box.start)
    return apply(mask.affine, index)
