"""Motion, alignment and coverage of visits whose place is known."""

import numpy as np
import pytest

from coactseg_cli.preprocessing.registration_checks import coverage_percent, motion_checks, registration_checks
from coactseg_cli.preprocessing.transforms import translation
from tests.coactseg_cli.preprocessing.heads import SPACING, head, visit

CENTRE = np.array([0.0, 10.0, 20.0])


def test_shift_is_measured_at_the_brain():
    shift, turn = motion_checks(translation((0, 0, 100)), CENTRE, "02")
    assert (shift.name, shift.value, shift.flagged, shift.session) == ("motion-shift", 100, True, "02")
    assert (turn.value, turn.flagged) == (0, False)
    assert not any(c.flagged for c in motion_checks(translation((0, 0, 50)), CENTRE, "02"))


def test_turns():
    turned = np.eye(4)
    turned[:2, :2] = [[0, -1], [1, 0]]
    shift, turn = motion_checks(turned, CENTRE, "02")
    assert shift.value == pytest.approx(np.sqrt(200))
    assert (round(turn.value, 6), turn.flagged) == (90, True)


def test_visits_that_were_not_moved_have_no_motion_to_check():
    assert motion_checks(np.eye(4), CENTRE, "02") == ()


def test_aligned_visits_pass_everything():
    checks = registration_checks([visit("01"), visit("02"), visit("03")])
    assert not any(c.flagged for c in checks)
    assert sorted(c.name for c in checks if c.session == "03") == sorted(
        ["registration-similarity", "registration-residual", "brain-overlap", "coverage"]
    )


@pytest.mark.parametrize("direction", np.eye(3))
def test_three_mm_are_never_silent(direction):
    checks = registration_checks([visit("01"), visit("02", translation(3 * direction))])
    assert "registration-residual" in {c.name for c in checks if c.flagged}


def test_each_visit_is_compared_with_the_one_before():
    moved = translation((4.0, 0, 0))
    checks = registration_checks([visit("01"), visit("02", moved), visit("03", moved)])
    assert [(c.session, c.flagged) for c in checks if c.name == "registration-residual"] == [("02", True), ("03", False)]


def test_other_heads_and_masks_that_do_not_meet_are_flagged():
    image, brain = head()
    strange = np.random.default_rng(0).normal(100, 20, image.shape).astype(np.float32)
    assert "registration-similarity" in {c.name for c in registration_checks([visit("01"), visit("02", image=strange)]) if c.flagged}
    half = brain & (np.arange(brain.shape[0]) < 28)[:, None, None]
    assert "brain-overlap" in {c.name for c in registration_checks([visit("01"), visit("02", brain=half)]) if c.flagged}


def test_coverage_counts_the_brain_outside_the_field_of_view():
    facts = visit()
    index = np.argwhere(facts.brain)
    shifted = visit(place=translation((0, 0, 10 * SPACING[2])))  # the grid's slice k is the scan's slice k + 10
    expected = 100 * (index[:, 2] + 10 <= facts.brain.shape[2] - 1).mean()
    assert coverage_percent(facts, facts.brain) == 100
    assert coverage_percent(shifted, facts.brain) == pytest.approx(expected)
    assert np.isnan(coverage_percent(facts, facts.brain & False))


def test_one_visit_is_compared_with_nothing():
    assert registration_checks([visit()]) == ()
