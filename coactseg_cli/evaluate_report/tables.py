"""Rows of an evaluation to tables of the page. Nothing is computed: each number is a cell of a TSV file, rounded for reading."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from bids_app.report import Cell, Heading, Table
from coactseg_cli.evaluate_report.cells import estimate, interval, number, quartiles, share, significant
from coactseg_cli.evaluate_report.names import BY_SITE, WITHOUT_REFERENCE, Shown, case_metrics, kind_title, main_metrics, shown
from coactseg_cli.metrics.results import EvaluateResult, MethodResult
from coactseg_cli.metrics.rows import ActivityRow, SummaryRow

Rows = tuple[tuple[Cell, ...], ...]
WITH, WITHOUT = "with_reference_lesions", "without_reference_lesions"
GROUPS = {WITH: "cases with reference lesions", WITHOUT: "cases without reference lesions"}
MEASURES = {
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "Positive predictive value",
    "npv": "Negative predictive value",
    "no_false_lesion": "Lesion-free cases kept free",
}
METHOD = "Method"
EN_DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"


def words(title: str, description: str = "") -> Heading:
    """Head a column of words."""
    return Heading(title, description=description, words=True)


def figures(title: str, description: str = "", unit: str = "") -> Heading:
    """Head a column of numbers, which are rounded already."""
    return Heading(title, unit, description=description, words=False)


SPREAD = (
    figures("Mean ± SD", "over cases, SD with ddof 1"),
    figures("95 % CI", "percentile bootstrap of the mean, patients resampled"),
    figures("Median [Q1, Q3]"),
    figures("n", "cases with a defined value"),
    figures("n/a", "cases whose value is undefined; they are in no mean"),
)


def main_table(result: EvaluateResult, kind: str, convention: str) -> Table:
    """Scores over the cases with reference lesions: a row per score and method."""
    rows = tuple(
        (one.axis, *_named(result, method), *_spread(row, one), number(row.pooled, one.digits))
        for one in main_metrics(convention)
        for method in result.methods
        for row in _of(method.summary, WITH, kind, one.metric)
    )
    pooled = figures("Pooled", "over the lesions of all cases together (micro)")
    return with_method(result, f"{kind_title(kind)}: {GROUPS[WITH]}", (words("Score"), *SPREAD, pooled), rows)


def overview_table(result: EvaluateResult) -> Table:
    """Dice, lesion F1 and clean cases of each kind and method."""
    kinds = tuple(dict.fromkeys(row.kind for m in result.methods for row in m.summary))
    rows: Rows = tuple(
        (
            method.name,
            *((kind_title(kind),) if len(kinds) > 1 else ()),
            *(_mean_of(method, kind, metric) for metric in ("dice", "lesion_f1")),
            *(f"{row.k} of {row.n}" for row in activity_of(method, kind, "no_false_lesion")),
        )
        for kind in kinds
        for method in result.methods
    )
    headings = (
        words(METHOD),
        *((words("Kind"),) if len(kinds) > 1 else ()),
        figures("Mean Dice [95 % CI]", "cases with reference lesions; percentile bootstrap, patients resampled"),
        figures("Mean lesion F1 [95 % CI]"),
        figures("Free of lesions", "cases without reference lesion that stay free of lesions"),
    )
    return Table("Main results", headings, rows)


def _mean_of(method: MethodResult, kind: str, metric: str) -> str:
    rows = _of(method.summary, WITH, kind, metric)
    return next((estimate(row.mean, row.ci95_low, row.ci95_high, shown(metric).digits) for row in rows), number(math.nan, 3))


def without_table(result: EvaluateResult, kind: str) -> Table:
    """False lesions where the reference is empty: a row per score and method."""
    rows = tuple(
        (one.axis, *_named(result, method), *_spread(row, one), number(row.total, 0 if float(row.total).is_integer() else 1))
        for one in (shown(metric) for metric in WITHOUT_REFERENCE)
        for method in result.methods
        for row in _of(method.summary, WITHOUT, kind, one.metric)
    )
    return with_method(result, f"{kind_title(kind)}: {GROUPS[WITHOUT]}", (words("Score"), *SPREAD, figures("Total")), rows)


def activity_table(result: EvaluateResult, kind: str) -> Table:
    """Whether a patient has any lesion: proportions with Wilson intervals."""
    rows = tuple(
        (title, *_named(result, method), f"{row.k} of {row.n}", number(row.value, 3), interval(row.ci95_low, row.ci95_high, 3))
        for measure, title in MEASURES.items()
        for method in result.methods
        for row in activity_of(method, kind, measure)
    )
    headings = (words("Measure"), figures("Count"), figures("Share"), figures("95 % CI", "Wilson"))
    return with_method(result, f"{kind_title(kind)}: does a patient have at least one lesion?", headings, rows)


def confusion_table(method: MethodResult, kind: str, *, named: bool) -> Table | None:
    """Patients by reference and prediction; None where the counts are not there."""
    cells = [next(activity_of(method, kind, m), None) for m in ("true_positive", "false_negative", "false_positive", "true_negative")]
    if any(cell is None for cell in cells):
        return None
    tp, fn, fp, tn = (cell.k for cell in cells if cell is not None)
    headings = (words("Patients"), figures("Predicted: lesion"), figures("Predicted: none"))
    of = f", {method.name}" if named else ""
    return Table(f"{kind_title(kind)}: confusion table{of}", headings, (("Reference: lesion", tp, fn), ("Reference: none", fp, tn)))


def activity_of(method: MethodResult, kind: str, measure: str) -> Iterator[ActivityRow]:
    """Rows of activity.tsv with this kind and measure: one or none."""
    return (row for row in method.activity if row.kind == kind and row.measure == measure)


def size_table(result: EvaluateResult, kind: str) -> Table:
    """Detection and false lesions by lesion volume."""
    rows: Rows = tuple(
        (
            size_name(row.size),
            *_named(result, method),
            f"{row.n_detected} of {row.n_reference}",
            share(row.detection_rate, row.detection_ci95_low, row.detection_ci95_high),
            interval(row.detection_wilson_low, row.detection_wilson_high, 3),
            row.n_patients,
            f"{row.n_false} of {row.n_predicted}",
            share(row.false_rate, row.false_ci95_low, row.false_ci95_high),
            interval(row.false_wilson_low, row.false_wilson_high, 3),
        )
        for _, size in sorted({(row.low_mm3, row.size) for m in result.methods for row in m.by_size})
        for method in result.methods
        for row in method.by_size
        if row.kind == kind and row.size == size
    )
    headings = (
        words("Size", "volume of the lesion itself; the lower end is excluded"),
        figures("Detected", "reference lesions of this size that were found"),
        figures("Rate [95 % CI]", "percentile bootstrap, patients resampled"),
        figures("Wilson", "takes lesions as independent"),
        figures("Patients", "with a reference lesion of this size"),
        figures("False", "predicted lesions of this size that the reference does not confirm"),
        figures("Rate [95 % CI]"),
        figures("Wilson"),
    )
    return with_method(result, f"{kind_title(kind)}: by lesion size", headings, rows)


def size_name(size: str) -> str:
    """A range of volumes for readers, with an en dash."""
    return f"{size.replace('-', EN_DASH)} mm³"


def site_table(result: EvaluateResult, kind: str) -> Table:
    """The main scores at each site."""
    rows = tuple(
        (row.site or "n/a", *_named(result, method), one.axis, *_spread(row, one))
        for site in dict.fromkeys(row.site for m in result.methods for row in m.by_site)
        for one in (shown(metric) for metric in BY_SITE)
        for method in result.methods
        for row in method.by_site
        if (row.site, row.group, row.kind, row.metric) == (site, WITH, kind, one.metric)
    )
    return with_method(result, f"{kind_title(kind)}: by site, {GROUPS[WITH]}", (words("Site"), words("Score"), *SPREAD), rows)


def rater_table(result: EvaluateResult, kind: str, convention: str) -> Table:
    """Raters and methods against the reference and each other."""
    rows = tuple(
        (f"{row.rater} against {row.against}", one.axis, *_spread(row, one))
        for one in main_metrics(convention)
        for row in result.raters
        if (row.group, row.kind, row.metric) == (WITH, kind, one.metric)
    )
    return Table(f"{kind_title(kind)}: raters, {GROUPS[WITH]}", (words("Pair"), words("Score"), *SPREAD), rows)


def comparison_table(result: EvaluateResult, kind: str, group: str) -> Table:
    """Paired tests between methods."""
    rows: Rows = tuple(
        (
            shown(row.metric).axis,
            f"{row.method_b} {MINUS} {row.method_a}",
            row.n,
            row.n_zero,
            number(row.median_a, d),
            number(row.median_b, d),
            estimate(row.median_difference, row.ci95_low, row.ci95_high, d),
            significant(row.p),
            significant(row.p_holm),
            number(row.rank_biserial, 3),
        )
        for row in result.comparison
        if (row.kind, row.group) == (kind, group)
        for d in (shown(row.metric).digits,)
    )
    headings = (
        words("Score"),
        words("Difference"),
        figures("n", "patients with a value of both methods"),
        figures("Equal", "patients whose values are equal"),
        figures("Median, first", "of the method after the minus sign"),
        figures("Median, second", "of the method before it"),
        figures("Median difference [95 % CI]", "percentile bootstrap, patients resampled"),
        figures("p", "two-sided"),
        figures("p Holm", "corrected over the scores and pairs of methods of this table"),
        figures("r", "rank-biserial correlation; positive: the method before the minus sign is larger"),
    )
    return Table(f"{kind_title(kind)}: methods compared, {GROUPS[group]}", headings, rows)


def with_method(result: EvaluateResult, caption: str, headings: Sequence[Heading], rows: Rows) -> Table:
    """Put the method's column second, where there are several methods."""
    method = (words(METHOD),) if len(result.methods) > 1 else ()
    return Table(caption, (headings[0], *method, *headings[1:]), rows)


