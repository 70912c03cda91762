"""The page of one participant, from what lies on disk: it can be written again without running the network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bids_app import figures
from bids_app.cases import Pair, PreparedScan, PreparedTimeline, desc_of
from bids_app.derivatives import Derivatives
from bids_app.files import read_json, write_text
from bids_app.report import Cell, Crop, Finding, PairSection, SubjectReport, Table, VisitSection, render
from bids_app.tables import number, read_table
from bids_app.tiles import Picture
from coactseg_cli import __version__
from coactseg_cli.components import label as label_components
from coactseg_cli.lesions.measure import HEADINGS
from coactseg_cli.volumes import Volume, load, to_ras

MAX_CROPS = 12  # new lesions that get a picture, the largest first
DRAWN_ON = (
    "Drawn on the grid where the visits meet, on which neighbouring lesions may join or part; the counts are those of the scan's own grid."
)
MEETING = {
    "unbiased": "Scans of all visits were registered rigidly to their halfway space (Reuter et al. 2012)",
    "first-lex": "Scans of all visits were registered rigidly to the first visit",
    "sessionwise": "Each visit was prepared on a grid of its own, and visits were not compared",
}
METHODS = (
    "Lesions were segmented with the CoactSeg network (Wu et al., MICCAI 2023), a 3D V-Net that takes the baseline FLAIR, the "
    "follow-up FLAIR and their difference. A visit's all-lesion map comes from the pass named below; the new-lesion map comes from "
    "the pass over both visits.",
    "Lesions not larger than the limit below were dropped on the scan's own grid; volumes and counts are those of the scan's own grid.",
)


@dataclass(frozen=True, slots=True, eq=False)
class _Map:
    """One kind of lesion map of one visit, as written."""

    rows: list[dict[str, str]]
    mask: np.ndarray  # bool, reference grid
    facts: dict[str, Any]  # sidecar of the dseg

    @property
    def volume_mm3(self) -> float:
        return sum(number(r["volume_mm3"]) for r in self.rows)


@dataclass(frozen=True, slots=True, eq=False)
class _Visit:
    """One visit, its arrays in RAS order."""

    scan: PreparedScan
    image: Volume  # reference grid
    brain: np.ndarray  # bool, reference grid
    native: Volume  # the scan with its skull, on its own grid
    native_brain: Volume  # bool
    brain_facts: dict[str, Any]  # sidecar of the brain mask
    lesions: _Map

    @property
    def name(self) -> str:
        return f"ses-{self.scan.session}" if self.scan.session else "the only visit"


def write_report(prepared: PreparedTimeline, tree: Derivatives, pairs: tuple[Pair, ...], research_line: str) -> Path:
    """Write OUT/sub-XX.html from the maps, tables and sidecars of a participant. Returns: the page."""
    visits = [_read_visit(tree, v) for v in prepared.visits]
    window = figures.grey_window([v.image.data for v in visits], [v.brain for v in visits])
    report = SubjectReport(
        subject=prepared.subject,
        research_line=research_line,
        version=__version__,
        visits=tuple(_visit_section(v, window) for v in visits),
        pairs=tuple(_pair_section(tree, visits[p.baseline], visits[p.followup], p, window) for p in pairs),
        methods=(_preparation(prepared), *METHODS),
        settings=_settings(visits[-1]),
    )
    path = tree.root / f"sub-{prepared.subject}.html"
    write_text(path, render(report))
    return path


def _read_visit(tree: Derivatives, scan: PreparedScan) -> _Visit:
    facts = read_json(Path(str(scan.native_brain_mask).replace(".nii.gz", ".json")))
    lesions = _read_map(tree, scan, "all")
    native_brain = _read_mask(scan.native_brain_mask)
    return _Visit(scan, to_ras(load(scan.image)), _read_mask(scan.brain_mask).data, to_ras(load(scan.native)), native_brain, facts, lesions)


def _read_mask(path: Path) -> Volume:
    mask = to_ras(load(path))
    return mask.like(mask.data > 0.5)


def _read_map(tree: Derivatives, scan: PreparedScan, desc: str) -> _Map:
    source = scan.entities.source().with_(desc=desc, datatype="anat")
    mask = tree.path(source.with_(space="individual", label="L", suffix="mask", extension=".nii.gz"))
    dseg = source.with_(space="orig", suffix="dseg")
    rows = read_table(tree.path(dseg.with_(extension=".tsv")))
    return _Map(rows, _read_mask(mask).data, read_json(tree.path(dseg.with_(extension=".json"))))


def _visit_section(visit: _Visit, window: tuple[float, float]) -> VisitSection:
    overlays = [figures.all_lesions(visit.lesions.mask)]
    lesions = figures.mosaic(visit.image.data, visit.image.spacing_mm, window, overlays, brain=visit.brain, origin_mm=_origin(visit))
    native_window = figures.grey_window([visit.native.data], [visit.native_brain.data])
    brain_ml = float(visit.native_brain.data.sum()) * visit.native_brain.voxel_mm3 / 1000.0
    return VisitSection(
        session=visit.scan.session,
        title=f"Visit {visit.name}" if visit.scan.session else "Visit",
        n_lesions=len(visit.lesions.rows),
        volume_mm3=visit.lesions.volume_mm3,
        brain_mask_volume_ml=brain_ml,
        lesions=_noted(lesions),
        brain=figures.brain_outline(visit.native.data, visit.native_brain.data, visit.native.spacing_mm, native_window),
        table=_table(visit.lesions.rows, f"All lesions, {visit.name}"),
        findings=(Finding("Brain mask from", str(visit.brain_facts.get("BrainExtraction", "n/a"))),),
    )


def _origin(visit: _Visit) -> tuple[float, float, float]:
    x, y, z = visit.image.affine[:3, 3]
    return float(x), float(y), float(z)


def _noted(picture: Picture) -> Picture:
    return replace(picture, note=DRAWN_ON)


def _pair_section(tree: Derivatives, baseline: _Visit, followup: _Visit, pair: Pair, window: tuple[float, float]) -> PairSection:
    new = _read_map(tree, followup.scan, desc_of(pair, baseline.scan.session))
    brain = baseline.brain | followup.brain
    image, spacing = followup.image.data, followup.image.spacing_mm
    overlays = [figures.all_lesions(followup.lesions.mask), figures.new_lesions(new.mask)]
    return PairSection(
        baseline=baseline.name,
        followup=followup.name,
        n_new=len(new.rows),
        volume_new_mm3=new.volume_mm3,
        lesions=_noted(figures.mosaic(image, spacing, window, overlays, brain=brain, origin_mm=_origin(followup))),
        flicker=figures.flicker(baseline.image.data, image, spacing, window, brain=brain),
        crops=_crops(baseline, followup, new, window),
        table=_table(new.rows, f"New lesions, {followup.name} since {baseline.name}"),
    )


def _crops(baseline: _Visit, followup: _Visit, new: _Map, window: tuple[float, float]) -> tuple[Crop, ...]:
    """A picture per new lesion, the largest first, on the reference grid."""
    labels, n = label_components(new.mask)
    spacing = followup.image.spacing_mm
    sizes = np.bincount(labels.ravel(order="K"), minlength=n + 1)[1:]
    crops = []
    for rank, i in enumerate(np.argsort(-sizes, kind="stable")[:MAX_CROPS], start=1):
        centre = np.argwhere(labels == i + 1).mean(axis=0)
        volume = float(sizes[i]) * followup.image.voxel_mm3
        picture = figures.triptych(
            baseline.image.data,
            followup.image.data,
            new.mask,
            followup.lesions.mask,
            centre=centre,
            spacing_mm=spacing,
            window=window,
            name=f"new lesion {rank}",
        )
        crops.append(Crop(f"New lesion {rank} by size, {volume:.0f} mm³ on the common grid", picture))
    return tuple(crops)


def _table(rows: list[dict[str, str]], caption: str) -> Table:
    cells: list[tuple[Cell, ...]] = []
    for r in rows:
        values = [number(r[k]) for k in ("volume_mm3", "voxels", "x_mm", "y_mm", "z_mm", "mean_probability", "max_probability")]
        cells.append((int(number(r["index"])), r["name"], values[0], int(values[1]), *values[2:]))
    return Table(caption, HEADINGS, tuple(cells))


def _preparation(prepared: PreparedTimeline) -> str:
    """One paragraph on what prep did, as its sidecar records it."""
    facts = read_json(Path(str(prepared.visits[-1].image).replace(".nii.gz", ".json")))
    meeting = MEETING.get(str(facts.get("SubjectAnatomicalReference")), "Scans were prepared as their sidecars say")
    if facts.get("Preregistered"):
        meeting = "Scans were given on one grid and not registered"
    elif len(prepared.visits) == 1:
        meeting = "The scan was brought to the model's grid"
    brain = f"brain masks: {facts.get('BrainExtraction', 'n/a')}"
    bias = f"bias field correction: {facts.get('BiasFieldCorrection', 'n/a')}"
    return f"{meeting}; {brain}; {bias}; intensities: {facts.get('Normalization', 'n/a')}. No scan was resampled more than once."


def _settings(visit: _Visit) -> tuple[tuple[str, str], ...]:
    """What decided the maps, as recorded beside them."""
    facts, brain = visit.lesions.facts, visit.brain_facts
    model = facts.get("Model", {})
    rows = [
        ("Model", f"{model.get('Name', 'n/a')}, SHA-256 {str(model.get('SHA256', 'n/a'))[:12]}, {model.get('Source', 'n/a')}"),
        ("All-lesion map from", str(facts.get("Pass", "n/a"))),
        ("Inference", f"{facts.get('Inference', 'n/a')}, {facts.get('Precision', 'n/a')}, {facts.get('Device', 'n/a')}"),
        ("Threshold, all lesions", str(facts.get("Threshold", "n/a"))),
        ("Lesions dropped up to", f"{facts.get('MinLesionVolume', 'n/a')} mm³"),
        ("Brain extraction", f"{brain.get('BrainExtraction', 'n/a')}: {brain.get('BrainExtractionReason', 'n/a')}"),
        ("Version", str(facts.get("CoactSegVersion", "n/a"))),
    ]
    return tuple(rows)
