"""Lesions followed over the visits of a participant: masks in, ids and fates out. Nothing here touches the disk.

    masks per visit -> components -> links between visits -> ids -> fates and numbers -> History

The rules, with drawings, are in docs/tracking.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from coactseg_cli.errors import CoactSegError, GridMismatch
from coactseg_cli.lesions.fates import Fate, Rules, fate_of_change
from coactseg_cli.lesions.history import History, Sighting, Track
from coactseg_cli.lesions.ids import keep_ids
from coactseg_cli.lesions.links import Components, Pairing, components_of, find_links, pair_up
from coactseg_cli.lesions.measure import MAX_LESIONS

__all__ = ["Fate", "History", "Rules", "Sighting", "Track", "VisitMaps", "keep_ids", "track", "tracking_masks"]

NAN = float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class VisitMaps:
    """One visit on the common grid; what is absent is None."""

    mask: np.ndarray  # (X, Y, Z) bool: all lesions of the visit
    all_probability: np.ndarray | None = None  # (X, Y, Z), 0 to 1
    new_probability: np.ndarray | None = None  # of lesions that are new since the visit before
    new_mask: np.ndarray | None = None  # bool: lesions that are new since the visit before
    resolved_mask: np.ndarray | None = None  # bool: lesions of the visit before that are gone here


@dataclass(frozen=True, slots=True, eq=False)
class _Measures:
    """Numbers of the components of one visit; index 0 is the background and holds nothing."""

    centroid_voxel: np.ndarray  # (n + 1, 3)
    mean_probability: np.ndarray  # (n + 1,)
    max_probability: np.ndarray
    new_probability_max: np.ndarray
    share_new: np.ndarray  # inside the new mask of this visit
    share_resolved: np.ndarray  # inside the resolved mask of the visit after


@dataclass(slots=True, eq=False)
class _Ledger:
    """The ids given so far."""

    ids: list[np.ndarray] = field(default_factory=list)  # per visit, id of each component; 0 for the background
    sightings: dict[int, list[Sighting]] = field(default_factory=dict)
    ended: dict[int, tuple[int, int]] = field(default_factory=dict)  # id of a resolved lesion -> visit and component where it was last
    next_id: int = 1


def track(visits: Sequence[VisitMaps], spacing_mm: tuple[float, float, float], rules: Rules | None = None) -> History:
    """Follow every lesion over the visits.

    Args:
        visits: in temporal order, all on one grid; one or more.
        spacing_mm: voxel edges of that grid.
        rules: what decides links and fates; None: the defaults.

    Returns: tracks by increasing id and the labels of each visit. Ids are given in temporal order, at one visit by
        decreasing volume: with the same masks a further visit changes no id.
    Raises: GridMismatch where shapes differ, CoactSegError for more lesions than a uint16 can number, ValueError without a visit.
    """
    rules = rules or Rules()
    _require_one_shape(visits)
    parts = [components_of(mask, rules.connectivity) for mask in tracking_masks(visits)]
    measures = [_measure(part, visit, after) for part, visit, after in zip(parts, visits, [*visits[1:], None], strict=True)]
    voxel_mm3 = float(np.prod(spacing_mm))
    ledger = _Ledger()
    _begin(ledger, parts[0], measures[0], voxel_mm3)
    for i in range(1, len(parts)):
        _advance(ledger, parts[: i + 1], measures[i - 1 : i + 1], voxel_mm3, rules)
    tracks = tuple(Track(number, tuple(seen)) for number, seen in sorted(ledger.sightings.items()))
    labels = tuple(ids[part.labels] for ids, part in zip(ledger.ids, parts, strict=True))
    return History(tracks, labels, spacing_mm, rules)


def tracking_masks(visits: Sequence[VisitMaps]) -> tuple[np.ndarray, ...]:
    """The lesions of each visit that are followed: all lesions, what is new at it, and what is resolved at the next visit.

    So new lies inside the follow-up and resolved inside the baseline. A voxel that the new-lesion mask calls new and the
    baseline's mask calls lesion is in both visits: the masks of single visits have the last word on what was there before.
    """
    masks = []
    for visit, after in zip(visits, [*visits[1:], None], strict=True):
        parts = [visit.mask, visit.new_mask, after.resolved_mask if after else None]
        masks.append(np.logical_or.reduce([part.astype(bool) for part in parts if part is not None]))
    return tuple(masks)


def _require_one_shape(visits: Sequence[VisitMaps]) -> None:
    if not visits:
        msg = "expected at least one visit to follow lesions over; got none."
        raise ValueError(msg)
    for i, visit in enumerate(visits):
        for name in ("mask", "all_probability", "new_probability", "new_mask", "resolved_mask"):
            array = getattr(visit, name)
            if array is not None and array.shape != visits[0].mask.shape:
                msg = (
                    f"visit {i}: expected {name} of shape {visits[0].mask.shape}; got {array.shape}. Resample it to the common grid first."
                )
                raise GridMismatch(msg)


def _begin(ledger: _Ledger, part: Components, numbers: _Measures, voxel_mm3: float) -> None:
    """The first visit: everything is there already."""
    ids = np.zeros(part.count + 1, np.uint16)
    for b in _by_size(part, range(1, part.count + 1)):
        ids[b] = _next_id(ledger)
        ledger.sightings[int(ids[b])] = [_present(0, Fate.BASELINE, b, part, numbers, voxel_mm3)]
    ledger.ids.append(ids)


def _by_size(part: Components, which: Sequence[int]) -> list[int]:
    return sorted(which, key=lambda b: (-int(part.voxels[b]), b))


def _next_id(ledger: _Ledger) -> int:
    if ledger.next_id > MAX_LESIONS:
        msg = f"found more than {MAX_LESIONS} lesions over all visits, which a dseg cannot number. Raise --min-lesion-mm3 or the threshold."
        raise CoactSegError(msg)
    ledger.next_id += 1
    return ledger.next_id - 1


def _advance(ledger: _Ledger, parts: Sequence[Components], numbers: Sequence[_Measures], voxel_mm3: float, rules: Rules) -> None:
    """One more visit, the last of `parts`: ids first, then what is said of each lesion."""
    before, after = parts[-2:]
    pairing = pair_up(find_links(before, after, rules.min_overlap, touching=rules.link_touching))
    ids = _ids_at(ledger, parts, pairing, rules)
    step = _Step(len(parts) - 1, before, after, numbers[0], numbers[1], ledger.ids[-1], ids, pairing, voxel_mm3)
    for a in range(1, before.count + 1):
        if a not in pairing.kept:
            number = int(step.ids_before[a])
            ledger.sightings[number].append(step.gone(a))
            if a not in pairing.merged:
                ledger.ended[number] = (step.visit - 1, a)
    keeper = {b: a for a, b in pairing.kept.items()}
    for b in range(1, after.count + 1):
        seen = step.kept(keeper[b], b, rules) if b in keeper else step.appeared(b)
        ledger.sightings.setdefault(int(ids[b]), []).append(seen)
    ledger.ids.append(ids)


def _ids_at(ledger: _Ledger, parts: Sequence[Components], pairing: Pairing, rules: Rules) -> np.ndarray:
    """Ids of the last visit's components: kept, come back, or given now. Returns: (n + 1,) uint16."""
    after = parts[-1]
    ids = np.zeros(after.count + 1, np.uint16)
    for a, b in pairing.kept.items():
        ids[b] = ledger.ids[-1][a]
    _come_back(ledger, parts, ids, set(pairing.split), rules)
    for b in _by_size(after, [b for b in range(1, after.count + 1) if ids[b] == 0]):
        ids[b] = _next_id(ledger)
    return ids


