"""What the heads are taught: one value per voxel and head, with a mark for what nobody knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

IGNORE = -1  # not labelled: counts neither as lesion nor as tissue


class Targets(NamedTuple):
    """Labels (B, X, Y, Z) int8 per head: 0 no lesion, 1 lesion, IGNORE nobody knows."""

    all_baseline: Tensor
    all_followup: Tensor
    new: Tensor
