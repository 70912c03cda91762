from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_app.cases import LabelKind
from bids_app.errors import InvalidDataset, NoInput, NothingMatched
from bids_app.tables import read_table
from coactseg_cli.config import EvaluateConfig
from coactseg_cli.errors import InvalidConfig
from coactseg_cli.evaluate import evaluate
from coactseg_cli.metrics.results import EvaluateResult
from tests.coactseg_cli.metrics import vectors
from tests.coactseg_cli.metrics.test_detection import SHAPE, lines

A, B = lines((1, 1, 0, 5)), lines((8, 8, 0, 5))
NOTHING = np.zeros(SHAPE, bool)
AFFINE = np.diag([0.5, 1.0, 3.0, 1.0])


def write(path: Path, data: np.ndarray, affine: np.ndarray = AFFINE, dtype: type = np.uint8) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(data.astype(dtype), affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    nib.save(image, path)
    return path


def run(predicted: Path | None, reference: Path | None, out: Path, **options: object) -> EvaluateResult:
    chosen = {"report": False, **options}
    return evaluate(EvaluateConfig(predicted=predicted, reference=reference, out_dir=out, **chosen), lambda _: None)  # type: ignore[arg-type]


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    return write(tmp_path / "reference.nii.gz", A | B)


def test_two_files(tmp_path: Path, reference: Path) -> None:
    out = tmp_path / "out"
    result = run(write(tmp_path / "A.nii.gz", A), reference, out)
    assert result.exit_code == 0
    row = read_table(out / "per_case.tsv")[0]
    assert (row["case"], row["kind"], row["convention"]) == ("A", "new", "mm")
    assert (row["lesion_f1"], row["volume_ref_mm3"]) == ("0.6666666667", "15")
    assert [r["detected"] for r in read_table(out / "per_lesion.tsv")] == ["yes", "no", "yes"]
    assert row["flags"] == "n/a"
    for name in ("per_case", "per_lesion", "summary", "activity", "not_scored"):
        header = (out / f"{name}.tsv").read_text().splitlines()[0].split("\t")
        assert list(json.loads((out / f"{name}.json").read_text())) == ["Description", *header]
    assert not list(out.glob(".tmp-*"))


def test_columns_begin_as_documented(tmp_path: Path, reference: Path) -> None:
    run(write(tmp_path / "A.nii.gz", A), reference, tmp_path / "out")
    documented = [
        "case",
        "kind",
        "convention",
        "dice",
        "jaccard",
        "precision",
        "sensitivity",
        "specificity",
        "hd_mm",
        "hd95_mm",
        "hd95_pooled_mm",
        "assd_mm",
        "masd_mm",
        "asd_pred_to_ref_mm",
        "nsd_1mm",
        "volume_pred_mm3",
        "volume_ref_mm3",
        "volume_difference_mm3",
        "lesions_pred",
        "lesions_ref",
        "lesion_sensitivity",
        "lesion_ppv",
        "lesion_f1",
        "false_lesions",
        "false_volume_mm3",
        "lesion_tpr_any",
        "lesion_fdr_any",
        "panoptic_rq",
        "panoptic_sq",
        "panoptic_pq",
        "ndsc",
        "flags",
    ]
    header = (tmp_path / "out" / "per_case.tsv").read_text().splitlines()[0].split("\t")
    assert header[: len(documented)] == documented


def test_settings_say_what_was_done(tmp_path: Path, reference: Path) -> None:
    run(reference, reference, tmp_path / "out", convention="coactseg", connectivity=18)
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())
    assert settings["Rules"] == {
        "convention": "coactseg", "connectivity": 18, "min_lesion_mm3": None, "min_lesion_voxels": 11,
        "alpha": 0.1, "beta": 0.7, "gamma": 0.65, "threshold": None, "nsd_tolerance_mm": 1.0,
    }  # fmt: skip
    assert settings["Versions"]["coactseg"]


@pytest.mark.parametrize(
    ("options", "lesions"),
    [
        ({}, 2),
        ({"convention": "coactseg"}, 0),
        ({"min_lesion_voxels": 6}, 0),
        ({"min_lesion_mm3": 7.5}, 0),
        ({"min_lesion_mm3": 7.4}, 2),
    ],
)
def test_limits_change_what_counts(tmp_path: Path, reference: Path, options: dict[str, object], lesions: int) -> None:
    assert run(reference, reference, tmp_path / "out", **options).scores[0].lesions_ref == lesions


def test_connectivity_changes_what_is_one_lesion(tmp_path: Path) -> None:
    mask = write(tmp_path / "corner.nii.gz", lines((1, 1, 0, 5), (2, 2, 5, 5)))
    assert run(mask, mask, tmp_path / "a").scores[0].lesions_ref == 2
    assert run(mask, mask, tmp_path / "b", connectivity=26).scores[0].lesions_ref == 1


