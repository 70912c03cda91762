"""The distribution of MSSEG-2 becomes BIDS: geometry, labels and experts kept, every fault named."""

from __future__ import annotations

import gzip
import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from bids_app.cases import LabelKind
from bids_app.dataset import read_timelines
from bids_app.derivatives import unresolved_sources
from bids_app.tables import read_table
from coactseg_cli.convert.__main__ import main
from tests.coactseg_cli.convert.conftest import AFFINE, NEW, SHAPE, head, mask_of, write, write_patient

FOLLOW_UP = "sub-013/ses-02/anat/sub-013_ses-02"
LABEL = f"{FOLLOW_UP}_space-orig_label-L_desc-new_mask"


def _convert(src, out, *more):
    return main(["msseg2", str(src), str(out), *more])


def test_scans_keep_their_bytes_and_labels_their_place(msseg2, tmp_path):
    out = tmp_path / "bids"
    assert _convert(msseg2, out) == 0
    for session in ("01", "02"):
        scan = out / f"sub-013/ses-{session}/anat/sub-013_ses-{session}_FLAIR.nii.gz"
        assert scan.read_bytes() == (msseg2 / f"training/013/flair_time{session}_on_middle_space.nii.gz").read_bytes()
    label = nib.load(out / "derivatives/labels" / f"{LABEL}.nii.gz")
    assert np.array_equal(np.asarray(label.dataobj), mask_of(NEW))
    assert np.allclose(label.affine, AFFINE)
    assert label.get_data_dtype() == np.uint8


@pytest.mark.parametrize(("dataset", "voxels"), [("labels", 18), ("labels-expert1", 18), ("labels-expert2", 12), ("labels-expert4", 0)])
def test_every_expert_has_a_data_set_that_prep_can_take(msseg2, tmp_path, dataset, voxels):
    out = tmp_path / "bids"
    _convert(msseg2, out)
    index = read_timelines(out, derivatives={"labels": out / "derivatives" / dataset})
    assert index.failures == ()
    assert [t.subject for t in index.timelines] == ["002", "013", "015"]
    for timeline in index.timelines:
        assert [v.session for v in timeline.visits] == ["01", "02"]
        (label,) = timeline.labels
        assert (label.kind, label.session, label.space) == (LabelKind.NEW, "02", None)
        assert int(np.asarray(nib.load(label.path).dataobj).sum()) == voxels


def test_the_sidecar_says_who_drew_it_and_on_what(msseg2, tmp_path):
    out = tmp_path / "bids"
    _convert(msseg2, out)
    sidecar = json.loads((out / "derivatives/labels-expert3" / f"{LABEL}.json").read_text())
    assert "expert 3" in sidecar["Description"]
    assert sidecar["Sources"] == [f"bids:raw:sub-013/ses-0{n}/anat/sub-013_ses-0{n}_FLAIR.nii.gz" for n in (1, 2)]
    assert all(unresolved_sources(folder) == [] for folder in (out / "derivatives").iterdir())


def test_the_published_split_is_in_the_table(msseg2, tmp_path):
    out = tmp_path / "bids"
    _convert(msseg2, out)
    rows = {row["participant_id"]: row["split"] for row in read_table(out / "participants.tsv")}
    assert rows == {"sub-002": "test", "sub-013": "validation", "sub-015": "train"}


@pytest.mark.parametrize("below", ["", "training", "training/013"])
def test_src_may_be_any_folder_above_the_patients_or_a_patient(msseg2, tmp_path, below):
    assert _convert(msseg2 / below, tmp_path / "bids") == 0
    assert (tmp_path / "bids" / f"{FOLLOW_UP}_FLAIR.nii.gz").exists()


def test_nii_becomes_nii_gz_with_the_same_content(msseg2, tmp_path):
    packed = msseg2 / "training/013/flair_time02_on_middle_space.nii.gz"
    content = gzip.decompress(packed.read_bytes())
    packed.with_suffix("").write_bytes(content)
    packed.unlink()
    assert _convert(msseg2, tmp_path / "bids") == 0
    assert gzip.decompress((tmp_path / "bids" / f"{FOLLOW_UP}_FLAIR.nii.gz").read_bytes()) == content


