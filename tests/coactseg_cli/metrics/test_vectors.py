"""The metrics against the answers of other programs on 26 stored pairs, row by row of what should match what."""

from __future__ import annotations

import math

import pytest

from coactseg_cli.components import min_voxels
from coactseg_cli.metrics import detection, matching, overlap, surface
from coactseg_cli.metrics.conventions import Convention
from tests.coactseg_cli.metrics import vectors
from tests.coactseg_cli.metrics.test_case import vector_scores
from tests.coactseg_cli.metrics.vectors import CASE_NAMES, NOT_EMPTY, case, needs_vectors, peer

pytestmark = needs_vectors
VOXEL = (1.0, 1.0, 1.0)
PRINTED = {
    "dice": ("medpy", "dc", 1e-9), "hd_mm": ("medpy", "hd_mm", 1e-6), "hd95_mm": ("MetricsReloaded", "hd95", 1e-5),
    "hd95_pooled_mm": ("medpy", "hd95_mm", 1e-9), "hd95_pooled_voxel": ("medpy", "hd95_voxel", 1e-9),
    "assd_mm": ("medpy", "assd_mm", 1e-5), "masd_mm": ("MetricsReloaded", "masd", 1e-9), "asd_pred_to_ref_mm": ("medpy", "asd_mm", 1e-5),
    "asd_ref_to_pred_mm": ("medpy", "asd_gt_to_pred_mm", 1e-5), "asd_pred_to_ref_voxel": ("medpy", "asd_voxel", 1e-5),
    "nsd_1mm": ("MetricsReloaded", "nsd_1mm", 1e-6), "lesion_tpr_any": ("lesion_metrics", "ltpr", 1e-9),
    "lesion_fdr_any": ("lesion_metrics", "lfdr", 1e-9), "lesion_f1_any": ("wmh_challenge", "f1", 1e-9),
    "volume_error_percent": ("wmh_challenge", "avd_percent", 1e-6), "isbi_raw_26": ("lesion_metrics", "isbi15_score_raw", 1e-9),
    "ndsc": ("shifts", "ndsc", 1e-6), "lesion_f1_iou25": ("shifts", "lesion_f1_iou25", 1e-6), "npv": ("anima_3mm3", "NPV", 1e-6),
    "contour_mean_distance_mm": ("anima_3mm3", "ContourMeanDistance", 2e-6),
}  # fmt: skip
PANOPTIC = {
    "panoptic_tp": "tp", "panoptic_rq": "rq", "panoptic_sq": "sq", "panoptic_pq": "pq", "panoptic_sq_dice": "sq_dsc",
    "panoptic_pq_dice": "pq_dsc", "panoptic_masd_mm": "sq_assd",
}  # fmt: skip


def same(own: float, answer: float, tolerance: float) -> None:
    # The answers are stored with ten significant digits.
    assert own == pytest.approx(answer, abs=tolerance, rel=max(tolerance, 1e-9), nan_ok=True)


def test_the_case_list_is_complete() -> None:
    assert set(CASE_NAMES) == set(vectors._peers()["medpy"]["cases"])
    assert len(CASE_NAMES) == 26


@pytest.mark.parametrize("name", NOT_EMPTY)
def test_overlap_equals_medpy(name: str) -> None:
    counts = overlap.count_voxels(case(name).predicted, case(name).reference)
    answer = peer("medpy", name)
    same(overlap.dice(counts), answer["dc"], 1e-9)
    same(overlap.jaccard(counts), answer["jc"], 1e-9)
    same(overlap.precision(counts), answer["precision"], 1e-9)
    same(overlap.sensitivity(counts), answer["sensitivity"], 1e-9)
    same(overlap.specificity(counts), answer["specificity"], 1e-9)


@pytest.mark.parametrize("name", [n for n in NOT_EMPTY if n != "full_pred"])
@pytest.mark.parametrize("program", ["anima_3mm3", "anima_min11vox"])
def test_overlap_equals_anima(program: str, name: str) -> None:
    counts = overlap.count_voxels(case(name).predicted, case(name).reference)
    answer = peer(program, name)
    same(overlap.dice(counts), answer["Dice"], 1e-6)
    same(overlap.jaccard(counts), answer["Jaccard"], 1e-6)
    same(overlap.precision(counts), answer["PPV"], 1e-6)
    same(overlap.sensitivity(counts), answer["Sensitivity"], 1e-6)
    same(overlap.specificity(counts), answer["Specificity"], 1e-6)


