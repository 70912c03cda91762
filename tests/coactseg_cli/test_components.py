import numpy as np
import pytest
from scipy import ndimage

from coactseg_cli.components import depth_mm, keep_confident, label, min_voxels, peaks_of, remove_small, sizes


def corner_cubes():
    """Two cubes of 8 voxels that share one corner, and a single voxel."""
    mask = np.zeros((6, 7, 8), bool)
    mask[0:2, 0:2, 0:2] = True
    mask[2:4, 2:4, 2:4] = True
    mask[5, 6, 7] = True
    return mask


@pytest.mark.parametrize(("connectivity", "n"), [(6, 3), (18, 3), (26, 2)])
def test_connectivity_decides_what_touches(connectivity, n):
    assert label(corner_cubes(), connectivity)[1] == n


def test_sizes_in_raster_order():
    labels, n = label(corner_cubes())
    assert sizes(labels, n).tolist() == [8, 8, 1]


def test_other_connectivities_are_refused():
    with pytest.raises(ValueError, match="got 4"):
        label(corner_cubes(), 4)


def test_nothing_has_no_components():
    labels, n = label(np.zeros((3, 4, 5), bool))
    assert n == 0
    assert sizes(labels, n).tolist() == []
    assert not remove_small(np.zeros((3, 4, 5), bool), 1.0, 3.0).any()


@pytest.mark.parametrize(
    ("voxel_mm3", "min_mm3", "expected"), [(1.0, 3.0, 4), (0.28125, 3.0, 11), (3.0, 3.0, 2), (0.1, 0.3, 4), (8.0, 3.0, 1)]
)
def test_fewest_voxels_strictly_above_the_limit(voxel_mm3, min_mm3, expected):
    assert min_voxels(voxel_mm3, min_mm3) == expected


def test_exactly_the_limit_is_dropped():
    mask = np.zeros((6, 7, 8), bool)
    mask[0, 0, 0:3] = True
    mask[3, 3, 0:4] = True
    kept = remove_small(mask, 1.0, 3.0)
    assert kept.sum() == 4
    assert kept[3, 3, 0]


def test_no_limit_keeps_all():
    assert np.array_equal(remove_small(corner_cubes(), 1.0, 0.0), corner_cubes())


def test_a_lesion_that_reaches_the_peak_nowhere_is_dropped_as_a_whole():
    probability = np.zeros((8, 6, 5), np.float32)
    probability[1, 1, :3] = (0.5, 0.9, 0.6)  # reaches 0.9
    probability[4, 1:4, 0] = (0.7, 0.89, 0.7)  # does not
    probability[4, 4, 0] = 0.4  # below the threshold: no part of the lesion beside it
    believed = keep_confident(probability, 0.5, 0.9)
    assert believed[1, 1, :3].tolist() == pytest.approx([0.5, 0.9, 0.6])
    assert not believed[4, 1:4, 0].any()
    assert believed[4, 4, 0] == np.float32(0.4)
    assert keep_confident(probability, 0.5, 0.0) is probability
    labels, n = label(probability >= 0.5)
    assert peaks_of(labels, n, probability).tolist() == pytest.approx([0.9, 0.89])
    assert not keep_confident(np.zeros((3, 3, 3), np.float32), 0.5, 0.9).any()


def test_depth_is_measured_between_centres_to_what_is_outside():
    mask = np.zeros((9, 8, 7), bool)
    mask[2:7, 1:6, 1:5] = True
    spacing_mm = (1.0, 0.7, 3.0)
    expected = ndimage.distance_transform_edt(mask, sampling=spacing_mm)
    np.testing.assert_allclose(depth_mm(mask.transpose(2, 0, 1), (3.0, 1.0, 0.7)).transpose(1, 2, 0), expected, rtol=1e-6)
    np.testing.assert_allclose(depth_mm(mask, spacing_mm), expected, rtol=1e-6)
    assert np.isinf(depth_mm(np.ones((3, 3, 3), bool), spacing_mm)).all()
