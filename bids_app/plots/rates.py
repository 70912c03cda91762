"""Proportions by category, for instance detected lesions by size: a dot per series with its interval, categories as rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from bids_app.plots.canvas import INK, SOFT, Absent, colour_of, house_style, legend_above, marker_of, new_figure, shorten

ROOM = 0.62  # of a row's height for its dots


@dataclass(frozen=True, slots=True)
class Share:
    """k of n with a confidence interval; n = 0 has no value."""

    k: int
    n: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """Share of n; NaN for n = 0."""
        return self.k / self.n if self.n else math.nan


@dataclass(frozen=True, slots=True)
class Series:
    """The shares of one method, one for each category."""

    label: str
    shares: Sequence[Share]
    colour: int = 0


def rates(categories: Sequence[str], series: Sequence[Series], label: str) -> Figure | Absent:
    """Draw k of n per category (rows, from top to bottom) and method, with intervals; k/n is written at the right.

    Raises: ValueError where a series has another number of shares than there are categories.
    """
    for one in series:
        if len(one.shares) != len(categories):
            msg = f"{one.label}: expected {len(categories)} shares, one per category; got {len(one.shares)}"
            raise ValueError(msg)
    if not any(share.n for one in series for share in one.shares):
        return Absent("There is no lesion to count.")
    with house_style():
        step = ROOM / max(len(series), 1)
        figure, (axes,) = new_figure(0.75 + len(categories) * (0.13 + 0.135 * len(series)) + 0.17 * math.ceil(len(series) / 2))
        for i, one in enumerate(series):
            rows = np.arange(len(categories)) + (i - (len(series) - 1) / 2) * step
            counted = [(row, share) for row, share in zip(rows, one.shares, strict=True) if share.n]
            for row, share in counted:
                axes.plot([share.low, share.high], [row, row], color=colour_of(one.colour), linewidth=1.4, solid_capstyle="butt")
            axes.plot(
                [share.value for _, share in counted],
                [row for row, _ in counted],
                marker_of(one.colour),
                color=colour_of(one.colour),
                markersize=4.5,
                label=shorten(one.label),
                clip_on=False,
                zorder=3,
            )
            for row, share in zip(rows, one.shares, strict=True):
                text = f"{share.k}/{share.n}" if share.n else "no lesion"
                axes.text(1.03, row, text, transform=axes.get_yaxis_transform(), va="center", fontsize=7, color=INK)
        axes.set_xlim(0.0, 1.0)
        axes.set_yticks(range(len(categories)), list(categories))
        axes.set_ylim(len(categories) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_color(SOFT)
        axes.set_xlabel(label)
        legend_above(figure, axes)
    return figure
