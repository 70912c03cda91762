"""What a scan looks like in a few numbers, and the ranges of those numbers over the scans that a model saw. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from nibabel.orientations import io_orientation

from coactseg_cli.volumes import Volume, box_of

PERCENTILES = (5.0, 25.0, 50.0, 75.0, 95.0, 99.0)  # of the brain's z-scores; the lowest ones are left out: they say where the mask ends
Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class ScanProfile:
    """One scan in numbers."""

    in_plane_mm: float  # the larger of the two shorter voxel edges of the scan's own grid
    slice_mm: float  # the longest voxel edge of the scan's own grid
    extent_mm: tuple[float, float, float]  # of the brain's box: left to right, back to front, bottom to top
    brain_ml: float  # of the brain mask
    intensities: tuple[float, ...]  # z-scores inside the brain at PERCENTILES


@dataclass(frozen=True, slots=True)
class SeenRanges:
    """Lowest and highest number over the scans of a training."""

    n_scans: int
    in_plane_mm: Range
    slice_mm: Range  # with the slices that training rendered
    extent_mm: tuple[Range, Range, Range]
    brain_ml: Range
    intensities: tuple[Range, ...]  # z-scores at PERCENTILES


def profile_of(spacing_mm: Sequence[float], brain_ml: float, image: Volume, brain: np.ndarray) -> ScanProfile:
    """Describe a scan.

    Args:
        spacing_mm: voxel edges of the scan's own grid.
        brain_ml: volume of the brain mask on that grid.
        image: (X, Y, Z) of one visit on the prepared grid, in any linear scale.
        brain: (X, Y, Z) bool, its brain on the same grid.

    Raises: ValueError where the brain is empty or constant.
    """
    _, in_plane, thickest = sorted(float(s) for s in spacing_mm)
    values = image.data[brain]
    mean, sd = (float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))) if values.size else (0.0, 0.0)
    if sd == 0:
        msg = f"expected a brain with more than one intensity; got {values.size} voxels"
        raise ValueError(msg)
    scores = (float((p - mean) / sd) for p in np.percentile(values, PERCENTILES))
    return ScanProfile(in_plane, thickest, extent_mm(image, brain), brain_ml, tuple(scores))


def extent_mm(image: Volume, brain: np.ndarray) -> tuple[float, float, float]:
    """Edges of the brain's box along the axes of the head: left to right, back to front, bottom to top."""
    box = box_of(brain)
    axes = io_orientation(image.affine)[:, 0].astype(int)
    edges = [0.0, 0.0, 0.0]
    for axis, (start, stop, spacing) in enumerate(zip(box.start, box.stop, image.spacing_mm, strict=True)):
        edges[axes[axis]] = (stop - start) * spacing
    x, y, z = edges
    return x, y, z


def ranges_of(profiles: Sequence[ScanProfile], rendered_slice_mm: float = 0.0) -> SeenRanges | None:
    """The ranges over some scans, None where there is none; `rendered_slice_mm`: the thickest slices that training made out of them."""
    if not profiles:
        return None
    x, y, z = (_range(p.extent_mm[axis] for p in profiles) for axis in range(3))
    thinnest, thickest = _range(p.slice_mm for p in profiles)
    return SeenRanges(
        n_scans=len(profiles),
        in_plane_mm=_range(p.in_plane_mm for p in profiles),
        slice_mm=(thinnest, max(thickest, rendered_slice_mm)),
        extent_mm=(x, y, z),
        brain_ml=_range(p.brain_ml for p in profiles),
        intensities=tuple(_range(p.intensities[i] for p in profiles) for i in range(len(PERCENTILES))),
    )


def _range(values: Iterable[float]) -> Range:
    numbers = [round(float(v), 4) for v in values]
    return min(numbers), max(numbers)


def parse_profile(fields: Mapping[str, Any]) -> ScanProfile:
    """A profile from JSON. Raises: KeyError, TypeError, ValueError for what is none."""
    x, y, z = _numbers(fields["extent_mm"], 3)
    in_plane, thickness, brain_ml = _numbers([fields[name] for name in ("in_plane_mm", "slice_mm", "brain_ml")], 3)
    return ScanProfile(in_plane, thickness, (x, y, z), brain_ml, _numbers(fields["intensities"], len(PERCENTILES)))


def parse_ranges(fields: Mapping[str, Any]) -> SeenRanges:
    """Ranges from the JSON of a model file. Raises: KeyError, TypeError, ValueError for what is none."""
    x, y, z = (_parse_range(pair) for pair in _items(fields["extent_mm"], 3))
    return SeenRanges(
        n_scans=int(fields["n_scans"]),
        in_plane_mm=_parse_range(fields["in_plane_mm"]),
        slice_mm=_parse_range(fields["slice_mm"]),
        extent_mm=(x, y, z),
        brain_ml=_parse_range(fields["brain_ml"]),
        intensities=tuple(_parse_range(pair) for pair in _items(fields["intensities"], len(PERCENTILES))),
    )


def _parse_range(values: Any) -> Range:
    low, high = _numbers(values, 2)
    if low > high:
        msg = f"expected a range, lowest first; got {low:g} to {high:g}"
        raise ValueError(msg)
    return low, high


def _numbers(values: Any, n: int) -> tuple[float, ...]:
    numbers = tuple(float(v) for v in _items(values, n))
    if not np.isfinite(numbers).all():
        msg = f"expected finite numbers; got {numbers}"
        raise ValueError(msg)
    return numbers


def _items(values: Any, n: int) -> list[Any]:
    if not isinstance(values, list | tuple) or len(values) != n:
        msg = f"expected {n} values; got {values!r:.100}"
        raise ValueError(msg)
    return list(values)
