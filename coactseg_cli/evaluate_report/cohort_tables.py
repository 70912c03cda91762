"""Rows on how quantities agree, on challenges and on operating points, to tables of the page; and the cases without a score."""

from __future__ import annotations

from bids_app.report import Table
from coactseg_cli.evaluate_report.cells import estimate, interval, number, significant
from coactseg_cli.evaluate_report.names import kind_title
from coactseg_cli.evaluate_report.tables import Rows, figures, with_method, words
from coactseg_cli.metrics.results import REFERENCE, EvaluateResult

QUANTITIES = {"volume_mm3": "Volume (mm³)", "log_volume": "ln volume", "lesions": "Lesions"}


def agreement_table(result: EvaluateResult, kind: str) -> Table:
    """Bland-Altman, correlation and ICC of volume and number."""
    rows: Rows = tuple(
        (
            title,
            *_named(result, method.name),
            row.n,
            estimate(row.bias, row.bias_ci95_low, row.bias_ci95_high, d),
            interval(row.loa_low, row.loa_high, d),
            number(row.percent_bias, 1),
            interval(row.percent_loa_low, row.percent_loa_high, 1),
            number(row.pearson, 3),
            number(row.spearman, 3),
            estimate(row.icc_a1, row.icc_a1_ci95_low, row.icc_a1_ci95_high, 3),
        )
        for quantity, title in QUANTITIES.items()
        for method in result.methods
        for row in method.agreement
        if (row.kind, row.quantity) == (kind, quantity)
        for d in (digits_of(quantity),)
    )
    headings = (
        words("Quantity", "volume of the whole mask; lesions above the size limit"),
        figures("n", "cases; for ln volume those where both volumes are above 0"),
        figures("Bias [95 % CI]", "mean of predicted minus reference, t interval"),
        figures("Limits of agreement", "bias ± 1.96 SD"),
        figures("Bias", "of the difference in percent of the mean of both", "%"),
        figures("Limits", unit="%"),
        figures("Pearson"),
        figures("Spearman"),
        figures("ICC(A,1) [95 % CI]", "two-way, absolute agreement, single measure"),
    )
    return with_method(result, f"{kind_title(kind)}: agreement with the reference", headings, rows)


def digits_of(quantity: str) -> int:
    """Digits behind the point of a quantity's differences."""
    return {"volume_mm3": 1, "log_volume": 3}.get(quantity, 2)


def isbi_table(result: EvaluateResult) -> Table:
    """The raw ISBI 2015 score and its terms, of methods, then of raters."""
    scored = [(method.name, row) for method in result.methods for row in method.isbi]
    shown = {(method.name, REFERENCE) for method in result.methods}
    scored += [(f"{row.rater} against {row.against}", row) for row in result.isbi_raters if (row.rater, row.against) not in shown]
    rows: Rows = tuple(
        (
            name,
            kind_title(row.kind),
            row.connectivity,
            row.n,
            row.n_missed,
            *(number(value, 3) for value in (row.dice, row.ppv, row.ltpr, row.lfpr, row.correlation, row.score)),
        )
        for name, row in scored
    )
    headings = (
        words("Masks"),
        words("Lesions"),
        figures("Neighbours", "that join voxels to a lesion: 18 in the challenge, 26 in the usual programs"),
        figures("n", "cases whose reference has a voxel"),
        figures("Missed", "of them without any prediction: 0 in Dice, PPV and LTPR, 1 in LFPR"),
        figures("Dice"),
        figures("PPV"),
        figures("LTPR", "reference lesions that are touched"),
        figures("LFPR", "predicted lesions that touch no reference lesion"),
        figures("Correlation", "Pearson's, of the volumes"),
        figures("Score", "Dice/8 + PPV/8 + (1 - LFPR)/4 + LTPR/4 + correlation/4, not rescaled by raters"),
    )
    return Table("ISBI 2015 raw score", headings, rows)


def froc_table(result: EvaluateResult, kind: str) -> Table:
    """The mean sensitivity of each FROC curve."""
    rows: Rows = tuple(
        dict.fromkeys(
            (f"{row.score} probability", *_named(result, method.name), number(row.camelyon, 3), row.n_reference, row.n_cases)
            for score in ("max", "mean")
            for method in result.methods
            for row in method.froc
            if (row.kind, row.score) == (kind, score)
        )
    )
    headings = (
        words("Score of a candidate"),
        figures("Mean sensitivity", "at 0.25, 0.5, 1, 2, 4 and 8 false lesions per case, as in CAMELYON16"),
        figures("Reference lesions"),
        figures("Cases"),
    )
    return with_method(result, f"{kind_title(kind)}: FROC", headings, rows)


def threshold_table(result: EvaluateResult, kind: str) -> Table:
    """Mean scores at each threshold."""
    rows: Rows = tuple(
        (
            significant(row.threshold),
            *_named(result, method.name),
            row.n_cases,
            *(number(value, 3) for value in (row.dice, row.lesion_f1, row.lesion_sensitivity, row.lesion_ppv)),
            number(row.false_lesions, 2),
        )
        for method in result.methods
        for row in method.thresholds
        if row.kind == kind
    )
    headings = (
        figures("Threshold"),
        figures("n", "cases with a probability map and a reference lesion"),
        figures("Dice"),
        figures("Lesion F1"),
        figures("Lesion sensitivity"),
        figures("Lesion PPV"),
        figures("False lesions", "per case, over all cases with a probability map"),
    )
    return with_method(result, f"{kind_title(kind)}: mean scores by threshold", headings, rows)


def not_scored_table(result: EvaluateResult) -> Table:
    """Cases without a score, and why."""
    lists = [(method.name, method.not_scored) for method in result.methods]
    lists += [(f"{rated.rater} against {rated.against}", rated.listed) for rated in result.rater_results]
    rows: Rows = tuple((row.case, name, row.kind, row.status, row.reason) for name, listed in lists for row in listed)
    return Table("Cases without a score", tuple(map(words, ("Case", "Of", "Kind", "Status", "Reason"))), rows)


def _named(result: EvaluateResult, name: str) -> tuple[str, ...]:
    return (name,) if len(result.methods) > 1 else ()
