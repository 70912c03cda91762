"""Rows of a map's dseg table as a table of the page, and the note that goes with pictures of the common grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bids_app.report import Cell, Table
from bids_app.tables import number
from bids_app.tiles import Picture
from coactseg_cli.lesions.measure import HEADINGS
from coactseg_cli.subject_report.sources import Row

DRAWN_ON = (
    "Drawn on the grid where the visits meet, on which neighbouring lesions may join or part; the counts are those of the scan's own grid."
)
NUMBERS = ("volume_mm3", "voxels", "x_mm", "y_mm", "z_mm", "mean_probability", "max_probability")


def lesions_of_map(rows: Sequence[Row], caption: str) -> Table:
    """A row per lesion of one map, on the scan's own grid."""
    cells: list[tuple[Cell, ...]] = []
    for r in rows:
        values = [number(r[name]) for name in NUMBERS]
        cells.append((int(number(r["index"])), r["name"], values[0], int(values[1]), *values[2:]))
    return Table(caption, HEADINGS, tuple(cells))


def noted(picture: Picture) -> Picture:
    """The picture with the note on its grid."""
    return replace(picture, note=f"{picture.note} {DRAWN_ON}".strip())
