"""Noise, sharpness and contrast of images whose answer is known."""

import numpy as np
import pytest
from scipy import ndimage

from coactseg_cli.preprocessing.image_quality import (
    contrast_checks,
    image_checks,
    noise_sd,
    scale_checks,
    signal_of,
    smoothness_mm,
    through_plane,
)
from coactseg_cli.volumes import Volume
from tests.coactseg_cli.preprocessing.heads import head

RNG = np.random.default_rng(0)
INSIDE = np.ones((48, 56, 20), bool)
INSIDE[0] = False


def volume(data, spacing=(1.0, 1.0, 3.0)):
    return Volume(np.asarray(data, np.float32), np.diag([*spacing, 1.0]))


def checked(image, brain, spacing=(1.0, 1.0, 3.0)):
    scan = volume(image, spacing)
    return image_checks(scan.spacing_mm, signal_of(scan, brain), "01")


def named(checks):
    return {c.name: c for c in checks}


def test_noise_is_found_over_a_slope():
    slope = np.indices(INSIDE.shape).sum(axis=0) * 2.0
    assert noise_sd(volume(slope + RNG.normal(0, 5.0, INSIDE.shape)), INSIDE) == pytest.approx(5.0, rel=0.03)
    assert noise_sd(volume(slope), INSIDE) == pytest.approx(0, abs=1e-3)


def test_slices_are_filtered_each_for_itself():
    steps = np.broadcast_to(RNG.normal(0, 50, INSIDE.shape[2]), INSIDE.shape)
    assert noise_sd(volume(steps), INSIDE) == pytest.approx(0, abs=1e-3)
    assert noise_sd(volume(np.moveaxis(steps, 2, 0), (3.0, 1.0, 1.0)), np.moveaxis(INSIDE, 2, 0)) == pytest.approx(0, abs=1e-3)


def test_a_brain_too_small_has_no_noise():
    small = np.zeros_like(INSIDE)
    small[20:26, 20:26, 5:10] = True
    assert np.isnan(noise_sd(volume(RNG.normal(size=INSIDE.shape)), small))
    assert np.isnan(signal_of(volume(RNG.normal(size=INSIDE.shape)), small).tissue)


@pytest.mark.parametrize("fwhm_mm", [3.0, 5.0])
def test_smoothness_of_filtered_noise(fwhm_mm):
    sigma = fwhm_mm / np.sqrt(8 * np.log(2)) / np.array([1.0, 1.0])
    noise = ndimage.gaussian_filter(RNG.normal(size=(120, 120, 20)), (*sigma, 0))
    assert smoothness_mm(volume(noise), np.ones(noise.shape, bool)) == pytest.approx(fwhm_mm, rel=0.1)


def test_through_plane_is_the_thick_axis():
    assert [through_plane(s) for s in ((1, 1, 3), (4, 1, 1), (1.0, 1.1, 1.0))] == [2, 0, 2]


def test_voxels_have_their_own_limits():
    image, brain = head()
    checks = named(checked(image, brain, (1.8, 0.5, 5.0)))
    assert [checks[n].value for n in ("slice-thickness", "anisotropy", "in-plane-spacing")] == pytest.approx([5.0, 10.0, 1.8])
    assert all(checks[n].flagged for n in ("slice-thickness", "anisotropy", "in-plane-spacing"))
    usual = named(checked(image, brain, (0.7, 0.7, 3.0)))
    assert not any(usual[n].flagged for n in ("slice-thickness", "anisotropy", "in-plane-spacing"))


def test_noise_lowers_both_ratios():
    image, brain = head()
    clean = named(checked(image + RNG.normal(0, 2, image.shape), brain))
    noisy = named(checked(image + RNG.normal(0, 15, image.shape), brain))
    assert not clean["snr"].flagged
    assert not clean["cnr"].flagged
    assert noisy["snr"].flagged
    assert noisy["cnr"].flagged
    assert noisy["snr"].value == pytest.approx(100 / 15, rel=0.15)


def test_bright_fluid_is_no_flair():
    image, brain = head()
    assert not named(checked(image, brain))["fluid-dark"].flagged
    assert named(checked(220 - image, brain))["fluid-dark"].flagged


def test_scale_is_a_ratio_of_medians():
    image, brain = head()
    first, second = signal_of(volume(image), brain), signal_of(volume(5 * image), brain)
    (check,) = scale_checks([first, second], ["01", "02"])
    assert (check.value, check.flagged, check.session) == (pytest.approx(5), True, "02")
    assert "harmless" in check.reason
    assert not scale_checks([first, first], ["01", "02"])[0].flagged


def test_contrast_is_the_largest_change_of_a_percentile():
    first, second = (-2.0, -0.3, 0.2, 0.6, 1.0, 1.5), (-2.3, -0.3, 0.2, 0.6, 1.1, 1.0)
    (check,) = contrast_checks([first, second], ["01", "02"])
    assert (check.value, check.flagged, check.session) == (pytest.approx(0.5), True, "02")
    assert not contrast_checks([first, first], ["01", "02"])[0].flagged
    assert contrast_checks([first, ()], ["01", "02"]) == ()
