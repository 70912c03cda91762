"""Stage: the participants' tables in OUT -> one table of the cohort. Reads OUT only; measures nothing anew."""

from __future__ import annotations

from pathlib import Path

from bids_app.derivatives import Derivatives, write_participants
from bids_app.errors import InvalidDataset, NoInput, NothingMatched
from bids_app.files import read_json
from bids_app.tables import Column, number, read_table, write_table

PARTICIPANT = Column("Participant")
FALLBACK = "As in the table of the participant."


def group(out_dir: Path) -> str:
    """Write group_lesions.tsv with .json, a row per visit, and participants.tsv. Returns: a sentence of what was written.

    Raises: NoInput without OUT, NothingMatched where OUT holds no segmented participant, InvalidDataset for a broken table.
    """
    if not out_dir.is_dir():
        msg = f"{out_dir}: no such folder; run 'coactseg segment BIDS {out_dir} participant' first"
        raise NoInput(msg)
    columns: dict[str, Column] = {"participant_id": PARTICIPANT}
    rows: list[dict[str, object]] = []
    for folder in sorted(path for path in out_dir.glob("sub-*") if path.is_dir()):
        found = _rows(folder, columns)
        rows += [{"participant_id": folder.name, **row} for row in found]
    if not rows:
        msg = f"{out_dir} holds no segmented participant; run 'coactseg segment BIDS {out_dir} participant' first"
        raise NothingMatched(msg)
    subjects = tuple(dict.fromkeys(str(row["participant_id"]).removeprefix("sub-") for row in rows))
    write_table(out_dir / "group_lesions.tsv", rows, columns)
    write_participants(Derivatives(out_dir), subjects)
    return f"{len(subjects)} participants, {len(rows)} visits: {out_dir / 'group_lesions.tsv'}"


def _rows(folder: Path, columns: dict[str, Column]) -> list[dict[str, str]]:
    """The rows of a participant's sessions table; without session labels one row, counted from the table of lesions."""
    path = folder / f"{folder.name}_sessions.tsv"
    if path.is_file():
        dictionary = read_json(path.with_suffix(".json")) if path.with_suffix(".json").is_file() else {}
        rows = read_table(path)
        for name in rows[0] if rows else ():
            columns.setdefault(name, _column(dictionary.get(name)))
        return rows
    tables = sorted((folder / "anat").glob("*_space-orig_desc-all_dseg.tsv"))
    return [_count(path, columns) for path in tables]


def _count(path: Path, columns: dict[str, Column]) -> dict[str, str]:
    """Number and volume of the lesions of the one visit."""
    lesions = read_table(path)
    if any("volume_mm3" not in lesion for lesion in lesions):
        msg = f"{path}: expected the column volume_mm3; found {list(lesions[0])}"
        raise InvalidDataset(msg)
    columns.setdefault("all_lesions", Column("Number of lesions of this visit"))
    columns.setdefault("all_volume_mm3", Column("Volume of all lesions of this visit", "mm^3"))
    return {"all_lesions": str(len(lesions)), "all_volume_mm3": f"{sum(number(lesion['volume_mm3']) for lesion in lesions):.10g}"}


def _column(entry: object) -> Column:
    entry = entry if isinstance(entry, dict) else {}
    return Column(str(entry.get("Description", FALLBACK)), str(entry["Units"]) if "Units" in entry else None)
