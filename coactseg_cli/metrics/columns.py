"""The columns of per_case.tsv and per_lesion.tsv: names, meanings and units. docs/metrics.md has the definitions in full."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from bids_app.tables import Column


def column(description: str, units: str | None = None) -> Any:
    """Declare a field that is a column of a table."""
    return field(metadata={"column": Column(description, units)})


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseScores:
    """One row of per_case.tsv. Undefined numbers are NaN."""

    case: str = column("What was compared, as in the file names")
    kind: str = column("all: every lesion of one visit; new: lesions of the follow-up that the baseline lacks")
    convention: str = column("Whose definitions were followed; see settings.json")
    dice: float = column("2 TP / (2 TP + FP + FN), voxels")
    jaccard: float = column("TP / (TP + FP + FN), voxels")
    precision: float = column("TP / (TP + FP), voxels")
    sensitivity: float = column("TP / (TP + FN), voxels")
    specificity: float = column("TN / (TN + FP), voxels of the whole image: depends on its size")
    hd_mm: float = column("Largest distance between the surfaces, both directions", "mm")
    hd95_mm: float = column("Larger of the two directed 95th percentiles of the surface distances", "mm")
    hd95_pooled_mm: float = column("95th percentile of the surface distances of both directions together", "mm")
    assd_mm: float = column("Mean surface distance over the surface voxels of both masks", "mm")
    masd_mm: float = column("Mean of the two directed mean surface distances", "mm")
    asd_pred_to_ref_mm: float = column("Mean distance of the predicted surface to the reference surface; blind to missed lesions", "mm")
    nsd_1mm: float = column("Share of the surface voxels of both masks within 1 mm of the other surface")
    volume_pred_mm3: float = column("Volume of all predicted voxels", "mm3")
    volume_ref_mm3: float = column("Volume of all reference voxels", "mm3")
    volume_difference_mm3: float = column("Predicted minus reference volume", "mm3")
    lesions_pred: int = column("Predicted lesions above the size limit")
    lesions_ref: int = column("Reference lesions above the size limit")
    lesion_sensitivity: float = column("Detected reference lesions / reference lesions, MSSEG test")
    lesion_ppv: float = column("Confirmed predicted lesions / predicted lesions, MSSEG test")
    lesion_f1: float = column("Harmonic mean of lesion_sensitivity and lesion_ppv")
    false_lesions: int = column("Predicted lesions above the size limit that the reference does not confirm, MSSEG test")
    false_volume_mm3: float = column("Volume of the false lesions", "mm3")
    lesion_tpr_any: float = column("Reference lesions touched by the prediction / reference lesions; any size, 26-connected")
    lesion_fdr_any: float = column("Predicted lesions that touch no reference lesion / predicted lesions; any size, 26-connected")
    panoptic_rq: float = column("Recognition quality of a one-to-one matching at IoU 0.5; any size, 26-connected")
    panoptic_sq: float = column("Mean IoU of the matched lesions, 0 without a match")
    panoptic_pq: float = column("panoptic_rq times panoptic_sq")
    ndsc: float = column("Dice with false positives weighted to a lesion share of 0.1 % of the image: depends on its size")
    flags: str = column(
        "missed, empty_reference, empty_prediction, reference_below_limit, prediction_below_limit; missing_prediction: scored as an empty "
        "mask; resampled: the prediction, to the grid of the reference; comma between two"
    )
    lesions_ref_detected: int = column("Reference lesions above the size limit that were detected, MSSEG test")
    lesions_pred_confirmed: int = column("Predicted lesions above the size limit that the reference confirms, MSSEG test")
    lesion_f1_any: float = column("Harmonic mean of lesion_tpr_any and 1 - lesion_fdr_any")
    lesion_f1_iou25: float = column("Lesion F1 at IoU 0.25 of Shifts 2.0; any size, 6-connected")
    panoptic_rq_iou10: float = column("As panoptic_rq, at IoU 0.1")
    panoptic_sq_iou10: float = column("As panoptic_sq, at IoU 0.1")
    panoptic_pq_iou10: float = column("As panoptic_pq, at IoU 0.1")
    panoptic_rq_dsc10: float = column("As panoptic_rq, matched at a lesion Dice of 0.1")
    panoptic_sq_dsc10: float = column("As panoptic_sq, matched at a lesion Dice of 0.1")
    panoptic_pq_dsc10: float = column("As panoptic_pq, matched at a lesion Dice of 0.1")
    volume_difference_percent: float = column("volume_difference_mm3 / volume_ref_mm3", "percent")
    npv: float = column("TN / (TN + FN), voxels of the whole image: depends on its size")
    nsd_surfel_1mm: float = column("Share of the surface area of both masks within 1 mm of the other, by surface elements")
    asd_ref_to_pred_mm: float = column("Mean distance of the reference surface to the predicted surface; blind to false lesions", "mm")
    contour_mean_distance_mm: float = column(
        "Larger of the two directed mean surface distances, the border of the image being no surface (Anima)", "mm"
    )
    hd95_penalised_mm: float = column("hd95_mm; where nothing was predicted, the diagonal of the image", "mm")
    volume_error_percent: float = column("Size of volume_difference_percent, without its sign (AVD)", "percent")
    volume_pred_ml: float = column("volume_pred_mm3 / 1000", "mL")
    volume_ref_ml: float = column("volume_ref_mm3 / 1000", "mL")
    lesions_pred_any: int = column("Predicted lesions of any size, 26-connected")
    lesions_ref_any: int = column("Reference lesions of any size, 26-connected")
    lesion_tpr_18: float = column("As lesion_tpr_any, 18-connected (ISBI 2015: LTPR)")
    lesion_fdr_18: float = column("As lesion_fdr_any, 18-connected (ISBI 2015: LFPR)")
    isbi_raw_18: float = column("dice/8 + precision/8 + (1 - lesion_fdr_18)/4 + lesion_tpr_18/4; the volume correlation is left out")
    isbi_raw_26: float = column("The same of lesion_fdr_any and lesion_tpr_any, as lesion-metrics computes it")
    panoptic_tp: int = column("Matched pairs; false positives are lesions_pred_any less these, false negatives lesions_ref_any less these")
    panoptic_sq_dice: float = column("Mean Dice of the matched lesions, 0 without a match")
    panoptic_pq_dice: float = column("panoptic_rq times panoptic_sq_dice")
    panoptic_masd_mm: float = column("Mean over the matched pairs of their masd_mm", "mm")
    panoptic_tp_iou10: int = column("As panoptic_tp, at IoU 0.1")
    panoptic_sq_dice_iou10: float = column("As panoptic_sq_dice, at IoU 0.1")
    panoptic_pq_dice_iou10: float = column("As panoptic_pq_dice, at IoU 0.1")
    panoptic_masd_mm_iou10: float = column("As panoptic_masd_mm, at IoU 0.1", "mm")
    panoptic_tp_dsc10: int = column("As panoptic_tp, matched at a lesion Dice of 0.1")
    panoptic_sq_dice_dsc10: float = column("As panoptic_sq_dice, matched at a lesion Dice of 0.1")
    panoptic_pq_dice_dsc10: float = column("As panoptic_pq_dice, matched at a lesion Dice of 0.1")
    panoptic_masd_mm_dsc10: float = column("As panoptic_masd_mm, matched at a lesion Dice of 0.1", "mm")
    hd95_pooled_voxel: float = column("As hd95_pooled_mm, in voxels (the published evaluation)", "voxel")
    asd_pred_to_ref_voxel: float = column("As asd_pred_to_ref_mm, in voxels (the published evaluation)", "voxel")
    smallest_lesion_voxel: int = column("Fewest voxels of a lesion that counts on this grid", "voxel")
    voxel_mm3: float = column("Volume of one voxel", "mm3")
    spacing_i_mm: float = column("Edge of a voxel along the first axis", "mm")
    spacing_j_mm: float = column("Edge of a voxel along the second axis", "mm")
    spacing_k_mm: float = column("Edge of a voxel along the third axis", "mm")


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionRow:
    """One row of per_lesion.tsv: a lesion above the size limit, and whether the other mask has it."""

    case: str = column("What was compared, as in per_case.tsv")
    kind: str = column("all or new")
    side: str = column("reference or predicted: the mask the lesion belongs to")
    label: int = column("Number of the lesion on its side, by decreasing size")
    x_mm: float = column("Centre, scanner coordinates, to the right", "mm")
    y_mm: float = column("Centre, scanner coordinates, to the front", "mm")
    z_mm: float = column("Centre, scanner coordinates, upwards", "mm")
    i: float = column("Centre, voxel index from 0 along the first axis", "voxel")
    j: float = column("Centre, voxel index from 0 along the second axis", "voxel")
    k: float = column("Centre, voxel index from 0 along the third axis", "voxel")
    volume_mm3: float = column("Volume", "mm3")
    overlap_share: float = column("Share of the lesion that lesions of the other side cover; must exceed alpha")
    outside_share: float = column("Largest share outside of the covering lesions that were checked; must not exceed beta")
    detected: str = column("yes or no: MSSEG test")
    reason: str = column("found; alpha: too little of it is covered; beta: what covers it lies mostly elsewhere")
    max_probability: float = column("Largest value of the probability map in the lesion; n/a without a map")
    mean_probability: float = column("Mean value of the probability map in the lesion; n/a without a map")


def columns_of(row: type[Any]) -> dict[str, Column]:
    """List the columns of a table whose rows are of this class, in order."""
    return {f.name: f.metadata["column"] for f in fields(row)}
