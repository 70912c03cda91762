"""What `coactseg evaluate` says about odd masks, through the command line: the table of docs/metrics.md, row by row.

The reference has two lesions of 5 voxels of 0.5 x 1 x 3 mm (7.5 mm3 each, above the limit of 3 mm3) on a grid of 10 x 20 x 30.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_app.tables import read_table
from coactseg_cli.__main__ import main

SHAPE = (10, 20, 30)
AFFINE = np.array([[0.5, 0, 0, -7.0], [0, 1, 0, 11.0], [0, 0, 3, -13.0], [0, 0, 0, 1]])
REFERENCE = np.zeros(SHAPE, np.uint8)
REFERENCE[1, 1, 0:5] = 1
REFERENCE[8, 8, 0:5] = 1
VOXELS = 10  # of the reference
N = int(np.prod(SHAPE))


def save(path: Path, data: np.ndarray, affine: np.ndarray | None = AFFINE) -> Path:
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


def evaluate(tmp_path: Path, predicted: Path, *words: str, reference: Path | None = None) -> tuple[int, dict[str, str], str]:
    """Exit code, row of per_case.tsv (empty without one) and the reason in not_scored.tsv ('' without one)."""
    truth = reference or save(tmp_path / "reference.nii.gz", REFERENCE)
    code = main(["evaluate", str(predicted), str(truth), str(tmp_path / "out"), "--no-report", "--nprocs", "1", *words])
    rows, reasons = read_table(tmp_path / "out" / "per_case.tsv"), read_table(tmp_path / "out" / "not_scored.tsv")
    return code, rows[0] if rows else {}, reasons[0]["reason"] if reasons else ""


def one_voxel() -> np.ndarray:
    data = np.zeros(SHAPE, np.uint8)
    data[1, 1, 2] = 1
    return data


EMPTY = np.zeros(SHAPE, np.uint8)
FULL = np.ones(SHAPE, np.uint8)

# prediction, reference, what the row says
SCORED: dict[str, tuple[np.ndarray, np.ndarray, dict[str, str]]] = {
    "equal": (REFERENCE, REFERENCE, {"dice": "1", "hd95_mm": "0", "lesion_f1": "1", "false_lesions": "0", "flags": "n/a"}),
    "empty prediction": (
        EMPTY, REFERENCE,
        {"dice": "0", "sensitivity": "0", "precision": "n/a", "hd95_mm": "n/a", "assd_mm": "n/a", "lesion_sensitivity": "0",
         "lesion_ppv": "n/a", "lesion_f1": "0", "false_lesions": "0", "flags": "missed,empty_prediction"},
    ),
    "empty reference": (
        REFERENCE, EMPTY,
        {"dice": "n/a", "sensitivity": "n/a", "precision": "n/a", "hd95_mm": "n/a", "lesion_f1": "n/a", "lesion_ppv": "n/a",
         "false_lesions": "2", "false_volume_mm3": "15", "flags": "empty_reference"},
    ),
    "both empty": (
        EMPTY, EMPTY,
        {"dice": "n/a", "hd95_mm": "n/a", "lesion_f1": "n/a", "false_lesions": "0", "false_volume_mm3": "0", "specificity": "1",
         "flags": "empty_reference,empty_prediction"},
    ),
    "one voxel predicted": (
        one_voxel(), REFERENCE,  # 1.5 mm3: below the limit
        {"dice": f"{2 / 11:.10g}", "precision": "1", "hd95_mm": f"{math.hypot(3.5, 7, 6):.10g}", "lesions_pred": "0", "lesion_ppv": "0",
         "lesion_f1": "0", "false_lesions": "0", "flags": "prediction_below_limit"},
    ),
    "one voxel in the reference": (
        REFERENCE, one_voxel(),
        {"dice": f"{2 / 11:.10g}", "lesions_ref": "0", "lesion_sensitivity": "n/a", "lesion_ppv": "0", "lesion_f1": "n/a",
         "false_lesions": "2", "flags": "reference_below_limit"},
    ),
    "one voxel in both": (one_voxel(), one_voxel(), {"dice": "1", "hd95_mm": "0", "assd_mm": "0", "lesion_f1": "n/a"}),
    "full prediction": (
        FULL, REFERENCE,
        {"dice": f"{2 * VOXELS / (N + VOXELS):.10g}", "sensitivity": "1", "specificity": "0", "lesions_pred": "1",
         "lesion_sensitivity": "0", "lesion_ppv": "0", "lesion_f1": "0", "false_lesions": "1"},
    ),
    "full in both": (FULL, FULL, {"dice": "1", "hd95_mm": "0", "specificity": "n/a", "lesion_f1": "1"}),
    "integer labels above 1": ((REFERENCE * 7).astype(np.int16), REFERENCE, {"dice": "1", "lesion_f1": "1"}),
    "booleans as floats": (REFERENCE.astype(np.float32), REFERENCE, {"dice": "1"}),
    "4D of one volume": (REFERENCE[..., None], REFERENCE, {"dice": "1"}),
}  # fmt: skip


@pytest.mark.parametrize("kind", SCORED)
def test_odd_masks_have_documented_scores(tmp_path: Path, kind: str) -> None:
    predicted, reference, expected = SCORED[kind]
    code, row, _ = evaluate(tmp_path, save(tmp_path / "p.nii.gz", predicted), reference=save(tmp_path / "r.nii.gz", reference))
    assert code == 0
    assert {name: row[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("empty prediction", {"dice": "0", "lesion_ppv": "0", "lesion_f1": "0", "precision": "n/a"}),
        ("one voxel in the reference", {"lesion_sensitivity": "n/a", "lesion_ppv": "0", "lesion_f1": "0"}),
        ("empty reference", {"lesion_f1": "n/a", "false_lesions": "2", "false_volume_mm3": "15"}),
    ],
)
def test_anima_prints_zeros(tmp_path: Path, kind: str, expected: dict[str, str]) -> None:
    predicted, reference, _ = SCORED[kind]
    files = save(tmp_path / "p.nii.gz", predicted), save(tmp_path / "r.nii.gz", reference)
    _, row, _ = evaluate(tmp_path, files[0], "--convention", "anima", reference=files[1])
    assert {name: row[name] for name in expected} == expected


def test_anima_ignores_the_limit_on_an_empty_reference(tmp_path: Path) -> None:
    files = save(tmp_path / "p.nii.gz", REFERENCE), save(tmp_path / "r.nii.gz", EMPTY)
    found = [
        evaluate(tmp_path, files[0], "--convention", convention, "--min-lesion-mm3", "10.5", reference=files[1])[1]["false_lesions"]
        for convention in ("mm", "anima")
    ]
    assert found == ["0", "2"]


def permuted() -> tuple[np.ndarray, np.ndarray]:
    """The reference stored in another order: axes k, i, j, the second one backwards; every voxel keeps its place."""
    data = np.transpose(REFERENCE, (2, 0, 1))[:, ::-1]
    affine = AFFINE[:, [2, 0, 1, 3]].copy()
    affine[:3, 3] += affine[:3, 1] * (SHAPE[0] - 1)
    affine[:3, 1] *= -1
    return data, affine


def shifted() -> np.ndarray:
    affine = AFFINE.copy()
    affine[0, 3] += 0.5  # one voxel
    return affine


def truncated(path: Path) -> Path:
    whole = gzip.compress(nib.Nifti1Image(np.random.default_rng(0).integers(0, 2, SHAPE, np.uint8), AFFINE).to_bytes())
    path.write_bytes(whole[: len(whole) // 2])
    return path


def rgb(path: Path) -> Path:
    return save(path, np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")]))


WITH_NAN = np.where(REFERENCE, np.nan, 0).astype(np.float32)
IN_BETWEEN = (REFERENCE * 0.75).astype(np.float32)

# how to make the prediction, words of the message
REFUSED: dict[str, tuple[Callable[[Path], Path], list[str]]] = {
    "another shape": (lambda p: save(p, EMPTY[:9]), ["(9, 20, 30)", "(10, 20, 30)", "--resample"]),
    "another origin": (lambda p: save(p, REFERENCE, shifted()), ["-6.5", "-7.0", "different grids", "--resample"]),
    "another spacing": (lambda p: save(p, REFERENCE, AFFINE * [1, 1, 1.1, 1]), ["3.3", "different grids", "--resample"]),
    "another orientation": (lambda p: save(p, *permuted()), ["SLA", "RAS", "different grids", "--resample"]),
    "NaN": (lambda p: save(p, WITH_NAN), ["10 voxels are NaN"]),
    "infinite": (lambda p: save(p, np.where(REFERENCE, np.inf, 0).astype(np.float32)), ["10 voxels are NaN or infinite"]),
    "4D": (lambda p: save(p, np.stack([REFERENCE, REFERENCE], 3)), ["(10, 20, 30, 2)", "one volume per file"]),
    "2D": (lambda p: save(p, REFERENCE[0]), ["(20, 30)"]),
    "values between": (lambda p: save(p, IN_BETWEEN), ["0.75", "--threshold"]),
    "negative": (lambda p: save(p, -REFERENCE.astype(np.int16)), ["-1"]),
    "RGB": (rgb, ["RGB"]),
    "truncated": (truncated, ["truncated"]),
    "no image": (lambda p: p.write_bytes(b"text") and p, ["not a readable NIfTI"]),
    "no affine": (lambda p: save(p, REFERENCE, None), ["neither sform nor qform"]),
}


@pytest.mark.parametrize("fault", REFUSED)
@pytest.mark.parametrize("side", ["predicted", "reference"])
def test_what_cannot_be_compared_is_refused_by_name(tmp_path: Path, fault: str, side: str) -> None:
    make, words = REFUSED[fault]
    bad, good = make(tmp_path / "bad.nii.gz"), save(tmp_path / "good.nii.gz", REFERENCE)
    code, row, reason = evaluate(tmp_path, bad, reference=good) if side == "predicted" else evaluate(tmp_path, good, reference=bad)
    assert (code, row) == (1, {})
    assert all(word in reason for word in ["bad.nii.gz", *words]), reason


def test_the_same_scene_in_another_order_is_equal_once_resampled(tmp_path: Path) -> None:
    code, row, _ = evaluate(tmp_path, save(tmp_path / "p.nii.gz", *permuted()), "--resample")
    assert (code, row["dice"], row["hd_mm"], row["flags"]) == (0, "1", "0", "resampled")


def test_a_shift_by_one_voxel_is_one_voxel_once_resampled(tmp_path: Path) -> None:
    code, row, _ = evaluate(tmp_path, save(tmp_path / "p.nii.gz", REFERENCE, shifted()), "--resample")
    assert (code, row["dice"], row["hd_mm"], row["hd95_mm"]) == (0, "0", "0.5", "0.5")


def test_a_smaller_field_of_view_is_filled_with_nothing(tmp_path: Path) -> None:
    code, row, _ = evaluate(tmp_path, save(tmp_path / "p.nii.gz", REFERENCE[:5]), "--resample")
    assert (code, row["sensitivity"], row["precision"]) == (0, "0.5", "1")


def test_a_finer_grid_is_sampled_at_the_centres(tmp_path: Path) -> None:
    fine = AFFINE @ np.diag([1 / 3, 1, 1, 1])
    fine[:3, 3] = AFFINE[:3, 3] - AFFINE[:3, 0] / 3
    code, row, _ = evaluate(tmp_path, save(tmp_path / "p.nii.gz", np.repeat(REFERENCE, 3, axis=0), fine), "--resample")
    assert (code, row["dice"]) == (0, "1")


def test_a_threshold_makes_a_mask_of_values_between(tmp_path: Path) -> None:
    predicted = save(tmp_path / "p.nii.gz", IN_BETWEEN)
    assert evaluate(tmp_path, predicted, "--threshold", "0.75")[1]["dice"] == "1"
    assert evaluate(tmp_path, predicted, "--threshold", "0.76")[1]["dice"] == "0"


def test_labels_that_are_no_lesion_are_left_out(tmp_path: Path) -> None:
    labels = REFERENCE * 99
    labels[5, 5, 5:25] = 2
    predicted = save(tmp_path / "p.nii.gz", labels)
    assert evaluate(tmp_path, predicted)[1]["lesions_pred"] == "3"
    assert evaluate(tmp_path, predicted, "--predicted-values", "99")[1]["dice"] == "1"


def test_values_for_the_reference(tmp_path: Path) -> None:
    labels = REFERENCE * 1
    labels[8] *= 2
    truth = save(tmp_path / "r.nii.gz", labels)
    assert evaluate(tmp_path, truth, "--reference-values", "2", reference=truth)[1]["precision"] == "0.5"


def test_a_volume_of_freesurfer_is_read(tmp_path: Path) -> None:
    nib.save(nib.MGHImage((REFERENCE * 99).astype(np.int32), AFFINE), tmp_path / "seg.mgz")
    code, row, _ = evaluate(tmp_path, tmp_path / "seg.mgz", "--predicted-values", "99")
    assert (code, row["case"], row["dice"], row["volume_pred_mm3"]) == (0, "seg", "1", "15")
