from __future__ import annotations

import math

import numpy as np
import pytest

from coactseg_cli.metrics.agreement import agreement, bland_altman, correlations, percent_differences
from coactseg_cli.metrics.icc import Form, intraclass, mean_squares
from tests.coactseg_cli.metrics.made import made_scores

# Six targets, four judges: Table 2 of Shrout and Fleiss 1979, whose coefficients are printed there.
JUDGES = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)


def test_bland_altman_on_paper() -> None:
    limits = bland_altman(np.array([1.0, 2.0, 3.0]))
    assert (limits.n, limits.bias, limits.sd) == (3, 2, 1)
    assert (limits.low, limits.high) == pytest.approx((0.04, 3.96))
    assert (limits.bias_ci95.low, limits.bias_ci95.high) == pytest.approx((2 - 4.3026527 / 3**0.5, 2 + 4.3026527 / 3**0.5))
    assert limits.limit_half == pytest.approx(4.3026527 * (1 / 3 + 1.96**2 / 4) ** 0.5)  # Bland and Altman 1999


def test_the_limits_have_intervals_of_their_own() -> None:
    pairs = [(1, 0), (2, 0), (3, 0)]
    row = agreement([made_scores(f"c{n}", volume_pred_mm3=p, volume_ref_mm3=r) for n, (p, r) in enumerate(pairs)])[0]
    half = 4.3026527 * math.sqrt(1 / 3 + 1.96**2 / 4)  # t with 2 degrees of freedom; differences 1, 2, 3: sd 1
    assert (row.loa_low_ci95_low, row.loa_low_ci95_high) == pytest.approx((0.04 - half, 0.04 + half))
    assert (row.loa_high_ci95_low, row.loa_high_ci95_high) == pytest.approx((3.96 - half, 3.96 + half))


def test_few_differences_have_no_limits() -> None:
    assert bland_altman(np.array([4.0])).bias == 4
    assert math.isnan(bland_altman(np.array([4.0])).low)
    assert math.isnan(bland_altman(np.zeros(0)).bias)


def test_percent_of_the_mean() -> None:
    assert percent_differences(np.array([3.0, 0.0, 5.0]), np.array([1.0, 0.0, 5.0])).tolist() == [100, 0]


def test_correlations_on_paper() -> None:
    related = correlations(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 3.0, 2.0, 4.0]))
    assert related.pearson == pytest.approx(0.8)
    assert related.spearman == pytest.approx(0.8)
    assert related.kendall == pytest.approx(4 / 6)
    assert math.isnan(correlations(np.array([1.0, 2.0]), np.array([3.0, 3.0])).pearson)


def test_mean_squares_of_shrout_and_fleiss() -> None:
    squares = mean_squares(JUDGES)
    own = (squares.rows, squares.columns, squares.error, squares.within)
    assert own == pytest.approx((11.24, 32.49, 1.02, 6.26), abs=0.005)


@pytest.mark.parametrize(
    ("form", "value", "low", "high"),
    [
        (Form.ONE_WAY, 0.1657, -0.1329, 0.7226),
        (Form.AGREEMENT, 0.2898, 0.0188, 0.7611),
        (Form.CONSISTENCY, 0.7148, 0.3425, 0.9459),
        (Form.ONE_WAY_MEAN, 0.4428, -0.8844, 0.9124),
        (Form.AGREEMENT_MEAN, 0.6201, 0.0711, 0.9273),
        (Form.CONSISTENCY_MEAN, 0.9093, 0.6757, 0.9859),
    ],
)
def test_icc_of_shrout_and_fleiss(form: Form, value: float, low: float, high: float) -> None:
    own = intraclass(JUDGES)[form]
    assert (own.value, own.ci95.low, own.ci95.high) == pytest.approx((value, low, high), abs=1e-4)


def test_icc_at_its_ends() -> None:
    same = np.array([[1.0, 1.0], [2.0, 2.0], [5.0, 5.0]])
    assert all(result.value == pytest.approx(1) for result in intraclass(same).values())
    assert all(math.isnan(result.value) for result in intraclass(np.ones((3, 2))).values())
    assert all(math.isnan(result.value) for result in intraclass(np.array([[1.0, 2.0]])).values())
    assert all(math.isnan(result.value) for result in intraclass(np.array([[1.0, 3.0], [3.0, 1.0]])).values())
    opposite = intraclass(np.array([[1.0, 3.0], [3.0, 1.5]]))
    assert opposite[Form.CONSISTENCY].value == pytest.approx(-0.96)
    assert math.isnan(opposite[Form.AGREEMENT_MEAN].ci95.low)


def test_an_offset_lowers_agreement_but_not_consistency() -> None:
    shifted = np.array([[1.0, 3.0], [2.0, 4.0], [5.0, 7.0], [9.0, 11.0]])
    results = intraclass(shifted)
    assert results[Form.CONSISTENCY].value == pytest.approx(1)
    assert results[Form.AGREEMENT].value < 0.9


def test_rows_of_volumes_logarithms_and_counts() -> None:
    volumes = [(10, 20), (40, 20), (0, 0), (30, 0)]
    scores = [made_scores(f"c{n}", volume_pred_mm3=p, volume_ref_mm3=r, lesions_pred=n, lesions_ref=1) for n, (p, r) in enumerate(volumes)]
    rows = {row.quantity: row for row in agreement(scores)}
    assert list(rows) == ["volume_mm3", "log_volume", "lesions"]
    assert (rows["volume_mm3"].n, rows["volume_mm3"].bias, rows["volume_mm3"].percent_n) == (4, 10, 3)
    assert rows["volume_mm3"].percent_bias == pytest.approx((-200 / 3 + 200 / 3 + 200) / 3)
    assert (rows["log_volume"].n, rows["log_volume"].bias) == (2, pytest.approx(0))
    assert rows["log_volume"].sd == pytest.approx(math.log(2) * math.sqrt(2))
    assert math.isnan(rows["log_volume"].percent_bias)
    assert rows["lesions"].bias == pytest.approx(0.5)
    assert math.isnan(rows["lesions"].pearson)  # the reference does not vary


def test_kinds_are_apart() -> None:
    rows = agreement([made_scores("a", "all", volume_pred_mm3=1, volume_ref_mm3=2), made_scores("a", "new")])
    assert [(row.kind, row.quantity) for row in rows][::3] == [("all", "volume_mm3"), ("new", "volume_mm3")]
    assert agreement([]) == ()
