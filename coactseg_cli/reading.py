"""Maps of one participant -> masks, lesions, tables, page: one road after the network and when an output is read again.

    ParticipantMaps -> masks and numbered lesions on both grids -> tables -> page

No network here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bids_app.cases import Pair, PreparedTimeline
from bids_app.derivatives import Derivatives
from coactseg_cli import begun, quality_files
from coactseg_cli.config import SegmentConfig
from coactseg_cli.lesion_files import earlier_ids, follow, rules_of, visit_facts, write_history
from coactseg_cli.lesion_maps import Grids, LesionMap, ParticipantMaps
from coactseg_cli.lesions.fates import Fate
from coactseg_cli.lesions.history import History, count_fates
from coactseg_cli.lesions.location import Anatomy, locate
from coactseg_cli.lesions.tracking import VisitMaps, track
from coactseg_cli.segment_files import Place, ReadMap, ReadMaps, binarise, write_map, write_probability
from coactseg_cli.sessions_table import Findings, row_pairs, write_sessions
from coactseg_cli.subject_report import write_report


@dataclass(frozen=True, slots=True)
class SubjectResult:
    """What was found in one participant."""

    subject: str
    summary: str  # one line
    report: Path
    outputs: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Context:
    """What a participant's products say that does not follow from the maps."""

    research_line: str  # stands on the page
    flags: Sequence[Mapping[str, object]]  # rows of the table of quality checks
    earlier: tuple[Derivatives, ...] = ()  # where ids of an earlier run are looked for, after the place that is written


def read(
    prepared: PreparedTimeline, visits: Sequence[Grids], maps: ParticipantMaps, config: SegmentConfig, tree: Derivatives, context: Context
) -> SubjectResult:
    """Read the maps of one participant and write every product.

    Args:
        prepared: the participant.
        visits: its visits as arrays and grids.
        maps: probabilities, or masks that are taken as they are.
        config: sizes, rules and what is written; thresholds are in `maps` already.
        tree: where it is written.
        context: what does not follow from the maps.

    Raises: GridMismatch, CoactSegError for more lesions than a dseg can number, CannotCreate.
    """
    before = Derivatives(begun.ids_place(tree.root, prepared.subject))
    earlier = earlier_ids((before, *context.earlier), prepared.subject, visits)  # before anything is overwritten
    everything = _write_maps(prepared, visits, maps, config, tree)
    outputs = [path for read_map in everything.each for path in read_map.found.outputs]
    outputs += _write_null_pairs(prepared, visits, maps, config, tree)
    outputs.append(quality_files.write_checks(tree, prepared.subject, context.flags))
    facts = visit_facts(prepared, tree, visits)
    fates: dict[Pair, Mapping[Fate, int]] = {}
    if prepared.comparable:
        history = follow(visits, [_tracked(maps, everything, i, Pair(i - 1, i)) for i in range(len(visits))], earlier, rules_of(config))
        outputs += write_history(tree, prepared, visits, history, facts, locate(history, _anatomies(visits), visits[0].image.affine))
        fates = _fates(visits, maps, everything, history)
    findings = Findings(visits, [f.days for f in facts], everything, _null_masks(visits, maps, config), fates, context.flags)
    outputs += write_sessions(tree, prepared.subject, findings)
    report = write_report(prepared, tree, tuple(maps.new), context.research_line)
    return SubjectResult(prepared.subject, _summary(visits, everything), report, (*outputs, report))


def _tracked(maps: ParticipantMaps, everything: ReadMaps, visit: int, pair: Pair) -> VisitMaps:
    """One visit for the tracking, against the baseline of `pair`."""
    new, resolved = everything.new.get(pair), everything.resolved.get(pair)
    return VisitMaps(
        mask=everything.all[visit].mask,
        all_probability=maps.all[visit].probability,
        new_probability=maps.new[pair].probability if pair in maps.new else None,
        new_mask=None if new is None else new.mask,
        resolved_mask=None if resolved is None else resolved.mask,
        confirm=new is not None and not _corrected(maps, pair),
    )


def _corrected(maps: ParticipantMaps, pair: Pair) -> bool:
    """Whether somebody corrected a map of the pair: then the masks have the last word, not the network that saw both visits."""
    every = (maps.all[pair.baseline], maps.all[pair.followup], maps.new[pair], maps.resolved[pair])
    return any(m.given_from or m.facts.get("HandCorrected") for m in every)


