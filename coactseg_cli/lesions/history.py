"""The lesions of one participant over all visits, as values; nothing here decides a fate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from coactseg_cli.lesions.fates import Fate, Rules


@dataclass(frozen=True, slots=True)
class Sighting:
    """One lesion at one visit: there, or just gone."""

    visit: int  # index into the visits
    fate: Fate  # against the visit before
    volume_mm3: float  # 0 where it resolved or merged
    before_mm3: float  # its own volume at the visit before; 0 where it was not there
    change_mm3: float  # of the lesion with all that merged into it or split off it; NaN for baseline, merged and split
    centroid_voxel: tuple[float, float, float]  # common grid, not rounded; where it was, if it is gone
    mean_probability: float = float("nan")  # of the all-lesion map over its voxels, 0 to 1; NaN without a map or where it is gone
    max_probability: float = float("nan")
    new_probability_max: float = float("nan")  # of the new-lesion map over its voxels
    overlap_with_new: float = float(
        "nan"
    )  # share of its voxels of this visit inside the new-lesion mask; NaN without one or where it is gone
    overlap_with_resolved: float = float("nan")  # share of its voxels of the visit before inside the resolved mask; NaN without one
    merged_into: int | None = None  # id of the lesion that it became part of at this visit
    split_from: int | None = None  # id of the lesion that it came off at this visit

    @property
    def present(self) -> bool:
        """Whether the lesion is there at this visit."""
        return self.fate not in (Fate.RESOLVED, Fate.MERGED)


@dataclass(frozen=True, slots=True)
class Track:
    """One lesion over the visits at which something is known of it."""

    id: int  # 1 to 65535, never given to another lesion of the participant
    sightings: tuple[Sighting, ...]  # in temporal order; no entry for a visit before it appeared or after it was gone

    @property
    def present(self) -> tuple[Sighting, ...]:
        """The visits at which it is there; at least one."""
        return tuple(s for s in self.sightings if s.present)

    @property
    def fate(self) -> Fate:
        """What the last comparison that saw it says."""
        return self.sightings[-1].fate

    def at(self, visit: int) -> Sighting | None:
        """What is known of it at a visit."""
        return next((s for s in self.sightings if s.visit == visit), None)


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """Every lesion ever seen, and where."""

    tracks: tuple[Track, ...]  # by increasing id
    labels: tuple[np.ndarray, ...]  # per visit (X, Y, Z) uint16: the ids
    spacing_mm: tuple[float, float, float]
    rules: Rules
    retired: tuple[int, ...] = ()  # ids of earlier runs that no lesion has now; they stay taken

    @property
    def used_ids(self) -> tuple[int, ...]:
        """Every id that is taken for good, to be kept with the table."""
        return tuple(sorted({track.id for track in self.tracks} | set(self.retired)))

    def seen_at(self, visit: int) -> tuple[tuple[int, Sighting], ...]:
        """Id and sighting of every lesion of which something is known at a visit."""
        return tuple((track.id, s) for track in self.tracks if (s := track.at(visit)) is not None)


def count_fates(history: History, visit: int) -> Mapping[Fate, int]:
    """How many lesions have each fate at a visit; 0 for a fate that none has."""
    found = Counter(s.fate for _, s in history.seen_at(visit))
    return {fate: found[fate] for fate in Fate}


def fate_volume_mm3(history: History, visit: int, fate: Fate) -> float:
    """Volume of the lesions with a fate at a visit; of those that are gone, the volume they had at the visit before."""
    return float(sum(s.volume_mm3 if s.present else s.before_mm3 for _, s in history.seen_at(visit) if s.fate == fate))


def latest_wins(labels: Sequence[np.ndarray]) -> np.ndarray:
    """Every lesion ever seen in one image: where lesions of several visits cover a voxel, the latest visit's id.

    Args:
        labels: per visit (X, Y, Z) uint16, in temporal order; at least one.

    Returns: (X, Y, Z) uint16.
    """
    combined = labels[0].copy()
    for later in labels[1:]:
        np.copyto(combined, later, where=later > 0)
    return combined
