"""Glass brain, head from an angle and difference image, of arrays whose content is known."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from bids_app.differences import SCALE_HEIGHT, colour_table, difference
from bids_app.fates import LesionMap, look_of
from bids_app.glassbrain import glass_brain
from bids_app.headview import CAMERAS, Camera, head_view
from bids_app.tiles import GAP, Picture

SHAPE, SPACING = (30, 40, 26), (3.0, 2.0, 4.0)


def decode(picture: Picture) -> np.ndarray:
    image = Image.open(io.BytesIO(picture.data))
    assert image.size == (picture.width, picture.height)
    return np.asarray(image.convert("RGB")).astype(int)


def near(pixels: np.ndarray, colour: tuple[int, int, int], tolerance: int = 50) -> np.ndarray:
    return (abs(pixels - np.array(colour)) <= tolerance).all(axis=-1)


@pytest.fixture
def head() -> tuple[np.ndarray, np.ndarray, LesionMap]:
    """A brain of 72 x 64 x 80 mm, a new lesion at the patient's front right, a resolved one at the back left."""
    brain = np.zeros(SHAPE, bool)
    brain[3:27, 4:36, 3:23] = True
    image = np.where(brain, 1.0, 0.0)
    image[10:20, 15:25, 8:16] = 0.5
    labels = np.zeros(SHAPE, int)
    labels[20:24, 28:33, 10:14] = 3
    labels[6:10, 7:12, 10:14] = 5
    return image, brain, LesionMap(labels, {3: "new", 5: "resolved"})


def test_the_glass_brain_shows_each_lesion_on_its_side(head: tuple[np.ndarray, np.ndarray, LesionMap]) -> None:
    picture = glass_brain(*head, SPACING, (3,))
    pixels = decode(picture)
    red, green = near(pixels, look_of("new").rgb), near(pixels, look_of("resolved").rgb)
    widths = [72 + 12, 72 + 12, 64 + 12]  # mm with margins: axial, coronal, sagittal
    edges = np.cumsum([0, *widths]) / sum(widths) * pixels.shape[1]
    for k, (low, high) in enumerate(itertools.pairwise(edges)):
        part = slice(round(low) + GAP, round(high) - GAP)
        columns = np.flatnonzero(red[:, part].any(axis=0)).mean(), np.flatnonzero(green[:, part].any(axis=0)).mean()
        assert columns[0] < columns[1], k  # right, and front on the sagittal view, are on the left
    axial = slice(0, round(edges[1]) - GAP)
    assert np.flatnonzero(red[:, axial].any(axis=1)).mean() < np.flatnonzero(green[:, axial].any(axis=1)).mean()  # front on top
    assert picture.legend == (("#d7263d", "new"), ("#2a9d5c", "resolved"))
    assert "1 new, 1 resolved" in picture.alt
    assert "patient's right on the left" in picture.alt


def test_numbers_that_would_cover_each_other_are_left_out(head: tuple[np.ndarray, np.ndarray, LesionMap]) -> None:
    none, both, twice = (decode(glass_brain(*head, SPACING, names)) for names in ((), (3, 5), (3, 3, 5)))
    assert (both != none).any()
    np.testing.assert_array_equal(both, twice)


def test_a_camera_looks_from_where_it_says() -> None:
    right, up, towards = Camera(0.0, 0.0, "from the front").axes
    np.testing.assert_allclose(right, (-1, 0, 0), atol=1e-12)  # seen from the front, the patient's left is on the right
    np.testing.assert_allclose(up, (0, 0, 1), atol=1e-12)
    np.testing.assert_allclose(towards, (0, 1, 0), atol=1e-12)
    np.testing.assert_allclose(Camera(90.0, 0.0, "from the left").axes[2], (-1, 0, 0), atol=1e-12)
    for camera in CAMERAS:
        np.testing.assert_allclose(camera.axes @ camera.axes.T, np.eye(3), atol=1e-12)