@pytest.mark.parametrize("name", NOT_EMPTY)
def test_distances_equal_medpy_monai_and_metrics_reloaded(name: str) -> None:
    own = surface.measure(case(name).predicted, case(name).reference, case(name).spacing)
    medpy, monai, reloaded = peer("medpy", name), peer("monai", name), peer("MetricsReloaded", name)
    same(surface.hausdorff95_pooled(own), medpy["hd95_mm"], 1e-9)
    same(surface.hausdorff(own), medpy["hd_mm"], 1e-6)
    same(surface.hausdorff(own), monai["hd_mm"], 1e-6)
    same(surface.hausdorff95(own), monai["hd95_mm"], 1e-5)
    same(surface.hausdorff95(own), reloaded["hd95"], 1e-5)
    same(surface.mean_predicted_to_reference(own), medpy["asd_mm"], 1e-5)
    same(surface.mean_predicted_to_reference(own), monai["asd_pred_to_gt_mm"], 1e-5)
    for answer in (medpy["assd_mm"], monai["assd_mm"], reloaded["assd"]):
        same(surface.mean_symmetric(own), answer, 1e-5)
    same(surface.mean_of_means(own), reloaded["masd"], 1e-9)
    same(surface.normalised_surface_dice(own, 1.0), reloaded["nsd_1mm"], 1e-6)
    same(surface.normalised_surface_dice(own, 1.0), monai["nsd_1mm"], 1e-6)


@pytest.mark.parametrize("name", NOT_EMPTY)
def test_distances_in_voxels_equal_medpy_and_coactseg(name: str) -> None:
    own = surface.measure(case(name).predicted, case(name).reference, VOXEL)
    same(surface.hausdorff95_pooled(own), peer("medpy", name)["hd95_voxel"], 1e-9)
    same(surface.mean_predicted_to_reference(own), peer("medpy", name)["asd_voxel"], 1e-5)
    for key, value in peer("coactseg_fixed", name).items():
        if key == "hd95_voxel":
            same(surface.hausdorff95_pooled(own), value, 1e-9)


@pytest.mark.parametrize("name", NOT_EMPTY)
@pytest.mark.parametrize("program", ["anima_3mm3", "anima_min11vox"])
def test_lesion_detection_equals_anima(program: str, name: str) -> None:
    limit = min_voxels(case(name).voxel_mm3, 3.0) if program == "anima_3mm3" else 11
    table = detection.overlap_of_masks(case(name).predicted, case(name).reference, connectivity=6)
    own = detection.detect(detection.keep_large(table, limit))
    answer = peer(program, name)
    same(own.sensitivity, answer["SensL"], 1e-6)
    if own.predicted:  # Anima prints 0 for 0 / 0 here; the convention does so too, see test_case
        same(own.ppv, answer["PPVL"], 1e-6)
        if own.reference:
            same(detection.harmonic_mean(own.sensitivity, own.ppv), answer["F1_score"], 1e-6)


@pytest.mark.parametrize("name", [n for n in NOT_EMPTY if n != "tie_good_first"])
def test_lesion_detection_equals_coactseg(name: str) -> None:
    answer = peer("coactseg_fixed", name)
    if not answer:
        pytest.skip("CoactSeg's function fails on this pair")
    table = detection.overlap_of_masks(case(name).predicted, case(name).reference, connectivity=26)
    own = detection.detect(detection.keep_large(table, 11))
    assert (own.n_reference_detected, len(own.reference)) == (answer["TPg"], answer["M"])
    assert (own.n_predicted_confirmed, len(own.predicted)) == (answer["TPa"], answer["N"])
    same(own.sensitivity, answer["sel"], 1e-9)
    same(own.ppv, answer["pl"], 1e-9)
    same(detection.harmonic_mean(own.sensitivity, own.ppv), answer["F1"], 1e-9)


@pytest.mark.parametrize("name", ["empty_gt", "empty_gt_tiny_pred", "both_empty"])
def test_false_lesions_equal_anima(name: str) -> None:
    table = detection.overlap_of_masks(case(name).predicted, case(name).reference, connectivity=6)
    kept = detection.keep_large(table, min_voxels(case(name).voxel_mm3, 3.0))
    same(kept.n_predicted, peer("anima_3mm3", name)["NbTestedLesions"], 1e-6)
    same(kept.predicted_sizes.sum() * case(name).voxel_mm3, peer("anima_3mm3", name)["VolTestedLesions"], 1e-6)