def _named(result: EvaluateResult, method: MethodResult) -> tuple[str, ...]:
    return (method.name,) if len(result.methods) > 1 else ()


def _of(rows: Iterable[SummaryRow], group: str, kind: str, metric: str) -> Iterator[SummaryRow]:
    return (row for row in rows if (row.group, row.kind, row.metric) == (group, kind, metric))


def _spread(row: SummaryRow, one: Shown) -> tuple[Cell, ...]:
    d = one.digits
    return (
        f"{number(row.mean, d)} ± {number(row.sd, d)}",
        interval(row.ci95_low, row.ci95_high, d),
        quartiles(row.median, row.q25, row.q75, d),
        row.n,
        row.n_undefined,
    )


def case_table(result: EvaluateResult, kind: str, convention: str) -> Table:
    """A row per case and method."""
    metrics = case_metrics(convention)
    sites = any(case.site is not None for method in result.methods for case in method.cases)
    rows: Rows = tuple(
        (
            scores.case,
            *_named(result, method),
            *((case.site or "n/a",) if sites else ()),
            *(_case_cell(getattr(scores, one.metric), one.digits) for one in metrics),
            scores.flags.replace(",", ", ").replace("_", " ") or EN_DASH,
        )
        for method in result.methods
        for case, scores in zip(method.cases, method.scores, strict=True)
        if scores.kind == kind
    )
    headings = (
        words("Case"),
        *((words("Site"),) if sites else ()),
        *(figures(one.title, unit=one.unit) for one in metrics),
        words("Flags"),
    )
    return with_method(result, f"{kind_title(kind)}: each case", headings, rows)


def _case_cell(value: float, digits: int) -> Cell:
    return value if isinstance(value, int) else number(value, digits)
