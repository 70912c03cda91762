from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from bids_app.cases import LabelKind
from coactseg_cli.metrics.case import CasePair, CaseResult, score_case
from coactseg_cli.metrics.columns import CaseScores
from coactseg_cli.metrics.conventions import Convention, rules_of
from coactseg_cli.volumes import Volume
from tests.coactseg_cli.metrics.test_detection import SHAPE, lines
from tests.coactseg_cli.metrics.vectors import CASE_NAMES, case, needs_vectors, peer

NOTHING = np.zeros(SHAPE, bool)
SPACING = (0.5, 1.0, 3.0)
AFFINE = np.array([[-0.5, 0, 0, 40], [0, 1, 0, -20], [0, 0, 3, 7], [0, 0, 0, 1.0]])


def scored(predicted: np.ndarray, reference: np.ndarray, convention: Convention = Convention.MM) -> CaseResult:
    pair = CasePair("sub-01_ses-02", LabelKind.NEW, Volume(predicted, AFFINE), Volume(reference, AFFINE), SPACING)
    return score_case(pair, rules_of(convention))


def test_volumes_and_lesions_on_paper() -> None:
    scores = scored(lines((1, 1, 0, 5), (5, 5, 0, 3), (8, 8, 0, 2)), lines((1, 1, 0, 6), (5, 15, 0, 4))).scores
    assert (scores.case, scores.kind, scores.convention) == ("sub-01_ses-02", "new", "mm")
    assert scores.voxel_mm3 == 1.5
    assert scores.smallest_lesion_voxel == 3  # 2 voxels are exactly 3 mm3
    assert (scores.volume_pred_mm3, scores.volume_ref_mm3, scores.volume_difference_mm3) == (15, 15, 0)
    assert (scores.lesions_pred, scores.lesions_ref, scores.lesions_ref_detected, scores.lesions_pred_confirmed) == (2, 2, 1, 1)
    assert (scores.false_lesions, scores.false_volume_mm3) == (1, 4.5)
    assert scores.lesion_f1 == pytest.approx(0.5)
    assert scores.lesion_fdr_any == pytest.approx(2 / 3)
    assert scores.flags == ""


def test_volumes_in_other_units_and_the_grid() -> None:
    scores = scored(lines((1, 1, 0, 5)), lines((1, 1, 0, 4), (5, 5, 0, 4))).scores
    assert (scores.volume_pred_ml, scores.volume_ref_ml) == pytest.approx((0.0075, 0.012))
    assert (scores.volume_difference_percent, scores.volume_error_percent) == pytest.approx((-37.5, 37.5))
    assert (scores.spacing_i_mm, scores.spacing_j_mm, scores.spacing_k_mm) == SPACING
    assert scores.npv == pytest.approx(5991 / 5995)


def test_a_miss_costs_the_diagonal_in_one_column_only() -> None:
    scores = scored(NOTHING, lines((1, 1, 0, 5))).scores
    assert scores.hd95_penalised_mm == pytest.approx(math.sqrt((10 * 0.5) ** 2 + 20**2 + (30 * 3) ** 2))
    found = scored(lines((1, 1, 0, 5)), lines((1, 1, 2, 6))).scores
    assert found.hd95_penalised_mm == found.hd95_mm > 0
    assert math.isnan(scored(lines((1, 1, 0, 5)), NOTHING).scores.hd95_penalised_mm)


def test_directed_distances_and_contours() -> None:
    found, both = lines((1, 1, 5, 6)), lines((1, 1, 5, 6), (9, 1, 5, 6))
    scores = scored(found, both).scores
    assert (scores.asd_pred_to_ref_mm, scores.asd_ref_to_pred_mm, scores.masd_mm) == pytest.approx((0, 2, 1))
    assert scores.contour_mean_distance_mm == pytest.approx(2)
    slabs = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    slabs[0][:, :, :4] = slabs[1][:, :, :6] = True
    # A slab that ends at the border of the image has a contour on its inner side only.
    assert scored(*slabs).scores.contour_mean_distance_mm == pytest.approx(6)
    assert scored(*slabs).scores.asd_ref_to_pred_mm < 6


