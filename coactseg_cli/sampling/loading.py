"""Prepared participants to training cases, their volumes mapped into memory; the only file of this package that reads scans."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from bids_app.cases import LabelKind, PreparedScan, PreparedTimeline, consecutive_pairs
from coactseg_cli.components import label as label_components
from coactseg_cli.errors import GridMismatch, InvalidConfig
from coactseg_cli.sampling import cache
from coactseg_cli.sampling.patches import Case
from coactseg_cli.seen import ScanProfile, parse_profile, profile_of
from coactseg_cli.targets import IGNORE
from coactseg_cli.volumes import Box, Volume, box_of, load, require_same_grid

SPACING_TOLERANCE_MM = 1e-3
MARGIN = 8  # voxels kept around the brains of a participant
NAMES = {LabelKind.ALL: "all", LabelKind.NEW: "new"}


def load_cases(timeline: PreparedTimeline, cache_dir: Path | None = None) -> list[Case]:
    """Every visit as a single case and, where a label or the visits allow it, every consecutive pair.

    What a case supervises follows from the labels that lie beside it, never from its path.

    Args:
        timeline: one prepared participant.
        cache_dir: where its volumes are kept as memory-mapped arrays; None: they are read into memory.

    Raises: UnreadableImage, GridMismatch, CannotCreate.
    """
    if cache_dir is None:
        arrays, facts = read_volumes(timeline)
    else:
        arrays, facts = cache.read(cache.fetch(cache_dir, timeline, lambda: read_volumes(timeline)))
    names = [_name(timeline, v) for v in timeline.visits]
    spacing_mm = [_triple(s) for s in facts["spacing_mm"]]
    marks = facts["marks"]
    scans = [() if fields is None else (parse_profile(fields),) for fields in facts["scans"]]

    def of(visit: int, what: str) -> np.ndarray | None:
        return arrays.get(f"{visit}_{what}")

    def got(visit: int, what: str) -> np.ndarray:
        return arrays[f"{visit}_{what}"]

    cases = [
        Case(name, got(i, "image"), got(i, "brain"), spacing_mm[i], all_baseline=of(i, "all"), marks=(marks[i],), scans=scans[i])
        for i, name in enumerate(names)
    ]
    for pair in consecutive_pairs(len(names)) if timeline.comparable else ():
        b, f = pair.baseline, pair.followup
        cases.append(
            Case(
                name=f"{names[f]}_pair",
                baseline=got(b, "image"),
                brain=got(b, "brain") | got(f, "brain"),
                spacing_mm=spacing_mm[b],
                followup=got(f, "image"),
                all_baseline=of(b, "all"),
                all_followup=of(f, "all"),
                new=of(f, "new"),
                marks=(marks[b], marks[f]),
                scans=(*scans[b], *scans[f]),
            )
        )
    return cases


def read_volumes(timeline: PreparedTimeline) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Every array of a participant by '<visit>_<what>', cut to the box of its brains, with spacings, digests and profiles of the scans."""
    images = [load(v.image) for v in timeline.visits]
    brains = [load(v.brain_mask).data > 0.5 for v in timeline.visits]
    if timeline.comparable:
        for visit, image in zip(timeline.visits[1:], images[1:], strict=True):
            require_same_grid(images[0], image, str(timeline.visits[0].image), str(visit.image))
        boxes = [_box(np.logical_or.reduce(brains))] * len(images)
    else:
        boxes = [_box(brain) for brain in brains]
    arrays: dict[str, np.ndarray] = {}
    for i, (visit, image, brain, box) in enumerate(zip(timeline.visits, images, brains, boxes, strict=True)):
        targets = _targets(timeline, visit, image)
        found = {"image": image.data.astype(np.float32, copy=False), "brain": brain, **targets}
        arrays |= {f"{i}_{what}": np.ascontiguousarray(array[box.slices]) for what, array in found.items()}
    marks = [hashlib.sha256(image.data.tobytes()).hexdigest()[:32] for image in images]
    profiles = [_profile(visit, image, brain) for visit, image, brain in zip(timeline.visits, images, brains, strict=True)]
    scans = [None if profile is None else asdict(profile) for profile in profiles]
    return arrays, {"spacing_mm": [image.spacing_mm for image in images], "marks": marks, "scans": scans}


def _profile(visit: PreparedScan, image: Volume, brain: np.ndarray) -> ScanProfile | None:
    """What the scan looks like; None where its brain is empty or constant."""
    if not brain.any() or np.ptp(image.data[brain]) == 0:
        return None
    native = load(visit.native_brain_mask)
    brain_ml = float(np.count_nonzero(native.data > 0.5)) * native.voxel_mm3 / 1000.0
    return profile_of(native.spacing_mm, brain_ml, image, brain)


