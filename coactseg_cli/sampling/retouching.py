"""Labelled lesions of a single scan that are taken out at one visit, wholly or in part: real lesions become new, gone, grown or faded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from coactseg_cli.components import label as label_components
from coactseg_cli.sampling.fates import Fate, draw_fate, teach
from coactseg_cli.sampling.painting import HALO, erase
from coactseg_cli.sampling.patches import Patch

SHARE = 0.35  # of the labelled lesions
MOST = 8  # of them in a patch
LARGEST_WHOLE = 2500  # voxels: a larger lesion loses its rim, never all of itself, which could not be filled in well
RIM = (0.25, 0.6)  # of the lesion's greatest depth
DIMMED = (0.2, 0.6)  # of a faded lesion's contrast

PART_OF = {Fate.NEW: Fate.GROWN, Fate.RESOLVED: Fate.FADED}
WHOLE_OF = {part: whole for whole, part in PART_OF.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Retouch:
    """A labelled lesion and what is still there of it at the visit that shows less."""

    lesion: np.ndarray  # (X, Y, Z) bool
    kept: np.ndarray  # (X, Y, Z) bool; empty: nothing
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
    chosen = rng.permutation(np.arange(1, n + 1)[rng.random(n) < SHARE])[:MOST]
    fates = [draw_fate(rng, changed=True) for _ in chosen]
    return [_draw_retouch(rng, labels == i, fate) for i, fate in zip(chosen, fates, strict=True) if fate is not Fate.STABLE]


def _draw_retouch(rng: np.random.Generator, lesion: np.ndarray, fate: Fate) -> Retouch:
    if fate in PART_OF and lesion.sum() > LARGEST_WHOLE:
        fate = PART_OF[fate]
    depth, dimmed = rng.uniform(*RIM), rng.uniform(*DIMMED)
    kept = core(lesion, depth) if fate in WHOLE_OF else np.zeros_like(lesion)
    if np.array_equal(kept, lesion):  # too thin to have a rim
        return Retouch(lesion, np.zeros_like(lesion), 0.0, WHOLE_OF[fate])
    return Retouch(lesion, kept, dimmed if fate is Fate.FADED else 0.0, fate)


def core(lesion: np.ndarray, depth: float) -> np.ndarray:
    """What lies deeper than a share of the lesion's greatest depth: (X, Y, Z) bool, never empty."""
    box = ndimage.find_objects(lesion.astype(np.uint8))[0]
    inside = ndimage.distance_transform_edt(np.pad(lesion[box], 1))[1:-1, 1:-1, 1:-1]
    kept = np.zeros_like(lesion)
    kept[box] = inside > depth * inside.max()
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
    wide = ndimage.binary_dilation(lesions) if lesions.any() else lesions
    images = []
    for image, decoy, roll, first in zip((patch.baseline, patch.followup), decoys, rolls, (True, False), strict=True):
        amount = _amount([r for r in retouches if r.at_baseline is first], decoy, lesions)
        x, y, z = (int(v) for v in roll)
        images.append(image.copy() if amount is None else erase(image, amount, wide, patch.brain, (x, y, z)))
    return images


def _amount(retouches: Sequence[Retouch], decoy: np.ndarray | None, lesions: np.ndarray) -> np.ndarray | None:
    """How far each voxel of one visit is replaced (X, Y, Z); None: nowhere."""
    if not retouches and decoy is None:
        return None
    gone = np.zeros(lesions.shape, bool) if decoy is None else decoy & ~lesions
    amount = np.zeros(lesions.shape, np.float32)
    for r in retouches:
        gone |= r.lesion & ~r.kept
        amount[r.kept] = r.dimmed
    halo = ndimage.binary_dilation(gone, iterations=HALO) & ~(lesions & ~gone)
    amount[halo] = 1.0
    return amount


def unlearn(targets: tuple[np.ndarray, np.ndarray, np.ndarray], retouch: Retouch, brighter: np.ndarray) -> None:
    """Write a retouched lesion's fate into the targets (all_baseline, all_followup, new; changed in place)."""
    less, more = (targets[0], targets[1]) if retouch.at_baseline else (targets[1], targets[0])
    less[retouch.lesion] = 0
    more[retouch.lesion] = 1
    shown = (retouch.kept, retouch.lesion) if retouch.at_baseline else (retouch.lesion, retouch.kept)
    teach(targets, retouch.fate, shown[0], shown[1], brighter)
