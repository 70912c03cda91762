"""Pairs with known change: one anatomy rendered twice, with lesions painted into it at one visit or at both. Scores nothing.

    fate        baseline    follow-up    a new-lesion map must
    new         -           lesion       find it
    stable      lesion      lesion       leave it alone
    resolved    lesion      -            leave it alone

A null pair has none of them: the same anatomy, two acquisitions that share nothing else.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import ndimage

from benchmarks.accuracy.backgrounds import Background
from benchmarks.accuracy.contrast import SIZES_MM3, Range, contrasts, draw_contrast
from benchmarks.accuracy.scanner import Scanner, carry, draw_scanner, move, render
from benchmarks.accuracy.shapes import Family, Shape, draw_shape

SEED = 20240229  # fixed before any model was scored
LARGEST_MM3 = 400.0
NEW_PER_SIZE = 2
STABLE, RESOLVED = 3, 3
FAMILIES = {Family.FIELD: 0.35, Family.BALLS: 0.3, Family.FINGER: 0.35}
GAP = 4  # voxels between lesions
ROOM_MM = 3.0  # below the brain's border
FLUID_RAMP = (-1.0, -0.4)  # SD of smoothed tissue: nothing is painted below, all above
OUTSIDE = 0.15  # at most this share of a lesion may have no room
FINGERS_TRIED = 12  # each at a place of its own
SHAPES_TRIED, PLACES_TRIED = 4, 100  # of other lesions: places for each shape
MOST_GAIN = 3.0  # by which thick slices are made up for, so that the finished scan has the drawn contrast
BORDER_MM = (0.35, 0.7)  # SD of the softness of real lesions' borders (docs/synthesis.md)
TEXTURE = 0.2


class Fate(StrEnum):
    """What becomes of a painted lesion."""

    NEW = "new"
    STABLE = "stable"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Lesion:
    """One painted lesion."""

    number: int  # in Pair.reference
    fate: Fate
    family: Family
    volume_mm3: float
    contrast: float  # drawn, SD
    seen: float  # measured in the finished scan, as real ones are; NaN where there is no tissue around


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Two prepared visits with what is true of them; arrays (X, Y, Z) on a grid of 1 mm."""

    name: str
    background: Background
    baseline: np.ndarray  # float32
    followup: np.ndarray
    baseline_brain: np.ndarray  # bool
    followup_brain: np.ndarray
    reference: np.ndarray  # int16: the number of the painted lesion, 0 elsewhere; resolved ones where they were
    lesions: tuple[Lesion, ...]
    all_baseline: np.ndarray | None  # bool, every lesion, None where nobody labelled the background
    all_followup: np.ndarray | None

    @property
    def brain(self) -> np.ndarray:
        """Of both visits together."""
        return np.asarray(self.baseline_brain | self.followup_brain)


@dataclass(frozen=True, slots=True, eq=False)
class Painted:
    """A lesion that has found its place: its share of every voxel of a box."""

    fate: Fate
    shape: Shape
    place: tuple[int, int, int]
    contrast: float

    @property
    def box(self) -> tuple[slice, ...]:
        """Where its shares lie in the volume."""
        r = self.shape.radius
        return tuple(slice(p - r, p + r + 1) for p in self.place)


def make_pair(background: Background, ranges: Sequence[Range], index: int, *, with_lesions: bool) -> Pair:
    """Pair number `index`, always the same for the same number. `ranges`: of the contrast of real lesions."""
    rng = np.random.default_rng([SEED, int(with_lesions), index])
    before, after = (draw_scanner(rng, background.slice_axis) for _ in range(2))
    painted = plan(background, ranges, rng) if with_lesions else []
    name = f"{'pair' if with_lesions else 'null'}-{index:03d}_{background.name}"
    return build(name, background, painted, (before, after), rng)


def plan(background: Background, ranges: Sequence[Range], rng: np.random.Generator) -> list[Painted]:
    """Lesions with their places, the largest first; one that finds no room is left out."""
    fates = [(Fate.NEW, k % len(SIZES_MM3)) for k in range(NEW_PER_SIZE * len(SIZES_MM3))]
    fates += [(fate, int(rng.integers(len(SIZES_MM3)))) for fate, n in ((Fate.STABLE, STABLE), (Fate.RESOLVED, RESOLVED)) for _ in range(n)]
    wanted = [(draw_volume(rng, size), fate) for fate, size in fates]
    taken = ndimage.binary_dilation(background.known, iterations=2)
    painted = []
    for volume_mm3, fate in sorted(wanted, reverse=True):
        found = place(background, taken, volume_mm3, rng)
        if found is None:
            continue
        shape, where = found
        painted.append(Painted(fate, shape, where, draw_contrast(rng, ranges, volume_mm3)))
        wide = tuple(slice(max(p - shape.radius - GAP, 0), p + shape.radius + GAP + 1) for p in where)
        own = np.zeros(taken.shape, bool)
        own[painted[-1].box] = shape.share > 0
        taken[wide] |= ndimage.binary_dilation(own[wide], iterations=GAP)
    return painted


