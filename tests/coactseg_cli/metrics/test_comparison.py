from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from coactseg_cli.metrics.cohort import METRICS, WITH, WITHOUT
from coactseg_cli.metrics.columns import columns_of
from coactseg_cli.metrics.comparison import COMPARED, COMPARED_WITHOUT, compare
from coactseg_cli.metrics.paired import ZeroMethod, holm
from coactseg_cli.metrics.rows import ComparisonRow
from tests.coactseg_cli.metrics.made import made_method, made_scores

DICE_A = [0.50, 0.40, 0.60, 0.70, 0.80, 0.30]
DICE_B = [0.51, 0.38, 0.63, 0.74, 0.80, 0.35]  # differences 0.01, -0.02, 0.03, 0.04, 0, 0.05


def methods(b: list[float] = DICE_B) -> list:
    a = made_method("a", [made_scores(f"c{n}", dice=dice) for n, dice in enumerate(DICE_A)])
    return [a, made_method("b", [made_scores(f"c{n}", dice=dice) for n, dice in enumerate(b)])]


def test_a_row_on_paper() -> None:
    (row,) = compare(methods(), ["dice"], [])
    assert (row.group, row.kind, row.metric, row.method_a, row.method_b) == (WITH, "new", "dice", "a", "b")
    assert (row.n, row.n_zero, row.n_left_out) == (6, 1, 0)
    assert (row.median_a, row.median_b, row.median_difference) == pytest.approx((0.55, 0.57, 0.02))
    assert row.mean_difference == pytest.approx(0.11 / 6)
    assert row.ci95_low <= row.median_difference <= row.ci95_high
    assert (row.statistic, row.zero_method, row.p_method) == (3, "pratt", "approx")  # rank 1 is the zero's, 3 that of -0.02
    assert row.rank_biserial == pytest.approx((1 + 3 + 4 + 5 - 2) / 15)
    assert row.p_holm == row.p
    (wilcox,) = compare(methods(), ["dice"], [], zero_method=ZeroMethod.WILCOX)
    assert (wilcox.statistic, wilcox.zero_method) == (2, "wilcox")


def test_only_cases_of_both_methods_count() -> None:
    first, second = methods()
    second = made_method("b", [s for s in second.scores if s.case != "c0"] + [made_scores("c9", dice=0.9)])
    (row,) = compare([first, second], ["dice"], [])
    assert (row.n, row.n_left_out) == (5, 2)
    (row,) = compare(methods([math.nan, *DICE_B[1:]]), ["dice"], [])
    assert (row.n, row.n_left_out) == (5, 1)


def test_a_patient_counts_once() -> None:
    patients = ["p", "p", "q", "q", "q", "r"]
    pair = [made_method(method.name, list(method.scores), patients) for method in methods()]
    (row,) = compare(pair, ["dice"], [])
    assert row.n == 3
    assert row.median_difference == pytest.approx(0.07 / 3)  # of -0.005, 0.0233, 0.05


def test_groups_and_kinds_are_apart_and_holm_runs_inside_each() -> None:
    def scores(shift: float) -> list:
        full = [made_scores(f"c{n}", dice=0.5 + shift * n, lesion_f1=0.5 - shift * n * n) for n in range(1, 7)]
        empty = [made_scores(f"e{n}", flags="empty_reference", false_lesions=int(10 * shift * n)) for n in range(1, 7)]
        return full + empty + [made_scores("c1", "all", dice=shift)]

    rows = compare([made_method("a", scores(0)), made_method("b", scores(0.1))], ["dice", "lesion_f1"], ["false_lesions"])
    assert [(r.group, r.kind, r.metric) for r in rows] == [
        (WITH, "all", "dice"),
        (WITH, "all", "lesion_f1"),
        (WITH, "new", "dice"),
        (WITH, "new", "lesion_f1"),
        (WITHOUT, "new", "false_lesions"),
    ]
    new = [r for r in rows if r.group == WITH and r.kind == "new"]
    assert [r.p for r in new] == pytest.approx([2 / 64, 2 / 64])
    assert [r.p_holm for r in new] == pytest.approx([4 / 64, 4 / 64])
    assert [r.rank_biserial for r in new] == [1, -1]
    assert rows[1].n == 0
    assert math.isnan(rows[1].p)
    assert rows[0].p_holm == rows[0].p  # the undefined one is no test


def test_three_methods_make_three_pairs() -> None:
    a, b = methods()
    c = dataclasses.replace(b, name="c")
    rows = compare([a, b, c], ["dice"], [])
    assert [(r.method_a, r.method_b) for r in rows] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [r.p_holm for r in rows] == pytest.approx(holm(np.array([r.p for r in rows])))
    assert rows[2].p == 1


def test_what_is_compared_are_columns() -> None:
    assert set(COMPARED) | set(COMPARED_WITHOUT) <= set(METRICS)
    assert all(column.description for column in columns_of(ComparisonRow).values())
    assert compare([]) == ()
