"""Rows of single cases with the numbers that a test needs; every other number is undefined or zero."""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path
from typing import Any

from coactseg_cli.metrics.columns import CaseScores, LesionRow
from coactseg_cli.metrics.results import EvaluatedCase, MethodResult

BLANK = {"str": "", "int": 0, "float": math.nan}


def made_scores(case: str, kind: str = "new", **values: Any) -> CaseScores:
    blank = {f.name: BLANK[f.type] for f in fields(CaseScores)}
    return CaseScores(**blank | {"case": case, "kind": kind} | values)


def made_lesion(case: str, side: str, volume_mm3: float, *, detected: bool, kind: str = "new") -> LesionRow:
    blank = {f.name: BLANK[f.type] for f in fields(LesionRow)}
    found = "yes" if detected else "no"
    return LesionRow(**blank | {"case": case, "kind": kind, "side": side, "volume_mm3": volume_mm3, "detected": found})


def made_case(case: str, patient: str | None = None, site: str | None = None, kind: str = "new") -> EvaluatedCase:
    return EvaluatedCase(case=case, kind=kind, patient=patient or case, site=site, predicted=Path("p"), reference=Path("r"))


def made_method(name: str, scores: list[CaseScores], patients: list[str] | None = None) -> MethodResult:
    owners = patients or [s.case for s in scores]
    cases = tuple(made_case(s.case, patient, kind=s.kind) for s, patient in zip(scores, owners, strict=True))
    return MethodResult(name=name, cases=cases, scores=tuple(scores))
