"""sub-XX_sessions.tsv: a row per visit with what was found there and since its baseline. Counts what it is given, reads no image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bids_app.cases import Pair
from bids_app.derivatives import Derivatives
from bids_app.tables import Column, write_table
from coactseg_cli.components import label
from coactseg_cli.lesion_maps import Grids
from coactseg_cli.lesions.fates import Fate
from coactseg_cli.lesions.relations import relations
from coactseg_cli.segment_files import ReadMaps

COMMON = "on the common grid"
COLUMNS = {
    "session_id": Column("Session"),
    "acq_time": Column("Acquisition time, where the raw data set gives it"),
    "days": Column("Days since the first visit, from acquisition times or a column of days in the raw data set", "d"),
    "all_lesions": Column("Number of lesions of this visit"),
    "all_volume_mm3": Column("Volume of all lesions of this visit", "mm^3"),
    "baseline_session_id": Column("The visit that this one is compared with"),
    "new_lesions": Column("Number of lesions that are new since the baseline session, in the map of new lesions"),
    "new_volume_mm3": Column("Volume of the lesions that are new since the baseline session", "mm^3"),
    "resolved_lesions": Column("Number of lesions of the baseline session that are gone at this visit, in the map of resolved lesions"),
    "resolved_volume_mm3": Column("Volume of the lesions of the baseline session that are gone at this visit", "mm^3"),
    "tracked_new_lesions": Column("Number of lesions whose fate since the baseline session is 'new', see the desc-lesions table"),
    "tracked_resolved_lesions": Column("Number of lesions whose fate since the baseline session is 'resolved'"),
    "enlarging_lesions": Column("Number of lesions that grew since the baseline session by more than measurement noise"),
    "shrinking_lesions": Column("Number of lesions that shrank since the baseline session by more than measurement noise"),
    "stable_lesions": Column("Number of lesions that changed by no more than measurement noise, or that one session alone shows"),
    "merged_lesions": Column("Number of lesions of the baseline session that are part of another lesion now"),
    "split_lesions": Column("Number of lesions that came off a lesion of the baseline session"),
    "new_outside_followup_mm3": Column(f"Called new, but no lesion of this visit: a contradiction, {COMMON}", "mm^3"),
    "new_inside_baseline_mm3": Column(f"Called new, but a lesion of the baseline session already, {COMMON}", "mm^3"),
    "resolved_outside_baseline_mm3": Column(f"Called resolved, but no lesion of the baseline session, {COMMON}", "mm^3"),
    "resolved_inside_followup_mm3": Column(f"Called resolved, but a lesion of this visit still, {COMMON}", "mm^3"),
    "new_and_resolved_mm3": Column(f"Called new and resolved, {COMMON}", "mm^3"),
    "nullpair_lesions": Column(f"Number of lesions called new where this visit is compared with itself: all are false, {COMMON}"),
    "nullpair_volume_mm3": Column(f"Volume called new where this visit is compared with itself, {COMMON}", "mm^3"),
    "brain_mask_volume_mm3": Column("Volume of the brain mask", "mm^3"),
    "n_flags": Column("Number of quality flags of this visit, see the desc-quality table"),
    "flags": Column("Names of the quality flags of this visit, separated by ';'"),
}
FATES = {
    "tracked_new_lesions": Fate.NEW,
    "tracked_resolved_lesions": Fate.RESOLVED,
    "enlarging_lesions": Fate.ENLARGING,
    "shrinking_lesions": Fate.SHRINKING,
    "stable_lesions": Fate.STABLE,
    "merged_lesions": Fate.MERGED,
    "split_lesions": Fate.SPLIT,
}
Row = dict[str, object]


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """What the table is made of."""

    visits: Sequence[Grids]
    days: Sequence[float | None]
    maps: ReadMaps
    null: Sequence[np.ndarray | None]  # per visit (X, Y, Z) bool: what the null pair calls new
    fates: Mapping[Pair, Mapping[Fate, int]]  # of each row's pair: lesions per fate
    flags: Sequence[Mapping[str, object]]  # rows of the table of quality checks


def row_pairs(n_visits: int, pairs: Sequence[Pair]) -> dict[int, Pair]:
    """Visit to the pair that its row tells: with the visit before where they are compared, else with the first."""
    wanted = {i: (Pair(i - 1, i), Pair(0, i)) for i in range(n_visits)}
    found = {i: next((p for p in wanted[i] if p in pairs), None) for i in wanted}
    return {i: pair for i, pair in found.items() if pair is not None}


def write_sessions(tree: Derivatives, subject: str, findings: Findings) -> list[Path]:
    """Write the table; none without session labels."""
    if any(v.scan.session is None for v in findings.visits):
        return []
    pairs = row_pairs(len(findings.visits), tuple(findings.maps.new))
    rows = [_visit(i, findings) | (_comparison(pairs[i], findings) if i in pairs else {}) for i in range(len(findings.visits))]
    path = tree.subject_path(subject, f"sub-{subject}_sessions.tsv")
    write_table(path, rows, COLUMNS)
    return [path]


def _visit(i: int, findings: Findings) -> Row:
    visit, found = findings.visits[i], findings.maps.all[i].found
    session = f"ses-{visit.scan.session}"
    raised = [str(row["name"]) for row in findings.flags if row["session_id"] == session and str(row["flagged"]) == "1"]
    names = list(dict.fromkeys(raised))
    null = findings.null[i]
    return {
        "session_id": session,
        "acq_time": None if visit.scan.time is None else visit.scan.time.isoformat(),
        "days": findings.days[i],
        "all_lesions": len(found.lesions),
        "all_volume_mm3": found.volume_mm3,
        "nullpair_lesions": None if null is None else label(null)[1],
        "nullpair_volume_mm3": None if null is None else float(null.sum()) * visit.image.voxel_mm3,
        "brain_mask_volume_mm3": float(visit.native_brain.data.sum()) * visit.native_brain.voxel_mm3,
        "n_flags": len(names),
        "flags": ";".join(names),
    }


def _comparison(pair: Pair, findings: Findings) -> Row:
    """What is known of a visit against its baseline."""
    maps, visits = findings.maps, findings.visits
    row: Row = {"baseline_session_id": f"ses-{visits[pair.baseline].scan.session}"}
    for kind, of_pairs in (("new", maps.new), ("resolved", maps.resolved)):
        if pair in of_pairs:
            row[f"{kind}_lesions"] = len(of_pairs[pair].found.lesions)
            row[f"{kind}_volume_mm3"] = of_pairs[pair].found.volume_mm3
    resolved = maps.resolved[pair].mask if pair in maps.resolved else None
    masks = (maps.all[pair.baseline].mask, maps.all[pair.followup].mask, maps.new[pair].mask, resolved)
    row |= asdict(relations(*masks, visits[pair.followup].image.voxel_mm3))
    return row | {column: findings.fates[pair][fate] for column, fate in FATES.items()}
