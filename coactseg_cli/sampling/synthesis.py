"""Lesions put into, or taken out of, real scans, so that pairs with a known change come from single scans.

A synthetic pair starts as the same scan twice, or as two real visits. Lesions are then painted at the follow-up only (new),
at the baseline only (resolved), or at both (stable); labelled lesions may be erased at the baseline, which turns a real
lesion into a new one. Each visit is rendered as an acquisition of its own afterwards (augment.acquire).
Cf. Zhang et al. 2021 (CarveMix), Basaran et al. 2022 (LesionMix).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from coactseg_cli.components import label as label_components
from coactseg_cli.sampling.patches import Patch
from coactseg_cli.targets import IGNORE

NEW, RESOLVED, STABLE = "new", "resolved", "stable"
DARK_SD = 1.0  # z-score below which FLAIR tissue is taken for lesion-free where no all-lesion label says more


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """The soft shape of one lesion: weights 0 to 1 in a small box, from a real label."""

    weights: np.ndarray  # (x, y, z) float32


@dataclass(frozen=True, slots=True, eq=False)
class PaintedLesion:
    """One lesion to paint: where, what, how bright and at which visit."""

    centre: tuple[int, int, int]  # voxel in the patch
    weights: np.ndarray  # soft shape
    contrast: float  # SD above the tissue it replaces
    texture: np.ndarray  # relative intensity, same box
    fate: str  # new, resolved or stable


def shapes_of(mask: np.ndarray, *, min_voxels: int = 4, max_voxels: int = 6000) -> list[Shape]:
    """Cut the components of an all-lesion mask (X, Y, Z) out as soft shapes."""
    labels, n = label_components(mask, 26)
    shapes = []
    for i, box in enumerate(ndimage.find_objects(labels, max_label=n), start=1):
        if box is None:
            continue
        part = np.pad(labels[box] == i, 2)
        if min_voxels <= part.sum() <= max_voxels:
            shapes.append(Shape(soften(part)))
    return shapes


def soften(mask: np.ndarray) -> np.ndarray:
    """A boolean box -> weights 0 to 1 that keep the size at the level 0.5."""
    weights: np.ndarray = np.clip(ndimage.gaussian_filter(mask.astype(np.float32), 0.6), 0.0, 1.0)
    return weights


def ellipsoid(rng: np.random.Generator, radii: np.ndarray) -> Shape:
    """A bumpy ellipsoid with the given half axes in voxels, at least one voxel large."""
    edge = int(np.ceil(radii.max())) + 3
    grid = np.stack(np.meshgrid(*[np.arange(-edge, edge + 1)] * 3, indexing="ij"), axis=-1).astype(np.float32)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    distance = np.linalg.norm((grid @ rotation) / radii, axis=-1)
    bumps = ndimage.gaussian_filter(rng.normal(size=distance.shape), 1.5)
    mask = distance + 0.25 * bumps / (bumps.std() + 1e-6) < 1.0
    mask[edge, edge, edge] = True
    return Shape(soften(mask))


def draw_shape(rng: np.random.Generator, shapes: list[Shape]) -> Shape:
    """A real lesion's shape, flipped and scaled, or an ellipsoid of 1 to 6 voxels half axis."""
    if not shapes or rng.random() < 0.4:
        size = np.exp(rng.uniform(np.log(1.0), np.log(6.0)))
        return ellipsoid(rng, size * np.exp(rng.normal(0.0, 0.25, 3)))
    weights = shapes[rng.integers(len(shapes))].weights
    weights = weights.transpose(rng.permutation(3))[:: rng.choice([-1, 1]), :: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
    factor = float(np.exp(rng.normal(0.0, 0.2)))
    return Shape(np.clip(ndimage.zoom(weights, factor, order=1), 0.0, 1.0))


def draw_lesions(rng: np.random.Generator, patch: Patch, shapes: list[Shape]) -> list[PaintedLesion]:
    """None to several lesions; one sample in five is a null pair, where nothing changes."""
    count = 0 if rng.random() < 0.2 else 1 + int(rng.poisson(2.0))
    places = np.argwhere(plausible_places(patch))
    if not len(places):
        return []
    return [_draw_lesion(rng, places, shapes) for _ in range(count)]


def plausible_places(patch: Patch) -> np.ndarray:
    """Voxels where a lesion may sit: brain, not CSF (dark), away from the border of the brain and not yet a lesion."""
    inside: np.ndarray = ndimage.binary_erosion(patch.brain, iterations=4) & (patch.baseline > -0.8)
    for known in (patch.all_baseline, patch.all_followup, patch.new):
        if known is not None:
            inside &= known != 1
    return inside


def _draw_lesion(rng: np.random.Generator, places: np.ndarray, shapes: list[Shape]) -> PaintedLesion:
    weights = draw_shape(rng, shapes).weights
    texture = ndimage.gaussian_filter(rng.normal(size=weights.shape), 1.0).astype(np.float32)
    x, y, z = (int(v) for v in places[rng.integers(len(places))])
    return PaintedLesion(
        centre=(x, y, z),
        weights=weights,
        contrast=float(rng.uniform(0.8, 2.8)),
        texture=1.0 + 0.15 * texture / (texture.std() + 1e-6),
        fate=str(rng.choice([NEW, RESOLVED, STABLE], p=[0.5, 0.25, 0.25])),
    )


def place(shape: tuple[int, ...], lesion: PaintedLesion) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where a lesion's box meets the patch: slices into the patch and into the box."""
    start = np.array(lesion.centre) - np.array(lesion.weights.shape) // 2
    low, high = np.maximum(start, 0), np.minimum(start + lesion.weights.shape, shape)
    high = np.maximum(high, low)
    into = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    out_of = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
    return into, out_of


def paint(image: np.ndarray, brain: np.ndarray, lesion: PaintedLesion) -> tuple[np.ndarray, np.ndarray]:
    """Lift the intensity towards a bright lesion. Returns: the new image, the lesion's mask (weight at least 0.5, in the brain)."""
    into, out_of = place(image.shape, lesion)
    weights = lesion.weights[out_of] * brain[into]
    out, mask = image.copy(), np.zeros(image.shape, bool)
    tissue = np.median(image[into][brain[into]]) if brain[into].any() else 0.0
    target = np.maximum(tissue, 0.0) + lesion.contrast * lesion.texture[out_of]
    out[into] += weights * np.maximum(target - out[into], 0.0)
    mask[into] = weights >= 0.5
    return out, mask


def erase(image: np.ndarray, lesion: np.ndarray, brain: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Replace a lesion (boolean mask) by tissue as it is around it, with that tissue's own noise and a soft border."""
    wide = ndimage.binary_dilation(lesion, iterations=2)
    tissue = (brain & ~wide & (image > -1.0) & (image < 1.5)).astype(np.float32)
    weight = ndimage.gaussian_filter(tissue, 4.0)
    mean = ndimage.gaussian_filter(image * tissue, 4.0) / np.maximum(weight, 1e-3)
    detail = image - ndimage.gaussian_filter(image, 1.5)
    noise = np.roll(np.where(tissue > 0, detail, 0.0), tuple(rng.integers(-12, 13, 3)), axis=(0, 1, 2))
    soft = np.clip(ndimage.gaussian_filter(wide.astype(np.float32), 0.8), 0.0, 1.0)
    return np.where(brain, image * (1 - soft) + (mean + noise) * soft, image).astype(np.float32)


def make_pair(patch: Patch, shapes: list[Shape], rng: np.random.Generator) -> Patch:
    """Paint a known change into one visit taken twice, or into a real pair beside its real change.

    From one visit, the new-lesion target is complete: what was not put there did not change. From a real pair, it is the
    pair's own target plus the painted lesions. The all-lesion targets are what was known, and 1 where a lesion was painted.
    """
    base, follow = patch.baseline, patch.followup
    at_baseline = _known_or_dark(patch.all_baseline, base, patch.brain)
    at_followup = _known_or_dark(patch.all_followup, follow, patch.brain)
    new = np.full(base.shape, IGNORE if patch.is_pair else 0, np.int8) if patch.new is None else patch.new.copy()
    for lesion in draw_lesions(rng, patch, shapes):
        if lesion.fate != RESOLVED:
            follow, mask = paint(follow, patch.brain, lesion)
            at_followup[mask] = 1
            if lesion.fate == NEW:
                new[mask & (at_baseline != 1)] = 1
        if lesion.fate != NEW:
            base, mask = paint(base, patch.brain, lesion)
            at_baseline[mask] = 1
            new[mask] = 0
    if patch.all_baseline is not None and not patch.is_pair:
        base, at_baseline, new = _erase_some(base, at_baseline, new, patch, rng, patch.all_baseline == 1)
    new[~patch.brain] = 0
    return patch.with_(baseline=base, followup=follow, is_pair=True, all_baseline=at_baseline, all_followup=at_followup, new=new)


def _known_or_dark(known: np.ndarray | None, image: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """The label where there is one; else 0 where the tissue is too dark for a lesion on FLAIR, and IGNORE elsewhere."""
    if known is not None:
        return known.copy()
    return np.where(brain & (image > DARK_SD), IGNORE, 0).astype(np.int8)


def _erase_some(
    base: np.ndarray, at_baseline: np.ndarray, new: np.ndarray, patch: Patch, rng: np.random.Generator, labelled: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Erase each labelled lesion at the baseline with probability 0.3, so that a real lesion is new."""
    labels, n = label_components(labelled, 26)
    chosen = np.concatenate([[False], rng.random(n) < 0.3])[labels]
    if not chosen.any():
        return base, at_baseline, new
    base = erase(base, chosen, patch.brain, rng)
    return base, np.where(chosen, 0, at_baseline).astype(np.int8), np.where(chosen, 1, new).astype(np.int8)
