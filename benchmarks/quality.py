"""What every quality check says of the shared scans as they are, and of the same scans degraded on purpose.

Prepare the shared data first (coactseg prep DATA OUT participant -d labels=DATA/derivatives/labels), then, from the project:
python benchmarks/quality.py PREPARED [PREPARED ...]
The ranges that a model saw are taken, for each participant, from the other participants.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bids_app.dataset import read_prepared
from coactseg_cli.lesion_maps import read_grids
from coactseg_cli.preprocessing.brain_checks import brain_ml
from coactseg_cli.preprocessing.checks import participant_checks
from coactseg_cli.preprocessing.quality import Check
from coactseg_cli.preprocessing.resampling import Interpolation, grid_of, resample
from coactseg_cli.preprocessing.transforms import apply, translation
from coactseg_cli.preprocessing.visit_facts import VisitFacts
from coactseg_cli.quality_files import read_facts
from coactseg_cli.seen import ScanProfile, profile_of, ranges_of
from coactseg_cli.volumes import Volume

RENDERED_SLICE_MM = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Degradation:
    """A way of spoiling one visit, and the checks that must see it."""

    name: str
    spoil: Callable[[VisitFacts], VisitFacts]
    seen_by: tuple[str, ...]
    compares: bool = False  # needs another visit


def rendered(visit: VisitFacts, native: Volume, brain: np.ndarray) -> VisitFacts:
    """The visit with another scan and brain mask on another grid of its own, prepared again."""
    grid = grid_of(visit.image)
    image = resample(native, grid, visit.orig_from_individual, Interpolation.CUBIC)
    mask = resample(native.like(brain.astype(np.float32)), grid, visit.orig_from_individual, Interpolation.MASK).data
    values = image.data[mask]
    scores = np.where(mask, (image.data - values.mean()) / values.std(), 0).astype(np.float32)
    return replace(visit, native=native, native_brain=brain, image=image.like(scores), brain=mask)


def noisy(visit: VisitFacts) -> VisitFacts:
    """Rician noise of 12 % of the brain's median."""
    sd = 0.12 * float(np.median(visit.native.data[visit.native_brain]))
    first, second = np.random.default_rng(1).normal(0.0, sd, (2, *visit.native.shape)).astype(np.float32)
    return rendered(visit, visit.native.like(np.hypot(visit.native.data + first, second)), visit.native_brain)


def blurred(visit: VisitFacts) -> VisitFacts:
    """A Gaussian of 2 mm SD within the slices."""
    thickest = int(np.argmax(visit.native.spacing_mm)) if np.ptp(visit.native.spacing_mm) > 0.1 else 2
    sigma = [0.0 if axis == thickest else 2.0 / s for axis, s in enumerate(visit.native.spacing_mm)]
    return rendered(visit, visit.native.like(ndimage.gaussian_filter(visit.native.data, sigma)), visit.native_brain)


def coarse(axes: Sequence[int], edge_mm: float) -> Callable[[VisitFacts], VisitFacts]:
    """Voxels averaged along some axes until they are at least `edge_mm` long."""

    def spoil(visit: VisitFacts) -> VisitFacts:
        factors = [int(np.ceil(edge_mm / s)) if axis in axes else 1 for axis, s in enumerate(visit.native.spacing_mm)]
        affine = visit.native.affine @ np.diag([*factors, 1.0])
        affine[:3, 3] = apply(visit.native.affine, (np.array([factors]) - 1) / 2)[0]
        data, brain = (_blocks(array, factors) for array in (visit.native.data, visit.native_brain))
        return rendered(visit, Volume(data, affine), brain >= 0.5)

    return spoil


