"""Rows of losses.tsv and validation_means.tsv to the curves of the training's page. Reads no file, chooses nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from bids_app.evaluation_page import PlotBlock
from bids_app.plots.canvas import Absent, Plot, encode
from bids_app.plots.lines import Line, Mark, Panel, curves
from bids_app.report import format_cell

Columns = Mapping[str, np.ndarray]  # name of a column to its numbers, (rows,)
MOST_POINTS = 400  # of a line: more cannot be told apart at its width
SMOOTHED_SHARE = 0.05  # of the iterations that a smoothed point is the mean of
X_LABEL = "Iteration"
GROUPS = (
    ("loss_total", "Loss", (("total", "Total"), ("cross_entropy", "Cross-entropy"))),
    (
        "loss_dice",
        "Dice loss of the heads",
        (("dice_all_baseline", "All, baseline"), ("dice_all_followup", "All, follow-up"), ("dice_new", "New")),
    ),
    (
        "loss_relation",
        "Relation loss",
        (("relation_agreement", "Agreement"), ("relation_absent", "Absent before"), ("relation_present", "Present after")),
    ),
    ("speed", "Learning rate and speed", (("learning_rate", "Learning rate"), ("seconds", "Seconds"))),
)
MEANS = (("dice", "Mean Dice"), ("lesion_f1", "Mean lesion F1"), ("false_lesions", "False lesions"))


def loss_plots(losses: Columns, relation_start: int | None) -> PlotBlock:
    """Every column of losses.tsv. `relation_start`: iteration that is marked; None: the relation loss never counts."""
    figures = [_loss_plot(losses, name, title, columns, relation_start) for name, title, columns in GROUPS]
    return _block(figures)


def _loss_plot(
    losses: Columns, name: str, title: str, columns: Sequence[tuple[str, str]], relation_start: int | None
) -> tuple[str, Plot | Absent]:
    marked = relation_start is not None and name in {"loss_total", "loss_relation"} and 0 < relation_start <= len(losses["iteration"])
    starts = (float(relation_start or 0),) if marked else ()
    panels = [_panel(losses, column, label, starts) for column, label in columns]
    findings = "; ".join(f"{label}: {_course(losses[column])}" for column, label in columns)
    caption = "Grey: each iteration; coloured: running mean." + (" Dashed: the relation loss begins to count." if marked else "")
    return title, _encoded(curves(panels, X_LABEL), name, title, f"Curves against the iteration. {findings}.", caption)


def _panel(losses: Columns, column: str, label: str, starts: Sequence[float]) -> Panel:
    x, y = losses["iteration"], losses[column]
    raw = Line(label, *thinned(x, y), faint=True)
    if column == "learning_rate":
        return Panel([Line(label, *thinned(x, y), colour=0)], label)
    return Panel([raw, Line(label, *every(x, smoothed(y)), colour=0)], label, starts=starts)


def smoothed(values: np.ndarray) -> np.ndarray:
    """The mean of the finite values around each place; NaN where there is none. (n,) to (n,)."""
    half = max(round(len(values) * SMOOTHED_SHARE / 2), 1)
    known = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    places = np.arange(len(values))
    low, high = np.maximum(places - half, 0), np.minimum(places + half + 1, len(values))
    n = counts[high] - counts[low]
    return np.where(n > 0, (sums[high] - sums[low]) / np.maximum(n, 1), np.nan)


def every(x: np.ndarray, y: np.ndarray) -> tuple[list[float], list[float]]:
    """At most MOST_POINTS places, evenly spread, the ends among them."""
    kept = np.unique(np.linspace(0, max(len(x) - 1, 0), min(len(x), MOST_POINTS)).round().astype(int))
    return x[kept].tolist(), y[kept].tolist()


def thinned(x: np.ndarray, y: np.ndarray) -> tuple[list[float], list[float]]:
    """The smallest and the largest of each stretch, in their order, so that no spike is lost; what is not finite is a gap."""
    y = np.where(np.isfinite(y), y, np.nan)
    if len(x) <= MOST_POINTS:
        return x.tolist(), y.tolist()
    kept: list[int] = []
    for part in np.array_split(np.arange(len(x)), MOST_POINTS // 2):
        known = part[np.isfinite(y[part])]
        kept += sorted({int(known[np.argmin(y[known])]), int(known[np.argmax(y[known])])}) if len(known) else [int(part[0])]
    return x[kept].tolist(), y[kept].tolist()


def _course(values: np.ndarray) -> str:
    """First to last, for readers who do not see the curve."""
    known = values[np.isfinite(values)]
    if not len(known):
        return "never finite"
    return f"first {known[0]:.3g}, last {known[-1]:.3g}, smallest {known.min():.3g}"


def validation_plots(means: Sequence[Mapping[str, float | int | str]], chosen: int) -> PlotBlock:
    """Mean Dice, lesion F1 and false lesions per kind against the iteration; the chosen one is marked."""
    kinds = sorted({str(row["kind"]) for row in means})
    panels, findings = [], []
    for column, label in MEANS:
        lines, marks = [], []
        for place, kind in enumerate(kinds):
            rows = [row for row in means if row["kind"] == kind]
            lines.append(Line(f"{kind} lesions", [float(r["iteration"]) for r in rows], [float(r[column]) for r in rows], colour=place))
            best = [float(r[column]) for r in rows if r["iteration"] == chosen and math.isfinite(float(r[column]))]
            marks += [Mark(float(chosen), y) for y in best]
            findings += [f"{label}, {kind} lesions: {format_cell(y, 3)} at the chosen iteration" for y in best]
        panels.append(Panel(lines, label, (None, None) if column == "false_lesions" else (0.0, 1.02), marks=marks, starts=(float(chosen),)))
    alt = f"Means over the validation cases against the iteration. {'; '.join(findings)}."
    caption = f"Dashed line and black dots: iteration {format_cell(chosen)}, which was chosen. False lesions: mean per case."
    title = "Validation"
    return _block([(title, _encoded(curves(panels, X_LABEL), "validation", title, alt, caption))])


def _encoded(drawn: Figure | Absent, name: str, title: str, alt: str, caption: str) -> Plot | Absent:
    return drawn if isinstance(drawn, Absent) else encode(drawn, name, title, alt, caption)


def _block(made: Sequence[tuple[str, Plot | Absent]]) -> PlotBlock:
    plots = tuple(one for _, one in made if not isinstance(one, Absent))
    return PlotBlock(plots, tuple(f"{title}: {one.reason}" for title, one in made if isinstance(one, Absent)))
