"""Text from data in every field of every page: what a browser finds is what it finds with harmless text."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bids_app import report as reports
from bids_app.evaluation_page import (
    Cards,
    Chapter,
    EvaluationPage,
    Facts,
    LinkedTable,
    PictureBlock,
    PlotBlock,
    TableBlock,
    Title,
    Words,
)
from bids_app.evaluation_page import render as render_evaluation
from bids_app.plots.agreement import Cloud, scatter
from bids_app.plots.canvas import encode, inline_svg
from bids_app.plots.lines import Line, Panel, curves
from bids_app.plots.spread import Group, boxes
from bids_app.report import Finding, Heading, SubjectReport, Table, relative_link
from bids_app.tiles import Picture
from bids_app.timeline import Chart, Point, fates_chart, volume_chart
from tests.bids_app.test_report import HOSTILE, Page

PAYLOADS = [
    HOSTILE,
    "javascript:alert(1)",
    "' onmouseover=alert(1) x='",
    '" autofocus onfocus=alert(1) "',
    "</style><script>alert(1)</script>",
    "--><script>alert(1)</script><!--",
    "]]><svg onload=alert(1)>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "</title></textarea><img src=x onerror=alert(1)>",
    "{{ 7*7 }}{% raw %}",
    "\u202e\x00\x1b[31m",
    "`${alert(1)}`",
]
KEPT = {"svg", "data", "media_type", "style", "inline", "png"}  # made by the program, not by data


def poisoned(value: Any, text: str) -> Any:
    """The value with every text in it replaced."""
    if isinstance(value, str):
        return text
    if isinstance(value, tuple):
        return tuple(poisoned(item, text) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        if isinstance(value, Chart):
            points = (Point(text, 0.0, 0.1, {"baseline": 1, text: 2}), Point(text, 30.0, 8.1, {"new": 2, text: 1}))
            return (volume_chart if value.name == volume_chart(points).name else fates_chart)(points)
        return replace(value, **{f.name: poisoned(getattr(value, f.name), text) for f in fields(value) if f.init and f.name not in KEPT})
    return value


def structure(page: Page) -> list[tuple[str, list[str]]]:
    return [(tag, sorted(attrs)) for tag, attrs in page.elements]


def check(html: str, harmless: str, text: str) -> None:
    page = Page(html)
    assert structure(page) == structure(Page(harmless))
    for _, attrs in page.elements:
        assert not [name for name in attrs if name.startswith("on")]
        for name in ("href", "src", "action", "formaction", "xlink:href", "data", "srcset"):
            value = attrs.get(name) or ""
            assert (
                value in {"", "data:,"} or value.startswith("data:image/") or urljoin("http://here/page", value).startswith("http://here/")
            )
    assert text.replace("\r\n", "\n").replace("\r", "\n").split() == [] or "".join(text.split())[:6] in "".join(page.text.split())


PICTURE = Picture(b"x", "image/png", 3, 2, "What it shows", "a note", (("#d7263d", "new"),))


@pytest.fixture(scope="module")
def subject() -> SubjectReport:
    """A page with every kind of part."""
    table = Table("Lesions", (Heading("No.", "mm", 1, "told below"), Heading("Lesion")), ((1, "a"), (2, "b")))
    finding = Finding("Lesions", "many", "mm³", note="a note")
    visit = reports.VisitSection("01", "ses-01", 1, 2.0, 3.0, PICTURE, PICTURE, table, (finding,), ("look",))
    crops = (reports.CropGroup("new", 3, (reports.Crop("Lesion 1", PICTURE, "lesion-1"),)),)
    flicker = reports.Flicker(PICTURE, PICTURE)
    pair = reports.PairSection(
        "ses-01",
        "ses-02",
        1,
        2.0,
        3,
        4.0,
        (("odd", 2),),
        (reports.Support("new", 2, 1),),
        PICTURE,
        PICTURE,
        flicker,
        crops,
        table,
        (finding,),
        ("look",),
    )
    row = reports.LesionRow(1, "odd", "left", ("none", 2.0), 1.0, 1.0, 0.5, 0.9, 0.7, "off 3", "lesion-1")
    flag = reports.Flag("ses-01", "noise", 1.0, "mm", 0.0, 2.0, raised=True, reason="Repeat.")
    points = (Point("ses-01", 0.0, 0.1, {"baseline": 1, "odd": 2}), Point("ses-02", 30.0, 8.1, {"new": 2, "odd": 1}))
    return SubjectReport(
        "01",
        "Research use only",
        "0.1",
        headline=(finding,),
        reading="One lesion.",
        charts=(volume_chart(points), fates_chart(points)),
        visits=(visit, visit),
        pairs=(pair,),
        lesions=reports.LesionTable(("ses-01", "ses-02"), (row,)),
        overviews=(PICTURE,),
        quality=reports.Quality((flag, replace(flag, raised=False)), table, "Rely.", (table,)),
        methods=("So.",),
        references=("Wu.",),
        settings=(("Model", "default"),),
        errors=(reports.Problem("Not done", "because", "Traceback"),),
    )


@pytest.fixture(scope="module")
def evaluation() -> EvaluationPage:
    """A page with every kind of block."""
    table = Table("Cases", (Heading("Case"), Heading("Dice", description="told below")), (("a", 0.5), ("b", 0.6)))
    plot = encode(boxes([Group("A", [0.1, 0.2, 0.3])], "Dice"), "one", "Dice", "A plot.", "A caption.")
    blocks = (
        *(Words("Good."), Words("Result.", "result"), Words("Look.", "warning"), Title("More"), Cards((Finding("Cases", 12, "mm"),))),
        *(TableBlock(table), LinkedTable(table, ("sub-01.html", "sub-02.html"), prose=True), PlotBlock((plot,), ("No case.",))),
        *(PictureBlock(PICTURE, "Worst", "text"), Facts("Rules", (("alpha", "0.1"),))),
    )
    chapters = (Chapter("one", "One", "One", blocks, group="All"), Chapter("two", "Two", "Two", blocks, breaks=True))
    return EvaluationPage("Evaluation", "One set.", "Research use only", "0.1", chapters)


@pytest.mark.parametrize("text", PAYLOADS)
def test_a_subjects_page(text: str, subject: SubjectReport) -> None:
    check(reports.render(poisoned(subject, text)), reports.render(poisoned(subject, "harmless")), text)


@pytest.mark.parametrize("text", PAYLOADS)
def test_a_page_of_blocks(text: str, evaluation: EvaluationPage) -> None:
    check(render_evaluation(poisoned(evaluation, text)), render_evaluation(poisoned(evaluation, "harmless")), text)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=("Cs",)), min_size=1).filter(str.strip))
def test_any_text_on_both_pages(text: str, subject: SubjectReport, evaluation: EvaluationPage) -> None:
    harmless = reports.render(poisoned(subject, "harmless"))
    assert structure(Page(reports.render(poisoned(subject, text)))) == structure(Page(harmless))
    assert structure(Page(render_evaluation(poisoned(evaluation, text)))) == structure(Page(render_evaluation(poisoned(evaluation, "x"))))


SVG = {"svg", "defs", "style", "g", "path", "use", "clippath", "rect", "image", "text", "tspan", "polyline", "line", "circle"}


@pytest.mark.parametrize("text", PAYLOADS)
def test_a_plot_draws_names_and_holds_no_element_of_theirs(text: str) -> None:
    figures = [
        boxes([Group(text, [0.1, 0.2, 0.3]), Group("B", [0.1, 0.4])], text),
        scatter([Cloud(text, [0.1, 0.2, 0.3], [0.1, 0.3, 0.4])], text, text),
        curves([Panel((Line(text, (0.0, 1.0), (0.1, 0.2)),), text)], text),
    ]
    for figure in figures:
        plot = encode(figure, text, text, text)
        page = Page(plot.inline)
        assert {tag for tag, _ in page.elements} <= SVG
        for _, attrs in page.elements:
            assert not [name for name in attrs if name.startswith("on")]
            assert re.match(r"(#|data:image/png;base64,|$)", attrs.get("xlink:href") or attrs.get("href") or "")
        assert "alert" not in plot.inline


def test_comments_of_a_drawing_do_not_reach_the_page() -> None:
    assert "secret" not in inline_svg("<svg ><!-- secret --><metadata>secret</metadata><g/></svg>", "x")


LEAVING = [
    *(
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "java\tscript:alert(1)",
        " javascript:alert(1)",
        "data:text/html,x",
        "//evil.example/x",
    ),
    *("\\\\evil.example", "/etc/passwd", "file:///etc/passwd", "https://evil.example", "\x01javascript:x"),
]


@pytest.mark.parametrize("link", LEAVING)
def test_links_that_leave_the_folder_lead_nowhere(link: str) -> None:
    assert relative_link(link) == "#"


@pytest.mark.parametrize("link", ["sub-01.html", "../other/sub-01.html", "a%3Ab/sub-01.html", "x/y:z.html", "#one"])
def test_links_to_files_beside_the_page_stay(link: str) -> None:
    assert relative_link(link) == link


def test_templates_trust_only_what_the_program_drew() -> None:
    """`| safe` and Markup stand where a drawing or a quoted CSS string is put in, and nowhere else."""
    package = Path(reports.__file__).parent
    trusted = [m for path in sorted((package / "templates").iterdir()) for m in re.findall(r"\{\{([^}]*\bsafe)\b", path.read_text())]
    assert sorted(text.strip() for text in trusted) == ["item.inline | safe", "item.svg | safe", "research_line | css | safe"]
    sources = [path for name in ("bids_app", "coactseg_cli") for path in (package.parent / name).rglob("*.py")]
    assert not [path for path in sources if "Markup" in path.read_text()]
