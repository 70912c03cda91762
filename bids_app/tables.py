"""Rows to TSV with a JSON column dictionary, and TSV to rows; what is undefined is 'n/a' in a file and NaN in memory."""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bids_app.errors import InvalidDataset
from bids_app.files import read_text, write_json, write_text

_FORMATS = {"index": "integer", "age": "number", "acq_time": "datetime"}  # columns whose type BIDS fixes
_FORMULA = ("=", "+", "@", "-", "＝", "＋", "＠", "－", '"')  # a spreadsheet may run a cell that begins so  # noqa: RUF001
_HARMLESS = re.compile(r"-?|-(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?|-inf")  # a dash and negative numbers


@dataclass(frozen=True, slots=True)
class Column:
    """What a column of a table means."""

    description: str
    units: str | None = None  # mm3, mL, d; None: no unit
    levels: Mapping[str, str] | None = None  # value to meaning, where there are few


def write_table(
    path: Path,
    rows: Sequence[Mapping[str, object]],
    columns: Mapping[str, Column],
    *,
    description: str | None = None,
    dictionary: bool = True,
) -> None:
    """Write rows as TSV in the order of `columns`, and beside it a JSON column dictionary of the same stem.

    Args:
        path: the .tsv file.
        rows: column name to value; None, NaN, '' and a missing key become 'n/a'.
        columns: every column, in order.
        description: what the table is, one sentence, for the JSON file; None: its stem.
        dictionary: False where a sidecar describes the columns (`_dseg.json`, see columns_json).

    Raises: ValueError for a row with a column that is not described; CannotCreate.
    """
    for row in rows:
        if surplus := [name for name in row if name not in columns]:
            msg = f"{path}: columns without a description: {surplus}. Described: {list(columns)}."
            raise ValueError(msg)
    lines = ["\t".join(cell(name) for name in columns), *("\t".join(cell(row.get(name)) for name in columns) for row in rows)]
    if dictionary:
        about = {"Description": description or f"Table {path.stem}."}
        write_json(path.with_suffix(".json"), about | columns_json(columns))
    write_text(path, "\n".join(lines) + "\n")


def columns_json(columns: Mapping[str, Column]) -> dict[str, Any]:
    """BIDS column dictionary: name to Description, Format, Units, Levels."""
    return {name: _column_json(name, column) for name, column in columns.items()}


def _column_json(name: str, column: Column) -> dict[str, Any]:
    entry: dict[str, Any] = {"Description": column.description}
    if name in _FORMATS:
        entry["Format"] = _FORMATS[name]
    if column.units is not None:
        entry["Units"] = column.units
    if column.levels is not None:
        entry["Levels"] = dict(column.levels)
    return entry


def cell(value: object) -> str:
    """Text of a value: numbers with ten digits at most, 'n/a' for what is undefined, text that no spreadsheet runs.

    Text has no tabs, line ends and control characters; where a spreadsheet could take it for a formula, it begins with ' (OWASP's advice
    on CSV injection), which read_table takes away. Negative numbers stay numbers.
    """
    value = value.item() if hasattr(value, "item") else value  # of numpy
    if value is None:
        return "n/a"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if isinstance(value, numbers.Real):
        return "n/a" if math.isnan(float(value)) else f"{float(value):.10g}"
    text = "".join(c for c in " ".join(str(value).split()) if c.isprintable()).strip() or "n/a"
    return f"'{text}" if _is_formula(text) else text


def _is_formula(text: str) -> bool:
    return text.startswith(_FORMULA) and not _HARMLESS.fullmatch(text)


def read_table(path: Path, needed: Collection[str] = ()) -> list[dict[str, str]]:
    """Read a TSV; each row is column name to text.

    Args:
        path: the table.
        needed: columns without which the caller can do nothing.

    Raises: NoInput; InvalidDataset where there is no header, a name is doubled, a needed column is missing, or a row has another number
        of cells.
    """
    lines = [line for line in read_text(path).split("\n") if line.strip("\r")]
    if not lines:
        msg = f"{path}: the table is empty; expected a header line. Repair it or remove it."
        raise InvalidDataset(msg)
    header, *body = [[_unguarded(text) for text in line.rstrip("\r").split("\t")] for line in lines]
    if len(set(header)) != len(header):
        msg = f"{path}: a column name occurs twice in {header}. Rename one."
        raise InvalidDataset(msg)
    if missing := [name for name in needed if name not in header]:
        msg = f"{path}: no column {', '.join(missing)}; there are {', '.join(header)}. Repair the table, or make it again."
        raise InvalidDataset(msg)
    for number_of_row, row in enumerate(body, start=2):
        if len(row) != len(header):
            msg = f"{path}: row {number_of_row} has {len(row)} cells; the header has {len(header)}. Separate cells with one tab each."
            raise InvalidDataset(msg)
    return [dict(zip(header, row, strict=True)) for row in body]


def _unguarded(text: str) -> str:
    stripped = text.strip()
    return stripped[1:] if stripped.startswith("'") and _is_formula(stripped[1:]) else stripped


def number(text: str) -> float:
    """Read a cell as a number, NaN for 'n/a'. Raises: InvalidDataset for other text."""
    if text in {"n/a", ""}:
        return math.nan
    try:
        return float(text)
    except ValueError as error:
        msg = f"expected a number or 'n/a' in a table; got {text!r}."
        raise InvalidDataset(msg) from error
