"""The cohort to its page: chapters of tables and plots. Every number is a cell of a table beside it, rounded, or a count of rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from urllib.parse import quote

from bids_app.evaluation_page import Block, Cards, Chapter, EvaluationPage, Facts, LinkedTable, TableBlock, Title, Words, render
from bids_app.report import Cell, Heading, Table, format_cell
from bids_app.tables import number
from coactseg_cli import __version__
from coactseg_cli.cohort import words
from coactseg_cli.cohort.charts import BOX_CAPTION, charts
from coactseg_cli.cohort.columns import BOTH, NA, PAIR, VISIT, Cells, RowType
from coactseg_cli.cohort.gathering import Cohort
from coactseg_cli.cohort.statistics import QUANTITIES, Outlier

__all__ = ["page_of", "render"]

TITLE = "Lesions of a cohort"
OF_A_VISIT = (  # column, title, unit, digits
    ("days", "Days", "", 0),
    ("all_lesions", "Lesions", "", 0),
    ("all_volume_mm3", "Volume", "mm³", 0),
    ("lesion_load_percent", "Load", "%", 3),
    ("brain_mask_volume_mm3", "Brain mask", "mm³", 0),
)
OF_A_PAIR = (
    ("new_lesions", "New", "", 0),
    ("new_volume_mm3", "New volume", "mm³", 0),
    ("resolved_lesions", "Resolved", "", 0),
    ("volume_change_mm3", "Change", "mm³", 0),
    ("volume_change_mm3_per_year", "Change per year", "mm³", 0),
)
SPREAD = ("mean", "sd", "min", "q25", "median", "q75", "max")
_DIGITS = {quantity.name: quantity for quantity in QUANTITIES}


def page_of(cohort: Cohort, summary: Sequence[Cells], found: Sequence[Outlier]) -> EvaluationPage:
    """Everything the page says.

    Args:
        cohort: rows of group_lesions.tsv and group_flags.tsv.
        summary: rows of group_summary.tsv.
        found: rows of group_outliers.tsv.
    """
    chapters = (
        Chapter("summary", "Summary", "Summary", (Cards(words.headline(cohort)), *_warnings(words.warnings(cohort)))),
        Chapter("participants", "Participants", "Participants", _participants(cohort), breaks=True),
        Chapter("not-done", "Not done", "Not done", _not_done(cohort)),
        Chapter("distributions", "Distributions", "Distributions", _distributions(cohort, summary), breaks=True),
        Chapter("outliers", "Outliers", "Outliers", _outliers(cohort, found)),
        Chapter("flags", "Quality flags", "Flags", _flags(cohort)),
        Chapter("methods", "Methods", "Methods", _methods(cohort), breaks=True),
    )
    return EvaluationPage(TITLE, words.lead(cohort), words.research_line(cohort), __version__, chapters)


def _warnings(texts: Sequence[str]) -> tuple[Words, ...]:
    return tuple(Words(text, "warning") for text in texts)


def _links(rows: Sequence[Cells]) -> tuple[str, ...]:
    return tuple("" if row["report"] == NA else quote(row["report"]) for row in rows)


def _word(title: str, description: str = "") -> Heading:
    return Heading(title, description=description, words=True)


def _output(cohort: Cohort) -> tuple[Heading, ...]:
    """The column of the folder, where there are several."""
    return (_word("Folder"),) if len(cohort.outputs) > 1 else ()


def _where(cohort: Cohort, row: Cells) -> tuple[Cell, ...]:
    return (words.folder(row["output"]),) if len(cohort.outputs) > 1 else ()


def _numbers(row: Cells | None, columns: Sequence[tuple[str, str, str, int]]) -> tuple[Cell, ...]:
    return tuple(None if row is None else number(row[name]) for name, *_ in columns)


def _headings(columns: Sequence[tuple[str, str, str, int]]) -> tuple[Heading, ...]:
    return tuple(Heading(title, unit, digits, words=False) for _, title, unit, digits in columns)


# ---- participants


def _participants(cohort: Cohort) -> tuple[Block, ...]:
    """A row per participant: the latest visit, and its comparison with an earlier one."""
    visits: dict[tuple[str, str], list[Cells]] = {}
    for row in cohort.visits:
        visits.setdefault((row["participant_id"], row["output"]), []).append(row)
    compared = {(row["participant_id"], row["output"], row["session_id"]): row for row in sorted(cohort.pairs, key=_consecutive)}
    if not visits:
        return (Words("No participant is done."),)
    rows: list[tuple[Cell, ...]] = []
    for (subject, output), own in visits.items():
        last = own[-1]
        pair = compared.get((subject, output, last["session_id"]))
        before = NA if pair is None else pair["baseline_session_id"]
        flags = last["flags"].replace(";", ", ") if last["flags"] != NA else "\N{EN DASH}" if last["n_flags"] == "0" else NA
        numbers = (*_numbers(last, OF_A_VISIT), before, *_numbers(pair, OF_A_PAIR))
        rows.append((subject, *_where(cohort, last), len(own), last["session_id"], *numbers, flags))
    headings = (
        *(_word("Participant"), *_output(cohort), Heading("Visits", words=False), _word("Latest")),
        *(*_headings(OF_A_VISIT), _word("Against"), *_headings(OF_A_PAIR), _word("Flags")),
    )
    text = "The latest visit of each participant, and what changed against the visit before; names lead to the participants' pages."
    return (Words(text), LinkedTable(Table("Participants", headings, tuple(rows)), _links([own[-1] for own in visits.values()])))


def _consecutive(row: Cells) -> int:
    return int(row["consecutive"] == "1")


def _not_done(cohort: Cohort) -> tuple[Block, ...]:
    rows = cohort.not_done
    if not rows:
        known = "" if cohort.without_raw else " of the raw data set"
        return (Words(f"Every participant{known} is done."),)
    headings = (_word("Participant"), *_output(cohort), _word("Status"), _word("Reason"))
    cells = tuple((row["participant_id"], *_where(cohort, row), words.STATUS_WORDS[row["status"]], row["reason"]) for row in rows)
    return (LinkedTable(Table("Participants without results", headings, cells), _links(rows), prose=True),)


# ---- distributions, outliers, flags


def _distributions(cohort: Cohort, summary: Sequence[Cells]) -> tuple[Block, ...]:
    if not summary:
        return (Words("There is no number to sum up."),)
    blocks: list[Block] = []
    for row_type, caption in ((RowType.VISIT, "Over all visits"), (RowType.PAIR, "Over all pairs of consecutive visits")):
        rows = [row for row in summary if row["row_type"] == row_type]
        if rows:
            titles = (
                _word("Quantity"),
                *(Heading(name, words=False) for name in ("n", "n/a", "Mean", "SD", "Min", "Q1", "Median", "Q3", "Max")),
            )
            blocks.append(TableBlock(Table(caption, titles, tuple(_summed(row) for row in rows))))
    return (*blocks, charts(cohort, summary), Words(BOX_CAPTION, "key"))


def _summed(row: Cells) -> tuple[Cell, ...]:
    quantity = _DIGITS[row["quantity"]]
    numbers = (_rounded(row[name], quantity.statistic_digits) for name in SPREAD)
    return (quantity.label, int(row["n"]), int(row["n_undefined"]), *numbers)


def _rounded(text: str, digits: int) -> str:
    """A cell whose column has no digits of its own."""
    return format_cell(number(text), digits)


def _outliers(cohort: Cohort, found: Sequence[Outlier]) -> tuple[Block, ...]:
    rule = Words(words.OUTLIER_RULE, "key")
    if not found:
        return (Words("No value lies far outside."), rule)
    rows: list[tuple[Cell, ...]] = []
    for one in found:
        cells, digits = one.cells(), one.quantity.statistic_digits
        numbers = (_rounded(cells["value"], one.quantity.digits), *(_rounded(cells[name], digits) for name in ("low", "high")))
        places = (cells["session_id"], cells["baseline_session_id"])
        rows.append((cells["participant_id"], *_where(cohort, one.row), *places, one.quantity.label, *numbers))
    headings = (
        *(_word("Participant"), *_output(cohort), _word("Session"), _word("Against"), _word("Quantity")),
        *(Heading(title, words=False) for title in ("Value", "Low limit", "High limit")),
    )
    return (LinkedTable(Table("Outliers", headings, tuple(rows)), _links([one.row for one in found])), rule)


def _flags(cohort: Cohort) -> tuple[Block, ...]:
    looked = [row for row in cohort.visits if row["n_flags"] != NA]
    if not looked:
        return (Words("The output folders do not say whether scans were checked."),)
    if not cohort.flags:
        return (Words(f"No quality flag was raised in {len(looked)} visits."),)
    counts = Counter(flag["name"] for flag in cohort.flags)
    overview = tuple((name, n, words.participants(f for f in cohort.flags if f["name"] == name)) for name, n in counts.most_common())
    titles = (_word("Flag"), Heading("Raised", words=False), Heading("Participants", words=False))
    pages = {(row["participant_id"], row["output"]): row for row in cohort.visits}
    rows = tuple(_flag(cohort, flag) for flag in cohort.flags)
    headings = (
        *(_word("Participant"), *_output(cohort), _word("Session"), _word("Flag")),
        *(Heading(title, words=False) for title in ("Value", "Low limit", "High limit")),
        *(_word("Unit"), _word("Meaning, and what to do")),
    )
    links = _links([pages[flag["participant_id"], flag["output"]] for flag in cohort.flags])
    overview_table = TableBlock(Table(f"Flags raised in {len(looked)} visits that were checked", titles, overview))
    return (overview_table, LinkedTable(Table("Each flag", headings, rows), links, prose=True))


def _flag(cohort: Cohort, flag: Cells) -> tuple[Cell, ...]:
    numbers = (flag.get(name, NA) for name in ("value", "low", "high"))
    unit = flag.get("units", NA)
    about = (flag["session_id"], flag["name"], *numbers, "" if unit == NA else unit, flag.get("reason", NA))
    return (flag["participant_id"], *_where(cohort, flag), *about)


# ---- methods


def _methods(cohort: Cohort) -> tuple[Block, ...]:
    return (
        *(Words(text) for text in words.METHODS),
        Facts("What decided the maps", words.versions(cohort)),
        Title("Files beside this page"),
        Facts("Files", words.FILES, ("File", "Content")),
        Facts("Columns of visits", words.definitions([*VISIT, "brain_mask_volume_mm3", "n_flags", "flags"]), ("Column", "Meaning")),
        Facts("Columns of pairs", words.definitions(PAIR), ("Column", "Meaning")),
        Facts(
            "Columns of how it was made", words.definitions(name for name in BOTH if name not in {"report", "flags"}), ("Column", "Meaning")
        ),
    )
