"""Tables of followed lesions to what the page shows of them: the table, the charts, the lesions from near. Follows nothing itself."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from bids_app.fates import UNCHANGED, rank_of
from bids_app.report import Cell, LesionRow, LesionTable
from bids_app.tables import number
from bids_app.timeline import Chart, Point, fates_chart, volume_chart
from coactseg_cli.subject_report.sources import Row, Tables, Visit, value

ABSENT = "\N{EN DASH}"
MAX_NAMED = 10  # lesions whose number is written into the picture of all


def lesion_table(tables: Tables, visits: Sequence[Visit], pictured: Collection[str]) -> LesionTable | None:
    """Every lesion ever seen; None where lesions were not followed.

    Args:
        tables: of the participant.
        visits: in temporal order.
        pictured: anchors of the pictures of single lesions that the page has.
    """
    if not tables.lesions:
        return None
    names = tuple(v.name if v.scan.session else "Volume" for v in visits)
    volumes = {(r["lesion_id"], r["session_id"]): number(r["volume_mm3"]) for r in tables.timeline}
    rows = []
    for r in tables.lesions:
        cells: list[Cell] = [volumes.get((r["index"], v.session_id), ABSENT) for v in visits]
        rows.append(_row(r, tuple(cells), pictured))
    return LesionTable(names, tuple(rows))


def _row(r: Row, volumes: tuple[Cell, ...], pictured: Collection[str]) -> LesionRow:
    anchor = anchor_of(r["index"])
    return LesionRow(
        number=int(number(r["index"])),
        fate=r["fate"],
        location=r["location"].replace("_", " "),
        volumes_mm3=volumes,
        change_mm3=value(r, "change_mm3"),
        annualised_mm3=value(r, "annualised_change_mm3_per_year"),
        mean_probability=value(r, "mean_probability"),
        max_probability=value(r, "max_probability"),
        new_probability=value(r, "new_probability_max"),
        note=kinship(r),
        anchor=anchor if anchor in pictured else "",
    )


def kinship(row: Row) -> str:
    """Which lesion it merged into or came off, in words; empty: none."""
    words = [f"{w} {row[name]}" for w, name in (("into", "merged_into"), ("off", "split_from")) if row.get(name, "n/a") != "n/a"]
    return ", ".join(words)


def anchor_of(lesion_id: str) -> str:
    """Id of the picture of a lesion on the page."""
    return f"lesion-{lesion_id}"


def charts(tables: Tables, visits: Sequence[Visit]) -> tuple[Chart, ...]:
    """Lesion volume, and lesions by fate where they were followed, over the visits; none for a single visit."""
    if len(visits) < 2:
        return ()
    points = [Point(v.name, _days(tables, v.session_id), v.lesions.volume_mm3 / 1000.0, tables.counts(v.session_id)) for v in visits]
    return (volume_chart(points), fates_chart(points)) if tables.timeline else (volume_chart(points),)


def _days(tables: Tables, session_id: str) -> float | None:
    days = value(tables.sessions.get(session_id), "days")
    if math.isnan(days):
        days = next((value(r, "days") for r in tables.at(session_id)), math.nan)
    return None if math.isnan(days) else days


def named(tables: Tables) -> tuple[int, ...]:
    """Numbers of the lesions that changed most, by fate, then by size."""
    changed = [r for r in tables.lesions if r["fate"] not in UNCHANGED]
    ranked = sorted(changed, key=lambda r: (rank_of(r["fate"]), -weight(r)))
    return tuple(int(number(r["index"])) for r in ranked[:MAX_NAMED])


def weight(row: Row) -> float:
    """How much there is to a lesion's change, in mm3: its change, or its volume where it was seen once."""
    change = value(row, "change_mm3")
    volume = value(row, "volume_last_mm3") if "volume_last_mm3" in row else value(row, "volume_mm3")
    return abs(change) if math.isfinite(change) else (volume if math.isfinite(volume) else 0.0)
