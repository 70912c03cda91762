from __future__ import annotations

import math

import numpy as np
import pytest

from coactseg_cli.metrics.froc import camelyon_score, curve, froc, threshold_curve
from coactseg_cli.metrics.results import Candidate, ThresholdPoint
from tests.coactseg_cli.metrics.made import made_scores


def candidate(case: str, score: float, *hits: int, mean: float = 0.2) -> Candidate:
    return Candidate(case=case, kind="new", volume_mm3=10, max_probability=score, mean_probability=mean, hits=hits)


def test_a_curve_on_paper() -> None:
    points = curve(np.array([0.3, 0.8]), np.array([0.5, 0.8, 0.9]), n_reference=4, n_cases=2)
    assert points.thresholds.tolist()[:4] == [0.3, 0.5, 0.8, 0.9]
    assert math.isnan(points.thresholds[4])
    assert points.sensitivity.tolist() == [0.75, 0.75, 0.5, 0.25, 0]
    assert points.false_per_case.tolist() == [1, 0.5, 0.5, 0, 0]


def test_camelyon_leaves_out_the_lowest_threshold() -> None:
    points = curve(np.array([0.3, 0.8]), np.array([0.5, 0.8, 0.9]), n_reference=4, n_cases=2)
    # Left: (0, 0), (0, 0.25), (0.5, 0.5), (0.5, 0.75); at 0.25 halfway between 0.25 and 0.5, then 0.75 from 0.5 on.
    assert camelyon_score(points) == pytest.approx((0.375 + 5 * 0.75) / 6)
    assert camelyon_score(points, rates=[0.0]) == pytest.approx(0.25)


def test_nothing_to_find_or_nothing_found() -> None:
    assert math.isnan(curve(np.array([0.3]), np.zeros(0), 0, 1).sensitivity[0])
    assert curve(np.zeros(0), np.zeros(0), 4, 1).sensitivity.tolist() == [0]
    assert math.isnan(camelyon_score(curve(np.zeros(0), np.zeros(0), 4, 1)))


def test_a_lesion_counts_once_with_its_best_candidate() -> None:
    rows = froc(
        [candidate("a", 0.9, 1, 2), candidate("a", 0.6, 2), candidate("b", 0.7, 1), candidate("b", 0.4)],
        [made_scores("a", lesions_ref=3), made_scores("b", lesions_ref=1), made_scores("c", lesions_ref=0)],
    )
    largest = [(r.threshold, r.sensitivity, r.false_per_case) for r in rows if r.score == "max"]
    assert largest[:3] == [(0.4, 0.75, pytest.approx(1 / 3)), (0.7, 0.75, 0), (0.9, 0.5, 0)]
    assert {(r.n_reference, r.n_cases) for r in rows} == {(4, 3)}
    assert next((r.threshold, r.sensitivity) for r in rows if r.score == "mean") == (0.2, 0.75)


def test_candidates_of_another_kind_do_not_count() -> None:
    rows = froc([candidate("a", 0.9, 1)], [made_scores("a", "all", lesions_ref=1)])
    assert [(r.kind, r.sensitivity) for r in rows] == [("all", 0)] * 2
    assert froc([], []) == ()


def point(case: str, threshold: float, dice: float, false: int, has_reference: bool = True) -> ThresholdPoint:
    return ThresholdPoint(
        case=case, kind="new", threshold=threshold, has_reference=has_reference, dice=dice,
        lesion_sensitivity=dice / 2, lesion_ppv=math.nan, lesion_f1=dice / 4, false_lesions=false,
    )  # fmt: skip


def test_threshold_means_on_paper() -> None:
    nothing = point("c", 0.2, math.nan, 3, has_reference=False)
    low, high = threshold_curve([point("a", 0.2, 0.4, 1), point("b", 0.2, 0.8, 2), nothing, point("a", 0.5, 0.6, 0)])
    assert (low.threshold, low.n_cases, low.dice, low.lesion_sensitivity, low.false_lesions) == pytest.approx((0.2, 2, 0.6, 0.3, 2))
    assert math.isnan(low.lesion_ppv)
    assert (high.threshold, high.n_cases, high.lesion_f1) == pytest.approx((0.5, 1, 0.15))
    assert threshold_curve([]) == ()