def test_anima_prints_a_zero_where_the_default_is_undefined(tmp_path: Path, reference: Path) -> None:
    nothing = write(tmp_path / "nothing.nii.gz", NOTHING)
    run(nothing, reference, tmp_path / "mm")
    run(nothing, reference, tmp_path / "anima", convention="anima")
    assert [read_table(tmp_path / name / "per_case.tsv")[0]["lesion_ppv"] for name in ("mm", "anima")] == ["n/a", "0"]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32, np.float64])
def test_labels_of_any_type_are_lesions(tmp_path: Path, reference: Path, dtype: type) -> None:
    labels = write(tmp_path / "labels.nii.gz", A * 1 + B * 7, dtype=dtype)
    assert run(labels, reference, tmp_path / "out").scores[0].dice == 1


def test_a_scaled_file_is_a_mask(tmp_path: Path, reference: Path) -> None:
    image = nib.Nifti1Image(((A | B) * 255).astype(np.uint8), AFFINE)
    image.header.set_slope_inter(1 / 255, 0)
    image.set_sform(AFFINE, 1)
    nib.save(image, tmp_path / "scaled.nii.gz")
    assert run(tmp_path / "scaled.nii.gz", reference, tmp_path / "out").scores[0].dice == 1


def test_probabilities_need_a_threshold_from_which_they_are_lesion(tmp_path: Path, reference: Path) -> None:
    probabilities = write(tmp_path / "p.nii.gz", A * 0.75 + B * 0.5, dtype=np.float32)
    failure = run(probabilities, reference, tmp_path / "a").failures[0]
    assert "p.nii.gz" in failure.reason
    assert "--threshold" in failure.reason
    assert run(probabilities, reference, tmp_path / "b", threshold=0.51).scores[0].lesions_pred == 1
    assert run(probabilities, reference, tmp_path / "c", threshold=0.5).scores[0].lesions_pred == 2


def shifted() -> np.ndarray:
    affine = AFFINE.copy()
    affine[0, 3] = 2.25
    return affine


