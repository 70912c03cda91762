"""Distributions and outliers against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest

from coactseg_cli.cohort.columns import COLUMNS, Cells, RowType
from coactseg_cli.cohort.gathering import Cohort
from coactseg_cli.cohort.statistics import Quantity, limits_of, outliers, summarise

SIGNED = Quantity("volume_change_mm3", RowType.PAIR, "Change", "mm³", 0, skewed=False, least=0.5)
COUNT = Quantity("new_lesions", RowType.PAIR, "New", "", 0, skewed=True, least=3)


def pair(place: int, **cells: str) -> Cells:
    about = {"participant_id": f"sub-{place:02d}", "row_type": "pair", "consecutive": "1", "output": ".", "status": "done"}
    return dict.fromkeys(COLUMNS, "n/a") | about | cells


def cohort(*rows: Cells) -> Cohort:
    return Cohort(rows, (), COLUMNS, (), (".",), ())


def test_limits_are_three_and_a_half_robust_standard_deviations_from_the_median() -> None:
    limits = limits_of([1, 2, 3, 4, 5, 6, 7, 100], SIGNED)  # median 4.5, deviations 3.5 2.5 1.5 .5 .5 1.5 2.5 95.5: median 2
    assert (limits.low, limits.high) == pytest.approx((4.5 - 3.5 * 1.4826 * 2, 4.5 + 3.5 * 1.4826 * 2))


def test_limits_of_skewed_values_are_those_of_their_logarithms() -> None:
    limits = limits_of([math.expm1(v) for v in (1, 2, 3, 4, 5, 6, 7, 8)], COUNT)  # logarithms: median 4.5, median deviation 2
    assert math.isnan(limits.low)
    assert limits.high == pytest.approx(math.expm1(4.5 + 3.5 * 1.4826 * 2))


def test_where_most_are_equal_a_few_more_are_no_outlier() -> None:
    """Half of the pairs and more have no new lesion: one or two are common, twelve are not."""
    limits = limits_of([0] * 18 + [1, 2], COUNT)  # mean deviation of ln(1 + x): (ln 2 + ln 3) / 20 = 0.0896
    assert limits.high == 3  # exp(3.5 * 1.2533 * 0.0896) - 1 = 0.48: less than what counts at all
    assert limits_of([0.0] * 8, COUNT).high == 3


@pytest.mark.parametrize("values", [[], [1.0] * 7, [1.0] * 7 + [math.nan]])
def test_of_few_values_none_is_an_outlier(values: list[float]) -> None:
    limits = limits_of(values, SIGNED)
    assert math.isnan(limits.low)
    assert math.isnan(limits.high)


def test_outliers_are_named_with_value_and_limits() -> None:
    rows = [pair(i, new_lesions=str(n)) for i, n in enumerate([0] * 9 + [2, 20, 30])]
    found = [one.cells() for one in outliers(cohort(*rows))]
    assert [(one["participant_id"], one["quantity"], one["value"], one["low"]) for one in found] == [
        ("sub-11", "new_lesions", "30", "n/a"),
        ("sub-10", "new_lesions", "20", "n/a"),
    ]


def test_a_summary_leaves_out_what_is_undefined_and_pairs_across_visits() -> None:
    rows = [pair(i, new_lesions=text) for i, text in enumerate(["0", "1", "1", "6", "n/a"])]
    across = pair(9, new_lesions="50", consecutive="0")
    (row,) = summarise(cohort(*rows, across))
    assert row["quantity"] == "new_lesions"
    assert [row[name] for name in ("n", "n_undefined", "mean", "min", "q25", "median", "q75", "max", "total")] == [
        *("4", "1", "2", "0", "0.75", "1", "2.25", "6", "8"),
    ]
    assert float(row["sd"]) == pytest.approx(math.sqrt(22 / 3))  # deviations -2 -1 -1 4
    assert row["outlier_high"] == "n/a"
