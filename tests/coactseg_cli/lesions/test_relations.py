"""Contradictions by hand; a voxel is 2 mm3."""

import math
from dataclasses import astuple

import numpy as np
import pytest

from coactseg_cli.errors import GridMismatch
from coactseg_cli.lesions.relations import relations
from tests.coactseg_cli.lesions.made import BRIDGE, FAR, A, B, mask


def test_each_contradiction_has_its_volume() -> None:
    # baseline A B, follow-up A. New: the bridge (18, outside the follow-up) and one column of A (3, in both visits).
    # Resolved: B, FAR (20, outside the baseline) and one voxel of that column.
    column = (slice(1, 2), slice(1, 2), slice(1, 4))
    voxel = (slice(1, 2), slice(1, 2), slice(1, 2))
    found = relations(mask(A, B), mask(A), mask(BRIDGE, column), mask(B, voxel, FAR), voxel_mm3=2)
    assert found.new_outside_followup_mm3 == 36
    assert found.new_inside_baseline_mm3 == 6
    assert found.resolved_outside_baseline_mm3 == 40  # FAR
    assert found.resolved_inside_followup_mm3 == 2
    assert found.new_and_resolved_mm3 == 2


def test_exchanging_the_visits_exchanges_new_and_resolved() -> None:
    rng = np.random.default_rng(1)
    baseline, followup, new, resolved = rng.random((4, 5, 6, 7)) > 0.5
    there, back = relations(baseline, followup, new, resolved, 1), relations(followup, baseline, resolved, new, 1)
    a, b, c, d, e = astuple(there)
    assert astuple(back) == (c, d, a, b, e)


def test_consistent_and_empty_masks_have_none() -> None:
    assert astuple(relations(mask(A), mask(B), mask(B), mask(A), 1)) == (0, 0, 0, 0, 0)
    assert astuple(relations(mask(), mask(), mask(), mask(), 1)) == (0, 0, 0, 0, 0)


def test_a_missing_mask_leaves_numbers_undefined() -> None:
    found = relations(mask(A), mask(A), mask(A), None, 1)
    assert found.new_inside_baseline_mm3 == 27
    assert math.isnan(found.resolved_inside_followup_mm3)
    assert math.isnan(found.new_and_resolved_mm3)


def test_another_shape_is_refused() -> None:
    with pytest.raises(GridMismatch, match="one shape"):
        relations(mask(), np.zeros((1, 2, 3)), None, None, 1)
