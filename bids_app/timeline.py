"""Visits on a line of time: lesion volume as a curve, lesions by fate as bars, drawn as SVG for a page. Measures nothing.

Words in the SVG are text, so that they can be read aloud and found; colours are those of the page (templates/subject.css).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from bids_app.fates import FATES, Look

WIDTH, HEIGHT = 460, 250  # user units of the SVG; a phone shows them at about three quarters
LEFT, RIGHT, TOP, BOTTOM = 46, 16, 16, 40  # around the axes
BAR = 54  # at most, wide
ROOM_FOR_NUMBER = 11.0  # height of a bar's part below which no number is written in it
GONE = ("resolved", "merged")  # no lesion of their own any more: drawn below the line


@dataclass(frozen=True, slots=True)
class Point:
    """One visit."""

    name: str  # for instance ses-01
    days: float | None  # since the first visit; None where unknown
    volume_ml: float  # of all lesions; NaN where unknown
    counts: Mapping[str, int]  # fate to number of lesions, against the visit before


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawn SVG and its words."""

    name: str  # unique on the page
    title: str
    description: str  # what it shows, number by number
    svg: str  # an element; every word in it is escaped
    legend: tuple[Look, ...] = ()
    caption: str = ""


def volume_chart(points: Sequence[Point]) -> Chart:
    """Draw the total lesion volume at each visit."""
    x, caption = _places(points)
    known = [(x(i), p) for i, p in enumerate(points) if math.isfinite(p.volume_ml)]
    top, step = nice_scale(max((p.volume_ml for _, p in known), default=0.0))
    y = _vertical(0.0, top)
    line = " ".join(f"{px:.1f},{y(p.volume_ml):.1f}" for px, p in known)
    parts = [_grid([i * step for i in range(round(top / step) + 1)], y, _plain)]
    parts.append(_fill('<polyline class="curve" points="{}"/>', line))
    for px, p in known:
        parts.append(_fill('<circle class="dot" cx="{}" cy="{}" r="4"/>', f"{px:.1f}", f"{y(p.volume_ml):.1f}"))
        parts.append(_text(px, y(p.volume_ml) - 9, f"{p.volume_ml:.2f}", "value"))
    words = "; ".join(f"{p.name}: {p.volume_ml:.2f} ml" for _, p in known) or "no volume is known"
    return _chart("volume", "Lesion volume, ml", words, parts, points, x, caption=caption)


def fates_chart(points: Sequence[Point]) -> Chart:
    """Draw how many lesions of each fate every visit has; those that are gone stand below the line."""
    x, caption = _places(points)
    above = max((_total(p, gone=False) for p in points), default=0)
    below = max((_total(p, gone=True) for p in points), default=0)
    top, step = nice_scale(above, whole=True)
    floor = -math.ceil(below / step) * step
    y = _vertical(floor, top)
    parts = [_grid([floor + i * step for i in range(round((top - floor) / step) + 1)], y, lambda v: _plain(abs(v)))]
    width = min(BAR, 0.6 * (WIDTH - LEFT - RIGHT) / max(len(points), 1))
    for i, p in enumerate(points):
        parts += _bar(x(i), width, p, y)
    parts.append(_fill('<line class="axis" x1="{}" x2="{}" y1="{y}" y2="{y}"/>', LEFT, WIDTH - RIGHT, y=f"{y(0):.1f}"))
    words = "; ".join(f"{p.name}: {', '.join(f'{p.counts[k.word]} {k.word}' for k in _shown(p)) or 'no lesion'}" for p in points)
    legend = tuple(look for look in FATES if any(p.counts.get(look.word) for p in points))
    return _chart("fates", "Lesions against the visit before", words, parts, points, x, legend, caption)


def nice_scale(largest: float, *, whole: bool = False) -> tuple[float, float]:
    """Choose the end of an axis from zero and the distance of its ticks: at most five steps of 1, 2 or 5 times a power of ten."""
    if largest <= 0:
        return 1.0, 1.0
    power = 10.0 ** math.floor(math.log10(largest / 5))
    step = next(power * m for m in (1, 2, 5, 10) if largest <= 5 * power * m * (1 + 1e-9))
    step = max(step, 1.0) if whole else step
    return math.ceil(largest / step * (1 - 1e-9)) * step, step


