"""How far a predicted quantity follows that of the reference over cases: Bland-Altman limits, correlations, intraclass correlation.

The volumes and counts that are compared are those of CaseScores; every case counts, with a reference lesion or without.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from coactseg_cli.metrics.columns import CaseScores
from coactseg_cli.metrics.icc import intraclass
from coactseg_cli.metrics.proportions import UNDEFINED, Interval
from coactseg_cli.metrics.rows import AgreementRow

LIMITS_Z = 1.96  # of the limits of agreement, as they are defined (not the quantile)


@dataclass(frozen=True, slots=True)
class BlandAltman:
    """Mean difference and the limits that hold about 95 % of the differences."""

    n: int
    bias: float
    sd: float  # ddof 1; NaN for fewer than two differences
    bias_ci95: Interval  # t interval
    limit_half: float  # half the width of the 95 % t interval of either limit

    @property
    def low(self) -> float:
        """Lower limit of agreement."""
        return self.bias - LIMITS_Z * self.sd

    @property
    def high(self) -> float:
        """Upper limit of agreement."""
        return self.bias + LIMITS_Z * self.sd


@dataclass(frozen=True, slots=True)
class Correlations:
    """Pearson's, Spearman's and Kendall's (tau b) coefficients; NaN where one side does not vary."""

    pearson: float
    spearman: float
    kendall: float


def bland_altman(differences: np.ndarray) -> BlandAltman:
    """Bias, standard deviation and limits of (n,) differences, with intervals. Reference: Bland and Altman 1986 and 1999."""
    n = differences.size
    bias = float(differences.mean()) if n else math.nan
    if n < 2:
        return BlandAltman(n, bias, math.nan, UNDEFINED, math.nan)
    sd = float(differences.std(ddof=1))
    t = float(stats.t.ppf(0.975, n - 1))
    half = t * sd / math.sqrt(n)
    limit_half = t * sd * math.sqrt(1 / n + LIMITS_Z**2 / (2 * (n - 1)))
    return BlandAltman(n, bias, sd, Interval(bias - half, bias + half), limit_half)


def percent_differences(predicted: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """100 (predicted - reference) / their mean; pairs whose mean is zero are left out: (at most n,)."""
    mean = (predicted + reference) / 2
    kept = mean > 0
    return np.asarray(100 * (predicted[kept] - reference[kept]) / mean[kept])


def correlations(predicted: np.ndarray, reference: np.ndarray) -> Correlations:
    """Correlate (n,) and (n,) values."""
    if predicted.size < 2 or not np.ptp(predicted) or not np.ptp(reference):
        return Correlations(math.nan, math.nan, math.nan)
    return Correlations(
        float(stats.pearsonr(predicted, reference).statistic),
        float(stats.spearmanr(predicted, reference).statistic),
        float(stats.kendalltau(predicted, reference).statistic),
    )


def agreement(scores: Sequence[CaseScores]) -> tuple[AgreementRow, ...]:
    """Rows of volume, log volume and number of lesions for each kind."""
    rows: list[AgreementRow] = []
    for kind in sorted({s.kind for s in scores}):
        of_kind = [s for s in scores if s.kind == kind]
        volumes = np.array([[s.volume_pred_mm3, s.volume_ref_mm3] for s in of_kind])
        counts = np.array([[s.lesions_pred, s.lesions_ref] for s in of_kind], float)
        rows += [
            _row(kind, "volume_mm3", volumes, percent_differences(*volumes.T)),
            _row(kind, "log_volume", np.log(volumes[(volumes > 0).all(axis=1)]), np.zeros(0)),
            _row(kind, "lesions", counts, percent_differences(*counts.T)),
        ]
    return tuple(rows)


def _row(kind: str, quantity: str, pairs: np.ndarray, percent: np.ndarray) -> AgreementRow:
    """`pairs`: (n, 2) predicted and reference; `percent`: their differences in percent."""
    absolute, relative = bland_altman(pairs[:, 0] - pairs[:, 1]), bland_altman(percent)
    related = correlations(pairs[:, 0], pairs[:, 1])
    return AgreementRow(
        kind=kind,
        quantity=quantity,
        n=absolute.n,
        bias=absolute.bias,
        sd=absolute.sd,
        loa_low=absolute.low,
        loa_high=absolute.high,
        bias_ci95_low=absolute.bias_ci95.low,
        bias_ci95_high=absolute.bias_ci95.high,
        loa_low_ci95_low=absolute.low - absolute.limit_half,
        loa_low_ci95_high=absolute.low + absolute.limit_half,
        loa_high_ci95_low=absolute.high - absolute.limit_half,
        loa_high_ci95_high=absolute.high + absolute.limit_half,
        percent_n=relative.n,
        percent_bias=relative.bias,
        percent_sd=relative.sd,
        percent_loa_low=relative.low,
        percent_loa_high=relative.high,
        pearson=related.pearson,
        spearman=related.spearman,
        kendall=related.kendall,
        **_icc_columns(pairs),
    )


def _icc_columns(pairs: np.ndarray) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for form, result in intraclass(pairs).items():
        columns |= {form.column: result.value, f"{form.column}_ci95_low": result.ci95.low, f"{form.column}_ci95_high": result.ci95.high}
    return columns
