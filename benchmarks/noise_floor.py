"""What a rescan changes: false new lesions and false changes of volume over copies of prepared scans. Nothing in a copy is new.

Each copy is the scan on its own grid: moved (up to 2 mm and 2 degrees), resampled on its own slices, under another coil field, noised.
Then it goes through the program as a second visit: N4, registration, one resampling, normalisation, network both ways, tracking. Brain
masks are given (moved, not found again), so errors of brain extraction are not in the figures.

    scan, mask --move, field, noise--> copy, mask --prep, network--> maps of both visits --track--> fates and changes of volume

Run from the project: python benchmarks/noise_floor.py PREPARED... --out DIR [--copies 20] [--model FILE] [--participant-label long01 cs07]
Writes DIR/copies.tsv (a row per copy) and DIR/lesions.tsv (a row per lesion of a copy). Copies that DIR holds already are not made again,
so take another DIR for another model, and one run at a time for each DIR. Prints Markdown.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TypeVar

import numpy as np

from bids_app.cases import Mask, PreparedScan, PreparedTimeline, Scan, Timeline
from bids_app.dataset import read_prepared
from bids_app.derivatives import start
from bids_app.entities import Entities
from coactseg_cli.components import keep_confident, label, remove_small
from coactseg_cli.config import PrepConfig, SegmentConfig
from coactseg_cli.lesions.fates import Fate, Rules
from coactseg_cli.lesions.tracking import VisitMaps, track
from coactseg_cli.network.fast_vnet import Head
from coactseg_cli.network.inference import Engine, make_engine
from coactseg_cli.prep import prepare
from coactseg_cli.preprocessing.resampling import Interpolation, grid_of, resample
from coactseg_cli.preprocessing.rescan import magnitude_noise, noise_sd, small_motion, smooth_field
from coactseg_cli.preprocessing.transforms import apply, read_itk
from coactseg_cli.segment import load_model
from coactseg_cli.volumes import Volume, load, save

MOST_MM, MOST_DEG = 2.0, 2.0
FIELD = 0.2  # of the coil, at its extreme
SMALL_MM3 = 100.0  # below it a rescan changes mm3, above it a share of the volume
CLASSES_MM3 = (3.0, 10.0, 50.0, 100.0, np.inf)
QUANTILE = 0.95
KEPT = frozenset({Fate.STABLE, Fate.ENLARGING, Fate.SHRINKING})
UNSEEN = (0.05, 0.1, 0.2, 0.3)  # probabilities at the other visit below which a lesion might be taken for absent there

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CopyRow:
    """One copy."""

    scan: str
    copy: int
    registration_mm: float  # largest distance in the brain between the true and the found place
    new_lesions: int  # false ones of the new-lesion mask
    new_mm3: float
    resolved_lesions: int  # likewise with the visits swapped
    resolved_mm3: float


@dataclass(frozen=True, slots=True)
class LesionRow:
    """What became of a lesion between a scan and its copy, by the rules of tracking with no noise allowed for."""

    scan: str
    copy: int
    fate: str
    before_mm3: float
    after_mm3: float
    change_mm3: float  # with what merged into it or split off it; nan for merged and split
    other_probability: float  # of fate new or resolved: the largest all-lesion probability there at the other visit
    change_probability: float  # likewise: the largest probability of being new (resolved)

    @property
    def kept(self) -> bool:
        """There at both visits."""
        return self.fate in KEPT

    @property
    def mean_mm3(self) -> float:
        """Of both visits, with what merged into it or split off it: one of the two visits holds the whole family in one piece."""
        return float(np.fmax(self.after_mm3 - self.change_mm3 / 2, self.before_mm3 + self.change_mm3 / 2))


@dataclass(frozen=True, slots=True)
class Limits:
    """What makes a mask of a map."""

    all: float
    new: float
    min_lesion_mm3: float
    peak_new: float = 0.0


# --- a copy ---------------------------------------------------------------------------------------------------------


def make_copy(scan: Volume, brain: np.ndarray, rng: np.random.Generator) -> tuple[Volume, Volume, np.ndarray]:
    """Another acquisition of the same head. Returns: scan and brain mask on the same grid, and copy_from_scan (4, 4) RAS mm."""
    centre = apply(scan.affine, np.argwhere(brain).mean(axis=0)[None])[0]
    scan_from_copy = small_motion(rng, centre, MOST_MM, MOST_DEG)
    moved = resample(scan, grid_of(scan), scan_from_copy, Interpolation.CUBIC)
    mask = resample(scan.like(brain.astype(np.float32)), grid_of(scan), scan_from_copy, Interpolation.MASK)
    seen = magnitude_noise(rng, moved.data * smooth_field(rng, scan.shape, FIELD), noise_sd(scan, brain))
    return scan.like(seen), mask, np.linalg.inv(scan_from_copy)


def prepare_pair(root: Path, visits: Sequence[tuple[Volume, Volume]], spacing_mm: tuple[float, float, float]) -> PreparedTimeline:
    """Scans with their brain masks through prep, in a folder."""
    scans, masks = [], []
    for number, (scan, mask) in enumerate(visits, start=1):
        session = f"{number:02d}"
        folder = root / "raw" / "sub-01" / f"ses-{session}" / "anat"
        path, mask_path = folder / f"sub-01_ses-{session}_FLAIR.nii.gz", folder / f"sub-01_ses-{session}_mask.nii.gz"
        save(scan, path)
        save(mask, mask_path, np.uint8)
        scans.append(Scan(path, Entities(subject="01", session=session, suffix="FLAIR", extension=".nii.gz", datatype="anat")))
        masks.append(Mask(mask_path, session))
    tree = start(root / "out", root / "raw", version="benchmark", readme="Copies of a scan.")
    return prepare(Timeline("01", tuple(scans), brain_masks=tuple(masks)), PrepConfig(spacing_mm=spacing_mm), tree, lambda _: None)


def registration_error_mm(prepared: PreparedTimeline, copy_from_scan: np.ndarray) -> float:
    """Largest distance, over the brain, between where registration puts the copy and where it is."""
    scan, copy = (read_itk(v.to_individual) for v in prepared.visits)  # visit_from_reference
    brain = load(prepared.visits[0].native_brain_mask)
    points = apply(brain.affine, np.argwhere(brain.data > 0.5)[::97])
    return float(np.linalg.norm(apply(copy @ np.linalg.inv(scan), points) - apply(copy_from_scan, points), axis=1).max())


# --- what the program makes of it -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Maps:
    """What the network says of a scan and its copy, (X, Y, Z) each."""

    probability: tuple[np.ndarray, np.ndarray]  # of all lesions, per visit
    mask: tuple[np.ndarray, np.ndarray]
    change_probability: tuple[np.ndarray, np.ndarray]  # of being resolved (seen at the scan), of being new (seen at the copy)
    change_mask: tuple[np.ndarray, np.ndarray]
    grid: Volume


def maps_of(prepared: PreparedTimeline, engine: Engine, limits: Limits) -> Maps:
    """Every pass that tracking reads."""
    images = [load(v.image) for v in prepared.visits]
    brains = [load(v.brain_mask).data > 0.5 for v in prepared.visits]
    both = brains[0] | brains[1]

    def alone(i: int) -> np.ndarray:
        return engine.run(images[i].data, images[i].data, brains[i], [Head.ALL_FOLLOWUP])[Head.ALL_FOLLOWUP]

    def changed_at(i: int) -> np.ndarray:
        return engine.run(images[1 - i].data, images[i].data, both, [Head.NEW])[Head.NEW]

    def mask(probability: np.ndarray, i: int, threshold: float, peak: float = 0.0) -> np.ndarray:
        believed = keep_confident(probability, threshold, peak)
        return remove_small((believed >= threshold) & brains[i], images[0].voxel_mm3, limits.min_lesion_mm3)

    every, change = (alone(0), alone(1)), (changed_at(0), changed_at(1))
    masks = mask(every[0], 0, limits.all), mask(every[1], 1, limits.all)
    return Maps(every, masks, change, tuple(mask(change[i], i, limits.new, limits.peak_new) for i in (0, 1)), images[0])


def lesion_rows(name: str, number: int, maps: Maps) -> list[LesionRow]:
    """Track from the scan to the copy with no noise allowed for."""
    visits = (
        VisitMaps(maps.mask[0], maps.probability[0]),
        VisitMaps(maps.mask[1], maps.probability[1], maps.change_probability[1], maps.change_mask[1], maps.change_mask[0]),
    )
    history = track(visits, maps.grid.spacing_mm, Rules(noise_mm3=0.0, noise_share=0.0))
    rows = []
    for one in history.tracks:
        for seen in one.sightings:
            if seen.visit == 1:
                where = {Fate.NEW: 1, Fate.RESOLVED: 0}.get(seen.fate)
                peaks = (np.nan, np.nan) if where is None else _peaks(maps, history.labels[where] == one.id, where)
                rows.append(LesionRow(name, number, str(seen.fate), seen.before_mm3, seen.volume_mm3, seen.change_mm3, *peaks))
    return rows


def _peaks(maps: Maps, lesion: np.ndarray, visit: int) -> tuple[float, float]:
    """Within a lesion of one visit only: the other visit's largest probability, and the largest of the change."""
    return float(maps.probability[1 - visit][lesion].max()), float(maps.change_probability[visit][lesion].max())


