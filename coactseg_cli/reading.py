"""Maps of one participant -> masks, lesions, tables, page: one road after the network and when an output is read again.

    ParticipantMaps -> masks and numbered lesions on both grids -> tables -> page

No network here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bids_app.cases import Pair, PreparedTimeline
from bids_app.derivatives import Derivatives
from coactseg_cli.config import SegmentConfig
from coactseg_cli.lesion_maps import Grids, LesionMap, ParticipantMaps
from coactseg_cli.segment_files import Place, ReadMap, ReadMaps, write_map, write_probability
from coactseg_cli.sessions_table import write_sessions
from coactseg_cli.subject_report import write_report


@dataclass(frozen=True, slots=True)
class SubjectResult:
    """What was found in one participant."""

    subject: str
    summary: str  # one line
    report: Path
    outputs: tuple[Path, ...]


def read(
    prepared: PreparedTimeline, visits: Sequence[Grids], maps: ParticipantMaps, config: SegmentConfig, tree: Derivatives, research_line: str
) -> SubjectResult:
    """Read the maps of one participant and write every product.

    Args:
        prepared: the participant.
        visits: its visits as arrays and grids.
        maps: probabilities, or masks that are taken as they are.
        config: thresholds are in `maps` already; sizes and what is written come from here.
        tree: where it is written.
        research_line: stands on the page.

    Raises: GridMismatch, CoactSegError for more lesions than a dseg can number, CannotCreate.
    """
    everything = _write_maps(prepared, visits, maps, config, tree)
    outputs = [path for read_map in everything.each for path in read_map.found.outputs]
    outputs += _write_null_pairs(prepared, visits, maps, config, tree)
    outputs += write_sessions(tree, prepared, visits, everything)
    report = write_report(prepared, tree, tuple(maps.new), research_line)
    return SubjectResult(prepared.subject, _summary(visits, everything), report, (*outputs, report))


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
