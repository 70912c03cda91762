from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from bids_app.cases import LabelKind
from coactseg_cli.metrics import cohort
from coactseg_cli.metrics.bootstrap import bootstrap_means
from coactseg_cli.metrics.case import CasePair, score_case
from coactseg_cli.metrics.cohort import METRICS, WITH, WITHOUT, patient_of
from coactseg_cli.metrics.columns import CaseScores, columns_of
from coactseg_cli.metrics.conventions import Convention, rules_of
from coactseg_cli.metrics.proportions import wilson
from coactseg_cli.metrics.rows import ActivityRow, SummaryRow
from coactseg_cli.volumes import Volume
from tests.coactseg_cli.metrics.test_detection import SHAPE, lines

NOTHING = np.zeros(SHAPE, bool)
A, B = lines((1, 1, 0, 5)), lines((8, 8, 0, 5))


def scores(case: str, predicted: np.ndarray, reference: np.ndarray, kind: LabelKind = LabelKind.NEW) -> CaseScores:
    pair = CasePair(case, kind, Volume(predicted, np.eye(4)), Volume(reference, np.eye(4)), (1.0, 1.0, 1.0))
    return score_case(pair, rules_of(Convention.MM)).scores


COHORT = [
    scores("sub-01_ses-02", A, A),  # F1 1
    scores("sub-02_ses-02", A, A | B),  # sensitivity 1/2, PPV 1, F1 2/3
    scores("sub-03_ses-02", NOTHING, A),  # missed: F1 0
    scores("sub-04_ses-02", B, NOTHING),  # one false lesion
    scores("sub-05_ses-02", NOTHING, NOTHING),
    scores("sub-05_ses-03", NOTHING, NOTHING),
]


def summarise(rows: list[CaseScores]) -> tuple[SummaryRow, ...]:
    return cohort.summarise(rows, [patient_of(row.case) for row in rows])


def activity(rows: list[CaseScores]) -> tuple[ActivityRow, ...]:
    return cohort.activity(rows, [patient_of(row.case) for row in rows])


def row_of(group: str, metric: str) -> SummaryRow:
    return next(row for row in summarise(COHORT) if row.group == group and row.metric == metric)


def test_a_summary_on_paper() -> None:
    row = row_of(WITH, "lesion_f1")
    assert (row.n_patients, row.n_cases, row.n, row.n_undefined) == (3, 3, 3, 0)
    assert row.mean == pytest.approx(5 / 9)
    assert row.sd == pytest.approx(np.std([1, 2 / 3, 0], ddof=1))
    assert (row.median, row.q25, row.q75, row.min, row.max) == pytest.approx((2 / 3, 1 / 3, 5 / 6, 0, 1))
    assert row.pooled == pytest.approx(2 * 0.5 * 1 / 1.5)  # 2 of 4 found, 2 of 2 confirmed
    assert row.ci95_low <= row.mean <= row.ci95_high


def test_the_pooled_score_has_an_interval_over_patients() -> None:
    row = row_of(WITH, "lesion_sensitivity")
    assert row.pooled == pytest.approx(2 / 4)
    assert 0 <= row.pooled_ci95_low < 0.5 < row.pooled_ci95_high <= 1
    split = next(row for row in summarise([scores("sub-01", A | B, A), COHORT[1]]) if row.metric == "lesion_ppv")
    assert split.pooled == pytest.approx(2 / 3)  # of three predicted lesions; both cases: 2 of 3 found
    more = summarise([scores("sub-01", A, A | B), scores("sub-02", A, A | B)])
    assert [row.pooled for row in more if row.metric in {"lesion_sensitivity", "lesion_ppv"}] == [0.5, 1]
    halves = summarise([scores("sub-01", lines((1, 1, 0, 5), (1, 1, 6, 5)), lines((1, 1, 0, 11)))])  # one found by two
    assert [row.pooled for row in halves if row.metric in {"lesion_sensitivity", "lesion_ppv"}] == [1, 1]
    f1 = row_of(WITH, "lesion_f1")
    assert f1.pooled_ci95_low <= f1.pooled <= f1.pooled_ci95_high
    assert math.isnan(row_of(WITH, "dice").pooled_ci95_low)
    assert math.isnan(row_of(WITHOUT, "false_lesions").pooled)


