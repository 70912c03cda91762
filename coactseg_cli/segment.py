"""Lesion maps of one prepared participant: passes of the network, maps on every grid, tables, page.

    PreparedTimeline -> volumes on the reference grid -> passes -> probabilities -> native grids -> masks, lesions, tables, html

A visit's all-lesion map comes from the pass (x, x, 0) unless --all-lesion-from pair is given; what compares two visits lies at the follow-up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bids_app.cases import Pair, PreparedScan, PreparedTimeline, desc_of, pairs_of
from bids_app.derivatives import Derivatives
from bids_app.entities import Entities
from bids_app.sidecars import dseg_sidecar, mask_sidecar, probseg_sidecar
from bids_app.tables import Column, write_table
from coactseg_cli import __version__
from coactseg_cli.components import remove_small
from coactseg_cli.config import AllLesionFrom, Inference, SegmentConfig
from coactseg_cli.errors import InvalidConfig
from coactseg_cli.lesions.measure import COLUMNS, Lesion, measure, row
from coactseg_cli.network import checkpoint
from coactseg_cli.network.checkpoint import Model
from coactseg_cli.network.inference import Engine, Head, make_engine
from coactseg_cli.network.zoo import find_model
from coactseg_cli.preprocessing.resampling import Interpolation, grid_of, resample
from coactseg_cli.preprocessing.transforms import read_itk
from coactseg_cli.subject_report import write_report
from coactseg_cli.volumes import Volume, load, same_grid, save

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


@dataclass(frozen=True, slots=True)
class SubjectResult:
    """What was found in one participant."""

    subject: str
    summary: str  # one line
    report: Path
    outputs: tuple[Path, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Grids:
    """One visit as arrays and grids."""

    scan: PreparedScan
    image: Volume  # reference grid
    brain: np.ndarray  # bool, reference grid
    native_brain: Volume  # bool, the scan's own grid
    individual_from_orig: np.ndarray  # (4, 4), RAS mm


@dataclass(frozen=True, slots=True, eq=False)
class Probabilities:
    """Lesion probabilities on the reference grid, (X, Y, Z) float32 each."""

    all: tuple[np.ndarray, ...]  # per visit
    new: Mapping[Pair, np.ndarray]
    all_pass: tuple[str, ...]  # per visit, which pass and head gave the map


@dataclass(frozen=True, slots=True)
class Found:
    """The lesions of one map on the scan's own grid."""

    lesions: tuple[Lesion, ...]
    outputs: tuple[Path, ...]

    @property
    def volume_mm3(self) -> float:
        """Volume of all of them."""
        return float(sum(lesion.volume_mm3 for lesion in self.lesions))


def load_model(config: SegmentConfig) -> Model:
    """The model behind --model. Raises: MissingWeights, WrongWeights."""
    return checkpoint.load_model(find_model(config.model))


def segment(
    prepared: PreparedTimeline, config: SegmentConfig, tree: Derivatives, model: Model, log: Callable[[str], None]
) -> SubjectResult:
    """Segment one participant and write its products.

    Raises: OutOfMemory, InvalidConfig, GridMismatch, UnreadableImage.
    """
    visits = tuple(_read(v) for v in prepared.visits)
    pairs = pairs_of(len(visits), config.pairs) if prepared.comparable else ()
    engine = make_engine(model.network, config)
    probabilities = infer(visits, pairs, engine)
    log(f"network: {len(visits)} visits, {len(pairs)} comparisons")
    choices = describe_choices(config, model, engine)
    reference = tree.uri(prepared.reference)
    all_found = [
        _write_map(tree, v, p, _Product("all", config.threshold_all or model.info.threshold_all, choices | {"Pass": source}, reference), config)
        for v, p, source in zip(visits, probabilities.all, probabilities.all_pass, strict=True)
    ]
    new_found = {}
    for pair, probability in probabilities.new.items():
        product = _new_product(visits, pair, config, model, choices, reference)
        new_found[pair] = _write_map(tree, visits[pair.followup], probability, product, config)
    outputs = [p for found in [*all_found, *new_found.values()] for p in found.outputs]
    outputs += _write_sessions(tree, prepared, visits, all_found, new_found)
    report = write_report(prepared, tree, tuple(pairs), model.research_line)
    return SubjectResult(prepared.subject, _summary(prepared, all_found, new_found), report, (*outputs, report))


def _read(scan: PreparedScan) -> Grids:
    brain = load(scan.brain_mask)
    native = load(scan.native_brain_mask)
    return Grids(scan, load(scan.image), brain.data > 0.5, native.like(native.data > 0.5), read_itk(scan.to_native))


def infer(visits: tuple[Grids, ...], pairs: tuple[Pair, ...], engine: Engine) -> Probabilities:
    """Run the passes that the maps need: one per visit (x, x, 0), or the pairs' own (Eq. 1), and one per pair."""
    from_pair = engine.config.all_lesion_from is AllLesionFrom.PAIR
    every: dict[int, np.ndarray] = {}
    source: dict[int, str] = {}
    new = {}
    for pair in pairs:
        b, f = visits[pair.baseline], visits[pair.followup]
        heads = list(Head) if from_pair else [Head.NEW]
        maps = engine.run(b.image.data, f.image.data, b.brain | f.brain, heads)
        new[pair] = maps[Head.NEW]
        if from_pair:
            every[pair.followup], source[pair.followup] = maps[Head.ALL_FOLLOWUP], f"pair with {_session(b)}, follow-up head"
            if pair.baseline not in every:
                every[pair.baseline], source[pair.baseline] = maps[Head.ALL_BASELINE], f"pair with {_session(f)}, baseline head"
    for i, visit in enumerate(visits):
        if i not in every:
            x = visit.image.data
            every[i] = engine.run(x, x, visit.brain, [Head.ALL_FOLLOWUP])[Head.ALL_FOLLOWUP]
            source[i] = "single scan (x, x, 0), follow-up head"
    order = range(len(visits))
    return Probabilities(tuple(every[i] for i in order), new, tuple(source[i] for i in order))