BAD = {
    "shape": (lambda p: write(p, np.zeros((10, 20, 31))), ["(10, 20, 31)", "(10, 20, 30)"]),
    "origin": (lambda p: write(p, A, shifted()), ["2.25", "different grids"]),
    "spacing": (lambda p: write(p, A, np.diag([0.5, 1.0, 3.25, 1.0])), ["3.25", "different grids"]),
    "orientation": (lambda p: write(p, A, np.diag([-0.5, 1.0, 3.0, 1.0])), ["-0.5", "different grids"]),
    "nan": (lambda p: write(p, np.where(A, np.nan, 0), dtype=np.float32), ["NaN"]),
    "4d": (lambda p: write(p, np.zeros((10, 20, 30, 2))), ["(10, 20, 30, 2)"]),
    "negative": (lambda p: write(p, A * -1, dtype=np.int16), ["-1"]),
    "truncated": (lambda p: p.write_bytes(b"\x1f\x8bnothing") and p, []),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_file_is_named_with_its_fault(tmp_path: Path, reference: Path, fault: str) -> None:
    make, words = BAD[fault]
    path = tmp_path / f"{fault}.nii.gz"
    make(path)
    result = run(path, reference, tmp_path / "out")
    assert result.exit_code == 1
    assert str(path) in result.failures[0].reason
    assert all(word in result.failures[0].reason for word in words), result.failures[0].reason
    assert read_table(tmp_path / "out" / "not_scored.tsv")[0]["status"] == "failed"
    assert json.loads((tmp_path / "out" / "settings.json").read_text())["Cases"]["failed"] == [fault]


def tree(folder: Path, masks: dict[str, np.ndarray], desc: str = "new") -> Path:
    for visit, mask in masks.items():
        subject, session = visit.split("_")
        write(folder / subject / session / "anat" / f"{visit}_label-L_desc-{desc}_mask.nii.gz", mask)
    (folder / "dataset_description.json").write_text(
        json.dumps({"Name": "x", "BIDSVersion": "1.11.0", "DatasetType": "derivative", "GeneratedBy": [{"Name": "x"}]})
    )
    return folder


def test_trees_with_missing_surplus_and_bad_cases(tmp_path: Path) -> None:
    reference = tree(tmp_path / "ref", {"sub-01_ses-02": A, "sub-02_ses-02": NOTHING, "sub-03_ses-02": A | B, "sub-04_ses-02": A})
    predicted = tree(tmp_path / "pred", {"sub-01_ses-02": A, "sub-02_ses-02": B, "sub-04_ses-02": A[:9], "sub-05_ses-02": A})
    lines_logged: list[str] = []
    config = EvaluateConfig(predicted=predicted, reference=reference, out_dir=tmp_path / "out", report=False)
    result = evaluate(config, lines_logged.append)
    assert [s.case for s in result.scores] == ["sub-01_ses-02", "sub-02_ses-02"]
    assert [row.case for row in result.missing] == ["sub-03_ses-02"]
    assert [row.case for row in result.surplus] == ["sub-05_ses-02"]
    assert [row.case for row in result.failures] == ["sub-04_ses-02"]
    assert result.exit_code == 1
    assert "2 scored, 1 failed, 1 missing, 1 surplus" in lines_logged[-1]
    groups = {row["group"] for row in read_table(tmp_path / "out" / "summary.tsv")}
    assert groups == {"with_reference_lesions", "without_reference_lesions"}
    assert len(run(predicted, reference, tmp_path / "one", participant_labels=("01",)).scores) == 1


def test_kind_chooses_the_masks(tmp_path: Path) -> None:
    for name, mask in (("pred", A), ("ref", A | B)):
        tree(tmp_path / name, {"sub-01_ses-02": mask}, "new")
        tree(tmp_path / name, {"sub-01_ses-02": A, "sub-01_ses-01": A}, "all")
    both = run(tmp_path / "pred", tmp_path / "ref", tmp_path / "out")
    assert [(s.case, s.kind) for s in both.scores] == [("sub-01_ses-01", "all"), ("sub-01_ses-02", "all"), ("sub-01_ses-02", "new")]
    new = run(tmp_path / "pred", tmp_path / "ref", tmp_path / "out", kind=LabelKind.NEW)
    assert [s.kind for s in new.scores] == ["new"]


def test_the_page_is_written_unless_told_otherwise(tmp_path: Path, reference: Path) -> None:
    predicted = write(tmp_path / "A.nii.gz", A)
    for report in (True, False):
        run(predicted, reference, tmp_path / str(report), report=report)
    written = {report: {path.name for path in (tmp_path / str(report)).iterdir()} for report in (True, False)}
    assert written[True] - written[False] == {"evaluation.html", "figures", "main_table.md", "main_table.tex"}
    page = (tmp_path / "True" / "evaluation.html").read_text()
    assert "0.667" in page
    assert "Research use only" in page


def test_two_plain_folders(tmp_path: Path) -> None:
    for name in ("pred", "ref"):
        write(tmp_path / name / "case 1.nii.gz", A)
        write(tmp_path / name / "case 2.nii", B)
    assert [s.case for s in run(tmp_path / "pred", tmp_path / "ref", tmp_path / "out").scores] == ["case 1", "case 2"]


def test_nothing_in_common(tmp_path: Path) -> None:
    with pytest.raises(NothingMatched, match="counterpart"):
        run(tree(tmp_path / "a", {"sub-01_ses-02": A}), tree(tmp_path / "b", {"sub-02_ses-02": A}), tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"convention": "voxels"}, "voxels"),
        ({"connectivity": 8}, "8"),
        ({"threshold": 1.5}, "1.5"),
        ({"min_lesion_mm3": -1.0}, "-1"),
        ({"min_lesion_mm3": math.nan}, "nan"),
        ({"min_lesion_voxels": -2}, "-2"),
    ],
)
def test_settings_out_of_range(tmp_path: Path, reference: Path, options: dict[str, object], word: str) -> None:
    with pytest.raises(InvalidConfig, match=word):
        run(reference, reference, tmp_path / "out", **options)


def test_inputs_that_do_not_go_together(tmp_path: Path, reference: Path) -> None:
    with pytest.raises(NoInput, match="absent"):
        run(tmp_path / "absent.nii.gz", reference, tmp_path / "out")
    with pytest.raises(InvalidDataset, match="two files or two folders"):
        run(tmp_path, reference, tmp_path / "out")


def test_neither_torch_nor_ants_is_loaded(tmp_path: Path, reference: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from coactseg_cli.config import EvaluateConfig; from coactseg_cli.evaluate import evaluate; "
        "p, o = map(Path, sys.argv[1:]); evaluate(EvaluateConfig(predicted=p, reference=p, out_dir=o), print); "
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'ants', 'SimpleITK', 'json'}))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(reference), str(tmp_path / "out")], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['json']"  # json shows that the probe can find a module


@vectors.needs_vectors
@pytest.mark.parametrize("name", ["random_aniso", "random_coactseg_spacing", "tiny", "full_pred"])
def test_files_give_the_peers_numbers(tmp_path: Path, name: str) -> None:
    stored = vectors.case(name)
    predicted = write(tmp_path / "predicted.nii.gz", stored.predicted, stored.affine)
    run(predicted, write(tmp_path / "reference.nii.gz", stored.reference, stored.affine), tmp_path / "out")
    row, answer = read_table(tmp_path / "out" / "per_case.tsv")[0], vectors.peer("medpy", name)
    for column, key in (
        ("dice", "dc"),
        ("hd_mm", "hd_mm"),
        ("hd95_pooled_mm", "hd95_mm"),
        ("assd_mm", "assd_mm"),
        ("asd_pred_to_ref_mm", "asd_mm"),
    ):
        assert float(row[column]) == pytest.approx(answer[key], abs=1e-9), column
