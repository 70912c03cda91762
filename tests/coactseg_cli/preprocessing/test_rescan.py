"""Other acquisitions of a scan: noise, motion, slices; answers worked out by hand."""

import numpy as np
import pytest

from coactseg_cli.preprocessing.resampling import Grid
from coactseg_cli.preprocessing.rescan import magnitude_noise, noise_sd, slice_axis, small_motion, smooth_field, through_slices
from coactseg_cli.preprocessing.transforms import apply, rotation_deg, translation
from coactseg_cli.volumes import Volume


def test_slices_are_thick_where_one_edge_is_long():
    assert slice_axis((0.7, 0.7, 3.0)) == 2
    assert slice_axis((4.0, 0.7, 0.9)) == 0
    assert slice_axis((1.0, 1.2, 1.0)) is None


@pytest.mark.parametrize("spacing", [(0.7, 0.8, 3.0), (1.0, 1.0, 1.0), (4.0, 0.8, 0.8)])
def test_noise_is_found_under_a_slope(spacing):
    rng = np.random.default_rng(0)
    x, y, z = np.meshgrid(*[np.arange(n, dtype=float) for n in (40, 44, 36)], indexing="ij")
    scan = 100 + 2 * x - 3 * y + 5 * z + rng.normal(0, 7.0, x.shape)
    brain = np.zeros(x.shape, bool)
    brain[5:35, 5:39, 5:31] = True
    assert noise_sd(Volume(scan.astype(np.float32), np.diag([*spacing, 1.0])), brain) == pytest.approx(7.0, rel=0.04)


def test_noise_of_nothing_is_nothing():
    flat = Volume(np.full((8, 9, 10), 3.0, np.float32), np.eye(4))
    assert noise_sd(flat, np.ones(flat.shape, bool)) == 0.0
    assert noise_sd(flat, np.zeros(flat.shape, bool)) == 0.0


def test_motions_stay_small_about_the_centre():
    centre = np.array([10.0, -20.0, 30.0])
    motions = [small_motion(np.random.default_rng(i), centre, 0.5, 2.0) for i in range(50)]
    shifts = [np.linalg.norm(apply(m, centre[None])[0] - centre) for m in motions]
    assert 0 < max(shifts) <= 0.5
    angles = [rotation_deg(m) for m in motions]
    assert 1.0 < max(angles) <= 2.0 + 1e-6
    assert np.array_equal(motions[3], small_motion(np.random.default_rng(3), centre, 0.5, 2.0))


def test_a_coil_field_leaves_one_by_what_was_asked_for():
    field = smooth_field(np.random.default_rng(2), (10, 12, 14), 0.2)
    assert np.abs(field - 1).max() == pytest.approx(0.2, abs=1e-6)


def test_noise_of_a_magnitude_image_has_its_rician_floor():
    rng = np.random.default_rng(3)
    air, tissue = (magnitude_noise(rng, np.full((30, 30, 30), level, np.float32), 2.0) for level in (0.0, 200.0))
    assert air.mean() == pytest.approx(2.0 * np.sqrt(np.pi / 2), rel=0.02)
    assert tissue.std() == pytest.approx(2.0, rel=0.03)


def test_a_thin_plate_keeps_its_sum_in_thick_slices():
    """One plane of 1 mm in slices of 4 mm: a quarter of the signal in the slice that holds it, nothing three slices away."""
    plate = np.zeros((12, 14, 40), np.float32)
    plate[:, :, 18] = 1.0
    fine = Volume(plate, np.eye(4))
    slices = np.diag([1.0, 1.0, 4.0, 1.0])
    slices[2, 3] = 2.0  # middles at 2, 6, 10, ..., so that one slice covers planes 16.5 to 20.5
    shown = through_slices(fine, Grid((12, 14, 9), slices), np.eye(4)).data[6, 7]
    assert shown[18] == pytest.approx(0.25, abs=0.04)
    assert shown.sum() == pytest.approx(1.0, abs=0.05)
    assert np.abs(shown[[6, 30]]).max() < 0.02


def test_cubes_are_not_averaged():
    dot = np.zeros((11, 12, 13), np.float32)
    dot[5, 6, 7] = 1.0
    shown = through_slices(Volume(dot, np.eye(4)), Grid((11, 12, 13), np.eye(4)), np.eye(4)).data
    assert np.allclose(shown, dot, atol=1e-5)


def test_lesions_lie_where_the_transform_says():
    dot = np.zeros((21, 22, 23), np.float32)
    dot[8:11, 9:12, 10:13] = 1.0
    grid = Grid((21, 22, 23), translation((3.0, 0.0, 0.0)))  # the scan's space lies 3 mm to the right: voxel 0 is at 3 mm
    shown = through_slices(Volume(dot, np.eye(4)), grid, translation((-3.0, 0.0, 0.0))).data
    assert np.allclose(shown[4:18, 4:18, 4:18], dot[4:18, 4:18, 4:18], atol=1e-4)
