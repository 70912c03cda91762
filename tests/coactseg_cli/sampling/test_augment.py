from dataclasses import replace

import numpy as np
import pytest
import torch

from coactseg_cli.sampling.augment import (
    MAX_ROTATION_DEG,
    NOTHING,
    Orientation,
    draw_acquisition,
    draw_orientation,
    orient,
    render,
    rotation,
    turn,
)
from coactseg_cli.sampling.patches import cut

SHAPE = (20, 24, 28)
EVERYTHING = replace(
    NOTHING,
    gain=1.2,
    offset=0.1,
    gamma=1.1,
    noise_sd=0.2,
    noise_seed=3,
    bias=1.0 + np.random.default_rng(2).normal(0.0, 0.1, (4, 4, 4)),
    slice_mm=3.0,
    blur_mm=0.6,
    ring_amount=0.3,
    ring_cutoff=0.6,
    shift_mm=(0.4, -0.2, 0.3),
    rotation_deg=(0.5, 1.0, -0.5),
)


@pytest.fixture
def image():
    """A random image that is zero in the outer two voxels, and its brain."""
    brain = torch.zeros(SHAPE, dtype=torch.bool)
    brain[2:-2, 2:-2, 2:-2] = True
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)) * brain, brain


def one(image, how, brain=None):
    """Render one image (X, Y, Z) inside a brain that is everywhere by default."""
    brain = torch.ones(image.shape, dtype=torch.bool) if brain is None else brain
    return render(image[None, None].float(), brain[None], [how])[0, 0]


def ramp(axis):
    steps = [1, 1, 1]
    steps[axis] = SHAPE[axis]
    return torch.arange(SHAPE[axis], dtype=torch.float32).reshape(steps).expand(SHAPE).contiguous()


def test_turn_by_hand():
    array = np.arange(2 * 2 * 2).reshape(2, 2, 2)
    turned = turn(array, Orientation((1, 0, 2), (True, False, False)))
    assert turned[0, 1, 0] == array[1, 1, 0]
    assert turned[1, 1, 1] == array[1, 0, 1]


def test_every_array_of_a_patch_turns_alike(pair):
    patch = cut(pair, np.array([10, 10, 10]), (16, 16, 16))
    turned = orient(patch, Orientation((2, 0, 1), (True, False, True)))
    assert np.array_equal(
        turned.followup[turned.new == 1], turn(patch.followup, Orientation((2, 0, 1), (True, False, True)))[turned.new == 1]
    )
    assert turned.followup[turned.new == 1].min() > 1.5
    assert turned.place is None


def test_unequal_edges_keep_their_axes(pair):
    patch = cut(pair, np.array([10, 10, 10]), (16, 32, 16))
    assert orient(patch, Orientation((1, 0, 2), (False, True, False))).baseline.shape == (16, 32, 16)


def test_unequal_voxels_keep_their_axes(pair):
    patch = cut(pair, np.array([10, 10, 10]), (16, 16, 16)).with_(spacing_mm=(0.5, 0.75, 0.75))
    turned = orient(patch, Orientation((1, 0, 2), (False, True, False)))
    assert np.array_equal(turned.followup, patch.followup[:, ::-1])


def test_all_orientations_occur():
    rng = np.random.default_rng(0)
    assert len({draw_orientation(rng) for _ in range(2000)}) == 48


def test_strength_zero_changes_nothing_exactly(image):
    rng = np.random.default_rng(1)
    for _ in range(20):
        assert torch.equal(one(image[0], draw_acquisition(rng, 0.0), image[1]), image[0])


def test_equal_generators_draw_equal_acquisitions():
    first, again, other = (draw_acquisition(np.random.default_rng(s)) for s in (1, 1, 2))
    assert np.array_equal(first.bias, again.bias)
    assert replace(first, bias=None, noise_seed=0).__repr__() == replace(again, bias=None, noise_seed=0).__repr__()
    assert first.gain != other.gain


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_strength_scales_what_is_drawn(strength):
    """The draws are the same whatever the strength: log gain is proportional to it, and later draws do not move."""
    weak, full = (draw_acquisition(np.random.default_rng(4), s) for s in (strength, 1.0))
    assert np.log(weak.gain) == pytest.approx(strength * np.log(full.gain))
    assert weak.noise_seed == full.noise_seed


def test_draws_stay_in_the_documented_ranges():
    rng = np.random.default_rng(0)
    drawn = [draw_acquisition(rng, 1.0, (1.0, 1.0, 2.0)) for _ in range(400)]
    thick = [a.slice_mm for a in drawn if a.slice_mm]
    assert 120 < len(thick) < 200
    assert 1.5 <= min(thick) < 2.0
    assert 4.5 < max(thick) <= 5.0
    assert max(np.abs(a.rotation_deg).max() for a in drawn) == MAX_ROTATION_DEG
    assert {a.slice_axis for a in drawn} == {0, 1, 2}
    assert {a.slice_gaussian for a in drawn} == {True, False}
    assert drawn[0].spacing_mm == (1.0, 1.0, 2.0)


