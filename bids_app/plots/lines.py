"""Curves: several named lines over one x axis, with bands, marked points and panels below each other (FROC, thresholds, training)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from bids_app.plots.canvas import (
    INK,
    PAPER,
    SOFT,
    Absent,
    colour_of,
    dash_of,
    finite,
    house_style,
    legend_above,
    log_axis,
    marker_of,
    new_figure,
    plain_number,
    shorten,
)

MARKED_UP_TO = 12  # points of a line; longer lines are drawn without markers
Range = tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class Line:
    """A named line; NaN in y leaves a gap."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None  # lower and upper edge of a band around the line
    high: Sequence[float] | None = None
    colour: int | None = None  # place in the palette; None: its place among the lines
    stepped: bool = False  # each y holds from its x to the next
    faint: bool = False  # thin and grey, below the others, without a name: what another line smooths


@dataclass(frozen=True, slots=True)
class Mark:
    """A point of interest, for instance the best epoch, with a word beside it."""

    x: float
    y: float
    label: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """Lines that share a y axis."""

    lines: Sequence[Line]
    y_label: str
    y_limits: Range = (None, None)
    log: bool = False  # where all values are above 0
    marks: Sequence[Mark] = ()
    starts: Sequence[float] = ()  # x at which something begins: upright dashed lines


def curves(panels: Sequence[Panel], x_label: str, *, x_limits: Range = (None, None), log_x: bool = False) -> Figure | Absent:
    """Draw one panel or several below each other, which share the x axis.

    Args:
        panels: from top to bottom.
        x_label: with its unit.
        x_limits: None: what the lines need.
        log_x: a logarithmic x axis; zero keeps a place of its own.

    Raises: ValueError where x and y of a line differ in length.
    """
    for line in (line for panel in panels for line in panel.lines):
        if len(line.x) != len(line.y):
            msg = f"{line.label}: expected as many y as x; got {len(line.y)} and {len(line.x)}"
            raise ValueError(msg)
    shown = [p for p in panels if any(_points(line) for line in p.lines)]
    if not shown:
        return Absent("There is no point to draw.")
    with house_style():
        figure, all_axes = new_figure(0.5 + 2.1 * len(shown), rows=len(shown))
        for panel, axes in zip(shown, all_axes, strict=True):
            _draw_panel(axes, panel)
            axes.set_ylabel(panel.y_label)
        xs = finite([x for p in shown for line in p.lines for x in line.x])
        if log_x and any(x > 0 for x in xs):
            log_axis(all_axes[-1], "x", xs)
        if x_limits != (None, None):
            all_axes[-1].set_xlim(*x_limits)
        all_axes[-1].set_xlabel(x_label)
        if len(shown) == 1:
            legend_above(figure, all_axes[0])
        else:
            for axes in all_axes:
                _legend_inside(axes)
    return figure


def _points(line: Line) -> list[tuple[float, float]]:
    return [(x, y) for x, y in zip(line.x, line.y, strict=True) if math.isfinite(x) and math.isfinite(y)]


def _draw_panel(axes: Axes, panel: Panel) -> None:
    for place, line in enumerate(panel.lines):
        if _points(line):
            _draw_line(axes, line, place if line.colour is None else line.colour)
    for mark in panel.marks:
        axes.plot([mark.x], [mark.y], "o", color=INK, markersize=4.5, markeredgecolor=PAPER, markeredgewidth=0.7, zorder=4)
        if mark.label:
            axes.annotate(mark.label, (mark.x, mark.y), xytext=(5, 4), textcoords="offset points", fontsize=7, color=INK)
    for x in panel.starts:
        axes.axvline(x, color=INK, linewidth=0.8, linestyle=(0, (3, 2)), zorder=1)
    values = finite([y for line in panel.lines for y in line.y])
    if panel.log and values and min(values) > 0:
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: plain_number(value)))
    if panel.y_limits != (None, None):
        axes.set_ylim(*panel.y_limits)
    axes.tick_params(color=SOFT)


def _draw_line(axes: Axes, line: Line, colour: int) -> None:
    if line.faint:
        axes.plot(line.x, line.y, color=SOFT, alpha=0.45, linewidth=0.6, zorder=1, label="_raw")
        return
    few = len(_points(line)) <= MARKED_UP_TO
    style = {"color": colour_of(colour), "linestyle": dash_of(colour), "linewidth": 1.5, "label": shorten(line.label)}
    axes.plot(
        line.x,
        line.y,
        marker=marker_of(colour) if few else "",
        markersize=3.5,
        drawstyle="steps-post" if line.stepped else "default",
        **style,
    )
    if line.low is not None and line.high is not None:
        band: dict[str, Any] = {"color": colour_of(colour), "alpha": 0.16, "linewidth": 0, "step": "post" if line.stepped else None}
        axes.fill_between(np.asarray(line.x), np.asarray(line.low), np.asarray(line.high), **band)


def _legend_inside(axes: Axes) -> None:
    if len(axes.get_legend_handles_labels()[0]) > 1:
        axes.legend(loc="best", handlelength=2.2, frameon=True, framealpha=0.85, edgecolor="none", facecolor=PAPER)
