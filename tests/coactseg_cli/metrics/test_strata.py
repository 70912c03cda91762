from __future__ import annotations

import math

import pytest

from coactseg_cli.metrics.cohort import summarise
from coactseg_cli.metrics.raters import rater_rows
from coactseg_cli.metrics.results import REFERENCE, RaterResult
from coactseg_cli.metrics.strata import by_site, by_size
from tests.coactseg_cli.metrics.made import made_case, made_lesion, made_scores

CASES = [made_case("a1", "a"), made_case("a2", "a"), made_case("b1", "b"), made_case("c1", "c")]
LESIONS = [
    made_lesion("a1", "reference", 10.0, detected=False),
    made_lesion("a2", "reference", 4.0, detected=True),
    made_lesion("b1", "reference", 3.5, detected=True),
    made_lesion("b1", "reference", 10.1, detected=True),
    made_lesion("c1", "reference", 501.0, detected=True),
    made_lesion("a1", "predicted", 60.0, detected=True),
    made_lesion("c1", "predicted", 60.0, detected=False),
    made_lesion("c1", "predicted", 100.0, detected=False),
]


def test_ranges_include_their_upper_end() -> None:
    rows = {row.size: row for row in by_size(LESIONS, CASES)}
    assert list(rows) == ["3-10", "10-50", "50-100", "100-500", ">500"]
    small = rows["3-10"]
    assert (small.n_patients, small.n_reference, small.n_detected) == (2, 3, 2)
    assert small.detection_rate == pytest.approx(2 / 3)
    # Patients a (1 of 2) and b (1 of 1): drawn a a, a b, b b.
    assert (small.detection_ci95_low, small.detection_ci95_high) == (0.5, 1)
    assert (small.detection_wilson_low, small.detection_wilson_high) == pytest.approx((0.2076596, 0.9385081), abs=1e-6)
    assert (rows["10-50"].n_reference, rows["10-50"].n_detected) == (1, 1)
    assert math.isnan(rows["10-50"].detection_ci95_low)  # one patient
    assert (rows["50-100"].n_predicted, rows["50-100"].n_false, rows["50-100"].false_rate) == (3, 2, pytest.approx(2 / 3))
    assert (rows["50-100"].false_ci95_low, rows["50-100"].false_ci95_high) == (0, 1)
    assert (rows[">500"].n_reference, rows[">500"].low_mm3) == (1, 500)
    assert math.isnan(rows[">500"].high_mm3)
    assert math.isnan(rows["100-500"].detection_rate)


def test_other_ranges() -> None:
    rows = by_size(LESIONS, CASES, [5, 60])
    assert [(row.size, row.n_reference, row.n_predicted) for row in rows] == [("0-5", 2, 0), ("5-60", 2, 2), (">60", 1, 1)]
    assert [row.size for row in by_size([], CASES, [0, 60])] == ["0-60", ">60"]
    for wrong in ([], [5, 5], [10, 3], [-1, 3]):
        with pytest.raises(ValueError, match="increasing"):
            by_size(LESIONS, CASES, wrong)


def test_kinds_have_rows_of_their_own() -> None:
    cases = [made_case("a1", kind="all"), made_case("a1", kind="new")]
    rows = by_size([made_lesion("a1", "reference", 5, detected=True, kind="all")], cases, [3])
    assert [(row.kind, row.n_reference) for row in rows] == [("all", 1), ("new", 0)]


def test_sites_are_summarised_apart() -> None:
    cases = [made_case("a", site="Oslo"), made_case("b", site="Bern"), made_case("c", site="Oslo"), made_case("d")]
    scores = [made_scores(case.case, dice=dice) for case, dice in zip(cases, (0.2, 0.4, 0.6, 0.8), strict=True)]
    rows = [row for row in by_site(scores, cases) if row.metric == "dice"]
    assert [(row.site, row.n, row.mean) for row in rows] == [("Bern", 1, 0.4), ("Oslo", 2, pytest.approx(0.4)), ("", 1, 0.8)]
    assert by_site(scores, [made_case(s.case) for s in scores]) == ()


def test_raters_are_cohorts_of_their_own() -> None:
    def result(rater: str, against: str, *dice: float) -> RaterResult:
        scores = tuple(made_scores(f"c{n}", dice=value) for n, value in enumerate(dice))
        return RaterResult(rater=rater, against=against, cases=tuple(made_case(s.case) for s in scores), scores=scores)

    results = [result("r1", REFERENCE, 0.5, 0.7), result("r2", REFERENCE, 0.9), result("r1", "r2", 0.1, 0.2, 0.6)]
    rows = [row for row in rater_rows(results) if row.metric == "dice"]
    assert [(row.rater, row.against, row.n, row.mean) for row in rows] == [
        ("r1", "reference", 2, pytest.approx(0.6)),
        ("r2", "reference", 1, 0.9),
        ("r1", "r2", 3, pytest.approx(0.3)),
    ]
    assert len(rater_rows(results)) == 3 * len(summarise(results[0].scores, ["c0", "c1"]))
