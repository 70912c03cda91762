"""Numbers worked out by hand on a 10 x 20 x 30 grid with three spacings."""

import json

import numpy as np
import pytest

from bids_app.tables import write_table
from coactseg_cli.errors import CoactSegError, GridMismatch
from coactseg_cli.lesions import measure as module
from coactseg_cli.lesions.measure import COLUMNS, HEADINGS, measure, row, table
from coactseg_cli.volumes import Volume

AFFINE = np.array([[0.5, 0, 0, -10], [0, 1.0, 0, 5], [0, 0, 2.0, 100], [0, 0, 0, 1]])


@pytest.fixture
def mask() -> Volume:
    """Three lesions: 2, 4 and 2 voxels in raster order."""
    data = np.zeros((10, 20, 30), bool)
    data[1:3, 2, 3] = True
    data[5, 10:14, 7] = True
    data[8, 18, 20:22] = True
    return Volume(data, AFFINE)


def test_lesions_are_numbered_by_size_and_ties_keep_raster_order(mask: Volume) -> None:
    labels, lesions = measure(mask, None, "all")
    assert labels.data.dtype == np.uint16
    assert [lesion.voxels for lesion in lesions] == [4, 2, 2]
    assert labels.data[5, 11, 7] == 1
    assert labels.data[1, 2, 3] == 2
    assert labels.data[8, 18, 21] == 3
    np.testing.assert_array_equal(labels.data > 0, mask.data)
    np.testing.assert_array_equal(labels.affine, AFFINE)


def test_volume_and_centroid_follow_the_affine(mask: Volume) -> None:
    first, second, third = measure(mask, None, "new")[1]
    assert first.name == "new-1"
    assert first.volume_mm3 == pytest.approx(4.0)  # 4 voxels of 0.5 x 1 x 2 mm
    assert first.centroid_voxel == pytest.approx((5, 11.5, 7))
    assert first.centroid_mm == pytest.approx((-7.5, 16.5, 114))
    assert second.centroid_voxel == pytest.approx((1.5, 2, 3))
    assert third.centroid_mm == pytest.approx((-6, 23, 141))


def test_an_oblique_left_handed_affine_places_the_centroid_like_nibabel(mask: Volume) -> None:
    affine = AFFINE.copy()
    affine[:3, :3] = np.array([[-0.6, 0.8, 0], [0.8, 0.6, 0], [0, 0, 1]]) @ np.diag([0.5, 1, 2])
    lesion = measure(Volume(mask.data, affine), None, "x")[1][0]
    assert lesion.centroid_mm == pytest.approx((affine @ [5, 11.5, 7, 1])[:3])
    assert lesion.volume_mm3 == pytest.approx(4.0)


def test_probabilities_are_read_inside_each_lesion_only(mask: Volume) -> None:
    probability = np.full(mask.data.shape, 0.99, np.float32)
    probability[5, 10:14, 7] = [0.5, 0.6, 0.7, 0.8]
    probability[1:3, 2, 3] = 0.25
    first, second, third = measure(mask, Volume(probability, AFFINE), "all")[1]
    assert (first.mean_probability, first.max_probability) == pytest.approx((0.65, 0.8))
    assert (second.mean_probability, second.max_probability) == pytest.approx((0.25, 0.25))
    assert third.max_probability == pytest.approx(0.99)


def test_without_a_probability_map_the_probabilities_are_undefined(mask: Volume) -> None:
    lesion = measure(mask, None, "all")[1][0]
    assert np.isnan(lesion.mean_probability)
    assert np.isnan(lesion.max_probability)


@pytest.mark.parametrize("with_probability", [False, True])
def test_an_empty_mask_has_no_lesion(with_probability: bool) -> None:
    empty = Volume(np.zeros((4, 5, 6), bool), AFFINE)
    probability = Volume(np.zeros((4, 5, 6), np.float32), AFFINE) if with_probability else None
    labels, lesions = measure(empty, probability, "all")
    assert lesions == ()
    assert not labels.data.any()
    assert labels.data.dtype == np.uint16


def test_voxels_that_touch_at_a_corner_are_one_lesion_only_with_26_neighbours() -> None:
    data = np.zeros((4, 5, 6), bool)
    data[1, 1, 1] = data[2, 2, 2] = True
    volume = Volume(data, AFFINE)
    assert len(measure(volume, None, "all")[1]) == 2
    assert len(measure(volume, None, "all", connectivity=26)[1]) == 1


def test_a_probability_on_another_grid_is_refused(mask: Volume) -> None:
    shifted = AFFINE.copy()
    shifted[0, 3] += 1
    with pytest.raises(GridMismatch, match="lesion mask and lesion probability"):
        measure(mask, Volume(np.zeros(mask.data.shape, np.float32), shifted), "all")


def test_more_lesions_than_a_dseg_can_number_are_refused(mask: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LESIONS", 2)
    with pytest.raises(CoactSegError, match="found 3 lesions, more than the 2"):
        measure(mask, None, "all")


def test_65535_lesions_still_fit_and_one_more_does_not() -> None:
    board = np.indices((52, 52, 52)).sum(axis=0) % 2 == 0
    spots = np.flatnonzero(board.ravel())
    data = np.zeros(board.size, bool)
    data[spots[:65535]] = True
    labels, lesions = measure(Volume(data.reshape(board.shape), np.eye(4)), None, "all")
    assert len(lesions) == labels.data.max() == 65535
    data[spots[65535]] = True
    with pytest.raises(CoactSegError, match="65536"):
        measure(Volume(data.reshape(board.shape), np.eye(4)), None, "all")


def test_rows_fit_the_column_dictionary_and_the_page(mask: Volume, tmp_path) -> None:
    lesions = measure(mask, None, "all")[1]
    rows = [row(lesion) for lesion in lesions]
    assert tuple(rows[0]) == tuple(COLUMNS)
    assert tuple(COLUMNS)[:2] == ("index", "name")
    write_table(tmp_path / "x_dseg.tsv", rows, COLUMNS)
    lines = (tmp_path / "x_dseg.tsv").read_text().splitlines()
    assert lines[0].split("\t") == list(COLUMNS)
    assert lines[1].split("\t")[:2] == ["1", "all-1"]
    assert lines[1].split("\t")[-1] == "n/a"
    assert set(COLUMNS) <= set(json.loads((tmp_path / "x_dseg.json").read_text()))
    page = table(lesions, "Lesions")
    assert len(page.headings) == len(HEADINGS) == len(page.rows[0]) == len(COLUMNS)
