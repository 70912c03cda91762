"""The lesion voxels of two masks as lists of positions in one small box; every score is read off them: lesions are small, heads are not.

whole grid ..............     box around both masks,      position of a voxel: x + X (y + Y z),
           ...##.........     one voxel of background     so its neighbours lie at + 1, + X, + X Y
           ....##........     on every side               and never outside the box
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from coactseg_cli.components import label


@dataclass(frozen=True, slots=True, eq=False)
class MaskVoxels:
    """A mask in a box with a rim of background."""

    mask: np.ndarray  # (X, Y, Z) bool, Fortran order, False at the rim
    positions: np.ndarray  # (n,) int64 of its voxels in `flat`, increasing: raster order, x fastest
    start: np.ndarray  # (3,) index on the whole grid of the box's first voxel; -1 where the rim lies outside

    @property
    def flat(self) -> np.ndarray:
        """The mask as a line: (X Y Z,), no copy."""
        line: np.ndarray = self.mask.reshape(-1, order="F")
        return line

    @property
    def strides(self) -> tuple[int, int, int]:
        """Steps in `flat` to the next voxel along each axis."""
        return 1, self.mask.shape[0], self.mask.shape[0] * self.mask.shape[1]

    def indices(self, positions: np.ndarray) -> np.ndarray:
        """Voxel indices on the whole grid of positions in the box: (n, 3) int64."""
        return np.asarray(np.stack(np.unravel_index(positions, self.mask.shape, order="F"), axis=1) + self.start)


@dataclass(frozen=True, slots=True, eq=False)
class Components:
    """The connected components of a mask, numbered from 0 in raster order."""

    of_voxel: np.ndarray  # (n,) int32, component of each of the mask's positions
    sizes: np.ndarray  # (M,) voxels

    def largest_and_mean(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of a value per voxel, (n,), for each component: (M,) and (M,) float64."""
        largest = np.full(len(self.sizes), -np.inf)
        np.maximum.at(largest, self.of_voxel, values)
        return largest, np.bincount(self.of_voxel, weights=values, minlength=len(self.sizes)) / self.sizes


def voxels_of(*masks: np.ndarray) -> tuple[MaskVoxels, ...]:
    """List the voxels of boolean (X, Y, Z) arrays of one shape, all in the box that holds them all."""
    found = [np.flatnonzero(np.asfortranarray(mask).reshape(-1, order="F")) for mask in masks]
    corners = np.array([_corners(positions, masks[0].shape) for positions in found if positions.size] or np.zeros((1, 2, 3), np.int64))
    start, stop = corners[:, 0].min(axis=0) - 1, corners[:, 1].max(axis=0) + 2
    return tuple(_in_box(np.unravel_index(positions, masks[0].shape, order="F"), start, stop) for positions in found)


def _corners(positions: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Smallest and largest index along each axis: (2, 3)."""
    axes = np.unravel_index(positions, shape, order="F")
    return np.array([[axis.min() for axis in axes], [axis.max() for axis in axes]])


def _in_box(axes: tuple[np.ndarray, ...], start: np.ndarray, stop: np.ndarray) -> MaskVoxels:
    """Put voxels with these indices, one array per axis, into the box from `start` on, before `stop`."""
    x, y, _ = (int(n) for n in stop - start)
    positions = (axes[2] - start[2]) * y
    positions += axes[1] - start[1]
    positions *= x
    positions += axes[0] - start[0]
    mask = np.zeros(tuple(stop - start), bool, order="F")
    mask.reshape(-1, order="F")[positions] = True
    return MaskVoxels(mask, positions, start)


def subset(voxels: MaskVoxels, kept: np.ndarray) -> MaskVoxels:
    """The mask of some of the voxels only, in the same box. `kept`: (n,) bool."""
    mask = np.zeros(voxels.mask.shape, bool, order="F")
    mask.reshape(-1, order="F")[voxels.positions[kept]] = True
    return MaskVoxels(mask, voxels.positions[kept], voxels.start)


def shared(a: MaskVoxels, b: MaskVoxels) -> tuple[np.ndarray, np.ndarray]:
    """Places of the common voxels in the list of `a` and in that of `b`: (k,) and (k,), parallel. Both masks lie in one box."""
    return np.flatnonzero(b.flat[a.positions]), np.flatnonzero(a.flat[b.positions])


def surface_places(voxels: MaskVoxels) -> np.ndarray:
    """Places in the list of those voxels that have a face neighbour outside the mask: (m,)."""
    flat, inner = voxels.flat, np.ones(len(voxels.positions), bool)
    for stride in voxels.strides:
        inner &= flat[voxels.positions - stride] & flat[voxels.positions + stride]
    return np.flatnonzero(~inner)


def at_border_only(voxels: MaskVoxels, surface: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Which of these surface positions have no neighbour outside the mask but beyond the image, of this shape: (m,) bool."""
    flat, indices = voxels.flat, voxels.indices(surface)
    inner = np.ones(len(surface), bool)
    for axis, stride in enumerate(voxels.strides):
        inner &= flat[surface - stride] | (indices[:, axis] == 0)
        inner &= flat[surface + stride] | (indices[:, axis] == shape[axis] - 1)
    return inner


def components(voxels: MaskVoxels, connectivity: int) -> Components:
    """Connected components of a mask: 6, 18 or 26 neighbours."""
    labels, n = label(voxels.mask, connectivity)
    of_voxel = labels.reshape(-1, order="F")[voxels.positions].astype(np.int32) - 1
    return Components(of_voxel, np.bincount(of_voxel, minlength=n))


def centres(voxels: MaskVoxels, parts: Components) -> np.ndarray:
    """Mean voxel index of each component on the whole grid: (M, 3)."""
    n = len(parts.sizes)
    axes = np.unravel_index(voxels.positions, voxels.mask.shape, order="F")
    sums = [np.bincount(parts.of_voxel, weights=axis, minlength=n) for axis in axes]
    return np.asarray(np.stack(sums, axis=1) / parts.sizes[:, None] + voxels.start)
