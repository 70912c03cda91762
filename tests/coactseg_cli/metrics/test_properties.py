"""What must hold for any two masks: small random ones, drawn by hypothesis."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bids_app.cases import LabelKind
from coactseg_cli.metrics.case import CasePair, CaseResult, score_case
from coactseg_cli.metrics.columns import CaseScores
from coactseg_cli.metrics.conventions import Convention, rules_of
from coactseg_cli.volumes import Volume

SHAPE = (4, 5, 6)
SPACING = (0.5, 1.0, 3.0)
NAMES = [f.name for f in dataclasses.fields(CaseScores) if f.type in {"float", "int"}]
LENGTHS = [name for name in NAMES if name.endswith("_mm") or "_mm_" in name]
SHARES = [
    "dice", "jaccard", "precision", "sensitivity", "specificity", "npv", "ndsc", "nsd_1mm", "nsd_surfel_1mm", "lesion_sensitivity",
    "lesion_ppv", "lesion_f1", "lesion_tpr_any", "lesion_fdr_any", "lesion_f1_any", "lesion_f1_iou25", "lesion_tpr_18", "lesion_fdr_18",
    "isbi_raw_18", "isbi_raw_26", *(name for name in NAMES if name.startswith("panoptic") and "_tp" not in name and "_mm" not in name),
]  # fmt: skip
ALWAYS = [
    "volume_pred_mm3", "volume_ref_mm3", "volume_pred_ml", "volume_ref_ml", "volume_difference_mm3", "lesions_pred", "lesions_ref",
    "lesions_ref_detected", "lesions_pred_confirmed", "lesions_pred_any", "lesions_ref_any", "false_lesions", "false_volume_mm3",
    "smallest_lesion_voxel", "voxel_mm3", "spacing_i_mm", "spacing_j_mm", "spacing_k_mm", "panoptic_tp", "panoptic_tp_iou10",
    "panoptic_tp_dsc10",
]  # fmt: skip
# The share of voxels varies, so that empty, sparse and full masks all occur.
masks = st.tuples(arrays(np.uint8, SHAPE, elements=st.integers(0, 9)), st.sampled_from([0, 1, 2, 5, 8, 10])).map(
    lambda drawn: drawn[0] < drawn[1]
)
quickly = settings(max_examples=60, deadline=None, derandomize=True)


def score(
    predicted: np.ndarray, reference: np.ndarray, spacing: tuple[float, float, float] = SPACING, convention: Convention = Convention.MM
) -> CaseResult:
    affine = np.diag([*spacing, 1.0])
    pair = CasePair("sub-01", LabelKind.NEW, Volume(predicted, affine), Volume(reference, affine), spacing)
    return score_case(pair, rules_of(convention))


def same(a: float, b: float) -> bool:
    return a == pytest.approx(b, rel=1e-9, abs=1e-9, nan_ok=True)


@quickly
@given(masks, masks)
def test_exchanging_the_masks_exchanges_the_roles(a: np.ndarray, b: np.ndarray) -> None:
    one, other = score(a, b).scores, score(b, a).scores
    if not (a.any() and b.any()):
        return  # what is undefined depends on which side is empty
    for name in ("dice", "jaccard", "hd_mm", "hd95_mm", "hd95_pooled_mm", "assd_mm", "masd_mm", "nsd_1mm", "nsd_surfel_1mm", "panoptic_rq"):
        assert same(getattr(one, name), getattr(other, name)), name
    pairs = {
        "precision": "sensitivity", "npv": "specificity", "asd_pred_to_ref_mm": "asd_ref_to_pred_mm", "lesions_pred": "lesions_ref",
        "lesions_pred_confirmed": "lesions_ref_detected", "lesions_pred_any": "lesions_ref_any", "volume_pred_mm3": "volume_ref_mm3",
    }  # fmt: skip
    for name, partner in pairs.items():
        assert same(getattr(one, name), getattr(other, partner)), name
        assert same(getattr(one, partner), getattr(other, name)), name
    assert same(one.lesion_tpr_any, 1 - other.lesion_fdr_any)
    if one.lesions_pred and one.lesions_ref:
        assert same(one.lesion_sensitivity, other.lesion_ppv)
        assert same(one.lesion_f1, other.lesion_f1)


@quickly
@given(masks, masks, st.permutations(range(3)), st.tuples(*[st.booleans()] * 3))
def test_turning_and_mirroring_change_no_score(a: np.ndarray, b: np.ndarray, axes: list[int], mirrored: tuple[bool, bool, bool]) -> None:
    def turned(mask: np.ndarray) -> np.ndarray:
        return np.flip(mask, [n for n in range(3) if mirrored[n]]).transpose(axes)

    one = dataclasses.asdict(score(a, b).scores)
    two = dataclasses.asdict(score(turned(a), turned(b), tuple(SPACING[axis] for axis in axes)).scores)
    # Ties between lesions are broken by raster order, which turning changes: what a tie may decide is left out.
    tied = [name for name in NAMES if name.startswith(("lesion", "false", "panoptic")) or name.startswith("spacing")]
    for name in NAMES:
        if name not in tied or name in {"lesions_pred", "lesions_ref", "lesion_tpr_any", "lesion_fdr_any", "lesion_f1_iou25"}:
            assert same(one[name], two[name]), name


@quickly
@given(masks, masks, st.sampled_from([0.5, 2.0, 4.0]))
def test_lengths_scale_with_the_spacing(a: np.ndarray, b: np.ndarray, factor: float) -> None:
    # In voxels, so that the size limit does not move with the spacing.
    one = score(a, b, SPACING, Convention.COACTSEG).scores
    two = score(a, b, tuple(factor * edge for edge in SPACING), Convention.COACTSEG).scores
    for name in NAMES:
        power = 1 if name in LENGTHS else 3 if name.endswith(("mm3", "_ml")) else 0
        if not name.startswith("nsd"):  # its tolerance is 1 mm whatever the spacing
            assert same(getattr(one, name) * factor**power, getattr(two, name)), name


@quickly
@given(masks, masks, st.sampled_from(Convention))
def test_shares_lie_between_0_and_1(a: np.ndarray, b: np.ndarray, convention: Convention) -> None:
    scores = score(a, b, convention=convention).scores
    for name in SHARES:
        assert math.isnan(getattr(scores, name)) or -1e-12 <= getattr(scores, name) <= 1 + 1e-12, name
    lengths = [getattr(scores, name) for name in LENGTHS]
    assert all(math.isnan(length) or 0 <= length < math.inf for length in lengths)
    assert not scores.hd95_mm > scores.hd_mm
    assert not scores.assd_mm > scores.hd_mm


@quickly
@given(masks, masks)
def test_undefined_is_exactly_what_the_documentation_says(predicted: np.ndarray, reference: np.ndarray) -> None:
    scores = score(predicted, reference).scores
    undefined = {name for name in NAMES if math.isnan(getattr(scores, name))}
    assert undefined == expected_undefined(scores, bool(predicted.all()), bool(reference.all()))


def expected_undefined(scores: CaseScores, full_prediction: bool, full_reference: bool) -> set[str]:
    some_reference, some_prediction = scores.volume_ref_mm3 > 0, scores.volume_pred_mm3 > 0
    expected = {"specificity"} if full_reference else set()
    expected |= {"npv"} if full_prediction else set()
    if full_prediction or full_reference or not (some_reference and some_prediction):
        expected.add("contour_mean_distance_mm")  # no contour without a border inside the image
    expected |= {name for name in NAMES if name.startswith("panoptic_masd") and not getattr(scores, name.replace("masd_mm", "tp"))}
    if not some_reference:
        return set(NAMES) - set(ALWAYS) - ({"specificity"} - expected) - ({"npv"} - expected)
    if not some_prediction:
        expected |= {"precision", "lesion_fdr_any", "lesion_fdr_18", "isbi_raw_18", "isbi_raw_26", "lesion_ppv"}
        expected |= {name for name in LENGTHS if "spacing" not in name and "penalised" not in name} | {
            "hd95_pooled_voxel",
            "asd_pred_to_ref_voxel",
        }
    if not scores.lesions_ref:
        expected |= {"lesion_sensitivity", "lesion_f1"}
    return expected


@quickly
@given(masks, masks)
def test_the_lesion_rows_add_up_to_the_scores(predicted: np.ndarray, reference: np.ndarray) -> None:
    result = score(predicted, reference)
    for side, count, found in (
        ("reference", "lesions_ref", "lesions_ref_detected"),
        ("predicted", "lesions_pred", "lesions_pred_confirmed"),
    ):
        rows = [row for row in result.lesions if row.side == side]
        assert len(rows) == getattr(result.scores, count)
        assert sum(row.detected == "yes" for row in rows) == getattr(result.scores, found)
        assert [row.volume_mm3 for row in rows] == sorted((row.volume_mm3 for row in rows), reverse=True)
        assert all((row.detected == "yes") == (row.reason == "found") for row in rows)
    false = [row.volume_mm3 for row in result.lesions if row.side == "predicted" and row.detected == "no"]
    assert (len(false), sum(false)) == (result.scores.false_lesions, pytest.approx(result.scores.false_volume_mm3))
