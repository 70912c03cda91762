"""What segment writes for one map of one visit: probabilities and masks on both grids, numbered lesions, tables, sidecars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bids_app.cases import Pair, PreparedScan, PreparedTimeline
from bids_app.derivatives import Derivatives
from bids_app.entities import Entities
from bids_app.sidecars import dseg_sidecar, mask_sidecar, probseg_sidecar
from bids_app.tables import Column, write_table
from coactseg_cli.components import remove_small
from coactseg_cli.config import SegmentConfig
from coactseg_cli.lesions.measure import COLUMNS, Lesion, measure, row
from coactseg_cli.preprocessing.resampling import Interpolation, grid_of, resample
from coactseg_cli.volumes import Volume, same_grid, save

SESSION_COLUMNS = {
    "session_id": Column("Session"),
    "acq_time": Column("Acquisition time, where the raw data set gives it"),
    "all_lesions": Column("Number of lesions of this visit"),
    "all_volume_mm3": Column("Volume of all lesions of this visit", "mm^3"),
    "baseline_session_id": Column("The visit that this one is compared with"),
    "new_lesions": Column("Number of lesions that are new since the baseline session"),
    "new_volume_mm3": Column("Volume of the lesions that are new since the baseline session", "mm^3"),
    "brain_mask_volume_mm3": Column("Volume of the brain mask", "mm^3"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Grids:
    """One visit as arrays and grids."""

    scan: PreparedScan
    image: Volume  # reference grid
    brain: np.ndarray  # bool, reference grid
    native_brain: Volume  # bool, the scan's own grid
    individual_from_orig: np.ndarray  # (4, 4), RAS mm


@dataclass(frozen=True, slots=True)
class Found:
    """The lesions of one map on the scan's own grid."""

    lesions: tuple[Lesion, ...]
    outputs: tuple[Path, ...]

    @property
    def volume_mm3(self) -> float:
        """Volume of all of them."""
        return float(sum(lesion.volume_mm3 for lesion in self.lesions))


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """One kind of map: its desc label, its threshold and what its sidecars say."""

    desc: str
    threshold: float
    facts: Mapping[str, Any]
    reference: str  # BIDS URI of the grid of space-individual
    partner: PreparedScan | None = None  # the baseline of a comparison


def write_map(tree: Derivatives, visit: Grids, probability: np.ndarray, product: Product, config: SegmentConfig) -> Found:
    """Probability and mask on the reference grid and on the scan's own, lesions numbered on the latter."""
    outputs = []
    individual = visit.image.like(probability)
    native = to_native(individual, visit)
    masks = {
        "individual": _binarise(individual, visit.brain, product.threshold, config.min_lesion_mm3),
        "orig": _binarise(native, visit.native_brain.data, product.threshold, config.min_lesion_mm3),
    }
    for space, mask in masks.items():
        if config.output_probabilities:
            outputs += _write_probability(tree, visit.scan, product, space, individual if space == "individual" else native)
        outputs += _write_mask(tree, visit.scan, product, space, mask)
    labels, lesions = measure(masks["orig"], native, product.desc)
    outputs += _write_dseg(tree, visit.scan, product, labels, lesions)
    return Found(lesions, tuple(outputs))


def to_native(probability: Volume, visit: Grids) -> Volume:
    """Carry a map from the reference grid to the scan's own, linearly; the same grid is copied bit by bit."""
    if same_grid(probability, visit.native_brain, 1e-4) and np.allclose(visit.individual_from_orig, np.eye(4), atol=1e-7):
        return Volume(probability.data, visit.native_brain.affine)
    moved = resample(probability, grid_of(visit.native_brain), visit.individual_from_orig, Interpolation.LINEAR)
    return Volume(np.clip(moved.data, 0.0, 1.0), visit.native_brain.affine)


def _binarise(probability: Volume, brain: np.ndarray, threshold: float, min_mm3: float) -> Volume:
    return probability.like(remove_small((probability.data >= threshold) & brain, probability.voxel_mm3, min_mm3))


