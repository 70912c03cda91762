"""A page of blocks is read back with html.parser: complete, offline, escaped, usable without seeing it."""

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from bids_app import figures
from bids_app.evaluation_page import (
    Cards,
    Chapter,
    EvaluationPage,
    Facts,
    PictureBlock,
    PlotBlock,
    TableBlock,
    Title,
    Words,
    render,
)
from bids_app.plots.canvas import encode
from bids_app.plots.spread import Group, boxes
from bids_app.report import Finding, Heading, Table
from tests.bids_app.test_report import HOSTILE, Page

LINE = "Research use only; not for diagnosis."


def table(n_rows: int, n_columns: int = 3) -> Table:
    headings = (Heading("Case", words=True), *(Heading(f"Value {i}", "mm", words=False) for i in range(1, n_columns)))
    return Table("Each case", headings, tuple((f"sub-{i}", *["0.5 ± 0.1"] * (n_columns - 1)) for i in range(n_rows)))


@pytest.fixture(scope="module")
def page() -> EvaluationPage:
    plots = tuple(
        encode(boxes([Group("A", [0.1, 0.2, 0.3])], "Dice"), name, f"Plot {name}", "Box plot of Dice. median 0.2.", "A caption.")
        for name in ("one", "two")
    )
    image = np.random.default_rng(0).normal(50, 9, (10, 20, 30))
    picture = figures.mosaic(image, (3.0, 2.0, 1.0), (0, 100), width=300)
    return EvaluationPage(
        "Evaluation",
        "One set of masks.",
        LINE,
        "0.0",
        (
            Chapter(
                "summary",
                "Summary",
                "Summary",
                (Cards((Finding("Cases scored", 1234),)), Words("Good.", "result"), Words("Look.", "warning")),
            ),
            Chapter(
                "all-scores",
                "All lesions: scores",
                "Scores",
                (TableBlock(table(3)), PlotBlock(plots, ("HD95: no case.",))),
                True,
                "All lesions",
            ),
            Chapter("all-cases", "All lesions: each case", "Cases", (TableBlock(table(50, 12)),), group="All lesions"),
            Chapter(
                "rest",
                "Rest",
                "Rest",
                (PictureBlock(picture, "Worst case.", "Dice 0.1."), Title("More"), Facts("Rules", (("alpha", "0.1"),))),
            ),
        ),
    )


@pytest.fixture(scope="module")
def html(page: EvaluationPage) -> str:
    return render(page)


def test_it_is_one_offline_file(html: str) -> None:
    read = Page(html)
    assert not re.search(r"<(script|iframe|object|embed|form|base)\b", html)
    assert not re.search(r"""(?:src|href)=["'](?!#|data:)""", html)
    assert "@import" not in read.css
    assert not re.search(r"url\((?!#|data:)", html)
    policy = next(meta["content"] for meta in read.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    assert read.text.count(LINE) == 2


def test_ids_are_unique_and_links_lead_somewhere(html: str) -> None:
    read = Page(html)
    ids = [attrs["id"] for _, attrs in read.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = [attrs["href"] for attrs in read.all("a")]
    assert links == ["#content", "#summary", "#all-scores", "#all-cases", "#rest"]
    assert {link[1:] for link in links if link} <= set(ids)
    assert [a.get("aria-label") for a in read.all("a")][2:4] == ["All lesions: Scores", "All lesions: Cases"]
    assert [attrs["aria-labelledby"] for attrs in read.all("section")] == [
        f"{c}-title" for c in ("summary", "all-scores", "all-cases", "rest")
    ]


def test_headings_form_an_outline(html: str) -> None:
    levels = [int(name[1]) for name, _ in Page(html).elements if re.fullmatch("h[1-6]", name)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_tables_have_headers_with_a_scope_and_a_region_that_the_keyboard_reaches(html: str) -> None:
    read = Page(html)
    assert all(th.get("scope") in {"col", "row"} for th in read.all("th"))
    assert sum(th["scope"] == "row" for th in read.all("th")) == 3 + 50 + 1
    regions = [d for d in read.all("div") if d.get("role") == "region"]
    assert [(d["tabindex"], d["aria-label"], d["class"]) for d in regions] == [
        ("0", "Each case", "scroll whole"),
        ("0", "Each case", "scroll wide"),
    ]
    assert "50 rows; scroll inside the table" in read.text
    words = [td.get("class") for td in read.all("td")]
    assert "words" not in words[:6]  # numbers with their SD are set right although they are text


def test_plots_and_pictures_say_what_they_show(html: str) -> None:
    read = Page(html)
    drawn = [d for d in read.all("div") if d.get("role") == "img"]
    assert [d["aria-label"] for d in drawn] == ["Box plot of Dice. median 0.2."] * 2
    assert [s.get("aria-hidden") for s in read.all("svg")] == ["true"] * 2
    assert all(img["alt"] for img in read.all("img"))
    assert "HD95: no case." in read.text
    assert "A caption." in read.text


def test_it_follows_light_dark_and_paper(html: str) -> None:
    css = Page(html).css
    for part in ("prefers-color-scheme: dark", "@media print", "max-width: 600px", "--plot-7"):
        assert part in css
    assert css.count("{") == css.count("}")
    assert html.count("chapter fresh") == 1


def test_every_word_is_escaped(page: EvaluationPage) -> None:
    hostile = Chapter(
        "x",
        HOSTILE,
        HOSTILE,
        (
            Words(HOSTILE),
            Words(HOSTILE, "warning"),
            Title(HOSTILE),
            Cards((Finding(HOSTILE, HOSTILE, note=HOSTILE),)),
            TableBlock(Table(HOSTILE, (Heading(HOSTILE, HOSTILE, description=HOSTILE),), ((HOSTILE,),))),
            PlotBlock(tuple(replace(plot, title=HOSTILE, alt=HOSTILE, caption=HOSTILE) for plot in page.plots[:1]), (HOSTILE,)),
            Facts(HOSTILE, ((HOSTILE, HOSTILE),), (HOSTILE, HOSTILE)),
        ),
        group=HOSTILE,
    )
    html = render(replace(page, title=HOSTILE, lead=HOSTILE, research_line=HOSTILE, version=HOSTILE, chapters=(hostile,)))
    read = Page(html)
    names = {name for name, _ in read.elements}
    assert "script" not in names
    assert not read.all("img")
    assert not [key for _, attrs in read.elements for key in attrs if key.startswith("on")]
    assert "{{ 7*7 }}" in read.text
    assert "</style><img" not in html


def test_the_same_page_gives_the_same_bytes(page: EvaluationPage, html: str) -> None:
    assert render(page) == html
    assert [plot.name for plot in page.plots] == ["one", "two"]