def test_the_view_shows_lesions_where_they_project_and_glass_around_them(head: tuple[np.ndarray, np.ndarray, LesionMap]) -> None:
    image, brain, lesions = head
    picture = head_view(image, brain, lesions, SPACING, width=600)
    pixels = decode(picture)
    edge = (600 - GAP) // 2
    for camera, part in zip(CAMERAS, (slice(0, edge), slice(edge + GAP, None)), strict=True):
        tile = pixels[:, part]
        reddish = (tile[..., 0] > tile[..., 1] + 50) & (tile[..., 0] > tile[..., 2] + 40)
        greenish = (tile[..., 1] > tile[..., 0] + 25) & (tile[..., 1] > tile[..., 2] + 10)
        found = [np.array([np.nonzero(m)[1].mean(), -np.nonzero(m)[0].mean()]) for m in (reddish, greenish)]
        centres = [np.argwhere(lesions.labels == i).mean(axis=0) * SPACING for i in (3, 5)]
        expected = camera.axes[:2] @ (centres[0] - centres[1])
        seen = found[0] - found[1]
        assert seen @ expected > 0.97 * np.linalg.norm(seen) * np.linalg.norm(expected)
        assert tile[-3, -3].max() < 5  # outside
        assert tile[edge // 2, edge // 2].max() > 10  # glass
    assert picture.data == head_view(image, brain, lesions, SPACING, width=600).data


def test_a_lesion_of_one_voxel_is_drawn_and_nothing_at_all_is_survived() -> None:
    brain = np.zeros(SHAPE, bool)
    brain[3:27, 4:36, 3:23] = True
    labels = np.zeros(SHAPE, int)
    labels[15, 20, 13] = 1
    image = brain.astype(float)
    pixels = decode(head_view(image, brain, LesionMap(labels, {1: "new"}), (1.0, 1.0, 1.0), width=400))
    assert ((pixels[..., 0] > pixels[..., 1] + 30) & (pixels[..., 0] > pixels[..., 2] + 20)).any()
    empty = LesionMap(np.zeros(SHAPE, int), {})
    for nothing in (np.zeros(SHAPE, bool), brain):
        assert decode(head_view(image, nothing, empty, SPACING, width=200)).size
        assert decode(glass_brain(image, nothing, empty, SPACING)).size
    assert "none" in head_view(image, brain, empty, SPACING, width=200).alt


def test_a_difference_is_orange_where_it_is_brighter_and_blue_where_it_is_darker() -> None:
    baseline, brain = np.ones(SHAPE), np.zeros(SHAPE, bool)
    brain[3:27, 4:36, 3:23] = True
    followup = baseline.copy()
    followup[20:24, 20:24] += 2.0
    followup[6:10, 20:24] -= 2.0
    followup[0] += 9.0  # outside the brain: not shown
    picture = difference(baseline, followup, brain, SPACING, 2.0, np.zeros(SHAPE, bool))
    pixels = decode(picture)[:-SCALE_HEIGHT, : picture.width // 4]
    pixels = pixels[: pixels.shape[0] // 2]
    bright, dark = near(pixels, (255, 240, 196)), near(pixels, (214, 242, 255), 30)
    assert np.nonzero(bright)[1].mean() < np.nonzero(dark)[1].mean()  # the patient's right is on the left
    assert 0.01 < bright.mean() < 0.2
    assert "orange is brighter at the follow-up" in picture.alt


def test_no_difference_is_black_and_the_scale_is_even() -> None:
    table = colour_table().astype(int)
    assert table[127:129].max() <= 2
    assert table[0, 2] > table[0, 0]
    assert table[255, 0] > table[255, 2]
    assert (np.diff(table[128:, 0]) >= 0).all()
    assert (np.diff(table[:128, 2]) <= 0).all()


def test_arrays_of_different_shapes_are_refused(head: tuple[np.ndarray, np.ndarray, LesionMap]) -> None:
    image, brain, lesions = head
    for draw in (glass_brain, head_view):
        with pytest.raises(ValueError, match="one grid"):
            draw(image[1:], brain, lesions, SPACING)
    with pytest.raises(ValueError, match="one grid"):
        difference(image, image, brain[1:], SPACING, 1.0, brain)