def _places(points: Sequence[Point]) -> tuple[Callable[[int], float], str]:
    """Where each visit stands across: by its day where all are known, else evenly."""
    inner = WIDTH - LEFT - RIGHT
    days = [p.days for p in points if p.days is not None]
    gap = inner / max(len(points), 1)
    even = [LEFT + gap * (i + 0.5) for i in range(len(points))]
    if len(days) < len(points) or len(points) < 2 or max(days) <= min(days):
        return even.__getitem__, "Visits are drawn evenly spaced; days between them are not known." if len(points) > 1 else ""
    span = max(days) - min(days)
    placed = [LEFT + BAR / 2 + 6 + (inner - BAR - 12) * (d - min(days)) / span for d in days]
    if min(b - a for a, b in pairwise(placed)) < min(gap, BAR) * 0.75:
        return even.__getitem__, "Visits are drawn evenly spaced; the days are below them."
    return placed.__getitem__, "Visits stand where they lie in time, in days since the first."


def _vertical(low: float, high: float) -> Callable[[float], float]:
    return lambda value: TOP + 8 + (HEIGHT - TOP - BOTTOM - 8) * (high - value) / (high - low)


def _plain(value: float) -> str:
    return f"{value:.6g}"


def _total(point: Point, *, gone: bool) -> int:
    return sum(n for word, n in point.counts.items() if (word in GONE) is gone)


def _shown(point: Point) -> list[Look]:
    return [look for look in FATES if point.counts.get(look.word)]


def _bar(middle: float, width: float, point: Point, y: Callable[[float], float]) -> list[str]:
    """One visit: what is there from the line upwards, unchanged lesions first, what is gone downwards."""
    parts = []
    up, down = 0, 0
    for look in reversed(_shown(point)):
        n = point.counts[look.word]
        low, high = (down - n, down) if look.word in GONE else (up, up + n)
        up, down = (up, low) if look.word in GONE else (high, down)
        box = _fill(
            '<rect x="{}" y="{}" width="{}" height="{}" fill="{}"><title>{}</title></rect>',
            f"{middle - width / 2:.1f}",
            f"{y(high):.1f}",
            f"{width:.1f}",
            f"{y(low) - y(high):.1f}",
            look.colour,
            f"{point.name}: {n} {look.word}",
        )
        parts.append(box)
        if y(low) - y(high) >= ROOM_FOR_NUMBER:
            parts.append(_text(middle, (y(low) + y(high)) / 2 + 4, f"{look.sign} {n}", "inside", look.ink))
    return parts


def _fill(element: str, *values: object, **named: object) -> str:
    """Put values into an element; every one is escaped."""
    return element.format(*(escape(str(v)) for v in values), **{name: escape(str(v)) for name, v in named.items()})


def _text(x: float, y: float, words: str, kind: str, fill: str = "") -> str:
    start = _fill('<text class="{}" x="{}" y="{}"', kind, f"{x:.1f}", f"{y:.1f}")
    paint = _fill(' fill="{}"', fill) if fill else ""
    return f"{start}{paint}>{_fill('{}', words)}</text>"


def _grid(ticks: Sequence[float], y: Callable[[float], float], word: Callable[[float], str]) -> str:
    lines = [
        _fill('<line class="grid" x1="{}" x2="{}" y1="{y}" y2="{y}"/>', LEFT, WIDTH - RIGHT, y=f"{y(t):.1f}")
        + _text(LEFT - 7, y(t) + 4, word(t), "tick")
        for t in ticks
    ]
    return "".join(lines)


def _chart(
    name: str,
    title: str,
    description: str,
    parts: Sequence[str],
    points: Sequence[Point],
    x: Callable[[int], float],
    legend: tuple[Look, ...] = (),
    caption: str = "",
) -> Chart:
    """Put the visits' names below, and title and description in front."""
    known = all(p.days is not None for p in points)
    labels = [_text(x(i), HEIGHT - BOTTOM + 17, p.name, "visit") for i, p in enumerate(points)]
    labels += [_text(x(i), HEIGHT - BOTTOM + 32, f"day {p.days:.0f}", "day") for i, p in enumerate(points) if known and p.days is not None]
    head = _fill('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-labelledby="{n}-t {n}-d">', WIDTH, HEIGHT, n=f"chart-{name}")
    words = _fill('<title id="{n}-t">{}</title><desc id="{n}-d">{}</desc>', title, description, n=f"chart-{name}")
    svg = head + words + "".join([*parts, *labels]) + "</svg>"
    return Chart(name, title, description, svg, legend, caption)
