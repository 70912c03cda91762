"""How far the maps of two ways agree: voxels pooled over cases, lesions counted. Times nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.speed.cases import PairCase, known
from coactseg_cli.components import label, sizes

LARGE_MM3 = 10.0  # voxels are taken for 1 mm3


@dataclass(slots=True)
class Agreement:
    """Voxels and lesions of one kind of map, pooled over cases."""

    both: int = 0
    ours: int = 0
    theirs: int = 0
    lesions: int = 0  # of the published maps, of LARGE_MM3 or more
    lost: int = 0  # of them, without a voxel in ours
    gained: int = 0  # lesions of ours of that size without a voxel in the published map
    largest_difference: float = 0.0  # of the probabilities
    hit_ours: int = 0  # voxels of the label that are marked
    hit_theirs: int = 0
    marked_ours: int = 0  # where the label says something
    marked_theirs: int = 0
    labelled: int = 0

    @property
    def dice(self) -> float:
        """Of our mask and the published one."""
        return 2 * self.both / (self.ours + self.theirs) if self.ours + self.theirs else float("nan")

    @property
    def dice_with_label(self) -> tuple[float, float]:
        """Ours, and the published way's."""
        ours, theirs = self.marked_ours + self.labelled, self.marked_theirs + self.labelled
        return (2 * self.hit_ours / ours if ours else float("nan"), 2 * self.hit_theirs / theirs if theirs else float("nan"))


def compare(pairs: Iterable[tuple[PairCase, Mapping[str, np.ndarray], Mapping[str, np.ndarray]]], head: str, threshold: float) -> Agreement:
    """Pool one head over (case, our maps, published maps)."""
    found = Agreement()
    for case, ours, theirs in pairs:
        a, b = ((np.asarray(maps[head]) >= threshold) & case.brain for maps in (ours, theirs))
        found.both += int((a & b).sum())
        found.ours += int(a.sum())
        found.theirs += int(b.sum())
        lost, n = _without(b, a)
        found.lesions += n
        found.lost += lost
        found.gained += _without(a, b)[0]
        difference = np.abs(np.asarray(ours[head]) - np.asarray(theirs[head]))[case.brain]
        found.largest_difference = max(found.largest_difference, float(difference.max()))
        there = known(case)
        if head == "new" and there is not None and case.new is not None:
            truth = case.new == 1
            found.labelled += int(truth.sum())
            found.hit_ours += int((a & truth).sum())
            found.hit_theirs += int((b & truth).sum())
            found.marked_ours += int((a & there).sum())
            found.marked_theirs += int((b & there).sum())
    return found


def _without(mask: np.ndarray, other: np.ndarray) -> tuple[int, int]:
    """Of the lesions of LARGE_MM3 or more, how many have no voxel in the other mask; and how many there are."""
    labels, n = label(mask)
    large = np.flatnonzero(sizes(labels, n) >= LARGE_MM3) + 1
    met = np.unique(labels[other])
    return int((~np.isin(large, met)).sum()), len(large)
