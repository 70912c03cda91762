"""Pairs with a known change, made from one scan taken twice or from two real visits.

Real lesions are painted at one visit or at both, and labelled lesions are taken out at one visit, wholly or in part: new, resolved,
grown, faded or stable (fates.py says what each head is then taught). Each visit is rendered as an acquisition of its own afterwards
(augment.render). docs/synthesis.md describes it. References: Zhang et al. 2021 and 2023 (CarveMix), Basaran et al. 2022 (LesionMix).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from coactseg_cli.sampling.fates import Fate, Targets, draw_fate
from coactseg_cli.sampling.lesion_library import Library, density_at, middle
from coactseg_cli.sampling.lesion_shapes import draw_look, lesser
from coactseg_cli.sampling.painted_lesions import PaintedLesion, put
from coactseg_cli.sampling.painting import overlap
from coactseg_cli.sampling.patches import Patch
from coactseg_cli.sampling.retouching import draw_retouches, take_out, unlearn
from coactseg_cli.sampling.transplants import draw_transplant
from coactseg_cli.targets import IGNORE

NULL_SHARE = 0.2  # pairs in which nothing changes
MEAN_EXTRA = 2.0  # lesions painted besides the first
MOST = 8
DECOY_SHARE = 0.3  # pairs in which healthy tissue is filled in at one visit, so that filling in is no sign of change
DARK_Z = 0.5  # below it nobody is asked: 95 % of the labelled lesion voxels are brighter (docs/synthesis.md)
BORDER_MM = 6.0  # from the brain's border: cortex and fluid; 95 to 99 % of the labelled lesion voxels lie deeper
PLACE_Z = (-0.6, 0.8)  # smoothed intensity of white matter on FLAIR; cortex is brighter, fluid darker
CANDIDATES = 1500  # voxels that are weighed against each other for one lesion
SIZES, GROWN_BRIGHTNESS, FADED_BRIGHTNESS = (0.5, 0.85), (0.7, 1.0), (0.4, 0.8)  # of the lesser look, against the fuller one


def make_pair(patch: Patch, library: Library, rng: np.random.Generator, *, transplant: bool = False) -> Patch:
    """Put a known change into one visit taken twice, or into a real pair beside its real change; equal generators, equal patches.

    From one visit, the new-lesion target is complete: what was not put there did not change. In a real pair it is the pair's own
    target, and without one what is dark at the follow-up is not new and the rest is IGNORE. The all-lesion targets are the labels,
    and without labels 0 where it is dark (DARK_Z) and IGNORE elsewhere. Painted and retouched lesions are then written into them.

    transplant: all lesions of another patient come first, most of them stable (transplants.py).
    """
    changed = bool(rng.random() >= NULL_SHARE)
    places = np.flatnonzero(plausible_places(patch))
    retouches = draw_retouches(rng, patch, changed=changed)
    decoys = _draw_decoys(rng, patch, library, places)
    lesions = draw_lesions(rng, patch, library, places, changed=changed)
    carried = draw_transplant(rng, patch, library.patients, changed=changed) if transplant else []
    targets = known_targets(patch)
    images = take_out(patch, retouches, decoys, rolls=rng.integers(-12, 13, (2, 3)))
    for retouch in retouches:
        unlearn(targets, retouch, images)
    seen = [lesion for lesion in [*carried, *lesions] if put(lesion, images, targets, patch.brain)]
    targets[2][~patch.brain] = 0
    return patch.with_(
        baseline=images[0],
        followup=images[1],
        is_pair=True,
        all_baseline=targets[0],
        all_followup=targets[1],
        new=targets[2],
        note=describe([*(r.fate for r in retouches), *(le.fate for le in seen)]),
    )


def describe(fates: Sequence[Fate]) -> str:
    """The fates in words: '2 new, 1 faded'."""
    counts = Counter(fates)
    return ", ".join(f"{counts[f]} {f.value}" for f in Fate if counts[f]) or "nothing painted"


def known_targets(patch: Patch) -> Targets:
    """What is known before anything is painted: all_baseline, all_followup, new, (X, Y, Z) int8 each."""
    at_baseline = _known_or_dark(patch.all_baseline, patch.baseline, patch.brain)
    at_followup = _known_or_dark(patch.all_followup, patch.followup, patch.brain)
    if not patch.is_pair:
        return at_baseline, at_followup, np.zeros(patch.baseline.shape, np.int8)
    return at_baseline, at_followup, _known_or_dark(patch.new, patch.followup, patch.brain)


def _known_or_dark(known: np.ndarray | None, image: np.ndarray, brain: np.ndarray) -> np.ndarray:
    if known is not None:
        return known.copy()
    return np.where(brain & (image > DARK_Z), IGNORE, 0).astype(np.int8)


def plausible_places(patch: Patch) -> np.ndarray:
    """Where a lesion's middle may lie: (X, Y, Z) bool. White matter, away from the brain's border, not in a known lesion."""
    edges = [2 * round(BORDER_MM / step) + 1 for step in patch.spacing_mm]
    deep = ndimage.minimum_filter(patch.brain.view(np.uint8), edges, mode="nearest") > 0
    smooth = ndimage.uniform_filter(patch.baseline, 3, mode="nearest")
    places: np.ndarray = deep & (smooth > PLACE_Z[0]) & (smooth < PLACE_Z[1])
    for known in (patch.all_baseline, patch.all_followup, patch.new):
        if known is not None:
            places &= known == 0
    return places


def draw_lesions(rng: np.random.Generator, patch: Patch, library: Library, places: np.ndarray, *, changed: bool) -> list[PaintedLesion]:
    """One to several lesions with their places (among flat indices) and fates; none where there is no plausible place."""
    if not len(places):
        return []
    count = min(int(rng.poisson(MEAN_EXTRA)) + (1 if changed else 0), MOST)
    return [_draw_lesion(rng, patch, library, places, draw_fate(rng, changed=changed)) for _ in range(count)]


def _draw_lesion(rng: np.random.Generator, patch: Patch, library: Library, places: np.ndarray, fate: Fate) -> PaintedLesion:
    centre, place = _draw_place(rng, patch, library, places)
    look = draw_look(rng, library, place)
    size, grown, faded = rng.uniform(*SIZES), rng.uniform(*GROWN_BRIGHTNESS), rng.uniform(*FADED_BRIGHTNESS)
    weaker = {Fate.GROWN: grown, Fate.FADED: faded}.get(fate)
    return PaintedLesion(centre, look, None if weaker is None else lesser(look, size, weaker), fate)


def _draw_place(rng: np.random.Generator, patch: Patch, library: Library, places: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """A voxel, as often as real lesions lie there, and where that is in the brain's box."""
    some = places[rng.integers(0, len(places), CANDIDATES)]
    voxels = np.stack(np.unravel_index(some, patch.brain.shape), axis=1)
    if patch.place is None:
        return voxels[0], None
    fractions = np.array(patch.place.origin) + (voxels + 0.5) / patch.brain.shape * np.array(patch.place.extent)
    chances = density_at(library, fractions)
    chosen = int(rng.choice(CANDIDATES, p=chances / chances.sum()))
    return voxels[chosen], fractions[chosen]


def _draw_decoys(
    rng: np.random.Generator, patch: Patch, library: Library, places: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Healthy tissue, in the shape of a lesion, that is filled in at one visit: (X, Y, Z) bool for the baseline and the follow-up."""
    if not len(places) or rng.random() >= DECOY_SHARE:
        return None, None
    centre, place = _draw_place(rng, patch, library, places)
    mask = draw_look(rng, library, place).mask
    into, out_of = overlap(patch.brain.shape, centre - middle(mask), mask.shape)
    decoy = np.zeros(patch.brain.shape, bool)
    decoy[into] = mask[out_of]
    return (decoy, None) if rng.random() < 0.5 else (None, decoy)