def _come_back(ledger: _Ledger, parts: Sequence[Components], ids: np.ndarray, pieces: set[int], rules: Rules) -> None:
    """Give a lesion at the place of one that resolved earlier the id of that one; the one seen last comes first."""
    for visit in range(len(parts) - 3, -1, -1):
        gone = {component: number for number, (last, component) in ledger.ended.items() if last == visit}
        if not gone:
            continue
        links = find_links(parts[visit], parts[-1], rules.min_overlap, touching=False)
        free = [link for link in links if link.before in gone and ids[link.after] == 0 and link.after not in pieces]
        for a, b in pair_up(free).kept.items():
            ids[b] = gone[a]
            del ledger.ended[gone[a]]


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """Two consecutive visits, and what is said of each lesion at the later one."""

    visit: int
    before: Components
    after: Components
    numbers_before: _Measures
    numbers: _Measures
    ids_before: np.ndarray
    ids: np.ndarray
    pairing: Pairing
    voxel_mm3: float

    def kept(self, a: int, b: int, rules: Rules) -> Sighting:
        """A lesion that is there at both visits, with all that merged into it or split off it."""
        was = int(self.before.voxels[a]) + sum(int(self.before.voxels[x]) for x, into in self.pairing.merged.items() if into == b)
        now = int(self.after.voxels[b]) + sum(int(self.after.voxels[x]) for x, source in self.pairing.split.items() if source == a)
        fate = fate_of_change(was * self.voxel_mm3, now * self.voxel_mm3, rules)
        return _present(
            self.visit,
            fate,
            b,
            self.after,
            self.numbers,
            self.voxel_mm3,
            before_mm3=float(self.before.voxels[a] * self.voxel_mm3),
            change_mm3=(now - was) * self.voxel_mm3,
            overlap_with_resolved=float(self.numbers_before.share_resolved[a]),
        )

    def appeared(self, b: int) -> Sighting:
        """A lesion that is new, or a piece of one that split."""
        source = self.pairing.split.get(b)
        split_from = None if source is None else int(self.ids_before[source])
        fate, change_mm3 = (Fate.NEW, float(self.after.voxels[b] * self.voxel_mm3)) if source is None else (Fate.SPLIT, NAN)
        return _present(self.visit, fate, b, self.after, self.numbers, self.voxel_mm3, change_mm3=change_mm3, split_from=split_from)

    def gone(self, a: int) -> Sighting:
        """A lesion that resolved, or became part of another."""
        into = self.pairing.merged.get(a)
        volume_mm3 = float(self.before.voxels[a] * self.voxel_mm3)
        return Sighting(
            visit=self.visit,
            fate=Fate.RESOLVED if into is None else Fate.MERGED,
            volume_mm3=0.0,
            before_mm3=volume_mm3,
            change_mm3=-volume_mm3 if into is None else NAN,
            centroid_voxel=_triple(self.numbers_before.centroid_voxel[a]),
            overlap_with_resolved=float(self.numbers_before.share_resolved[a]),
            merged_into=None if into is None else int(self.ids[into]),
        )


