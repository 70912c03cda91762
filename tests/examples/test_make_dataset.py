"""The example data set is BIDS, says the truth, and is not written over something else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from examples.cohort import COHORT
from examples.make_dataset import main, write_dataset

VALIDATOR = shutil.which("bids-validator-deno", path=str(Path(sys.executable).parent)) or shutil.which("bids-validator-deno")


def test_names_sessions_and_sides(tiny_bids):
    scans = sorted(str(p.relative_to(tiny_bids)) for p in tiny_bids.glob("sub-*/**/*_FLAIR.nii.gz"))
    assert scans == [
        "sub-01/ses-01/anat/sub-01_ses-01_FLAIR.nii.gz",
        "sub-01/ses-02/anat/sub-01_ses-02_FLAIR.nii.gz",
        "sub-02/ses-01/anat/sub-02_ses-01_FLAIR.nii.gz",
        "sub-03/anat/sub-03_FLAIR.nii.gz",
    ]
    assert [nib.aff2axcodes(nib.load(tiny_bids / s).affine) for s in scans] == [tuple(c) for c in ("LAS", "RAS", "PSR", "LPS")]


def test_sform_and_qform_agree(tiny_bids):
    for path in tiny_bids.glob("**/*.nii.gz"):
        header = nib.load(path).header
        assert header["sform_code"] == header["qform_code"] == 1
        assert np.allclose(header.get_sform(), header.get_qform(), atol=1e-3)


def test_masks_share_the_grid_of_their_scan_and_new_lies_in_all(tiny_bids, tiny_labels):
    stem = "sub-01/ses-02/anat/sub-01_ses-02"
    flair = nib.load(tiny_bids / f"{stem}_FLAIR.nii.gz")
    brain, every, new = (
        nib.load(tiny_labels / f"{stem}_space-orig_{n}_mask.nii.gz") for n in ("desc-brain", "label-L_desc-all", "label-L_desc-new")
    )
    for mask in (brain, every, new):
        assert mask.shape == flair.shape
        assert np.allclose(mask.affine, flair.affine)
    assert 0 < new.dataobj[:].sum() < every.dataobj[:].sum()
    assert not (new.dataobj[:] & ~every.dataobj[:] & 1).any()
    assert not (every.dataobj[:] & ~brain.dataobj[:] & 1).any()


def test_a_first_visit_has_no_new_lesions_mask(tiny_labels):
    assert [p.name for p in tiny_labels.glob("**/*desc-new_mask.nii.gz")] == ["sub-01_ses-02_space-orig_label-L_desc-new_mask.nii.gz"]


def test_writing_twice_gives_the_same_bytes(tmp_path):
    write_dataset(tmp_path, 10, COHORT[2:])
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    write_dataset(tmp_path, 10, COHORT[2:])
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_folder_with_something_else_is_left_alone(tmp_path, capsys):
    (tmp_path / "precious.txt").write_text("mine")
    assert main([str(tmp_path)]) == 73
    assert "not empty" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["precious.txt"]


def test_it_runs_as_a_script_and_says_what_was_planted(project_root, tmp_path):
    command = [sys.executable, "examples/make_dataset.py", str(tmp_path / "out"), "--coarseness", "10"]
    done = subprocess.run(command, cwd=project_root, capture_output=True, text=True, check=True)
    assert "3 stable, 3 new, 1 gone, 1 grown, 1 shrunk" in done.stdout
    assert str(tmp_path / "out") in done.stdout


@pytest.mark.skipif(VALIDATOR is None, reason="bids-validator-deno is not installed")
@pytest.mark.parametrize("folder", [".", "derivatives/labels"])
def test_the_validator_has_nothing_to_say(tiny_bids, folder):
    env = {k: v for k, v in os.environ.items() if k != "BIDS_SCHEMA"}
    done = subprocess.run(
        [str(VALIDATOR), "--format", "json", str(tiny_bids / folder)], capture_output=True, text=True, check=False, env=env
    )
    issues = json.loads(done.stdout)["issues"]["issues"]
    assert done.returncode == 0
    assert issues == []
