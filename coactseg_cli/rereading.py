"""Stage: an output of segment is read again, without the network: other thresholds, sizes and rules, or masks corrected by hand.

    probseg on disk (--from-probabilities) or masks on disk (--from-masks) -> ParticipantMaps -> reading

Maps are looked for in OUT, then in the prepared data set that was given (-d prep=PATH), which may be an output of segment too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bids_app.cases import Pair, PreparedTimeline, desc_of, pairs_of
from bids_app.derivatives import Derivatives
from bids_app.errors import InvalidDataset, NoInput, UnreadableImage
from bids_app.files import read_json
from bids_app.supplied import files_of
from bids_app.tables import read_table
from coactseg_cli.config import SegmentConfig
from coactseg_cli.errors import GridMismatch
from coactseg_cli.lesion_maps import ALL, NULL_PAIR, Grids, LesionMap, ParticipantMaps, read_grids
from coactseg_cli.logs import printable
from coactseg_cli.preprocessing import quality
from coactseg_cli.quality_files import check_participant
from coactseg_cli.reading import Context, SubjectResult, read
from coactseg_cli.segment_files import map_entities
from coactseg_cli.volumes import Volume, load, require_same_grid, same_grid

_OF_THE_FILE = ("Description", "Sources", "SpatialReference", "Type")  # what a sidecar says of its own file, and not of how a map was made
_OF_THE_READING = ("Threshold", "Peak", "MinLesionVolume")
SPACES = ("individual", "orig")


@dataclass(frozen=True, slots=True)
class Again:
    """What is read again."""

    masks: Path | None  # folder of masks corrected by hand, named as in OUT; None: the probabilities
    source: Path | None = None  # where maps are that OUT lacks: the prepared data set that was given


@dataclass(frozen=True, slots=True, eq=False)
class _Search:
    """Where the files of one visit's maps are looked for."""

    trees: tuple[Derivatives, ...]  # OUT first
    corrected: Derivatives | None
    visit: Grids

    def stored(self, desc: str, space: str, suffix: str) -> Path | None:
        """The file of a map that segment wrote; a label that prep carried along has the same name, and says nothing of a map."""
        paths = [tree.path(map_entities(self.visit.scan, desc, space, suffix)) for tree in self.trees]
        return next((path for path in paths if path.is_file() and (suffix != "mask" or _is_map(path))), None)

    def masks(self, desc: str) -> dict[str, Path]:
        """Space to a mask that somebody corrected."""
        if self.corrected is None:
            return {}
        found = {space: self.corrected.path(map_entities(self.visit.scan, desc, space, "mask")) for space in SPACES}
        return {space: path for space, path in found.items() if path.is_file()}


def reread(
    prepared: PreparedTimeline,
    config: SegmentConfig,
    tree: Derivatives,
    again: Again,
    research_line: str,
    log: Callable[[str], None],
) -> SubjectResult:
    """Read one participant's maps again and write everything that follows from them.

    Args:
        prepared: the participant.
        config: thresholds, sizes, rules; `pairs` are those that were compared.
        tree: OUT.
        again: where maps are.
        research_line: stands on the page.
        log: told what was corrected by hand.

    Raises: NoInput for a map that is not there, GridMismatch for a mask on another grid, InvalidDataset for masks that nothing asks for.
    """
    visits = tuple(read_grids(v) for v in prepared.visits)
    source = () if again.source is None or again.source.resolve() == tree.root.resolve() else (Derivatives(again.source),)
    trees = (tree, *source)
    maps = stored_maps(visits, pairs_of(len(visits), config.pairs) if prepared.comparable else (), config, trees, again.masks)
    _require_used(prepared.subject, visits, maps, again.masks)
    corrected = sorted(path.name for found in (*maps.all, *maps.new.values(), *maps.resolved.values()) for path in found.given_from)
    if again.masks is not None:
        log(f"corrected by hand: {', '.join(corrected) or 'nothing, everything is as it was'}")
    return read(prepared, visits, maps, config, tree, Context(research_line, _flags(prepared, trees), source))


