"""Distributions of the cohort's quantities, and the values that lie far outside them. Writes nothing.

The rule for outliers is that of Iglewicz and Hoaglin (1993, How to detect and handle outliers): further from the median than 3.5 robust
standard deviations. Volumes and counts are skewed to the right, so that for them the rule is applied to ln(1 + value) and its limits are
brought back; of these only large values are named.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bids_app.tables import cell, number
from coactseg_cli.cohort.columns import Cells, RowType
from coactseg_cli.cohort.gathering import Cohort

LIMIT_SD = 3.5  # Iglewicz and Hoaglin's recommendation
SD_OF_MAD, SD_OF_MEAN_DEVIATION = 1.4826, 1.2533  # of a normal distribution
FEWEST = 8  # values; of fewer nobody can say which lies outside


@dataclass(frozen=True, slots=True)
class Quantity:
    """A column of group_lesions.tsv that is summed up."""

    name: str
    row_type: RowType
    title: str
    unit: str
    digits: int  # behind the point, where it is read
    skewed: bool  # never negative, a long tail to the right
    least: float  # what is nearer to the median than this is no outlier, however narrow the distribution

    @property
    def label(self) -> str:
        """Title and unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @property
    def statistic_digits(self) -> int:
        """Behind the point, of a mean, a percentile or a limit: a count's are no whole numbers."""
        return self.digits or (0 if self.unit else 1)


QUANTITIES = (
    Quantity("all_lesions", RowType.VISIT, "Lesions", "", 0, skewed=True, least=10),
    Quantity("all_volume_mm3", RowType.VISIT, "Lesion volume", "mm³", 0, skewed=True, least=1000),
    Quantity("lesion_load_percent", RowType.VISIT, "Lesion load", "% of the brain mask", 3, skewed=True, least=0.1),
    Quantity("brain_mask_volume_mm3", RowType.VISIT, "Brain mask", "mm³", 0, skewed=False, least=100_000),
    Quantity("nullpair_lesions", RowType.VISIT, "New in a visit against itself", "", 0, skewed=True, least=1),
    Quantity("n_flags", RowType.VISIT, "Quality flags", "", 0, skewed=True, least=2),
    Quantity("new_lesions", RowType.PAIR, "New lesions", "", 0, skewed=True, least=3),
    Quantity("new_volume_mm3", RowType.PAIR, "Volume of new lesions", "mm³", 0, skewed=True, least=200),
    Quantity("resolved_lesions", RowType.PAIR, "Resolved lesions", "", 0, skewed=True, least=3),
    Quantity("enlarging_lesions", RowType.PAIR, "Enlarging lesions", "", 0, skewed=True, least=3),
    Quantity("shrinking_lesions", RowType.PAIR, "Shrinking lesions", "", 0, skewed=True, least=3),
    Quantity("volume_change_mm3", RowType.PAIR, "Volume change", "mm³", 0, skewed=False, least=500),
    Quantity("volume_change_mm3_per_year", RowType.PAIR, "Volume change per year", "mm³/year", 0, skewed=False, least=500),
    Quantity("brain_mask_change_percent", RowType.PAIR, "Brain mask change", "%", 1, skewed=False, least=3),
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Values outside are outliers; NaN: no limit."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Outlier:
    """A value that lies far outside."""

    row: Cells  # of group_lesions.tsv
    quantity: Quantity
    limits: Limits

    def cells(self) -> Cells:
        """As a row of group_outliers.tsv."""
        about = {name: self.row[name] for name in ("participant_id", "output", "session_id", "baseline_session_id")}
        value = {"quantity": self.quantity.name, "value": self.row[self.quantity.name]}
        return about | value | {"low": cell(self.limits.low), "high": cell(self.limits.high)}


def rows_of(cohort: Cohort, quantity: Quantity) -> tuple[Cells, ...]:
    """The rows that a quantity is summed up over: visits, or consecutive pairs."""
    if quantity.row_type is RowType.VISIT:
        return cohort.visits
    return tuple(row for row in cohort.pairs if row["consecutive"] == "1")


def summarise(cohort: Cohort) -> list[Cells]:
    """The rows of group_summary.tsv: a quantity each that has a value anywhere."""
    rows = []
    for quantity in QUANTITIES:
        values = _values(cohort, quantity)
        defined = values[np.isfinite(values)]
        if len(defined):
            rows.append(_summary(quantity, defined, len(values) - len(defined)))
    return rows


def _values(cohort: Cohort, quantity: Quantity) -> np.ndarray:
    return np.array([number(row[quantity.name]) for row in rows_of(cohort, quantity)], float)


def _summary(quantity: Quantity, values: np.ndarray, n_undefined: int) -> Cells:
    q25, median, q75 = np.percentile(values, [25, 50, 75])
    limits = limits_of(values.tolist(), quantity)
    found: dict[str, float] = {
        "mean": values.mean(),
        "sd": values.std(ddof=1) if len(values) > 1 else math.nan,
        "min": values.min(),
        "q25": q25,
        "median": median,
        "q75": q75,
        "max": values.max(),
        "total": values.sum(),
        "outlier_low": limits.low,
        "outlier_high": limits.high,
    }
    about = {"quantity": quantity.name, "row_type": quantity.row_type.value, "n": str(len(values)), "n_undefined": str(n_undefined)}
    return about | {name: cell(float(value)) for name, value in found.items()}


def outliers(cohort: Cohort) -> list[Outlier]:
    """Every outlier, by quantity, the furthest value first."""
    return [outlier for quantity in QUANTITIES for outlier in _outliers_of(cohort, quantity)]


def _outliers_of(cohort: Cohort, quantity: Quantity) -> list[Outlier]:
    rows, values = rows_of(cohort, quantity), _values(cohort, quantity)
    limits = limits_of(values.tolist(), quantity)
    outside = [i for i, value in enumerate(values) if _is_outside(float(value), limits)]
    middle = float(np.nanmedian(values)) if outside else 0.0
    return [Outlier(rows[i], quantity, limits) for i in sorted(outside, key=lambda i: -abs(float(values[i]) - middle))]


def _is_outside(value: float, limits: Limits) -> bool:
    return value < limits.low or value > limits.high  # a comparison with NaN is False


def limits_of(values: Sequence[float], quantity: Quantity) -> Limits:
    """The limits of a quantity for these values; NaN where there are fewer than FEWEST."""
    defined = np.array([value for value in values if math.isfinite(value)], float)
    if len(defined) < FEWEST:
        return Limits(math.nan, math.nan)
    median = float(np.median(defined))
    if quantity.skewed:
        _, high = _robust(np.log1p(np.maximum(defined, 0.0)))
        return Limits(math.nan, max(math.expm1(high), median + quantity.least))
    low, high = _robust(defined)
    return Limits(min(low, median - quantity.least), max(high, median + quantity.least))


def _robust(values: np.ndarray) -> tuple[float, float]:
    """Median minus and plus LIMIT_SD robust standard deviations: from the median deviation, where that is 0 from the mean deviation."""
    median = float(np.median(values))
    deviations = np.abs(values - median)
    sd = SD_OF_MAD * float(np.median(deviations)) or SD_OF_MEAN_DEVIATION * float(deviations.mean())
    return median - LIMIT_SD * sd, median + LIMIT_SD * sd