@pytest.mark.parametrize(
    "change",
    [
        {"gain": 1.3},
        {"offset": 0.4},
        {"gamma": 1.2},
        {"noise_sd": 0.2},
        {"slice_mm": 3.0},
        {"blur_mm": 0.7},
        {"ring_amount": 0.5, "ring_cutoff": 0.5},
        {"shift_mm": (0.5, 0.0, 0.0)},
        {"rotation_deg": (0.0, 0.0, 1.0)},
        {"bias": np.full((4, 4, 4), 1.1)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_parameter_changes_the_brain_and_only_the_brain(image, change):
    out = one(image[0], replace(NOTHING, **change), image[1])
    assert (out - image[0])[image[1]].abs().mean() > 0.01
    assert not out[~image[1]].any()


@pytest.mark.parametrize("change", [{"slice_gaussian": True}, {"slice_phase": 0.5}, {"slice_axis": 0}, {"spacing_mm": (1.0, 1.0, 2.0)}])
def test_each_property_of_the_slices_matters(image, change):
    thick = replace(NOTHING, slice_mm=3.0)
    assert not torch.allclose(one(image[0], replace(thick, **change)), one(image[0], thick), atol=0.01)


def test_noise_depends_on_its_seed_alone(image):
    outs = [one(image[0], replace(NOTHING, noise_sd=0.2, noise_seed=s)) for s in (1, 1, 2)]
    assert torch.equal(outs[0], outs[1])
    assert not torch.equal(outs[0], outs[2])


def test_a_sample_is_rendered_as_if_it_were_alone():
    rng = np.random.default_rng(0)
    images = torch.randn((6, 1, *SHAPE), generator=torch.Generator().manual_seed(0))
    brain = torch.ones((6, *SHAPE), dtype=torch.bool)
    how = [NOTHING, EVERYTHING, *(draw_acquisition(rng) for _ in range(4))]
    together = render(images, brain, how)
    for i, h in enumerate(how):
        alone = render(images[i : i + 1], brain[i : i + 1], [h])
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-5, rtol=1e-5)
    assert torch.equal(together[0], images[0])


def test_inputs_are_left_alone(image):
    before = image[0].clone()
    one(image[0], EVERYTHING, image[1])
    assert torch.equal(image[0], before)


def test_gain_and_offset_by_hand():
    out = one(torch.full(SHAPE, 2.0), replace(NOTHING, gain=1.5, offset=0.25))
    torch.testing.assert_close(out, torch.full(SHAPE, 2.0 * 1.5 + 0.25))


def test_a_constant_bias_scales_the_signal_above_zero():
    """A z-score of 2 is 6 above no signal (-4); 1.1 times that is 6.6, a z-score of 2.6."""
    out = one(torch.full(SHAPE, 2.0), replace(NOTHING, bias=np.full((4, 4, 4), 1.1)))
    torch.testing.assert_close(out, torch.full(SHAPE, 2.6))


def test_a_bias_field_runs_smoothly_through_its_corners():
    points = np.ones((4, 4, 4))
    points[3] = 1.5
    field = (one(torch.full(SHAPE, -3.0), replace(NOTHING, bias=points)) + 4.0)[:, 5, 5]
    assert field[0] == pytest.approx(1.0, abs=0.01)
    assert field[-1] == pytest.approx(1.5 * (1 - 3 * 0.025) + 3 * 0.025, abs=0.01)
    assert (field.diff() > 0).all()


def test_the_contrast_curve_keeps_the_mean_and_spreads_what_is_bright():
    image = torch.zeros(SHAPE)
    image[0] = 4.0
    out = one(image, replace(NOTHING, gamma=1.2))
    torch.testing.assert_close(out[1], torch.zeros(SHAPE[1:]), atol=1e-5, rtol=0)
    torch.testing.assert_close(out[0], torch.full(SHAPE[1:], 4.0 * 2.0**1.2 - 4.0))


def test_noise_is_as_large_as_asked_and_has_a_floor_where_there_is_no_signal():
    tissue = one(torch.zeros((40, 40, 40)), replace(NOTHING, noise_sd=0.2))
    assert tissue.std() == pytest.approx(0.2, rel=0.02)
    assert tissue.mean() == pytest.approx(0.2**2 / (2 * 4.0), abs=0.003)
    assert one(torch.full((40, 40, 40), -4.0), replace(NOTHING, noise_sd=0.2)).min() >= -4.0 + 0.2 - 1e-5


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 0.75, 1.25)])
def test_a_shift_moves_the_image_by_millimetres_along_its_axis(axis, spacing):
    """Pulled from x - shift: on a ramp of one per voxel the value falls by the shift in voxels."""
    shift = [0.0, 0.0, 0.0]
    shift[axis] = 0.3
    out = one(ramp(axis), replace(NOTHING, shift_mm=tuple(shift), spacing_mm=spacing))
    inner = (slice(4, -4),) * 3
    torch.testing.assert_close(out[inner], ramp(axis)[inner] - 0.3 / spacing[axis], atol=1e-4, rtol=0)


