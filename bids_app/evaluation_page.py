"""What an evaluation found, as frozen values, to one offline HTML page; the frame is templates/evaluation.html. Measures nothing.

A page is a list of chapters, a chapter a list of blocks: words, tables, plots, pictures, settings. Other pages of plots can use them too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bids_app.plots.canvas import Plot
from bids_app.report import Finding, Table, environment
from bids_app.tiles import Picture


@dataclass(frozen=True, slots=True)
class Words:
    """A paragraph."""

    block: ClassVar[str] = "words"
    text: str
    style: str = ""  # result, warning or key; empty: a plain paragraph


@dataclass(frozen=True, slots=True)
class Title:
    """A heading inside a chapter."""

    block: ClassVar[str] = "title"
    text: str


@dataclass(frozen=True, slots=True)
class Cards:
    """Headline numbers side by side."""

    block: ClassVar[str] = "cards"
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class TableBlock:
    """A table in a box of its own that scrolls where the table is larger."""

    block: ClassVar[str] = "table"
    table: Table


@dataclass(frozen=True, slots=True)
class LinkedTable:
    """A table whose rows lead to other pages."""

    block: ClassVar[str] = "linked"
    table: Table
    links: tuple[str, ...]  # per row, the URL that its first cell leads to; '': nowhere
    prose: bool = False  # the last column holds sentences, which are wrapped


@dataclass(frozen=True, slots=True)
class PlotBlock:
    """Plots side by side, and a sentence for each that could not be drawn."""

    block: ClassVar[str] = "plots"
    plots: tuple[Plot, ...]
    absent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PictureBlock:
    """A picture with its title and caption."""

    block: ClassVar[str] = "picture"
    picture: Picture
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and what they mean or are set to."""

    block: ClassVar[str] = "facts"
    caption: str
    rows: tuple[tuple[str, str], ...]
    headings: tuple[str, str] = ("Setting", "Value")


Block = Words | Title | Cards | TableBlock | LinkedTable | PlotBlock | PictureBlock | Facts


@dataclass(frozen=True, slots=True)
class Chapter:
    """One part of the page, with a link to it at the top."""

    anchor: str  # id: letters, digits, hyphens
    title: str
    short: str  # in the list of links
    blocks: tuple[Block, ...]
    breaks: bool = False  # starts a new printed page
    group: str = ""  # what it shares with its neighbours, in the list of links


@dataclass(frozen=True, slots=True)
class EvaluationPage:
    """Everything the page says; no time stamp, so that the same results give the same bytes."""

    title: str
    lead: str  # one sentence below the title
    research_line: str
    version: str  # of CoactSeg
    chapters: tuple[Chapter, ...]

    @property
    def plots(self) -> tuple[Plot, ...]:
        """Every plot of the page, in its order."""
        return tuple(plot for c in self.chapters for block in c.blocks if isinstance(block, PlotBlock) for plot in block.plots)


def render(page: EvaluationPage) -> str:
    """Write the page: one HTML file without script and without any reference outside itself; all words are escaped."""
    return environment().get_template("evaluation.html").render(page=page)
