"""What a rescan changes: false new lesions and false changes of volume over copies of prepared scans. Nothing in a copy is new.

Each copy is the scan on its own grid: moved (up to 2 mm and 2 degrees), resampled on its own slices, under another coil field, noised. Then it
goes through the program as a second visit: N4, registration, one resampling, normalisation, network both ways. Brain masks are
given (moved, not found again), so errors of brain extraction are not in the figures.

    scan, mask --draw, move, field, noise--> copy, mask --prep, network--> lesions of both visits --overlap--> changes of volume

Run from the project: python benchmarks/noise_floor.py PREPARED... --out DIR [--copies 20] [--model FILE] [--participant-label long01 cs07]
Writes DIR/copies.tsv (a row per copy) and DIR/lesions.tsv (a row per matched lesion). Copies that DIR holds already are not made again, so
take another DIR for another model.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TypeVar

import numpy as np

from bids_app.cases import Mask, PreparedScan, PreparedTimeline, Scan, Timeline
from bids_app.dataset import read_prepared
from bids_app.derivatives import start
from bids_app.entities import Entities
from coactseg_cli.components import label, remove_small, sizes
from coactseg_cli.config import PrepConfig, SegmentConfig
from coactseg_cli.network.inference import Engine, Head, make_engine
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

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CopyRow:
    """One copy."""

    scan: str
    copy: int
    registration_mm: float  # largest distance in the brain between the true and the found place
    new_lesions: int  # false, forward pass
    new_mm3: float
    resolved_lesions: int  # false, visits swapped
    resolved_mm3: float
    only_before: int  # lesions of the original's mask that touch none of the copy's
    only_after: int
    matched: int


@dataclass(frozen=True, slots=True)
class LesionRow:
    """A lesion seen in the scan and in its copy."""

    scan: str
    copy: int
    before_mm3: float
    after_mm3: float

    @property
    def mean_mm3(self) -> float:
        """Of both visits."""
        return (self.before_mm3 + self.after_mm3) / 2

    @property
    def change_mm3(self) -> float:
        """Without its sign."""
        return abs(self.after_mm3 - self.before_mm3)


@dataclass(frozen=True, slots=True)
class Limits:
    """What makes a mask of a map."""

    all: float
    new: float
    min_lesion_mm3: float


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


# --- what the network makes of it -----------------------------------------------------------------------------------


def masks_of(prepared: PreparedTimeline, engine: Engine, limits: Limits) -> tuple[Volume, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Lesion masks on the common grid: the grid, all of the scan, all of the copy, new, resolved; (X, Y, Z) bool each."""
    images = [load(v.image) for v in prepared.visits]
    brains = [load(v.brain_mask).data > 0.5 for v in prepared.visits]
    both, grid = brains[0] | brains[1], images[0]

    def mask(first: int, second: int, head: Head, threshold: float) -> np.ndarray:
        brain = brains[second] if first == second else both
        probability = engine.run(images[first].data, images[second].data, brain, [head])[head]
        return remove_small((probability >= threshold) & brains[second], grid.voxel_mm3, limits.min_lesion_mm3)

    before, after = (mask(i, i, Head.ALL_FOLLOWUP, limits.all) for i in (0, 1))
    return grid, before, after, mask(0, 1, Head.NEW, limits.new), mask(1, 0, Head.NEW, limits.new)


def match(before: np.ndarray, after: np.ndarray, voxel_mm3: float) -> tuple[list[tuple[float, float]], int, int]:
    """Lesions of two masks one to one, the greatest overlap first.

    Returns: volumes in mm3 (before, after) of each match, and how many lesions of either mask touch none of the other. One that touches
    another which is taken already (a merge or a split) counts nowhere.
    """
    (labels_a, n_a), (labels_b, n_b) = label(before), label(after)
    volumes_a, volumes_b = sizes(labels_a, n_a) * voxel_mm3, sizes(labels_b, n_b) * voxel_mm3
    shared = before & after
    links, overlaps = np.unique(np.stack([labels_a[shared], labels_b[shared]]), axis=1, return_counts=True)
    taken_a: set[int] = set()
    taken_b: set[int] = set()
    matches = []
    for i in np.argsort(-overlaps, kind="stable"):
        a, b = (int(v) for v in links[:, i])
        if a not in taken_a and b not in taken_b:
            taken_a.add(a)
            taken_b.add(b)
            matches.append((float(volumes_a[a - 1]), float(volumes_b[b - 1])))
    return matches, n_a - len(np.unique(links[0])), n_b - len(np.unique(links[1]))


def measure(
    name: str, number: int, prepared: PreparedTimeline, engine: Engine, limits: Limits, copy_from_scan: np.ndarray
) -> Iterator[object]:
    """One CopyRow, then its LesionRows. As in the program, a visit's lesions are its own and those that the pair adds to them."""
    grid, before, after, new, gone = masks_of(prepared, engine, limits)
    volumes = [float(m.sum() * grid.voxel_mm3) for m in (new, gone)]
    matches, only_before, only_after = match(before | gone, after | new, grid.voxel_mm3)
    error = registration_error_mm(prepared, copy_from_scan)
    counts = label(new)[1], label(gone)[1]
    yield CopyRow(name, number, error, counts[0], volumes[0], counts[1], volumes[1], only_before, only_after, len(matches))
    for a, b in matches:
        yield LesionRow(name, number, a, b)


