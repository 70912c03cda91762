"""Made-up lesions: sizes, contrasts and places."""

import math

import numpy as np
import pytest

from coactseg_cli.lesions import injection
from coactseg_cli.lesions.injection import (
    DEPTH_MM,
    GAP_MM,
    SIZES,
    Placed,
    Shape,
    canvas,
    contrast_range_sd,
    draw_blob,
    draw_shape,
    found_of,
    place,
    truth,
    white_matter,
)

SPACING = (1.0, 1.2, 0.8)


@pytest.mark.parametrize("volume", [3.0, 20.0, 77.0, 400.0])
def test_a_blob_has_the_volume_that_was_asked_for(volume):
    filled = draw_blob(np.random.default_rng(int(volume)), volume, SPACING)
    assert filled.sum() * np.prod(SPACING) == pytest.approx(volume, abs=np.prod(SPACING) / 20)
    assert 0.0 <= filled.min() <= filled.max() <= 1.0
    assert not filled[[0, -1]].any(), "the box is large enough"


@pytest.mark.parametrize("size", SIZES)
def test_a_shape_lies_in_its_class_and_its_contrast_in_the_measured_quartiles(size):
    for seed in range(10):
        shape = draw_shape(np.random.default_rng(seed), size, (1.0, 1.0, 1.0))
        assert size.low_mm3 <= shape.volume_mm3 <= size.drawn_mm3
        low, high = contrast_range_sd(shape.volume_mm3)
        assert low <= shape.contrast_sd <= high
        assert shape.texture.mean() == pytest.approx(1.0, abs=0.1)


def test_classes_follow_one_another():
    assert [s.low_mm3 for s in SIZES[1:]] == [s.high_mm3 for s in SIZES[:-1]]
    assert math.isinf(SIZES[-1].high_mm3)
    assert [s.words for s in SIZES] == ["3-10 mm3", "10-50 mm3", "50-100 mm3", "> 100 mm3"]


def head() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A brain of white matter with a dark half, and one known lesion."""
    image = np.full((60, 50, 44), 0.2, np.float32)
    image[:20] = -2.0
    brain = np.zeros(image.shape, bool)
    brain[4:56, 4:46, 4:40] = True
    known = np.zeros(image.shape, bool)
    known[40, 25, 22] = True
    return image, brain, known


def test_lesions_go_to_normal_tissue_deep_in_the_brain_and_away_from_known_ones():
    image, brain, known = head()
    white = white_matter([image], brain, known, (1.0, 1.0, 1.0))
    assert white[30, 25, 22]
    assert not white[:20].any(), "fluid"
    assert not white[4 + int(DEPTH_MM) - 2].any(), "the border"
    assert not white[40 + int(GAP_MM), 25, 22]
    assert white[41 + int(GAP_MM), 25, 22]


def test_what_one_visit_shows_otherwise_is_out():
    image, brain, known = head()
    other = image.copy()
    other[28:34, 22:28, 20:26] = 1.5
    both = white_matter([image, other], brain, known, (1.0, 1.0, 1.0))
    assert white_matter([image], brain, known, (1.0, 1.0, 1.0))[30, 25, 22]
    assert not both[30, 25, 22]


def test_places_are_apart_and_inside():
    rng = np.random.default_rng(5)
    allowed = np.zeros((60, 62, 64), bool)
    allowed[6:54, 6:56, 6:58] = True
    shapes = [draw_shape(rng, size, (1.0, 1.0, 1.0)) for size in SIZES for _ in range(4)]
    placed = place(rng, shapes, allowed, (1.0, 1.0, 1.0))
    labels = truth(placed, allowed.shape, 1.0)
    assert len(placed) > 8
    assert (labels[~allowed] > 0).sum() <= 0.1 * (labels > 0).sum() + 1
    points = [np.argwhere(labels == i) for i in range(1, len(placed) + 1)]
    for i, a in enumerate(points):
        for b in points[i + 1 :]:
            assert np.linalg.norm(a[:, None] - b[None], axis=-1).min() > GAP_MM - 1


def test_what_finds_no_place_is_left_out():
    shapes = [draw_shape(np.random.default_rng(0), SIZES[3], (1.0, 1.0, 1.0))]
    assert place(np.random.default_rng(0), shapes, np.zeros((20, 21, 22), bool), (1.0, 1.0, 1.0)) == ()
    small = np.zeros((20, 21, 22), bool)
    small[9:11, 9:11, 9:11] = True
    assert place(np.random.default_rng(0), shapes, small, (1.0, 1.0, 1.0)) == ()


def test_truth_and_canvas_of_a_lesion_known_by_hand():
    filled = np.zeros((3, 3, 3), np.float32)
    filled[1, 1, 1], filled[1, 1, 2], filled[0, 1, 1] = 1.0, 0.7, 0.3
    shape = Shape(SIZES[0], 2.0, 0.6, filled, np.full((3, 3, 3), 1.1, np.float32))
    placed = (Placed(shape, (4, 5, 6)), Placed(shape, (0, 0, 0)))
    labels = truth(placed, (8, 9, 10), 1.0)
    assert sorted(map(tuple, np.argwhere(labels == 1))) == [(5, 6, 7), (5, 6, 8)], "the two fullest voxels of 2 mm3"
    assert canvas(placed, (8, 9, 10))[5, 6, 8] == pytest.approx(0.77)
    mask = np.zeros((8, 9, 10), bool)
    mask[1, 1, 2] = True
    assert found_of(labels, 2, mask).tolist() == [False, True]
    assert injection.count(labels > 0) == 2
