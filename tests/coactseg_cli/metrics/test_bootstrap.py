from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from coactseg_cli.metrics.bootstrap import (
    IntervalMethod,
    _accelerated,
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


@pytest.mark.parametrize("method", IntervalMethod)
def test_intervals_equal_those_of_scipy(method: IntervalMethod) -> None:
    values = np.exp(np.linspace(-2, 3, 20))
    peer = stats.bootstrap((values,), np.mean, n_resamples=50_000, method=str(method), random_state=1).confidence_interval
    own = bootstrap_means(values[:, None], [str(n) for n in range(20)], n_resamples=50_000, method=method)[0]
    assert (own.low, own.high) == pytest.approx((peer.low, peer.high), abs=0.15)  # of an interval of 5


def test_the_bias_moves_both_ends_twice() -> None:
    draws, symmetric = np.arange(101.0), np.array([[-1.0], [0.0], [1.0]])[:, 0]
    moved = _accelerated(draws, 60.0, symmetric, np.ones(3))
    bias = stats.norm.ppf(60.5 / 101)  # 60 draws below the estimate and one at it; no acceleration
    assert (moved.low, moved.high) == pytest.approx(tuple(100 * stats.norm.cdf([2 * bias - 1.959964, 2 * bias + 1.959964])), rel=1e-5)


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