# --- what follows from the rows -------------------------------------------------------------------------------------


def noise_rules(lesions: Sequence[LesionRow], quantile: float = QUANTILE) -> tuple[float, float]:
    """(noise_mm3, noise_share) such that a rescan leaves `quantile` of the small and of the large lesions stable; NaN without any."""
    small = [r.change_mm3 for r in lesions if r.mean_mm3 <= SMALL_MM3]
    large = [r.change_mm3 / r.mean_mm3 for r in lesions if r.mean_mm3 > SMALL_MM3]
    return tuple(float(np.quantile(v, quantile)) if v else float("nan") for v in (small, large))  # type: ignore[return-value]


def changed(lesions: Sequence[LesionRow], noise_mm3: float, noise_share: float) -> int:
    """How many would count as changed: |dV| above both noise_mm3 and noise_share of the mean volume."""
    return sum(r.change_mm3 > np.fmax(noise_mm3, noise_share * r.mean_mm3) for r in lesions)


def report(copies: Sequence[CopyRow], lesions: Sequence[LesionRow]) -> str:
    """The Markdown tables."""
    lines = [
        "| scan | copies | registration, worst mm | false new lesions per copy (mm3) | false resolved | unmatched before, after | matched |",
        "|---|---|---|---|---|---|---|",
    ]
    for scan in [*dict.fromkeys(r.scan for r in copies), "all"]:
        lines.append(_scan_line(scan, [r for r in copies if scan in {r.scan, "all"}]))
    lines += ["", "| mean volume, mm3 | matched | change, mm3: 50, 90, 95 % | change / mean: 50, 90, 95 % |", "|---|---|---|---|"]
    for low, high in itertools.pairwise(CLASSES_MM3):
        rows = [r for r in lesions if low < r.mean_mm3 <= high]
        if rows:
            mm3, share = [r.change_mm3 for r in rows], [r.change_mm3 / r.mean_mm3 for r in rows]
            name = f"> {low:g}" if np.isinf(high) else f"{low:g}-{high:g}"
            lines.append(f"| {name} | {len(rows)} | {_quantiles(mm3, '.1f')} | {_quantiles(share, '.2f')} |")
    noise_mm3, share = noise_rules(lesions)
    lines += [
        "",
        f"noise_mm3 {noise_mm3:.1f} ({QUANTILE:.0%} of the lesions up to {SMALL_MM3:g} mm3), noise_share {share:.2f} (of the larger ones).",
    ]
    lines.append(f"With them {changed(lesions, noise_mm3, share)} of {len(lesions)} matched lesions would be called changed.")
    return "\n".join(lines)


def _scan_line(name: str, rows: Sequence[CopyRow]) -> str:
    n = len(rows)
    new, gone = sum(r.new_lesions for r in rows) / n, sum(r.resolved_lesions for r in rows) / n
    mm3 = sum(r.new_mm3 for r in rows) / n, sum(r.resolved_mm3 for r in rows) / n
    alone = f"{sum(r.only_before for r in rows) / n:.2f}, {sum(r.only_after for r in rows) / n:.2f}"
    worst = max(r.registration_mm for r in rows)
    return (
        f"| {name} | {n} | {worst:.2f} | {new:.2f} ({mm3[0]:.1f}) | {gone:.2f} ({mm3[1]:.1f}) | {alone} | {sum(r.matched for r in rows)} |"
    )


def _quantiles(values: Sequence[float], how: str) -> str:
    return ", ".join(format(float(q), how) for q in np.quantile(values, (0.5, 0.9, 0.95)))


# --- files ----------------------------------------------------------------------------------------------------------


def read_rows(path: Path, kind: type[T]) -> list[T]:
    """The rows of a table that append wrote; none where it is not there."""
    if not path.is_file():
        return []
    types = {"scan": str, **{f.name: int if f.type == "int" else float for f in fields(kind) if f.name != "scan"}}
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
    limits = Limits(given.threshold_all or model.info.threshold_all, given.threshold_new or model.info.threshold_new, config.min_lesion_mm3)
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
        row, *lesions = one_copy(name, number // len(scans), scans[name], engine, limits, (given.spacing,) * 3)
        append(copies_path, [row])
        append(lesions_path, lesions)
        print(row, flush=True)
    print(f"\nmodel {model.info.name} {model.sha256[:12]}, thresholds {limits.all:g} (all) and {limits.new:g} (new)\n")
    print(report(read_rows(copies_path, CopyRow), read_rows(lesions_path, LesionRow)))


def one_copy(
    name: str, number: int, scan: PreparedScan, engine: Engine, limits: Limits, spacing_mm: tuple[float, float, float]
) -> list[object]:
    """Make a copy of a scan, the same every time, and measure it."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), number])
    native, brain = load(scan.native), load(scan.native_brain_mask)
    copy, mask, copy_from_scan = make_copy(native, brain.data > 0.5, rng)
    with tempfile.TemporaryDirectory() as folder:
        original = native.like(np.maximum(native.data, 0.0)), brain.like(brain.data > 0.5)
        prepared = prepare_pair(Path(folder), [original, (copy, mask)], spacing_mm)
        return list(measure(name, number, prepared, engine, limits, copy_from_scan))


if __name__ == "__main__":
    main()
