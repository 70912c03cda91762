"""Labelled lesions of a single scan that are taken out at one visit, wholly or in part: real lesions become new, gone, grown or faded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from coactseg_cli.components import label as label_components
from coactseg_cli.sampling.fates import Fate, Targets, draw_fate, is_brighter, teach
from coactseg_cli.sampling.painting import HALO, erase, grow
from coactseg_cli.sampling.patches import Patch

SHARE = 0.35  # of the labelled lesions
MOST = 8  # of them in a patch
LARGEST_WHOLE = 2500  # voxels: a larger lesion loses its rim, not all of itself, which could not be filled in well
RIM = (0.25, 0.6)  # of the lesion's greatest depth
DIMMED = (0.2, 0.6)  # of a faded lesion's contrast

PART_OF = {Fate.NEW: Fate.GROWN, Fate.RESOLVED: Fate.FADED}
WHOLE_OF = {part: whole for whole, part in PART_OF.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Retouch:
    """A labelled lesion and what is still there of it at the visit that shows less; arrays (x, y, z) of its box."""

    box: tuple[slice, ...]  # in the patch
    lesion: np.ndarray  # bool
    kept: np.ndarray  # bool; empty: nothing
    dimmed: float  # 0 to 1, how far the kept part is replaced by tissue
    fate: Fate  # not stable

    @property
    def at_baseline(self) -> bool:
        """Whether it is the baseline that shows less."""
        return self.fate in (Fate.NEW, Fate.GROWN)


def draw_retouches(rng: np.random.Generator, patch: Patch, *, changed: bool) -> list[Retouch]:
    """Some labelled lesions of a single scan with their fates; none in a real pair, whose lesions have fates of their own."""
    if patch.is_pair or patch.all_baseline is None or not changed:
        return []
    labels, n = label_components(patch.all_baseline == 1, 26)
    boxes = ndimage.find_objects(labels, max_label=n)
    chosen = rng.permutation(np.arange(1, n + 1)[rng.random(n) < SHARE])[:MOST]
    fates = [draw_fate(rng, changed=True) for _ in chosen]
    return [
        _draw_retouch(rng, boxes[i - 1], labels[boxes[i - 1]] == i, fate)
        for i, fate in zip(chosen, fates, strict=True)
        if fate is not Fate.STABLE
    ]


def _draw_retouch(rng: np.random.Generator, box: tuple[slice, ...], lesion: np.ndarray, fate: Fate) -> Retouch:
    if fate in PART_OF and lesion.sum() > LARGEST_WHOLE:
        fate = PART_OF[fate]
    depth, dimmed = rng.uniform(*RIM), rng.uniform(*DIMMED)
    kept = core(lesion, depth) if fate in WHOLE_OF else np.zeros_like(lesion)
    if fate in WHOLE_OF and not kept.any():  # too thin to have a core
        return Retouch(box, lesion, np.zeros_like(lesion), 0.0, WHOLE_OF[fate])
    return Retouch(box, lesion, kept, dimmed if fate is Fate.FADED else 0.0, fate)


def core(lesion: np.ndarray, depth: float) -> np.ndarray:
    """What lies deeper than a share of the lesion's greatest depth, and than one voxel: (x, y, z) bool, may be empty."""
    inside = ndimage.distance_transform_edt(np.pad(lesion, 1))[1:-1, 1:-1, 1:-1]
    kept: np.ndarray = inside > max(depth * inside.max(), 1.0)
    return kept


def take_out(
    patch: Patch, retouches: Sequence[Retouch], decoys: tuple[np.ndarray | None, np.ndarray | None], rolls: np.ndarray
) -> list[np.ndarray]:
    """Both visits without what was taken out, as new arrays.

    Args:
        patch: its labelled lesions are no source of healthy tissue, and keep their intensities unless they are retouched.
        retouches: from draw_retouches.
        decoys: (X, Y, Z) bool for the baseline and the follow-up: healthy tissue that is filled in all the same.
        rolls: (2, 3) voxels, where the noise of the filling is taken from.
    """
    labels = [y == 1 for y in (patch.all_baseline, patch.all_followup, patch.new) if y is not None]
    lesions = np.logical_or.reduce(labels) if labels else np.zeros(patch.brain.shape, bool)
    images = []
    for image, decoy, roll, first in zip((patch.baseline, patch.followup), decoys, rolls, (True, False), strict=True):
        amount = _amount([r for r in retouches if r.at_baseline is first], decoy, lesions)
        x, y, z = (int(v) for v in roll)
        images.append(image.copy() if amount is None else erase(image, amount, grow(lesions), patch.brain, (x, y, z)))
    return images


def _amount(retouches: Sequence[Retouch], decoy: np.ndarray | None, lesions: np.ndarray) -> np.ndarray | None:
    """How far each voxel of one visit is replaced (X, Y, Z); None: nowhere."""
    if not retouches and decoy is None:
        return None
    gone = np.zeros(lesions.shape, bool) if decoy is None else decoy & ~lesions
    amount = np.zeros(lesions.shape, np.float32)
    for r in retouches:
        gone[r.box] |= r.lesion & ~r.kept
        amount[r.box][r.kept] = r.dimmed
    amount[grow(gone, HALO) & ~(lesions & ~gone)] = 1.0
    return amount


def unlearn(targets: Targets, retouch: Retouch, images: Sequence[np.ndarray]) -> None:
    """Write a retouched lesion's fate into the targets (changed in place)."""
    part = (targets[0][retouch.box], targets[1][retouch.box], targets[2][retouch.box])
    less, more = (part[0], part[1]) if retouch.at_baseline else (part[1], part[0])
    less[retouch.lesion] = 0
    more[retouch.lesion] = 1
    shown = (retouch.kept, retouch.lesion) if retouch.at_baseline else (retouch.lesion, retouch.kept)
    teach(part, retouch.fate, *shown, is_brighter(images[0][retouch.box], images[1][retouch.box]))
