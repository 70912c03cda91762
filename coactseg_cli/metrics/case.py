"""All scores of one case, from two boolean masks on one grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bids_app.cases import LabelKind
from coactseg_cli.components import label
from coactseg_cli.metrics import detection as found
from coactseg_cli.metrics import matching, overlap, surface
from coactseg_cli.metrics.columns import CaseScores, LesionRow
from coactseg_cli.metrics.conventions import Rules, lesion_scores
from coactseg_cli.metrics.results import Candidate, ThresholdPoint
from coactseg_cli.volumes import Box, Volume, box_of

NSD_TOLERANCE_MM = 1.0
VOXEL = (1.0, 1.0, 1.0)
ANY_CONNECTIVITY = 26  # of the scores of ISBI, WMH and panoptica
SHIFTS_CONNECTIVITY = 6


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What score_case found."""

    scores: CaseScores
    lesions: tuple[LesionRow, ...]
    candidates: tuple[Candidate, ...] = ()  # empty without a probability map
    points: tuple[ThresholdPoint, ...] = ()


@dataclass(frozen=True, slots=True)
class CasePair:
    """Two boolean volumes on one grid, with the voxel edges in mm that the scores use."""

    case: str
    kind: LabelKind
    predicted: Volume
    reference: Volume
    spacing_mm: tuple[float, float, float]
    probability: Volume | None = None  # on the same grid, 0 to 1

    @property
    def voxel_mm3(self) -> float:
        """Volume of one voxel."""
        return math.prod(self.spacing_mm)


def score_case(pair: CasePair, rules: Rules, thresholds: Sequence[float] = ()) -> CaseResult:
    """Compute every score of one case. Only the box around both masks is looked at."""
    predicted, reference = pair.predicted.data, pair.reference.data
    either = predicted | reference
    box = box_of(either) if either.any() else Box((0, 0, 0), (1, 1, 1))
    predicted, reference = predicted[box.slices], reference[box.slices]
    counts = overlap.count_voxels(predicted, reference, either.size)
    labels = {c: (label(reference, c), label(predicted, c)) for c in {rules.connectivity, ANY_CONNECTIVITY, SHIFTS_CONNECTIVITY}}
    tables = {c: found.overlap_of(*ref, *pred) for c, (ref, pred) in labels.items()}
    smallest = rules.smallest(pair.voxel_mm3) if counts.reference else rules.smallest_false(pair.voxel_mm3)
    lesions = found.keep_large(tables[rules.connectivity], smallest)
    detection = found.detect(lesions, rules.alpha, rules.beta, rules.gamma)
    scores = CaseScores(
        case=pair.case,
        kind=str(pair.kind),
        convention=str(rules.convention),
        **_voxel_scores(counts, pair.voxel_mm3),
        **_distance_scores(predicted, reference, pair.spacing_mm),
        **_detection_scores(counts, lesions, detection, rules, pair.voxel_mm3),
        **_matching_scores(tables[ANY_CONNECTIVITY], tables[SHIFTS_CONNECTIVITY]),
        flags=_flags(counts, lesions),
        smallest_lesion_voxel=smallest,
        voxel_mm3=pair.voxel_mm3,
    )
    (reference_labels, _), (predicted_labels, _) = labels[rules.connectivity]
    sides = (
        _lesion_rows(
            pair, "reference", _centres(reference_labels, lesions.reference_labels, box), lesions.reference_sizes, detection.reference
        ),
        _lesion_rows(
            pair, "predicted", _centres(predicted_labels, lesions.predicted_labels, box), lesions.predicted_sizes, detection.predicted
        ),
    )
    return CaseResult(scores, sides[0] + sides[1])


def _voxel_scores(counts: overlap.VoxelCounts, voxel_mm3: float) -> dict[str, Any]:
    difference = counts.predicted - counts.reference
    return {
        "dice": overlap.dice(counts),
        "jaccard": overlap.jaccard(counts),
        "precision": overlap.precision(counts),
        "sensitivity": overlap.sensitivity(counts),
        "specificity": overlap.specificity(counts),
        "ndsc": overlap.normalised_dice(counts),
        "volume_pred_mm3": counts.predicted * voxel_mm3,
        "volume_ref_mm3": counts.reference * voxel_mm3,
        "volume_difference_mm3": difference * voxel_mm3,
        "volume_difference_percent": 100 * overlap.divide(difference, counts.reference),
    }