def _session(visit: Grids) -> str:
    return f"ses-{visit.scan.session}" if visit.scan.session else "the only visit"


def describe_choices(config: SegmentConfig, model: Model, engine: Engine) -> dict[str, Any]:
    """What decides a map, for its sidecar."""
    windows = {"PatchSize": list(config.patch_size), "Stride": list(config.stride)} if config.inference is Inference.WINDOWS else {}
    return {
        "Model": {"Name": model.info.name, "SHA256": model.sha256, "Source": model.info.source, "Version": model.info.version or "n/a"},
        "Inference": str(config.inference),
        **windows,
        **({"Tile": config.tile} if config.tile else {}),
        "Precision": str(engine.dtype).removeprefix("torch."),
        "Device": engine.device.type,
        "MinLesionVolume": config.min_lesion_mm3,
        "CoactSegVersion": __version__,
        "IntendedUse": model.research_line,
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Product:
    """One kind of map: its desc label, its threshold and what its sidecars say."""

    desc: str
    threshold: float
    facts: Mapping[str, Any]
    reference: str  # BIDS URI of the grid of space-individual
    partner: PreparedScan | None = None  # the baseline of a comparison


def _new_product(
    visits: tuple[Grids, ...], pair: Pair, config: SegmentConfig, model: Model, choices: dict[str, Any], reference: str
) -> _Product:
    baseline, followup = visits[pair.baseline].scan, visits[pair.followup].scan
    desc = desc_of(pair, baseline.session)
    facts = choices | {"Pass": "pair, new-lesion head", "BaselineSession": baseline.session, "FollowUpSession": followup.session}
    return _Product(desc, config.threshold_new or model.info.threshold_new, facts, reference, baseline)


def _write_map(tree: Derivatives, visit: Grids, probability: np.ndarray, product: _Product, config: SegmentConfig) -> Found:
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
    return probability.like(remove_small((probability.data > threshold) & brain, probability.voxel_mm3, min_mm3))


def _entities(scan: PreparedScan, product: _Product, space: str, suffix: str) -> Entities:
    label = None if suffix == "dseg" else "L"
    return scan.entities.source().with_(space=space, label=label, desc=product.desc, suffix=suffix, extension=".nii.gz", datatype="anat")


def _grid_uri(tree: Derivatives, scan: PreparedScan, product: _Product, space: str) -> str:
    return product.reference if space == "individual" else tree.uri(scan.native)


def _sources(tree: Derivatives, scan: PreparedScan, product: _Product) -> list[str]:
    scans = [scan] if product.partner is None else [product.partner, scan]
    return [tree.uri(s.image) for s in scans]


def _what(product: _Product) -> str:
    return "all lesions of this visit" if product.partner is None else "lesions that are new since the baseline session"


def _write_probability(tree: Derivatives, scan: PreparedScan, product: _Product, space: str, volume: Volume) -> list[Path]:
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


def _write_mask(tree: Derivatives, scan: PreparedScan, product: _Product, space: str, volume: Volume) -> list[Path]:
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


def _write_dseg(tree: Derivatives, scan: PreparedScan, product: _Product, labels: Volume, lesions: tuple[Lesion, ...]) -> list[Path]:
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


def _write_sessions(
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
                "acq_time": None,
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


def _summary(prepared: PreparedTimeline, all_found: list[Found], new_found: dict[Pair, Found]) -> str:
    parts = [
        f"{'ses-' + v.session if v.session else 'scan'}: {len(f.lesions)} lesions, {f.volume_mm3:.0f} mm3"
        for v, f in zip(prepared.visits, all_found, strict=True)
    ]
    parts += [
        f"new at ses-{prepared.visits[p.followup].session} since ses-{prepared.visits[p.baseline].session}: {len(f.lesions)} lesions, {f.volume_mm3:.0f} mm3"
        for p, f in new_found.items()
    ]
    return "; ".join(parts)


def check_model_grid(model: Model, spacing_mm: tuple[float, float, float] | None) -> str | None:
    """A sentence of warning where the prepared grid is not the one that the model was trained on, else None."""
    if model.spacing_mm is None or spacing_mm is None or np.allclose(model.spacing_mm, spacing_mm, atol=0.01):
        return None
    return f"the model was trained at {model.spacing_mm} mm, the grid has {spacing_mm} mm"


def require_comparable(prepared: PreparedTimeline, config: SegmentConfig) -> None:
    """Raises: InvalidConfig where heads of a pair are asked for and visits are not comparable."""
    if config.all_lesion_from is AllLesionFrom.PAIR and not prepared.comparable and len(prepared.visits) > 1:
        msg = "--all-lesion-from pair needs visits on one grid; it does not go with --subject-anatomical-reference sessionwise."
        raise InvalidConfig(msg)
