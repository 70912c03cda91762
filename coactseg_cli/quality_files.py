"""The quality checks of a participant on the disk: what they read of a prepared data set, and the table they are written to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bids_app.cases import PreparedTimeline
from bids_app.derivatives import Derivatives
from bids_app.files import read_json
from bids_app.inheritance import metadata_of
from bids_app.tables import write_table
from coactseg_cli.lesion_maps import Grids, read_grids
from coactseg_cli.prep_files import ASYMMETRY
from coactseg_cli.preprocessing.checks import participant_checks
from coactseg_cli.preprocessing.quality import COLUMNS, Check
from coactseg_cli.preprocessing.transforms import read_itk
from coactseg_cli.preprocessing.visit_facts import VisitFacts
from coactseg_cli.seen import SeenRanges
from coactseg_cli.volumes import load, to_ras

DESCRIPTION = "Quality checks of every visit, passed or not: a flag says where to look, not that a map is wrong."


def check_participant(prepared: PreparedTimeline, seen: SeenRanges | None, visits: Sequence[Grids] | None = None) -> tuple[Check, ...]:
    """Every check of a prepared participant.

    Args:
        prepared: where the visits are.
        seen: what the model saw; None: not known.
        visits: them as they were read already; None: read them.

    Raises: UnreadableImage, UnreadableTransform, GridMismatch.
    """
    sidecars = [{} if visit.raw is None else metadata_of(visit.raw) for visit in prepared.visits]
    facts = [read_facts(grids) for grids in visits or [read_grids(visit) for visit in prepared.visits]]
    return participant_checks(facts, seen, sidecars, comparable=prepared.comparable)


def read_facts(grids: Grids) -> VisitFacts:
    """What the checks need of one visit; reads the scan itself, which nothing else needs."""
    visit = grids.scan
    sidecar = visit.image.with_name(visit.image.name.partition(".")[0] + ".json")
    asymmetry = read_json(sidecar).get(ASYMMETRY) if sidecar.is_file() else None
    return VisitFacts(
        session=visit.session,
        native=to_ras(load(visit.native)),  # slices are found by their axis
        native_brain=to_ras(grids.native_brain).data,
        image=grids.image,
        brain=grids.brain,
        orig_from_individual=read_itk(visit.to_individual),
        asymmetry_mm=float(asymmetry) if isinstance(asymmetry, int | float) else None,
    )


def write_checks(tree: Derivatives, subject: str, checks: Sequence[Mapping[str, object]]) -> Path:
    """sub-XX_desc-quality_flags.tsv and .json from the rows of the checks. Returns: the table."""
    path = tree.subject_path(subject, f"sub-{subject}_desc-quality_flags.tsv")
    write_table(path, checks, COLUMNS, description=DESCRIPTION)
    return path
