"""A table of a page to Markdown and to LaTeX (booktabs). Writes no file."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bids_app.report import Heading, Table, format_cell

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "\N{MINUS SIGN}": "$-$",
    "\N{EN DASH}": "--",
    "²": r"\textsuperscript{2}",
    "³": r"\textsuperscript{3}",
    "…": r"\ldots{}",
    "\N{NARROW NO-BREAK SPACE}": r"\,",
    "\N{NO-BREAK SPACE}": "~",
    "\n": " ",
    "\r": " ",
    "\t": " ",
}
_MARKDOWN = "\\`*_{}[]<>#+|~$&!"


def to_markdown(table: Table) -> str:
    """Write a table as Markdown (pipe table), its caption in bold above it; every special character is escaped."""
    rows = [[_markdown(text) for text in texts] for texts in _texts(table)]
    rules = ["---" if words else "---:" for words in _wordy(table)]
    lines = ["| " + " | ".join(row) + " |" for row in [rows[0], rules, *rows[1:]]]
    notes = [f"{_markdown(h.title)}: {_markdown(h.description)}." for h in table.headings if h.description]
    return "\n".join([f"**{_markdown(table.caption)}**", "", *lines, *(["", " ".join(notes)] if notes else [])]) + "\n"


def to_latex(table: Table, label: str) -> str:
    r"""Write a table as a LaTeX table environment that needs the package booktabs; every special character is escaped.

    Args:
        table: what is written.
        label: for \ref, letters, digits and hyphens.
    """
    rows = [_latex_row(texts) for texts in _texts(table)]
    notes = " ".join(f"{escape_latex(h.title)}: {escape_latex(h.description)}." for h in table.headings if h.description)
    caption = f"{escape_latex(table.caption)}. {notes}".strip()
    columns = "".join("l" if words else "r" for words in _wordy(table))
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:{label}}}",
        r"\centering",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        rows[0],
        r"\midrule",
        *rows[1:],
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex_row(texts: Sequence[str]) -> str:
    r"""Join cells; a row that begins with [ or * would be taken for an argument of the \\ before it."""
    row = " & ".join(escape_latex(text) for text in texts) + r" \\"
    return "{}" + row if row.startswith(("[", "*")) else row


def escape_latex(text: str) -> str:
    """Write text so that LaTeX prints it."""
    return "".join(_LATEX.get(c, c) for c in text)


def _markdown(text: str) -> str:
    flat = re.sub(r"[ \t\r\n]+", " ", text).strip()
    return "".join(f"\\{c}" if c in _MARKDOWN else c for c in flat)


def _texts(table: Table) -> list[list[str]]:
    """The heading's row and the others, as text."""
    body = [[format_cell(value, heading.digits) for value, heading in zip(row, table.headings, strict=True)] for row in table.rows]
    return [[_title(heading) for heading in table.headings], *body]


def _title(heading: Heading) -> str:
    return f"{heading.title} ({heading.unit})" if heading.unit else heading.title


def _wordy(table: Table) -> Sequence[bool]:
    """Which columns are words, set left."""
    first = table.rows[0] if table.rows else ("",) * len(table.headings)
    return [isinstance(v, str) if h.words is None else h.words for h, v in zip(table.headings, first, strict=True)]
