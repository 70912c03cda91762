"""One row per lesion: where it lies, how large it is, how sure the network was. Nothing here decides what a lesion is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bids_app.report import Heading, Table
from bids_app.tables import Column
from coactseg_cli.components import CONNECTIVITY, label, sizes
from coactseg_cli.errors import CoactSegError
from coactseg_cli.volumes import Volume, from_ras, require_same_grid, to_ras

MAX_LESIONS = 65535  # what the uint16 of a dseg can number

COLUMNS = {
    "index": Column("Label of the lesion in the dseg image; 1 is the largest lesion"),
    "name": Column("Name of the lesion, unique within this file"),
    "volume_mm3": Column("Volume of the lesion on the grid of the dseg image", units="mm3"),
    "voxels": Column("Number of voxels of the lesion on the grid of the dseg image"),
    "x_mm": Column("Centroid of the lesion in scanner coordinates, towards the right of the patient", units="mm"),
    "y_mm": Column("Centroid of the lesion in scanner coordinates, towards the front of the patient", units="mm"),
    "z_mm": Column("Centroid of the lesion in scanner coordinates, towards the head of the patient", units="mm"),
    "mean_probability": Column("Mean of the lesion probability over the voxels of the lesion, 0 to 1"),
    "max_probability": Column("Largest lesion probability within the lesion, 0 to 1"),
}

HEADINGS = (
    Heading("No.", description="label in the dseg image; 1 is the largest"),
    Heading("Lesion"),
    Heading("Volume", unit="mm³", digits=1),
    Heading("Voxels"),
    Heading("x", unit="mm", digits=1, description="scanner coordinates, towards the patient's right"),
    Heading("y", unit="mm", digits=1, description="scanner coordinates, towards the front"),
    Heading("z", unit="mm", digits=1, description="scanner coordinates, towards the head"),
    Heading("Mean p", digits=2, description="mean lesion probability over the lesion"),
    Heading("Max p", digits=2, description="largest lesion probability within the lesion"),
)


@dataclass(frozen=True, slots=True)
class Lesion:
    """One connected component of a lesion mask."""

    index: int  # label in the dseg, 1 is the largest
    name: str  # for instance new-1
    voxels: int
    volume_mm3: float
    centroid_mm: tuple[float, float, float]  # scanner RAS
    centroid_voxel: tuple[float, float, float]  # array indices, not rounded
    mean_probability: float  # 0 to 1; NaN without a probability map
    max_probability: float


def measure(mask: Volume, probability: Volume | None, prefix: str, connectivity: int = CONNECTIVITY) -> tuple[Volume, tuple[Lesion, ...]]:
    """Number the lesions of a mask by decreasing volume and measure each.

    Args:
        mask: (X, Y, Z) bool, True inside a lesion.
        probability: (X, Y, Z) on the same grid, 0 to 1; None where there is none.
        prefix: the names are '<prefix>-<index>'.
        connectivity: 6, 18 or 26.

    Returns: labels (uint16, same grid, 0 is background) and the lesions; equal volumes keep raster order (left to right fastest).
    Raises: GridMismatch, CoactSegError for more lesions than a uint16 can number.
    """
    if probability is not None:
        require_same_grid(mask, probability, "lesion mask", "lesion probability")
    labels, count = label(to_ras(mask).data.astype(bool), connectivity)
    if count > MAX_LESIONS:
        msg = f"found {count} lesions, more than the {MAX_LESIONS} that a dseg can number. Raise --min-lesion-mm3 or the threshold."
        raise CoactSegError(msg)
    ranked = from_ras(_rank(labels, count), mask).data
    return mask.like(ranked), _describe(ranked, count, mask, probability, prefix)


def _rank(labels: np.ndarray, count: int) -> np.ndarray:
    """Renumber components by decreasing size, ties in their old order. Returns: (X, Y, Z) uint16."""
    order = np.argsort(-sizes(labels, count), kind="stable")
    rank = np.zeros(count + 1, np.uint16)
    rank[order + 1] = np.arange(1, count + 1)
    ranked: np.ndarray = rank[labels]
    return ranked


def _describe(labels: np.ndarray, count: int, grid: Volume, probability: Volume | None, prefix: str) -> tuple[Lesion, ...]:
    """Read the numbers off the lesion voxels alone; the volume itself is passed once."""
    voxels = np.nonzero(labels)
    index = labels[voxels].astype(np.int64) - 1
    n = np.bincount(index, minlength=count)
    centres = np.stack([np.bincount(index, weights=axis, minlength=count) for axis in voxels], axis=1) / n[:, None]
    centres_mm = centres @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    mean, largest = np.full(count, np.nan), np.full(count, np.nan)
    if probability is not None:
        p = probability.data[voxels].astype(np.float64)
        mean = np.bincount(index, weights=p, minlength=count) / n
        largest = np.full(count, -np.inf)
        np.maximum.at(largest, index, p)
    return tuple(
        Lesion(
            index=i + 1,
            name=f"{prefix}-{i + 1}",
            voxels=int(n[i]),
            volume_mm3=float(n[i] * grid.voxel_mm3),
            centroid_mm=_triple(centres_mm[i]),
            centroid_voxel=_triple(centres[i]),
            mean_probability=float(mean[i]),
            max_probability=float(largest[i]),
        )
        for i in range(count)
    )


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    x, y, z = values
    return float(x), float(y), float(z)


def row(lesion: Lesion) -> dict[str, int | float | str]:
    """One row of a _dseg.tsv, under the names and in the order of COLUMNS; unrounded, NaN where undefined."""
    x, y, z = lesion.centroid_mm
    values = (lesion.index, lesion.name, lesion.volume_mm3, lesion.voxels, x, y, z, lesion.mean_probability, lesion.max_probability)
    return dict(zip(COLUMNS, values, strict=True))


def table(lesions: Sequence[Lesion], caption: str) -> Table:
    """The same rows for the subject's page."""
    return Table(caption, HEADINGS, tuple(tuple(row(lesion).values()) for lesion in lesions))
