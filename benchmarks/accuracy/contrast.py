"""How much brighter the labelled lesions are than the tissue around them, by size: measured on real scans, drawn from for made ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from bids_app.cases import LabelKind
from bids_app.dataset import read_prepared
from bids_app.tables import Column, number, read_table, write_table
from coactseg_cli.components import label
from coactseg_cli.volumes import load

SIZES_MM3 = ((3.0, 10.0), (10.0, 50.0), (50.0, 100.0), (100.0, math.inf))  # above the first, up to the second
RING_VOXELS = (2, 4)  # the tissue around a lesion: so many steps away, one voxel apart from it
TISSUE = (-1.0, 1.2)  # SD; fluid and lesions that nobody labelled are no tissue

COLUMNS = {
    "size": Column("Volume of the lesions, above the first number and up to the second", "mm3"),
    "n": Column("Labelled lesions that were measured"),
    "q25": Column("25th percentile of the mean contrast", "SD of the brain"),
    "median": Column("Median of the mean contrast", "SD of the brain"),
    "q75": Column("75th percentile of the mean contrast", "SD of the brain"),
}


@dataclass(frozen=True, slots=True)
class Range:
    """The interquartile range of the contrast of lesions of one size."""

    low_mm3: float
    high_mm3: float
    n: int
    q25: float
    median: float
    q75: float


def size_name(low_mm3: float, high_mm3: float) -> str:
    """'3-10', '> 100'."""
    return f"{low_mm3:g}-{high_mm3:g}" if math.isfinite(high_mm3) else f"> {low_mm3:g}"


def measure(roots: Sequence[Path]) -> tuple[Range, ...]:
    """The ranges over every labelled lesion of these prepared data sets. Raises: UnreadableImage."""
    rows = np.array([row for root in roots for row in lesions_of(root)]).reshape(-1, 2)
    found = []
    for low, high in SIZES_MM3:
        contrast = rows[(rows[:, 0] > low) & (rows[:, 0] <= high), 1]
        quartiles = np.percentile(contrast, (25, 50, 75)) if contrast.size else (math.nan,) * 3
        found.append(Range(low, high, len(contrast), *(round(float(q), 2) for q in quartiles)))
    return tuple(found)


def lesions_of(root: Path) -> Iterator[tuple[float, float]]:
    """Volume in mm3 and contrast of the lesions of every label (all, new) in a prepared data set."""
    for timeline in read_prepared(root).timelines:
        images = {visit.session: (load(visit.image), load(visit.brain_mask).data > 0.5) for visit in timeline.visits}
        marked = np.logical_or.reduce([load(found.path).data > 0.5 for found in timeline.labels] or [np.zeros(1, bool)])
        for found in timeline.labels:
            if found.kind in (LabelKind.ALL, LabelKind.NEW):
                image, brain = images[found.session]
                lesion = load(found.path).data > 0.5
                yield from ((n * image.voxel_mm3, c) for n, c in contrasts(image.data, lesion, brain & ~marked))


def contrasts(image: np.ndarray, lesion: np.ndarray, tissue: np.ndarray) -> Iterator[tuple[int, float]]:
    """Voxels of each lesion (26-connected) and its mean minus the median of the tissue around; those without tissue are left out.

    Arrays (X, Y, Z); `tissue`: bool, what may count as surrounding.
    """
    labels, n = label(lesion, 26)
    for i, box in enumerate(ndimage.find_objects(labels, n), start=1):
        wide = tuple(slice(max(s.start - RING_VOXELS[1], 0), s.stop + RING_VOXELS[1]) for s in box)
        here, values = labels[wide] == i, image[wide]
        near, far = (ndimage.binary_dilation(here, iterations=k) for k in RING_VOXELS)
        ring = values[far & ~near & tissue[wide] & (values > TISSUE[0]) & (values < TISSUE[1])]
        if ring.size:
            yield int(here.sum()), float(values[here].mean() - np.median(ring))


def draw_contrast(rng: np.random.Generator, ranges: Sequence[Range], volume_mm3: float) -> float:
    """A contrast from the interquartile range of the real lesions of this size."""
    inside = [r for r in ranges if r.low_mm3 < volume_mm3 <= r.high_mm3]
    return float(rng.uniform(inside[0].q25, inside[0].q75))


def write_ranges(path: Path, ranges: Sequence[Range]) -> None:
    """The ranges as a table."""
    rows = [{"size": size_name(r.low_mm3, r.high_mm3), "n": r.n, "q25": r.q25, "median": r.median, "q75": r.q75} for r in ranges]
    write_table(path, rows, COLUMNS, description="Contrast of labelled lesions, the real ones.", dictionary=False)


def read_ranges(path: Path) -> tuple[Range, ...]:
    """What write_ranges wrote. Raises: NoInput, InvalidDataset."""
    rows = read_table(path)
    return tuple(
        Range(low, high, int(row["n"]), number(row["q25"]), number(row["median"]), number(row["q75"]))
        for (low, high), row in zip(SIZES_MM3, rows, strict=True)
    )