def test_a_missed_case_is_counted_where_its_score_is_undefined() -> None:
    row = row_of(WITH, "hd95_mm")
    assert (row.n, row.n_undefined) == (2, 1)
    assert row.why_undefined == "missed 1, empty_prediction 1"


def test_what_no_flag_explains_is_said_too() -> None:
    apart = row_of(WITH, "panoptic_masd_mm")
    assert (apart.n, apart.why_undefined) == (2, "missed 1, empty_prediction 1")
    no_match = summarise([scores("sub-01_ses-02", A, B)])
    assert next(row.why_undefined for row in no_match if row.metric == "panoptic_masd_mm") == "nothing_to_measure 1"


def test_cases_without_a_reference_lesion_are_summarised_apart() -> None:
    row = row_of(WITHOUT, "false_lesions")
    assert (row.n_patients, row.n_cases, row.mean, row.total) == (2, 3, pytest.approx(1 / 3), 1)
    assert not [r for r in summarise(COHORT) if r.group == WITHOUT and r.metric == "dice"]
    assert [r.metric for r in summarise(COHORT) if r.group == WITH] == list(METRICS)


def test_kinds_are_not_mixed() -> None:
    both = [COHORT[0], scores("sub-01_ses-02", NOTHING, A, LabelKind.ALL)]
    assert [(row.kind, row.mean) for row in summarise(both) if row.metric == "dice"] == [("all", 0), ("new", 1)]


def test_no_case_no_row() -> None:
    assert summarise([]) == ()
    assert activity([]) == ()


def test_activity_on_paper() -> None:
    rows = {row.measure: (row.k, row.n) for row in activity(COHORT)}
    assert rows == {
        "sensitivity": (2, 3), "specificity": (1, 2), "ppv": (2, 3), "npv": (1, 2),
        "true_positive": (2, 5), "false_positive": (1, 5), "false_negative": (1, 5), "true_negative": (1, 5),
        "no_false_lesion": (2, 3),
    }  # fmt: skip
    exact = next(row for row in activity(COHORT) if row.measure == "sensitivity")
    assert (exact.exact_ci95_low, exact.exact_ci95_high) == pytest.approx((0.094299, 0.991596), abs=1e-6)


def test_the_confusion_table_tells_misses_from_false_alarms() -> None:
    missed = [scores(f"sub-{n}_ses-02", NOTHING, A) for n in range(3)]
    rows = {row.measure: row.k for row in activity([*missed, COHORT[0], COHORT[3]])}
    assert (rows["true_positive"], rows["false_negative"], rows["false_positive"], rows["true_negative"]) == (1, 3, 1, 0)


def test_a_patient_with_one_active_interval_is_active() -> None:
    rows = {row.measure: (row.k, row.n) for row in activity([scores("sub-01_ses-02", NOTHING, NOTHING), scores("sub-01_ses-03", A, A)])}
    assert rows["sensitivity"] == (1, 1)
    assert rows["specificity"] == (0, 0)


def test_patient_of() -> None:
    assert patient_of("sub-01_ses-02") == patient_of("sub-01") == "sub-01"
    assert patient_of("case_7") == "case_7"


def test_bootstrap_draws_patients_with_all_their_cases() -> None:
    values = np.array([0.0] * 50 + [1.0] * 50)[:, None]
    by_case = bootstrap_means(values, [f"p{n}" for n in range(100)])[0]
    by_patient = bootstrap_means(values, ["a"] * 50 + ["b"] * 50)[0]
    assert 0.35 < by_case.low < 0.45 < 0.55 < by_case.high < 0.65
    assert (by_patient.low, by_patient.high) == (0, 1)
    assert bootstrap_means(values, [f"p{n}" for n in range(100)])[0] == by_case


def test_bootstrap_of_one_patient_is_undefined() -> None:
    assert math.isnan(bootstrap_means(np.array([[0.5], [0.6]]), ["a", "a"])[0].low)
    undefined = bootstrap_means(np.array([[0.5, math.nan], [0.6, 1.0], [0.7, 0.9]]), ["a", "b", "c"])
    assert undefined[1].low == pytest.approx(0.9)


def test_every_number_of_a_case_is_described() -> None:
    assert list(columns_of(CaseScores)) == [f.name for f in dataclasses.fields(CaseScores)]
    assert all(column.description for column in columns_of(CaseScores).values())


def test_wilson_of_nothing_is_undefined() -> None:
    assert math.isnan(wilson(0, 0).low)
