"""Lesion maps of one prepared participant: passes of the network, maps on every grid, tables, page.

    PreparedTimeline -> volumes on the reference grid -> passes -> probabilities -> native grids -> masks, lesions, tables, html

A visit's all-lesion map comes from the pass (x, x, 0) unless --all-lesion-from pair is given; what compares two visits
lies at the follow-up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bids_app.cases import Pair, PreparedScan, PreparedTimeline, desc_of, pairs_of
from bids_app.derivatives import Derivatives
from coactseg_cli import __version__
from coactseg_cli.config import AllLesionFrom, Inference, SegmentConfig
from coactseg_cli.errors import InvalidConfig
from coactseg_cli.network import checkpoint
from coactseg_cli.network.checkpoint import Model
from coactseg_cli.network.inference import Engine, Head, make_engine
from coactseg_cli.network.zoo import find_model
from coactseg_cli.preprocessing.transforms import read_itk
from coactseg_cli.segment_files import Found, Grids, Product, write_map, write_sessions
from coactseg_cli.subject_report import write_report
from coactseg_cli.volumes import load


@dataclass(frozen=True, slots=True)
class SubjectResult:
    """What was found in one participant."""

    subject: str
    summary: str  # one line
    report: Path
    outputs: tuple[Path, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Probabilities:
    """Lesion probabilities on the reference grid, (X, Y, Z) float32 each."""

    all: tuple[np.ndarray, ...]  # per visit
    new: Mapping[Pair, np.ndarray]
    all_pass: tuple[str, ...]  # per visit, which pass and head gave the map


def load_model(config: SegmentConfig) -> Model:
    """The model behind --model. Raises: MissingWeights, WrongWeights."""
    return checkpoint.load_model(find_model(config.model))


def segment(
    prepared: PreparedTimeline, config: SegmentConfig, tree: Derivatives, model: Model, log: Callable[[str], None]
) -> SubjectResult:
    """Segment one participant and write its products.

    Raises: OutOfMemory, InvalidConfig, GridMismatch, UnreadableImage.
    """
    require_comparable(prepared, config)
    visits = tuple(_read(v) for v in prepared.visits)
    pairs = pairs_of(len(visits), config.pairs) if prepared.comparable else ()
    engine = make_engine(model.network, config)
    probabilities = infer(visits, pairs, engine)
    log(f"network: {len(visits)} all-lesion and {len(pairs)} new-lesion maps")
    references = [tree.uri(prepared.reference if prepared.comparable else v.image) for v in prepared.visits]
    products = _Products(visits, config, model, describe_choices(config, model, engine), references)
    all_found = [
        write_map(tree, visit, probabilities.all[i], products.all_lesions(i, probabilities.all_pass[i]), config)
        for i, visit in enumerate(visits)
    ]
    new_found = {
        pair: write_map(tree, visits[pair.followup], probability, products.new_lesions(pair), config)
        for pair, probability in probabilities.new.items()
    }
    outputs = [path for found in [*all_found, *new_found.values()] for path in found.outputs]
    outputs += write_sessions(tree, prepared, visits, all_found, new_found)
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
class _Products:
    """What the sidecars of a participant's maps say."""

    visits: tuple[Grids, ...]
    config: SegmentConfig
    model: Model
    choices: Mapping[str, Any]
    references: Sequence[str]  # per visit, BIDS URI of an image on the grid of space-individual

    def all_lesions(self, visit: int, source: str) -> Product:
        """The all-lesion map of one visit, made by the pass `source`."""
        threshold = self.config.threshold_all or self.model.info.threshold_all
        return Product("all", threshold, {**self.choices, "Pass": source}, self.references[visit])

    def new_lesions(self, pair: Pair) -> Product:
        """The new-lesion map of a pair, which lies at its follow-up."""
        baseline, followup = self.visits[pair.baseline].scan, self.visits[pair.followup].scan
        facts = {"Pass": "pair, new-lesion head", "BaselineSession": baseline.session, "FollowUpSession": followup.session}
        threshold = self.config.threshold_new or self.model.info.threshold_new
        return Product(desc_of(pair, baseline.session), threshold, {**self.choices, **facts}, self.references[pair.followup], baseline)


def _summary(prepared: PreparedTimeline, all_found: list[Found], new_found: dict[Pair, Found]) -> str:
    parts = [
        f"{'ses-' + v.session if v.session else 'scan'}: {len(f.lesions)} lesions, {f.volume_mm3:.0f} mm3"
        for v, f in zip(prepared.visits, all_found, strict=True)
    ]
    for pair, found in new_found.items():
        before, after = prepared.visits[pair.baseline].session, prepared.visits[pair.followup].session
        parts.append(f"new at ses-{after} since ses-{before}: {len(found.lesions)} lesions, {found.volume_mm3:.0f} mm3")
    return "; ".join(parts)


def check_model_grid(model: Model, spacing_mm: tuple[float, float, float] | None) -> str | None:
    """A sentence where the prepared grid is not the one that the model was trained on, else None."""
    if model.spacing_mm is None or spacing_mm is None or np.allclose(model.spacing_mm, spacing_mm, atol=0.01):
        return None
    found = ", ".join(f"{s:.2f}" for s in spacing_mm)
    return f"the model was trained on voxels of {model.spacing_mm} mm; these are {found} mm. Leave out --spacing."


def require_comparable(prepared: PreparedTimeline, config: SegmentConfig) -> None:
    """Raises: InvalidConfig where heads of a pair are asked for and visits are not comparable."""
    if config.all_lesion_from is AllLesionFrom.PAIR and not prepared.comparable and len(prepared.visits) > 1:
        msg = "--all-lesion-from pair needs visits on one grid; it does not go with --subject-anatomical-reference sessionwise."
        raise InvalidConfig(msg)
