"""Prepared cases in memory or memory-mapped, and patches cut out of them; a label that is absent stays absent.

A target is int8: 0 no lesion, 1 lesion, IGNORE nobody knows. None: the case has no such label at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from coactseg_cli.seen import ScanProfile
from coactseg_cli.targets import IGNORE

Shape = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a patch lies in the brain's bounding box, as fractions of the box per axis; below 0 and above 1 lie outside.

    A voxel i of a patch with n voxels along an axis lies at origin + (i + 0.5) / n * extent.
    """

    origin: tuple[float, float, float]
    extent: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class BrainBox:
    """The bounding box of a brain mask: first voxel and number of voxels per axis."""

    low: Shape
    size: Shape  # at least 1


@dataclass(frozen=True, eq=False)  # no slots: the brain's box is found once, when it is first asked for
class Case:
    """One training case: a pair of visits, or one visit (followup None). Arrays (X, Y, Z) on one grid; np.memmap will do."""

    name: str
    baseline: np.ndarray  # float32, normalised
    brain: np.ndarray  # bool
    spacing_mm: tuple[float, float, float]
    followup: np.ndarray | None = None  # float32
    all_baseline: np.ndarray | None = None  # int8
    all_followup: np.ndarray | None = None  # int8
    new: np.ndarray | None = None  # int8
    marks: tuple[str, ...] = ()  # digests of the scans: the same scan under two names is found out
    scans: tuple[ScanProfile, ...] = ()  # what the scans look like, one per visit with a brain

    @property
    def is_pair(self) -> bool:
        """Whether there are two visits."""
        return self.followup is not None

    @property
    def labelled(self) -> tuple[str, ...]:
        """Names of the labels that it has."""
        return tuple(name for name in ("all_baseline", "all_followup", "new") if getattr(self, name) is not None)

    @cached_property
    def brain_box(self) -> BrainBox:
        """The brain's bounding box; the whole volume where the mask is empty."""
        return box_of(self.brain)


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """What one sample shows the network and what it is taught: arrays of one shape (X, Y, Z)."""

    baseline: np.ndarray  # float32
    followup: np.ndarray  # float32; equals baseline for a single scan
    brain: np.ndarray  # bool
    is_pair: bool
    all_baseline: np.ndarray | None = None  # int8
    all_followup: np.ndarray | None = None
    new: np.ndarray | None = None
    place: Place | None = None  # None: nobody knows, as after a rotation
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    note: str = ""  # what synthesis put there, for a caption

    def with_(self, **changes: object) -> Patch:
        """The same patch with some fields replaced."""
        return replace(self, **changes)  # type: ignore[arg-type]


def box_of(mask: np.ndarray) -> BrainBox:
    """The bounding box of a boolean (X, Y, Z) array; everything where it is empty."""
    lines = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    if not lines[0].size:
        x, y, z = mask.shape
        return BrainBox((0, 0, 0), (x, y, z))
    (x0, x1), (y0, y1), (z0, z1) = ((int(line[0]), int(line[-1]) + 1) for line in lines)
    return BrainBox((x0, y0, z0), (x1 - x0, y1 - y0, z1 - z0))


def place_of(start: np.ndarray, size: Shape, box: BrainBox) -> Place:
    """Where the box of `size` that begins at voxel `start` lies in the brain's box."""
    x, y, z = ((float(s) - low) / n for s, low, n in zip(start, box.low, box.size, strict=True))
    dx, dy, dz = (float(s) / n for s, n in zip(size, box.size, strict=True))
    return Place((x, y, z), (dx, dy, dz))


def foreground(case: Case) -> np.ndarray:
    """Voxels that are lesion in any label: (n, 3) indices."""
    labels = [y for y in (case.new, case.all_baseline, case.all_followup) if y is not None]
    if case.new is not None and (case.new == 1).any():
        labels = [case.new]  # the scarce kind leads where it is present
    if not labels:
        return np.empty((0, 3), np.int64)
    return np.argwhere(np.any([y == 1 for y in labels], axis=0))


def draw_centre(rng: np.random.Generator, lesion_voxels: np.ndarray, brain_voxels: np.ndarray, max_shift: int) -> np.ndarray:
    """A random lesion voxel shifted by up to `max_shift` along each axis, or a random brain voxel where there is no lesion.

    Reference: Wu et al. 2023, Sec. 3 (implementation details).
    """
    if len(lesion_voxels):
        voxel: np.ndarray = lesion_voxels[rng.integers(len(lesion_voxels))]
        return voxel + rng.integers(-max_shift, max_shift + 1, 3)
    centre: np.ndarray = brain_voxels[rng.integers(len(brain_voxels))]
    return centre


def cut_array(array: np.ndarray, centre: np.ndarray, size: Shape, fill: float = 0) -> np.ndarray:
    """The box of `size` around `centre`; what lies outside the array is `fill`.

    array   |......[....c....]|      box inside -> a view, read only: whoever needs it in order copies it
            |............[...c|....]   -> right part is fill
    """
    start = np.asarray(centre) - np.asarray(size) // 2
    low = np.maximum(start, 0)
    high = np.minimum(start + size, array.shape)
    if (start == low).all() and (start + size == high).all():
        view = array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        view.flags.writeable = False
        return view
    out = np.full(size, fill, array.dtype)
    if (high <= low).any():
        return out
    source = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    target = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
    out[target] = array[source]
    return out


def cut(case: Case, centre: np.ndarray, size: Shape) -> Patch:
    """Cut all arrays of a case around one centre; labels outside the volume are IGNORE."""

    def image(x: np.ndarray) -> np.ndarray:
        return cut_array(x, centre, size)

    def target(y: np.ndarray | None) -> np.ndarray | None:
        return None if y is None else cut_array(y, centre, size, IGNORE)

    baseline = image(case.baseline)
    return Patch(
        baseline=baseline,
        followup=baseline if case.followup is None else image(case.followup),
        brain=image(case.brain),
        is_pair=case.is_pair,
        all_baseline=target(case.all_baseline),
        all_followup=target(case.all_followup if case.is_pair else case.all_baseline),
        new=target(case.new),
        place=place_of(np.asarray(centre) - np.asarray(size) // 2, size, case.brain_box),
        spacing_mm=case.spacing_mm,
    )