@pytest.mark.parametrize("name", NOT_EMPTY)
def test_any_overlap_equals_lesion_metrics_and_wmh(name: str) -> None:
    table = detection.overlap_of_masks(case(name).predicted, case(name).reference, connectivity=26)
    same(matching.any_overlap_sensitivity(table), peer("lesion_metrics", name)["ltpr"], 1e-9)
    same(matching.any_overlap_false_rate(table), peer("lesion_metrics", name)["lfdr"], 1e-9)
    same(matching.any_overlap_sensitivity(table), peer("wmh_challenge", name)["recall"], 1e-9)
    same(matching.any_overlap_f1(table), peer("wmh_challenge", name)["f1"], 1e-9)


@pytest.mark.parametrize("name", NOT_EMPTY)
def test_one_to_one_matching_equals_panoptica(name: str) -> None:
    table = detection.overlap_of_masks(case(name).predicted, case(name).reference, connectivity=26)
    for key, scores, threshold in (("iou50", "iou", 0.5), ("iou10", "iou", 0.1), ("dsc10", "dice", 0.1)):
        own = matching.panoptic(table, getattr(matching, scores)(table), threshold)
        same(own.recognition, peer("panoptica", name)[f"{key}_rq"], 1e-9)
        same(own.segmentation, peer("panoptica", name)[f"{key}_sq"], 1e-9)
        same(own.quality, peer("panoptica", name)[f"{key}_pq"], 1e-9)


@pytest.mark.parametrize("name", NOT_EMPTY)
def test_surface_elements_equal_surface_distance_and_monai(name: str) -> None:
    own = vector_scores(name, Convention.MM).nsd_surfel_1mm
    same(own, peer("surface_distance", name)["surface_dice_1mm"], 1e-6)
    same(own, peer("monai", name)["nsd_1mm_subvoxels"], 1e-6)


@pytest.mark.parametrize("name", NOT_EMPTY)
def test_the_table_has_all_that_the_programs_print(name: str) -> None:
    own = vector_scores(name, Convention.MM)
    for column, (program, key, tolerance) in PRINTED.items():
        if (program, name) != ("anima_3mm3", "full_pred"):
            same(getattr(own, column), peer(program, name)[key], tolerance)
    for suffix, key in (("", "iou50"), ("_iou10", "iou10"), ("_dsc10", "dsc10")):
        answer = peer("panoptica", name)
        for column, number in PANOPTIC.items():
            value, expected = getattr(own, column + suffix), answer[f"{key}_{number}"]
            same(value, expected if math.isfinite(expected) else math.nan, 1e-9)
        matched = getattr(own, "panoptic_tp" + suffix)
        assert (own.lesions_pred_any - matched, own.lesions_ref_any - matched) == (answer[f"{key}_fp"], answer[f"{key}_fn"])


@pytest.mark.parametrize("name", NOT_EMPTY)
def test_components_and_18_neighbours(name: str) -> None:
    sizes = vectors._peers()["components"]["cases"][name]
    own = vector_scores(name, Convention.MM)
    assert (own.lesions_ref_any, own.lesions_pred_any) == (len(sizes["sizes_gt_conn26"]), len(sizes["sizes_pred_conn26"]))
    table = detection.overlap_of_masks(case(name).predicted, case(name).reference, connectivity=18)
    assert sorted(table.reference_sizes) == sorted(sizes["sizes_gt_conn18"])
    assert own.lesion_tpr_18 == matching.any_overlap_sensitivity(table)


@pytest.mark.parametrize("name", NOT_EMPTY)
def test_shifts_scores_equal_shifts(name: str) -> None:
    counts = overlap.count_voxels(case(name).predicted, case(name).reference)
    table = detection.overlap_of_masks(case(name).predicted, case(name).reference, connectivity=6)
    same(overlap.normalised_dice(counts), peer("shifts", name)["ndsc"], 1e-6)
    same(matching.f1_at_iou(table, 0.25), peer("shifts", name)["lesion_f1_iou25"], 1e-6)