def stored_maps(
    visits: Sequence[Grids], pairs: Sequence[Pair], config: SegmentConfig, trees: tuple[Derivatives, ...], masks: Path | None
) -> ParticipantMaps:
    """Every map of a participant as it lies on the disk. Raises: NoInput, GridMismatch, UnreadableImage."""
    corrected = None if masks is None else Derivatives(masks)

    def find(visit: int, desc: str) -> LesionMap:
        search = _Search(trees, corrected, visits[visit])
        threshold = config.threshold_all if desc == ALL else config.threshold_new
        return _from_probability(search, desc, threshold) if masks is None else _from_masks(search, desc, threshold)

    def of_pairs(kind: str) -> dict[Pair, LesionMap]:
        return {pair: find(pair.followup, desc_of(pair, visits[pair.baseline].scan.session, kind)) for pair in pairs}

    null = [_null_pair(_Search(trees, corrected, visit), config.threshold_new, needed=masks is None) for visit in visits]
    return ParticipantMaps(tuple(find(i, ALL) for i in range(len(visits))), of_pairs("new"), of_pairs("resolved"), tuple(null))


def _from_probability(search: _Search, desc: str, threshold: float | None) -> LesionMap:
    path = search.stored(desc, "individual", "probseg")
    if path is None:
        raise NoInput(_missing(search, desc, "probseg"))
    facts = _facts(path)
    # The model's peak goes with its own threshold: there is none with a threshold of the user's.
    peak = _number(facts.get("ModelPeak")) if threshold is None else None
    return LesionMap(desc, _probability(path, search.visit), _threshold(path, facts, threshold), facts, peak, stored=path)


def _probability(path: Path, visit: Grids) -> np.ndarray:
    """(X, Y, Z) on the common grid. Raises: UnreadableImage, GridMismatch."""
    volume = load(path)
    require_same_grid(volume, visit.image, str(path), str(visit.scan.image))
    low, high = float(volume.data.min()), float(volume.data.max())
    if low < 0 or high > 1:
        msg = f"{path}: expected probabilities from 0 to 1; found {low:g} to {high:g}. Run segment again with --force."
        raise UnreadableImage(msg)
    return volume.data


def _missing(search: _Search, desc: str, suffix: str) -> str:
    path = search.trees[0].path(map_entities(search.visit.scan, desc, "individual", suffix))
    return (
        f"{path}: no such file. Probabilities are there unless OUT was made with --output-probabilities no, by an earlier version or with "
        "other --pairs: run segment again with --output-probabilities yes, and --force."
    )


def _null_pair(search: _Search, threshold: float | None, *, needed: bool) -> LesionMap | None:
    if needed or search.stored(NULL_PAIR, "individual", "probseg") is not None:
        return _from_probability(search, NULL_PAIR, threshold)
    return None


def _from_masks(search: _Search, desc: str, threshold: float | None) -> LesionMap:
    """Masks as they are: the corrected ones, else those that segment wrote; with the probabilities, where there are any, for the tables."""
    probability = search.stored(desc, "individual", "probseg")
    written = search.stored(desc, "individual", "mask")
    corrected = search.masks(desc)
    sidecar = written or probability
    facts = {} if sidecar is None else _facts(sidecar)
    if corrected:
        facts = {key: value for key, value in facts.items() if not key.startswith("HandCorrected")}
        given = {space: _mask(search.visit, space, path) for space, path in corrected.items()}
    else:
        places = {space: search.stored(desc, space, "mask") for space in SPACES}
        given = {space: _mask(search.visit, space, path) for space, path in places.items() if path is not None}
    if not given:
        path = search.trees[0].path(map_entities(search.visit.scan, desc, "individual", "mask"))
        msg = f"{path}: no such mask, neither there nor among the corrected ones. Run segment first, or give the mask under this name."
        raise NoInput(msg)
    recorded = {} if written is None else read_json(_json(written))
    limit, peak = _number(recorded.get("Threshold")), _number(recorded.get("Peak"))
    map_data = None if probability is None else _probability(probability, search.visit)
    limit = threshold if limit is None else limit
    return LesionMap(desc, map_data, limit, facts, peak, stored=probability, given=given, given_from=tuple(corrected.values()))


