"""The phantom must be right where tests lean on it: places, poses, fates, sizes."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import affine_transform

from examples.anatomy import Points, Tissue, draw_anatomy, ellipsoid, tissue_at
from examples.cohort import COHORT, between_visits, numbers_with, scan
from examples.phantom import Fate, Grid, Lesion, Scanning, centred_grid, render, rigid


def _points(*xyz: tuple[float, float, float]) -> Points:
    return Points(*np.array(xyz, np.float32).T)


@pytest.fixture(scope="module")
def anatomy():
    return draw_anatomy(np.random.default_rng(0))


def test_distance_to_a_sphere_is_exact():
    distance = ellipsoid(_points((13, 0, 0), (0, 7, 0), (10, 0, 0)), (0, 0, 0), (10, 10, 10))
    assert np.allclose(distance, [3, -3, 0], atol=1e-5)


@pytest.mark.parametrize(
    ("place_mm", "tissue"),
    [
        ((0, 0, 300), Tissue.AIR),
        ((11, 0, 20), Tissue.CSF),  # right ventricle
        ((-11, 0, 20), Tissue.CSF),  # left ventricle
        ((12, -16, 6), Tissue.GREY),  # thalamus
        ((0, -5, 83), Tissue.FAT),  # skin of the vertex
        ((32, 76, -38), Tissue.EYE),
    ],
)
def test_tissue_lies_where_it_should(anatomy, place_mm, tissue):
    assert tissue_at(_points(place_mm), anatomy)[0][0] == tissue


def test_brain_has_a_human_volume_and_its_fluid_counts(anatomy):
    grid = centred_grid((192, 240, 210), (3, 3, 3))
    brain = render(anatomy, (), 0, Scanning(grid, np.eye(4)), (1,)).brain
    assert 1200 < brain.sum() * 27 / 1000 < 1700  # millilitres
    assert tissue_at(_points((11, 0, 20)), anatomy)[1][0]


@pytest.mark.parametrize(
    ("scale", "fate"),
    [((1, 1), Fate.STABLE), ((0, 1), Fate.NEW), ((1, 0), Fate.GONE), ((1, 2), Fate.GROWN), ((1, 0.5), Fate.SHRUNK), ((0, 0), None)],
)
def test_fate_follows_from_the_sizes(scale, fate):
    assert Lesion((0, 0, 0), (1, 1, 1), scale).fate(0, 1) is fate


def test_grid_axes_point_where_their_letters_say():
    grid = centred_grid((10, 40, 90), (1, 2, 3), axes="PSR")
    assert grid.shape == (10, 20, 30)
    assert nib.aff2axcodes(grid.affine) == ("P", "S", "R")
    assert np.allclose(grid.spacing_mm, (1, 2, 3))
    assert np.allclose(grid.affine @ [4.5, 9.5, 14.5, 1], [0, 6, -8, 1])  # its middle


@pytest.mark.parametrize("axes", ["RRS", "RAX", "RL"])
def test_grid_refuses_axes_that_do_not_span(axes):
    with pytest.raises(ValueError, match=r"axes|argument"):
        centred_grid((10, 10, 10), (1, 1, 1), axes=axes)


def test_rigid_turns_then_shifts():
    moved = rigid((0, 0, 90), (1, 2, 3)) @ [1, 0, 0, 1]
    assert np.allclose(moved, [1, 3, 3, 1])


def test_lesion_is_where_the_pose_puts_it_and_as_large_as_asked(anatomy):
    """Deep white matter, so that nothing clips it: a ball of radius 6 has 905 mm3; its border is uneven by a tenth."""
    pose = rigid((0, 0, 90), (5, 0, 0))
    lesion = Lesion((30, 4, 30), (6, 6, 6))
    grid = Grid((40, 50, 60), np.array([[1.0, 0, 0, -20], [0, 1, 0, 5], [0, 0, 1, 0], [0, 0, 0, 1]]))
    found = render(anatomy, (lesion,), 0, Scanning(grid, pose), (1,)).lesions
    assert 600 < found.sum() < 1200
    centre = grid.affine @ [*np.argwhere(found).mean(axis=0), 1]
    assert np.linalg.norm(centre - pose @ [30, 4, 30, 1]) < 2.0


def test_lesion_is_brighter_than_any_brain_tissue(anatomy):
    lesion = Lesion((30, 4, 30), (6, 6, 6))
    grid = centred_grid((60, 60, 60), (2, 2, 2), centre_mm=(30, 4, 30))
    seen = render(anatomy, (lesion,), 0, Scanning(grid, np.eye(4), noise=0, bias=0), (1,))
    assert np.median(seen.flair[seen.lesions > 0]) > 1.3 * np.percentile(seen.flair[seen.brain & (seen.lesions == 0)], 95)


def test_same_seed_same_voxels_other_seed_other_noise(anatomy):
    how = Scanning(centred_grid((192, 240, 210), (12, 10, 14)), np.eye(4))
    first, again, other = (render(anatomy, (), 0, how, seed).flair for seed in ((1, 0), (1, 0), (1, 1)))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_true_registration_lays_one_visit_on_the_other():
    person = COHORT[0]
    first, second = scan(person, 0, 2.5), scan(person, 1, 2.5)
    to_second = np.linalg.inv(second.grid.affine) @ between_visits(person, 0, 1) @ first.grid.affine
    moved = affine_transform(second.brain.astype(np.float32), to_second, output_shape=first.brain.shape, order=1) > 0.5
    unmoved = affine_transform(
        second.brain.astype(np.float32), np.linalg.inv(second.grid.affine) @ first.grid.affine, output_shape=first.brain.shape, order=1
    )
    overlap = [2 * (m & first.brain).sum() / (m.sum() + first.brain.sum()) for m in (moved, unmoved > 0.5)]
    assert overlap[0] > 0.97
    assert overlap[1] < 0.95  # the head really moved


def test_every_planted_lesion_can_be_seen_at_full_resolution():
    for person in COHORT:
        for visit in range(len(person.visits)):
            seen = scan(person, visit).lesions
            there = {i for i, lesion in enumerate(person.lesions, 1) if lesion.scale[visit]}
            volume_mm3 = abs(np.linalg.det(scan(person, visit, 4).grid.affine[:3, :3])) / 64
            assert {int(i) for i in np.unique(seen)} - {0} == there
            assert min((seen == i).sum() for i in there) * volume_mm3 > 60


def test_the_two_visits_have_lesions_of_every_fate():
    counts = {fate: len(numbers_with(COHORT[0], fate, 0, 1)) for fate in Fate}
    assert counts == {Fate.STABLE: 3, Fate.NEW: 3, Fate.GONE: 1, Fate.GROWN: 1, Fate.SHRUNK: 1}