def draw_volume(rng: np.random.Generator, size: int) -> float:
    """A volume of this size class, small ones more often: uniform in its logarithm."""
    low, high = SIZES_MM3[size]
    return float(np.exp(rng.uniform(np.log(low + 1.0), np.log(min(high, LARGEST_MM3)))))  # 1 mm3 more: a lesion of 3 does not count


def place(
    background: Background, taken: np.ndarray, volume_mm3: float, rng: np.random.Generator
) -> tuple[Shape, tuple[int, int, int]] | None:
    """A shape and a voxel where it has room; fingers leave a ventricle. None where there is no room."""
    family = Family(rng.choice([str(f) for f in FAMILIES], p=list(FAMILIES.values())))
    free = background.white & ~taken
    room = background.brain & (background.depth_mm >= ROOM_MM) & (background.smooth > -0.6) & ~background.forbidden
    if family is Family.FINGER:
        near_mm = 1.0 + 1.3 * (3 * volume_mm3 / (4 * np.pi)) ** (1 / 3)
        places = np.argwhere(free & (abs(background.ventricle_mm - near_mm) < 1.5))
        for x, y, z in places[rng.permutation(len(places))[:FINGERS_TRIED]].tolist():
            shape = draw_shape(rng, volume_mm3, family, away_from_ventricle(background, (x, y, z)))
            if fits(shape, (x, y, z), taken, room):
                return shape, (x, y, z)
        family = Family.FIELD  # there is no room beside a ventricle
    places = np.argwhere(free)
    for _ in range(SHAPES_TRIED):
        shape = draw_shape(rng, volume_mm3, family)
        for x, y, z in places[rng.permutation(len(places))[:PLACES_TRIED]].tolist():
            if fits(shape, (x, y, z), taken, room):
                return shape, (x, y, z)
    return None


def fits(shape: Shape, where: tuple[int, int, int], taken: np.ndarray, room: np.ndarray) -> bool:
    """Whether a shape touches nothing that is taken there, and has room but for a small part."""
    box = Painted(Fate.NEW, shape, where, 0.0).box
    if any(s.start < 0 or s.stop > n for s, n in zip(box, taken.shape, strict=True)):
        return False
    return not taken[box][shape.share > 0].any() and bool(shape.share[~room[box]].sum() <= OUTSIDE * shape.share.sum())


def away_from_ventricle(background: Background, voxel: tuple[int, int, int]) -> np.ndarray:
    """The direction in which the distance to the ventricle grows: (3,)."""
    around = tuple(slice(v - 1, v + 2) for v in voxel)
    gradient = np.array([g[1, 1, 1] for g in np.gradient(background.ventricle_mm[around])])
    return gradient if np.linalg.norm(gradient) > 1e-6 else np.array([1.0, 0.0, 0.0])


def build(
    name: str, background: Background, painted: Sequence[Painted], scanners: tuple[Scanner, Scanner], rng: np.random.Generator
) -> Pair:
    """Render both visits with the painted lesions, and find out where each lesion lies in them."""
    shares = [share_of(p, background) for p in painted]
    excess = [soften(p, share, background, rng) for p, share in zip(painted, shares, strict=True)]
    where = [moved(painted, shares, background.image.shape, scanner) for scanner in scanners]
    visits = ((Fate.STABLE, Fate.RESOLVED), (Fate.NEW, Fate.STABLE))
    scale = amplitudes(painted, excess, where, scanners, visits, background.image.shape)
    images, brains = [], []
    for scanner, fates in zip(scanners, visits, strict=True):
        anatomy = background.image.copy()
        for p, (box, extra), factor in zip(painted, excess, scale, strict=True):
            if p.fate in fates:
                anatomy[box] += np.float32(factor) * extra
        image, brain = render(anatomy, background.brain, scanner)
        images.append(image)
        brains.append(brain)
    reference = np.zeros(background.image.shape, np.int16)
    for number, p in enumerate(painted, start=1):
        reference[where[0 if p.fate is Fate.RESOLVED else 1] == number] = number
    lesions = tuple(lesion_of(n, p, reference, images) for n, p in enumerate(painted, start=1))
    every = [all_of(background, scanner, fates, painted, w) for scanner, fates, w in zip(scanners, visits, where, strict=True)]
    return Pair(name, background, images[0], images[1], brains[0], brains[1], reference, lesions, every[0], every[1])


def share_of(painted: Painted, background: Background) -> np.ndarray:
    """The lesion's share of each voxel of its box, without what is fluid."""
    low, high = FLUID_RAMP
    tissue = np.clip((background.smooth[painted.box] - low) / (high - low), 0.0, 1.0)
    return np.asarray(painted.shape.share * tissue * background.brain[painted.box], dtype=np.float32)


