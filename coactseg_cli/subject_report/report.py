"""The page of one participant, from what lies on disk: it can be written again without running the network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bids_app import figures
from bids_app.cases import Pair, PreparedTimeline
from bids_app.derivatives import Derivatives
from bids_app.errors import InvalidDataset
from bids_app.fates import LesionMap
from bids_app.files import write_text
from bids_app.glassbrain import glass_brain
from bids_app.headview import head_view
from bids_app.report import Finding, PairSection, SubjectReport, VisitSection, render
from bids_app.tiles import Picture
from coactseg_cli import __version__
from coactseg_cli.subject_report import tracked, words
from coactseg_cli.subject_report.pairs import compare, crops_of, pair_section
from coactseg_cli.subject_report.quality import quality
from coactseg_cli.subject_report.sources import Change, Tables, Visit, read_change, read_lesions, read_tables, read_visit
from coactseg_cli.subject_report.tables import lesions_of_map, noted


def write_report(prepared: PreparedTimeline, tree: Derivatives, pairs: tuple[Pair, ...], research_line: str) -> Path:
    """Write OUT/sub-XX.html from the maps, tables and sidecars of a participant. Returns: the page."""
    path = tree.root / f"sub-{prepared.subject}.html"
    try:
        report = make_report(prepared, tree, pairs, research_line)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:  # a table or sidecar in OUT may hold anything
        msg = (
            f"{tree.root}: a table or sidecar of sub-{prepared.subject} does not hold what the page is made of "
            f"({type(error).__name__}: {error}). Compute it again with segment --force."
        )
        raise InvalidDataset(msg) from error
    write_text(path, render(report))
    return path


def make_report(prepared: PreparedTimeline, tree: Derivatives, pairs: tuple[Pair, ...], research_line: str) -> SubjectReport:
    """Everything the page says, from the maps, tables and sidecars of a participant; what OUT lacks is left out.

    Raises: NoInput, InvalidDataset, UnreadableImage.
    """
    visits = [read_visit(tree, v) for v in prepared.visits]
    tables = read_tables(tree, prepared.subject)
    lesions = _on_grid(read_lesions(tree, prepared.subject, tables), visits[-1])
    changes = [read_change(tree, visits, pair) for pair in pairs]
    latest = words.latest_change(changes, len(visits))
    window = figures.grey_window([v.image.data for v in visits], [v.brain for v in visits])
    zscored = words.preparation_facts(prepared).get("Normalization") == "zscore"
    pictured: set[str] = set()
    sections = _pair_sections(visits, changes, lesions, tables, window, pictured, zscored=zscored)
    found = quality(tables, visits)
    new = None if latest is None else latest.new
    return SubjectReport(
        subject=prepared.subject,
        research_line=research_line,
        version=__version__,
        headline=words.headline(tables, visits, changes, found),
        reading=words.reading(tables, visits, changes, found),
        charts=tracked.charts(tables, visits),
        visits=tuple(_visit_section(v, window) for v in visits),
        pairs=sections,
        lesions=tracked.lesion_table(tables, visits, pictured),
        overviews=_overviews(lesions, visits, tables),
        quality=found,
        methods=words.methods(prepared, visits, tables, latest),
        references=words.references(prepared),
        settings=words.settings(prepared, visits[-1], new),
    )


def _on_grid(lesions: LesionMap | None, visit: Visit) -> LesionMap | None:
    """None where the visits have no common grid, on which lesions could be shown."""
    return lesions if lesions is not None and lesions.labels.shape == visit.image.data.shape else None


def _pair_sections(
    visits: Sequence[Visit],
    changes: Sequence[Change],
    lesions: LesionMap | None,
    tables: Tables,
    window: tuple[float, float],
    pictured: set[str],
    *,
    zscored: bool,
) -> tuple[PairSection, ...]:
    """A section per comparison; the table of lesions links to the latest picture of each lesion, so the last comes first."""
    sections = []
    for change in reversed(changes):
        one = compare(visits, change, lesions, tables, window)
        sections.append(pair_section(one, tables, crops_of(one, tables, pictured), zscored=zscored))
    return tuple(reversed(sections))


def _overviews(lesions: LesionMap | None, visits: Sequence[Visit], tables: Tables) -> tuple[Picture, ...]:
    """Glass brain and view from two sides, over the latest visit."""
    if lesions is None:
        return ()
    last = visits[-1]
    brain = np.logical_or.reduce([v.brain for v in visits])
    args = (last.image.data, brain, lesions, last.image.spacing_mm)
    return glass_brain(*args, tracked.named(tables)), head_view(*args)


def _visit_section(visit: Visit, window: tuple[float, float]) -> VisitSection:
    overlays = [figures.all_lesions(visit.lesions.mask)]
    lesions = figures.mosaic(visit.image.data, visit.image.spacing_mm, window, overlays, brain=visit.brain, origin_mm=visit.origin_mm)
    native_window = figures.grey_window([visit.native.data], [visit.native_brain.data])
    brain_ml = float(visit.native_brain.data.sum()) * visit.native_brain.voxel_mm3 / 1000.0
    return VisitSection(
        session=visit.scan.session,
        title=f"Visit {visit.name}" if visit.scan.session else "Visit",
        n_lesions=len(visit.lesions.rows),
        volume_mm3=visit.lesions.volume_mm3,
        brain_mask_volume_ml=brain_ml,
        lesions=noted(lesions),
        brain=figures.brain_outline(visit.native.data, visit.native_brain.data, visit.native.spacing_mm, native_window),
        table=lesions_of_map(visit.lesions.rows, f"All lesions, {visit.name}"),
        findings=(Finding("Brain mask from", str(visit.brain_facts.get("BrainExtraction", "n/a"))),),
    )
