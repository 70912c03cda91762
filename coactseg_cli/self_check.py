"""What the network can do on a participant's own scans: false new lesions, lesions put in and found again. Writes no file.

A floor, not a validation: made-up lesions are easier than real ones, and the scan is its own rescan. docs/self-check.md

    visit --(x, x, 0)--> null pair            what the network calls new where nothing can be
    visit, moved and noised copy --> rescan   the same, for a network that knows (x, x, 0) by heart
    pair --> new; swapped --> resolved        asymmetry
    pair, lesions put into the follow-up --> how many are found, by size
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import ndimage

from bids_app.cases import Pair, consecutive_pairs
from bids_app.tables import Column
from coactseg_cli.components import keep_confident, remove_small
from coactseg_cli.lesions.injection import SIZES, Placed, SizeClass, canvas, count, draw_shape, found_of, place, truth, white_matter
from coactseg_cli.metrics.proportions import wilson
from coactseg_cli.network.fast_vnet import Head
from coactseg_cli.network.inference import Engine
from coactseg_cli.preprocessing.resampling import Interpolation, grid_of, resample
from coactseg_cli.preprocessing.rescan import noise_sd, small_motion, through_slices
from coactseg_cli.preprocessing.transforms import apply
from coactseg_cli.volumes import Volume

PER_CLASS = 20  # lesions of each size that are put into a visit
PASSES = 4  # over which they are spread
RESCAN_MM, RESCAN_DEG = 0.5, 0.5  # of the moved copy: registration of two visits leaves about so much
LEAST_SHOWN = 0.2  # a lesion that slices dilute below this is not brightened any further
RELIABLE = 0.9  # share found from which on a size is called reliable


@dataclass(frozen=True, slots=True, eq=False)
class CheckedVisit:
    """One visit as the check needs it."""

    session: str | None  # without 'ses-'
    image: Volume  # common grid, normalised, zero outside the brain
    brain: np.ndarray  # (X, Y, Z) bool, common grid
    native: Volume  # the scan on its own grid
    native_brain: np.ndarray  # bool, its own grid
    individual_from_orig: np.ndarray  # (4, 4), RAS mm


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What makes a mask of a map, as segment does."""

    all: float
    new: float
    min_lesion_mm3: float
    peak_new: float | None = None  # a new lesion that reaches it nowhere is dropped


@dataclass(frozen=True, slots=True, eq=False)
class KnownMaps:
    """Probabilities that segment has made already, (X, Y, Z) on the common grid."""

    all: tuple[np.ndarray, ...]  # per visit
    null: tuple[np.ndarray, ...]  # per visit, new-lesion head of (x, x, 0)
    new: Mapping[Pair, np.ndarray]
    resolved: Mapping[Pair, np.ndarray]  # new-lesion head with the visits swapped


class Check(StrEnum):
    """What a row is about."""

    NULL_PAIR = "null_pair"
    RESCAN = "rescan"
    FORWARD = "forward"
    REVERSED = "reversed"
    ASYMMETRY = "asymmetry"
    NEW_SENSITIVITY = "new_sensitivity"
    ALL_SENSITIVITY = "all_sensitivity"


