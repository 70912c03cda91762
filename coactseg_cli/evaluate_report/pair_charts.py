"""Plots of two values per case: predicted against reference, and one method against another. Statistics are read from the rows."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from bids_app.plots.agreement import Agreement, Cloud, Estimate, bland_altman, points_over, scatter
from bids_app.plots.canvas import shorten
from bids_app.plots.spread import Difference, differences
from coactseg_cli.evaluate_report.cells import estimate, number, significant
from coactseg_cli.evaluate_report.charts import Chart, scores_with
from coactseg_cli.evaluate_report.cohort_tables import digits_of
from coactseg_cli.evaluate_report.names import shown
from coactseg_cli.evaluate_report.tables import MINUS, WITH
from coactseg_cli.metrics.columns import CaseScores
from coactseg_cli.metrics.results import EvaluateResult, MethodResult
from coactseg_cli.metrics.rows import AgreementRow, ComparisonRow

COMPARISON_PLOTS = ("dice", "lesion_f1", "lesion_sensitivity", "lesion_ppv", "hd95_mm", "false_lesions")


def scatter_charts(result: EvaluateResult, kind: str) -> list[Chart]:
    """Predicted against reference volume and number of lesions, all methods in one plot each."""
    return [
        _scatter(result, kind, "volume_mm3", "Volume, predicted over reference", "volume (mm³)", ("volume_ref_mm3", "volume_pred_mm3")),
        _scatter(result, kind, "lesions", "Lesions, predicted over reference", "lesions", ("lesions_ref", "lesions_pred")),
    ]


def _scatter(result: EvaluateResult, kind: str, quantity: str, title: str, axis: str, columns: tuple[str, str]) -> Chart:
    clouds = [
        Cloud(m.name if len(result.methods) > 1 else "cases", *_pairs(_of_kind(m, kind), columns), i) for i, m in enumerate(result.methods)
    ]
    findings = [
        f"{_prefix(result, m)}Pearson {number(row.pearson, 3)}, Spearman {number(row.spearman, 3)}, "
        f"ICC(A,1) {estimate(row.icc_a1, row.icc_a1_ci95_low, row.icc_a1_ci95_high, 3)}, n = {row.n}"
        for m in result.methods
        for row in _agreement(m, kind, quantity)
    ]
    caption = f"{'; '.join(findings)}."
    drawn = scatter(clouds, f"Reference {axis}", f"Predicted {axis}")
    return Chart(f"{kind}_scatter_{quantity}", title, drawn, f"Predicted over reference {axis}, with the identity line. {caption}", caption)


def load_charts(result: EvaluateResult, kind: str) -> list[Chart]:
    """Dice and lesion F1 over the volume of the reference's lesions: small loads are harder."""
    charts = []
    for one in (shown(metric) for metric in ("dice", "lesion_f1")):
        clouds = [
            Cloud(m.name if len(result.methods) > 1 else "cases", *_pairs(scores_with(m, kind), ("volume_ref_mm3", one.metric)), i)
            for i, m in enumerate(result.methods)
        ]
        drawn = points_over(clouds, "Reference volume (mm³)", one.axis, one.limits)
        alt = f"{one.axis} over the volume of the reference's lesions, a point per case with reference lesions."
        charts.append(Chart(f"{kind}_load_{one.metric}", f"{one.title} over lesion load", drawn, alt))
    return charts


def bland_altman_charts(result: EvaluateResult, kind: str) -> list[Chart]:
    """Differences over means: volume, the logarithm of volume, number of lesions; a plot per method."""
    return [
        _bland_altman(result, place, row)
        for quantity in ("volume_mm3", "log_volume", "lesions")
        for place, method in enumerate(result.methods)
        for row in _agreement(method, kind, quantity)
    ]


def _bland_altman(result: EvaluateResult, place: int, row: AgreementRow) -> Chart:
    method = result.methods[place]
    title, x_label, y_label = {
        "volume_mm3": ("Volume, Bland-Altman", "Mean of both (mm³)", f"Predicted {MINUS} reference (mm³)"),
        "log_volume": ("ln volume, Bland-Altman", "Mean of both ln volumes", f"ln predicted {MINUS} ln reference"),
        "lesions": ("Lesions, Bland-Altman", "Mean of both", f"Predicted {MINUS} reference"),
    }[row.quantity]
    x, y = _differences(_of_kind(method, row.kind), row.quantity)
    lines = Agreement(
        Estimate(row.bias, row.bias_ci95_low, row.bias_ci95_high),
        Estimate(row.loa_low, row.loa_low_ci95_low, row.loa_low_ci95_high),
        Estimate(row.loa_high, row.loa_high_ci95_low, row.loa_high_ci95_high),
    )
    d = digits_of(row.quantity)
    finding = (
        f"Bias {estimate(row.bias, row.bias_ci95_low, row.bias_ci95_high, d)}; limits of agreement "
        f"{estimate(row.loa_low, row.loa_low_ci95_low, row.loa_low_ci95_high, d)} and "
        f"{estimate(row.loa_high, row.loa_high_ci95_low, row.loa_high_ci95_high, d)}; n = {row.n}."
    )
    of = f", {method.name}" if len(result.methods) > 1 else ""
    name = f"{row.kind}_bland_altman_{row.quantity}" + (f"_{place + 1}" if len(result.methods) > 1 else "")
    drawn = bland_altman(Cloud(method.name, x, y, place), lines, x_label, y_label)
    return Chart(name, f"{title}{of}", drawn, f"{title}{of}. {finding}", finding)


