"""Encoding: the same bytes each time, on any machine's settings; safe and unique inside a page."""

import re
import xml.etree.ElementTree as ET

import matplotlib as mpl
import pytest

from bids_app.plots.canvas import INK, PALETTE, PAPER, Plot, colour_of, encode, inline_svg, plain_number, shorten, spaced, wide_range
from bids_app.plots.spread import Group, boxes

HOSTILE = "--><script>alert(1)</script> & $\\frac{$ \N{GREEK SMALL LETTER ALPHA}"


def make(name: str = "plot", label: str = "A") -> Plot:
    figure = boxes([Group(label, [0.1, 0.2, 0.3, 0.4, 0.6])], "Dice")
    return encode(figure, name, "Title", "alt")


def test_the_same_numbers_give_the_same_bytes_whatever_matplotlib_is_set_to() -> None:
    first = make()
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "red", "svg.fonttype": "none"}):
        second = make()
        assert mpl.rcParams["font.size"] == 20  # and the setting outlasts the plot
    assert first == second
    assert b"dc:date" not in first.svg
    assert b"tEXt" not in first.png


def test_letters_are_paths_and_the_file_stands_alone() -> None:
    svg = make().svg.decode()
    root = ET.fromstring(svg)
    assert root.get("viewBox")
    assert not list(root.iter("{http://www.w3.org/2000/svg}text"))
    assert PAPER in svg  # a white ground of its own


def test_an_inline_plot_has_ids_of_its_own_and_colours_of_the_page() -> None:
    one, two = make("one").inline, make("two").inline
    ids = [set(re.findall(r'\bid="([^"]+)"', text)) for text in (one, two)]
    assert ids[0]
    assert not ids[0] & ids[1]
    for text, known in zip((one, two), ids, strict=True):
        assert set(re.findall(r'href="#([^"]+)"', text)) <= known
        assert set(re.findall(r"url\(#([^)]+)\)", text)) <= known
        assert not any(colour in text for colour in (INK, PAPER, PALETTE[0]))
        assert "var(--ink)" in text
        assert "var(--plot-0)" in text
        assert text.startswith("<svg ")
        assert text.endswith("</svg>")
        assert not re.search(r"<svg [^>]*(width|height)=", text)
        ET.fromstring(text)


def test_nothing_of_a_name_gets_into_the_markup() -> None:
    text = make(label=HOSTILE).inline
    assert "<script" not in text
    assert "<!--" not in text
    ET.fromstring(text)


def test_coordinates_are_rounded_and_scales_are_not() -> None:
    path = '<path d="M {}" transform="scale(0.015625 -0.015625)"/></svg>'
    svg = '<?xml version="1.0"?>\n<svg width="10pt" height="5pt" viewBox="0 0 10 5">' + path.format("1.23456 -2.34567")
    assert inline_svg(svg, "x") == '<svg aria-hidden="true" focusable="false" viewBox="0 0 10 5">' + path.format("1.23 -2.35")


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colour", PALETTE)
def test_series_stand_out_on_paper(colour: str) -> None:
    assert (luminance("#ffffff") + 0.05) / (luminance(colour) + 0.05) >= 3.0  # WCAG 2.2, 1.4.11


def test_small_helpers() -> None:
    assert [plain_number(v) for v in (0, 0.25, -3.0, 12345.6)] == ["0", "0.25", "\N{MINUS SIGN}3", "12\N{NO-BREAK SPACE}346"]
    assert (wide_range([1, 50]), wide_range([1, 51]), wide_range([0.0]), wide_range([])) == (False, True, False, False)
    assert spaced([0.0, 0.1, 5.0], 1.0) == pytest.approx([-0.45, 0.55, 5.0])
    assert spaced([], 1.0) == []
    assert (shorten("abc", 5), shorten("abcdefgh", 5)) == ("abc", "ab…gh")
    assert colour_of(len(PALETTE)) == PALETTE[0]
