"""A share of a count, with its confidence interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import stats

Z95 = 1.959963984540054  # of the normal distribution


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % confidence interval."""

    low: float
    high: float


UNDEFINED = Interval(math.nan, math.nan)


def wilson(k: int, n: int) -> Interval:
    """Wilson's 95 % interval of a proportion k / n; NaN for n = 0."""
    if n == 0:
        return UNDEFINED
    share, z2 = k / n, Z95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return Interval(0.0 if k == 0 else centre - half, 1.0 if k == n else centre + half)


def clopper_pearson(k: int, n: int) -> Interval:
    """Clopper and Pearson's 95 % interval of k / n, from beta quantiles ("exact": covers at least 95 %); NaN for n = 0."""
    if n == 0:
        return UNDEFINED
    low = 0.0 if k == 0 else float(stats.beta.ppf(0.025, k, n - k + 1))
    high = 1.0 if k == n else float(stats.beta.ppf(0.975, k + 1, n - k))
    return Interval(low, high)
