"""Tables as Markdown and LaTeX, with every special character."""

import math
import re

from bids_app.exports import escape_latex, to_latex, to_markdown
from bids_app.report import Heading, Table

TABLE = Table(
    "Scores & more_1",
    (Heading("Score"), Heading("Mean ± SD", words=False, description="50 % of {x}"), Heading("Volume", "mm³", 1)),
    (("Dice | x", "0.50 ± 0.10", -1234.56), ("<b>*a*</b>", "n/a", math.nan)),
)


def test_markdown() -> None:
    assert to_markdown(TABLE) == (
        "**Scores \\& more\\_1**\n"
        "\n"
        "| Score | Mean ± SD | Volume (mm³) |\n"
        "| --- | ---: | ---: |\n"
        "| Dice \\| x | 0.50 ± 0.10 | \N{MINUS SIGN}1\N{NARROW NO-BREAK SPACE}234.6 |\n"
        "| \\<b\\>\\*a\\*\\</b\\> | n/a | n/a |\n"
        "\n"
        "Mean ± SD: 50 % of \\{x\\}.\n"
    )


def test_latex() -> None:
    text = to_latex(TABLE, "all")
    assert r"\begin{tabular}{lrr}" in text
    assert r"\caption{Scores \& more\_1. Mean $\pm$ SD: 50 \% of \{x\}.}" in text
    assert r"\label{tab:all}" in text
    assert "Score & Mean $\\pm$ SD & Volume (mm\\textsuperscript{3}) \\\\\n\\midrule\n" in text
    assert r"Dice \textbar{} x & 0.50 $\pm$ 0.10 & $-$1\,234.6 \\" in text
    assert text.index(r"\toprule") < text.index(r"\midrule") < text.index(r"\bottomrule")
    assert text.count("{") == text.count("}")


def test_every_special_character_of_latex_is_escaped() -> None:
    assert escape_latex("\\") == r"\textbackslash{}"
    escaped = escape_latex("a_b^c~d#e$f%g&h{i}\nj")
    assert escaped == r"a\_b\textasciicircum{}c\textasciitilde{}d\#e\$f\%g\&h\{i\} j"
    assert not re.search(r"(?<!\\)[#$%&_]", escaped)


def test_a_row_that_begins_with_a_bracket_is_no_argument_of_the_line_break() -> None:
    text = to_latex(Table("t", (Heading("a"), Heading("b")), (("[x]", "1"), ("*", "2"), ("y", "3"))), "t")
    assert "\n{}[x] & 1 \\\\\n{}* & 2 \\\\\ny & 3 \\\\\n" in text


def test_a_table_without_rows_has_its_header_only() -> None:
    empty = Table("none", (Heading("a"), Heading("b", words=False)), ())
    assert to_markdown(empty).splitlines()[2:] == ["| a | b |", "| --- | ---: |"]
    assert r"\begin{tabular}{lr}" in to_latex(empty, "none")
