"""Voxel overlap of two masks: one count of the four outcomes, then small functions that read numbers off it.

A number that has no meaning is NaN, never 0 and never 1 (docs/metrics.md, "Empty masks"): without a reference lesion there is no
Dice, and without a prediction there is no precision.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

SHIFTS_LOAD = 0.001  # share of lesion voxels to which the normalised Dice refers (Shifts 2.0)


@dataclass(frozen=True, slots=True)
class VoxelCounts:
    """How many voxels are lesion in both masks, in one, or in none."""

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int

    @property
    def predicted(self) -> int:
        """Lesion voxels of the prediction."""
        return self.true_positive + self.false_positive

    @property
    def reference(self) -> int:
        """Lesion voxels of the reference."""
        return self.true_positive + self.false_negative


def count_voxels(predicted: np.ndarray, reference: np.ndarray, n_total: int | None = None) -> VoxelCounts:
    """Count two boolean (X, Y, Z) arrays; `n_total` is the size of the whole image where they were cropped."""
    both = int(np.count_nonzero(predicted & reference))
    only_predicted = int(np.count_nonzero(predicted)) - both
    only_reference = int(np.count_nonzero(reference)) - both
    total = predicted.size if n_total is None else n_total
    return VoxelCounts(both, only_predicted, only_reference, total - both - only_predicted - only_reference)


def divide(numerator: float, denominator: float) -> float:
    """Divide; NaN for a denominator of zero."""
    return numerator / denominator if denominator else math.nan


def dice(counts: VoxelCounts) -> float:
    """2 TP / (2 TP + FP + FN); NaN without a reference lesion."""
    return divide(2 * counts.true_positive, counts.predicted + counts.reference) if counts.reference else math.nan


def jaccard(counts: VoxelCounts) -> float:
    """TP / (TP + FP + FN); NaN without a reference lesion."""
    return divide(counts.true_positive, counts.predicted + counts.false_negative) if counts.reference else math.nan


def precision(counts: VoxelCounts) -> float:
    """TP / (TP + FP); NaN without a reference lesion or without a prediction."""
    return divide(counts.true_positive, counts.predicted) if counts.reference else math.nan


def sensitivity(counts: VoxelCounts) -> float:
    """TP / (TP + FN); NaN without a reference lesion."""
    return divide(counts.true_positive, counts.reference)


def specificity(counts: VoxelCounts) -> float:
    """TN / (TN + FP), over the whole image, so it depends on its size; NaN where the reference fills the image."""
    return divide(counts.true_negative, counts.true_negative + counts.false_positive)


def negative_predictive_value(counts: VoxelCounts) -> float:
    """TN / (TN + FN), over the whole image, so it depends on its size; NaN where the prediction fills the image."""
    return divide(counts.true_negative, counts.true_negative + counts.false_negative)


def normalised_dice(counts: VoxelCounts, load: float = SHIFTS_LOAD) -> float:
    """Dice with false positives weighted as if `load` of the image were lesion; NaN without a reference lesion.

    Reference: Raina et al. 2023, "Novel structural-scale uncertainty measures" (nDSC); it depends on the size of the image.
    """
    if not counts.reference:
        return math.nan
    background = counts.true_negative + counts.false_positive
    weight = (1 - load) * counts.reference / (load * background) if background else 0.0
    return 2 * counts.true_positive / (2 * counts.true_positive + counts.false_negative + weight * counts.false_positive)