# --- options


def test_experts_says_how_many_masks_a_patient_must_have(msseg2, tmp_path, capsys):
    for path in msseg2.glob("*/*/ground_truth_expert[34].nii.gz"):
        path.unlink()
    assert _convert(msseg2, tmp_path / "four") == 1
    said = capsys.readouterr().err
    assert "ground_truth_expert3.nii.gz; found: flair_time01_on_middle_space.nii.gz" in said
    assert "--experts" in said
    assert _convert(msseg2, tmp_path / "two", "--experts", "2") == 0
    assert sorted(p.name for p in (tmp_path / "two/derivatives").iterdir()) == ["labels", "labels-expert1", "labels-expert2"]


def test_patients_without_ground_truth_come_along_only_where_asked_for(msseg2, tmp_path):
    for path in (msseg2 / "testing/002").glob("ground_truth*"):
        path.unlink()
    assert _convert(msseg2, tmp_path / "strict") == 1
    assert not (tmp_path / "strict/sub-002").exists()
    assert _convert(msseg2, tmp_path / "all", "--unlabelled") == 0
    assert (tmp_path / "all/sub-002").is_dir()
    assert not list((tmp_path / "all/derivatives").glob("*/sub-002"))


def test_a_header_that_places_a_mask_elsewhere_is_refused_or_ignored_on_demand(msseg2, tmp_path, capsys):
    write(msseg2 / "training/013/ground_truth.nii.gz", mask_of(NEW), np.diag([3.0, 3.0, 3.0, 1.0]))
    assert _convert(msseg2, tmp_path / "strict") == 1
    assert "--ignore-label-geometry" in capsys.readouterr().err
    assert _convert(msseg2, tmp_path / "lax", "--ignore-label-geometry") == 0
    label = nib.load(tmp_path / "lax/derivatives/labels" / f"{LABEL}.nii.gz")
    assert np.allclose(label.affine, AFFINE)
    assert np.array_equal(np.asarray(label.dataobj), mask_of(NEW))


def test_raw_scans_are_taken_where_asked_for_and_need_labels_on_the_follow_up(msseg2, tmp_path, capsys):
    folder = msseg2 / "training/013"
    elsewhere = AFFINE.copy()
    elsewhere[0, 3] += 5
    write(folder / "flair_time01.nii.gz", head(9), elsewhere)
    write(folder / "flair_time02.nii.gz", head(9, bright=NEW))
    assert _convert(folder, tmp_path / "raw", "--scans", "raw") == 0
    scan = tmp_path / "raw/sub-013/ses-01/anat/sub-013_ses-01_FLAIR.nii.gz"
    assert scan.read_bytes() == (folder / "flair_time01.nii.gz").read_bytes()
    write(folder / "flair_time02.nii.gz", head(9, bright=NEW), elsewhere)
    assert _convert(folder, tmp_path / "none", "--scans", "raw") == 1
    assert "places it elsewhere" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["flair_time01_on_middle_space_bet_mask", "brain_mask"])
def test_a_brain_mask_that_lies_beside_the_scan_goes_along(msseg2, tmp_path, name):
    write(msseg2 / f"training/013/{name}.nii.gz", (head(0) > 0).astype(np.uint8))
    out = tmp_path / "bids"
    assert _convert(msseg2, out) == 0
    index = read_timelines(out, participant_labels=["013"], derivatives={"masks": out / "derivatives/masks"})
    masked = [mask.session for mask in index.timelines[0].brain_masks]
    assert masked == (["01", "02"] if name == "brain_mask" else ["01"])


# --- what is wrong is named, and stops no other patient


def _truncate(folder):
    path = folder / "flair_time01_on_middle_space.nii.gz"
    path.write_bytes(path.read_bytes()[:3000])


