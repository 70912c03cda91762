"""Two values per case: predicted over reference with the identity line, Bland-Altman, one quantity over another. Computes no statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from bids_app.plots.canvas import (
    INK,
    MANY_POINTS,
    SOFT,
    Absent,
    colour_of,
    house_style,
    legend_above,
    log_axis,
    marker_of,
    new_figure,
    plain_number,
    shorten,
    spaced,
    whole_ticks,
    wide_range,
)


@dataclass(frozen=True, slots=True)
class Cloud:
    """Points of one method: x and y, one each per case; a point with a NaN is left out."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    colour: int = 0

    def defined(self) -> np.ndarray:
        """Points without NaN and infinities: (n, 2)."""
        points = np.column_stack([np.asarray(self.x, float), np.asarray(self.y, float)]) if len(self.x) else np.zeros((0, 2))
        return np.asarray(points[np.isfinite(points).all(axis=1)])


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % confidence interval; NaN ends: none."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a Bland-Altman plot draws as lines."""

    bias: Estimate
    lower: Estimate
    upper: Estimate


def scatter(clouds: Sequence[Cloud], x_label: str, y_label: str) -> Figure | Absent:
    """Draw predicted (y) over reference (x) with the identity line; both axes logarithmic where the values span a factor of 50.

    Zeros keep a place of their own at the edge of a logarithmic axis.
    """
    points = [c.defined() for c in clouds]
    if not sum(len(p) for p in points):
        return Absent("No case has both values.")
    with house_style():
        figure, (axes,) = new_figure(3.3)
        values = np.concatenate(points).ravel()
        if wide_range(values.tolist()) and values.min() >= 0:
            log_axis(axes, "x", values.tolist())
            log_axis(axes, "y", values.tolist())
        else:
            low, high = min(0.0, float(values.min())), float(values.max()) or 1.0
            pad = 0.04 * (high - low)
            axes.set_xlim(low - pad, high + pad)
            axes.set_ylim(low - pad, high + pad)
            whole_ticks(axes, "x", values.tolist())
            whole_ticks(axes, "y", values.tolist())
        ends = axes.get_xlim()
        for cloud, kept in zip(clouds, points, strict=True):
            _draw_cloud(axes, cloud, kept)
        axes.plot(ends, ends, color=SOFT, linewidth=0.9, linestyle=(0, (4, 2)), label="identity", zorder=1)
        axes.set_xlim(ends)
        axes.set_ylim(ends)
        axes.set_aspect("equal", adjustable="box")
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        legend_above(figure, axes)
    return figure


def bland_altman(cloud: Cloud, agreement: Agreement, x_label: str, y_label: str) -> Figure | Absent:
    """Draw differences (y) over means (x), the bias (solid) and the limits of agreement (dashed), each with the band of its interval."""
    points = cloud.defined()
    if not len(points):
        return Absent("No case has both values.")
    with house_style():
        figure, (axes,) = new_figure(2.7)
        if wide_range(points[:, 0].tolist()) and points[:, 0].min() >= 0:
            log_axis(axes, "x", points[:, 0].tolist())
        axes.axhline(0.0, color=SOFT, linewidth=0.7)
        _draw_cloud(axes, cloud, points)
        lines = [line for line in (agreement.lower, agreement.bias, agreement.upper) if np.isfinite(line.value)]
        for line in lines:
            bias = line is agreement.bias
            axes.axhline(line.value, color=INK, linewidth=1.2, linestyle="-" if bias else (0, (5, 2)))
            if np.isfinite([line.low, line.high]).all():
                axes.axhspan(line.low, line.high, color=SOFT, alpha=0.16, linewidth=0)
        _fit_height(axes, points[:, 1], lines)
        _write_values(axes, [line.value for line in lines])
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: plain_number(value)))
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
    return figure


def points_over(clouds: Sequence[Cloud], x_label: str, y_label: str, y_limits: tuple[float, float] | None = None) -> Figure | Absent:
    """Draw one quantity (y) over another (x), for instance Dice over lesion load; x is logarithmic where it spans a factor of 50."""
    points = [c.defined() for c in clouds]
    if not sum(len(p) for p in points):
        return Absent("No case has both values.")
    with house_style():
        figure, (axes,) = new_figure(2.5)
        for cloud, kept in zip(clouds, points, strict=True):
            _draw_cloud(axes, cloud, kept)
        x = np.concatenate(points)[:, 0].tolist()
        if wide_range(x) and min(x) >= 0:
            log_axis(axes, "x", x)
        if y_limits:
            pad = 0.03 * (y_limits[1] - y_limits[0])
            axes.set_ylim(y_limits[0] - pad, y_limits[1] + pad)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        legend_above(figure, axes)
    return figure


def _draw_cloud(axes: Axes, cloud: Cloud, points: np.ndarray) -> None:
    many = len(points) > MANY_POINTS
    axes.scatter(
        points[:, 0],
        points[:, 1],
        s=4 if many else 16,
        marker=marker_of(cloud.colour),
        color=colour_of(cloud.colour),
        alpha=0.35 if many else 0.75,
        linewidths=0,
        rasterized=many,
        zorder=3,
        label=shorten(cloud.label),
    )


def _fit_height(axes: Axes, differences: np.ndarray, lines: Sequence[Estimate]) -> None:
    """Leave room for every point, line and band, and for a plot of one point."""
    ends = [v for line in lines for v in (line.value, line.low, line.high) if np.isfinite(v)]
    everything = [0.0, *differences.tolist(), *ends]
    low, high = min(everything), max(everything)
    pad = 0.07 * (high - low) or 1.0
    axes.set_ylim(low - pad, high + pad)


def _write_values(axes: Axes, values: Sequence[float]) -> None:
    """Write the bias and the limits at the right of their lines, moved apart where they would touch."""
    low, high = axes.get_ylim()
    for value, place in zip(values, spaced(values, 0.062 * (high - low)), strict=True):
        axes.text(1.015, (place - low) / (high - low), plain_number(value), transform=axes.transAxes, va="center", fontsize=7.5, color=INK)
