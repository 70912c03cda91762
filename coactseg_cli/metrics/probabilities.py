"""What a probability map of one case says beyond its mask: candidates for FROC, and the scores at each of many thresholds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from coactseg_cli.metrics import detection as found
from coactseg_cli.metrics import overlap
from coactseg_cli.metrics.conventions import Rules, lesion_scores
from coactseg_cli.metrics.results import Candidate, ThresholdPoint
from coactseg_cli.metrics.voxels import Components, MaskVoxels, components, shared, subset, voxels_of

CANDIDATE_PROBABILITY = 0.1  # voxels from here on make a candidate; what stays below it everywhere is none


def candidates_of(
    name: tuple[str, str],
    probability: np.ndarray,
    reference: np.ndarray,
    rules: Rules,
    voxel_mm3: float,
    threshold: float = CANDIDATE_PROBABILITY,
) -> tuple[Candidate, ...]:
    """Components of `probability` >= `threshold` above the size limit, and which reference lesions each touches.

    Both arrays are (X, Y, Z). Lesions below the limit are background on both sides, as in the MSSEG test.
    """
    truth, likely = voxels_of(reference, probability >= threshold)
    true_parts, parts = components(truth, rules.connectivity), components(likely, rules.connectivity)
    smallest = rules.smallest(voxel_mm3) if len(truth.positions) else rules.smallest_false(voxel_mm3)
    table = found.keep_large(found.overlap_of(true_parts, parts, shared(truth, likely)), smallest)
    largest, mean = parts.largest_and_mean(probability[tuple(likely.indices(likely.positions).T)])
    hits = _hits(table)
    return tuple(
        Candidate(
            case=name[0],
            kind=name[1],
            volume_mm3=float(parts.sizes[label - 1]) * voxel_mm3,
            max_probability=float(largest[label - 1]),
            mean_probability=float(mean[label - 1]),
            hits=tuple(hits.get(n, ())),
        )
        for n, label in enumerate(table.predicted_labels)
    )


def _hits(table: found.LesionOverlap) -> dict[int, list[int]]:
    """Predicted lesion, from 0, to the reference lesions it touches, from 1."""
    hits: dict[int, list[int]] = {}
    for i, j in zip(table.reference_index.tolist(), table.predicted_index.tolist(), strict=True):
        hits.setdefault(j, []).append(i + 1)
    return hits


def points_of(
    name: tuple[str, str],
    probability: np.ndarray,
    reference: np.ndarray,
    rules: Rules,
    voxel_mm3: float,
    thresholds: Sequence[float],
) -> tuple[ThresholdPoint, ...]:
    """Dice and lesion scores of `probability` >= t for each of the thresholds. Both arrays are (X, Y, Z)."""
    if not thresholds:
        return ()
    truth, likely = voxels_of(reference, probability >= min(thresholds))
    values = probability[tuple(likely.indices(likely.positions).T)]
    true_parts = components(truth, rules.connectivity)
    masks = (subset(likely, values >= threshold) for threshold in thresholds)
    return tuple(
        _point(name, threshold, (truth, mask), true_parts, rules, voxel_mm3) for threshold, mask in zip(thresholds, masks, strict=True)
    )


def _point(
    name: tuple[str, str],
    threshold: float,
    masks: tuple[MaskVoxels, MaskVoxels],
    true_parts: Components,
    rules: Rules,
    voxel_mm3: float,
) -> ThresholdPoint:
    truth, mask = masks
    in_both = shared(truth, mask)
    n_true, n_predicted, n_both = len(truth.positions), len(mask.positions), len(in_both[0])
    smallest = rules.smallest(voxel_mm3) if n_true else rules.smallest_false(voxel_mm3)
    table = found.keep_large(found.overlap_of(true_parts, components(mask, rules.connectivity), in_both), smallest)
    detection = found.detect(table, rules.alpha, rules.beta, rules.gamma)
    lesion = lesion_scores(detection, has_reference=n_true > 0, has_prediction=n_predicted > 0, convention=rules.convention)
    return ThresholdPoint(
        case=name[0],
        kind=name[1],
        threshold=threshold,
        has_reference=n_true > 0,
        dice=overlap.dice(overlap.VoxelCounts(n_both, n_predicted - n_both, n_true - n_both, 0)),
        lesion_sensitivity=lesion.sensitivity,
        lesion_ppv=lesion.ppv,
        lesion_f1=lesion.f1,
        false_lesions=len(detection.predicted) - detection.n_predicted_confirmed,
    )
