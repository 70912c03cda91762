"""Confidence intervals by drawing patients again, each with all that belongs to them. Case, lesion and voxel are never drawn.

A mean over cases and a share of lesions are both a ratio of two sums over patients, so one draw of patients serves all of them:

    patient   sum of values   number of values        drawn: a, a, c -> mean = (2 sum_a + sum_c) / (2 n_a + n_c)
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from scipy import stats

from coactseg_cli.metrics.proportions import UNDEFINED, Interval

RESAMPLES = 10_000
CHUNK = 500  # resamples in memory at once
SEED = 2023
TAIL = 0.025


class IntervalMethod(StrEnum):
    """How the ends are read off the drawn statistics."""

    PERCENTILE = "percentile"  # their 2.5th and 97.5th percentile
    BASIC = "basic"  # twice the estimate minus the percentiles
    BCA = "BCa"  # percentiles moved for bias and acceleration (Efron 1987)


def bootstrap_means(
    values: np.ndarray,
    patients: Sequence[str],
    n_resamples: int = RESAMPLES,
    seed: int = SEED,
    method: IntervalMethod = IntervalMethod.PERCENTILE,
) -> list[Interval]:
    """Interval of the mean of each column of `values` (cases, metrics); NaN are left out, patients keep their cases together.

    Returns: one 95 % interval for each column, NaN where fewer than two patients have a value.
    """
    return bootstrap_ratios(*sums_by_patient(values, patients), n_resamples, seed, method)


def bootstrap_ratios(
    numerators: np.ndarray,
    denominators: np.ndarray,
    n_resamples: int = RESAMPLES,
    seed: int = SEED,
    method: IntervalMethod = IntervalMethod.PERCENTILE,
) -> list[Interval]:
    """Interval of sum(numerators) / sum(denominators) over patients, column by column: both (patients, ratios).

    Returns: one 95 % interval for each column, NaN where fewer than two patients have a denominator.
    """
    enough = (denominators > 0).sum(axis=0) >= 2
    draws = draw_ratios(numerators, denominators, n_resamples, seed)
    return [
        _ends(draws[:, m], numerators[:, m], denominators[:, m], method) if enough[m] else UNDEFINED for m in range(numerators.shape[1])
    ]


def sums_by_patient(values: np.ndarray, patients: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Sum what is not NaN in `values` (cases, metrics) over the cases of each patient, and count it: (patients, metrics) both."""
    names, patient = np.unique(np.array(patients), return_inverse=True)
    sums, counts = np.zeros((len(names), values.shape[1])), np.zeros((len(names), values.shape[1]))
    np.add.at(sums, patient, np.nan_to_num(values, nan=0.0))
    np.add.at(counts, patient, ~np.isnan(values))
    return sums, counts


def draw_ratios(numerators: np.ndarray, denominators: np.ndarray, n_resamples: int = RESAMPLES, seed: int = SEED) -> np.ndarray:
    """Ratios of the sums over patients drawn with replacement: (n_resamples, ratios), NaN where nobody drawn has a denominator."""
    n = len(numerators)
    rng = np.random.default_rng(seed)
    draws = []
    for start in range(0, n_resamples, CHUNK):
        times = rng.multinomial(n, np.full(n, 1 / n), size=min(CHUNK, n_resamples - start)).astype(float)
        with np.errstate(invalid="ignore", divide="ignore"):
            draws.append((times @ numerators) / (times @ denominators))
    return np.concatenate(draws)


def bootstrap_median(values: np.ndarray, n_resamples: int = RESAMPLES, seed: int = SEED) -> Interval:
    """Percentile interval of the median of (patients,) values; NaN for fewer than two."""
    n = len(values)
    if n < 2:
        return UNDEFINED
    rng = np.random.default_rng(seed)
    draws = [np.median(values[rng.integers(0, n, (min(CHUNK, n_resamples - start), n))], axis=1) for start in range(0, n_resamples, CHUNK)]
    return percentiles(np.concatenate(draws))


def percentiles(draws: np.ndarray) -> Interval:
    """2.5th and 97.5th percentile of what is defined; NaN where nothing is."""
    defined = draws[~np.isnan(draws)]
    if not defined.size:
        return UNDEFINED
    low, high = np.quantile(defined, [TAIL, 1 - TAIL])
    return Interval(float(low), float(high))


def _ends(draws: np.ndarray, numerators: np.ndarray, denominators: np.ndarray, method: IntervalMethod) -> Interval:
    estimate = float(numerators.sum() / denominators.sum())
    if method is IntervalMethod.BCA:
        return _accelerated(draws[~np.isnan(draws)], estimate, numerators, denominators)
    plain = percentiles(draws)
    return plain if method is IntervalMethod.PERCENTILE else Interval(2 * estimate - plain.high, 2 * estimate - plain.low)


def _accelerated(draws: np.ndarray, estimate: float, numerators: np.ndarray, denominators: np.ndarray) -> Interval:
    """BCa: the bias is the share of draws below the estimate, the acceleration the skewness of leaving out one patient at a time."""
    below = (np.count_nonzero(draws < estimate) + np.count_nonzero(draws <= estimate)) / (2 * draws.size)
    with np.errstate(invalid="ignore", divide="ignore"):
        left_out = (numerators.sum() - numerators) / (denominators.sum() - denominators)
    away = np.nanmean(left_out) - left_out[~np.isnan(left_out)]
    spread = float((away**2).sum())
    if not spread or not 0 < below < 1:
        return percentiles(draws)  # every patient says the same: there is nothing to move
    acceleration = float((away**3).sum()) / (6 * spread**1.5)
    bias = float(stats.norm.ppf(below))
    moved = [bias + stats.norm.ppf(tail) for tail in (TAIL, 1 - TAIL)]
    tails = stats.norm.cdf([bias + z / (1 - acceleration * z) for z in moved])
    low, high = np.quantile(draws, tails)
    return Interval(float(low), float(high))
