"""Operating points of probability maps over a cohort: the free-response curve of candidates, and mean scores against the threshold.

A candidate (metrics/probabilities.py) that touches no reference lesion is false; a reference lesion is found as soon as one kept candidate
touches it, so its score is the largest of these candidates, and it counts once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from coactseg_cli.metrics.columns import CaseScores
from coactseg_cli.metrics.results import Candidate, ThresholdPoint
from coactseg_cli.metrics.rows import FrocRow, ThresholdRow

CAMELYON_RATES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # false lesions per case
SCORES = {"max": "max_probability", "mean": "mean_probability"}


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Sensitivity and false lesions per case at every threshold, lowest first; the last point keeps nothing."""

    thresholds: np.ndarray  # (t + 1,); candidates from the threshold on are kept; the last one is NaN
    sensitivity: np.ndarray  # (t + 1,); NaN without a reference lesion
    false_per_case: np.ndarray  # (t + 1,)


def curve(false_scores: np.ndarray, lesion_scores: np.ndarray, n_reference: int, n_cases: int) -> Curve:
    """Count at each score that occurs. `lesion_scores`: of the reference lesions that a candidate touches, at most n_reference."""
    thresholds = np.unique(np.concatenate([false_scores, lesion_scores]))
    false, hit = (_at_least(scores, thresholds) for scores in (false_scores, lesion_scores))
    sensitivity = hit / n_reference if n_reference else np.full(len(hit), math.nan)
    return Curve(np.append(thresholds, math.nan), sensitivity, false / max(n_cases, 1))


def _at_least(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """How many scores reach each threshold, and 0 for the point that keeps nothing: (t + 1,)."""
    return np.append(len(scores) - np.searchsorted(np.sort(scores), thresholds, side="left"), 0)


def camelyon_score(points: Curve, rates: Sequence[float] = CAMELYON_RATES) -> float:
    """Mean sensitivity at these false lesions per case, linear between points, the end value beyond them; NaN without a candidate.

    The lowest threshold is left out, as in the program of the CAMELYON16 challenge and in MONAI.
    """
    false, sensitivity = points.false_per_case[1:][::-1], points.sensitivity[1:][::-1]
    return float(np.interp(rates, false, sensitivity).mean()) if false.size else math.nan


def froc(candidates: Sequence[Candidate], scores: Sequence[CaseScores]) -> tuple[FrocRow, ...]:
    """The curve of each kind, for the largest and for the mean probability of a candidate.

    `scores`: of the cases that have a probability map, also those without any candidate; no other.
    """
    rows: list[FrocRow] = []
    for kind in sorted({s.kind for s in scores}):
        of_kind, cases = [c for c in candidates if c.kind == kind], [s for s in scores if s.kind == kind]
        for name, field in SCORES.items():
            rows += _curve_rows(kind, name, of_kind, field, cases)
    return tuple(rows)


def _curve_rows(kind: str, name: str, candidates: Sequence[Candidate], field: str, cases: Sequence[CaseScores]) -> list[FrocRow]:
    n_reference = sum(s.lesions_ref for s in cases)
    false = np.array([getattr(c, field) for c in candidates if not c.hits])
    points = curve(false, _best_scores(candidates, field), n_reference, len(cases))
    average = camelyon_score(points)
    return [
        FrocRow(
            kind=kind, score=name, threshold=float(threshold), sensitivity=float(sensitivity), false_per_case=float(rate),
            n_reference=n_reference, n_cases=len(cases), camelyon=average,
        )
        for threshold, sensitivity, rate in zip(points.thresholds, points.sensitivity, points.false_per_case, strict=True)
    ]  # fmt: skip


def _best_scores(candidates: Sequence[Candidate], field: str) -> np.ndarray:
    """Largest score of the candidates of each reference lesion that has one."""
    best: dict[tuple[str, int], float] = {}
    for candidate in candidates:
        for lesion in candidate.hits:
            key = (candidate.case, lesion)
            best[key] = max(best.get(key, -math.inf), getattr(candidate, field))
    return np.array(list(best.values()))


def threshold_curve(points: Sequence[ThresholdPoint]) -> tuple[ThresholdRow, ...]:
    """Means over cases at each threshold of each kind."""
    rows: list[ThresholdRow] = []
    for kind, threshold in sorted({(p.kind, p.threshold) for p in points}):
        here = [p for p in points if p.kind == kind and p.threshold == threshold]
        with_reference = [p for p in here if p.has_reference]
        rows.append(
            ThresholdRow(
                kind=kind,
                threshold=threshold,
                n_cases=len(with_reference),
                dice=_mean([p.dice for p in with_reference]),
                lesion_sensitivity=_mean([p.lesion_sensitivity for p in with_reference]),
                lesion_ppv=_mean([p.lesion_ppv for p in with_reference]),
                lesion_f1=_mean([p.lesion_f1 for p in with_reference]),
                false_lesions=_mean([p.false_lesions for p in here]),
            )
        )
    return tuple(rows)


def _mean(values: Sequence[float]) -> float:
    """Mean of what is defined; NaN where nothing is."""
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan
