"""From the rows of single cases to a cohort: summaries with confidence intervals over patients. No plots and no tests of significance.

Cases without a reference lesion are summarised apart: most scores have no meaning there, and what counts is false lesions.
The unit that is resampled is always the patient, never the case, the lesion or the voxel.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from coactseg_cli.metrics.columns import CaseScores
from coactseg_cli.metrics.detection import harmonic_mean
from coactseg_cli.metrics.overlap import divide
from coactseg_cli.metrics.rows import ActivityRow, SummaryRow

Z95 = 1.959963984540054  # of the normal distribution
RESAMPLES = 10_000
CHUNK = 500  # resamples in memory at once
SEED = 2023
WITH, WITHOUT = "with_reference_lesions", "without_reference_lesions"
NOT_SUMMARISED = ("smallest_lesion_voxel", "voxel_mm3")
METRICS = tuple(f.name for f in fields(CaseScores) if f.type in {"float", "int"} and f.name not in NOT_SUMMARISED)
METRICS_WITHOUT = ("specificity", "volume_pred_mm3", "lesions_pred", "false_lesions", "false_volume_mm3")
TOTALS = ("lesions_pred", "lesions_ref", "lesions_ref_detected", "lesions_pred_confirmed", "false_lesions", "false_volume_mm3")


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % confidence interval."""

    low: float
    high: float


def patient_of(case: str) -> str:
    """Name the participant of a case such as sub-01_ses-02; a case of another name is a patient of its own."""
    return case.split("_", maxsplit=1)[0] if case.startswith("sub-") else case


def wilson(k: int, n: int) -> Interval:
    """Wilson's 95 % interval of a proportion k / n; NaN for n = 0."""
    if n == 0:
        return Interval(math.nan, math.nan)
    share, z2 = k / n, Z95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return Interval(0.0 if k == 0 else centre - half, 1.0 if k == n else centre + half)


def bootstrap_means(values: np.ndarray, patients: Sequence[str], n_resamples: int = RESAMPLES, seed: int = SEED) -> list[Interval]:
    """Percentile bootstrap of the means of the columns of `values` (cases, metrics), NaN left out, patients drawn with all their cases.

    Returns: one 95 % interval for each column, NaN where fewer than two patients have a value.
    """
    _, patient = np.unique(np.array(patients), return_inverse=True)
    n_patients = int(patient.max()) + 1
    sums, counts = np.zeros((n_patients, values.shape[1])), np.zeros((n_patients, values.shape[1]))
    np.add.at(sums, patient, np.nan_to_num(values, nan=0.0))
    np.add.at(counts, patient, ~np.isnan(values))
    rng = np.random.default_rng(seed)
    means = []
    for start in range(0, n_resamples, CHUNK):
        drawn = rng.multinomial(n_patients, np.full(n_patients, 1 / n_patients), size=min(CHUNK, n_resamples - start)).astype(float)
        with np.errstate(invalid="ignore"):
            means.append((drawn @ sums) / (drawn @ counts))
    enough = (counts > 0).sum(axis=0) >= 2
    return [
        _percentiles(column) if ok else Interval(math.nan, math.nan) for column, ok in zip(np.concatenate(means).T, enough, strict=True)
    ]


def _percentiles(means: np.ndarray) -> Interval:
    low, high = np.percentile(means[~np.isnan(means)], [2.5, 97.5])
    return Interval(float(low), float(high))


def summarise(scores: Sequence[CaseScores]) -> tuple[SummaryRow, ...]:
    """One row for each group, kind and score, in that order; a group without a case has no rows."""
    rows: list[SummaryRow] = []
    for kind in sorted({s.kind for s in scores}):
        of_kind = [s for s in scores if s.kind == kind]
        rows += _summarise_group(WITH, [s for s in of_kind if not is_empty(s)], METRICS)
        rows += _summarise_group(WITHOUT, [s for s in of_kind if is_empty(s)], METRICS_WITHOUT)
    return tuple(sorted(rows, key=lambda row: row.group != WITH))