def copy_row(name: str, number: int, maps: Maps, error_mm: float) -> CopyRow:
    """What the network calls new and resolved."""
    gone, new = ((label(m)[1], float(m.sum() * maps.grid.voxel_mm3)) for m in maps.change_mask)
    return CopyRow(name, number, error_mm, *new, *gone)


# --- what follows from the rows -------------------------------------------------------------------------------------


def noise_rules(lesions: Sequence[LesionRow], quantile: float = QUANTILE) -> tuple[float, float]:
    """(noise_mm3, noise_share) such that a rescan leaves `quantile` of the small and of the large lesions stable; NaN without any."""
    kept = [r for r in lesions if r.kept]
    small = [abs(r.change_mm3) for r in kept if r.mean_mm3 <= SMALL_MM3]
    large = [abs(r.change_mm3) / r.mean_mm3 for r in kept if r.mean_mm3 > SMALL_MM3]
    mm3, share = (float(np.quantile(v, quantile)) if v else float("nan") for v in (small, large))
    return mm3, share


def changed(lesions: Sequence[LesionRow], noise_mm3: float, noise_share: float) -> int:
    """How many kept lesions would count as changed: by more than noise_mm3 and more than noise_share of the mean volume."""
    return sum(r.kept and abs(r.change_mm3) > np.fmax(noise_mm3, noise_share * r.mean_mm3) for r in lesions)


