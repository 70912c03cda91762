"""Which lesions of two visits are the same: overlaps, and who keeps the id. Nothing here knows volumes in mm3 or fates.

    visit before   a1   a2   a3   a4          a1-b1       kept
                   |   /     |                a2 -> b1    merged (b1 is kept by a1)
    visit after    b1        b2   b3   b4     b3 <- a3    split  (a3 keeps b2)
                              a3--/           a4          resolved, b4 new: no link

All of it is symmetric: with the visits exchanged, the same pairs are kept, and merged and split change places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from coactseg_cli.components import label, sizes


@dataclass(frozen=True, slots=True, eq=False)
class Components:
    """The connected components of one visit's mask."""

    labels: np.ndarray  # (X, Y, Z) uint32, 1..n
    voxels: np.ndarray  # (n + 1,) int64, voxels per label; 0 for the background

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.voxels) - 1


@dataclass(frozen=True, slots=True)
class Link:
    """Two components of two visits that meet."""

    before: int  # label at the visit before
    after: int  # label at the visit after
    overlap: int  # voxels in common
    contact: int  # faces at which they touch, where they have nothing in common; else 0
    place: int  # first voxel (or face) at which they meet: no two links share it, so it settles ties


@dataclass(frozen=True, slots=True)
class Pairing:
    """How the components of two visits go over into each other; labels, not ids."""

    kept: Mapping[int, int]  # before -> after: one lesion
    merged: Mapping[int, int]  # before -> after, whose id another lesion has
    split: Mapping[int, int]  # after -> before, whose id another piece has


def components_of(mask: np.ndarray, connectivity: int) -> Components:
    """Number the components of a (X, Y, Z) bool array."""
    labels, count = label(mask, connectivity)
    return Components(labels, np.concatenate([[0], sizes(labels, count)]))


def find_links(before: Components, after: Components, min_overlap: float, *, touching: bool) -> tuple[Link, ...]:
    """Every link between two visits, the strongest first.

    Two components are linked where they share at least `min_overlap` of the smaller one. With `touching`, those that this
    leaves without any link are also linked where they overlap less or share a face: a lesion of one voxel's thickness that
    moved by a voxel is not one that vanished beside one that appeared.
    """
    overlaps = _overlaps(before.labels, after.labels)
    found = [link for link in overlaps if link.overlap >= min_overlap * min(before.voxels[link.before], after.voxels[link.after])]
    if touching:
        lonely_before = _without(before.count, [link.before for link in found])
        lonely_after = _without(after.count, [link.after for link in found])
        weak = [link for link in overlaps if lonely_before[link.before] and lonely_after[link.after]]
        known = {(link.before, link.after) for link in weak}
        touch = _contacts(before.labels * lonely_before[before.labels], after.labels * lonely_after[after.labels])
        found += weak + [link for link in touch if (link.before, link.after) not in known]
    return tuple(sorted(found, key=_strength))


def _strength(link: Link) -> tuple[int, int, int]:
    return -link.overlap, -link.contact, link.place


def _without(count: int, linked: Sequence[int]) -> np.ndarray:
    """(count + 1,) bool: labels that occur in no link."""
    alone = np.ones(count + 1, bool)
    alone[[0, *linked]] = False
    return alone


def _overlaps(before: np.ndarray, after: np.ndarray) -> list[Link]:
    place = np.flatnonzero((before > 0) & (after > 0))
    a, b = before.ravel()[place], after.ravel()[place]
    return [Link(x, y, overlap=n, contact=0, place=where) for x, y, n, where in _group(a, b, place)]


def _contacts(before: np.ndarray, after: np.ndarray) -> list[Link]:
    """Components that share a face across the two visits; the arrays hold only those that may be linked."""
    if not before.any() or not after.any():
        return []
    here = np.stack(np.nonzero(before))
    a, b, place = [], [], []
    for axis in range(3):
        for step in (-1, 1):
            there = here.copy()
            there[axis] += step
            meet = (there[axis] >= 0) & (there[axis] < before.shape[axis])
            meet[meet] = after[tuple(there[:, meet])] > 0
            low = np.minimum(here[:, meet], there[:, meet])  # the same face from either side
            a.append(before[tuple(here[:, meet])])
            b.append(after[tuple(there[:, meet])])
            place.append(np.ravel_multi_index(tuple(low), before.shape) * 3 + axis)
    groups = _group(np.concatenate(a), np.concatenate(b), np.concatenate(place))
    return [Link(x, y, overlap=0, contact=n, place=where) for x, y, n, where in groups]


def _group(a: np.ndarray, b: np.ndarray, place: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Count equal (a, b). Returns: a, b, how often, smallest place."""
    pairs = np.stack([a, b], axis=1).astype(np.int64)
    distinct, inverse, counts = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
    first = np.full(len(distinct), np.iinfo(np.int64).max)
    np.minimum.at(first, inverse.ravel(), place)
    return [(int(x), int(y), int(n), int(where)) for (x, y), n, where in zip(distinct, counts, first, strict=True)]


def pair_up(links: Sequence[Link]) -> Pairing:
    """Give each id to one component: the strongest link first, then the next whose ends are both free.

    A component that is left has only taken partners; it merged into (or split off) the one that it is most strongly linked to.
    """
    kept: dict[int, int] = {}
    taken: set[int] = set()
    for link in links:
        if link.before not in kept and link.after not in taken:
            kept[link.before] = link.after
            taken.add(link.after)
    merged: dict[int, int] = {}
    split: dict[int, int] = {}
    for link in links:
        if link.before not in kept:
            merged.setdefault(link.before, link.after)
        if link.after not in taken:
            split.setdefault(link.after, link.before)
    return Pairing(kept, merged, split)