def test_matched_lesions_one_to_one() -> None:
    # 8 of 10 and 4 of 4 voxels shared: IoU 0.8 and 4 / 12; one false lesion.
    scores = scored(lines((1, 1, 0, 8), (5, 5, 0, 12), (8, 8, 0, 3)), lines((1, 1, 0, 10), (5, 5, 0, 4))).scores
    assert (scores.lesions_pred_any, scores.lesions_ref_any) == (3, 2)
    assert (scores.panoptic_tp, scores.panoptic_tp_iou10, scores.panoptic_tp_dsc10) == (1, 2, 2)
    assert (scores.panoptic_rq, scores.panoptic_sq, scores.panoptic_sq_dice) == pytest.approx((2 / 5, 0.8, 16 / 18))
    assert scores.panoptic_pq_dice == pytest.approx(2 / 5 * 16 / 18)
    assert scores.panoptic_rq_iou10 == pytest.approx(4 / 5)
    assert scores.panoptic_sq_iou10 == pytest.approx((0.8 + 1 / 3) / 2)
    # The first pair: 0 and (3 + 6) / 10 mm; the second: (3 + ... + 24) / 12 and 0.
    assert scores.panoptic_masd_mm == pytest.approx(0.45)
    assert scores.panoptic_masd_mm_iou10 == pytest.approx((0.45 + 4.5) / 2)


def test_isbi_terms_of_one_case() -> None:
    # Corners that touch: two lesions for 18 neighbours, one for 26.
    reference = lines((1, 1, 0, 4))
    reference[2, 2, 4] = True
    scores = scored(lines((1, 1, 0, 4)), reference).scores
    assert (scores.lesion_tpr_18, scores.lesion_tpr_any) == (0.5, 1)
    assert scores.isbi_raw_18 == pytest.approx(8 / 9 / 8 + 1 / 8 + 1 / 4 + 0.5 / 4)
    assert scores.isbi_raw_26 == pytest.approx(8 / 9 / 8 + 1 / 8 + 1 / 4 + 1 / 4)
    exchanged = scored(reference, lines((1, 1, 0, 4))).scores
    assert (exchanged.lesion_fdr_18, exchanged.lesion_fdr_any) == (0.5, 0)
    assert exchanged.isbi_raw_18 == pytest.approx(8 / 9 / 8 + 0.8 / 8 + 0.5 / 4 + 1 / 4)
    assert math.isnan(scored(NOTHING, reference).scores.isbi_raw_18)


def test_distances_in_mm_and_in_voxels() -> None:
    line = lines((1, 1, 5, 6))
    scores = scored(np.roll(line, 4, 1), line).scores
    assert scores.hd95_mm == scores.hd95_pooled_mm == scores.asd_pred_to_ref_mm == pytest.approx(4.0)
    along = scored(np.roll(line, 12, 2), line).scores
    assert along.hd_mm == pytest.approx(36)
    assert (along.hd95_pooled_mm, along.hd95_pooled_voxel) == pytest.approx((36, 12))
    assert along.asd_pred_to_ref_voxel == pytest.approx(9.5)


def test_lesion_rows_say_where_and_why() -> None:
    rows = scored(lines((1, 1, 0, 5), (5, 5, 0, 20)), lines((1, 1, 2, 6), (5, 5, 0, 4))).lesions
    assert [(row.side, row.label, row.detected, row.reason) for row in rows] == [
        ("reference", 1, "yes", "found"),
        ("reference", 2, "no", "beta"),
        ("predicted", 1, "yes", "found"),
        ("predicted", 2, "yes", "found"),
    ]
    first = rows[0]
    assert (first.i, first.j, first.k) == (1, 1, 4.5)
    assert (first.x_mm, first.y_mm, first.z_mm) == (39.5, -19, 20.5)
    assert first.volume_mm3 == 9
    assert (first.overlap_share, first.outside_share) == pytest.approx((3 / 6, 2 / 5))


def test_nothing_predicted() -> None:
    scores = scored(NOTHING, lines((1, 1, 0, 5))).scores
    assert (scores.dice, scores.jaccard, scores.sensitivity, scores.lesion_sensitivity, scores.lesion_f1) == (0, 0, 0, 0, 0)
    assert all(math.isnan(value) for value in (scores.precision, scores.hd95_mm, scores.assd_mm, scores.lesion_ppv))
    assert scores.nsd_1mm == 0
    assert set(scores.flags.split(",")) == {"missed", "empty_prediction"}
    assert scored(NOTHING, lines((1, 1, 0, 5)), Convention.ANIMA).scores.lesion_ppv == 0


def test_no_reference_lesion() -> None:
    scores = scored(lines((1, 1, 0, 5), (5, 5, 0, 2)), NOTHING).scores
    undefined = (scores.dice, scores.precision, scores.sensitivity, scores.hd95_mm, scores.nsd_1mm, scores.lesion_f1, scores.panoptic_pq)
    assert all(math.isnan(value) for value in undefined)
    assert (scores.false_lesions, scores.false_volume_mm3, scores.lesions_ref) == (1, 7.5, 0)
    assert scores.flags == "empty_reference"
    assert scores.specificity == pytest.approx(1 - 7 / 6000)


def test_neither() -> None:
    result = scored(NOTHING, NOTHING)
    assert math.isnan(result.scores.dice)
    assert (result.scores.false_lesions, result.scores.false_volume_mm3, result.scores.specificity) == (0, 0, 1)
    assert result.scores.flags == "empty_reference,empty_prediction"
    assert result.lesions == ()


