"""sub-XX_sessions.tsv: a row per visit with what was found there and since its baseline. Counts what it is given, reads no image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bids_app.cases import Pair, PreparedTimeline
from bids_app.derivatives import Derivatives
from bids_app.tables import Column, write_table
from coactseg_cli.lesion_maps import Grids
from coactseg_cli.segment_files import ReadMaps

COLUMNS = {
    "session_id": Column("Session"),
    "acq_time": Column("Acquisition time, where the raw data set gives it"),
    "all_lesions": Column("Number of lesions of this visit"),
    "all_volume_mm3": Column("Volume of all lesions of this visit", "mm^3"),
    "baseline_session_id": Column("The visit that this one is compared with"),
    "new_lesions": Column("Number of lesions that are new since the baseline session"),
    "new_volume_mm3": Column("Volume of the lesions that are new since the baseline session", "mm^3"),
    "resolved_lesions": Column("Number of lesions of the baseline session that are gone at this visit"),
    "resolved_volume_mm3": Column("Volume of the lesions of the baseline session that are gone at this visit", "mm^3"),
    "brain_mask_volume_mm3": Column("Volume of the brain mask", "mm^3"),
}


def baseline_of(visit: int, pairs: Sequence[Pair]) -> Pair | None:
    """The pair that a visit's row tells: with the visit before where they are compared, else with the first."""
    return next((p for wanted in (Pair(visit - 1, visit), Pair(0, visit)) for p in pairs if p == wanted), None)


def write_sessions(tree: Derivatives, prepared: PreparedTimeline, visits: Sequence[Grids], maps: ReadMaps) -> list[Path]:
    """Write the table; none without session labels."""
    if any(v.scan.session is None for v in visits):
        return []
    rows: list[dict[str, object]] = []
    for i, (visit, found) in enumerate(zip(visits, maps.all, strict=True)):
        row: dict[str, object] = {
            "session_id": f"ses-{visit.scan.session}",
            "acq_time": None if visit.scan.time is None else visit.scan.time.isoformat(),
            "all_lesions": len(found.found.lesions),
            "all_volume_mm3": found.found.volume_mm3,
            "brain_mask_volume_mm3": float(visit.native_brain.data.sum()) * visit.native_brain.voxel_mm3,
        }
        pair = baseline_of(i, tuple(maps.new))
        if pair is not None:
            row["baseline_session_id"] = f"ses-{visits[pair.baseline].scan.session}"
            for kind, of_pairs in (("new", maps.new), ("resolved", maps.resolved)):
                if pair in of_pairs:
                    row[f"{kind}_lesions"] = len(of_pairs[pair].found.lesions)
                    row[f"{kind}_volume_mm3"] = of_pairs[pair].found.volume_mm3
        rows.append(row)
    path = tree.subject_path(prepared.subject, f"sub-{prepared.subject}_sessions.tsv")
    write_table(path, rows, COLUMNS)
    return [path]
