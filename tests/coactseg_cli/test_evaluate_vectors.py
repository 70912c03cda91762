"""The stored pairs through the command line, all at once: the tables hold the numbers of the other programs."""

from __future__ import annotations

import math
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from benchmarks.evaluate import make_pair, plain_f1
from bids_app.tables import number, read_table
from coactseg_cli.__main__ import main
from tests.coactseg_cli.metrics import vectors

CONVENTIONS = {
    "mm": [],
    "anima": ["--convention", "anima"],
    "anima 11 voxels": ["--convention", "anima", "--min-lesion-voxels", "11"],
    "coactseg": ["--convention", "coactseg"],
}
Tables = dict[str, dict[str, dict[str, str]]]  # convention to case to row


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    root = tmp_path_factory.mktemp("vectors")
    for name in vectors.CASE_NAMES:
        stored = vectors.case(name)
        for side, mask in (("predicted", stored.predicted), ("reference", stored.reference)):
            (root / side).mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(mask.astype(np.uint8), stored.affine), root / side / f"{name}.nii.gz")
    found: Tables = {}
    for convention, words in CONVENTIONS.items():
        places = [str(root / part) for part in ("predicted", "reference", convention)]
        assert main(["evaluate", *places, "--no-report", "--nprocs", "1", *words]) == 0
        found[convention] = {row["case"]: row for row in read_table(root / convention / "per_case.tsv")}
    return found


VOXELS = {
    "dice": "Dice",
    "jaccard": "Jaccard",
    "precision": "PPV",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "npv": "NPV",
}
PANOPTICA = {
    f"panoptic_{ours}{suffix}": f"{key}_{theirs}"
    for suffix, key in (("", "iou50"), ("_iou10", "iou10"), ("_dsc10", "dsc10"))
    for ours, theirs in (("tp", "tp"), ("rq", "rq"), ("sq", "sq"), ("pq", "pq"), ("sq_dice", "sq_dsc"), ("pq_dice", "pq_dsc"))
}
LESIONS = {"lesion_sensitivity": "SensL", "lesion_ppv": "PPVL", "lesion_f1": "F1_score"}
NOT_FULL = [name for name in vectors.NOT_EMPTY if name != "full_pred"]  # a mask without background is empty to Anima

# convention, program, our column to its key, cases, tolerance
COMPARED = [
    (
        "mm", "medpy",
        {"dice": "dc", "jaccard": "jc", "precision": "precision", "sensitivity": "sensitivity", "specificity": "specificity",
         "hd_mm": "hd_mm", "hd95_pooled_mm": "hd95_mm", "assd_mm": "assd_mm", "asd_pred_to_ref_mm": "asd_mm"},
        vectors.NOT_EMPTY, 1e-9,
    ),
    (
        "mm", "monai",
        {"hd95_mm": "hd95_mm", "hd_mm": "hd_mm", "nsd_1mm": "nsd_1mm", "nsd_surfel_1mm": "nsd_1mm_subvoxels"},
        vectors.NOT_EMPTY, 1e-5,
    ),
    ("mm", "MetricsReloaded", {"hd95_mm": "hd95", "assd_mm": "assd", "masd_mm": "masd", "nsd_1mm": "nsd_1mm"}, vectors.NOT_EMPTY, 1e-5),
    ("mm", "surface_distance", {"nsd_surfel_1mm": "surface_dice_1mm"}, vectors.NOT_EMPTY, 1e-6),
    (
        "mm", "lesion_metrics",
        {"lesion_tpr_any": "ltpr", "lesion_fdr_any": "lfdr", "isbi_raw_26": "isbi15_score_raw"},
        vectors.NOT_EMPTY, 1e-9,
    ),
    ("mm", "panoptica", PANOPTICA, vectors.NOT_EMPTY, 1e-9),
    ("mm", "wmh_challenge", {"lesion_tpr_any": "recall", "lesion_f1_any": "f1"}, vectors.NOT_EMPTY, 1e-9),
    ("mm", "shifts", {"ndsc": "ndsc", "lesion_f1_iou25": "lesion_f1_iou25"}, vectors.NOT_EMPTY, 1e-6),
    ("anima", "anima_3mm3", VOXELS | LESIONS, NOT_FULL, 1e-6),
    ("anima", "anima_3mm3", {"contour_mean_distance_mm": "ContourMeanDistance"}, NOT_FULL, 1e-5),
    ("anima", "anima_3mm3", {**LESIONS, "dice": "Dice", "precision": "PPV"}, ["empty_pred"], 1e-6),
    ("anima", "anima_3mm3", {"false_lesions": "NbTestedLesions", "false_volume_mm3": "VolTestedLesions"},
     ["empty_gt", "empty_gt_tiny_pred", "both_empty"], 1e-6),
    ("anima 11 voxels", "anima_min11vox", LESIONS, NOT_FULL, 1e-6),
    ("anima 11 voxels", "anima_min11vox", {"false_lesions": "NbTestedLesions"}, ["empty_gt", "empty_gt_tiny_pred"], 1e-6),
    (
        "coactseg", "coactseg_fixed",
        {"lesion_sensitivity": "sel", "lesion_ppv": "pl", "lesion_f1": "F1", "lesions_ref": "M", "lesions_pred": "N",
         "lesions_ref_detected": "TPg", "lesions_pred_confirmed": "TPa"},
        [name for name in vectors.NOT_EMPTY if name != "tie_good_first"], 1e-9,
    ),
    ("coactseg", "medpy", {"hd95_pooled_voxel": "hd95_voxel", "asd_pred_to_ref_voxel": "asd_voxel"}, vectors.NOT_EMPTY, 1e-9),
]  # fmt: skip


@vectors.needs_vectors
@pytest.mark.parametrize("compared", COMPARED, ids=lambda row: f"{row[0]}, {row[1]}, {len(row[3])} cases")
def test_tables_hold_the_numbers_of_other_programs(tables: Tables, compared: tuple[str, str, dict[str, str], list[str], float]) -> None:
    convention, program, columns, cases, tolerance = compared
    n_compared = 0
    for name in cases:
        answers = vectors.peer(program, name)  # without what the program failed at
        for column, key in columns.items():
            if key in answers:
                value = number(tables[convention][name][column])
                assert value == pytest.approx(answers[key], abs=tolerance, nan_ok=True), (name, column)
                n_compared += 1
    assert n_compared >= 0.7 * len(cases) * len(columns)


def test_random_pairs_through_the_command_line(tmp_path: Path) -> None:
    """Lesion F1 of masks that nobody has seen, by the plain loop of the benchmark; voxels of 1 mm3, 90 x 60 x 70."""
    for side in ("p", "r"):
        (tmp_path / side).mkdir()
    expected = []
    for seed in range(6):
        pair = make_pair((90, 60, 70), 25, seed)
        for side, mask in zip(("p", "r"), pair, strict=True):
            nib.save(nib.Nifti1Image(mask, np.eye(4)), tmp_path / side / f"{seed}.nii")
        expected.append(plain_f1(*(mask > 0 for mask in pair)))
    assert main(["evaluate", str(tmp_path / "p"), str(tmp_path / "r"), str(tmp_path / "out"), "--no-report"]) == 0
    found = [number(row["lesion_f1"]) for row in read_table(tmp_path / "out" / "per_case.tsv")]
    assert found == pytest.approx(expected, abs=1e-9)
    assert len(set(found)) > 3
    assert not any(math.isnan(value) for value in found)
