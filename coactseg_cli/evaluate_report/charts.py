"""Rows of an evaluation to the plots of the page, each with the finding in words. Statistics are read from the rows, not computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from bids_app.evaluation_page import PlotBlock
from bids_app.plots.canvas import Absent, encode, shorten
from bids_app.plots.lines import Line, Panel, curves
from bids_app.plots.rates import Series, Share, rates
from bids_app.plots.spread import Group, boxes
from coactseg_cli.evaluate_report.cells import interval, number
from coactseg_cli.evaluate_report.names import SITE_PLOTS, Shown, plotted_metrics, shown
from coactseg_cli.evaluate_report.tables import WITH, size_name
from coactseg_cli.metrics.columns import CaseScores
from coactseg_cli.metrics.results import EvaluateResult, MethodResult
from coactseg_cli.metrics.rows import SizeRow

BOX_CAPTION = "Box: 25th to 75th percentile; line: median; whiskers: the furthest case within 1.5 box lengths; a point per case."


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure, or why there is none, with the words that belong to it."""

    name: str  # stem of its files
    title: str
    drawn: Figure | Absent
    alt: str
    caption: str = ""


def block(charts: Sequence[Chart]) -> PlotBlock:
    """Encode what could be drawn; say why the rest could not."""
    plots = tuple(encode(c.drawn, c.name, c.title, c.alt, c.caption) for c in charts if not isinstance(c.drawn, Absent))
    return PlotBlock(plots, tuple(f"{c.title}: {c.drawn.reason}" for c in charts if isinstance(c.drawn, Absent)))


def box_charts(result: EvaluateResult, kind: str, convention: str) -> list[Chart]:
    """A box plot per score, a row per method, over the cases with reference lesions."""
    return [_boxes_of(result, kind, one) for one in plotted_metrics(convention)]


def _boxes_of(result: EvaluateResult, kind: str, one: Shown) -> Chart:
    groups = [
        Group(m.name if len(result.methods) > 1 else "Cases", _values(scores_with(m, kind), one.metric), i)
        for i, m in enumerate(result.methods)
    ]
    findings = [
        f"{_prefix(result, m)}median {number(row.median, one.digits)}, middle half {interval(row.q25, row.q75, one.digits)}, {row.n} cases"
        for m in result.methods
        for row in m.summary
        if (row.group, row.kind, row.metric) == (WITH, kind, one.metric)
    ]
    alt = f"Box plot of {one.axis}. {'; '.join(findings)}."
    title = f"{one.title} in {one.unit}" if one.metric.startswith("volume_difference") else f"{one.title}"
    return Chart(f"{kind}_boxes_{one.metric}", title, boxes(groups, one.axis, limits=one.limits, may_log=one.may_log), alt)


def site_charts(result: EvaluateResult, kind: str) -> list[Chart]:
    """Box plots with a row per site and method."""
    sites = dict.fromkeys(row.site or "n/a" for m in result.methods for row in m.by_site)
    charts = []
    for one in (shown(metric) for metric in SITE_PLOTS):
        groups = [
            Group(
                site if len(result.methods) == 1 else f"{site}: {method.name}",
                _values([s for s, place in _with_site(method, kind) if place == site], one.metric),
                i,
            )
            for site in sites
            for i, method in enumerate(result.methods)
        ]
        findings = [
            f"{row.site or 'n/a'}{', ' + m.name if len(result.methods) > 1 else ''}: median {number(row.median, one.digits)}"
            for m in result.methods
            for row in m.by_site
            if (row.group, row.kind, row.metric) == (WITH, kind, one.metric)
        ]
        drawn = boxes(groups, one.axis, limits=one.limits, may_log=one.may_log)
        charts.append(
            Chart(f"{kind}_sites_{one.metric}", f"{one.title} by site", drawn, f"Box plot of {one.axis} by site. {'; '.join(findings)}.")
        )
    return charts


def rater_charts(result: EvaluateResult, kind: str) -> list[Chart]:
    """Box plots with a row per pair of raters, and of methods and raters: what experts reach is the line that methods are read against."""
    charts = []
    for one in (shown(metric) for metric in SITE_PLOTS):
        names = dict.fromkeys(rated.rater for rated in result.rater_results)
        colours = {name: i for i, name in enumerate(names)}
        groups = [
            Group(
                f"{shorten(rated.rater, 11)} vs {shorten(rated.against, 11)}",
                _values(_with_lesions(rated.scores, kind), one.metric),
                colour,
            )
            for rated in result.rater_results
            for colour in (colours[rated.rater],)
        ]
        findings = [
            f"{row.rater} against {row.against}: median {number(row.median, one.digits)}"
            for row in result.raters
            if (row.group, row.kind, row.metric) == (WITH, kind, one.metric)
        ]
        alt = f"Box plot of {one.axis} for raters. {'; '.join(findings)}."
        charts.append(Chart(f"{kind}_raters_{one.metric}", one.title, boxes(groups, one.axis, limits=one.limits), alt))
    return charts


def size_charts(result: EvaluateResult, kind: str) -> list[Chart]:
    """Detection and false lesions by lesion volume."""
    sizes = sorted({(row.low_mm3, row.size) for m in result.methods for row in m.by_size if row.kind == kind})
    names = [size for _, size in sizes]
    return [
        _size_chart(result, kind, names, "detection", "Detection by size", "Detected share of reference lesions", _found),
        _size_chart(result, kind, names, "false", "False lesions by size", "False share of predicted lesions", _false),
    ]