def _present(
    visit: int,
    fate: Fate,
    b: int,
    part: Components,
    numbers: _Measures,
    voxel_mm3: float,
    *,
    before_mm3: float = 0.0,
    change_mm3: float = NAN,
    overlap_with_resolved: float = NAN,
    split_from: int | None = None,
) -> Sighting:
    return Sighting(
        visit=visit,
        fate=fate,
        volume_mm3=float(part.voxels[b] * voxel_mm3),
        before_mm3=before_mm3,
        change_mm3=change_mm3,
        centroid_voxel=_triple(numbers.centroid_voxel[b]),
        mean_probability=float(numbers.mean_probability[b]),
        max_probability=float(numbers.max_probability[b]),
        new_probability_max=float(numbers.new_probability_max[b]),
        overlap_with_new=float(numbers.share_new[b]),
        overlap_with_resolved=overlap_with_resolved,
        split_from=split_from,
    )


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    x, y, z = values
    return float(x), float(y), float(z)


def _measure(part: Components, visit: VisitMaps, after: VisitMaps | None) -> _Measures:
    """Read the numbers off the lesion voxels alone."""
    voxels = np.nonzero(part.labels)
    index = part.labels[voxels].astype(np.int64)
    n = np.maximum(part.voxels, 1)
    mean = [np.bincount(index, weights=axis, minlength=part.count + 1) / n for axis in voxels]

    def share(mask: np.ndarray | None) -> np.ndarray:
        inside = None if mask is None else np.bincount(index, weights=mask[voxels] > 0, minlength=part.count + 1)
        return np.full(part.count + 1, np.nan) if inside is None else inside / n

    def largest(values: np.ndarray | None) -> np.ndarray:
        found = np.full(part.count + 1, np.nan if values is None else -np.inf)
        if values is not None:
            np.maximum.at(found, index, values[voxels].astype(np.float64))
        return found

    p = visit.all_probability
    mean_p = None if p is None else np.bincount(index, weights=p[voxels].astype(np.float64), minlength=part.count + 1) / n
    return _Measures(
        centroid_voxel=np.stack(mean, axis=1),
        mean_probability=np.full(part.count + 1, np.nan) if mean_p is None else mean_p,
        max_probability=largest(p),
        new_probability_max=largest(visit.new_probability),
        share_new=share(visit.new_mask),
        share_resolved=share(None if after is None else after.resolved_mask),
    )
