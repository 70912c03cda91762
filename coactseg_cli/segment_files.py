"""What segment writes for one map of one visit: probabilities and masks on both grids, numbered lesions, tables, sidecars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bids_app.cases import Pair, PreparedScan
from bids_app.derivatives import Derivatives
from bids_app.entities import Entities
from bids_app.sidecars import dseg_sidecar, mask_sidecar, probseg_sidecar
from bids_app.tables import write_table
from coactseg_cli.components import remove_small
from coactseg_cli.lesion_maps import STEP, Grids, LesionMap, rounded
from coactseg_cli.lesions.measure import COLUMNS, Lesion, measure, row
from coactseg_cli.nearest import carry
from coactseg_cli.preprocessing.resampling import Interpolation, grid_of, resample
from coactseg_cli.volumes import Volume, from_ras, same_grid, save, to_ras

HAND_CORRECTED = ("HandCorrected", "HandCorrectedFrom")  # keys of the sidecar of a mask that somebody corrected
IDENTITY_TOLERANCE = 1e-7  # a transform that is closer to the identity moves nothing


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
class Place:
    """Where a map lies, and what its sidecars say of its surroundings."""

    tree: Derivatives
    visit: Grids  # in whose folder and on whose grids it lies
    reference: str  # BIDS URI of the grid of space-individual
    partner: Grids | None = None  # the baseline of a comparison
    inside: Grids | None = None  # the visit in whose brain lesions may lie; None: `visit`


@dataclass(frozen=True, slots=True, eq=False)
class ReadMap:
    """A map that was read: its mask, and its lesions on the scan's own grid."""

    mask: np.ndarray  # (X, Y, Z) bool, reference grid
    found: Found


@dataclass(frozen=True, slots=True, eq=False)
class ReadMaps:
    """Every map of a participant after it was read."""

    all: tuple[ReadMap, ...]  # per visit
    new: Mapping[Pair, ReadMap]
    resolved: Mapping[Pair, ReadMap]

    @property
    def each(self) -> tuple[ReadMap, ...]:
        """All of them."""
        return (*self.all, *self.new.values(), *self.resolved.values())


WHAT = {
    "all": "all lesions of this visit",
    "new": "lesions that are new since the baseline session",
    "resolved": "lesions of the baseline session that are gone at this visit",
    "nullpair": "new lesions where the visit is compared with itself, which has none: what is found is wrong",
}


def what(desc: str) -> str:
    """What a map shows, in words."""
    return WHAT[desc.partition("From")[0]]


def write_map(place: Place, found: LesionMap, min_lesion_mm3: float, *, probabilities: bool) -> ReadMap:
    """Probability and mask on the reference grid and on the scan's own, lesions numbered on the latter.

    Args:
        place: visit, surroundings.
        found: the map; masks that were given are taken as they are.
        min_lesion_mm3: lesions not larger are dropped, on either grid, from a mask that is made here.
        probabilities: whether the probabilities are written too (those that were read from this place are there already).

    Raises: GridMismatch, CoactSegError for more lesions than a dseg can number.
    """
    outputs = []
    visit = place.visit
    individual = None if found.probability is None else visit.image.like(found.probability)
    native = None if individual is None else to_native(individual, visit)
    masks = masks_of(place, found, min_lesion_mm3, native if found.peak is None else None)
    for space, volume in (("individual", individual), ("orig", native)):
        if probabilities and volume is not None:
            outputs += write_probability(place, found, space, volume)
        outputs += _write_mask(place, found, space, masks[space], min_lesion_mm3)
    labels, lesions = measure(masks["orig"], native, found.desc)
    outputs += _write_dseg(place, found, labels, lesions, min_lesion_mm3)
    return ReadMap(masks["individual"].data, Found(lesions, tuple(outputs)))


def masks_of(place: Place, found: LesionMap, min_mm3: float, native: Volume | None) -> dict[str, Volume]:
    """Space to mask (bool): given ones as they are, the missing one of two carried over; else from the probabilities.

    Lesions that do not reach the peak are dropped on the reference grid, before the map is carried to the scan's own: there,
    between thick slices, peaks are lower.

    Args:
        place: visit, surroundings.
        found: the map.
        min_mm3: lesions not larger are dropped.
        native: the map on the scan's own grid where it is there already.
    """
    visit = place.visit
    if found.given:
        given = dict(found.given)
        if "individual" not in given:
            given["individual"] = carry(given["orig"], visit.image, np.linalg.inv(visit.individual_from_orig))
        if "orig" not in given:
            given["orig"] = carry(given["individual"], visit.native_brain, visit.individual_from_orig)
        return given
    assert found.threshold is not None
    inside = place.inside or visit
    individual = visit.image.like(found.believed())
    return {
        "individual": binarise(individual, inside.brain, found.threshold, min_mm3),
        "orig": binarise(native or to_native(individual, visit), brain_on(inside, visit), found.threshold, min_mm3),
    }


