"""Tables of checks to what the page says of quality. Judges nothing itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bids_app.errors import InvalidDataset
from bids_app.report import Cell, Flag, Heading, Quality, Table, format_figures
from bids_app.tables import number
from coactseg_cli.subject_report.sources import Row, Tables, Visit, value

AGREEMENT = (
    ("new_outside_followup_mm3", "new, but no lesion at the follow-up"),
    ("new_inside_baseline_mm3", "new, but a lesion at the baseline already"),
    ("resolved_outside_baseline_mm3", "resolved, but no lesion at the baseline"),
    ("resolved_inside_followup_mm3", "resolved, but a lesion at the follow-up still"),
    ("new_and_resolved_mm3", "new and resolved at once"),
)


def quality(tables: Tables, visits: Sequence[Visit]) -> Quality:
    """Everything on record about how far the results can be trusted."""
    flags = None if tables.flags is None else tuple(_flag(r) for r in tables.flags)
    check = _selfcheck(tables.selfcheck, tables.selfcheck_facts) if tables.selfcheck else None
    agreement = tuple(t for t in (contradictions(tables, visits), null_pairs(tables, visits)) if t is not None)
    return Quality(flags, check, str(tables.selfcheck_facts.get("Reading", "")).replace("mm3", "mm³"), agreement)


def _flag(r: Row) -> Flag:
    return Flag(
        visit="" if r["session_id"] == "n/a" else r["session_id"],
        name=r["name"],
        value=number(r["value"]),
        units="" if r["units"] == "n/a" else r["units"],
        low=number(r["low"]),
        high=number(r["high"]),
        raised=r["flagged"] == "1",
        reason="" if r["reason"] == "n/a" else r["reason"],
    )


def contradictions(tables: Tables, visits: Sequence[Visit]) -> Table | None:
    """What one map of a pair says and another denies, a column per comparison; None where it was not measured."""
    measured = [(v, row) for v in visits if (row := tables.sessions.get(v.session_id)) and _measured(row)]
    if not measured:
        return None
    headings = (Heading("A voxel is", words=True), *(Heading(f"{row['baseline_session_id']} → {v.name}", "mm³", 1) for v, row in measured))
    rows: list[tuple[Cell, ...]] = [(words, *(value(row, name) for _, row in measured)) for name, words in AGREEMENT]
    return Table("Contradictions, on the grid where the visits meet", headings, tuple(rows))


def _measured(row: Row) -> bool:
    return any(math.isfinite(value(row, name)) for name, _ in AGREEMENT)


def null_pairs(tables: Tables, visits: Sequence[Visit]) -> Table | None:
    """What each visit against itself would call new; None where it was not measured."""
    rows: list[tuple[Cell, ...]] = []
    for visit in visits:
        row = tables.sessions.get(visit.session_id)
        lesions, volume = value(row, "nullpair_lesions"), value(row, "nullpair_volume_mm3")
        if math.isfinite(lesions):
            rows.append((visit.name, int(lesions), volume))
    headings = (Heading("Visit against itself"), Heading("False new lesions"), Heading("Volume", "mm³", 1))
    return Table("Null pairs", headings, tuple(rows)) if rows else None


def _selfcheck(rows: Sequence[Row], dictionary: Mapping[str, Any]) -> Table:
    """The table as it stands; what its columns mean comes from its column dictionary. Columns that hold nothing are left out."""
    names = [name for name in rows[0] if any(r[name] != "n/a" for r in rows)]
    entries = {name: entry for name in names if isinstance(entry := dictionary.get(name, {}), dict)}
    headings = tuple(_heading(name, entries.get(name, {}), [r[name] for r in rows]) for name in names)
    return Table("Self-check", headings, tuple(tuple(_cell(r[name]) for name in names) for r in rows))


def _heading(name: str, entry: Mapping[str, Any], cells: Sequence[str]) -> Heading:
    words = any(isinstance(_number(text), str) for text in cells)
    title = name.removesuffix("_mm3").removesuffix("_id").replace("_", " ").capitalize()
    unit = str(entry.get("Units", "")).replace("^3", "³").replace("mm3", "mm³")
    return Heading(title, unit, description=str(entry.get("Description", "")), words=words)


def _cell(text: str) -> Cell:
    found = _number(text)
    return found.replace("_", " ") if isinstance(found, str) else format_figures(found)


def _number(text: str) -> str | float:
    try:
        return number(text)
    except InvalidDataset:
        return text
