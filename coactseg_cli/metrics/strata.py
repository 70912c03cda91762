"""Cohort tables by size of the lesion and by site of the patient. The unit that is resampled is the patient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from coactseg_cli.metrics.bootstrap import bootstrap_ratios
from coactseg_cli.metrics.cohort import summarise
from coactseg_cli.metrics.columns import CaseScores, LesionRow
from coactseg_cli.metrics.overlap import divide
from coactseg_cli.metrics.proportions import wilson
from coactseg_cli.metrics.results import EvaluatedCase
from coactseg_cli.metrics.rows import SiteRow, SizeRow

SIZE_EDGES_MM3 = (3.0, 10.0, 50.0, 100.0, 500.0)  # lower ends of the ranges; the last is open
SIDES = ("reference", "predicted")


@dataclass(frozen=True, slots=True)
class Counts:
    """Lesions of one side, by patient and range of size: (patients, ranges) both."""

    all: np.ndarray
    detected: np.ndarray


def by_size(
    lesions: Sequence[LesionRow], cases: Sequence[EvaluatedCase], edges_mm3: Sequence[float] = SIZE_EDGES_MM3
) -> tuple[SizeRow, ...]:
    """Detection and false rate by volume: a row per kind and range (low, high].

    A first range from 0 appears where lesions lie below it. Raises: ValueError for edges that do not increase from 0 on.
    """
    if list(edges_mm3) != sorted(set(edges_mm3)) or not edges_mm3 or edges_mm3[0] < 0:
        msg = f"size ranges need increasing edges in mm3, from 0 on; got {list(edges_mm3)}"
        raise ValueError(msg)
    rows: list[SizeRow] = []
    for kind in sorted({c.kind for c in cases}):
        of_kind = [lesion for lesion in lesions if lesion.kind == kind]
        patients = {c.case: c.patient for c in cases if c.kind == kind}
        edges = _with_smallest(edges_mm3, of_kind)
        reference, predicted = (_count([x for x in of_kind if x.side == side], patients, edges) for side in SIDES)
        rows += _size_rows(kind, edges, reference, predicted)
    return tuple(rows)


def _with_smallest(edges: Sequence[float], lesions: Sequence[LesionRow]) -> list[float]:
    below = any(round(lesion.volume_mm3, 6) <= edges[0] for lesion in lesions)
    return [0.0, *edges] if below and edges[0] > 0 else list(edges)


def _count(lesions: Sequence[LesionRow], patients: dict[str, str], edges: Sequence[float]) -> Counts:
    names = sorted(set(patients.values()))
    every, detected = np.zeros((len(names), len(edges))), np.zeros((len(names), len(edges)))
    for lesion in lesions:
        place = names.index(patients[lesion.case]), int(np.searchsorted(edges, round(lesion.volume_mm3, 6), side="left")) - 1
        every[place] += 1
        detected[place] += lesion.detected == "yes"
    return Counts(every, detected)


def _size_rows(kind: str, edges: Sequence[float], reference: Counts, predicted: Counts) -> list[SizeRow]:
    found = bootstrap_ratios(reference.detected, reference.all)
    wrong = bootstrap_ratios(predicted.all - predicted.detected, predicted.all)
    return [
        SizeRow(
            kind=kind,
            size=f"{low:g}-{high:g}" if high else f">{low:g}",
            low_mm3=low,
            high_mm3=high or math.nan,
            n_patients=int(np.count_nonzero(reference.all[:, n])),
            n_reference=int(reference.all[:, n].sum()),
            n_detected=int(reference.detected[:, n].sum()),
            detection_ci95_low=found[n].low,
            detection_ci95_high=found[n].high,
            **_rate("detection", int(reference.detected[:, n].sum()), int(reference.all[:, n].sum())),
            n_predicted=int(predicted.all[:, n].sum()),
            n_false=int((predicted.all - predicted.detected)[:, n].sum()),
            false_ci95_low=wrong[n].low,
            false_ci95_high=wrong[n].high,
            **_rate("false", int((predicted.all - predicted.detected)[:, n].sum()), int(predicted.all[:, n].sum())),
        )
        for n, (low, high) in enumerate(zip(edges, [*edges[1:], 0.0], strict=True))
    ]


def _rate(name: str, k: int, n: int) -> dict[str, Any]:
    interval = wilson(k, n)
    return {f"{name}_rate": divide(k, n), f"{name}_wilson_low": interval.low, f"{name}_wilson_high": interval.high}


def by_site(scores: Sequence[CaseScores], cases: Sequence[EvaluatedCase]) -> tuple[SiteRow, ...]:
    """Summarise each site apart, sites in alphabetical order, cases of no known site last. `cases` is parallel to `scores`.

    Returns: no row where no case has a site.
    """
    if not any(case.site for case in cases):
        return ()
    rows: list[SiteRow] = []
    for site in sorted({case.site or "" for case in cases}, key=lambda name: (not name, name)):
        members = [(s, case.patient) for s, case in zip(scores, cases, strict=True) if (case.site or "") == site]
        summary = summarise([s for s, _ in members], [patient for _, patient in members])
        rows += [SiteRow(**asdict(row), site=site) for row in summary]
    return tuple(rows)