def _mask(visit: Grids, space: str, path: Path) -> Volume:
    """A mask on the grid of its space. Raises: GridMismatch naming both files."""
    mask = load(path)
    grid, name = (visit.image, visit.scan.image) if space == "individual" else (visit.native_brain, visit.scan.native)
    if not same_grid(mask, grid):
        msg = (
            f"{path} lies on another grid than {name}: {mask.shape} with affine {mask.affine.tolist()}, expected {grid.shape} with affine "
            f"{grid.affine.tolist()}. Correct the mask of space-{space} on its own grid, or carry yours over to it."
        )
        raise GridMismatch(msg)
    return Volume(mask.data > 0.5, grid.affine)


def _facts(path: Path) -> dict[str, Any]:
    """What a sidecar says of how a map was made."""
    content = read_json(_json(path))
    return {key: value for key, value in content.items() if key not in (*_OF_THE_FILE, *_OF_THE_READING)}


def _threshold(path: Path, facts: Mapping[str, Any], given: float | None) -> float:
    """The user's, else the model's own. Raises: InvalidDataset where neither is known."""
    own = _number(facts.get("ModelThreshold")) if given is None else given
    if own is not None:
        return own
    msg = f"{_json(path)}: no ModelThreshold, as an earlier version wrote it. Give --threshold-all and --threshold-new."
    raise InvalidDataset(msg)


def _number(value: object) -> float | None:
    """A number of a sidecar; None for anything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _require_used(subject: str, visits: Sequence[Grids], maps: ParticipantMaps, masks: Path | None) -> None:
    """A corrected mask that nothing asks for would be passed over in silence. Raises: InvalidDataset."""
    if masks is None:
        return
    used = {path for found in (*maps.all, *maps.new.values(), *maps.resolved.values()) for path in found.given_from}
    ours = [f for f in files_of(masks, subject) if f.entities.suffix == "mask" and f.entities.label == "L"]
    if surplus := [str(f.path) for f in ours if f.path not in used]:
        names = ", ".join(sorted({v.name for v in visits}))
        msg = (
            f"{', '.join(surplus)}: nothing asks for it. Corrected masks have the names that segment gives them "
            f"(space-individual or space-orig, label-L, desc-all, -new or -resolved); the visits are {names}."
        )
        raise InvalidDataset(msg)


def _flags(prepared: PreparedTimeline, trees: Sequence[Derivatives]) -> Sequence[Mapping[str, object]]:
    """The quality checks as they were made: they are about the scans, which are the same. Made again where there are none."""
    name = f"sub-{prepared.subject}_desc-quality_flags.tsv"
    path = next((p for p in (tree.subject_path(prepared.subject, name) for tree in trees) if p.is_file()), None)
    return quality.rows(check_participant(prepared, None)) if path is None else read_table(path)


def research_line_of(timelines: Sequence[PreparedTimeline], trees: Sequence[Derivatives]) -> str | None:
    """What the sidecars of the maps say of their use; None where there is no map."""
    for timeline in timelines:
        for tree in trees:
            path = _json(tree.path(map_entities(timeline.visits[0], ALL, "individual", "mask")))
            if path.is_file() and isinstance(line := read_json(path).get("IntendedUse"), str):
                return " ".join(printable(line).split())[:300]
    return None


def _is_map(mask: Path) -> bool:
    return _json(mask).is_file() and not {"Threshold", "Model", "HandCorrected"}.isdisjoint(read_json(_json(mask)))


def _json(image: Path) -> Path:
    return image.with_name(image.name.partition(".")[0] + ".json")
