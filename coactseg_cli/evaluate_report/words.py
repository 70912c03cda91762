"""What the page says in sentences: headline, warnings, rules, methods text. Numbers are counts of rows, or cells of the tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from bids_app.report import Finding
from coactseg_cli.evaluate_report.cells import interval, number
from coactseg_cli.evaluate_report.names import SHOWN, kind_title
from coactseg_cli.evaluate_report.tables import WITH, activity_of
from coactseg_cli.metrics.columns import CaseScores, columns_of
from coactseg_cli.metrics.results import EvaluateResult, MethodResult

RULE_NAMES = {
    "convention": "Convention",
    "connectivity": "Neighbours that join voxels to a lesion",
    "min_lesion_mm3": "Lesions must be larger than (mm³)",
    "min_lesion_voxels": "Lesions must have at least (voxels)",
    "alpha": "Alpha: covered share of a lesion that must be exceeded",
    "beta": "Beta: outside share of a covering lesion that must not be exceeded",
    "gamma": "Gamma: share of the overlap after which no further covering lesion is checked",
    "threshold": "Threshold of probabilities",
    "nsd_tolerance_mm": "Tolerance of the NSD (mm)",
}
CITATIONS = (
    "Commowick et al. 2018, Sci Rep 8:13650 (MSSEG: lesion detection with alpha, beta and gamma).",
    "Commowick et al. 2021, MSSEG-2 challenge proceedings (new lesions; patients without new lesions apart).",
    "Wu et al. 2023, MICCAI (CoactSeg, the evaluation of the convention 'coactseg').",
    "Maier-Hein, Reinke et al. 2024, Nat Methods 21:195-212 (Metrics Reloaded: choice of metrics, undefined values).",
    "Carass et al. 2017, NeuroImage 148:77-102 (ISBI 2015 longitudinal challenge, its score).",
    "Bland and Altman 1986, Lancet 327:307-310; McGraw and Wong 1996, Psychol Methods 1:30-46 (agreement, ICC).",
    "Wilson 1927, J Am Stat Assoc 22:209-212; Efron 1979, Ann Stat 7:1-26 (intervals).",
    "Wilcoxon 1945, Biometrics Bull 1:80-83; Holm 1979, Scand J Stat 6:65-70; Kerby 2014, Compr Psychol 3:1 (comparison of methods).",
)


def kinds_of(result: EvaluateResult) -> tuple[str, ...]:
    """The kinds that were scored, all before new."""
    return tuple(sorted({s.kind for s in result.scores}))


def convention_of(result: EvaluateResult) -> str:
    """Whose definitions were followed."""
    return str(result.settings.get("Rules", {}).get("convention", "mm"))


def lead(result: EvaluateResult) -> str:
    """What was compared, in a sentence."""
    names = [m.name for m in result.methods]
    of = f"{len(names)} methods ({', '.join(names)})" if len(names) > 1 else "One set of lesion masks"
    kinds = " and ".join(kind_title(kind).lower() for kind in kinds_of(result)) or "no case"
    return f"{of} against reference masks: {kinds}."


def headline(result: EvaluateResult) -> tuple[Finding, ...]:
    """Counts of cases, then the means of Dice and lesion F1 of the only method, or counts alone."""
    first = result.methods[0]
    findings = []
    for kind in kinds_of(result):
        scores = [s for s in first.scores if s.kind == kind]
        empty = sum("empty_reference" in s.flags.split(",") for s in scores)
        of = kind_title(kind).lower()
        findings += [
            Finding("Cases scored", len(scores), note=of),
            Finding("With reference lesions", len(scores) - empty, note=f"{of}; {empty} without"),
        ]
        if len(result.methods) == 1:
            findings += _means(first, kind)
    several = ", all methods together" if len(result.methods) > 1 else ""
    missing, failed, surplus = (of_methods(result, status) for status in ("missing", "failed", "surplus"))
    return (
        *findings,
        Finding("Missing predictions", missing, note=f"a reference, no prediction{several}"),
        Finding("Failed cases", failed, note=f"could not be compared{several}"),
        *((Finding("Surplus predictions", surplus, note="no reference"),) if surplus else ()),
    )


def of_methods(result: EvaluateResult, status: str) -> int:
    """Cases of the methods, raters apart, that not_scored.tsv lists with this status."""
    return sum(row.status == status for method in result.methods for row in method.not_scored)


def _means(method: MethodResult, kind: str) -> list[Finding]:
    rows = {row.metric: row for row in method.summary if (row.group, row.kind) == (WITH, kind)}
    return [
        Finding(f"Mean {SHOWN[m].title}", rows[m].mean, digits=3, note=f"{kind_title(kind).lower()}, n = {rows[m].n}")
        for m in ("dice", "lesion_f1")
        if m in rows
    ]


def findings(result: EvaluateResult) -> list[str]:
    """The main result of each kind and method in a sentence."""
    return [
        f"{f'{method.name}, ' if len(result.methods) > 1 else ''}{kind_title(kind)}: {text}."
        for kind in kinds_of(result)
        for method in result.methods
        if (text := _finding(method, kind))
    ]


def _finding(method: MethodResult, kind: str) -> str:
    rows = {row.metric: row for row in method.summary if (row.group, row.kind) == (WITH, kind)}
    parts = [
        f"{SHOWN[m].title} {number(rows[m].mean, 3)} (95 % CI {interval(rows[m].ci95_low, rows[m].ci95_high, 3)}, n = {rows[m].n})"
        for m in ("dice", "lesion_f1")
        if m in rows
    ]
    free = next(activity_of(method, kind, "no_false_lesion"), None)
    if free is not None and free.n:
        parts.append(f"{free.k} of {free.n} cases without reference lesions stay free of lesions")
    return "; ".join(parts)


def warnings(result: EvaluateResult) -> list[str]:
    """What a reader must know before trusting the means."""
    lines = []
    if missing := of_methods(result, "missing"):
        lines.append(
            f"{_count(missing, 'prediction is', 'predictions are')} missing; unless scored as empty masks, they are in no "
            "mean, which favours a method that skips hard cases."
        )
    if failed := of_methods(result, "failed"):
        lines.append(f"{_count(failed, 'case', 'cases')} failed, in no mean; the reasons are below, under Not scored.")
    counts = {len(m.scores) for m in result.methods}
    if len(counts) > 1:
        numbers = ", ".join(f"{m.name} {len(m.scores)}" for m in result.methods)
        lines.append(f"The methods were scored on different numbers of cases ({numbers}): compare them in the paired tables only.")
    resampled = sum("resampled" in s.flags.split(",") for s in result.scores)
    if resampled:
        lines.append(
            f"{_count(resampled, 'prediction was', 'predictions were')} resampled to the reference's grid "
            "(nearest neighbour), which costs accuracy."
        )
    return lines


def comparison_test(result: EvaluateResult, kind: str) -> str:
    """Which variants of the test were used."""
    variants = sorted({f"{row.zero_method}, {row.p_method}" for row in result.comparison if row.kind == kind})
    tests = f"Wilcoxon signed-rank tests, two-sided; treatment of equal values, distribution: {'; '.join(variants)}."
    return f"{tests} More columns: comparison.tsv."


def _count(n: int, one: str, more: str) -> str:
    return f"{n} {one if n == 1 else more}"


def rules(result: EvaluateResult) -> tuple[tuple[str, str], ...]:
    """Every rule that decided the scores."""
    return tuple((RULE_NAMES.get(name, name), _plain(value)) for name, value in result.settings.get("Rules", {}).items())


def definitions(result: EvaluateResult, metrics: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """What the scores on the page mean, then what the settings say on top."""
    columns = columns_of(CaseScores)
    of_scores = [(f"{SHOWN[m].axis} [{m}]", columns[m].description) for m in metrics]
    return (*of_scores, *((name, _plain(value)) for name, value in result.settings.get("Definitions", {}).items()))


def provenance(result: EvaluateResult) -> tuple[tuple[str, str], ...]:
    """Inputs, versions and whatever else settings.json holds."""
    rest = {name: value for name, value in result.settings.items() if name not in {"Rules", "Definitions"}}
    return tuple(_flat(rest))


def _flat(content: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in content.items():
        full = f"{prefix}{name}"
        rows += _flat(value, f"{full}, ") if isinstance(value, Mapping) else [(full, _plain(value))]
    return rows


def _plain(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value) or "none"
    return json.dumps(value, ensure_ascii=False)