def _size_chart(
    result: EvaluateResult, kind: str, sizes: Sequence[str], name: str, title: str, axis: str, share: Callable[[SizeRow], Share]
) -> Chart:
    """A size that a method has no row for has no lesion of it."""
    series = []
    for i, method in enumerate(result.methods):
        rows = {row.size: share(row) for row in method.by_size if row.kind == kind}
        series.append(Series(method.name, [rows.get(size, Share(0, 0, math.nan, math.nan)) for size in sizes], i))
    drawn = rates([size_name(size) for size in sizes], series, axis)
    caption = "Bars: 95 % Wilson interval, which takes lesions as independent; right: lesions."
    return Chart(f"{kind}_size_{name}", title, drawn, _size_alt(axis, sizes, series), caption)


def froc_charts(result: EvaluateResult, kind: str) -> list[Chart]:
    """Sensitivity over false lesions per case, for candidates ranked by their largest probability, then by their mean."""
    charts = []
    for score in dict.fromkeys(row.score for m in result.methods for row in m.froc if row.kind == kind):
        lines, findings = [], []
        for i, method in enumerate(result.methods):
            rows = sorted((r for r in method.froc if (r.kind, r.score) == (kind, score)), key=lambda r: (r.false_per_case, r.sensitivity))
            if rows:
                lines.append(Line(method.name, [r.false_per_case for r in rows], [r.sensitivity for r in rows], colour=i))
                findings.append(f"{_prefix(result, method)}mean sensitivity {number(rows[0].camelyon, 3)}")
        drawn = curves([Panel(lines, "Lesion sensitivity", (0.0, 1.02))], "False lesions per case", log_x=True)
        caption = f"Candidates are ranked by the {score} probability inside them."
        alt = f"FROC curve. {'; '.join(findings)} at 0.25 to 8 false lesions per case."
        charts.append(Chart(f"{kind}_froc_{score}", f"FROC, {score} probability", drawn, alt, caption))
    return charts


def threshold_charts(result: EvaluateResult, kind: str) -> list[Chart]:
    """Dice and lesion F1 over the threshold: one plot for one method, a panel per score for several."""
    of = {m.name: [r for r in m.thresholds if r.kind == kind] for m in result.methods}
    if not any(of.values()):
        return []
    names = {"dice": "Dice", "lesion_f1": "Lesion F1"}
    lines = {
        metric: [
            Line(title if len(result.methods) == 1 else name, [r.threshold for r in rows], [getattr(r, metric) for r in rows])
            for name, rows in of.items()
        ]
        for metric, title in names.items()
    }
    if len(result.methods) == 1:
        panels = [Panel([*lines["dice"], *lines["lesion_f1"]], "Mean over cases", (0.0, 1.0))]
    else:
        panels = [Panel(lines[metric], f"Mean {title}", (0.0, 1.0)) for metric, title in names.items()]
    alt = "Mean Dice and lesion F1 against the threshold. " + "; ".join(
        f"{_prefix(result, m)}{title} largest at {best}" for m in result.methods for metric, title in names.items()
        for best in _best(of[m.name], metric)
    )  # fmt: skip
    return [
        Chart(f"{kind}_thresholds", "Scores by threshold", curves(panels, "Threshold on the probability", x_limits=(0.0, 1.0)), f"{alt}.")
    ]


def scores_with(method: MethodResult, kind: str) -> list[CaseScores]:
    """Cases of this kind whose reference has a lesion."""
    return _with_lesions(method.scores, kind)


def _with_lesions(scores: Sequence[CaseScores], kind: str) -> list[CaseScores]:
    return [s for s in scores if s.kind == kind and "empty_reference" not in s.flags.split(",")]


def _with_site(method: MethodResult, kind: str) -> Iterator[tuple[CaseScores, str]]:
    kept = {id(s) for s in scores_with(method, kind)}
    return ((s, c.site or "n/a") for c, s in zip(method.cases, method.scores, strict=True) if id(s) in kept)


def _values(scores: Sequence[CaseScores], metric: str) -> list[float]:
    return [float(getattr(s, metric)) for s in scores]


def _prefix(result: EvaluateResult, method: MethodResult) -> str:
    return f"{method.name}: " if len(result.methods) > 1 else ""


def _found(row: SizeRow) -> Share:
    return Share(row.n_detected, row.n_reference, row.detection_wilson_low, row.detection_wilson_high)


def _false(row: SizeRow) -> Share:
    return Share(row.n_false, row.n_predicted, row.false_wilson_low, row.false_wilson_high)


def _size_alt(what: str, sizes: Sequence[str], series: Sequence[Series]) -> str:
    parts = []
    for one in series:
        shares = ", ".join(f"{size_name(size)} {share.k} of {share.n}" for size, share in zip(sizes, one.shares, strict=True))
        parts.append(f"{one.label}: {shares}" if len(series) > 1 else shares)
    return f"{what} by lesion volume. {'; '.join(parts)}."


def _best(rows: Sequence[object], metric: str) -> Iterator[str]:
    """The threshold with the largest mean, where there is one."""
    defined = [row for row in rows if math.isfinite(getattr(row, metric))]
    if defined:
        best = max(defined, key=lambda row: getattr(row, metric))
        yield f"{best.threshold:g} ({getattr(best, metric):.3f})"  # type: ignore[attr-defined]
