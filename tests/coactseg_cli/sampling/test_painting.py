import numpy as np
import pytest

from coactseg_cli.sampling.lesion_shapes import Look
from coactseg_cli.sampling.painting import erase, grow, level_of, overlap, paint
from tests.coactseg_cli.sampling.conftest import ball

FULL = np.ones((4, 5, 6), np.float32)


def test_overlap_by_hand():
    into, out_of = overlap((10, 12, 14), np.array([-2, 3, 11]), (5, 5, 5))
    assert into == (slice(0, 3), slice(3, 8), slice(11, 14))
    assert out_of == (slice(2, 5), slice(0, 5), slice(0, 3))


@pytest.mark.parametrize("corner", [(-9, 0, 0), (0, 12, 0), (30, 30, 30)])
def test_boxes_that_do_not_meet_have_nothing_in_common(corner):
    into, out_of = overlap((10, 12, 14), np.array(corner), (5, 5, 5))
    assert np.zeros((10, 12, 14))[into].size == 0
    assert np.zeros((5, 5, 5))[out_of].size == 0


def look(excess, weights=1.0, shape=(4, 5, 6), *, real_texture=False):
    full = np.ones(shape, np.float32)
    return Look(full > 0, full * weights, full * excess, real_texture)


def test_paint_adds_the_excess_where_the_weights_say():
    image = np.full((4, 5, 6), 0.25, np.float32)
    assert paint(image, FULL > 0, look(2.0, 0.5)).all()
    np.testing.assert_allclose(image, 0.25 + 0.5 * 2.0)


def test_real_texture_replaces_the_tissues_own():
    rng = np.random.default_rng(0)
    image = rng.normal(0.0, 0.2, (9, 10, 11)).astype(np.float32)
    level = level_of(image, np.ones(image.shape, bool))
    paint(image, np.ones(image.shape, bool), look(2.0, shape=image.shape, real_texture=True))
    np.testing.assert_allclose(image, level + 2.0, atol=1e-6)


def test_paint_stops_at_fluid_and_at_the_brain():
    image, brain = np.zeros((12, 5, 6), np.float32), np.ones((12, 5, 6), bool)
    image[0], brain[11] = -2.5, False
    mask = paint(image, brain, look(2.0, shape=(12, 5, 6)))
    assert (image[0] == -2.5).all()
    assert (image[11] == 0.0).all()
    assert (image[1:11] == 2.0).all()
    assert np.array_equal(mask.all(axis=(1, 2)), [False] + [True] * 10 + [False])


@pytest.mark.parametrize(("fluid", "seen"), [(2, False), (1, True)])
def test_a_lesion_needs_room(fluid, seen):
    """Of ten planes of its shape, eight or fewer being tissue are too few."""
    image = np.zeros((10, 5, 6), np.float32)
    image[:fluid] = -2.5
    assert paint(image, np.ones(image.shape, bool), look(2.0, shape=image.shape)).any() == seen
    assert (image[5] > 0).all() == seen


def test_paint_darkens_nothing():
    image = np.zeros((4, 5, 6), np.float32)
    image[0] = 3.0
    paint(image, FULL > 0, look(1.0, real_texture=True))
    assert (image[0] == 3.0).all()
    assert (image[1:] == 1.0).all()


@pytest.mark.parametrize(("excess", "seen"), [(0.25, False), (0.35, True)])
def test_a_lesion_that_would_not_stand_out_is_not_painted(excess, seen):
    image = np.zeros((4, 5, 6), np.float32)
    assert paint(image, FULL > 0, look(excess)).any() == seen
    assert image.any() == seen


def test_paint_takes_an_empty_part():
    assert paint(np.zeros((0, 3, 3)), np.zeros((0, 3, 3), bool), look(1.0, shape=(0, 3, 3))).size == 0


def test_level_is_that_of_tissue_and_the_mean_where_there_is_none():
    assert level_of(np.array([-3.0, 0.1, 0.2, 0.3, 4.0]), np.ones(5, bool)) == pytest.approx(0.2)
    assert level_of(np.array([-3.0, 4.0]), np.ones(2, bool)) == 0.0


def test_grow_is_the_dilation_by_face_neighbours():
    assert grow(ball((5, 6, 7), 0, (12, 14, 16))).sum() == 7
    assert np.array_equal(grow(ball((5, 6, 7), 0, (12, 14, 16)), 2), np.abs(np.indices((12, 14, 16)).T - (5, 6, 7)).sum(-1).T <= 2)
    assert grow(ball((0, 0, 0), 0, (3, 3, 3))).sum() == 4


@pytest.fixture
def lesion(single):
    return single.all_baseline == 1


def erased(single, amount, lesions, image=None):
    return erase(single.baseline if image is None else image, amount.astype(np.float32), lesions, single.brain, (3, -5, 7))


def test_an_erased_lesion_looks_like_the_tissue_around(single, lesion):
    out = erased(single, grow(lesion, 2), grow(lesion))
    assert np.abs(out[lesion]).mean() < 0.3
    assert 0.05 < out[lesion].std() < 0.3


def test_tissue_fills_in_at_its_own_level(single, lesion):
    """Tissue is 0.6 in the right half and -0.4 in the left: each half of the lesion takes its side's."""
    image = np.where(lesion, 3.0, np.where(np.arange(30)[:, None, None] > 15, 0.6, -0.4)).astype(np.float32)
    out = erased(single, grow(lesion, 2), grow(lesion), image)
    assert out[17, 18, 21] > 0.2
    assert out[13, 18, 21] < 0.0


def test_erasing_leaves_the_rest_alone(single, lesion):
    out = erased(single, grow(lesion, 2), grow(lesion))
    assert np.array_equal(out[~ball((15, 18, 21), 10)], single.baseline[~ball((15, 18, 21), 10)])
    assert not out[~single.brain].any()
    assert out is not single.baseline


def test_half_an_amount_leaves_half_a_lesion(single, lesion):
    out = erased(single, grow(lesion, 2) * 0.5, grow(lesion))
    assert out[15, 18, 21] == pytest.approx(1.5, abs=0.4)


def test_nothing_to_erase_changes_nothing(single, lesion):
    assert np.array_equal(erased(single, np.zeros(lesion.shape), lesion), single.baseline)


def test_without_tissue_the_brains_mean_fills_in(single, lesion):
    out = erased(single, np.ones(lesion.shape), np.ones(lesion.shape, bool))
    assert np.abs(out).max() < 1e-5
