"""Lesions that are followed over the visits, on the disk: ids on every grid, the two tables, and the ids of an earlier run.

    sub-XX/anat/sub-XX_space-individual_desc-lesions_dseg (.nii.gz, .tsv)    every lesion ever seen
    sub-XX/sub-XX_desc-lesions_timeline.tsv                                  a row per lesion and visit
    sub-XX/ses-YY/anat/..._space-{individual,orig}_desc-lesions_dseg         the same ids at one visit

What is decided about lesions is decided in coactseg_cli.lesions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bids_app.cases import PreparedTimeline
from bids_app.derivatives import Derivatives
from bids_app.entities import Entities
from bids_app.files import read_json
from bids_app.intervals import days_since_first
from bids_app.sidecars import dseg_sidecar
from bids_app.tables import write_table
from coactseg_cli import __version__
from coactseg_cli.config import SegmentConfig
from coactseg_cli.lesion_maps import Grids
from coactseg_cli.lesions.history import History, latest_wins
from coactseg_cli.lesions.location import Location
from coactseg_cli.lesions.timeline import LESION_COLUMNS, TIMELINE_COLUMNS, VisitFacts, lesion_rows, timeline_rows
from coactseg_cli.lesions.tracking import Rules, VisitMaps, keep_ids, track
from coactseg_cli.nearest import carry
from coactseg_cli.segment_files import map_entities
from coactseg_cli.volumes import Volume, load_stored, save

DESC = "lesions"
LARGEST = "LargestIndexEverUsed"  # key of the participant's sidecar: ids up to it are taken for good
PLACED = "IndividualFromOrig"  # key of a visit's sidecar: (4, 4) RAS mm, so that its ids are found again after the common grid moved
COMBINED = "Where lesions of several visits cover a voxel, it has the id of the latest visit."
GRID_NOTE = "Volumes are those of the grid where the visits meet (space-individual); sessions.tsv counts on each scan's own grid."


@dataclass(frozen=True, slots=True, eq=False)
class EarlierIds:
    """What an earlier run called the lesions."""

    labels: tuple[np.ndarray | None, ...]  # per visit (X, Y, Z) uint16 on the present common grid; None: a visit that it did not have
    largest: int  # the largest id ever given; 0 for none


def rules_of(config: SegmentConfig) -> Rules:
    """The rules with what the user chose."""
    rules = Rules()
    return replace(
        rules,
        noise_mm3=rules.noise_mm3 if config.noise_mm3 is None else config.noise_mm3,
        noise_share=rules.noise_share if config.noise_share is None else config.noise_share,
        min_overlap=rules.min_overlap if config.min_overlap is None else config.min_overlap,
    )


def earlier_ids(places: Sequence[Derivatives], subject: str, visits: Sequence[Grids]) -> EarlierIds:
    """The ids of an earlier run, carried to the present common grid through each scan's own space; from the first place that has any.

    Raises: UnreadableImage, InvalidDataset.
    """
    for tree in places:
        sidecar = _json(_participant_path(tree, subject))
        if sidecar.is_file():
            largest = read_json(sidecar).get(LARGEST)
            labels = tuple(_earlier(tree, subject, visit) for visit in visits)
            seen = max((int(found.max()) for found in labels if found is not None), default=0)
            return EarlierIds(labels, max(largest if isinstance(largest, int) else 0, seen))
    return EarlierIds((None,) * len(visits), 0)


def _earlier(tree: Derivatives, subject: str, visit: Grids) -> np.ndarray | None:
    own = _visit_path(tree, visit, "individual")
    path = own if visit.scan.session is not None or own.is_file() else _participant_path(tree, subject)
    if not (path.is_file() and _json(path).is_file()):
        return None
    placed = np.asarray(read_json(_json(path)).get(PLACED, np.eye(4)), dtype=np.float64)
    before_from_now = placed @ np.linalg.inv(visit.individual_from_orig)
    return carry(load_stored(path), visit.image, before_from_now).data.astype(np.uint16)


def follow(visits: Sequence[Grids], maps: Sequence[VisitMaps], earlier: EarlierIds, rules: Rules) -> History:
    """The lesions over all visits, under the ids that an earlier run gave them. Raises: CoactSegError for too many lesions."""
    history = track(maps, visits[0].image.spacing_mm, rules)
    return keep_ids(history, earlier.labels, range(1, earlier.largest + 1))


def visit_facts(prepared: PreparedTimeline, tree: Derivatives, visits: Sequence[Grids]) -> tuple[VisitFacts, ...]:
    """What the tables say of each visit. Raises: InvalidDataset for a broken sessions table of the raw data set."""
    sessions = [v.scan.session for v in visits]
    days = days_since_first(sessions, [v.scan.time for v in visits], tree.raw, prepared.subject)
    return tuple(
        VisitFacts(
            None if visit.scan.session is None else f"ses-{visit.scan.session}",
            since,
            np.linalg.inv(visit.individual_from_orig) @ visit.image.affine,
        )
        for visit, since in zip(visits, days, strict=True)
    )


def write_history(
    tree: Derivatives,
    prepared: PreparedTimeline,
    visits: Sequence[Grids],
    history: History,
    facts: Sequence[VisitFacts],
    locations: Mapping[int, Location],
) -> list[Path]:
    """Write ids and tables. Returns: the files."""
    made = {"TrackingRules": asdict(history.rules), "CoactSegVersion": __version__}
    outputs = []
    for visit, labels in zip(visits, history.labels, strict=True):
        outputs += _write_visit(tree, prepared, visit, labels, made)
    outputs += _write_participant(tree, prepared, visits, history, lesion_rows(history, facts, locations), made)
    path = tree.subject_path(prepared.subject, f"sub-{prepared.subject}_desc-{DESC}_timeline.tsv")
    write_table(path, timeline_rows(history, facts), TIMELINE_COLUMNS, description=f"Every lesion at every visit. {GRID_NOTE}")
    return [*outputs, path]


def _write_visit(tree: Derivatives, prepared: PreparedTimeline, visit: Grids, labels: np.ndarray, made: Mapping[str, Any]) -> list[Path]:
    """The ids at one visit on both grids; on the scan's own by nearest neighbour."""
    individual = visit.image.like(labels)
    native = carry(individual, visit.native_brain, visit.individual_from_orig)
    outputs = []
    for space, volume, reference in (("individual", individual, prepared.reference), ("orig", native, visit.scan.native)):
        path = _visit_path(tree, visit, space)
        if path == _participant_path(tree, prepared.subject):
            continue  # one visit without a session label: the participant's file is its own
        mask = map_entities(visit.scan, "all", space, "mask")
        content = dseg_sidecar(
            description=f"Lesions of this visit under their ids over all visits; the table is that of sub-{prepared.subject}/anat.",
            sources=[tree.uri(tree.path(mask))],
            spatial_reference=tree.uri(reference),
            columns={},
            **made,
            **({PLACED: visit.individual_from_orig.tolist()} if space == "individual" else {}),
        )
        save(volume, path, np.uint16)
        tree.sidecar(path, content)
        outputs.append(path)
    return outputs


