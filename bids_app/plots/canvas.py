"""What all plots share: size, colours, markers, encoding to SVG and PNG. Draws no data.

A plot is drawn at the width of a phone (336 CSS pixels), so that its letters stay readable there; wide screens show
several side by side. No pyplot, no global state that outlasts a call, no date: the same numbers give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import logging
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

WIDTH_IN = 3.5  # 336 CSS pixels, 89 mm: one column of a journal
PNG_DPI = 200
SPACING_ROUNDS = 60  # of moving labels apart: each round halves what is left
MOST_DECADES = 5  # of a logarithmic axis; what is smaller lies between zero and its first power of ten
MANY_POINTS = 500  # from here on points are drawn as one bitmap inside the SVG, which stays small so

# Okabe and Ito's colours that stand out against white and against near black alike; markers and dashes repeat what they say.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#b0629b", "#8c7a1f", "#5a87c6", "#a8442a", "#6f7d8c")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "d")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (1.4, 1.2)), (0, (5, 1.4, 1.2, 1.4)))

INK, SOFT, LINE, PAPER = "#1b2430", "#566273", "#d9dfe6", "#ffffff"
PAGE_COLOURS = {
    **{INK: "var(--ink)", SOFT: "var(--soft)", LINE: "var(--line)", PAPER: "var(--paper)"},
    **{colour: f"var(--plot-{i})" for i, colour in enumerate(PALETTE)},
}  # of templates/plots.css; they follow light, dark and print

STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: no machine looks different
    "font.size": 8.0,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.0,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.unicode_minus": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "text.parse_math": False,  # a $ in a name is a $
    "text.usetex": False,
    "text.hinting": "no_hinting",
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "savefig.facecolor": "auto",
    "svg.fonttype": "path",
    "path.simplify": True,
}


@dataclass(frozen=True, slots=True)
class Absent:
    """Why there is no plot."""

    reason: str  # a sentence


@dataclass(frozen=True, slots=True)
class Plot:
    """An encoded plot with the words that belong to it."""

    name: str  # stem of its files
    title: str
    svg: bytes  # a file of its own
    png: bytes
    alt: str  # what it shows and the finding, for readers who do not see it
    caption: str = ""

    @property
    def inline(self) -> str:
        """The SVG element for an HTML page: unique ids, colours that follow the page."""
        return inline_svg(self.svg.decode("utf-8"), self.name)


@contextmanager
def house_style(salt: str = "plot") -> Iterator[None]:
    """Draw and save under matplotlib's defaults and STYLE, whatever the user's matplotlibrc says."""
    parameters: dict[Any, Any] = {k: v for k, v in mpl.rcParamsDefault.items() if k != "backend"}
    parameters.update(STYLE)
    parameters["svg.hashsalt"] = salt
    font_log = logging.getLogger("matplotlib.font_manager")
    level = font_log.level
    font_log.setLevel(logging.ERROR)
    with mpl.rc_context(parameters):
        try:
            yield
        finally:
            font_log.setLevel(level)


def new_figure(height_in: float, rows: int = 1, heights: Sequence[float] | None = None) -> tuple[Figure, list[Axes]]:
    """Make a figure of the usual width with axes below each other that share x. Call it under house_style."""
    engine = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03)
    figure = Figure(figsize=(WIDTH_IN, height_in), dpi=PNG_DPI, layout=engine)  # at a low resolution letters are hinted narrower
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights} if heights else None)
    return figure, list(axes[:, 0])


def encode(figure: Figure, name: str, title: str, alt: str, caption: str = "") -> Plot:
    """Save a figure as SVG and PNG with one layout."""
    with house_style(name):
        if (engine := figure.get_layout_engine()) is not None:
            engine.execute(figure)
        figure.set_layout_engine(None)  # "none" would keep a place holder, for which each save draws twice
        svg, png = io.BytesIO(), io.BytesIO()
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
        figure.savefig(png, format="png", dpi=PNG_DPI, metadata={"Software": None})
    return Plot(name, title, svg.getvalue(), png.getvalue(), alt, caption)


def inline_svg(svg: str, name: str) -> str:
    """Cut an SVG file down to its element: no prologue, no comments (they hold labels), ids of its own, hundredths of a point.

    The house colours become CSS variables of the page; the size becomes the page's business.
    """
    body = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    body = re.sub(r' (?:width|height)="[\d.]+pt"', "", body, count=2)
    prefix = "p" + hashlib.sha256(name.encode()).hexdigest()[:6]
    body = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}", body)
    body = re.sub(r' (?:d|x|y|points)="[^"]*"', _round_numbers, body)
    for colour, variable in PAGE_COLOURS.items():
        body = body.replace(colour, variable)
    body = re.sub(r"\s*\n\s*", " ", body)
    return body.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1).strip()


def _round_numbers(attribute: re.Match[str]) -> str:
    return re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", attribute[0])


def colour_of(index: int) -> str:
    """The palette's colour of a series; it starts again after the last."""
    return PALETTE[index % len(PALETTE)]