def soften(painted: Painted, share: np.ndarray, background: Background, rng: np.random.Generator) -> tuple[tuple[slice, ...], np.ndarray]:
    """What unit contrast adds to the anatomy: as soft as the scanner of the background makes a lesion's border, with texture."""
    margin = 2 + round(background.slice_mm)
    box = tuple(slice(max(s.start - margin, 0), min(s.stop + margin, n)) for s, n in zip(painted.box, background.image.shape, strict=True))
    wide = np.pad(share, [(s.start - b.start, b.stop - s.stop) for s, b in zip(painted.box, box, strict=True)])
    border_mm = float(rng.uniform(*BORDER_MM))
    sigma = [border_mm if axis != background.slice_axis else max(border_mm, background.slice_mm / np.sqrt(12)) for axis in range(3)]
    noise = ndimage.gaussian_filter(rng.standard_normal(wide.shape), 1.0)
    texture = 1 + TEXTURE * noise / max(float(noise.std()), 1e-12)
    return box, np.asarray(ndimage.gaussian_filter(wide * np.clip(texture, 0.3, 1.7), sigma), dtype=np.float32)


def moved(painted: Sequence[Painted], shares: Sequence[np.ndarray], shape: tuple[int, ...], scanner: Scanner) -> np.ndarray:
    """Numbers of the lesions (from 1) on the grid of one visit, whose head has moved; each keeps its volume."""
    amount, owner = np.zeros(shape, np.float32), np.zeros(shape, np.int16)
    for number, (p, share) in enumerate(zip(painted, shares, strict=True), start=1):
        amount[p.box] += share
        owner[p.box][ndimage.binary_dilation(share > 0, iterations=2)] = number  # lesions lie 4 voxels apart
    amount, owner = move(amount, scanner, order=1), move(owner, scanner, order=0).round().astype(np.int16)
    found = np.zeros(shape, np.int16)
    for number, share in enumerate(shares, start=1):
        box = next(iter(ndimage.find_objects((owner == number).astype(np.int8))), None)
        if box is not None:
            found[box][grown(np.where(owner[box] == number, amount[box], 0.0), round(float(share.sum())))] = number
    return found


def grown(amount: np.ndarray, n_wanted: int) -> np.ndarray:
    """The voxel with the largest amount and, one by one, the largest of those that touch (by a face) what is there: (X, Y, Z) bool."""
    padded = np.pad(amount, 1)
    inside = np.zeros(padded.shape, bool)
    heap = [(-float(padded.max()), int(padded.argmax()))]
    steps = [s // padded.itemsize for s in padded.strides]
    while heap and inside.sum() < max(n_wanted, 1):
        _, voxel = heapq.heappop(heap)
        if not inside.flat[voxel]:
            inside.flat[voxel] = True
            for neighbour in (voxel + sign * step for step in steps for sign in (-1, 1)):
                if padded.flat[neighbour] > 0:
                    heapq.heappush(heap, (-float(padded.flat[neighbour]), neighbour))
    return inside[1:-1, 1:-1, 1:-1]


def amplitudes(
    painted: Sequence[Painted],
    excess: Sequence[tuple[tuple[slice, ...], np.ndarray]],
    where: Sequence[np.ndarray],
    scanners: tuple[Scanner, Scanner],
    visits: Sequence[tuple[Fate, ...]],
    shape: tuple[int, ...],
) -> list[float]:
    """By how much each lesion must be brighter in the anatomy for the drawn contrast in the finished scan."""
    factors = [p.contrast for p in painted]
    for visit in (0, 1):
        unit = np.zeros(shape, np.float32)
        for p, (box, extra) in zip(painted, excess, strict=True):
            if p.fate in visits[visit]:
                unit[box] += extra
        if not unit.any():
            continue
        seen = carry(unit, scanners[visit])
        for k, p in enumerate(painted):
            if p.fate in visits[visit]:
                factors[k] = p.contrast / max(float(seen[where[visit] == k + 1].mean()), 1 / MOST_GAIN)
    return factors


def lesion_of(number: int, painted: Painted, reference: np.ndarray, images: Sequence[np.ndarray]) -> Lesion:
    """What is recorded of one lesion; its contrast is measured as that of a real one."""
    here, image = reference == number, images[0 if painted.fate is Fate.RESOLVED else 1]
    around = tuple(slice(max(s.start - 6, 0), s.stop + 6) for s in painted.box)
    seen = list(contrasts(image[around], here[around], (reference[around] == 0) & (image[around] != 0)))
    largest = max(seen, default=(0, float("nan")))
    return Lesion(number, painted.fate, painted.shape.family, float(here.sum()), painted.contrast, largest[1])


def all_of(
    background: Background, scanner: Scanner, fates: tuple[Fate, ...], painted: Sequence[Painted], where: np.ndarray
) -> np.ndarray | None:
    """Every lesion of one visit, the background's own and the painted ones; None where the background's are not known."""
    if background.lesion is None:
        return None
    own = move(background.lesion.astype(np.float32), scanner, order=1) > 0.5
    numbers = [number for number, p in enumerate(painted, start=1) if p.fate in fates]
    return np.asarray(own | np.isin(where, numbers))
