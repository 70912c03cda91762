from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from coactseg_cli.metrics import surface
from coactseg_cli.metrics.surface import SurfaceDistances

SHAPE = (10, 20, 30)
SPACING = (0.5, 1.0, 3.0)


def box(*slices: slice) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[slices] = True
    return mask


def test_the_surface_of_a_cube_is_all_but_its_centre() -> None:
    cube = box(slice(2, 5), slice(4, 7), slice(6, 9))
    voxels = {tuple(v) for v in surface.surface_voxels(cube)}
    assert len(voxels) == 26
    assert (3, 5, 7) not in voxels


def test_the_border_of_the_image_is_a_surface() -> None:
    assert len(surface.surface_voxels(np.ones((3, 3, 3), bool))) == 26
    assert len(surface.surface_voxels(np.ones((1, 4, 5), bool))) == 20


def test_distances_use_the_edge_of_the_axis_they_lie_along() -> None:
    point = box(slice(1, 2), slice(1, 2), slice(1, 2))
    for axis, (shift, expected) in enumerate([(4, 2.0), (5, 5.0), (6, 18.0)]):
        other = np.roll(point, shift, axis)
        distances = surface.measure(other, point, SPACING)
        assert surface.hausdorff(distances) == pytest.approx(expected)
        assert surface.hausdorff(surface.measure(other, point, (1, 1, 1))) == pytest.approx(shift)


def test_numbers_read_off_known_distances() -> None:
    distances = SurfaceDistances(np.array([0.0, 0.0, 4.0]), np.array([1.0]))
    assert surface.hausdorff(distances) == 4
    assert surface.hausdorff95(distances) == pytest.approx(3.6)  # of 0, 0, 4 at 1.9 of 2 steps
    assert surface.hausdorff95_pooled(distances) == pytest.approx(3.55)  # of 0, 0, 1, 4 at 2.85 of 3 steps
    assert surface.mean_symmetric(distances) == pytest.approx(5 / 4)
    assert surface.mean_of_means(distances) == pytest.approx((4 / 3 + 1) / 2)
    assert surface.mean_predicted_to_reference(distances) == pytest.approx(4 / 3)
    assert surface.normalised_surface_dice(distances, 1.0) == pytest.approx(3 / 4)
    assert surface.normalised_surface_dice(distances, 0.9) == pytest.approx(2 / 4)


def test_a_missed_lesion_does_not_raise_the_directed_mean() -> None:
    near = box(slice(1, 4), slice(1, 4), slice(1, 4))
    distances = surface.measure(near, near | box(slice(6, 9), slice(15, 18), slice(20, 25)), SPACING)
    assert surface.mean_predicted_to_reference(distances) == 0
    assert surface.mean_symmetric(distances) > 5


def test_one_millimetre_in_single_precision_is_within_one_millimetre() -> None:
    edge = float(np.nextafter(np.float32(1), np.float32(2)))
    point = box(slice(4, 5), slice(1, 2), slice(1, 2))
    assert surface.normalised_surface_dice(surface.measure(point, np.roll(point, 1, 0), (edge, 1, 1)), 1.0) == 1


def test_empty_masks() -> None:
    nothing, something = np.zeros(SHAPE, bool), box(slice(1, 3), slice(1, 3), slice(1, 3))
    numbers = (
        surface.hausdorff, surface.hausdorff95, surface.hausdorff95_pooled, surface.mean_symmetric, surface.mean_of_means,
        surface.mean_predicted_to_reference,
    )  # fmt: skip
    for predicted, reference in ((nothing, something), (something, nothing), (nothing, nothing)):
        assert all(math.isnan(number(surface.measure(predicted, reference, SPACING))) for number in numbers)
    assert surface.normalised_surface_dice(surface.measure(nothing, something, SPACING), 1.0) == 0
    assert math.isnan(surface.normalised_surface_dice(surface.measure(something, nothing, SPACING), 1.0))


@pytest.mark.parametrize("seed", range(10))
def test_distances_equal_a_distance_transform(seed: int) -> None:
    rng = np.random.default_rng(seed)
    predicted, reference = (ndimage.gaussian_filter(rng.normal(size=SHAPE), 1.5) > 0.1 for _ in range(2))
    edges = [mask & ~ndimage.binary_erosion(mask) for mask in (predicted, reference)]
    fields = [ndimage.distance_transform_edt(~edge, sampling=SPACING) for edge in edges]
    own = surface.measure(predicted, reference, SPACING)
    np.testing.assert_allclose(own.predicted_to_reference, fields[1].T[edges[0].T], atol=1e-12)
    np.testing.assert_allclose(own.reference_to_predicted, fields[0].T[edges[1].T], atol=1e-12)
