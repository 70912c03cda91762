"""The scores of one case, group by group, under the names of the columns of per_case.tsv."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from coactseg_cli.metrics import detection as found
from coactseg_cli.metrics import instances, matching, overlap, surface
from coactseg_cli.metrics.conventions import Rules, lesion_scores
from coactseg_cli.metrics.surfels import Surfels, surfels_of
from coactseg_cli.metrics.voxels import Components, MaskVoxels, at_border_only, surface_places

VOXEL = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class SideSurface:
    """The surface of one mask."""

    places: np.ndarray  # (m,) of its surface voxels in the list of the mask's voxels
    indices: np.ndarray  # (m, 3) on the whole grid
    contour: np.ndarray  # (c, 3), c <= m: without those that only the border of the image makes a surface
    surfels: Surfels

    @classmethod
    def of(cls, voxels: MaskVoxels, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> SideSurface:
        """Find it."""
        places = surface_places(voxels)
        positions = voxels.positions[places]
        indices = voxels.indices(positions)
        return cls(places, indices, indices[~at_border_only(voxels, positions, shape)], surfels_of(voxels, positions, spacing_mm))


@dataclass(frozen=True, slots=True, eq=False)
class Surfaces:
    """The surfaces of both masks."""

    reference: SideSurface
    predicted: SideSurface
    spacing_mm: tuple[float, float, float]

    @classmethod
    def of(
        cls, reference: MaskVoxels, predicted: MaskVoxels, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]
    ) -> Surfaces:
        """Find them. `shape`: of the whole image."""
        return cls(SideSurface.of(reference, shape, spacing_mm), SideSurface.of(predicted, shape, spacing_mm), spacing_mm)


@dataclass(frozen=True, slots=True, eq=False)
class InstancePairs:
    """The lesions of both masks, how they overlap, and their surfaces."""

    table: found.LesionOverlap
    reference: Components
    predicted: Components
    surfaces: Surfaces


def voxel_scores(counts: overlap.VoxelCounts, voxel_mm3: float) -> dict[str, Any]:
    """Overlap and volume."""
    difference = counts.predicted - counts.reference
    percent = 100 * overlap.divide(difference, counts.reference)
    return {
        "dice": overlap.dice(counts),
        "jaccard": overlap.jaccard(counts),
        "precision": overlap.precision(counts),
        "sensitivity": overlap.sensitivity(counts),
        "specificity": overlap.specificity(counts),
        "npv": overlap.negative_predictive_value(counts),
        "ndsc": overlap.normalised_dice(counts),
        "volume_pred_mm3": counts.predicted * voxel_mm3,
        "volume_ref_mm3": counts.reference * voxel_mm3,
        "volume_pred_ml": counts.predicted * voxel_mm3 / 1000,
        "volume_ref_ml": counts.reference * voxel_mm3 / 1000,
        "volume_difference_mm3": difference * voxel_mm3,
        "volume_difference_percent": percent,
        "volume_error_percent": abs(percent),
    }


def distance_scores(surfaces: Surfaces, diagonal_mm: float) -> dict[str, Any]:
    """Distances between the surfaces. `diagonal_mm`: of the image, what a miss costs in hd95_penalised_mm."""
    predicted, reference, spacing_mm = surfaces.predicted, surfaces.reference, surfaces.spacing_mm
    in_mm = surface.between(predicted.indices, reference.indices, spacing_mm)
    in_voxels = in_mm if spacing_mm == VOXEL else surface.between(predicted.indices, reference.indices, VOXEL)
    missed = len(reference.indices) > 0 and not len(predicted.indices)
    hd95 = surface.hausdorff95(in_mm)
    return {
        "hd_mm": surface.hausdorff(in_mm),
        "hd95_mm": hd95,
        "hd95_penalised_mm": diagonal_mm if missed else hd95,
        "hd95_pooled_mm": surface.hausdorff95_pooled(in_mm),
        "assd_mm": surface.mean_symmetric(in_mm),
        "masd_mm": surface.mean_of_means(in_mm),
        "asd_pred_to_ref_mm": surface.mean_predicted_to_reference(in_mm),
        "asd_ref_to_pred_mm": surface.mean_reference_to_predicted(in_mm),
        "contour_mean_distance_mm": surface.larger_mean(_between_contours(surfaces, in_mm)),
        "nsd_1mm": surface.normalised_surface_dice(in_mm, surface.NSD_TOLERANCE_MM),
        "nsd_surfel_1mm": surface.area_within(predicted.surfels, reference.surfels, spacing_mm, surface.NSD_TOLERANCE_MM),
        "hd95_pooled_voxel": surface.hausdorff95_pooled(in_voxels),
        "asd_pred_to_ref_voxel": surface.mean_predicted_to_reference(in_voxels),
    }


def _between_contours(surfaces: Surfaces, in_mm: surface.SurfaceDistances) -> surface.SurfaceDistances:
    predicted, reference = surfaces.predicted, surfaces.reference
    if len(predicted.contour) == len(predicted.indices) and len(reference.contour) == len(reference.indices):
        return in_mm
    return surface.between(predicted.contour, reference.contour, surfaces.spacing_mm)


def detection_scores(
    counts: overlap.VoxelCounts, lesions: found.LesionOverlap, detection: found.Detection, rules: Rules, voxel_mm3: float
) -> dict[str, Any]:
    """The MSSEG test, and false lesions."""
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


def touch_scores(neighbours_26: found.LesionOverlap, neighbours_18: found.LesionOverlap) -> dict[str, Any]:
    """Scores where one shared voxel is enough, lesions of any size."""
    return {
        "lesions_pred_any": neighbours_26.n_predicted,
        "lesions_ref_any": neighbours_26.n_reference,
        "lesion_tpr_any": matching.any_overlap_sensitivity(neighbours_26),
        "lesion_fdr_any": matching.any_overlap_false_rate(neighbours_26),
        "lesion_f1_any": matching.any_overlap_f1(neighbours_26),
        "lesion_tpr_18": matching.any_overlap_sensitivity(neighbours_18),
        "lesion_fdr_18": matching.any_overlap_false_rate(neighbours_18),
    }


def iou_scores(neighbours_6: found.LesionOverlap) -> dict[str, Any]:
    """Scores of Shifts 2.0, lesions of any size."""
    return {"lesion_f1_iou25": matching.f1_at_iou(neighbours_6, 0.25)}


def isbi_scores(voxel: dict[str, Any], touched: dict[str, Any]) -> dict[str, Any]:
    """The terms of the ISBI 2015 score that one case has (Carass et al. 2017); the volume correlation belongs to the cohort."""
    from_voxels = voxel["dice"] / 8 + voxel["precision"] / 8
    return {
        "isbi_raw_18": from_voxels + (1 - touched["lesion_fdr_18"]) / 4 + touched["lesion_tpr_18"] / 4,
        "isbi_raw_26": from_voxels + (1 - touched["lesion_fdr_any"]) / 4 + touched["lesion_tpr_any"] / 4,
    }


def panoptic_scores(pairs: InstancePairs) -> dict[str, Any]:
    """One-to-one matching at three thresholds."""
    apart = _pair_distances(pairs)
    shares = matching.iou(pairs.table)
    scores: dict[str, Any] = {}
    for suffix, values, threshold in (("", shares, 0.5), ("_iou10", shares, 0.1), ("_dsc10", matching.dice(pairs.table), 0.1)):
        result = matching.panoptic(pairs.table, values, threshold)
        distances = [apart(int(k)) for k in result.matches]
        scores |= {
            f"panoptic_tp{suffix}": len(result.matches),
            f"panoptic_rq{suffix}": result.recognition,
            f"panoptic_sq{suffix}": result.segmentation,
            f"panoptic_pq{suffix}": result.quality,
            f"panoptic_sq_dice{suffix}": result.segmentation_dice,
            f"panoptic_pq_dice{suffix}": result.quality_dice,
            f"panoptic_masd_mm{suffix}": float(np.mean(distances)) if distances else math.nan,
        }
    return scores


def _pair_distances(pairs: InstancePairs) -> Any:
    """A function from the position of an overlapping pair to its MASD in mm, each computed once."""
    surfaces, table = pairs.surfaces, pairs.table
    reference, predicted = (
        instances.by_lesion(side.indices, parts.of_voxel[side.places], len(parts.sizes))
        for side, parts in ((surfaces.reference, pairs.reference), (surfaces.predicted, pairs.predicted))
    )

    @cache
    def apart(k: int) -> float:
        i, j = int(table.reference_index[k]), int(table.predicted_index[k])
        return instances.distance_mm(predicted.of(j), reference.of(i), surfaces.spacing_mm)

    return apart


def flags(counts: overlap.VoxelCounts, lesions: found.LesionOverlap) -> str:
    """What is special about the case, comma between two."""
    holds = {
        "missed": counts.reference > 0 and counts.predicted == 0,
        "empty_reference": counts.reference == 0,
        "empty_prediction": counts.predicted == 0,
        "reference_below_limit": counts.reference > 0 and lesions.n_reference == 0,
        "prediction_below_limit": counts.predicted > 0 and lesions.n_predicted == 0,
    }
    return ",".join(name for name, does in holds.items() if does)
