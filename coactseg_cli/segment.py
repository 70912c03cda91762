"""Lesion maps of one prepared participant: the passes of the network, and what each map is made from.

    PreparedTimeline -> volumes on the reference grid -> passes -> probabilities -> reading (masks, tables, tracking, page)

    pass                        gives
    (x, x, 0)                   a visit's all lesions, unless --all-lesion-from pair is given; and its null pair: the new-lesion head
    (baseline, follow-up)       new lesions; with --all-lesion-from pair all lesions of both
    (follow-up, baseline)       resolved lesions: what is new when time runs backwards

What compares two visits lies at the follow-up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bids_app.cases import Pair, PreparedTimeline, desc_of, pairs_of
from bids_app.derivatives import Derivatives
from bids_app.files import write_json
from bids_app.tables import columns_json, write_table
from coactseg_cli import __version__
from coactseg_cli.config import AllLesionFrom, Inference, SegmentConfig
from coactseg_cli.errors import InvalidConfig
from coactseg_cli.lesion_maps import ALL, NULL_PAIR, Grids, LesionMap, ParticipantMaps, read_grids, rounded
from coactseg_cli.network import checkpoint
from coactseg_cli.network.checkpoint import Model
from coactseg_cli.network.fast_vnet import Head
from coactseg_cli.network.inference import Engine, make_engine
from coactseg_cli.network.zoo import find_model
from coactseg_cli.preprocessing import quality
from coactseg_cli.quality_files import check_participant
from coactseg_cli.reading import Context, SubjectResult, read
from coactseg_cli.volumes import load

SINGLE = "single scan (x, x, 0), follow-up head"


@dataclass(frozen=True, slots=True, eq=False)
class Probabilities:
    """Lesion probabilities on the reference grid, (X, Y, Z) float32 each."""

    all: tuple[np.ndarray, ...]  # per visit
    all_pass: tuple[str, ...]  # per visit, which pass and head gave the map
    null: tuple[np.ndarray, ...]  # per visit: the new-lesion head on the visit and itself
    new: Mapping[Pair, np.ndarray]
    resolved: Mapping[Pair, np.ndarray]  # the new-lesion head on follow-up and baseline


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
    visits = tuple(read_grids(v) for v in prepared.visits)
    pairs = pairs_of(len(visits), config.pairs) if prepared.comparable else ()
    engine = make_engine(model.network, config)
    probabilities = infer(visits, pairs, engine)
    log(f"network: {len(visits)} all-lesion, {len(pairs)} new-lesion and {len(pairs)} resolved-lesion maps")
    maps = describe(visits, probabilities, config, model, describe_choices(config, model, engine))
    flags = quality.rows(check_participant(prepared, model.info.seen, visits))
    _check_itself(prepared.subject, visits, probabilities, engine, model, tree, log)
    return read(prepared, visits, maps, config, tree, Context(model.research_line, flags))


def _check_itself(
    subject: str,
    visits: tuple[Grids, ...],
    probabilities: Probabilities,
    engine: Engine,
    model: Model,
    tree: Derivatives,
    log: Callable[[str], None],
) -> None:
    """--self-check: sub-XX_desc-selfcheck_table.tsv; without it, a table of an earlier run goes, which was about other maps."""
    config = engine.config
    path = tree.subject_path(subject, f"sub-{subject}_desc-selfcheck_table.tsv")
    if not config.self_check:
        path.unlink(missing_ok=True)
        path.with_suffix(".json").unlink(missing_ok=True)
        return
    from coactseg_cli import self_check

    checked = [
        self_check.CheckedVisit(v.scan.session, v.image, v.brain, load(v.scan.native), v.native_brain.data, v.individual_from_orig)
        for v in visits
    ]
    known = self_check.KnownMaps(probabilities.all, probabilities.null, probabilities.new, probabilities.resolved)
    thresholds = self_check.Thresholds(*_thresholds(config, model), config.min_lesion_mm3, _peak(config, model))
    found = self_check.self_check(checked, engine, thresholds, pairs=tuple(probabilities.new), known=known)
    log(f"self-check: {found.reading()}")
    write_table(path, found.table(), self_check.COLUMNS, description=found.reading(), dictionary=False)
    write_json(path.with_suffix(".json"), {"Description": found.reading(), **found.settings(), **columns_json(self_check.COLUMNS)})


def infer(visits: tuple[Grids, ...], pairs: tuple[Pair, ...], engine: Engine) -> Probabilities:
    """Run the passes that the maps need: one per visit (x, x, 0), and two per pair, there and back."""
    from_pair = engine.config.all_lesion_from is AllLesionFrom.PAIR and bool(pairs)
    every: dict[int, tuple[np.ndarray, str]] = {}
    new, resolved = {}, {}
    for pair in pairs:
        b, f = visits[pair.baseline], visits[pair.followup]
        brain = b.brain | f.brain
        maps = engine.run(b.image.data, f.image.data, brain, list(Head) if from_pair else [Head.NEW])
        new[pair] = maps[Head.NEW]
        resolved[pair] = engine.run(f.image.data, b.image.data, brain, [Head.NEW])[Head.NEW]
        if from_pair:
            every[pair.followup] = maps[Head.ALL_FOLLOWUP], f"pair with {b.name}, follow-up head"
            every.setdefault(pair.baseline, (maps[Head.ALL_BASELINE], f"pair with {f.name}, baseline head"))
    null = []
    for i, visit in enumerate(visits):
        x = visit.image.data
        maps = engine.run(x, x, visit.brain, [Head.NEW] if i in every else [Head.ALL_FOLLOWUP, Head.NEW])
        null.append(maps[Head.NEW])
        if i not in every:
            every[i] = maps[Head.ALL_FOLLOWUP], SINGLE
    order = range(len(visits))
    return Probabilities(tuple(every[i][0] for i in order), tuple(every[i][1] for i in order), tuple(null), new, resolved)


def describe_choices(config: SegmentConfig, model: Model, engine: Engine) -> dict[str, Any]:
    """What decides a probability, for its sidecar."""
    windows = {"PatchSize": list(config.patch_size), "Stride": list(config.stride)} if config.inference is Inference.WINDOWS else {}
    return {
        "Model": {"Name": model.info.name, "SHA256": model.sha256, "Source": model.info.source, "Version": model.info.version or "n/a"},
        "Inference": str(config.inference),
        **windows,
        **({"Tile": config.tile} if config.tile else {}),
        "Precision": str(engine.dtype).removeprefix("torch."),
        "Device": engine.device.type,
        "CoactSegVersion": __version__,
        "IntendedUse": model.research_line,
    }


def _thresholds(config: SegmentConfig, model: Model) -> tuple[float, float]:
    """Of all lesions and of new ones: the user's, else the model's own."""
    return config.threshold_all or model.info.threshold_all, config.threshold_new or model.info.threshold_new


def _peak(config: SegmentConfig, model: Model) -> float | None:
    """What a new lesion must reach somewhere. It belongs to the model's own threshold: None with a threshold of the user's."""
    return model.info.peak_new or None if config.threshold_new is None else None


def describe(
    visits: tuple[Grids, ...], probabilities: Probabilities, config: SegmentConfig, model: Model, choices: Mapping[str, Any]
) -> ParticipantMaps:
    """The maps with their thresholds and with what each was made from."""
    every, new = _thresholds(config, model)
    peak = _peak(config, model)

    def lesions(desc: str, probability: np.ndarray, pass_: str, **facts: str | None) -> LesionMap:
        probability = rounded(probability)
        if desc == ALL:
            return LesionMap(desc, probability, every, {**choices, "ModelThreshold": model.info.threshold_all, "Pass": pass_, **facts})
        own = {"ModelThreshold": model.info.threshold_new, **({"ModelPeak": model.info.peak_new} if model.info.peak_new else {})}
        return LesionMap(desc, probability, new, {**choices, **own, "Pass": pass_, **facts}, peak)

    def of_pair(kind: str, pair: Pair, probability: np.ndarray, pass_: str) -> LesionMap:
        baseline, followup = visits[pair.baseline].scan.session, visits[pair.followup].scan.session
        desc = desc_of(pair, baseline, kind)
        return lesions(desc, probability, pass_, BaselineSession=baseline, FollowUpSession=followup)

    forward, backward = "pair, new-lesion head", "pair with its visits exchanged (follow-up, baseline), new-lesion head"
    return ParticipantMaps(
        all=tuple(lesions(ALL, p, made) for p, made in zip(probabilities.all, probabilities.all_pass, strict=True)),
        new={pair: of_pair("new", pair, p, forward) for pair, p in probabilities.new.items()},
        resolved={pair: of_pair("resolved", pair, p, backward) for pair, p in probabilities.resolved.items()},
        null=tuple(lesions(NULL_PAIR, p, "single scan (x, x, 0), new-lesion head") for p in probabilities.null),
    )


def require_comparable(prepared: PreparedTimeline, config: SegmentConfig) -> None:
    """Raises: InvalidConfig where heads of a pair are asked for and visits are not comparable."""
    if config.all_lesion_from is AllLesionFrom.PAIR and not prepared.comparable and len(prepared.visits) > 1:
        msg = "--all-lesion-from pair needs visits on one grid; it does not go with --subject-anatomical-reference sessionwise."
        raise InvalidConfig(msg)