def _blocks(data: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    x, y, z = (n // f for n, f in zip(data.shape, factors, strict=True))
    a, b, c = factors
    return data[: x * a, : y * b, : z * c].astype(np.float32).reshape(x, a, y, b, z, c).mean(axis=(1, 3, 5))


def cut(visit: VisitFacts) -> VisitFacts:
    """The uppermost 25 mm of the brain were not imaged."""
    top = int(np.flatnonzero(visit.native_brain.any(axis=(0, 1)))[-1])
    keep = slice(0, top + 1 - round(25.0 / visit.native.spacing_mm[2]))
    return rendered(visit, Volume(visit.native.data[:, :, keep], visit.native.affine), visit.native_brain[:, :, keep])


def blanked(visit: VisitFacts) -> VisitFacts:
    """The same, where the image was filled up with zeros."""
    top = int(np.flatnonzero(visit.native_brain.any(axis=(0, 1)))[-1])
    data = visit.native.data.copy()
    data[:, :, top + 1 - round(25.0 / visit.native.spacing_mm[2]) :] = 0
    return rendered(visit, visit.native.like(data), visit.native_brain)


def inverted(visit: VisitFacts) -> VisitFacts:
    """Fluid bright and tissue dark, much as on T2w."""
    values = visit.native.data[visit.native_brain]
    top = float(np.percentile(values, 99))
    return rendered(visit, visit.native.like(np.clip(top - visit.native.data, 0, None) + 0.1 * top), visit.native_brain)


def masked(change: Callable[[np.ndarray, Sequence[float]], np.ndarray]) -> Callable[[VisitFacts], VisitFacts]:
    """Another brain mask."""
    return lambda visit: rendered(visit, visit.native, change(visit.native_brain, visit.native.spacing_mm))


def grown(brain: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """By 20 mm: scalp, eyes and neck are in."""
    return ndimage.distance_transform_edt(~brain, sampling=spacing_mm) <= 20.0


def halved(brain: np.ndarray, _: Sequence[float]) -> np.ndarray:
    """One hemisphere is missing."""
    middle = int(np.argwhere(brain)[:, 0].mean())
    return brain & (np.arange(brain.shape[0]) < middle)[:, None, None]


def pierced(brain: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """A closed hole of 15 mm radius in the middle."""
    middle = np.argwhere(brain).mean(axis=0)
    away = np.linalg.norm((np.indices(brain.shape).T - middle) * np.array(spacing_mm), axis=-1).T
    return brain & (away > 15.0)


def scattered(brain: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """A ball of 18 mm radius beside the brain: an eye."""
    far = ndimage.distance_transform_edt(~brain, sampling=spacing_mm)
    inner = np.zeros_like(brain)
    inner[tuple(slice(n // 10, n - n // 10) for n in brain.shape)] = True
    place = np.unravel_index(np.argmax(np.where(inner, far, 0)), brain.shape)
    away = np.linalg.norm((np.indices(brain.shape).T - np.array(place)) * np.array(spacing_mm), axis=-1).T
    return brain | ((away <= 18.0) & (far > 2.0 * max(spacing_mm)))


def scaled(visit: VisitFacts) -> VisitFacts:
    """Another intensity unit."""
    return replace(visit, native=visit.native.like(visit.native.data * np.float32(10)))


def moved(motion: Callable[[np.ndarray], np.ndarray]) -> Callable[[VisitFacts], VisitFacts]:
    """A registration that is wrong by a motion; `motion`: brain centre, mm -> (4, 4)."""

    def spoil(visit: VisitFacts) -> VisitFacts:
        centre = apply(visit.image.affine, np.argwhere(visit.brain).mean(axis=0)[None])[0]
        wrong = replace(visit, orig_from_individual=visit.orig_from_individual @ motion(centre))
        return rendered(wrong, visit.native, visit.native_brain)

    return spoil


def shift(direction: Sequence[float], mm: float) -> Callable[[np.ndarray], np.ndarray]:
    """By some mm."""
    return lambda _: translation(mm * np.asarray(direction) / np.linalg.norm(direction))


def rotation(direction: Sequence[float], degrees: float) -> Callable[[np.ndarray], np.ndarray]:
    """About the brain's centre."""
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec(np.radians(degrees) * np.asarray(direction) / np.linalg.norm(direction)).as_matrix()
    return lambda centre: translation(centre) @ turn @ translation(-centre)


DIRECTIONS = {"x": (1, 0, 0), "y": (0, 1, 0), "z": (0, 0, 1), "oblique": (1, -1, 1)}
OFF = ("registration-residual", "registration-similarity")
ALONGSIDE = (*OFF, "brain-overlap")
MOTIONS = (
    *(
        Degradation(f"moved by {mm} mm, {name}", moved(shift(d, mm)), OFF if mm > 5 else OFF[:1], compares=True)
        for mm in (2, 3, 5, 10)
        for name, d in DIRECTIONS.items()
    ),
    *(
        Degradation(f"turned by {degrees} degrees, {name}", moved(rotation(d, degrees)), OFF[:1], compares=True)
        for degrees in (2, 3, 5, 10)
        for name, d in DIRECTIONS.items()
    ),
)
DEGRADATIONS = (
    Degradation("noise 12 %", noisy, ("snr", "cnr")),
    Degradation("blur 2 mm", blurred, ("smoothness",)),
    Degradation("slices of 7 mm", coarse((2,), 7.0), ("slice-thickness", "seen-slice-thickness")),
    Degradation("voxels of 2 mm", coarse((0, 1), 2.0), ("in-plane-spacing", "seen-in-plane-spacing")),
    Degradation("top 25 mm not imaged", cut, ("field-of-view",)),
    Degradation("top 25 mm not imaged, follow-up", cut, ("coverage", "field-of-view"), compares=True),
    Degradation("top 25 mm blank", blanked, ("brain-empty",)),
    Degradation("bright fluid", inverted, ("fluid-dark", "seen-intensities")),
    Degradation("bright fluid, follow-up", inverted, ("contrast-change", "fluid-dark"), compares=True),
    Degradation("mask 20 mm too large", masked(grown), ("brain-volume", "seen-brain-volume")),
    Degradation("mask of one hemisphere", masked(halved), ("seen-brain-volume", "seen-extent-left-right")),
    Degradation("mask of one hemisphere, follow-up", masked(halved), ("brain-change", "brain-overlap"), compares=True),
    Degradation("mask with a hole", masked(pierced), ("brain-holes",)),
    Degradation("mask with an eye", masked(scattered), ("brain-pieces",)),
    Degradation("unit 10 times larger", scaled, ("intensity-scale",), compares=True),
)


def profile(visit: VisitFacts) -> ScanProfile:
    """Of one visit."""
    return profile_of(visit.native.spacing_mm, brain_ml(visit.native, visit.native_brain), visit.image, visit.brain)


def another_head(visit: VisitFacts, other: VisitFacts) -> VisitFacts:
    """Somebody else's scan in the place of a visit, the centres of the two brains on each other."""
    here, there = (apply(v.image.affine, np.argwhere(v.brain).mean(axis=0)[None])[0] for v in (visit, other))
    place = other.orig_from_individual @ translation(there - here)
    return rendered(replace(visit, orig_from_individual=place), other.native, other.native_brain)


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """Prepared participants."""

    visits: dict[str, list[VisitFacts]]
    profiles: dict[str, list[ScanProfile]]

    def check(self, subject: str, visits: Sequence[VisitFacts]) -> tuple[Check, ...]:
        """The checks of a participant, against what the others show."""
        others = [p for name, found in self.profiles.items() if name != subject for p in found]
        return participant_checks(visits, ranges_of(others, RENDERED_SLICE_MM))

    def spoiled(self, how: Degradation) -> list[tuple[str, tuple[Check, ...]]]:
        """The last visit of every participant (of two visits, where it compares) degraded: name, and the checks of that visit."""
        found = []
        for subject, visits in self.visits.items():
            if how.compares and len(visits) < 2:
                continue
            *before, last = visits
            checks = self.check(subject, [*before, how.spoil(last)])
            found.append((subject, tuple(c for c in checks if c.session == last.session)))
        return found

    def exchanged(self) -> list[tuple[str, tuple[Check, ...]]]:
        """Every pair with each other participant's scan as its follow-up: names, and the checks of that visit."""
        found = []
        for subject, visits in self.visits.items():
            for other, facts in self.visits.items():
                if len(visits) == 2 and other != subject:
                    checks = self.check(subject, [visits[0], another_head(visits[1], facts[-1])])
                    found.append((f"{subject} and {other}", tuple(c for c in checks if c.session == visits[1].session)))
        return found


def read(roots: Sequence[Path]) -> Cohort:
    """Every participant of prepared data sets."""
    visits = {t.subject: [read_facts(read_grids(v)) for v in t.visits] for root in roots for t in read_prepared(root).timelines}
    return Cohort(visits, {subject: [profile(v) for v in facts] for subject, facts in visits.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", nargs="+", type=Path)
    cohort = read(parser.parse_args().prepared)
    values: dict[str, list[Check]] = {}
    for subject, visits in cohort.visits.items():
        begun = time.monotonic()
        checks = participant_checks(visits, None)
        print(f"{subject}: {len(visits)} visits, {len(checks)} checks in {time.monotonic() - begun:.2f} s")
        for check in cohort.check(subject, visits):
            values.setdefault(check.name, []).append(check)
            if check.flagged:
                print(f"  flagged as it is: ses-{check.session} {check.message}")
    print("\nAs they are: check, lowest, highest value, limits")
    for name, checks in values.items():
        found = [c.value for c in checks]
        print(f"{name:26s} {min(found):9.3f} {max(found):9.3f}   {checks[0].low} {checks[0].high}")
    print("\nDegraded: what must see it, in how many cases it does, values")
    for how in (*DEGRADATIONS, *MOTIONS):
        show(how.name, how.seen_by, cohort.spoiled(how))
    show("another head", ALONGSIDE, cohort.exchanged())


def show(name: str, seen_by: Sequence[str], results: Sequence[tuple[str, Sequence[Check]]]) -> None:
    """A line per check that must see a degradation."""
    for wanted in seen_by:
        found = [c for _, checks in results for c in checks if c.name == wanted]
        numbers = " ".join(f"{c.value:.2f}" for c in found)
        print(f"{name:34s} {wanted:26s} {sum(c.flagged for c in found)} of {len(results)}   {numbers}", flush=True)


if __name__ == "__main__":
    main()