def _entities(scan: PreparedScan, product: Product, space: str, suffix: str) -> Entities:
    label = None if suffix == "dseg" else "L"
    return scan.entities.source().with_(space=space, label=label, desc=product.desc, suffix=suffix, extension=".nii.gz", datatype="anat")


def _grid_uri(tree: Derivatives, scan: PreparedScan, product: Product, space: str) -> str:
    return product.reference if space == "individual" else tree.uri(scan.native)


def _sources(tree: Derivatives, scan: PreparedScan, product: Product) -> list[str]:
    scans = [scan] if product.partner is None else [product.partner, scan]
    return [tree.uri(s.image) for s in scans]


def _what(product: Product) -> str:
    return "all lesions of this visit" if product.partner is None else "lesions that are new since the baseline session"


def _write_probability(tree: Derivatives, scan: PreparedScan, product: Product, space: str, volume: Volume) -> list[Path]:
    path = tree.path(_entities(scan, product, space, "probseg"))
    content = probseg_sidecar(
        description=f"Probability, 0 to 1, of {_what(product)}.",
        sources=_sources(tree, scan, product),
        spatial_reference=_grid_uri(tree, scan, product, space),
        **product.facts,
    )
    save(volume, path)
    tree.sidecar(path, content)
    return [path]


def _write_mask(tree: Derivatives, scan: PreparedScan, product: Product, space: str, volume: Volume) -> list[Path]:
    path = tree.path(_entities(scan, product, space, "mask"))
    content = mask_sidecar(
        description=f"Mask of {_what(product)}.",
        type_="Lesion",
        sources=_sources(tree, scan, product),
        spatial_reference=_grid_uri(tree, scan, product, space),
        Threshold=product.threshold,
        **product.facts,
    )
    save(volume, path, np.uint8)
    tree.sidecar(path, content)
    return [path]


def _write_dseg(tree: Derivatives, scan: PreparedScan, product: Product, labels: Volume, lesions: tuple[Lesion, ...]) -> list[Path]:
    path = tree.path(_entities(scan, product, "orig", "dseg"))
    table = path.with_name(path.name.replace(".nii.gz", ".tsv"))
    content = dseg_sidecar(
        description=f"Numbered {_what(product)}; the table beside it has a row per lesion.",
        sources=[tree.uri(tree.path(_entities(scan, product, "orig", "mask")))],
        spatial_reference=tree.uri(scan.native),
        columns=COLUMNS,
        Threshold=product.threshold,
        **product.facts,
    )
    save(labels, path, np.uint16)
    write_table(table, [row(lesion) for lesion in lesions], COLUMNS, dictionary=False)
    tree.sidecar(path, content)
    return [path, table]


def write_sessions(
    tree: Derivatives, prepared: PreparedTimeline, visits: tuple[Grids, ...], all_found: list[Found], new_found: dict[Pair, Found]
) -> list[Path]:
    """sub-XX_sessions.tsv: a row per visit with its counts, and what is new since the visit before; none without session labels."""
    if any(v.scan.session is None for v in visits):
        return []
    rows: list[dict[str, object]] = []
    for i, (visit, found) in enumerate(zip(visits, all_found, strict=True)):
        before = next((p for p in new_found if p.followup == i and (p.baseline == i - 1 or p == Pair(0, i))), None)
        rows.append(
            {
                "session_id": f"ses-{visit.scan.session}",
                "acq_time": None if visit.scan.time is None else visit.scan.time.isoformat(),
                "all_lesions": len(found.lesions),
                "all_volume_mm3": found.volume_mm3,
                "baseline_session_id": None if before is None else f"ses-{visits[before.baseline].scan.session}",
                "new_lesions": None if before is None else len(new_found[before].lesions),
                "new_volume_mm3": None if before is None else new_found[before].volume_mm3,
                "brain_mask_volume_mm3": float(visit.native_brain.data.sum()) * visit.native_brain.voxel_mm3,
            }
        )
    path = tree.subject_path(prepared.subject, f"sub-{prepared.subject}_sessions.tsv")
    write_table(path, rows, SESSION_COLUMNS)
    return [path]
