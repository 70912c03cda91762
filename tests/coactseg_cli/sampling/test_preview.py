import io

import numpy as np
import pytest
from PIL import Image

from bids_app.figures import ALL_COLOUR, NEW_COLOUR
from coactseg_cli.sampling.preview import CAPTION, TILE, chosen_slice, write_sheet
from coactseg_cli.targets import IGNORE
from tests.coactseg_cli.sampling.conftest import ball

SHAPE = (16, 16, 20)


def zeros():
    return np.zeros(SHAPE, np.int8)


def target(*places):
    return np.max([zeros(), *(ball(p, r, SHAPE).astype(np.int8) * v for p, r, v in places)], axis=0).astype(np.int8)


def sheet(tmp_path, baseline, followup, targets, titles=("one",)):
    path = tmp_path / "new" / "sheet.png"
    write_sheet(path, baseline, followup, targets, titles)
    return np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGB"))


def tile(pixels, column, row=0):
    """The pixels of one tile; 4 pixels lie between all tiles and strips."""
    top = (row + 1) * (CAPTION + 4) + row * (TILE + 4) + CAPTION + 4
    return pixels[top : top + TILE, column * (TILE + 4) : column * (TILE + 4) + TILE]


def has(pixels, colour):
    return bool((pixels == np.array(colour)).all(axis=-1).any())


def test_the_slice_goes_through_the_largest_new_lesion():
    new = target(((5, 5, 3), 1, 1), ((9, 9, 12), 3, 1))
    assert chosen_slice(target(((5, 5, 17), 4, 1)), zeros(), new) == 12


def test_without_new_lesions_it_goes_through_the_largest_lesion_of_either_visit():
    assert chosen_slice(target(((5, 5, 3), 1, 1)), target(((9, 9, 7), 2, 1)), zeros()) == 7
    assert chosen_slice(target(((5, 5, 3), 3, 1)), target(((9, 9, 7), 2, 1)), zeros() + IGNORE) == 3


def test_without_lesions_it_is_the_middle():
    assert chosen_slice(zeros(), zeros(), zeros()) == 10


def test_a_row_per_sample(tmp_path):
    images = np.zeros((3, *SHAPE), np.float32)
    targets = (images.astype(np.int8),) * 3
    pixels = sheet(tmp_path, images, images, targets, ("a", "b", "c"))
    assert pixels.shape[0] == CAPTION + 3 * (CAPTION + TILE + 8)
    assert pixels.shape[1] >= 5 * TILE


def test_each_visit_shows_its_own_lesions(tmp_path):
    image = np.zeros((1, *SHAPE), np.float32)
    targets = (target(((4, 4, 10), 2, 1))[None], zeros()[None], target(((11, 11, 10), 2, 1))[None])
    pixels = sheet(tmp_path, image, image, targets)
    assert [has(tile(pixels, c), ALL_COLOUR) for c in range(5)] == [False, False, False, True, False]
    assert [has(tile(pixels, c), NEW_COLOUR) for c in range(5)] == [False, False, False, False, True]


def test_difference_is_grey_where_nothing_changed_and_bright_where_it_grew(tmp_path):
    first, second = (np.zeros((1, *SHAPE), np.float32) for _ in range(2))
    second[0, 12:, 12:] = 3.0
    pixels = sheet(tmp_path, first, second, (zeros()[None],) * 3)
    assert tile(pixels, 2)[TILE - 20, 20, 0] == 127
    assert tile(pixels, 2)[20, TILE - 20, 0] > 250  # the second axis points up
    assert tile(pixels, 0)[20, TILE - 20, 0] == tile(pixels, 0)[TILE - 20, 20, 0]


def test_what_is_not_taught_is_blue(tmp_path):
    image = np.zeros((1, *SHAPE), np.float32)
    unknown = zeros()[None] + np.int8(IGNORE)
    pixels = sheet(tmp_path, image, image, (zeros()[None], zeros()[None], unknown))
    red, _, blue = tile(pixels, 4)[TILE // 2, TILE // 2].astype(int)
    assert blue > red + 30
    red, _, blue = tile(pixels, 3)[TILE // 2, TILE // 2].astype(int)
    assert blue == red


def test_titles_are_written(tmp_path):
    image = np.zeros((1, *SHAPE), np.float32)
    plain, titled = (sheet(tmp_path, image, image, (zeros()[None],) * 3, (t,)) for t in ("", "2 new, 1 faded"))
    strip = slice(CAPTION + 4, 2 * CAPTION + 4)
    assert (titled[strip] > 200).sum() > (plain[strip] > 200).sum()


def test_oblong_patches_keep_their_proportions(tmp_path):
    image = np.zeros((1, 8, 16, 10), np.float32)
    pixels = sheet(tmp_path, image, image, (image.astype(np.int8),) * 3)
    assert pixels.shape[0] == 2 * CAPTION + TILE + 8


@pytest.mark.parametrize("titles", [(), ("a", "b")])
def test_a_title_per_sample_is_asked_for(tmp_path, titles):
    image = np.zeros((1, *SHAPE), np.float32)
    with pytest.raises(ValueError, match="B titles"):
        write_sheet(tmp_path / "sheet.png", image, image, (zeros()[None],) * 3, titles)
    assert not (tmp_path / "sheet.png").exists()