def _two_values(folder):
    write(folder / "ground_truth_expert2.nii.gz", mask_of(NEW) * 2)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: (f / "flair_time02_on_middle_space.nii.gz").unlink(), "flair_time02_on_middle_space.nii.gz; found:"),
        (lambda f: (f / "ground_truth.nii.gz").unlink(), "Wanted: ground_truth.nii.gz"),
        (lambda f: write(f / "ground_truth_expert2.nii.gz", np.zeros((18, 22, 19), np.uint8)), "(18, 22, 20) voxels"),
        (lambda f: write(f / "flair_time01_on_middle_space.nii.gz", head(0, (18, 21, 20))), "different grids"),
        (lambda f: shutil.copy(f / "ground_truth.nii.gz", f / "ground_truth.nii"), "Leave one"),
        (_two_values, "18 voxels hold others, for instance 2"),
        (_truncate, "truncated"),
    ],
    ids=["no scan", "no consensus", "shape", "visits", "twice", "values", "truncated"],
)
def test_a_bad_patient_is_named_and_the_others_are_done(msseg2, tmp_path, capsys, damage, says):
    damage(msseg2 / "training/013")
    out = tmp_path / "bids"
    assert _convert(msseg2, out) == 1
    said = capsys.readouterr()
    assert says in said.err
    assert str(msseg2 / "training/013") in said.err
    assert "2 participant(s)" in said.out
    assert sorted(p.name for p in out.glob("sub-*")) == ["sub-002", "sub-015"]
    assert not list(out.rglob("*013*"))
    assert not list(out.rglob(".tmp-*"))


def test_an_empty_patient_folder_is_a_failure_not_an_oversight(msseg2, tmp_path, capsys):
    (msseg2 / "training/016").mkdir()
    assert _convert(msseg2, tmp_path / "bids") == 1
    assert "found: nothing" in capsys.readouterr().err


def test_a_patient_that_is_there_twice_is_refused(msseg2, tmp_path, capsys):
    write_patient(msseg2 / "testing/013", seed=5)
    assert _convert(msseg2, tmp_path / "bids") == 1
    assert "label 013" in capsys.readouterr().err


def test_a_name_that_bids_cannot_hold_is_refused(msseg2, tmp_path, capsys):
    (msseg2 / "training/015").rename(msseg2 / "training/patient_15")
    assert _convert(msseg2, tmp_path / "bids") == 1
    assert "'patient_15' cannot be a participant's label" in capsys.readouterr().err


def test_where_all_fail_nothing_is_left(msseg2, tmp_path):
    for path in msseg2.rglob("ground_truth.nii.gz"):
        path.unlink()
    assert _convert(msseg2, tmp_path / "bids") == 1
    assert list((tmp_path / "bids").iterdir()) == []


def test_another_layout_says_what_was_wanted_and_found(tmp_path, capsys):
    (tmp_path / "src/sub-01/anat").mkdir(parents=True)
    assert _convert(tmp_path / "src", tmp_path / "bids") == 16
    said = capsys.readouterr().err
    assert "training/013" in said
    assert "found: sub-01" in said
    assert _convert(tmp_path / "absent", tmp_path / "bids") == 66


def test_a_folder_that_holds_something_is_left_alone(msseg2, tmp_path, capsys):
    out = tmp_path / "bids"
    out.mkdir()
    (out / "precious.txt").write_text("mine")
    assert _convert(msseg2, out) == 73
    assert "precious.txt" in capsys.readouterr().err
    assert [p.name for p in out.iterdir()] == ["precious.txt"]


def test_a_disk_that_is_full_leaves_nothing(msseg2, tmp_path, monkeypatch):
    def full(_src, dst):
        dst.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("coactseg_cli.convert.dataset.shutil.copyfile", full)
    assert _convert(msseg2, tmp_path / "bids") == 74
    assert list((tmp_path / "bids").iterdir()) == []


def test_an_interrupted_run_leaves_nothing(msseg2, tmp_path, monkeypatch, capsys):
    def interrupted(_src, dst):
        dst.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("coactseg_cli.convert.dataset.shutil.copyfile", interrupted)
    assert _convert(msseg2, tmp_path / "bids") == 130
    assert list((tmp_path / "bids").iterdir()) == []
    assert "holds no data set" in capsys.readouterr().err


def test_the_grid_of_the_fixture_is_oblique():
    assert head(0).shape == SHAPE
    assert nib.aff2axcodes(AFFINE) == ("L", "A", "S")