def is_empty(scores: CaseScores) -> bool:
    """Whether the reference mask has no voxel."""
    return "empty_reference" in scores.flags.split(",")


def _summarise_group(group: str, scores: Sequence[CaseScores], metrics: Sequence[str]) -> list[SummaryRow]:
    if not scores:
        return []
    values = np.array([[float(getattr(s, metric)) for metric in metrics] for s in scores])
    patients = [patient_of(s.case) for s in scores]
    intervals = bootstrap_means(values, patients)
    pooled = _pooled(scores)
    return [
        SummaryRow(
            group=group,
            kind=scores[0].kind,
            metric=metric,
            n_patients=len(set(patients)),
            n_cases=len(scores),
            n_undefined=int(np.isnan(values[:, m]).sum()),
            why_undefined=_why([s for s, value in zip(scores, values[:, m], strict=True) if math.isnan(value)]),
            **_spread(values[:, m]),
            ci95_low=intervals[m].low,
            ci95_high=intervals[m].high,
            pooled=pooled.get(metric, math.nan),
            total=float(np.nansum(values[:, m])) if metric in TOTALS else math.nan,
        )
        for m, metric in enumerate(metrics)
    ]


def _spread(values: np.ndarray) -> dict[str, Any]:
    defined = values[~np.isnan(values)]
    if not defined.size:
        return {"n": 0, **dict.fromkeys(("mean", "sd", "median", "q25", "q75", "min", "max"), math.nan)}
    q25, median, q75 = np.percentile(defined, [25, 50, 75])
    return {
        "n": defined.size,
        "mean": float(defined.mean()),
        "sd": float(defined.std(ddof=1)) if defined.size > 1 else math.nan,
        "median": float(median),
        "q25": float(q25),
        "q75": float(q75),
        "min": float(defined.min()),
        "max": float(defined.max()),
    }


def _why(undefined: Sequence[CaseScores]) -> str:
    """For instance 'missed 2, reference_below_limit 1'."""
    counts = Counter(flag for s in undefined for flag in (s.flags.split(",") if s.flags else ["division by zero"]))
    return ", ".join(f"{flag} {n}" for flag, n in counts.items())


def _pooled(scores: Sequence[CaseScores]) -> dict[str, float]:
    """Lesion scores over the lesions of all cases together."""
    sensitivity = divide(sum(s.lesions_ref_detected for s in scores), sum(s.lesions_ref for s in scores))
    ppv = divide(sum(s.lesions_pred_confirmed for s in scores), sum(s.lesions_pred for s in scores))
    return {"lesion_sensitivity": sensitivity, "lesion_ppv": ppv, "lesion_f1": harmonic_mean(sensitivity, ppv)}


def activity(scores: Sequence[CaseScores]) -> tuple[ActivityRow, ...]:
    """Patient-level agreement on whether there is any lesion, and cases that are rightly free of them."""
    rows: list[ActivityRow] = []
    for kind in sorted({s.kind for s in scores}):
        of_kind = [s for s in scores if s.kind == kind]
        truly = {patient_of(s.case) for s in of_kind if s.lesions_ref > 0}
        claimed = {patient_of(s.case) for s in of_kind if s.lesions_pred > 0}
        everyone = {patient_of(s.case) for s in of_kind}
        empty = [s for s in of_kind if is_empty(s)]
        rows += [
            _proportion(kind, "sensitivity", len(truly & claimed), len(truly)),
            _proportion(kind, "specificity", len(everyone - truly - claimed), len(everyone - truly)),
            _proportion(kind, "ppv", len(truly & claimed), len(claimed)),
            _proportion(kind, "npv", len(everyone - truly - claimed), len(everyone - claimed)),
            _proportion(kind, "no_false_lesion", sum(s.false_lesions == 0 for s in empty), len(empty)),
        ]
    return tuple(rows)


def _proportion(kind: str, measure: str, k: int, n: int) -> ActivityRow:
    interval = wilson(k, n)
    return ActivityRow(kind=kind, measure=measure, k=k, n=n, value=divide(k, n), ci95_low=interval.low, ci95_high=interval.high)
