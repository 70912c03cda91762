"""From the rows of single cases to a cohort: summaries with confidence intervals over patients. No plots and no tests of significance.

Cases without a reference lesion are summarised apart: most scores have no meaning there, and what counts is false lesions.
The unit that is resampled is always the patient, never the case, the lesion or the voxel.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from coactseg_cli.metrics.bootstrap import bootstrap_means, draw_ratios, percentiles, sums_by_patient
from coactseg_cli.metrics.columns import CaseScores
from coactseg_cli.metrics.detection import harmonic_mean
from coactseg_cli.metrics.overlap import divide
from coactseg_cli.metrics.proportions import UNDEFINED, clopper_pearson, wilson
from coactseg_cli.metrics.rows import ActivityRow, SummaryRow

WITH, WITHOUT = "with_reference_lesions", "without_reference_lesions"
NOT_SUMMARISED = ("smallest_lesion_voxel", "voxel_mm3", "spacing_i_mm", "spacing_j_mm", "spacing_k_mm")
METRICS = tuple(f.name for f in fields(CaseScores) if f.type in {"float", "int"} and f.name not in NOT_SUMMARISED)
METRICS_WITHOUT = ("specificity", "volume_pred_mm3", "lesions_pred", "lesions_pred_any", "false_lesions", "false_volume_mm3")
TOTALS = ("lesions_pred", "lesions_ref", "lesions_ref_detected", "lesions_pred_confirmed", "false_lesions", "false_volume_mm3")


@dataclass(frozen=True, slots=True)
class Pooled:
    """A lesion score over all lesions, with its interval; the names are those of the columns."""

    pooled: float
    pooled_ci95_low: float
    pooled_ci95_high: float


NOT_POOLED = Pooled(math.nan, math.nan, math.nan)


def patient_of(case: str) -> str:
    """Name the participant of a case such as sub-01_ses-02; a case of another name is a patient of its own."""
    return case.split("_", maxsplit=1)[0] if case.startswith("sub-") else case


def summarise(scores: Sequence[CaseScores], patients: Sequence[str]) -> tuple[SummaryRow, ...]:
    """One row for each group, kind and score, in that order; a group without a case has no rows. `patients`: whose case it is."""
    rows: list[SummaryRow] = []
    for group, metrics in ((WITH, METRICS), (WITHOUT, METRICS_WITHOUT)):
        for kind in sorted({s.kind for s in scores}):
            members = [(s, p) for s, p in zip(scores, patients, strict=True) if s.kind == kind and is_empty(s) == (group == WITHOUT)]
            rows += _summarise_group(group, [s for s, _ in members], [p for _, p in members], metrics)
    return tuple(rows)


def is_empty(scores: CaseScores) -> bool:
    """Whether the reference mask has no voxel."""
    return "empty_reference" in scores.flags.split(",")


def _summarise_group(group: str, scores: Sequence[CaseScores], patients: Sequence[str], metrics: Sequence[str]) -> list[SummaryRow]:
    if not scores:
        return []
    values = np.array([[float(getattr(s, metric)) for metric in metrics] for s in scores])
    intervals = bootstrap_means(values, patients)
    pooled = _pooled(scores, patients) if group == WITH else {}
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
            **asdict(pooled.get(metric, NOT_POOLED)),
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
    counts = Counter(flag for s in undefined for flag in (s.flags.split(",") if s.flags else ["nothing_to_measure"]))
    return ", ".join(f"{flag} {n}" for flag, n in counts.items())


def _pooled(scores: Sequence[CaseScores], patients: Sequence[str]) -> dict[str, Pooled]:
    """Lesion scores over the lesions of all cases together."""
    parts = np.array([[s.lesions_ref_detected, s.lesions_pred_confirmed] for s in scores], float)
    wholes = np.array([[s.lesions_ref, s.lesions_pred] for s in scores], float)
    parts, wholes = (sums_by_patient(counts, patients)[0] for counts in (parts, wholes))
    sensitivity, ppv = (divide(*pair) for pair in zip(parts.sum(axis=0), wholes.sum(axis=0), strict=True))
    draws = draw_ratios(parts, wholes)
    f1 = np.array([harmonic_mean(*draw) for draw in draws.tolist()])
    return {
        "lesion_sensitivity": _pool(sensitivity, draws[:, 0], len(parts)),
        "lesion_ppv": _pool(ppv, draws[:, 1], len(parts)),
        "lesion_f1": _pool(harmonic_mean(sensitivity, ppv), f1, len(parts)),
    }


def _pool(value: float, draws: np.ndarray, n_patients: int) -> Pooled:
    interval = percentiles(draws) if n_patients > 1 and not math.isnan(value) else UNDEFINED
    return Pooled(value, interval.low, interval.high)


def activity(scores: Sequence[CaseScores], patients: Sequence[str]) -> tuple[ActivityRow, ...]:
    """Patient-level agreement on whether there is any lesion, and cases that are rightly free of them. `patients`: as in summarise."""
    rows: list[ActivityRow] = []
    for kind in sorted({s.kind for s in scores}):
        members = [(s, p) for s, p in zip(scores, patients, strict=True) if s.kind == kind]
        rows += _confusion(kind, members)
        empty = [s for s, _ in members if is_empty(s)]
        rows.append(_proportion(kind, "no_false_lesion", sum(s.false_lesions == 0 for s in empty), len(empty)))
    return tuple(rows)


def _confusion(kind: str, members: Sequence[tuple[CaseScores, str]]) -> list[ActivityRow]:
    truly = {patient for s, patient in members if s.lesions_ref > 0}
    claimed = {patient for s, patient in members if s.lesions_pred > 0}
    everyone = {patient for _, patient in members}
    both, neither = len(truly & claimed), len(everyone - truly - claimed)
    return [
        _proportion(kind, "sensitivity", both, len(truly)),
        _proportion(kind, "specificity", neither, len(everyone - truly)),
        _proportion(kind, "ppv", both, len(claimed)),
        _proportion(kind, "npv", neither, len(everyone - claimed)),
        _proportion(kind, "true_positive", both, len(everyone)),
        _proportion(kind, "false_positive", len(claimed - truly), len(everyone)),
        _proportion(kind, "false_negative", len(truly - claimed), len(everyone)),
        _proportion(kind, "true_negative", neither, len(everyone)),
    ]


def _proportion(kind: str, measure: str, k: int, n: int) -> ActivityRow:
    score, exact = wilson(k, n), clopper_pearson(k, n)
    return ActivityRow(
        kind=kind, measure=measure, k=k, n=n, value=divide(k, n),
        ci95_low=score.low, ci95_high=score.high, exact_ci95_low=exact.low, exact_ci95_high=exact.high,
    )  # fmt: skip