def _distance_scores(predicted: np.ndarray, reference: np.ndarray, spacing_mm: tuple[float, float, float]) -> dict[str, Any]:
    surfaces = surface.surface_voxels(predicted), surface.surface_voxels(reference)
    in_mm = surface.between(*surfaces, spacing_mm)
    in_voxels = in_mm if spacing_mm == VOXEL else surface.between(*surfaces, VOXEL)
    return {
        "hd_mm": surface.hausdorff(in_mm),
        "hd95_mm": surface.hausdorff95(in_mm),
        "hd95_pooled_mm": surface.hausdorff95_pooled(in_mm),
        "assd_mm": surface.mean_symmetric(in_mm),
        "masd_mm": surface.mean_of_means(in_mm),
        "asd_pred_to_ref_mm": surface.mean_predicted_to_reference(in_mm),
        "nsd_1mm": surface.normalised_surface_dice(in_mm, NSD_TOLERANCE_MM),
        "hd95_pooled_voxel": surface.hausdorff95_pooled(in_voxels),
        "asd_pred_to_ref_voxel": surface.mean_predicted_to_reference(in_voxels),
    }


def _detection_scores(
    counts: overlap.VoxelCounts, lesions: found.LesionOverlap, detection: found.Detection, rules: Rules, voxel_mm3: float
) -> dict[str, Any]:
    lesion = lesion_scores(detection, has_reference=counts.reference > 0, has_prediction=counts.predicted > 0, convention=rules.convention)
    false = [int(size) for size, verdict in zip(lesions.predicted_sizes, detection.predicted, strict=True) if not verdict.detected]
    return {
        "lesions_pred": lesions.n_predicted,
        "lesions_ref": lesions.n_reference,
        "lesions_ref_detected": detection.n_reference_detected,
        "lesions_pred_confirmed": detection.n_predicted_confirmed,
        "lesion_sensitivity": lesion.sensitivity,
        "lesion_ppv": lesion.ppv,
        "lesion_f1": lesion.f1,
        "false_lesions": len(false),
        "false_volume_mm3": sum(false) * voxel_mm3,
    }


def _matching_scores(any_size: found.LesionOverlap, faces: found.LesionOverlap) -> dict[str, Any]:
    scores: dict[str, Any] = {
        "lesion_tpr_any": matching.any_overlap_sensitivity(any_size),
        "lesion_fdr_any": matching.any_overlap_false_rate(any_size),
        "lesion_f1_any": matching.any_overlap_f1(any_size),
        "lesion_f1_iou25": matching.f1_at_iou(faces, 0.25),
    }
    shares = matching.iou(any_size)
    for suffix, values, threshold in (("", shares, 0.5), ("_iou10", shares, 0.1), ("_dsc10", matching.dice(any_size), 0.1)):
        result = matching.panoptic(any_size, values, threshold)
        scores[f"panoptic_rq{suffix}"] = result.recognition
        scores[f"panoptic_sq{suffix}"] = result.segmentation
        scores[f"panoptic_pq{suffix}"] = result.quality
    return scores


def _flags(counts: overlap.VoxelCounts, lesions: found.LesionOverlap) -> str:
    flags = {
        "missed": counts.reference > 0 and counts.predicted == 0,
        "empty_reference": counts.reference == 0,
        "empty_prediction": counts.predicted == 0,
        "reference_below_limit": counts.reference > 0 and lesions.n_reference == 0,
        "prediction_below_limit": counts.predicted > 0 and lesions.n_predicted == 0,
    }
    return ",".join(name for name, holds in flags.items() if holds)


def _centres(labels: np.ndarray, numbers: np.ndarray, box: Box) -> np.ndarray:
    """Mean voxel index, on the whole grid, of the components with these numbers: (n, 3)."""
    where = np.nonzero(labels)
    of = labels[where]
    voxels = np.maximum(np.bincount(of, minlength=1), 1)
    centres = np.stack([np.bincount(of, weights=axis, minlength=1) / voxels for axis in where], axis=1)
    return np.asarray(centres[numbers] + np.array(box.start))


def _lesion_rows(
    pair: CasePair, side: str, centres: np.ndarray, voxels: np.ndarray, verdicts: tuple[found.Verdict, ...]
) -> tuple[LesionRow, ...]:
    places = centres @ pair.reference.affine[:3, :3].T + pair.reference.affine[:3, 3]
    return tuple(
        LesionRow(
            case=pair.case,
            kind=str(pair.kind),
            side=side,
            label=n + 1,
            x_mm=float(places[n, 0]),
            y_mm=float(places[n, 1]),
            z_mm=float(places[n, 2]),
            i=float(centres[n, 0]),
            j=float(centres[n, 1]),
            k=float(centres[n, 2]),
            volume_mm3=float(voxels[n]) * pair.voxel_mm3,
            overlap_share=verdict.overlap_share,
            outside_share=verdict.outside_share,
            detected="yes" if verdict.detected else "no",
            reason=verdict.reason,
        )
        for n, verdict in enumerate(verdicts)
    )
