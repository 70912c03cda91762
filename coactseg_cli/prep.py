"""The prep stage: one participant's raw scans to volumes on one grid, masks, transforms and labels. Knows no network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from bids_app.cases import Label, LabelKind, PreparedTimeline, Scan, Timeline
from bids_app.derivatives import Derivatives
from coactseg_cli.config import Normalize, PrepConfig
from coactseg_cli.errors import BrainExtractionFailed
from coactseg_cli.prep_files import CarriedLabel, PreparedVisit, write
from coactseg_cli.preprocessing.bias import correct_bias
from coactseg_cli.preprocessing.brain_extraction import BrainMask, extract, of_visit
from coactseg_cli.preprocessing.checks import preparation_checks
from coactseg_cli.preprocessing.intensity import zscore
from coactseg_cli.preprocessing.meeting import Meeting, meet
from coactseg_cli.preprocessing.quality import flagged
from coactseg_cli.preprocessing.resampling import Grid, Interpolation, grid_of, inside_field, resample
from coactseg_cli.preprocessing.transforms import read_given
from coactseg_cli.preprocessing.visit_facts import VisitFacts
from coactseg_cli.volumes import Volume, from_ras, load, same_grid, to_ras

Log = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class _Native:
    """One visit on its own grid."""

    scan: Scan
    stored: Volume  # as its file holds it
    image: Volume  # in working order, bias corrected where asked for
    brain: BrainMask  # the same grid


def prepare(timeline: Timeline, config: PrepConfig, tree: Derivatives, log: Log) -> PreparedTimeline:
    """Prepare one participant: brain masks, N4, the halfway space, one resampling, normalisation, labels.

    Everything is computed before the first file is written; each file is written under a temporary name and renamed.

    Args:
        timeline: visits in temporal order, with the labels and masks that the user supplied.
        config: the choices.
        tree: the data set that is written.
        log: takes one line per milestone and per check that is outside its limits.

    Raises: CoactSegError and BidsAppError, naming the file.
    """
    natives = [_load(scan, timeline, config, log) for scan in timeline.visits]
    for why in dict.fromkeys(n.brain.why for n in natives):
        log(f"sub-{timeline.subject}: {why}")
    names = [str(n.scan.path) for n in natives]
    meeting = meet([n.image for n in natives], [n.brain.volume for n in natives], names, config)
    visits = _checked(_carry_visits(natives, meeting, config), comparable=meeting.shared)
    for flag in flagged(c for visit in visits for c in visit.checks):
        log(f"{_name(timeline.subject, flag.session)}: {flag.message}")
    labels = _carry_labels(timeline, natives, meeting, config, log)
    if config.spacing_mm is not None:
        visits = [_as_stored(v, n.stored) for v, n in zip(visits, natives, strict=True)]
    paths = write(timeline.subject, visits, labels, comparable=meeting.shared, config=config, tree=tree)
    size = "x".join(map(str, meeting.grids[0].shape))
    log(f"sub-{timeline.subject}: {len(visits)} visit(s) on a grid of {size}, {len(labels)} label(s).")
    return paths


def _name(subject: str, session: str | None) -> str:
    return f"sub-{subject}" + (f" ses-{session}" if session is not None else "")


def _load(scan: Scan, timeline: Timeline, config: PrepConfig, log: Log) -> _Native:
    stored = load(scan.path)
    image = _working(stored, config)
    try:
        brain = extract(
            image,
            method=config.skull_strip,
            given=of_visit(timeline.brain_masks, scan.session),
            hd_bet_weights=config.hd_bet_weights,
            threads=config.omp_threads,
        )
    except BrainExtractionFailed as error:
        msg = f"{scan.path}: {error}"
        raise BrainExtractionFailed(msg) from error
    volume_ml = float(brain.volume.data.sum()) * image.voxel_mm3 / 1000
    log(f"{_name(timeline.subject, scan.session)}: brain {volume_ml:.0f} ml ({brain.method})")
    return _Native(scan, stored, correct_bias(image, brain.volume.data) if config.n4 else image, brain)


def _checked(visits: list[PreparedVisit], *, comparable: bool) -> list[PreparedVisit]:
    """The visits with the checks of their brain masks and registrations."""
    facts = [
        VisitFacts(v.scan.session, v.native, v.brain.volume.data > 0, v.image, v.mask.data, v.orig_from_individual, v.asymmetry_mm)
        for v in visits
    ]
    checks = preparation_checks(facts, comparable=comparable)
    return [replace(v, checks=tuple(c for c in checks if c.session == v.scan.session)) for v in visits]


def _working(volume: Volume, config: PrepConfig) -> Volume:
    """The volume with its axes in RAS order, so that no step depends on their order in the file; --spacing native keeps that order."""
    return volume if config.spacing_mm is None else to_ras(volume)


def _as_stored(visit: PreparedVisit, stored: Volume) -> PreparedVisit:
    """What lies on the scan's own grid, with the axes in the order of the scan's file."""
    brain = replace(visit.brain, volume=from_ras(visit.brain.volume.data, stored))
    return replace(visit, native=from_ras(visit.native.data, stored), brain=brain)


def _carry_visits(natives: list[_Native], meeting: Meeting, config: PrepConfig) -> list[PreparedVisit]:
    """Each visit on the reference grid, normalised by its own brain, zero outside the union of the brains."""
    places = list(zip(natives, meeting.grids, meeting.visits_from_reference, strict=True))
    masks = [_onto(n.brain.volume, grid, place, Interpolation.MASK) for n, grid, place in places]
    asymmetries = [None if found is None else found.asymmetry_mm for found in meeting.registrations]
    visits = []
    for (native, grid, place), mask, asymmetry_mm in zip(places, masks, asymmetries, strict=True):
        image, mean, sd = _onto(native.image, grid, place, Interpolation.CUBIC), None, None
        if config.normalize is Normalize.ZSCORE:
            together = masks if meeting.shared else [mask]
            keep = np.logical_or.reduce([m.data for m in together]) & inside_field(grid, grid_of(native.image), place)
            try:
                normalized = zscore(image, mask.data, keep)
            except BrainExtractionFailed as error:
                msg = f"{native.scan.path}: {error}"
                raise BrainExtractionFailed(msg) from error
            image, mean, sd = normalized.volume, normalized.mean, normalized.sd
        visits.append(PreparedVisit(native.scan, native.image, native.brain, image, mask, place, mean, sd, asymmetry_mm))
    return visits


def _onto(volume: Volume, grid: Grid, volume_from_grid: np.ndarray, how: Interpolation) -> Volume:
    """Resample; where the grids are one already, the same numbers."""
    if volume.shape == grid.shape and np.array_equal(volume.affine, grid.affine) and np.array_equal(volume_from_grid, np.eye(4)):
        return Volume(volume.data > 0.5, grid.affine) if how is Interpolation.MASK else volume
    return resample(volume, grid, volume_from_grid, how)


def _carry_labels(timeline: Timeline, natives: list[_Native], meeting: Meeting, config: PrepConfig, log: Log) -> list[CarriedLabel]:
    """The labels on the reference grid, one per visit and kind; what is labelled is never ignored."""
    found: dict[tuple[int, LabelKind], CarriedLabel] = {}
    sessions = [n.scan.session for n in natives]
    for label in timeline.labels:
        reason = _useless(label, sessions, meeting)
        if reason is not None:
            log(f"{_name(timeline.subject, label.session)}: {label.path.name} is left out: {reason}.")
            continue
        visit = sessions.index(label.session)
        mask = _working(load(label.path), config)
        carried = _carry_label(label, mask, natives[visit].image, meeting.grids[visit], meeting.visits_from_reference[visit])
        before = found.get((visit, label.kind))
        found[visit, label.kind] = CarriedLabel(
            natives[visit].scan,
            label.kind,
            carried if before is None else carried.like(carried.data | before.mask.data),
            (label.path,) if before is None else (*before.sources, label.path),
        )
    return [_without(c, found.get((v, _LABEL_OF[k])) if k in _LABEL_OF else None) for (v, k), c in sorted(found.items())]


_LABEL_OF = {LabelKind.IGNORE_ALL: LabelKind.ALL, LabelKind.IGNORE_NEW: LabelKind.NEW}


def _useless(label: Label, sessions: list[str | None], meeting: Meeting) -> str | None:
    """Why a label cannot be used; None where it can."""
    if label.session not in sessions:
        return "its visit is not among those prepared"
    if label.kind in {LabelKind.NEW, LabelKind.IGNORE_NEW}:
        if sessions.index(label.session) == 0:
            return "it compares with a visit that is not there"
        if not meeting.shared:
            return "visits that are prepared alone cannot be compared"
    return None


def _carry_label(label: Label, mask: Volume, native: Volume, grid: Grid, visit_from_reference: np.ndarray) -> Volume:
    """One label on the reference grid, in one interpolation from the grid it was drawn on."""
    mask = mask.like((mask.data > 0.5).astype(np.float32))
    orig_from_label = read_given(label.path, label.space, label.transform)
    label_from_reference = visit_from_reference if orig_from_label is None else np.linalg.inv(orig_from_label) @ visit_from_reference
    if orig_from_label is None and same_grid(mask, native):
        mask = Volume(mask.data, native.affine)
    return _onto(mask, grid, label_from_reference, Interpolation.MASK)


def _without(carried: CarriedLabel, labelled: CarriedLabel | None) -> CarriedLabel:
    if labelled is None:
        return carried
    return CarriedLabel(carried.scan, carried.kind, carried.mask.like(carried.mask.data & ~labelled.mask.data), carried.sources)
