"""Rows of the tables of tracked lesions: one per lesion, and one per lesion and visit. Writing them is left to bids_app.tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bids_app.tables import Column
from coactseg_cli.lesions.fates import Fate
from coactseg_cli.lesions.history import History, Sighting, Track
from coactseg_cli.lesions.location import MEANINGS, Location

DAYS_PER_YEAR = 365.25
NAN = float("nan")

FATE_LEVELS = {
    str(Fate.BASELINE): "Seen at the first visit, which nothing precedes",
    str(Fate.NEW): "No lesion here at the visit before",
    str(Fate.ENLARGING): "Larger than at the visit before by more than the measurement noise",
    str(Fate.SHRINKING): "Smaller than at the visit before by more than the measurement noise",
    str(Fate.STABLE): "Changed by no more than the measurement noise, or seen at one visit alone and not confirmed by the maps of change",
    str(Fate.RESOLVED): "No lesion here any more",
    str(Fate.MERGED): "Became part of another lesion, see merged_into",
    str(Fate.SPLIT): "Came off another lesion, see split_from",
}

LESION_COLUMNS = {
    "index": Column("Label of the lesion in the dseg image; the same at every visit and in every run, never given to another lesion"),
    "name": Column("Name of the lesion"),
    "first_session": Column("First visit at which the lesion is seen"),
    "last_session": Column("Last visit at which the lesion is seen"),
    "fate": Column("What the last comparison that concerns the lesion says", levels=FATE_LEVELS),
    "location": Column(
        "Where the lesion lies, by a rule on distances; see the documentation of the method",
        levels={str(place): meaning for place, meaning in MEANINGS.items()},
    ),
    "x_mm": Column("Centroid at last_session in its scanner coordinates, towards the right of the patient", units="mm"),
    "y_mm": Column("Centroid at last_session in its scanner coordinates, towards the front of the patient", units="mm"),
    "z_mm": Column("Centroid at last_session in its scanner coordinates, towards the head of the patient", units="mm"),
    "volume_first_mm3": Column("Volume at first_session, on the common grid", units="mm3"),
    "volume_last_mm3": Column("Volume at last_session, on the common grid; 0 where it resolved, n/a where it merged", units="mm3"),
    "change_mm3": Column("volume_last_mm3 minus volume_first_mm3, with all that merged into the lesion meanwhile", units="mm3"),
    "annualised_change_mm3_per_year": Column("change_mm3 per year of 365.25 days", units="mm3/year"),
    "max_probability": Column("Largest lesion probability within the lesion at last_session, 0 to 1"),
    "mean_probability": Column("Mean lesion probability over the lesion at last_session, 0 to 1"),
    "merged_into": Column("Index of the lesion that it became part of"),
    "split_from": Column("Index of the lesion that it came off"),
    "new_probability_max": Column(
        "Largest new-lesion probability within the lesion at first_session, 0 to 1; n/a where it is there from the first visit"
    ),
}

TIMELINE_COLUMNS = {
    "lesion_id": Column("Index of the lesion in the desc-lesions dseg image and table"),
    "session_id": Column("Visit"),
    "days": Column("Days since the first visit", units="d"),
    "volume_mm3": Column("Volume at this visit, on the common grid; 0 where the lesion is gone", units="mm3"),
    "fate": Column("What became of the lesion since the visit before", levels=FATE_LEVELS),
    "change_mm3": Column(
        "Change since the visit before, of the lesion with all that merged into it or split off it at this visit; "
        "n/a for baseline, merged and split, so that the column sums to the change of all lesions",
        units="mm3",
    ),
    "annualised_change_mm3_per_year": Column("change_mm3 per year of 365.25 days", units="mm3/year"),
    "mean_probability": Column("Mean lesion probability over the lesion at this visit, 0 to 1"),
    "max_probability": Column("Largest lesion probability within the lesion at this visit, 0 to 1"),
    "x_mm": Column("Centroid (of a lesion that is gone: where it was) in this visit's scanner coordinates, towards the right", units="mm"),
    "y_mm": Column("Centroid (of a lesion that is gone: where it was) in this visit's scanner coordinates, towards the front", units="mm"),
    "z_mm": Column("Centroid (of a lesion that is gone: where it was) in this visit's scanner coordinates, towards the head", units="mm"),
    "overlap_with_new": Column("Share of the lesion at this visit that the new-lesion mask covers, 0 to 1"),
    "overlap_with_resolved": Column("Share of the lesion at the visit before that the resolved-lesion mask covers, 0 to 1"),
    "merged_into": Column("Index of the lesion that it became part of at this visit"),
    "split_from": Column("Index of the lesion that it came off at this visit"),
}

Row = dict[str, int | float | str | None]


@dataclass(frozen=True, slots=True, eq=False)
class VisitFacts:
    """What the tables say of a visit beside its lesions."""

    session_id: str | None  # 'ses-01'; None without sessions
    days: float | None  # since the first visit; None where unknown
    scanner_from_grid: np.ndarray  # (4, 4), voxel of the common grid to scanner RAS mm of this visit


def lesion_rows(history: History, visits: Sequence[VisitFacts], locations: Mapping[int, Location]) -> list[Row]:
    """A row per lesion under the names of LESION_COLUMNS; undefined numbers are NaN.

    Args:
        history: of track.
        visits: as many as it has.
        locations: id to location; a lesion that is missing there is unclassified.
    """
    return [_lesion_row(track, visits, locations.get(track.id, Location.UNCLASSIFIED)) for track in history.tracks]


def timeline_rows(history: History, visits: Sequence[VisitFacts]) -> list[Row]:
    """A row per lesion and visit at which something is known, under the names of TIMELINE_COLUMNS; by id, then visit."""
    return [_timeline_row(track, sighting, visits) for track in history.tracks for sighting in track.sightings]


def _lesion_row(track: Track, visits: Sequence[VisitFacts], location: Location) -> Row:
    first, last, known = track.present[0], track.present[-1], track.sightings[-1]
    volume_last_mm3 = NAN if known.fate is Fate.MERGED else known.volume_mm3
    change_mm3 = volume_last_mm3 - first.volume_mm3 if known.visit > first.visit else NAN
    x, y, z = _scanner_mm(last, visits)
    return {
        "index": track.id,
        "name": f"lesion-{track.id}",
        "first_session": visits[first.visit].session_id,
        "last_session": visits[last.visit].session_id,
        "fate": str(track.fate),
        "location": str(location),
        "x_mm": x,
        "y_mm": y,
        "z_mm": z,
        "volume_first_mm3": first.volume_mm3,
        "volume_last_mm3": volume_last_mm3,
        "change_mm3": change_mm3,
        "annualised_change_mm3_per_year": annualised(change_mm3, visits[first.visit].days, visits[known.visit].days),
        "max_probability": last.max_probability,
        "mean_probability": last.mean_probability,
        "merged_into": known.merged_into,
        "split_from": first.split_from,
        "new_probability_max": first.new_probability_max if first.visit > 0 else NAN,
    }


def _timeline_row(track: Track, sighting: Sighting, visits: Sequence[VisitFacts]) -> Row:
    here = visits[sighting.visit]
    since = visits[sighting.visit - 1].days if sighting.visit > 0 else None
    x, y, z = _scanner_mm(sighting, visits)
    return {
        "lesion_id": track.id,
        "session_id": here.session_id,
        "days": NAN if here.days is None else here.days,
        "volume_mm3": sighting.volume_mm3,
        "fate": str(sighting.fate),
        "change_mm3": sighting.change_mm3,
        "annualised_change_mm3_per_year": annualised(sighting.change_mm3, since, here.days),
        "mean_probability": sighting.mean_probability,
        "max_probability": sighting.max_probability,
        "x_mm": x,
        "y_mm": y,
        "z_mm": z,
        "overlap_with_new": sighting.overlap_with_new,
        "overlap_with_resolved": sighting.overlap_with_resolved,
        "merged_into": sighting.merged_into,
        "split_from": sighting.split_from,
    }


def _scanner_mm(sighting: Sighting, visits: Sequence[VisitFacts]) -> tuple[float, float, float]:
    affine = visits[sighting.visit].scanner_from_grid
    x, y, z = affine[:3, :3] @ np.asarray(sighting.centroid_voxel) + affine[:3, 3]
    return float(x), float(y), float(z)


def annualised(change_mm3: float, days_before: float | None, days_after: float | None) -> float:
    """A change per year of 365.25 days; NaN where the interval is unknown or not positive."""
    if days_before is None or days_after is None or not days_after > days_before:
        return NAN
    return change_mm3 * DAYS_PER_YEAR / (days_after - days_before)
