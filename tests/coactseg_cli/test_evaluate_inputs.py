"""What `evaluate` compares: several methods and raters, other tools' names, tables of pairs, maps, scans, sites, missing cases."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_app.errors import CannotCreate, InvalidDataset, NoInput, NothingMatched
from bids_app.tables import read_table
from coactseg_cli.config import EvaluateConfig, Missing
from coactseg_cli.errors import InvalidConfig
from coactseg_cli.evaluate import evaluate
from coactseg_cli.metrics.results import EvaluateResult

AFFINE = np.diag([0.5, 1.0, 3.0, 1.0])
SHAPE = (10, 20, 30)
VISIT = "{0}/ses-02/anat/{0}_ses-02"


def lesions(*places: tuple[int, int]) -> np.ndarray:
    """Lesions of 5 voxels, 7.5 mm3, at (i, j)."""
    data = np.zeros(SHAPE, np.uint8)
    for i, j in places:
        data[i, j, 0:5] = 1
    return data


A, B, C = (1, 1), (8, 8), (5, 15)
TRUTH = {"sub-01": lesions(A, B), "sub-02": lesions(A), "sub-03": lesions()}


def save(path: Path, data: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, AFFINE), path)
    return path


def tree(root: Path, masks: dict[str, np.ndarray], name: str = VISIT + "_label-L_desc-new_mask.nii.gz") -> Path:
    for subject, mask in masks.items():
        save(root / name.format(subject), mask)
    return root


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    return tree(tmp_path / "truth", TRUTH)


def run(predicted: Path | None, reference: Path | None, out: Path, **options: object) -> EvaluateResult:
    chosen = {"report": False, **options}
    return evaluate(EvaluateConfig(predicted=predicted, reference=reference, out_dir=out, **chosen), lambda _: None)  # type: ignore[arg-type]


def test_methods_share_tables_and_are_compared(tmp_path: Path, truth: Path) -> None:
    one, two = tree(tmp_path / "one", TRUTH), tree(tmp_path / "two", {"sub-01": lesions(A), "sub-02": lesions(C), "sub-03": lesions(C)})
    out = tmp_path / "out"
    result = run(one, truth, out, methods={"B": two})
    assert [method.name for method in result.methods] == ["one", "B"]
    rows = read_table(out / "per_case.tsv")
    assert [(row["method"], row["patient"], row["dice"]) for row in rows] == [
        ("one", "sub-01", "1"), ("one", "sub-02", "1"), ("one", "sub-03", "n/a"),
        ("B", "sub-01", f"{2 / 3:.10g}"), ("B", "sub-02", "0"), ("B", "sub-03", "n/a"),
    ]  # fmt: skip
    dice = [row for row in read_table(out / "comparison.tsv") if row["metric"] == "dice"]
    assert [(row["method_a"], row["method_b"], row["n"], row["n_zero"]) for row in dice] == [("one", "B", "2", "0")]
    assert {row["method"] for row in read_table(out / "summary.tsv")} == {"one", "B"}
    settings = json.loads((out / "settings.json").read_text())
    assert settings["Methods"] == {"one": str(one), "B": str(two)}
    assert settings["Cases"]["B"]["scored"] == 3


def test_a_dash_leaves_the_named_methods_and_a_place_named_twice_counts_once(tmp_path: Path, truth: Path) -> None:
    one = tree(tmp_path / "one", TRUTH)
    assert [m.name for m in run(None, truth, tmp_path / "a", methods={"x": one, "y": truth}).methods] == ["x", "y"]
    assert [m.name for m in run(one, truth, tmp_path / "b", methods={"x": one, "y": truth}).methods] == ["x", "y"]
    with pytest.raises(InvalidConfig, match="--method one"):
        run(one, truth, tmp_path / "c", methods={"one": truth})
    with pytest.raises(InvalidConfig, match="nothing to evaluate"):
        run(None, truth, tmp_path / "d")


def test_each_method_has_its_own_template(tmp_path: Path, truth: Path) -> None:
    nnunet = tree(tmp_path / "nnunet", TRUTH, "{0}_ses-02.nii.gz")
    lst = tree(tmp_path / "lst", TRUTH, "{0}/ses-02/ples.nii")
    patterns = {"lst": "{subject}/{session}/ples.nii", "": "{case}.nii.gz"}
    result = run(nnunet, truth, tmp_path / "out", methods={"lst": lst}, predicted_pattern=patterns)
    assert [len(method.scores) for method in result.methods] == [3, 3]
    assert json.loads((tmp_path / "out" / "settings.json").read_text())["Options"]["predicted_pattern"] == patterns
    with pytest.raises(InvalidConfig, match="no such method"):
        run(nnunet, truth, tmp_path / "x", methods={"lst": lst}, predicted_pattern={"samseg": "x"})


def test_reference_templates_and_filters(tmp_path: Path, truth: Path) -> None:
    manual = tree(tmp_path / "manual", TRUTH, "{0}/manual.nii")
    assert len(run(truth, manual, tmp_path / "a", reference_pattern="{subject}/manual.nii").scores) == 3
    other = tree(tmp_path / "other", TRUTH, VISIT + "_desc-manual_mask.nii.gz")
    tree(other, {"sub-01": lesions(C)}, VISIT + "_desc-draft_mask.nii.gz")
    result = run(other, other, tmp_path / "b", predicted_filter={"desc": "manual"}, reference_filter={"desc": "draft"})
    assert [(row.case, row.dice) for row in result.scores] == [("sub-01_ses-02", 0)]
    assert len(result.surplus) == 2


def test_a_table_of_pairs(tmp_path: Path) -> None:
    save(tmp_path / "p" / "x.nii", lesions(A))
    save(tmp_path / "r" / "y.nii", lesions(A, B))
    lines = [
        "predicted\treference\tsubject\tsession\tsite\tkind",
        "p/x.nii\tr/y.nii\t01\t02\tRennes\tall",
        "n/a\tr/y.nii\t02\tn/a\tLyon\tall",
    ]
    (tmp_path / "pairs.tsv").write_text("\n".join(lines) + "\n")
    result = run(tmp_path / "pairs.tsv", None, tmp_path / "out")
    assert [(case.case, case.patient, case.site) for case in result.methods[0].cases] == [("sub-01_ses-02", "sub-01", "Rennes")]
    assert [row.case for row in result.missing] == ["sub-02"]
    assert {row["site"] for row in read_table(tmp_path / "out" / "by_site.tsv")} == {"Rennes"}
    with pytest.raises(InvalidConfig, match="give '-' as REFERENCE"):
        run(tmp_path / "pairs.tsv", tmp_path / "r", tmp_path / "out")
    with pytest.raises(InvalidConfig, match="needs a table of pairs"):
        run(tmp_path / "p", None, tmp_path / "out")


def test_methods_of_a_table(tmp_path: Path) -> None:
    for name in "xy":
        save(tmp_path / f"{name}.nii", lesions(A))
    (tmp_path / "pairs.tsv").write_text("method\tpredicted\treference\tcase\na\tx.nii\ty.nii\tc\nb\ty.nii\tx.nii\tc\n")
    assert [m.name for m in run(tmp_path / "pairs.tsv", None, tmp_path / "out").methods] == ["a", "b"]


def test_raters_meet_the_reference_each_other_and_the_method(tmp_path: Path, truth: Path) -> None:
    r1, r2 = tree(tmp_path / "r1", TRUTH), tree(tmp_path / "r2", {"sub-01": lesions(A), "sub-02": lesions(A)})
    out = tmp_path / "out"
    result = run(truth, truth, out, raters={"r1": r1, "r2": r2})
    dice = {(row["rater"], row["against"]): row["mean"] for row in read_table(out / "raters.tsv") if row["metric"] == "dice"}
    half = f"{(1 + 2 / 3) / 2:.10g}"
    assert dice == {
        ("r1", "reference"): "1", ("r2", "reference"): half, ("r1", "r2"): half, ("predicted", "r1"): "1", ("predicted", "r2"): half,
        ("predicted", "reference"): "1",
    }  # fmt: skip
    assert [(row["method"], row["case"], row["status"]) for row in read_table(out / "not_scored.tsv")] == [
        ("r2 against reference", "sub-03_ses-02", "missing")
    ]
    left_out = {(row["rater"], row["against"]): row["n_not_scored"] for row in read_table(out / "raters.tsv")}
    assert (left_out["r2", "reference"], left_out["r1", "reference"]) == ("1", "0")
    assert ("predicted", "mean") in {(row["rater"], row["against"]) for row in read_table(out / "isbi_raters.tsv")}
    assert result.exit_code == 0
    save(r2 / (VISIT + "_label-L_desc-new_mask.nii.gz").format("sub-01"), lesions(A)[:5])
    assert run(truth, truth, out, raters={"r2": r2}).exit_code == 1  # a rater's mask on another grid


def test_files_of_several_methods_and_raters_are_one_case(tmp_path: Path) -> None:
    files = {name: save(tmp_path / f"{name}.nii", mask) for name, mask in (("truth", lesions(A, B)), ("a", lesions(A)), ("b", lesions(B)))}
    result = run(files["a"], files["truth"], tmp_path / "out", methods={"b": files["b"]}, raters={"r1": files["a"], "r2": files["b"]})
    assert [[case.case for case in method.cases] for method in result.methods] == [["truth"], ["truth"]]
    assert next(row.n for row in result.comparison if row.metric == "dice") == 1
    dice = {(row.rater, row.against): row.mean for row in result.raters if row.metric == "dice"}
    assert (dice["r1", "r2"], dice["a", "r1"], dice["b", "r1"]) == (0, 1, 0)


def test_a_folder_that_cannot_be_made_is_told_before_the_work(tmp_path: Path, truth: Path) -> None:
    (tmp_path / "file").write_text("x")
    told: list[str] = []
    config = EvaluateConfig(predicted=truth, reference=truth, out_dir=tmp_path / "file" / "out", report=False)
    with pytest.raises(CannotCreate):
        evaluate(config, told.append)
    assert told == []


def test_raters_that_cannot_be(tmp_path: Path, truth: Path) -> None:
    with pytest.raises(NothingMatched, match="--rater r"):
        run(truth, truth, tmp_path / "out", raters={"r": tree(tmp_path / "r", {"sub-09": lesions(A)})})
    for name in ("reference", "predicted"):
        with pytest.raises(InvalidConfig, match=f"--rater {name}"):
            run(truth, truth, tmp_path / "out", raters={name: truth})


def test_a_missing_prediction_is_left_out_and_counted_or_an_empty_mask(tmp_path: Path, truth: Path) -> None:
    predicted = tree(tmp_path / "p", {"sub-01": lesions(A, B)})
    results = {missing: run(predicted, truth, tmp_path / missing, missing=missing) for missing in Missing}
    assert {missing: [row.dice for row in result.scores[:2]] for missing, result in results.items()} == {"report": [1], "empty": [1, 0]}
    rows = {missing: read_table(tmp_path / missing / "summary.tsv") for missing in Missing}
    dice = {missing: next(row for row in table if row["metric"] == "dice") for missing, table in rows.items()}
    assert {missing: (row["mean"], row["n"], row["n_not_scored"]) for missing, row in dice.items()} == {
        "report": ("1", "1", "2"),
        "empty": ("0.5", "2", "0"),
    }
    flags = [row["flags"] for row in read_table(tmp_path / "empty" / "per_case.tsv")]
    assert flags == ["n/a", "missed,empty_prediction,missing_prediction", "empty_reference,empty_prediction,missing_prediction"]
    assert [len(result.missing) for result in results.values()] == [2, 2]
    assert json.loads((tmp_path / "empty" / "settings.json").read_text())["Cases"]["missing"] == ["sub-02_ses-02", "sub-03_ses-02"]


def test_sites_come_from_participants(tmp_path: Path, truth: Path) -> None:
    (truth / "participants.tsv").write_text("participant_id\tcentre\nsub-01\tRennes\nsub-02\tLyon\n")
    result = run(truth, truth, tmp_path / "out", site_column="centre")
    assert [case.site for case in result.methods[0].cases] == ["Rennes", "Lyon", None]
    assert [row["site"] for row in read_table(tmp_path / "out" / "per_case.tsv")] == ["Rennes", "Lyon", "n/a"]
    assert {"Rennes", "Lyon"} <= {row["site"] for row in read_table(tmp_path / "out" / "by_site.tsv")}
    (tmp_path / "others.tsv").write_text("participant_id\tcentre\nsub-01\tNice\n")
    moved = run(truth, truth, tmp_path / "out", site_column="centre", participants=tmp_path / "others.tsv")
    assert moved.methods[0].cases[0].site == "Nice"
    fewer = run(tree(tmp_path / "fewer", {"sub-01": lesions(A)}), truth, tmp_path / "out", site_column="centre")
    assert [(row.site, row.n_not_scored) for row in fewer.methods[0].by_site if row.metric == "dice"] == [("Rennes", 0)]
    assert next(row.n_not_scored for row in fewer.methods[0].summary) == 2
    with pytest.raises(InvalidDataset, match="no column 'age'"):
        run(truth, truth, tmp_path / "out", site_column="age")
    with pytest.raises(NoInput, match="participants"):
        run(tree(tmp_path / "p", TRUTH), tree(tmp_path / "q", TRUTH), tmp_path / "out", site_column="age")
    with pytest.raises(InvalidConfig, match="--site-column"):
        run(truth, truth, tmp_path / "out", participants=tmp_path / "others.tsv")


PROBABILITY = lesions(A).astype(np.float32) * 0.9 + lesions(B).astype(np.float32) * 0.4 + lesions(C).astype(np.float32) * 0.6


def test_maps_beside_the_masks_give_curves(tmp_path: Path, truth: Path) -> None:
    predicted = tree(tmp_path / "p", {"sub-01": (PROBABILITY > 0.5).astype(np.uint8)})
    tree(predicted, {"sub-01": PROBABILITY}, VISIT + "_label-L_desc-new_probseg.nii.gz")
    out = tmp_path / "out"
    run(predicted, truth, out)
    f1 = {row["threshold"]: row["lesion_f1"] for row in read_table(out / "thresholds.tsv")}
    assert (f1["0.4"], f1["0.5"], f1["0.7"], f1["0.95"]) == ("0.8", "0.5", f"{2 / 3:.10g}", "0")
    points = [(r["threshold"], r["sensitivity"], r["false_per_case"]) for r in read_table(out / "froc.tsv") if r["score"] == "max"]
    assert points[:3] == [("0.400000006", "1", "1"), ("0.6000000238", "0.5", "1"), ("0.8999999762", "0.5", "0")]
    run(predicted, truth, out, curves=False)
    assert read_table(out / "thresholds.tsv") == read_table(out / "froc.tsv") == []


def test_maps_of_another_place(tmp_path: Path, truth: Path) -> None:
    predicted = tree(tmp_path / "p", {"sub-01": (PROBABILITY > 0.5).astype(np.uint8)})
    maps = tree(tmp_path / "maps", {"sub-01": PROBABILITY}, "{0}_ses-02_p.nii.gz")
    with pytest.raises(NothingMatched, match="--probability-pattern"):
        run(predicted, truth, tmp_path / "out", probabilities={"": tree(tmp_path / "none", {"x": PROBABILITY}, "{0}.nii")})
    result = run(predicted, truth, tmp_path / "out", probabilities={"": maps}, probability_pattern="{case}_p.nii.gz")
    assert len(result.methods[0].points) == 19
    assert result.methods[0].cases[0].probability == maps / "sub-01_ses-02_p.nii.gz"


def test_the_prediction_itself_may_be_a_map(tmp_path: Path, truth: Path) -> None:
    predicted = tree(tmp_path / "p", {"sub-01": PROBABILITY})
    result = run(predicted, truth, tmp_path / "out", threshold=0.5)
    assert (result.scores[0].lesions_pred, len(result.methods[0].candidates)) == (2, 3)


def test_a_map_that_does_not_belong_is_refused(tmp_path: Path, truth: Path) -> None:
    predicted = tree(tmp_path / "p", {"sub-01": lesions(A)})
    tree(predicted, {"sub-01": PROBABILITY[:9]}, VISIT + "_label-L_desc-new_probseg.nii.gz")
    failure = run(predicted, truth, tmp_path / "out").failures[0]
    assert "probseg" in failure.reason
    assert "--no-curves" in failure.reason
    tree(predicted, {"sub-01": PROBABILITY * 100}, VISIT + "_label-L_desc-new_probseg.nii.gz")
    assert "0 to 90" in run(predicted, truth, tmp_path / "out").failures[0].reason
    assert run(predicted, truth, tmp_path / "out", curves=False).exit_code == 0


def test_scans_for_pictures(tmp_path: Path, truth: Path) -> None:
    scans = tree(tmp_path / "raw", {"sub-01": PROBABILITY}, VISIT + "_FLAIR.nii.gz")
    result = run(truth, truth, tmp_path / "out", background=scans)
    assert [case.background for case in result.methods[0].cases] == [scans / (VISIT + "_FLAIR.nii.gz").format("sub-01"), None, None]


def test_the_tables_do_not_depend_on_how_many_work_at_once(tmp_path: Path, truth: Path) -> None:
    predicted = tree(tmp_path / "p", {f"sub-{n:02d}": lesions(A, C) for n in range(1, 9)})
    tree(truth, {f"sub-{n:02d}": lesions(A, *([B] if n % 2 else [])) for n in range(1, 9)})
    for nprocs in (1, 3):
        run(predicted, truth, tmp_path / str(nprocs), nprocs=nprocs)
    tables = sorted(path.name for path in (tmp_path / "1").glob("*.*"))
    assert len(tables) == 29
    for name in tables:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "3" / name).read_bytes(), name


def test_no_cell_is_run_by_a_spreadsheet(tmp_path: Path) -> None:
    for side in ("p", "r"):
        save(tmp_path / side / "=cmd.nii", lesions(A))
    run(tmp_path / "p", tmp_path / "r", tmp_path / "out")
    assert (tmp_path / "out" / "per_case.tsv").read_text().splitlines()[1].startswith("'=cmd\t")