def test_a_rotation_about_z_by_hand():
    """1 degree about z moves (x, y) to (x - y/57.3, ...): a ramp along x changes by about y / 57.3 millimetres."""
    out = one(ramp(0), replace(NOTHING, rotation_deg=(0.0, 0.0, 1.0)))
    y = torch.arange(SHAPE[1]) - (SHAPE[1] - 1) / 2
    expected = ramp(0)[10, :, 14] + y * np.sin(np.radians(1.0)) + (10 - 9.5) * (np.cos(np.radians(1.0)) - 1)
    torch.testing.assert_close(out[10, :, 14], expected.float(), atol=1e-3, rtol=0)


def test_a_rotation_in_voxels_of_different_lengths():
    """The ramp is along x in steps of 0.5 mm; y in steps of 2 mm, so a turn reaches four times as many voxels."""
    out = one(ramp(0), replace(NOTHING, rotation_deg=(0.0, 0.0, 1.0), spacing_mm=(0.5, 2.0, 1.0)))
    difference = (out - ramp(0))[10, 14, 14] - (out - ramp(0))[10, 13, 14]
    assert difference == pytest.approx(2.0 / 0.5 * np.sin(np.radians(1.0)), abs=1e-3)


def test_rotations_are_proper_and_go_from_x_to_y():
    turned = rotation((10.0, -20.0, 30.0))
    np.testing.assert_allclose(turned @ turned.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turned) == pytest.approx(1.0)
    np.testing.assert_allclose(rotation((0.0, 0.0, 90.0)) @ [1, 0, 0], [0, 1, 0], atol=1e-12)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_thick_slices_lose_resolution_along_their_axis_only(axis):
    """Stripes of one voxel vanish through slices of 4 voxels, stripes across another axis stay."""
    stripes = ramp(axis) % 2
    inner = (slice(4, -4),) * 3
    assert one(stripes, replace(NOTHING, slice_axis=axis, slice_mm=4.0))[inner].std() < 0.02
    torch.testing.assert_close(one(stripes, replace(NOTHING, slice_axis=(axis + 1) % 3, slice_mm=4.0)), stripes, atol=1e-4, rtol=0)


def test_slices_no_thicker_than_a_voxel_lose_nothing(image):
    thin = replace(NOTHING, slice_axis=2, slice_mm=2.0, spacing_mm=(1.0, 1.0, 2.0))
    assert torch.equal(one(image[0], thin), image[0])


def test_noise_of_thick_slices_is_alike_through_them():
    """Noise is added to the slices: neighbours along the axis are alike, neighbours across are not."""
    out = one(torch.zeros((40, 40, 40)), replace(NOTHING, noise_sd=0.2, slice_axis=2, slice_mm=4.0))
    along = np.corrcoef(out[..., :-1].flatten(), out[..., 1:].flatten())[0, 1]
    across = np.corrcoef(out[:-1].flatten(), out[1:].flatten())[0, 1]
    assert along > 0.8
    assert abs(across) < 0.05


def test_in_plane_blur_leaves_the_slice_direction_alone():
    how = replace(NOTHING, blur_mm=0.7, slice_axis=2)
    torch.testing.assert_close(one(ramp(2) % 2, how), ramp(2) % 2, atol=1e-4, rtol=0)
    assert one(ramp(0) % 2, how).std() < 0.3 * (ramp(0) % 2).std()


def test_ringing_overshoots_beside_an_edge():
    edge = (ramp(0) > 9).float()
    out = one(edge, replace(NOTHING, ring_amount=0.5, ring_cutoff=0.5, slice_axis=2))
    assert out[4:-4].max() > 1.02
    assert out[4:-4].min() < -0.02


def test_an_empty_brain_shows_nothing(image):
    assert not one(image[0], EVERYTHING, torch.zeros(SHAPE, dtype=torch.bool)).any()


def test_one_acquisition_per_image_is_asked_for(image):
    with pytest.raises(ValueError, match="one acquisition and one brain mask per image"):
        render(image[0][None, None], image[1][None], [NOTHING, NOTHING])
