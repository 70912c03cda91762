"""Prepared participants to training cases in memory; the only file of this package that reads scans."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from bids_app.cases import LabelKind, PreparedScan, PreparedTimeline, consecutive_pairs
from coactseg_cli.errors import GridMismatch
from coactseg_cli.sampling.patches import Case
from coactseg_cli.targets import IGNORE
from coactseg_cli.volumes import Volume, load, require_same_grid

SPACING_TOLERANCE_MM = 1e-3


def load_cases(timeline: PreparedTimeline) -> list[Case]:
    """Every visit as a single case and, where a label or the visits allow it, every consecutive pair.

    What a case supervises follows from the labels that lie beside it, never from its path.

    Raises: UnreadableImage, GridMismatch.
    """
    images = [load(v.image) for v in timeline.visits]
    brains = [load(v.brain_mask).data > 0.5 for v in timeline.visits]
    lesions = [_target(timeline, v, images[i], LabelKind.ALL, LabelKind.IGNORE_ALL) for i, v in enumerate(timeline.visits)]
    cases = [
        Case(_name(timeline, v), images[i].data, brains[i], images[i].spacing_mm, all_baseline=lesions[i])
        for i, v in enumerate(timeline.visits)
    ]
    if not timeline.comparable:
        return cases
    for pair in consecutive_pairs(len(timeline.visits)):
        b, f = pair.baseline, pair.followup
        require_same_grid(images[b], images[f], str(timeline.visits[b].image), str(timeline.visits[f].image))
        cases.append(
            Case(
                name=_name(timeline, timeline.visits[f]) + "_pair",
                baseline=images[b].data,
                brain=brains[b] | brains[f],
                spacing_mm=images[b].spacing_mm,
                followup=images[f].data,
                all_baseline=lesions[b],
                all_followup=lesions[f],
                new=_target(timeline, timeline.visits[f], images[f], LabelKind.NEW, LabelKind.IGNORE_NEW),
            )
        )
    return cases


def _name(timeline: PreparedTimeline, visit: PreparedScan) -> str:
    return f"sub-{timeline.subject}" + (f"_ses-{visit.session}" if visit.session else "")


def _target(timeline: PreparedTimeline, visit: PreparedScan, image: Volume, kind: LabelKind, ignore: LabelKind) -> np.ndarray | None:
    """The label of one visit as int8 with IGNORE, None where there is none; a lesion voxel wins over an ignored one."""
    masks = {label.kind: load(label.path) for label in timeline.labels if label.session == visit.session}
    for mask in masks.values():
        require_same_grid(mask, image, f"label of {_name(timeline, visit)}", str(visit.image))
    if kind not in masks:
        return None
    target = (masks[kind].data > 0.5).astype(np.int8)
    if ignore in masks:
        target[(masks[ignore].data > 0.5) & (target == 0)] = IGNORE
    return target


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


def load_masks(folder: Path) -> list[np.ndarray]:
    """All NIfTI masks of a folder as boolean arrays (X, Y, Z), by name."""
    return [load(p).data > 0.5 for p in sorted(folder.rglob("*.nii*"))]
