"""Where the all-lesion, new-lesion and resolved-lesion masks of a pair contradict each other; nothing here mends them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from coactseg_cli.errors import GridMismatch


@dataclass(frozen=True, slots=True)
class Relations:
    """Contradictions of one pair of visits; NaN where a mask is missing. Exchanging the visits mirrors the names, not the numbers."""

    new_outside_followup_mm3: float  # new, but no lesion at the follow-up
    new_inside_baseline_mm3: float  # new, but a lesion at the baseline already
    resolved_outside_baseline_mm3: float  # resolved, but no lesion at the baseline
    resolved_inside_followup_mm3: float  # resolved, but a lesion at the follow-up still
    new_and_resolved_mm3: float  # both


def relations(
    baseline: np.ndarray, followup: np.ndarray, new: np.ndarray | None, resolved: np.ndarray | None, voxel_mm3: float
) -> Relations:
    """Measure the contradictions between the masks as the network gave them, before tracking joins them.

    Args:
        baseline: (X, Y, Z) bool, all lesions of the baseline.
        followup: all lesions of the follow-up.
        new: lesions that are new at the follow-up; None: not computed.
        resolved: lesions of the baseline that are gone at the follow-up; None: not computed.
        voxel_mm3: volume of a voxel of their common grid.

    Raises: GridMismatch.
    """
    for mask in (followup, new, resolved):
        if mask is not None and mask.shape != baseline.shape:
            msg = f"expected masks of one shape, {baseline.shape}; got {mask.shape}. Resample them to the common grid first."
            raise GridMismatch(msg)

    def volume_mm3(mask: np.ndarray | None, other: np.ndarray | None, *, inside: bool) -> float:
        if mask is None or other is None:
            return float("nan")
        return float(np.count_nonzero(mask.astype(bool) & (other.astype(bool) == inside)) * voxel_mm3)

    return Relations(
        new_outside_followup_mm3=volume_mm3(new, followup, inside=False),
        new_inside_baseline_mm3=volume_mm3(new, baseline, inside=True),
        resolved_outside_baseline_mm3=volume_mm3(resolved, baseline, inside=False),
        resolved_inside_followup_mm3=volume_mm3(resolved, followup, inside=True),
        new_and_resolved_mm3=volume_mm3(new, resolved, inside=True),
    )
