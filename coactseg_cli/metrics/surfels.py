"""Area of the surface of a mask: cut halfway between voxel centres, cell by cell, each cell with one surface element (surfel).

A cell is the cube between 2 x 2 x 2 neighbouring voxel centres. Each of its eight corners lies in the mask or not: 256 kinds of cell. The
surface cuts an edge of the cell in its middle where the two ends differ (marching cubes, Lorensen and Cline 1987). What belongs together
follows from one rule that treats axes, directions, inside and outside alike:

    1. Take the side with fewer corners, in the mask or out of it (at four and four either: both give one area).
    2. Corners of that side that edges of the cell join share a piece of surface; others have pieces of their own.
    3. Up to rotation and reflection there are six such groups (GROUPS). The pieces of two of them are not flat; they fold where their
       polygons meet. Where they fold was chosen such that the areas are those of the surface distance of Nikolov et al. 2021.

A flat polygon with area vector v on a grid of 1 mm has the area |v * (dy dz, dx dz, dx dy)| on a grid of dx, dy, dz mm.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from coactseg_cli.metrics.voxels import MaskVoxels

Corner = tuple[int, int, int]

CORNERS = tuple((x, y, z) for z in (0, 1) for y in (0, 1) for x in (0, 1))  # corner n is bit n of a cell's code
FULL = 255  # code of a cell inside the mask; 0: outside

# A group of joined corners, and the flat polygons between it and the other corners. Points are in half edges.
GROUPS: tuple[tuple[tuple[Corner, ...], tuple[tuple[Corner, ...], ...]], ...] = (
    (((0, 0, 0),), (((1, 0, 0), (0, 1, 0), (0, 0, 1)),)),
    (((0, 0, 0), (0, 0, 1)), (((1, 0, 0), (1, 0, 2), (0, 1, 2), (0, 1, 0)),)),
    (
        ((0, 0, 0), (0, 0, 1), (0, 1, 0)),  # three corners of a face
        (((1, 0, 0), (1, 0, 2), (1, 2, 0)), ((1, 0, 2), (0, 1, 2), (0, 2, 1), (1, 2, 0))),
    ),
    (((0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1)), (((1, 0, 0), (1, 0, 2), (1, 2, 2), (1, 2, 0)),)),
    (
        ((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)),  # a corner and its three neighbours
        (((0, 1, 2), (1, 0, 2), (2, 0, 1), (2, 1, 0), (1, 2, 0), (0, 2, 1)),),
    ),
    (
        ((1, 0, 0), (0, 0, 0), (0, 0, 1), (0, 1, 1)),  # a path that leaves the plane
        (
            ((2, 1, 0), (2, 0, 1), (0, 1, 0)),
            ((2, 0, 1), (0, 2, 1), (0, 1, 0)),
            ((2, 0, 1), (1, 0, 2), (0, 2, 1)),
            ((1, 0, 2), (1, 2, 2), (0, 2, 1)),
        ),
    ),
)


@dataclass(frozen=True, slots=True, eq=False)
class Surfels:
    """The cells that the surface of a mask crosses."""

    indices: np.ndarray  # (n, 3) voxel index of the cell's lowest corner; the surfel lies half a voxel further along each axis
    areas: np.ndarray  # (n,) mm2


def surfels_of(voxels: MaskVoxels, surface: np.ndarray, spacing_mm: tuple[float, float, float]) -> Surfels:
    """Find the surface elements of a mask. `surface`: (m,) positions of its surface voxels; every crossed cell has one as a corner."""
    offsets = np.array(CORNERS) @ np.array(voxels.strides)
    cells = np.unique(surface[:, None] - offsets)
    flat = voxels.flat
    codes = np.zeros(len(cells), np.int64)
    for bit, offset in enumerate(offsets):
        codes |= flat[cells + offset].astype(np.int64) << bit
    crossed = codes != FULL
    return Surfels(voxels.indices(cells[crossed]), cell_areas(spacing_mm)[codes[crossed]])


@lru_cache(maxsize=16)
def cell_areas(spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Surface area inside a cell for each of the 256 codes: (256,) mm2."""
    x, y, z = spacing_mm
    faces = np.array([y * z, x * z, x * y])
    return np.array([sum(float(np.linalg.norm(vector * faces)) for vector in vectors) for vectors in _cell_vectors()])


@cache
def _cell_vectors() -> tuple[tuple[np.ndarray, ...], ...]:
    """Area vectors (sign left out) of the flat polygons in a cell, for each code."""
    known = dict(_turned_groups())
    cells = []
    for code in range(FULL + 1):
        inside = frozenset(corner for bit, corner in enumerate(CORNERS) if code >> bit & 1)
        fewer = inside if len(inside) <= 4 else frozenset(CORNERS) - inside
        cells.append(tuple(vector for group in _joined(fewer) for vector in known[group]))
    return tuple(cells)


def _turned_groups() -> Iterator[tuple[frozenset[Corner], tuple[np.ndarray, ...]]]:
    """Every group in every orientation: six permutations of the axes, eight mirrorings."""
    for corners, polygons in GROUPS:
        vectors = [_area_vector(polygon) for polygon in polygons]
        for axes in itertools.permutations(range(3)):
            for mirrored in itertools.product((0, 1), repeat=3):
                turned = frozenset(_turn(corner, axes, mirrored) for corner in corners)
                yield turned, tuple(vector[list(axes)] for vector in vectors)


def _turn(corner: Corner, axes: Sequence[int], mirrored: Sequence[int]) -> Corner:
    x, y, z = (corner[axis] ^ flip for axis, flip in zip(axes, mirrored, strict=True))
    return x, y, z


def _area_vector(polygon: Sequence[Corner]) -> np.ndarray:
    """Half the sum of the cross products around the polygon, without signs; points in half edges: (3,)."""
    points = np.array(polygon) / 2
    return np.asarray(np.abs(np.cross(points, np.roll(points, -1, axis=0)).sum(axis=0)) / 2)


def _joined(corners: frozenset[Corner]) -> list[frozenset[Corner]]:
    """Split corners into groups that edges of the cell join."""
    left, groups = set(corners), []
    while left:
        group = {left.pop()}
        while near := {corner for corner in left if any(math.dist(corner, other) == 1 for other in group)}:
            group |= near
            left -= near
        groups.append(frozenset(group))
    return groups
