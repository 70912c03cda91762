"""Ids of an existing table, found again by overlap; an id that was ever used is never given to another lesion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from coactseg_cli.errors import CoactSegError, GridMismatch
from coactseg_cli.lesions.history import History, Sighting, Track
from coactseg_cli.lesions.measure import MAX_LESIONS


def keep_ids(history: History, previous_labels: Sequence[np.ndarray | None], retired: Iterable[int] = ()) -> History:
    """Give lesions the ids that they have in an earlier result.

    A lesion takes the id with which it shares most voxels over all visits, at least rules.min_overlap of the smaller of
    the two; the strongest match first, each id once. Lesions without a match get ids above every id ever used.

    Args:
        history: of all visits, old and added.
        previous_labels: per visit of `history` the ids of the earlier result, (X, Y, Z) uint16 on the same grid; None for
            a visit that it does not have.
        retired: further ids that were ever used: all of the earlier tables, however old.

    Returns: the same lesions under their old ids; `retired` holds the ids that no lesion has now.
    Raises: GridMismatch, CoactSegError for more ids than a uint16 has.
    """
    matches, old = _matches(history, previous_labels)
    used = set(old) | set(retired)
    new_ids = _assign(history, matches, used)
    lut = np.zeros(max(new_ids, default=0) + 1, np.uint16)
    for number, new in new_ids.items():
        lut[number] = new
    tracks = sorted((_renumbered(track, new_ids) for track in history.tracks), key=lambda track: track.id)
    gone = (used | set(history.retired)) - set(new_ids.values())
    return replace(history, tracks=tuple(tracks), labels=tuple(lut[labels] for labels in history.labels), retired=tuple(sorted(gone)))


def _matches(history: History, previous: Sequence[np.ndarray | None]) -> tuple[list[tuple[int, int]], set[int]]:
    """Pairs of id now and id before, the strongest first; and every id of the earlier result."""
    shared: dict[tuple[int, int], int] = {}
    now_voxels: dict[int, int] = {}
    old_voxels: dict[int, int] = {}
    for i, (now, old) in enumerate(zip(history.labels, previous, strict=True)):
        if old is None:
            continue
        if old.shape != now.shape:
            msg = f"visit {i}: expected earlier ids of shape {now.shape}; got {old.shape}. Resample them to the common grid first."
            raise GridMismatch(msg)
        _add(now_voxels, now[now > 0])
        _add(old_voxels, old[old > 0])
        both = (now > 0) & (old > 0)
        pairs, counts = np.unique(np.stack([now[both], old[both]], axis=1), axis=0, return_counts=True)
        for (x, y), n in zip(pairs, counts, strict=True):
            shared[int(x), int(y)] = shared.get((int(x), int(y)), 0) + int(n)
    enough = {(x, y): n for (x, y), n in shared.items() if n >= history.rules.min_overlap * min(now_voxels[x], old_voxels[y])}
    return sorted(enough, key=lambda pair: (-enough[pair], pair[1], pair[0])), set(old_voxels)


def _add(voxels: dict[int, int], ids: np.ndarray) -> None:
    for number, n in zip(*np.unique(ids, return_counts=True), strict=True):
        voxels[int(number)] = voxels.get(int(number), 0) + int(n)


def _assign(history: History, matches: Sequence[tuple[int, int]], used: set[int]) -> dict[int, int]:
    """Id now -> id to be."""
    given: dict[int, int] = {}
    for now, old in matches:
        if now not in given and old not in given.values():
            given[now] = old
    next_id = max(used | set(history.retired), default=0) + 1
    for track in history.tracks:
        if track.id not in given:
            given[track.id] = next_id
            next_id += 1
    if next_id - 1 > MAX_LESIONS:
        msg = f"found more than {MAX_LESIONS} lesions over all runs, which a dseg cannot number. Start from an empty output folder."
        raise CoactSegError(msg)
    return given


def _renumbered(track: Track, new_ids: Mapping[int, int]) -> Track:
    return Track(new_ids[track.id], tuple(_renumber(sighting, new_ids) for sighting in track.sightings))


def _renumber(sighting: Sighting, new_ids: Mapping[int, int]) -> Sighting:
    into, source = sighting.merged_into, sighting.split_from
    return replace(
        sighting,
        merged_into=None if into is None else new_ids[into],
        split_from=None if source is None else new_ids[source],
    )
