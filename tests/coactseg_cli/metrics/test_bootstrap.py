from __future__ import annotations

import math

import numpy as np
import pytest

from coactseg_cli.metrics.bootstrap import (
    IntervalMethod,
    bootstrap_means,
    bootstrap_median,
    bootstrap_ratios,
    draw_ratios,
    sums_by_patient,
)
from coactseg_cli.metrics.proportions import Interval, clopper_pearson, wilson


def test_sums_leave_out_what_is_undefined() -> None:
    sums, counts = sums_by_patient(np.array([[1, 2], [3, math.nan], [5, 6]]), ["b", "a", "b"])
    assert sums.tolist() == [[3, 0], [6, 8]]  # a, b
    assert counts.tolist() == [[1, 0], [2, 2]]


def test_every_draw_is_a_mean_of_drawn_patients() -> None:
    draws = draw_ratios(np.array([[0.0], [1.0]]), np.array([[1.0], [1.0]]), n_resamples=4000)
    assert sorted(set(draws[:, 0].tolist())) == [0, 0.5, 1]
    assert np.mean(draws == 0.5) == pytest.approx(0.5, abs=0.03)


def test_a_ratio_weighs_patients_by_their_lesions() -> None:
    # a: 9 of 10 found, b: 0 of 1. Drawn a a, a b, b b: 0.9, 9/11, 0.
    draws = draw_ratios(np.array([[9.0], [0.0]]), np.array([[10.0], [1.0]]), n_resamples=500)
    assert sorted(set(draws[:, 0].tolist())) == pytest.approx([0, 9 / 11, 0.9])


def test_one_patient_has_no_interval() -> None:
    assert math.isnan(bootstrap_ratios(np.array([[3.0], [0.0]]), np.array([[4.0], [0.0]]))[0].low)
    assert math.isnan(bootstrap_median(np.array([0.5])).low)


def test_the_three_methods_on_a_skewed_sample() -> None:
    values = np.array([0.0] * 15 + [0.1, 0.2, 0.4, 1.0, 3.0])[:, None]
    names = [str(n) for n in range(20)]
    percentile, basic, bca = (bootstrap_means(values, names, method=method)[0] for method in IntervalMethod)
    mean = values.mean()
    assert (basic.low, basic.high) == pytest.approx((2 * mean - percentile.high, 2 * mean - percentile.low))
    assert bca.low > percentile.low  # the long tail is to the right
    assert bca.high > percentile.high


def test_equal_values_give_an_interval_of_no_width() -> None:
    for method in IntervalMethod:
        interval = bootstrap_means(np.full((5, 1), 0.25), list("abcde"), method=method)[0]
        assert (interval.low, interval.high) == pytest.approx((0.25, 0.25))


def test_the_median_of_draws() -> None:
    interval = bootstrap_median(np.array([1.0, 2.0, 3.0, 4.0, 100.0]))
    assert interval == Interval(1, 100)
    assert bootstrap_median(np.arange(101.0)).low == pytest.approx(40, abs=3)


@pytest.mark.parametrize(
    ("k", "n", "score", "exact"),
    [
        pytest.param(0, 1, (0, 0.7934507), (0, 0.975), id="0 of 1"),
        pytest.param(5, 10, (0.2365931, 0.7634069), (0.1870860, 0.8129140), id="5 of 10"),
        pytest.param(10, 10, (0.7224672, 1), (0.6915029, 1), id="10 of 10"),
    ],
)
def test_intervals_of_a_proportion(k: int, n: int, score: tuple[float, float], exact: tuple[float, float]) -> None:
    assert (wilson(k, n).low, wilson(k, n).high) == pytest.approx(score, abs=1e-6)
    assert (clopper_pearson(k, n).low, clopper_pearson(k, n).high) == pytest.approx(exact, abs=1e-6)


def test_a_proportion_of_nothing() -> None:
    assert math.isnan(clopper_pearson(0, 0).low)
