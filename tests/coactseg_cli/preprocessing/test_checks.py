"""Every check of a participant in one call: which are made, and which cannot be."""

from dataclasses import replace

import numpy as np
import pytest

from coactseg_cli.preprocessing.brain_checks import brain_ml
from coactseg_cli.preprocessing.checks import participant_checks
from coactseg_cli.preprocessing.transforms import translation
from coactseg_cli.seen import profile_of, ranges_of
from tests.coactseg_cli.preprocessing.heads import head, visit

SINGLE = {
    "brain-volume", "brain-pieces", "brain-holes", "field-of-view", "brain-empty", "slice-thickness", "anisotropy", "in-plane-spacing",
    "snr", "cnr", "smoothness", "fluid-dark",
}  # fmt: skip
COMPARED = {"brain-change", "registration-similarity", "registration-residual", "brain-overlap", "intensity-scale", "contrast-change"}
SEEN = {
    "seen-in-plane-spacing", "seen-slice-thickness", "seen-brain-volume", "seen-extent-left-right", "seen-extent-back-front",
    "seen-extent-bottom-top", "seen-intensities",
}  # fmt: skip


def noisy(session):
    image, _ = head()
    return visit(session, image=image + np.random.default_rng(len(session or "")).normal(0, 2, image.shape).astype(np.float32))


def names(checks, session):
    return {c.name for c in checks if c.session == session}


def seen():
    v = noisy("01")
    return ranges_of([profile_of(v.native.spacing_mm, brain_ml(v.native, v.native_brain), v.image, v.brain)])


def test_one_visit_is_checked_by_itself():
    assert names(participant_checks([noisy(None)], None), None) == SINGLE


def test_two_visits_are_compared_and_set_against_the_training():
    checks = participant_checks([noisy("01"), noisy("02")], seen(), [{"Manufacturer": "GE"}, {"Manufacturer": "GE"}])
    assert names(checks, "01") == SINGLE | SEEN | {"coverage"}
    assert names(checks, "02") == SINGLE | SEEN | COMPARED | {"coverage", "protocol-manufacturer"}
    assert [c.session for c in checks] == sorted(c.session for c in checks)


def test_a_clean_pair_has_the_flags_of_its_coarse_voxels_only():
    checks = participant_checks([noisy("01"), noisy("02")], seen())
    assert {c.name for c in checks if c.flagged} <= {"in-plane-spacing", "smoothness"}


def test_visits_on_grids_of_their_own_are_not_laid_on_each_other():
    checks = participant_checks([noisy("01"), visit("02", translation((9.0, 0, 0)))], None, comparable=False)
    assert not names(checks, "02") & {"registration-similarity", "registration-residual", "brain-overlap", "coverage"}
    assert "brain-change" in names(checks, "02")


def test_empty_brains_and_constant_scans_are_flagged_and_stop_nothing():
    image, brain = head()
    nothing = replace(visit("02"), brain=brain & False, native_brain=brain & False)
    checks = participant_checks([noisy("01"), nothing], seen())
    assert {c.name for c in checks if c.flagged and c.session == "02"} >= {"brain-volume", "brain-overlap"}
    assert not names(checks, "02") & SEEN
    flat = replace(visit("02"), image=visit().image.like(np.zeros_like(image)))
    assert not names(participant_checks([noisy("01"), flat], seen()), "02") & (SEEN | {"registration-residual"})


def test_one_sidecar_per_visit():
    with pytest.raises(ValueError, match="got 1 for 2 visits"):
        participant_checks([noisy("01"), noisy("02")], None, [{}])
