"""Lesion scores of other challenges and tools on the same table of overlaps: any overlap, intersection over union, one-to-one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from coactseg_cli.metrics.detection import LesionOverlap, harmonic_mean


@dataclass(frozen=True, slots=True, eq=False)
class Panoptic:
    """Quality of a one-to-one matching of lesions (Kirillov et al. 2019)."""

    matches: np.ndarray  # (TP,) positions in the list of overlapping pairs
    recognition: float  # RQ = TP / (TP + FP / 2 + FN / 2)
    segmentation: float  # SQ = mean intersection over union of the matches, 0 without one
    segmentation_dice: float  # the same of their Dice

    @property
    def quality(self) -> float:
        """PQ = RQ x SQ."""
        return self.recognition * self.segmentation

    @property
    def quality_dice(self) -> float:
        """PQ with the Dice of the matches."""
        return self.recognition * self.segmentation_dice


def any_overlap_sensitivity(overlap: LesionOverlap) -> float:
    """LTPR: reference lesions that the prediction touches / reference lesions; NaN without a reference lesion."""
    return _share(np.count_nonzero(overlap.reference_covered), overlap.n_reference)


def any_overlap_false_rate(overlap: LesionOverlap) -> float:
    """Predicted lesions that touch no reference lesion / predicted lesions; NaN without either.

    It is called false positive rate in Carass et al. 2017, and is a false discovery rate.
    """
    if not overlap.n_reference:
        return math.nan
    return _share(overlap.n_predicted - np.count_nonzero(overlap.predicted_covered), overlap.n_predicted)


def any_overlap_f1(overlap: LesionOverlap) -> float:
    """Lesion F1 of the WMH challenge: harmonic mean of both rates above; 0 for a miss, NaN without a reference lesion."""
    if not overlap.n_reference:
        return math.nan
    if not overlap.n_predicted:
        return 0.0
    return harmonic_mean(any_overlap_sensitivity(overlap), 1 - any_overlap_false_rate(overlap))


def iou(overlap: LesionOverlap) -> np.ndarray:
    """Intersection over union of each overlapping pair: (K,)."""
    return np.asarray(overlap.voxels / (_both_sizes(overlap) - overlap.voxels))


def dice(overlap: LesionOverlap) -> np.ndarray:
    """Dice of each overlapping pair: (K,)."""
    return np.asarray(2 * overlap.voxels / _both_sizes(overlap))


def f1_at_iou(overlap: LesionOverlap, threshold: float = 0.25) -> float:
    """Lesion F1 of Shifts 2.0: a lesion counts when some lesion of the other side reaches `threshold`; NaN without a reference lesion.

    True positives are counted on the predicted side, so that a split or merged lesion costs nothing.
    """
    if not overlap.n_reference:
        return math.nan
    good = iou(overlap) >= threshold
    true_positive = len(np.unique(overlap.predicted_index[good]))
    false_negative = overlap.n_reference - len(np.unique(overlap.reference_index[good]))
    return 2 * true_positive / (true_positive + overlap.n_predicted + false_negative)


def match(overlap: LesionOverlap, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Pair lesions one to one, best score first, from `threshold` on: positions in the list of pairs, (matches,).

    `scores`: (K,) of the overlapping pairs. Ties go to the pair that comes first, reference lesion by reference lesion.
    """
    used_reference: set[int] = set()
    used_predicted: set[int] = set()
    matches = []
    for k in np.argsort(-scores, kind="stable"):
        i, j = int(overlap.reference_index[k]), int(overlap.predicted_index[k])
        if scores[k] >= threshold and i not in used_reference and j not in used_predicted:
            used_reference.add(i)
            used_predicted.add(j)
            matches.append(int(k))
    return np.array(matches, dtype=np.int64)


def panoptic(overlap: LesionOverlap, scores: np.ndarray, threshold: float) -> Panoptic:
    """Panoptic quality of the matching; 0 for a miss, NaN without a reference lesion."""
    if not overlap.n_reference:
        return Panoptic(np.zeros(0, np.int64), math.nan, math.nan, math.nan)
    matches = match(overlap, scores, threshold)
    recognition = 2 * len(matches) / (overlap.n_reference + overlap.n_predicted)
    return Panoptic(matches, recognition, _mean(iou(overlap)[matches]), _mean(dice(overlap)[matches]))


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else 0.0


def _both_sizes(overlap: LesionOverlap) -> np.ndarray:
    return np.asarray(overlap.reference_sizes[overlap.reference_index] + overlap.predicted_sizes[overlap.predicted_index])


def _share(part: int | np.integer, whole: int) -> float:
    return float(part) / whole if whole else math.nan