COLUMNS = {
    "session_id": Column("The visit that is checked; of a pair its follow-up"),
    "baseline_session_id": Column("The visit that it is compared with"),
    "check": Column(
        "What was checked",
        levels={
            Check.NULL_PAIR: "The visit against itself: whatever is called new is false",
            Check.RESCAN: "The visit against a copy of itself, moved by less than a voxel and noised: what is called new is false",
            Check.FORWARD: "What is called new at the visit",
            Check.REVERSED: "What is called new with the visits swapped: lesions that are gone at the visit",
            Check.ASYMMETRY: "The row forward minus the row reversed",
            Check.NEW_SENSITIVITY: "Made-up lesions put into the visit that are found as new",
            Check.ALL_SENSITIVITY: "Made-up lesions put into the visit that are found among all lesions",
        },
    ),
    "size_min_mm3": Column("Smallest volume of the lesions put in, common grid", "mm^3"),
    "size_max_mm3": Column("Their largest volume", "mm^3"),
    "injected": Column("Number of lesions put in"),
    "found": Column("Number of those that a voxel of the mask touches"),
    "sensitivity": Column("Share found, 0 to 1"),
    "sensitivity_low": Column("Lower end of Wilson's 95 % interval of the share"),
    "sensitivity_high": Column("Upper end of Wilson's 95 % interval of the share"),
    "lesions": Column("Number of lesions in the mask, common grid"),
    "volume_mm3": Column("Volume of the mask, common grid", "mm^3"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; what does not belong to a check is None."""

    check: Check
    session: str | None
    baseline: str | None = None
    size: SizeClass | None = None
    injected: int | None = None
    found: int | None = None
    lesions: int | None = None
    volume_mm3: float | None = None

    def cells(self) -> dict[str, object]:
        """Under the names of COLUMNS."""
        share = interval = None
        if self.injected:
            share, interval = (self.found or 0) / self.injected, wilson(self.found or 0, self.injected)
        return {
            "session_id": None if self.session is None else f"ses-{self.session}",
            "baseline_session_id": None if self.baseline is None else f"ses-{self.baseline}",
            "check": str(self.check),
            "size_min_mm3": None if self.size is None else self.size.low_mm3,
            "size_max_mm3": None if self.size is None else self.size.drawn_mm3,
            "injected": self.injected,
            "found": self.found,
            "sensitivity": share,
            "sensitivity_low": None if interval is None else interval.low,
            "sensitivity_high": None if interval is None else interval.high,
            "lesions": self.lesions,
            "volume_mm3": self.volume_mm3,
        }


@dataclass(frozen=True, slots=True)
class SelfCheck:
    """What was found."""

    rows: tuple[Row, ...]
    seed: int

    def table(self) -> list[dict[str, object]]:
        """Rows for bids_app.tables.write_table with COLUMNS."""
        return [row.cells() for row in self.rows]

    def reading(self) -> str:
        """The whole check in one line; several visits or pairs are taken together."""
        return f"{_sensitivity_words(self.rows)} {_floor_words(self.rows)} A floor, not a validation."

    def settings(self) -> dict[str, object]:
        """What decided the table, for its sidecar."""
        return {
            "Seed": self.seed,
            "InjectedPerSize": PER_CLASS,
            "Passes": PASSES,
            "RescanMotion": [RESCAN_MM, RESCAN_DEG],
            "RescanMotionUnits": ["mm", "degrees"],
            "Reading": self.reading(),
        }


def self_check(
    visits: Sequence[CheckedVisit],
    engine: Engine,
    thresholds: Thresholds,
    seed: int = 0,
    *,
    pairs: Sequence[Pair] | None = None,
    known: KnownMaps | None = None,
) -> SelfCheck:
    """Check the network on the scans of one participant.

    Passes of the network: one per visit (the rescan) and PASSES per pair; 2 more per visit and 2 per pair where `known` is None.
    A participant with one visit has lesions put into that visit and looked for among all lesions instead.

    Args:
        visits: in temporal order, on one grid.
        engine: the network.
        thresholds: as for the maps.
        seed: the same seed on the same scans gives the same table.
        pairs: what is compared; None: consecutive visits.
        known: maps that are there already.
    """
    pairs = consecutive_pairs(len(visits)) if pairs is None else tuple(pairs)
    maps = maps_of(visits, pairs, engine) if known is None else known
    rows = []
    for i, visit in enumerate(visits):
        rows += _floors(visit, maps.null[i], engine, thresholds, np.random.default_rng([seed, i]))
    for pair in pairs:
        rows += _asymmetry(visits, pair, maps, thresholds)
        rows += _new_sensitivity(visits, pair, maps, engine, thresholds, np.random.default_rng([seed, pair.baseline, pair.followup]))
    if not pairs:
        for i, visit in enumerate(visits):
            rows += _all_sensitivity(visit, maps.all[i], engine, thresholds, np.random.default_rng([seed, i, i]))
    return SelfCheck(tuple(rows), seed)


def maps_of(visits: Sequence[CheckedVisit], pairs: Sequence[Pair], engine: Engine) -> KnownMaps:
    """The passes that segment makes too: (x, x, 0) of each visit, each pair forward and reversed."""
    alone = [engine.run(v.image.data, v.image.data, v.brain, [Head.ALL_FOLLOWUP, Head.NEW]) for v in visits]
    new = {p: _new(engine, visits[p.baseline], visits[p.followup].image.data, visits[p.followup].brain) for p in pairs}
    resolved = {p: _new(engine, visits[p.followup], visits[p.baseline].image.data, visits[p.baseline].brain) for p in pairs}
    return KnownMaps(tuple(m[Head.ALL_FOLLOWUP] for m in alone), tuple(m[Head.NEW] for m in alone), new, resolved)


def _new(engine: Engine, baseline: CheckedVisit, followup: np.ndarray, brain: np.ndarray) -> np.ndarray:
    return engine.run(baseline.image.data, followup, baseline.brain | brain, [Head.NEW])[Head.NEW]


def _all_mask(probability: np.ndarray, visit: CheckedVisit, limits: Thresholds) -> np.ndarray:
    return remove_small((probability >= limits.all) & visit.brain, visit.image.voxel_mm3, limits.min_lesion_mm3)


def _new_mask(probability: np.ndarray, visit: CheckedVisit, limits: Thresholds) -> np.ndarray:
    believed = keep_confident(probability, limits.new, limits.peak_new)
    return remove_small((believed >= limits.new) & visit.brain, visit.image.voxel_mm3, limits.min_lesion_mm3)


def _measured(mask: np.ndarray, voxel_mm3: float) -> tuple[int, float]:
    """Lesions and mm3."""
    return count(mask), float(mask.sum() * voxel_mm3)


# --- what is called new where nothing is ------------------------------------------------------------------------


def _floors(visit: CheckedVisit, null: np.ndarray, engine: Engine, limits: Thresholds, rng: np.random.Generator) -> list[Row]:
    copy = rescan(visit, rng)
    again = engine.run(copy, visit.image.data, visit.brain, [Head.NEW])[Head.NEW]
    rows = []
    for check, probability in ((Check.NULL_PAIR, null), (Check.RESCAN, again)):
        mask = _new_mask(probability, visit, limits)
        lesions, volume = _measured(mask, visit.image.voxel_mm3)
        rows.append(Row(check, visit.session, lesions=lesions, volume_mm3=volume))
    return rows


def rescan(visit: CheckedVisit, rng: np.random.Generator) -> np.ndarray:
    """A copy of a visit, moved by less than a voxel and resampled, with noise on the scan's own slices: (X, Y, Z).

    The noise is sqrt(2) times the scan's own, so that copy and scan differ as two scans would.
    """
    image = visit.image
    centre = apply(image.affine, np.argwhere(visit.brain).mean(axis=0)[None])[0]
    motion = small_motion(rng, centre, RESCAN_MM, RESCAN_DEG)
    moved = resample(image, grid_of(image), motion, Interpolation.CUBIC).data
    normalised_by = float(image.data[visit.brain].std()) / max(float(visit.native.data[visit.native_brain].std()), 1e-6)
    sd = np.sqrt(2.0) * noise_sd(visit.native, visit.native_brain) * normalised_by
    noise = visit.native.like(rng.normal(0.0, sd, visit.native.shape).astype(np.float32))
    added = resample(noise, grid_of(image), np.linalg.inv(visit.individual_from_orig), Interpolation.CUBIC).data
    return np.where(visit.brain, moved + added, np.float32(0.0))


def _asymmetry(visits: Sequence[CheckedVisit], pair: Pair, maps: KnownMaps, limits: Thresholds) -> list[Row]:
    """New lesions of the pair, those of the swapped pair, and the difference."""
    before, after = visits[pair.baseline], visits[pair.followup]
    masks = (
        _new_mask(maps.new[pair], after, limits),
        _new_mask(maps.resolved[pair], before, limits),
    )
    (new, new_mm3), (gone, gone_mm3) = (_measured(mask, after.image.voxel_mm3) for mask in masks)
    facts = ((Check.FORWARD, new, new_mm3), (Check.REVERSED, gone, gone_mm3), (Check.ASYMMETRY, new - gone, new_mm3 - gone_mm3))
    return [Row(check, after.session, before.session, lesions=n, volume_mm3=mm3) for check, n, mm3 in facts]


# --- lesions put in -------------------------------------------------------------------------------------------------


def _new_sensitivity(
    visits: Sequence[CheckedVisit], pair: Pair, maps: KnownMaps, engine: Engine, limits: Thresholds, rng: np.random.Generator
) -> list[Row]:
    before, after = visits[pair.baseline], visits[pair.followup]
    known = (maps.all[pair.baseline] >= limits.all) | (maps.all[pair.followup] >= limits.all)
    known |= (maps.new[pair] >= limits.new) | (maps.resolved[pair] >= limits.new)
    white = white_matter([before.image.data, after.image.data], before.brain & after.brain, known, after.image.spacing_mm)

    def look(image: np.ndarray) -> np.ndarray:
        return _new_mask(_new(engine, before, image, after.brain), after, limits)

    return _put_in(Check.NEW_SENSITIVITY, before.session, after, white, look, rng)


def _all_sensitivity(visit: CheckedVisit, every: np.ndarray, engine: Engine, limits: Thresholds, rng: np.random.Generator) -> list[Row]:
    white = white_matter([visit.image.data], visit.brain, every >= limits.all, visit.image.spacing_mm)

    def look(image: np.ndarray) -> np.ndarray:
        probability = engine.run(image, image, visit.brain, [Head.ALL_FOLLOWUP])[Head.ALL_FOLLOWUP]
        return _all_mask(probability, visit, limits)

    return _put_in(Check.ALL_SENSITIVITY, None, visit, white, look, rng)


def _put_in(
    check: Check,
    baseline: str | None,
    visit: CheckedVisit,
    white: np.ndarray,
    look: Callable[[np.ndarray], np.ndarray],
    rng: np.random.Generator,
) -> list[Row]:
    """PASSES times: put lesions of every size into white matter, and see which of them the mask touches."""
    injected, found = dict.fromkeys(SIZES, 0), dict.fromkeys(SIZES, 0)
    for _ in range(PASSES):
        shapes = [draw_shape(rng, size, visit.image.spacing_mm) for size in SIZES for _ in range(-(-PER_CLASS // PASSES))]
        placed = place(rng, shapes, white, visit.image.spacing_mm)
        if not placed:
            continue
        labels = truth(placed, visit.image.shape, visit.image.voxel_mm3)
        hit = found_of(labels, len(placed), look(put(visit, placed, labels)))
        for lesion, was_found in zip(placed, hit, strict=True):
            injected[lesion.shape.size] += 1
            found[lesion.shape.size] += int(was_found)
    return [Row(check, visit.session, baseline, size, injected[size], found[size]) for size in SIZES]


def put(visit: CheckedVisit, placed: Sequence[Placed], labels: np.ndarray) -> np.ndarray:
    """The visit with lesions in it, as its own slices would show them: (X, Y, Z) float32.

    Contrasts were measured on finished scans. So what slices take from a lesion is given back: its mean is the contrast drawn.

    Args:
        visit: stays as it is.
        placed: the lesions.
        labels: (X, Y, Z), see truth.
    """
    n = len(placed)
    shown = through_slices(visit.image.like(canvas(placed, visit.image.shape)), grid_of(visit.native), visit.individual_from_orig).data
    means = np.bincount(labels.ravel(), shown.ravel(), n + 1)[1:] / np.maximum(np.bincount(labels.ravel(), minlength=n + 1)[1:], 1)
    heights = [lesion.shape.contrast_sd / max(float(mean), LEAST_SHOWN) for lesion, mean in zip(placed, means, strict=True)]
    nearest = ndimage.distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
    height = np.array([0.0, *heights], np.float32)[labels[tuple(nearest)]]
    return np.where(visit.brain, visit.image.data + height * shown, visit.image.data).astype(np.float32)


# --- words ----------------------------------------------------------------------------------------------------------


def _sensitivity_words(rows: Sequence[Row]) -> str:
    """What size can be relied on."""
    check = Check.NEW_SENSITIVITY if any(r.check is Check.NEW_SENSITIVITY for r in rows) else Check.ALL_SENSITIVITY
    sums = {size: _pooled([r for r in rows if r.check is check and r.size == size]) for size in SIZES}
    if not any(n for _, n in sums.values()):
        return "No place was found in white matter to put lesions into."
    detail = ", ".join(f"{size.words} {k} of {n}" for size, (k, n) in sums.items() if n)
    least = None
    for size in reversed(SIZES):  # from the largest down to the first that fails
        k, n = sums[size]
        if not n or k < RELIABLE * n:
            break
        least = size
    what = "lesions put into this scan" if check is Check.ALL_SENSITIVITY else "new lesions put into this scan"
    if least is None:
        return f"No size of {what} is found 9 times in 10 ({detail})."
    return f"Of {what}, 9 in 10 or more are found from {least.low_mm3:g} mm3 on ({detail})."


def _pooled(rows: Sequence[Row]) -> tuple[int, int]:
    return sum(r.found or 0 for r in rows), sum(r.injected or 0 for r in rows)


def _floor_words(rows: Sequence[Row]) -> str:
    """What is called new where nothing is; the worst visit."""
    worst = [max((r for r in rows if r.check is c), key=lambda r: r.volume_mm3 or 0.0) for c in (Check.NULL_PAIR, Check.RESCAN)]
    null, again = (f"{r.lesions} false new lesion{'' if r.lesions == 1 else 's'} ({r.volume_mm3:.0f} mm3)" for r in worst)
    return f"A scan against itself shows {null}, against a moved and noised copy {again}."
