from __future__ import annotations

import math

import pytest

from coactseg_cli.metrics.isbi import isbi, isbi_of_raters
from coactseg_cli.metrics.results import REFERENCE, RaterResult
from tests.coactseg_cli.metrics.made import made_case, made_scores


def scores(case: str, dice: float = 0.8, volume: float = 10, tpr_18: float = 0.5) -> object:
    return made_scores(
        case, dice=dice, precision=0.6, lesion_tpr_18=tpr_18, lesion_fdr_18=0.25, lesion_tpr_any=1.0, lesion_fdr_any=0.0,
        volume_pred_mm3=volume, volume_ref_mm3=2 * volume, lesions_pred_any=3,
    )  # fmt: skip


MISSED = made_scores("m", dice=0.0, lesion_tpr_18=0.0, lesion_tpr_any=0.0, volume_pred_mm3=0, volume_ref_mm3=40)
EMPTY = made_scores("e", flags="empty_reference", volume_pred_mm3=999, lesions_pred_any=1)


def test_the_score_on_paper() -> None:
    low, high = isbi([scores("a"), scores("b", volume=30), EMPTY])
    assert (low.connectivity, low.n, low.n_missed) == (18, 2, 0)
    assert (low.dice, low.ppv, low.ltpr, low.lfpr, low.correlation) == pytest.approx((0.8, 0.6, 0.5, 0.25, 1))
    assert low.score == pytest.approx(0.1 + 0.075 + 0.75 / 4 + 0.125 + 0.25)
    assert (high.connectivity, high.score) == (26, pytest.approx(0.1 + 0.075 + 0.25 + 0.25 + 0.25))


def test_a_miss_counts_as_the_worst() -> None:
    row = isbi([scores("a"), MISSED])[0]
    assert (row.n, row.n_missed) == (2, 1)
    assert (row.dice, row.ppv, row.ltpr, row.lfpr) == pytest.approx((0.4, 0.3, 0.25, 0.625))


def test_one_case_has_no_correlation() -> None:
    assert math.isnan(isbi([scores("a")])[0].score)
    assert isbi([EMPTY]) == isbi([]) == ()


def test_the_mean_over_raters() -> None:
    def result(against: str, dice: float) -> RaterResult:
        pair = (scores("a", dice), scores("b", dice, volume=30))
        return RaterResult(rater="net", against=against, cases=(made_case("a"), made_case("b")), scores=pair)

    rows = isbi_of_raters([result("r1", 0.6), result("r2", 0.8), result(REFERENCE, 1.0)])
    assert [(r.against, r.connectivity) for r in rows] == [(a, c) for a in ("r1", "r2", "reference") for c in (18, 26)] + [
        ("mean", 18),
        ("mean", 26),
    ]
    assert rows[6].dice == pytest.approx(0.7)
    assert rows[6].score == pytest.approx((rows[0].score + rows[2].score) / 2)
    assert all(row.against != "mean" for row in isbi_of_raters([result("r1", 0.6), result(REFERENCE, 0.8)]))
