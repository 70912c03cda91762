"""Areas worked out on paper, and what all 256 kinds of cell must keep to."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from coactseg_cli.metrics.surface import area_within
from coactseg_cli.metrics.surfels import CORNERS, cell_areas, surfels_of
from coactseg_cli.metrics.voxels import MaskVoxels, surface_places, voxels_of

SPACINGS = [(1.0, 1.0, 1.0), (0.5, 0.75, 0.75), (0.9, 0.9, 3.0), (1.0, 2.0, 3.7)]
ORIGIN = (0, 0, 0)


def code_of(*corners: tuple[int, int, int]) -> int:
    return sum(1 << CORNERS.index(corner) for corner in corners)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_areas_on_paper(spacing: tuple[float, float, float]) -> None:
    x, y, z = spacing
    areas = cell_areas(spacing)
    corner = math.sqrt((y * z) ** 2 + (x * z) ** 2 + (x * y) ** 2) / 8
    slope = z * math.hypot(x, y) / 2  # a rectangle over half the diagonal of the face
    assert areas[0] == areas[255] == 0
    assert areas[code_of(ORIGIN)] == pytest.approx(corner)
    assert areas[code_of(ORIGIN, (0, 0, 1))] == pytest.approx(slope)
    assert areas[code_of(ORIGIN, (0, 0, 1), (0, 1, 0), (0, 1, 1))] == pytest.approx(y * z)
    assert areas[code_of(ORIGIN, (0, 0, 1), (0, 1, 0))] == pytest.approx(y * z / 2 + 3 * corner)
    assert areas[code_of(ORIGIN, (0, 0, 1), (0, 1, 0), (1, 0, 0))] == pytest.approx(6 * corner)
    assert areas[code_of(ORIGIN, (1, 1, 1))] == areas[code_of(ORIGIN, (1, 1, 0))] == pytest.approx(2 * corner)
    assert areas[code_of(ORIGIN, (1, 1, 0), (1, 0, 1), (0, 1, 1))] == pytest.approx(4 * corner)
    assert areas[code_of(ORIGIN, (0, 0, 1), (1, 1, 0), (1, 1, 1))] == pytest.approx(2 * slope)
    # Around a bend: triangles with area vectors 3/8 (1, 1, 1), 1/8 (1, 1, 1), 1/4 (0, 1, 1) and 1/4 (1, 0, 1).
    bend = 4 * corner + x * math.hypot(z, y) / 4 + y * math.hypot(z, x) / 4
    assert areas[code_of((1, 0, 0), ORIGIN, (0, 0, 1), (0, 1, 1))] == pytest.approx(bend)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_inside_and_outside_have_one_surface(spacing: tuple[float, float, float]) -> None:
    areas = cell_areas(spacing)
    np.testing.assert_allclose(areas, areas[::-1])


def test_turning_a_cell_turns_its_spacing() -> None:
    spacing = SPACINGS[3]
    for axes in itertools.permutations(range(3)):
        for mirrored in itertools.product((0, 1), repeat=3):
            turned = cell_areas(tuple(spacing[a] for a in axes))
            for code in range(256):
                corners = [c for bit, c in enumerate(CORNERS) if code >> bit & 1]
                new = [tuple(c[a] ^ m for a, m in zip(axes, mirrored, strict=True)) for c in corners]
                assert turned[code_of(*new)] == pytest.approx(cell_areas(spacing)[code])


def share_of_face(inside: list[tuple[int, ...]]) -> float:
    """How much of a face of the cell lies in the mask, from the corners in it; NaN where two opposite ones leave it open."""
    if len(inside) == 2 and math.dist(*inside) > 1:
        return math.nan
    return {0: 0, 1: 1 / 8, 2: 1 / 2, 3: 7 / 8, 4: 1}[len(inside)]


@pytest.mark.parametrize("spacing", SPACINGS)
def test_no_area_is_smaller_than_its_outline_allows(spacing: tuple[float, float, float]) -> None:
    # A surface has the area vector of what it cuts off the faces of the cell; its area is at least the length of that.
    x, y, z = spacing
    for code, area in enumerate(cell_areas(spacing)):
        inside = [corner for bit, corner in enumerate(CORNERS) if code >> bit & 1]
        cut = [[share_of_face([c for c in inside if c[axis] == end]) for end in (0, 1)] for axis in range(3)]
        vector = (np.array(cut) @ [1, -1]) * [y * z, x * z, x * y]
        if not np.isnan(vector).any():
            assert area >= np.linalg.norm(vector) - 1e-12


def surface(mask: np.ndarray, spacing: tuple[float, float, float]) -> float:
    (voxels,) = voxels_of(mask)
    return float(surfels_of(voxels, voxels.positions[surface_places(voxels)], spacing).areas.sum())


def test_the_area_of_solids() -> None:
    point = np.zeros((3, 4, 5), bool)
    point[1, 1, 1] = True
    assert surface(point, (1, 1, 1)) == pytest.approx(math.sqrt(3))  # an octahedron with edges of 1 / sqrt 2
    block = np.zeros((12, 14, 16), bool)
    block[1:11, 2:12, 3:13] = True
    # 6 faces of 9 x 9, 12 edges of 9 slopes, 8 corners.
    assert surface(block, (1, 1, 1)) == pytest.approx(6 * 81 + 12 * 9 / math.sqrt(2) + math.sqrt(3))
    assert surface(np.ones((2, 3, 4), bool), (1, 1, 1)) > 0  # the border of the image is a surface
    assert surface(~np.ones((2, 3, 4), bool), (1, 1, 1)) == 0


def test_the_area_of_a_ball() -> None:
    grid = np.indices((60, 60, 30)) - np.array([30, 30, 15])[:, None, None, None]
    ball = (grid * np.array([1, 1, 2])[:, None, None, None]) ** 2
    assert surface(ball.sum(axis=0) <= 20**2, (1.0, 1.0, 2.0)) == pytest.approx(4 * math.pi * 20**2, rel=0.12)


def surfels(mask: np.ndarray, spacing: tuple[float, float, float]) -> object:
    (voxels,) = voxels_of(mask)
    return surfels_of(voxels, voxels.positions[surface_places(voxels)], spacing)


def test_the_share_within_reach_on_paper() -> None:
    a, b = np.zeros((9, 5, 5), bool), np.zeros((9, 5, 5), bool)
    a[1, 1, 1] = b[1, 1, 1] = b[6, 1, 1] = True
    spacing = (0.5, 1.0, 3.0)
    assert area_within(surfels(a, spacing), surfels(b, spacing), spacing, 1.0) == pytest.approx(2 / 3)
    assert area_within(surfels(a, spacing), surfels(b, spacing), spacing, 2.5) == 1  # 5 voxels of 0.5 mm, minus nothing: 2.5 mm at most


def test_nothing_to_compare() -> None:
    something, nothing = np.ones((2, 2, 2), bool), np.zeros((2, 2, 2), bool)
    assert area_within(surfels(nothing, SPACINGS[0]), surfels(something, SPACINGS[0]), SPACINGS[0], 1.0) == 0
    assert math.isnan(area_within(surfels(something, SPACINGS[0]), surfels(nothing, SPACINGS[0]), SPACINGS[0], 1.0))


def test_every_crossed_cell_is_found() -> None:
    rng = np.random.default_rng(3)
    mask = rng.random((6, 7, 8)) < 0.8  # with cells that lie inside
    padded = np.pad(mask, 1)
    corners = [padded[x : x + 7, y : y + 8, z : z + 9] for x, y, z in CORNERS]
    crossed = np.any(corners, axis=0) & ~np.all(corners, axis=0)
    voxels: MaskVoxels
    (voxels,) = voxels_of(mask)
    found = surfels_of(voxels, voxels.positions[surface_places(voxels)], (1, 1, 1)).indices
    assert {tuple(c) for c in found} == {tuple(c) for c in np.argwhere(crossed) - 1}
