"""Findings and pictures to one offline HTML page per subject; the words around them live in templates/. Measures nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from bids_app.tiles import Flicker, Picture

Cell = str | int | float | None  # None and NaN are shown as n/a


@dataclass(frozen=True, slots=True)
class Finding:
    """One headline number."""

    title: str
    value: Cell
    unit: str = ""
    digits: int = 2  # behind the point, for a float
    note: str = ""  # one short line below the number


@dataclass(frozen=True, slots=True)
class Heading:
    """What a column of a table on the page holds."""

    title: str
    unit: str = ""
    digits: int = 2  # behind the point, for a float
    description: str = ""  # shown below the table
    words: bool | None = None  # set left; None: as the first row's cell is


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings; numbers are set right, words left."""

    caption: str
    headings: tuple[Heading, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class VisitSection:
    """What was found at one visit."""

    session: str | None  # label without 'ses-'; None for a data set without sessions
    title: str  # for instance 'ses-01, 2019-05-02'
    n_lesions: int
    volume_mm3: float
    brain_mask_volume_ml: float | None = None
    lesions: Picture | None = None  # figures.mosaic
    brain: Picture | None = None  # figures.brain_outline
    table: Table | None = None  # a row per lesion
    findings: tuple[Finding, ...] = ()  # what else is worth a line
    warnings: tuple[str, ...] = ()  # what a reader must know before trusting this visit


@dataclass(frozen=True, slots=True)
class Crop:
    """One new lesion from near."""

    title: str  # for instance 'new-1, 231 mm³'
    picture: Picture  # figures.triptych


@dataclass(frozen=True, slots=True)
class PairSection:
    """What changed between two visits."""

    baseline: str  # as a reader knows it, for instance 'ses-01'
    followup: str
    n_new: int
    volume_new_mm3: float
    n_resolved: int | None = None  # None: not looked for
    volume_resolved_mm3: float | None = None
    lesions: Picture | None = None  # figures.mosaic of the follow-up with new and all lesions
    flicker: Flicker | None = None
    crops: tuple[Crop, ...] = ()
    table: Table | None = None  # a row per new lesion
    findings: tuple[Finding, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that went wrong with this subject."""

    title: str  # for instance 'ses-02: registration failed'
    message: str
    details: str = ""  # traceback


@dataclass(frozen=True, slots=True)
class SubjectReport:
    """Everything the page of one subject says; no time stamp, so that the same results give the same bytes."""

    subject: str  # label without 'sub-'
    research_line: str  # 'Research use only; model trained on N pairs and M single scans'
    version: str  # of CoactSeg
    headline: tuple[Finding, ...] = ()  # empty: the latest visit and comparison
    visits: tuple[VisitSection, ...] = ()
    pairs: tuple[PairSection, ...] = ()
    methods: tuple[str, ...] = ()  # paragraphs
    settings: tuple[tuple[str, str], ...] = ()  # name and value of what decided the maps
    errors: tuple[Problem, ...] = ()


def render(report: SubjectReport) -> str:
    """Write the page: one HTML file without script and without any reference outside itself; all words are escaped."""
    template = environment().get_template("subject.html")
    return template.render(report=report, headline=report.headline or headline_of(report.visits, report.pairs))


def headline_of(visits: tuple[VisitSection, ...], pairs: tuple[PairSection, ...]) -> tuple[Finding, ...]:
    """Sum up the latest visit and, where there is one, the latest comparison."""
    findings: list[Finding] = []
    if pairs:
        pair = pairs[-1]
        span = f"{pair.followup} against {pair.baseline}"
        findings += [Finding("New lesions", pair.n_new, note=span), Finding("Volume of new lesions", pair.volume_new_mm3, "mm³", 0, span)]
    if visits:
        last = visits[-1]
        findings += [
            Finding("Lesions", last.n_lesions, note=last.title),
            Finding("Lesion volume", last.volume_mm3 / 1000.0, "ml", 2, last.title),
        ]
    return tuple(findings)


def format_cell(value: Cell, digits: int = 2) -> str:
    """Write a value for readers: narrow spaces between thousands, a true minus, n/a for what is undefined."""
    if value is None:
        return "n/a"
    if isinstance(value, str):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return "n/a"
    text = f"{value:,d}" if isinstance(value, int) else f"{value:,.{digits}f}"
    return text.replace(",", "\N{NARROW NO-BREAK SPACE}").replace("-", "\N{MINUS SIGN}")


def quote_css(text: str) -> str:
    """Write text as a CSS string in which nothing can end the string or the style element."""
    return '"' + "".join(c if c.isascii() and c.isalnum() else f"\\{ord(c):06x}" for c in text) + '"'


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The templates' surroundings, for every page: escaping is on, and a field that a template misspells is an error."""
    made = Environment(loader=PackageLoader("bids_app"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters["cell"] = format_cell
    made.filters["css"] = quote_css
    made.tests["numeric"] = lambda value: value is None or isinstance(value, int | float)
    return made
