import numpy as np
import pytest

from coactseg_cli.sampling.profiles import blur, interpolation, ringing, slice_centres, slice_profile


def test_slices_cover_all_voxels_by_hand():
    """Slices of 3 voxels; voxel 0 lies at the first slice's middle (phase 0.5): 0, 3, 6, 9 cover 10 voxels."""
    assert slice_centres(10, 3.0, 0.5).tolist() == [0.0, 3.0, 6.0, 9.0]


@pytest.mark.parametrize("thickness", [1.0, 1.7, 4.2])
@pytest.mark.parametrize("phase", [0.0, 0.3, 0.99])
def test_no_voxel_is_left_out(thickness, phase):
    centres = slice_centres(17, thickness, phase)
    assert centres[0] - thickness / 2 <= 0
    assert centres[-1] + thickness / 2 >= 16.5 - 1e-9
    assert centres[-1] - thickness / 2 < 16.5


def test_box_profile_by_hand():
    """A slice of 3 voxels around voxel 3 averages 2, 3, 4; one of 2 voxels takes half of both neighbours."""
    assert slice_profile(7, np.array([3.0]), 3.0, gaussian=False)[0].tolist() == pytest.approx([0, 0, 1 / 3, 1 / 3, 1 / 3, 0, 0])
    assert slice_profile(7, np.array([3.0]), 2.0, gaussian=False)[0].tolist() == pytest.approx([0, 0, 0.25, 0.5, 0.25, 0, 0])


def test_gaussian_profile_has_its_width_at_half_height():
    profile = slice_profile(41, np.array([20.0]), 6.0, gaussian=True)[0]
    assert profile[23] / profile[20] == pytest.approx(0.5, abs=1e-3)


def test_a_slice_beyond_the_border_shows_the_border():
    assert slice_profile(5, np.array([9.0]), 2.0, gaussian=False)[0].tolist() == [0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    "matrix",
    [
        slice_profile(20, slice_centres(20, 2.7, 0.2), 2.7, gaussian=False),
        slice_profile(20, slice_centres(20, 2.7, 0.2), 2.7, gaussian=True),
        interpolation(20, slice_centres(20, 2.7, 0.2), 2.7),
        blur(20, 0.8),
        ringing(20, 0.4, 0.6),
    ],
)
def test_a_constant_stays_a_constant(matrix):
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0)


def test_interpolation_meets_the_slices_and_follows_a_line():
    centres = slice_centres(21, 2.0, 0.5)
    back = interpolation(21, centres, 2.0)
    values = np.random.default_rng(0).normal(size=len(centres))
    np.testing.assert_allclose((back @ values)[::2], values, atol=1e-12)
    np.testing.assert_allclose((back @ centres)[4:-4], np.arange(21)[4:-4], atol=1e-12)


def test_no_ringing_is_the_identity():
    np.testing.assert_allclose(ringing(9, 0.0, 0.5), np.eye(9))


def test_no_blur_is_the_identity():
    np.testing.assert_allclose(blur(9, 0.0), np.eye(9))
