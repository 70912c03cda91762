"""The files of the prep stage: what goes where, and what each sidecar says. Computes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from bids_app.cases import Label, LabelKind, PreparedScan, PreparedTimeline, Scan
from bids_app.derivatives import Derivatives
from bids_app.entities import Entities
from bids_app.sidecars import image_sidecar, mask_sidecar, xfm_sidecar
from bids_app.tables import Column, write_table
from coactseg_cli import __version__
from coactseg_cli.config import Normalize, PrepConfig, SkullStrip
from coactseg_cli.preprocessing.brain_extraction import BrainMask
from coactseg_cli.preprocessing.quality import Check, flagged
from coactseg_cli.preprocessing.transforms import settled, write_itk
from coactseg_cli.volumes import Volume, save

ASYMMETRY = "RegistrationAsymmetry"  # mm; key of the sidecar of a visit on the common grid


@dataclass(frozen=True, slots=True, eq=False)
class PreparedVisit:
    """One visit, computed and not yet written."""

    scan: Scan
    native: Volume  # the scan's own grid
    brain: BrainMask  # the same grid
    image: Volume  # the reference grid
    mask: Volume  # the same grid, bool
    orig_from_individual: np.ndarray  # (4, 4) RAS mm
    mean: float | None  # of the brain before normalisation; None: not normalised
    sd: float | None
    asymmetry_mm: float | None = None  # registration from the first visit, there and back; None: not made
    checks: tuple[Check, ...] = ()  # of brain masks and registration, passed or not


@dataclass(frozen=True, slots=True, eq=False)
class CarriedLabel:
    """A lesion label on the reference grid."""

    scan: Scan  # the visit it belongs to
    kind: LabelKind
    mask: Volume  # bool
    sources: tuple[Path, ...]


_LABEL_TEXT = {
    LabelKind.ALL: "Every lesion of this visit, as labelled by the user.",
    LabelKind.NEW: "Lesions new at this visit, as labelled by the user.",
    LabelKind.IGNORE_ALL: "Voxels where the label of all lesions says nothing.",
    LabelKind.IGNORE_NEW: "Voxels where the label of new lesions says nothing.",
}


def write(
    subject: str,
    visits: Sequence[PreparedVisit],
    labels: Sequence[CarriedLabel],
    *,
    comparable: bool,
    config: PrepConfig,
    tree: Derivatives,
) -> PreparedTimeline:
    """Write every file of one participant. Returns: where they are."""
    references = _write_references(subject, visits, comparable, config, tree)
    scans = tuple(_write_visit(visit, reference, config, tree) for visit, reference in zip(visits, references, strict=True))
    place = {v.scan.session: r for v, r in zip(visits, references, strict=True)}
    carried = tuple(_write_label(label, place[label.scan.session], tree) for label in labels)
    _write_sessions(subject, scans, tree)
    return PreparedTimeline(subject, references[0], scans, carried, comparable)


def _write_sessions(subject: str, scans: Sequence[PreparedScan], tree: Derivatives) -> None:
    """sub-XX_sessions.tsv: the visits in temporal order; segment adds what it found. None without session labels."""
    if any(scan.session is None for scan in scans):
        return
    times = [None if scan.time is None else scan.time.isoformat() for scan in scans]
    rows = [{"session_id": f"ses-{scan.session}", "acq_time": time} for scan, time in zip(scans, times, strict=True)]
    columns = {"session_id": Column("Session"), "acq_time": Column("Acquisition time, where the raw data set gives it")}
    write_table(tree.subject_path(subject, f"sub-{subject}_sessions.tsv"), rows, columns)


def choices(config: PrepConfig) -> dict[str, Any]:
    """What decided these volumes, for every sidecar."""
    return {
        "SubjectAnatomicalReference": config.anatomical.value,
        "Preregistered": config.preregistered,
        "SkullStripRequested": config.skull_strip.value,
        "BiasFieldCorrection": "N4" if config.n4 else "none",
        "Normalization": config.normalize.value,
        "SpacingRequested": "native" if config.spacing_mm is None else list(config.spacing_mm),
        "ProcessingVersions": {"coactseg": __version__, **{name: version(name) for name in ("SimpleITK", "numpy", "scipy", "nibabel")}},
    }


def _write_references(subject: str, visits: Sequence[PreparedVisit], comparable: bool, config: PrepConfig, tree: Derivatives) -> list[Path]:
    """The mean of the visits on their common grid; visits that stay alone have one reference each. One path per visit."""
    if not comparable:
        return [_write_reference(v.scan.entities.source().with_(**_REFERENCE), [v], config, tree) for v in visits]
    entities = Entities(subject=subject, datatype="anat", **_REFERENCE)
    return [_write_reference(entities, visits, config, tree)] * len(visits)


_REFERENCE = {"desc": "reference", "suffix": "FLAIR", "extension": ".nii.gz"}


def _write_reference(entities: Entities, visits: Sequence[PreparedVisit], config: PrepConfig, tree: Derivatives) -> Path:
    path = tree.path(entities)
    mean = np.mean(np.stack([v.image.data for v in visits]), axis=0, dtype=np.float64)
    mean = np.asarray(mean, np.float32)
    save(visits[0].image.like(mean), path)
    content = image_sidecar(
        description="Mean of the visits on the grid where they meet.",
        sources=[tree.uri(v.scan.path) for v in visits],
        skull_stripped=_stripped(config),
        **choices(config),
    )
    tree.sidecar(path, content)
    return path


def _stripped(config: PrepConfig) -> bool:
    return config.normalize is Normalize.ZSCORE or config.skull_strip is SkullStrip.NONE


def _write_visit(visit: PreparedVisit, reference: Path, config: PrepConfig, tree: Derivatives) -> PreparedScan:
    def path(**changes: str) -> Path:
        return tree.path(visit.scan.entities.source().with_(extension=".nii.gz", **changes))

    scan = PreparedScan(
        entities=visit.scan.entities,
        raw=visit.scan.path,
        native=path(space="orig", desc="preproc"),
        native_brain_mask=path(space="orig", desc="brain", suffix="mask"),
        image=path(space="individual", desc="preproc"),
        brain_mask=path(space="individual", desc="brain", suffix="mask"),
        to_individual=tree.xfm_path(visit.scan.entities, "orig", "individual"),
        to_native=tree.xfm_path(visit.scan.entities, "individual", "orig"),
        time=visit.scan.time,
    )
    _write_images(visit, scan, reference, config, tree)
    _write_masks(visit, scan, reference, tree)
    _write_transforms(visit, scan, reference, tree)
    return scan


def _write_images(visit: PreparedVisit, scan: PreparedScan, reference: Path, config: PrepConfig, tree: Derivatives) -> None:
    raw = tree.uri(visit.scan.path)
    made = {"BrainExtraction": visit.brain.method, "BrainExtractionReason": visit.brain.why, **choices(config)}
    save(visit.native, scan.native)
    content = image_sidecar(
        description="The scan on its own grid" + (", bias field corrected." if config.n4 else ", as it is."),
        sources=[raw],
        skull_stripped=config.skull_strip is SkullStrip.NONE,
        spatial_reference=raw,
        **made,
    )
    tree.sidecar(scan.native, content)
    save(visit.image, scan.image)
    numbers = {} if visit.mean is None else {"NormalizationMean": visit.mean, "NormalizationStandardDeviation": visit.sd}
    measured = {} if visit.asymmetry_mm is None else {ASYMMETRY: visit.asymmetry_mm}
    content = image_sidecar(
        description="The scan where the visits meet, resampled once" + (", zero mean and unit variance in the brain." if numbers else "."),
        sources=[tree.uri(scan.native), tree.uri(scan.to_individual), tree.uri(scan.brain_mask)],
        skull_stripped=_stripped(config),
        spatial_reference=tree.uri(reference),
        **made,
        **numbers,
        **measured,
        Flags=[{"Name": flag.name, "Message": flag.message} for flag in flagged(visit.checks)],
    )
    tree.sidecar(scan.image, content)


def _write_masks(visit: PreparedVisit, scan: PreparedScan, reference: Path, tree: Derivatives) -> None:
    made = {"BrainExtraction": visit.brain.method, "BrainExtractionReason": visit.brain.why}
    raw = tree.uri(visit.scan.path)
    for volume, path, sources, place in (
        (visit.brain.volume, scan.native_brain_mask, [raw], raw),
        (visit.mask, scan.brain_mask, [tree.uri(scan.native_brain_mask), tree.uri(scan.to_individual)], tree.uri(reference)),
    ):
        save(volume, path, np.uint8)
        tree.sidecar(path, mask_sidecar(description="Brain.", type_="Brain", sources=sources, spatial_reference=place, **made))


def _write_transforms(visit: PreparedVisit, scan: PreparedScan, reference: Path, tree: Derivatives) -> None:
    raw, common = tree.uri(visit.scan.path), tree.uri(reference)
    both = (
        (scan.to_individual, visit.orig_from_individual, raw, common, "Resamples the scan to the grid where the visits meet."),
        (scan.to_native, np.linalg.inv(visit.orig_from_individual), common, raw, "Resamples from the common grid to the scan's own."),
    )
    for path, matrix, from_, to, text in both:
        write_itk(path, settled(matrix))
        tree.sidecar(path, xfm_sidecar(description=text, sources=[tree.uri(scan.native)], from_=from_, to=to))


def _write_label(label: CarriedLabel, reference: Path, tree: Derivatives) -> Label:
    changes = {"space": "individual", "label": "L", "desc": label.kind.value, "suffix": "mask", "extension": ".nii.gz"}
    path = tree.path(label.scan.entities.source().with_(**changes))
    save(label.mask, path, np.uint8)
    content = mask_sidecar(
        description=_LABEL_TEXT[label.kind],
        type_="Lesion",
        sources=[tree.uri(p) for p in label.sources],
        spatial_reference=tree.uri(reference),
    )
    tree.sidecar(path, content)
    return Label(path, label.kind, label.scan.session, "individual")