def report(copies: Sequence[CopyRow], lesions: Sequence[LesionRow]) -> str:
    """The Markdown tables."""
    return "\n".join([*_by_scan(copies, lesions), "", *_by_volume(lesions), "", *_by_evidence(copies, lesions)])


def _by_scan(copies: Sequence[CopyRow], lesions: Sequence[LesionRow]) -> list[str]:
    lines = [
        "Per copy: what the new-lesion head calls new and resolved, and what tracking makes of the masks.",
        "",
        "| scan | copies | registration, worst mm | head: new (mm3) | resolved (mm3) | tracked: new | resolved | merged, split | kept |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in [*dict.fromkeys(r.scan for r in copies), "all"]:
        rows, fates = [r for r in copies if name in {r.scan, "all"}], [r.fate for r in lesions if name in {r.scan, "all"}]
        n = len(rows)
        cells = [
            name,
            str(n),
            f"{max(r.registration_mm for r in rows):.2f}",
            f"{sum(r.new_lesions for r in rows) / n:.2f} ({sum(r.new_mm3 for r in rows) / n:.1f})",
            f"{sum(r.resolved_lesions for r in rows) / n:.2f} ({sum(r.resolved_mm3 for r in rows) / n:.1f})",
            f"{fates.count('new') / n:.2f}",
            f"{fates.count('resolved') / n:.2f}",
            f"{(fates.count('merged') + fates.count('split')) / n:.2f}",
            f"{sum(f in KEPT for f in fates) / n:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _by_volume(lesions: Sequence[LesionRow]) -> list[str]:
    kept = [r for r in lesions if r.kept]
    lines = ["| mean volume, mm3 | kept | change, mm3: 50, 90, 95 % | change / mean: 50, 90, 95 % |", "|---|---|---|---|"]
    for low, high in itertools.pairwise(CLASSES_MM3):
        rows = [r for r in kept if low < r.mean_mm3 <= high]
        if rows:
            mm3, share = [abs(r.change_mm3) for r in rows], [abs(r.change_mm3) / r.mean_mm3 for r in rows]
            name = f"> {low:g}" if np.isinf(high) else f"{low:g}-{high:g}"
            lines.append(f"| {name} | {len(rows)} | {_quantiles(mm3, '.1f')} | {_quantiles(share, '.2f')} |")
    noise_mm3, share_95 = noise_rules(lesions)
    of_what = f"{QUANTILE:.0%} of the lesions up to and above {SMALL_MM3:g} mm3"
    called = f"with them {changed(lesions, noise_mm3, share_95)} of {len(kept)} kept lesions would be called changed"
    return [*lines, "", f"noise_mm3 {noise_mm3:.1f}, noise_share {share_95:.2f} ({of_what}); {called}."]


def _by_evidence(copies: Sequence[CopyRow], lesions: Sequence[LesionRow]) -> list[str]:
    """How many lesions per copy would still be called new or resolved, if more were asked for than masks that do not meet."""
    alone = [r for r in lesions if r.fate in {Fate.NEW, Fate.RESOLVED}]
    rules = {"masks that do not meet": alone, "and more than 10 mm3": [r for r in alone if max(r.before_mm3, r.after_mm3) > 10.0]}
    for p in UNSEEN:
        rules[f"and the other visit's probability stays below {p:g}"] = [r for r in alone if r.other_probability < p]
    for p in (0.1, 0.25, 0.5):
        rules[f"and the new-lesion head reaches {p:g} there"] = [r for r in alone if r.change_probability >= p]
    lines = ["| called new or resolved | per copy |", "|---|---|"]
    return lines + [f"| {name} | {len(rows) / len(copies):.2f} |" for name, rows in rules.items()]


def _quantiles(values: Sequence[float], how: str) -> str:
    return ", ".join(format(float(q), how) for q in np.quantile(values, (0.5, 0.9, 0.95)))


# --- files ----------------------------------------------------------------------------------------------------------


def read_rows(path: Path, kind: type[T]) -> list[T]:
    """The rows of a table that append wrote; none where it is not there."""
    if not path.is_file():
        return []
    types = {f.name: {"str": str, "int": int, "float": float}[str(f.type)] for f in fields(kind)}
    with path.open() as file:
        return [kind(**{k: types[k](v) for k, v in row.items()}) for row in csv.DictReader(file, delimiter="\t")]


def append(path: Path, rows: Sequence[object]) -> None:
    """Add rows to a table."""
    new = not path.is_file()
    with path.open("a") as file:
        for row in rows:
            values = asdict(row)  # type: ignore[call-overload]
            if new:
                file.write("\t".join(values) + "\n")
                new = False
            file.write("\t".join(str(v) for v in values.values()) + "\n")


def find_scans(prepared: Sequence[Path], labels: Sequence[str]) -> dict[str, PreparedScan]:
    """Every prepared visit, by name."""
    found = {}
    for root in prepared:
        for timeline in read_prepared(root).timelines:
            if not labels or timeline.subject in labels:
                found |= {f"{timeline.subject}" + (f"_ses-{v.session}" if v.session else ""): v for v in timeline.visits}
    return found


def main(words: Sequence[str] | None = None) -> None:
    """Make the copies that are missing, and print what all of them say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--copies", type=int, default=20, help="in all, dealt to the scans in turn")
    parser.add_argument("--participant-label", nargs="+", default=[])
    parser.add_argument("--model", default="default")
    parser.add_argument("--threshold-all", type=float, help="default: the model's own")
    parser.add_argument("--threshold-new", type=float, help="default: the model's own")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--spacing", type=float, default=1.0, help="mm, of the common grid")
    given = parser.parse_args(words)
    config = SegmentConfig(model=given.model, threads=given.threads)
    model = load_model(config)
    peak = 0.0 if given.threshold_new else model.info.peak_new
    thresholds = given.threshold_all or model.info.threshold_all, given.threshold_new or model.info.threshold_new
    limits = Limits(*thresholds, config.min_lesion_mm3, peak)
    engine = make_engine(model.network, config)
    given.out.mkdir(parents=True, exist_ok=True)
    copies_path, lesions_path = given.out / "copies.tsv", given.out / "lesions.tsv"
    done = {(r.scan, r.copy) for r in read_rows(copies_path, CopyRow)}
    scans = find_scans(given.prepared, given.participant_label)
    if not scans:
        raise SystemExit(f"no prepared scan in {', '.join(map(str, given.prepared))} for {given.participant_label or 'any participant'}")
    for number in range(given.copies):
        name = list(scans)[number % len(scans)]
        if (name, number // len(scans)) in done:
            continue
        row, lesions = one_copy(name, number // len(scans), scans[name], engine, limits, (given.spacing,) * 3)
        append(copies_path, [row])
        append(lesions_path, lesions)
        print(row, flush=True)
    print(f"\nmodel {model.info.name} {model.sha256[:12]}, thresholds {limits.all:g} (all) and {limits.new:g} (new)\n")
    print(report(read_rows(copies_path, CopyRow), read_rows(lesions_path, LesionRow)))


def one_copy(
    name: str, number: int, scan: PreparedScan, engine: Engine, limits: Limits, spacing_mm: tuple[float, float, float]
) -> tuple[CopyRow, list[LesionRow]]:
    """Make a copy of a scan, the same every time, and measure it."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), number])
    native, brain = load(scan.native), load(scan.native_brain_mask)
    copy, mask, copy_from_scan = make_copy(native, brain.data > 0.5, rng)
    with tempfile.TemporaryDirectory() as folder:
        original = native.like(np.maximum(native.data, 0.0)), brain.like(brain.data > 0.5)
        prepared = prepare_pair(Path(folder), [original, (copy, mask)], spacing_mm)
        maps = maps_of(prepared, engine, limits)
        return copy_row(name, number, maps, registration_error_mm(prepared, copy_from_scan)), lesion_rows(name, number, maps)


if __name__ == "__main__":
    main()