def brain_on(owner: Grids, visit: Grids) -> np.ndarray:
    """(X, Y, Z) bool: the brain of one visit on the own grid of another."""
    if owner is visit:
        return visit.native_brain.data
    owner_from_visit = np.linalg.inv(owner.individual_from_orig) @ visit.individual_from_orig
    if same_grid(owner.native_brain, visit.native_brain, 1e-4) and np.allclose(owner_from_visit, np.eye(4), atol=IDENTITY_TOLERANCE):
        return owner.native_brain.data
    return resample(owner.native_brain, grid_of(visit.native_brain), owner_from_visit, Interpolation.MASK).data


def to_native(probability: Volume, visit: Grids) -> Volume:
    """Carry a map from the reference grid to the scan's own, linearly, in steps as it is stored; the same grid is copied bit by bit."""
    ras = to_ras(probability)
    alike = same_grid(ras, to_ras(visit.native_brain), 1e-4)
    if alike and np.allclose(visit.individual_from_orig, np.eye(4), atol=IDENTITY_TOLERANCE):
        return from_ras(ras.data, visit.native_brain)
    moved = resample(probability, grid_of(visit.native_brain), visit.individual_from_orig, Interpolation.LINEAR)
    return Volume(rounded(np.clip(moved.data, 0.0, 1.0)), visit.native_brain.affine)


def binarise(probability: Volume, brain: np.ndarray, threshold: float, min_mm3: float) -> Volume:
    """Lesions of a map: at the threshold or above, inside the brain, larger than min_mm3."""
    return probability.like(remove_small((probability.data >= threshold) & brain, probability.voxel_mm3, min_mm3))


def map_entities(scan: PreparedScan, desc: str, space: str, suffix: str, extension: str = ".nii.gz") -> Entities:
    """Name of a product of a visit."""
    label = None if suffix == "dseg" else "L"
    return scan.entities.source().with_(space=space, label=label, desc=desc, suffix=suffix, extension=extension, datatype="anat")


def grid_uri(place: Place, space: str) -> str:
    """BIDS URI of an image on the grid of a space."""
    return place.reference if space == "individual" else place.tree.uri(place.visit.scan.native)


def _sources(place: Place) -> list[str]:
    scans = [place.visit.scan] if place.partner is None else [place.partner.scan, place.visit.scan]
    return [place.tree.uri(scan.image) for scan in scans]


def _reading(place: Place, found: LesionMap, min_lesion_mm3: float) -> dict[str, Any]:
    """What made the mask of a map."""
    limit = {} if found.threshold is None else {"Threshold": found.threshold}
    limit |= {} if found.peak is None else {"Peak": found.peak}
    by_hand = {key: value for key, value in found.facts.items() if key in HAND_CORRECTED}
    if found.given_from:
        by_hand = dict(zip(HAND_CORRECTED, (True, [place.tree.uri(path) for path in found.given_from]), strict=True))
    return {**limit, **{k: v for k, v in found.facts.items() if k not in by_hand}, "MinLesionVolume": min_lesion_mm3, **by_hand}


def write_probability(place: Place, found: LesionMap, space: str, volume: Volume) -> list[Path]:
    """The probability of a map in one space with its sidecar; left alone where it was read from there."""
    path = place.tree.path(map_entities(place.visit.scan, found.desc, space, "probseg"))
    if found.stored is not None and found.stored.parent == path.parent and path.is_file():
        return [path]
    steps = f" in steps of 1/{1 / STEP:.0f}" if found.stored is None else ""  # what was read may be of a version without steps
    content = probseg_sidecar(
        description=f"Probability, 0 to 1{steps}, of {what(found.desc)}.",
        sources=_sources(place),
        spatial_reference=grid_uri(place, space),
        **found.facts,
    )
    save(volume, path)
    place.tree.sidecar(path, content)
    return [path]


def _write_mask(place: Place, found: LesionMap, space: str, volume: Volume, min_lesion_mm3: float) -> list[Path]:
    path = place.tree.path(map_entities(place.visit.scan, found.desc, space, "mask"))
    content = mask_sidecar(
        description=f"Mask of {what(found.desc)}.",
        type_="Lesion",
        sources=_sources(place),
        spatial_reference=grid_uri(place, space),
        **_reading(place, found, min_lesion_mm3),
    )
    save(volume, path, np.uint8)
    place.tree.sidecar(path, content)
    return [path]


def _write_dseg(place: Place, found: LesionMap, labels: Volume, lesions: Sequence[Lesion], min_lesion_mm3: float) -> list[Path]:
    scan, tree = place.visit.scan, place.tree
    path = tree.path(map_entities(scan, found.desc, "orig", "dseg"))
    content = dseg_sidecar(
        description=f"Numbered {what(found.desc)}; the table beside it has a row per lesion.",
        sources=[tree.uri(tree.path(map_entities(scan, found.desc, "orig", "mask")))],
        spatial_reference=tree.uri(scan.native),
        columns=COLUMNS,
        **_reading(place, found, min_lesion_mm3),
    )
    table = path.with_name(path.name.replace(".nii.gz", ".tsv"))
    save(labels, path, np.uint16)
    write_table(table, [row(lesion) for lesion in lesions], COLUMNS, dictionary=False)
    tree.sidecar(path, content)
    return [path, table]