def _anatomies(visits: Sequence[Grids]) -> list[Anatomy]:
    """The scans with zero mean and unit variance in the brain, also where prep left intensities as they are."""
    found = []
    for visit in visits:
        inside = visit.image.data[visit.brain].astype(np.float64)
        mean, sd = (float(inside.mean()), float(inside.std())) if inside.size else (0.0, 1.0)
        found.append(Anatomy(((visit.image.data - mean) / (sd or 1.0)).astype(np.float32), visit.brain))
    return found


def _fates(visits: Sequence[Grids], maps: ParticipantMaps, everything: ReadMaps, history: History) -> dict[Pair, Mapping[Fate, int]]:
    """Lesions per fate for each row of the sessions table; a visit that is compared with the first is followed from there for it."""
    fates = {}
    for visit, pair in row_pairs(len(visits), tuple(maps.new)).items():
        if pair.baseline == visit - 1:
            fates[pair] = count_fates(history, visit)
        else:
            two = [_tracked(maps, everything, v, pair if v == visit else Pair(-1, v)) for v in (pair.baseline, visit)]
            fates[pair] = count_fates(track(two, visits[0].image.spacing_mm, history.rules), 1)
    return fates


def _null_masks(visits: Sequence[Grids], maps: ParticipantMaps, config: SegmentConfig) -> list[np.ndarray | None]:
    """What the network calls new where a visit is compared with itself, on the common grid."""
    masks: list[np.ndarray | None] = []
    for visit, found in zip(visits, maps.null, strict=True):
        if found is None or found.probability is None or found.threshold is None:
            masks.append(None)
        else:
            masks.append(binarise(visit.image.like(found.believed()), visit.brain, found.threshold, config.min_lesion_mm3).data)
    return masks


def _place(prepared: PreparedTimeline, tree: Derivatives, visits: Sequence[Grids], visit: int) -> Place:
    own = visits[visit]
    return Place(tree, own, tree.uri(prepared.reference if prepared.comparable else own.scan.image))


def _write_maps(
    prepared: PreparedTimeline, visits: Sequence[Grids], maps: ParticipantMaps, config: SegmentConfig, tree: Derivatives
) -> ReadMaps:
    def write(found: LesionMap, place: Place) -> ReadMap:
        return write_map(place, found, config.min_lesion_mm3, probabilities=config.output_probabilities)

    def of_pair(pair: Pair, *, resolved: bool) -> Place:
        baseline = visits[pair.baseline]
        place = replace(_place(prepared, tree, visits, pair.followup), partner=baseline)
        return replace(place, inside=baseline) if resolved else place  # what is resolved lies in the brain of the baseline

    return ReadMaps(
        all=tuple(write(found, _place(prepared, tree, visits, i)) for i, found in enumerate(maps.all)),
        new={pair: write(found, of_pair(pair, resolved=False)) for pair, found in maps.new.items()},
        resolved={pair: write(found, of_pair(pair, resolved=True)) for pair, found in maps.resolved.items()},
    )


def _write_null_pairs(
    prepared: PreparedTimeline, visits: Sequence[Grids], maps: ParticipantMaps, config: SegmentConfig, tree: Derivatives
) -> list[Path]:
    if not config.output_probabilities:
        return []
    outputs = []
    for i, found in enumerate(maps.null):
        if found is not None and found.probability is not None:
            outputs += write_probability(_place(prepared, tree, visits, i), found, "individual", visits[i].image.like(found.probability))
    return outputs


def _summary(visits: Sequence[Grids], everything: ReadMaps) -> str:
    parts = []
    for visit, found in zip(visits, everything.all, strict=True):
        name = visit.name if visit.scan.session else "scan"
        parts.append(f"{name}: {len(found.found.lesions)} lesions, {found.found.volume_mm3:.0f} mm3")
    for kind, of_pairs in (("new", everything.new), ("resolved", everything.resolved)):
        for pair, found in of_pairs.items():
            before, after = visits[pair.baseline].name, visits[pair.followup].name
            parts.append(f"{kind} at {after} since {before}: {len(found.found.lesions)} lesions, {found.found.volume_mm3:.0f} mm3")
    return "; ".join(parts)
