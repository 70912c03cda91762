"""Tests and effect sizes of two paired samples, and corrections for many tests. SciPy computes what it has; the choices are named here.

SciPy's own default changes its distribution with the number of zeros, ties and pairs and with its version; here the choice is explicit
and travels with the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import stats

EXACT_UP_TO = 50  # pairs; above, the normal approximation is as good


class ZeroMethod(StrEnum):
    """What becomes of pairs without a difference in the signed-rank test."""

    PRATT = "pratt"  # ranked with the others, then left out
    WILCOX = "wilcox"  # left out before ranking
    ZSPLIT = "zsplit"  # ranked, half of their ranks to each side


class Distribution(StrEnum):
    """Where p comes from."""

    EXACT = "exact"  # all sign patterns of the ranks 1..n; meant for samples without zeros and ties
    APPROX = "approx"  # normal approximation, variance corrected for ties
    AUTO = "auto"  # exact up to 50 pairs without zeros and ties, else approx


@dataclass(frozen=True, slots=True)
class SignedRank:
    """A two-sided Wilcoxon signed-rank test."""

    statistic: float  # the smaller of the two sums of ranks
    p: float
    zero_method: ZeroMethod
    distribution: Distribution  # that was used: exact or approx


@dataclass(frozen=True, slots=True)
class PairedT:
    """A two-sided paired t test."""

    t: float
    p: float


def wilcoxon(
    differences: np.ndarray,
    zero_method: ZeroMethod = ZeroMethod.PRATT,
    distribution: Distribution = Distribution.AUTO,
    correction: bool = False,
) -> SignedRank:
    """Wilcoxon's signed-rank test of (n,) differences; `correction`: continuity correction of the approximation.

    Returns: p = 1 where every difference is zero, NaN without a difference.
    """
    used = _distribution_for(differences, distribution)
    if not differences.size:
        return SignedRank(math.nan, math.nan, zero_method, used)
    if not differences.any():
        return SignedRank(0.0, 1.0, zero_method, used)
    result = stats.wilcoxon(differences, zero_method=str(zero_method), method=str(used), correction=correction)
    return SignedRank(float(result.statistic), float(result.pvalue), zero_method, used)


def _distribution_for(differences: np.ndarray, wanted: Distribution) -> Distribution:
    if wanted is not Distribution.AUTO:
        return wanted
    sizes = np.abs(differences)
    plain = sizes.all() and len(np.unique(sizes)) == len(sizes) <= EXACT_UP_TO
    return Distribution.EXACT if plain else Distribution.APPROX


def rank_biserial(differences: np.ndarray) -> float:
    """Effect size of the signed-rank test, -1 to 1: (positive - negative ranks) / all ranks, zeros left out first; NaN without any.

    Reference: Kerby 2014, "The simple difference formula".
    """
    kept = differences[differences != 0]
    if not kept.size:
        return math.nan
    ranks = stats.rankdata(np.abs(kept))
    return float((ranks * np.sign(kept)).sum() / ranks.sum())


def common_language(a: np.ndarray, b: np.ndarray) -> float:
    """Chance that a value of `b` exceeds one of `a`, ties counted half, over all n x m combinations; NaN without values.

    Reference: Vargha and Delaney 2000.
    """
    if not a.size or not b.size:
        return math.nan
    larger = b[:, None] > a[None, :]
    equal = b[:, None] == a[None, :]
    return float(larger.mean() + equal.mean() / 2)


def paired_t(differences: np.ndarray) -> PairedT:
    """Paired t test; NaN for fewer than two differences or where all are equal."""
    if differences.size < 2 or np.ptp(differences) == 0:
        return PairedT(math.nan, math.nan)
    result = stats.ttest_1samp(differences, 0.0)
    return PairedT(float(result.statistic), float(result.pvalue))


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down correction of (m,) p values; NaN stay NaN and do not count as tests."""
    return _corrected(p, lambda ordered: np.maximum.accumulate(ordered * np.arange(len(ordered), 0, -1)))


def bonferroni(p: np.ndarray) -> np.ndarray:
    """Bonferroni's correction; NaN as in holm."""
    return _corrected(p, lambda ordered: ordered * len(ordered))


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """False discovery rate of Benjamini and Hochberg; NaN as in holm."""
    return _corrected(p, lambda ordered: stats.false_discovery_control(ordered) if ordered.size else ordered)


def _corrected(p: np.ndarray, correct: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Apply a correction to the defined values in increasing order, and put the results back in their places, at most 1."""
    defined = np.flatnonzero(~np.isnan(p))
    order = defined[np.argsort(p[defined], kind="stable")]
    corrected = np.full(len(p), math.nan)
    corrected[order] = np.minimum(correct(p[order]), 1.0)
    return corrected
