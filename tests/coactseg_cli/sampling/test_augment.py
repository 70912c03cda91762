from dataclasses import replace

import numpy as np
import pytest

from coactseg_cli.sampling.augment import Orientation, acquire, draw_acquisition, draw_orientation, orient, scan, turn
from coactseg_cli.sampling.patches import cut

NOTHING = replace(
    draw_acquisition(np.random.default_rng(0), 0.0),
    gain=1.0,
    offset=0.0,
    gamma=1.0,
    noise_sd=0.0,
    blur_sigma=0.0,
    shift=(0.0, 0.0, 0.0),
    bias=np.ones((4, 4, 4)),
)


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


def test_unequal_edges_keep_their_axes(pair):
    patch = cut(pair, np.array([10, 10, 10]), (16, 32, 16))
    assert orient(patch, Orientation((1, 0, 2), (False, True, False))).baseline.shape == (16, 32, 16)


def test_all_orientations_occur():
    rng = np.random.default_rng(0)
    assert len({draw_orientation(rng) for _ in range(2000)}) == 48


def test_strength_zero_changes_nothing(single):
    how = draw_acquisition(np.random.default_rng(1), 0.0)
    np.testing.assert_allclose(scan(single.baseline, single.brain, how), single.baseline, atol=1e-5)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("gain", 1.3),
        ("offset", 0.4),
        ("gamma", 1.2),
        ("noise_sd", 0.2),
        ("blur_sigma", 1.0),
        ("shift", (0.5, 0.0, 0.0)),
        ("bias", np.full((4, 4, 4), 1.1)),
    ],
)
def test_each_parameter_changes_the_brain_and_only_the_brain(single, field, value):
    out = scan(single.baseline, single.brain, replace(NOTHING, **{field: value}))
    assert np.abs(out - single.baseline)[single.brain].mean() > 0.01
    assert not out[~single.brain].any()


def test_gain_and_offset_by_hand():
    image, brain = np.full((4, 4, 4), 2.0, np.float32), np.ones((4, 4, 4), bool)
    assert scan(image, brain, replace(NOTHING, gain=1.5, offset=0.25)) == pytest.approx(2.0 * 1.5 + 0.25, abs=1e-5)


def test_a_single_scan_stays_the_same_at_both_visits(single):
    patch = cut(single, np.array([15, 18, 21]), (16, 16, 16))
    first, second = draw_acquisition(np.random.default_rng(1)), draw_acquisition(np.random.default_rng(2))
    out = acquire(patch, first, second)
    assert np.array_equal(out.baseline, out.followup)
    assert not np.array_equal(out.baseline, patch.baseline)


def test_the_visits_of_a_pair_are_rendered_independently(pair):
    patch = cut(pair, np.array([10, 10, 10]), (16, 16, 16))
    out = acquire(
        patch.with_(followup=patch.baseline), draw_acquisition(np.random.default_rng(1)), draw_acquisition(np.random.default_rng(2))
    )
    assert not np.array_equal(out.baseline, out.followup)
