"""One column of participants.tsv, for instance the site, by participant."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bids_app.errors import InvalidDataset, NoInput
from bids_app.tables import read_table

TABLE = "participants.tsv"


def read_column(path: Path, column: str) -> dict[str, str]:
    """Participant (with 'sub-') to the value of a column; 'n/a' is left out.

    Raises: NoInput; InvalidDataset where participant_id or the column is missing.
    """
    rows = read_table(path)
    names = list(rows[0]) if rows else []
    for name in ("participant_id", column):
        if rows and name not in names:
            msg = f"{path}: no column {name!r}; found {', '.join(names)}. Name one of them, or another table with --participants."
            raise InvalidDataset(msg)
    return {f"sub-{row['participant_id'].removeprefix('sub-')}": row[column] for row in rows if row[column] not in {"", "n/a"}}


def find_table(folders: Iterable[Path], column: str) -> Path:
    """The first participants.tsv with a column, in the folders themselves or, of derivatives/NAME, in the data set around it.

    Raises: NoInput; InvalidDataset where there are tables, none of them with the column.
    """
    places = [place for folder in folders for place in _places(folder)]
    tables = [table for place in places if (table := place / TABLE).is_file()]
    for table in tables:
        rows = read_table(table)
        if rows and column in rows[0] and "participant_id" in rows[0]:
            return table
    if tables:
        read_column(tables[0], column)  # says which columns there are
    msg = f"--site-column {column}: no {TABLE} with it in {', '.join(map(str, places))}. Name the table with --participants."
    raise NoInput(msg)


def _places(folder: Path) -> list[Path]:
    inside = folder.resolve().parent.name == "derivatives"
    return [folder, folder.resolve().parent.parent] if inside else [folder]
