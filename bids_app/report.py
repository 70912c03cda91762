"""Findings and pictures to one offline HTML page per subject; the words around them live in templates/. Measures nothing."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from bids_app.fates import UNCHANGED, look_of, rank_of
from bids_app.tiles import Flicker, Picture
from bids_app.timeline import Chart

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
    """One lesion from near."""

    title: str  # for instance 'Lesion 12: new, 231 mm³'
    picture: Picture  # figures.triptych
    anchor: str = ""  # id of the figure, for links from the table of lesions


@dataclass(frozen=True, slots=True)
class CropGroup:
    """Lesions of one fate from near, the largest first."""

    fate: str  # new, enlarging, resolved
    total: int  # how many there are; more than are shown
    crops: tuple[Crop, ...]


@dataclass(frozen=True, slots=True)
class Support:
    """How many tracked lesions of one fate lie in the map of change of that name."""

    fate: str  # new, resolved
    total: int
    supported: int


@dataclass(frozen=True, slots=True)
class PairSection:
    """What changed between two visits."""

    baseline: str  # as a reader knows it, for instance 'ses-01'
    followup: str
    n_new: int
    volume_new_mm3: float
    n_resolved: int | None = None  # None: not looked for
    volume_resolved_mm3: float | None = None
    fates: tuple[tuple[str, int], ...] = ()  # tracked lesions by fate, in the reader's order; empty: not tracked
    support: tuple[Support, ...] = ()  # how many tracked lesions the maps of change show too
    lesions: Picture | None = None  # figures.mosaic of the follow-up with what became of the lesions
    difference: Picture | None = None  # differences.difference
    flicker: Flicker | None = None
    crops: tuple[CropGroup, ...] = ()
    table: Table | None = None  # a row per new lesion
    findings: tuple[Finding, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LesionRow:
    """One lesion over all visits."""

    number: int  # its lasting number
    fate: str  # the latest comparison's
    location: str
    volumes_mm3: tuple[Cell, ...]  # per visit
    change_mm3: float
    annualised_mm3: float  # per year
    mean_probability: float
    max_probability: float
    new_probability: float  # largest of the new-lesion map where it appeared; NaN for a lesion that was always there
    note: str = ""  # merged into, split from
    anchor: str = ""  # id of its picture; empty: none

    @property
    def changed(self) -> bool:
        """Whether a reader who looks for change wants it."""
        return self.fate not in UNCHANGED


@dataclass(frozen=True, slots=True)
class LesionTable:
    """Every lesion ever seen."""

    visits: tuple[str, ...]
    rows: tuple[LesionRow, ...]

    @property
    def changed(self) -> tuple[LesionRow, ...]:
        """Lesions with a change, by fate, then by size of the change (of a lesion seen once: its volume)."""
        rows = [row for row in self.rows if row.changed]
        return tuple(sorted(rows, key=lambda r: (rank_of(r.fate), -_size(r), r.number)))

    @property
    def unchanged(self) -> tuple[LesionRow, ...]:
        """The others, by number."""
        return tuple(sorted((row for row in self.rows if not row.changed), key=lambda r: r.number))


def _size(row: LesionRow) -> float:
    if math.isfinite(row.change_mm3):
        return abs(row.change_mm3)
    return max((v for v in row.volumes_mm3 if isinstance(v, int | float) and math.isfinite(v)), default=0.0)


@dataclass(frozen=True, slots=True)
class Flag:
    """One check of quality that was made."""

    visit: str
    name: str
    value: float
    units: str
    low: float  # limits; NaN on a side that has none
    high: float
    raised: bool
    reason: str  # what it means and what to do


@dataclass(frozen=True, slots=True)
class Quality:
    """How far the results of this participant can be trusted."""

    flags: tuple[Flag, ...] | None = None  # None: no checks are on record
    selfcheck: Table | None = None
    selfcheck_reading: str = ""  # one line
    agreement: tuple[Table, ...] = ()  # of the maps with each other

    @property
    def raised(self) -> tuple[Flag, ...]:
        """Checks that found something."""
        return tuple(flag for flag in self.flags or () if flag.raised)

    @property
    def passed(self) -> tuple[Flag, ...]:
        """Checks that found nothing."""
        return tuple(flag for flag in self.flags or () if not flag.raised)

    @property
    def known(self) -> bool:
        """Whether there is anything to say."""
        return self.flags is not None or self.selfcheck is not None or bool(self.agreement)


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
    reading: str = ""  # the headline as one sentence
    charts: tuple[Chart, ...] = ()  # over the visits
    visits: tuple[VisitSection, ...] = ()
    pairs: tuple[PairSection, ...] = ()
    lesions: LesionTable | None = None  # None: not tracked
    overviews: tuple[Picture, ...] = ()  # glass brain, view from an angle
    quality: Quality = Quality()
    methods: tuple[str, ...] = ()  # paragraphs, to be pasted
    references: tuple[str, ...] = ()
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


def format_figures(value: Cell) -> str:
    """Write a number of unknown size with four significant figures, as format_cell otherwise."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return format_cell(value)
    if value == 0 or float(value).is_integer():
        return format_cell(float(value), 0)
    return format_cell(float(value), min(max(3 - math.floor(math.log10(abs(value))), 0), 6))


def quote_css(text: str) -> str:
    """Write text as a CSS string in which nothing can end the string or the style element."""
    return '"' + "".join(c if c.isascii() and c.isalnum() else f"\\{ord(c):06x}" for c in text) + '"'


def relative_link(link: str) -> str:
    """A link to a file below the page; what would lead elsewhere or run (a scheme, another host) leads nowhere."""
    return "#" if re.match(r"[^/?#]*:|[\s\\/]", link) else link


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The templates' surroundings, for every page: escaping is on, and a field that a template misspells is an error."""
    made = Environment(loader=PackageLoader("bids_app"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters["cell"] = format_cell
    made.filters["figures"] = format_figures
    made.filters["look"] = look_of
    made.filters["css"] = quote_css
    made.filters["relative"] = relative_link
    made.tests["numeric"] = lambda value: value is None or isinstance(value, int | float)
    return made
