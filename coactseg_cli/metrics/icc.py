"""Intraclass correlation of n targets that k raters (or methods) measured once each: the six forms of McGraw and Wong 1996.

two-way analysis of variance   MSR between targets, MSC between raters, MSE what is left
one-way                        MSR between targets, MSW within targets
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import stats

from coactseg_cli.metrics.proportions import UNDEFINED, Interval

TAIL = 0.025
ROUNDING = 1e-12  # relative


class Form(StrEnum):
    """Which variance counts as disagreement, and whether one measure or the mean of all k is meant."""

    ONE_WAY = "ICC(1,1)"
    AGREEMENT = "ICC(A,1)"
    CONSISTENCY = "ICC(C,1)"
    ONE_WAY_MEAN = "ICC(1,k)"
    AGREEMENT_MEAN = "ICC(A,k)"
    CONSISTENCY_MEAN = "ICC(C,k)"

    @property
    def column(self) -> str:
        """Name of the column of agreement.tsv: icc_a1 for ICC(A,1)."""
        return "icc_" + "".join(letter for letter in self.value.lower() if letter in "1ack")[-2:]


@dataclass(frozen=True, slots=True)
class Icc:
    """A coefficient and its 95 % F interval."""

    value: float
    ci95: Interval


@dataclass(frozen=True, slots=True)
class MeanSquares:
    """Of an (n, k) table."""

    n: int
    k: int
    rows: float  # MSR
    columns: float  # MSC
    error: float  # MSE
    within: float  # MSW


def intraclass(table: np.ndarray) -> dict[Form, Icc]:
    """All forms for an (n, k) table without gaps; NaN for fewer than two targets, or where their means do not differ."""
    squares = mean_squares(table) if len(table) > 1 else None
    if squares is None or squares.rows <= ROUNDING * squares.within or not np.ptp(table):
        return dict.fromkeys(Form, Icc(math.nan, UNDEFINED))
    one_way, agreement, consistency = _one_way(squares), _agreement(squares), _consistency(squares)
    k = squares.k
    return {
        Form.ONE_WAY: one_way,
        Form.AGREEMENT: agreement,
        Form.CONSISTENCY: consistency,
        Form.ONE_WAY_MEAN: _of_mean(one_way, k),
        Form.AGREEMENT_MEAN: _of_mean(agreement, k),
        Form.CONSISTENCY_MEAN: _of_mean(consistency, k),
    }


def mean_squares(table: np.ndarray) -> MeanSquares:
    """Analysis of variance of an (n, k) table."""
    n, k = table.shape
    centred = table - table.mean()
    rows, columns = centred.mean(axis=1), centred.mean(axis=0)
    left = centred - rows[:, None] - columns[None, :]
    return MeanSquares(
        n=n,
        k=k,
        rows=float(k * (rows**2).sum() / (n - 1)),
        columns=float(n * (columns**2).sum() / (k - 1)),
        error=float((left**2).sum() / ((n - 1) * (k - 1))),
        within=float(((centred - rows[:, None]) ** 2).sum() / (n * (k - 1))),
    )


def _one_way(s: MeanSquares) -> Icc:
    return _from_f(s.rows, s.within, s.k, s.n - 1, s.n * (s.k - 1))


def _consistency(s: MeanSquares) -> Icc:
    return _from_f(s.rows, s.error, s.k, s.n - 1, (s.n - 1) * (s.k - 1))


def _from_f(signal: float, noise: float, k: int, df_signal: int, df_noise: int) -> Icc:
    """(F - 1) / (F + k - 1) with F = signal / noise, and the same of F divided and multiplied by its quantile."""
    if noise <= ROUNDING * signal:
        return Icc(1.0, Interval(1.0, 1.0))
    f = signal / noise
    low = f / float(stats.f.ppf(1 - TAIL, df_signal, df_noise))
    high = f * float(stats.f.ppf(1 - TAIL, df_noise, df_signal))
    value, below, above = ((x - 1) / (x + k - 1) for x in (f, low, high))
    return Icc(value, Interval(below, above))


def _agreement(s: MeanSquares) -> Icc:
    """Absolute agreement; the degrees of freedom of its interval follow Satterthwaite (McGraw and Wong, Table 7)."""
    n, k = s.n, s.k
    value = (s.rows - s.error) / (s.rows + (k - 1) * s.error + k * (s.columns - s.error) / n)
    if 1 - value < ROUNDING:
        return Icc(value, Interval(value, value))
    a = k * value / (n * (1 - value))
    b = 1 + k * value * (n - 1) / (n * (1 - value))
    df = (a * s.columns + b * s.error) ** 2 / ((a * s.columns) ** 2 / (k - 1) + (b * s.error) ** 2 / ((n - 1) * (k - 1)))
    f_low, f_high = float(stats.f.ppf(1 - TAIL, n - 1, df)), float(stats.f.ppf(1 - TAIL, df, n - 1))
    noise = k * s.columns + (k * n - k - n) * s.error
    low = n * (s.rows - f_low * s.error) / (f_low * noise + n * s.rows)
    high = n * (f_high * s.rows - s.error) / (noise + n * f_high * s.rows)
    return Icc(value, Interval(low, high))


def _of_mean(single: Icc, k: int) -> Icc:
    """Spearman and Brown: from one measure to the mean of k."""
    value, low, high = (_stepped_up(x, k) for x in (single.value, single.ci95.low, single.ci95.high))
    return Icc(value, Interval(low, high))


def _stepped_up(x: float, k: int) -> float:
    below = 1 + (k - 1) * x
    return k * x / below if below > 0 else math.nan
