"""Distributions as rows of points: box plots per method or site, and paired differences. One row per group, names at the left.

Rows, not columns: many groups and long names still fit the width of a phone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bids_app.plots.canvas import (
    INK,
    MANY_POINTS,
    PAPER,
    SOFT,
    Absent,
    colour_of,
    finite,
    house_style,
    log_axis,
    marker_of,
    new_figure,
    shorten,
    whole_ticks,
    wide_range,
)

BOX_FROM = 5  # values; fewer are shown as points alone
GOLDEN = 0.6180339887498949
JITTER = 0.62  # height of a row that points may fill


@dataclass(frozen=True, slots=True)
class Group:
    """One row: a name and a value per case; NaN is left out and counted."""

    label: str
    values: Sequence[float]
    colour: int = 0  # place in the palette


@dataclass(frozen=True, slots=True)
class Difference:
    """One row of a paired comparison: a difference per patient, and its median with a confidence interval."""

    label: str
    values: Sequence[float]
    median: float
    low: float
    high: float
    colour: int = 0


def boxes(groups: Sequence[Group], label: str, *, limits: tuple[float, float] | None = None, may_log: bool = False) -> Figure | Absent:
    """Draw box plots with a point per case: box 25th to 75th percentile, line at the median, whiskers to 1.5 box lengths at most.

    Args:
        groups: rows from top to bottom.
        label: of the x axis, with its unit.
        limits: of the x axis; None: what the values need.
        may_log: a logarithmic axis where the values span more than a factor of 50 and none is negative.
    """
    kept = [finite(g.values) for g in groups]
    if not any(kept):
        n = sum(len(g.values) for g in groups)
        return Absent(f"No case has a defined value of {label}." if n else "There is no case to plot.")
    with house_style():
        figure, (axes,) = new_figure(_height_in(len(groups)))
        everything = [v for values in kept for v in values]
        if may_log and wide_range(everything) and min(everything) >= 0:
            log_axis(axes, "x", everything)
        elif limits:
            pad = 0.025 * (limits[1] - limits[0])
            axes.set_xlim(limits[0] - pad, limits[1] + pad)
        else:
            whole_ticks(axes, "x", everything)
            pad = 0.04 * (max(everything) - min(everything)) or 1.0
            axes.set_xlim(min(everything) - pad, max(everything) + pad)
        for row, (group, values) in enumerate(zip(groups, kept, strict=True)):
            _draw_box(axes, row, values, group.colour)
            _draw_points(axes, row, values, group.colour)
        _name_rows(axes, [_counted(g.label, len(g.values), len(v)) for g, v in zip(groups, kept, strict=True)])
        axes.set_xlabel(label)
    return figure


def differences(rows: Sequence[Difference], label: str) -> Figure | Absent:
    """Draw paired differences, a point per patient, with the median (diamond) and its interval (bar) below the points.

    Args:
        rows: from top to bottom, for instance 'A minus B'.
        label: of the x axis, with its unit.
    """
    kept = [finite(r.values) for r in rows]
    if not any(kept):
        return Absent("No patient has a value from both methods.")
    with house_style():
        figure, (axes,) = new_figure(_height_in(len(rows)))
        axes.axvline(0.0, color=INK, linewidth=0.9)
        for row, (difference, values) in enumerate(zip(rows, kept, strict=True)):
            _draw_points(axes, row - 0.12, values, difference.colour)
            if np.isfinite([difference.low, difference.high]).all():
                axes.plot([difference.low, difference.high], [row + 0.36] * 2, color=INK, linewidth=1.6, solid_capstyle="butt")
            axes.plot([difference.median], [row + 0.36], "D", color=INK, markersize=4, markeredgecolor=PAPER, markeredgewidth=0.6)
        edge = 1.06 * max(abs(v) for values in kept for v in values) or 1.0
        axes.set_xlim(-edge, edge)
        _name_rows(axes, [_counted(r.label, len(r.values), len(v)) for r, v in zip(rows, kept, strict=True)])
        axes.set_xlabel(label)
    return figure


def _height_in(n_rows: int) -> float:
    return 0.62 + 0.46 * n_rows


def _draw_box(axes: Axes, row: int, values: Sequence[float], colour: int) -> None:
    if len(values) < BOX_FROM:
        return
    axes.boxplot(
        [values],
        positions=[row],
        orientation="horizontal",
        widths=0.66,
        showfliers=False,
        manage_ticks=False,
        patch_artist=True,
        boxprops={"facecolor": colour_of(colour) + "33", "edgecolor": colour_of(colour), "linewidth": 0.9},
        medianprops={"color": INK, "linewidth": 1.5},
        whiskerprops={"color": colour_of(colour), "linewidth": 0.9},
        capprops={"color": colour_of(colour), "linewidth": 0.9},
    )


def _draw_points(axes: Axes, row: float, values: Sequence[float], colour: int) -> None:
    """A point per value, spread over the height of the row by a fixed sequence, so that equal values show as many."""
    many = len(values) > MANY_POINTS
    heights = row + ((np.arange(len(values)) + 1) * GOLDEN % 1.0 - 0.5) * JITTER
    axes.scatter(
        sorted(values),
        heights,
        s=3 if many else 11,
        marker=marker_of(colour),
        color=colour_of(colour),
        alpha=0.35 if many else 0.7,
        linewidths=0,
        rasterized=many,
        zorder=3,
        clip_on=False,
    )


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.42, -0.58)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="x", color=SOFT)


def _counted(label: str, n: int, n_kept: int) -> str:
    """The name, and below it how many values there are and how many are undefined."""
    lost = f", {n - n_kept} n/a" if n_kept < n else ""
    return f"{shorten(label, 24)}\nn = {n_kept}{lost}"