def marker_of(index: int) -> str:
    """The marker that goes with colour_of."""
    return MARKERS[index % len(MARKERS)]


def dash_of(index: int) -> Any:
    """The dash pattern that goes with colour_of."""
    return DASHES[index % len(DASHES)]


def plain_number(value: float) -> str:
    """Write a tick: 0.01, 5, 20 000; a true minus."""
    if value == 0:
        return "0"
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return text.replace(",", "\N{NO-BREAK SPACE}").replace("-", "\N{MINUS SIGN}")


def wide_range(values: Sequence[float], ratio: float = 50.0) -> bool:
    """Whether the positive values span so much that a linear axis would crowd the small ones."""
    positive = [v for v in values if v > 0 and math.isfinite(v)]
    return bool(positive) and max(positive) / min(positive) > ratio


def log_axis(axes: Axes, which: str, values: Sequence[float]) -> None:
    """Make one axis logarithmic with plain tick labels; below the first power of ten it is linear down to zero, where values lie there."""
    positive = [v for v in values if v > 0 and math.isfinite(v)]
    high = 10.0 ** math.ceil(math.log10(max(positive) * 1.0001))
    low = max(10.0 ** math.floor(math.log10(min(positive))), high / 10.0**MOST_DECADES)
    has_zero = any(0 <= v < low for v in values)
    setter, axis = (axes.set_xscale, axes.xaxis) if which == "x" else (axes.set_yscale, axes.yaxis)
    limits = axes.set_xlim if which == "x" else axes.set_ylim
    if has_zero:
        setter("symlog", linthresh=low, linscale=0.4 if low * 1e4 > high else 0.6)
    else:
        setter("log")
    decades = round(math.log10(high / low))
    step = max(1, math.ceil(decades / 6))
    ticks = [low * 10.0**k for k in range(0, decades + 1, step)]
    axis.set_major_locator(FixedLocator([0.0, *ticks] if has_zero else ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain_number(value)))
    limits(-0.35 * low if has_zero else low, high)


def whole_ticks(axes: Axes, which: str, values: Sequence[float]) -> None:
    """Put ticks of a linear axis at whole numbers where all values are counts."""
    if all(float(v).is_integer() for v in values):
        (axes.xaxis if which == "x" else axes.yaxis).set_major_locator(MaxNLocator(integer=True, nbins=7))


def spaced(places: Sequence[float], gap: float) -> list[float]:
    """Move rising places apart until neighbours are at least `gap` from each other; the middle stays."""
    moved = list(places)
    for _ in range(SPACING_ROUNDS):
        for i in range(len(moved) - 1):
            lack = max(gap - (moved[i + 1] - moved[i]), 0.0)
            moved[i], moved[i + 1] = moved[i] - lack / 2, moved[i + 1] + lack / 2
    return moved


def legend_above(figure: Figure, axes: Axes, n_columns: int = 2) -> None:
    """Name the series above the axes, where there is more than one."""
    handles, labels = axes.get_legend_handles_labels()
    if len(handles) > 1:
        figure.legend(handles, labels, loc="outside upper left", ncols=n_columns, handlelength=2.2, columnspacing=1.2, borderaxespad=0.2)


def shorten(text: str, length: int = 22) -> str:
    """Cut a long name in the middle, where names of files differ least."""
    if len(text) <= length:
        return text
    head = (length - 1) // 2
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"


def finite(values: Sequence[float]) -> list[float]:
    """Leave out NaN and infinities."""
    return [float(v) for v in values if math.isfinite(v)]