def difference_charts(result: EvaluateResult, kind: str) -> list[Chart]:
    """Paired differences over patients, a row per pair of methods, for the main scores that were compared."""
    methods = {m.name: m for m in result.methods}
    charts = []
    for one in (shown(metric) for metric in COMPARISON_PLOTS):
        rows = [r for r in result.comparison if (r.group, r.kind, r.metric) == (WITH, kind, one.metric)]
        if rows:
            drawn = differences([_difference(r, methods, i) for i, r in enumerate(rows)], f"Difference of {one.axis}")
            findings = [_verdict(r, one.digits) for r in rows]
            alt = f"Paired differences of {one.axis}. {'; '.join(findings)}."
            charts.append(Chart(f"{kind}_difference_{one.metric}", f"{one.title}", drawn, alt))
    return charts


def patient_differences(row: ComparisonRow, a: MethodResult, b: MethodResult) -> list[float]:
    """Score of `b` minus score of `a` for each patient, over those of its cases that both have a value for."""
    first = {s.case: float(getattr(s, row.metric)) for s in _of_group(a, row)}
    of_patient: dict[str, list[float]] = defaultdict(list)
    patients = {case.case: case.patient for case in b.cases}
    for s in _of_group(b, row):
        difference = float(getattr(s, row.metric)) - first.get(s.case, math.nan)
        if math.isfinite(difference):
            of_patient[patients[s.case]].append(difference)
    return [sum(values) / len(values) for values in of_patient.values()]


def _difference(row: ComparisonRow, methods: dict[str, MethodResult], colour: int) -> Difference:
    values = patient_differences(row, methods[row.method_a], methods[row.method_b])
    name = f"{shorten(row.method_b, 10)} {MINUS} {shorten(row.method_a, 10)}"
    return Difference(name, values, row.median_difference, row.ci95_low, row.ci95_high, colour)


def _verdict(row: ComparisonRow, digits: int) -> str:
    return (
        f"{row.method_b} {MINUS} {row.method_a}: median {estimate(row.median_difference, row.ci95_low, row.ci95_high, digits)}, "
        f"p Holm {significant(row.p_holm)}"
    )


def _of_group(method: MethodResult, row: ComparisonRow) -> list[CaseScores]:
    return [s for s in _of_kind(method, row.kind) if ("empty_reference" in s.flags.split(",")) != (row.group == WITH)]


def _of_kind(method: MethodResult, kind: str) -> list[CaseScores]:
    return [s for s in method.scores if s.kind == kind]


def _agreement(method: MethodResult, kind: str, quantity: str) -> list[AgreementRow]:
    return [row for row in method.agreement if (row.kind, row.quantity) == (kind, quantity)]


def _pairs(scores: Sequence[CaseScores], columns: tuple[str, str]) -> tuple[list[float], list[float]]:
    x, y = ([float(getattr(s, column)) for s in scores] for column in columns)
    return x, y


def _differences(scores: Sequence[CaseScores], quantity: str) -> tuple[list[float], list[float]]:
    """Means and differences of a quantity, NaN where the logarithm has none."""
    reference, predicted = _pairs(
        scores, ("lesions_ref", "lesions_pred") if quantity == "lesions" else ("volume_ref_mm3", "volume_pred_mm3")
    )
    if quantity == "log_volume":
        both = [r > 0 and p > 0 for r, p in zip(reference, predicted, strict=True)]
        reference = [math.log(r) if ok else math.nan for r, ok in zip(reference, both, strict=True)]
        predicted = [math.log(p) if ok else math.nan for p, ok in zip(predicted, both, strict=True)]
    pairs = list(zip(reference, predicted, strict=True))
    return [(r + p) / 2 for r, p in pairs], [p - r for r, p in pairs]


def _prefix(result: EvaluateResult, method: MethodResult) -> str:
    return f"{method.name}: " if len(result.methods) > 1 else ""