def test_reference_below_the_limit() -> None:
    predicted, reference = lines((5, 5, 0, 5)), lines((1, 1, 0, 2))
    scores = scored(predicted, reference).scores
    assert math.isnan(scores.lesion_f1)
    assert (scores.dice, scores.lesion_ppv, scores.flags) == (0, 0, "reference_below_limit")
    assert scored(predicted, reference, Convention.ANIMA).scores.lesion_f1 == 0


def test_the_whole_image() -> None:
    full = np.ones(SHAPE, bool)
    scores = scored(full, full).scores
    assert (scores.dice, scores.hd_mm, scores.lesion_f1, scores.ndsc) == (1, 0, 1, 1)
    assert math.isnan(scores.specificity)


def test_swapping_axes_changes_nothing_but_places() -> None:
    rng = np.random.default_rng(7)
    predicted, reference = (rng.random(SHAPE) < 0.03 for _ in range(2))
    affine = AFFINE[:, [2, 0, 1, 3]]
    turned = CasePair(
        "sub-01_ses-02",
        LabelKind.NEW,
        Volume(predicted.transpose(2, 0, 1), affine),
        Volume(reference.transpose(2, 0, 1), affine),
        (3, 0.5, 1),
    )
    own = dataclasses.asdict(scored(predicted, reference).scores) | {"spacing_i_mm": 3, "spacing_j_mm": 0.5, "spacing_k_mm": 1}
    assert dataclasses.asdict(score_case(turned, rules_of(Convention.MM)).scores) == pytest.approx(own, nan_ok=True)


ANIMA = {
    "dice": "Dice", "jaccard": "Jaccard", "precision": "PPV", "sensitivity": "Sensitivity", "specificity": "Specificity",
    "volume_difference_percent": "RelativeVolumeError", "lesion_sensitivity": "SensL", "lesion_ppv": "PPVL", "lesion_f1": "F1_score",
    "false_lesions": "NbTestedLesions", "false_volume_mm3": "VolTestedLesions", "npv": "NPV",
    "contour_mean_distance_mm": "ContourMeanDistance",
}  # fmt: skip


def vector_scores(name: str, convention: Convention, min_lesion_mm3: float | None = None) -> CaseScores:
    stored = case(name)
    predicted, reference = (Volume(mask, stored.affine) for mask in (stored.predicted, stored.reference))
    rules = rules_of(convention, min_lesion_mm3=min_lesion_mm3)
    return score_case(CasePair(name, LabelKind.NEW, predicted, reference, stored.spacing), rules).scores


@needs_vectors
@pytest.mark.parametrize("name", [n for n in CASE_NAMES if n != "full_pred"])
def test_anima_convention_gives_all_that_anima_prints(name: str) -> None:
    own, answer = vector_scores(name, Convention.ANIMA), peer("anima_3mm3", name)
    for column, key in ANIMA.items():
        if key in answer:
            assert getattr(own, column) == pytest.approx(answer[key], rel=1e-6, abs=1e-6, nan_ok=True), column


@needs_vectors
@pytest.mark.parametrize("name", [n for n in CASE_NAMES if n != "full_pred"])
def test_anima_convention_with_another_limit(name: str) -> None:
    own, answer = vector_scores(name, Convention.ANIMA, 10.5 * case(name).voxel_mm3), peer("anima_min11vox", name)
    for column in ("lesion_sensitivity", "lesion_ppv", "lesion_f1", "false_lesions", "false_volume_mm3"):
        if ANIMA[column] in answer:
            assert getattr(own, column) == pytest.approx(answer[ANIMA[column]], rel=1e-6, abs=1e-6, nan_ok=True), column


@needs_vectors
@pytest.mark.parametrize("name", [n for n in CASE_NAMES if n != "tie_good_first"])
def test_coactseg_convention_gives_the_published_scores(name: str) -> None:
    own, answer = vector_scores(name, Convention.COACTSEG), peer("coactseg_fixed", name)
    columns = {
        "dice": "dice", "jaccard": "jc", "hd95_pooled_voxel": "hd95_voxel", "asd_pred_to_ref_voxel": "asd_pred_to_gt_voxel",
        "precision": "precision", "sensitivity": "se", "specificity": "sp", "lesion_f1": "F1", "lesions_ref_detected": "TPg",
        "lesions_ref": "M", "lesions_pred_confirmed": "TPa", "lesions_pred": "N", "lesion_sensitivity": "sel", "lesion_ppv": "pl",
    }  # fmt: skip
    for column, key in columns.items():
        if key in answer:
            assert getattr(own, column) == pytest.approx(answer[key], rel=1e-9, abs=1e-9), column
