"""Labels carried to another grid, by hand."""

import numpy as np

from coactseg_cli.nearest import carry
from coactseg_cli.volumes import Volume


def grid(shape, spacing_mm, origin_mm=(0, 0, 0)):
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = origin_mm
    return Volume(np.zeros(shape, np.uint8), affine)


def test_the_same_grid_is_copied():
    labels = Volume(np.arange(60, dtype=np.uint16).reshape(3, 4, 5), np.eye(4))
    carried = carry(labels, grid((3, 4, 5), (1, 1, 1)), np.eye(4))
    assert np.array_equal(carried.data, labels.data)
    assert carried.data is not labels.data
    assert carried.data.dtype == np.uint16


def test_thick_slices_take_the_label_in_which_their_centre_lies():
    labels = Volume(np.zeros((2, 3, 8), np.uint16), np.eye(4))
    labels.data[1, 2, :] = [1, 1, 2, 2, 3, 3, 4, 4]
    carried = carry(labels, grid((2, 3, 4), (1, 1, 2), (0, 0, 0.6)), np.eye(4))
    assert carried.data[1, 2].tolist() == [1, 2, 3, 4]
    assert carried.data[0].sum() == 0


def test_a_transform_moves_and_what_lies_outside_is_background():
    labels = Volume(np.full((3, 3, 3), 7, np.uint16), np.eye(4))
    moved = np.eye(4)
    moved[0, 3] = 2.0  # a point of the grid lies 2 mm further on in the labels' space
    carried = carry(labels, grid((3, 3, 3), (1, 1, 1)), moved)
    assert carried.data[:, 0, 0].tolist() == [7, 0, 0]


def test_oblique_axes_and_flips_keep_places():
    rng = np.random.default_rng(0)
    labels = Volume(rng.integers(0, 9, (4, 5, 6)).astype(np.uint16), np.eye(4))
    flip = np.array([[-1.0, 0, 0, 3], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    carried = carry(labels, Volume(np.zeros((4, 6, 5)), flip), np.eye(4))
    assert np.array_equal(carried.data, labels.data[::-1].transpose(0, 2, 1))