def _box(brain: np.ndarray) -> Box:
    return box_of(brain, MARGIN) if brain.any() else box_of(np.ones_like(brain))


def _triple(values: Iterable[float]) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in values)
    return x, y, z


def _name(timeline: PreparedTimeline, visit: PreparedScan) -> str:
    return f"sub-{timeline.subject}" + (f"_ses-{visit.session}" if visit.session else "")


def _targets(timeline: PreparedTimeline, visit: PreparedScan, image: Volume) -> dict[str, np.ndarray]:
    """'all' and 'new' of one visit as int8 with IGNORE, where it has them; a lesion voxel wins over an ignored one."""
    masks: dict[LabelKind, np.ndarray] = {}
    for label in timeline.labels:
        if label.session == visit.session:
            mask = load(label.path)
            require_same_grid(mask, image, f"label {label.path}", str(visit.image))
            masks[label.kind] = mask.data > 0.5
    ignored = {LabelKind.ALL: masks.get(LabelKind.IGNORE_ALL), LabelKind.NEW: masks.get(LabelKind.IGNORE_NEW)}
    return {NAMES[kind]: _target(masks[kind], ignored[kind]) for kind in NAMES if kind in masks}


def _target(lesion: np.ndarray, ignored: np.ndarray | None) -> np.ndarray:
    target: np.ndarray = lesion.astype(np.int8)
    if ignored is not None:
        target[ignored & ~lesion] = IGNORE
    return target


def derive_new(case: Case) -> Case:
    """Give a pair with all-lesion labels at both visits, and none of new lesions, a new-lesion label; other cases stay as they are.

    A lesion of the follow-up (26-connected) that touches no lesion of the baseline is new. One that does was there before: what it
    holds beyond the baseline's lesion is growth, or two hands drawing one border, and is IGNORE. So is what either label ignores.
    """
    if case.new is not None or case.all_baseline is None or case.all_followup is None:
        return case
    before = case.all_baseline == 1
    labels, n = label_components(case.all_followup == 1, 26)
    known = np.zeros(n + 1, bool)  # lesions that were, or may have been, there before
    known[np.unique(labels[before | (case.all_baseline == IGNORE)])] = True
    target: np.ndarray = ((labels > 0) & ~known[labels]).astype(np.int8)
    unclear = ((labels > 0) & known[labels]) | (case.all_followup == IGNORE)
    target[unclear & ~before] = IGNORE
    return replace(case, new=target)


def common_spacing(cases: Iterable[Case]) -> tuple[float, float, float]:
    """The spacing that all cases share, mm. Raises: GridMismatch naming two cases that differ."""
    first, *rest = list(cases)
    for case in rest:
        if not np.allclose(case.spacing_mm, first.spacing_mm, atol=SPACING_TOLERANCE_MM):
            msg = (
                f"{case.name} has voxels of {case.spacing_mm} mm, {first.name} of {first.spacing_mm} mm. "
                "Prepare all with one --spacing (coactseg prep --spacing ...)."
            )
            raise GridMismatch(msg)
    x, y, z = (round(float(s), 4) for s in first.spacing_mm)
    return x, y, z


def load_masks(folder: Path, without: Collection[str] = ()) -> tuple[list[np.ndarray], tuple[float, float, float]]:
    """The NIfTI masks of a folder as boolean arrays (X, Y, Z), by name, and their spacing, mm.

    Args:
        folder: searched with its subfolders.
        without: participants ('sub-01') whose masks are left out: files named sub-01_... or 01_...

    Raises: InvalidConfig where there is none, GridMismatch where spacings differ; UnreadableImage.
    """
    paths = [p for p in sorted(folder.rglob("*.nii*")) if f"sub-{p.name.removeprefix('sub-').split('_')[0]}" not in without]
    if not paths:
        msg = f"--lesion-shapes {folder}: no NIfTI file in it that may be used. Give a folder of lesion masks (.nii.gz)."
        raise InvalidConfig(msg)
    volumes = [load(p) for p in paths]
    for path, volume in zip(paths, volumes, strict=True):
        if not np.allclose(volume.spacing_mm, volumes[0].spacing_mm, atol=SPACING_TOLERANCE_MM):
            msg = (
                f"{path} has voxels of {volume.spacing_mm} mm, {paths[0]} of {volumes[0].spacing_mm} mm. Resample the masks to one spacing."
            )
            raise GridMismatch(msg)
    return [v.data > 0.5 for v in volumes], volumes[0].spacing_mm