def _write_participant(
    tree: Derivatives,
    prepared: PreparedTimeline,
    visits: Sequence[Grids],
    history: History,
    rows: Sequence[Mapping[str, object]],
    made: Mapping[str, Any],
) -> list[Path]:
    path = _participant_path(tree, prepared.subject)
    table = path.with_name(path.name.replace(".nii.gz", ".tsv"))
    content = dseg_sidecar(
        description=f"Every lesion of any visit under one number each. {COMBINED} {GRID_NOTE}",
        sources=[tree.uri(tree.path(map_entities(v.scan, "all", "individual", "mask"))) for v in visits],
        spatial_reference=tree.uri(prepared.reference),
        columns=LESION_COLUMNS,
        **made,
        **{LARGEST: max(history.used_ids, default=0)},
        **({PLACED: visits[0].individual_from_orig.tolist()} if len(visits) == 1 else {}),
    )
    save(Volume(latest_wins(history.labels), visits[0].image.affine), path, np.uint16)
    write_table(table, rows, LESION_COLUMNS, dictionary=False)
    tree.sidecar(path, content)
    return [path, table]


def _visit_path(tree: Derivatives, visit: Grids, space: str) -> Path:
    return tree.path(map_entities(visit.scan, DESC, space, "dseg"))


def _participant_path(tree: Derivatives, subject: str) -> Path:
    return tree.path(Entities(subject=subject, space="individual", desc=DESC, suffix="dseg", extension=".nii.gz", datatype="anat"))


def _json(image: Path) -> Path:
    return image.with_name(image.name.partition(".")[0] + ".json")
