"""The whole road as a user walks it: raw BIDS in, a valid derivative out; a broken participant stops no other."""

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

from bids_app.derivatives import unresolved_sources
from bids_app.tables import read_table
from coactseg_cli.__main__ import main

RESEARCH = "Research use only; model trained on 1 pair and 2 single scans."


@pytest.fixture(scope="session")
def tiny_model_path(tmp_path_factory) -> Path:
    """A random network of two filters for 3 mm voxels."""
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.safetensors", 3.0)


@pytest.fixture(scope="session")
def road(tiny_bids, tiny_labels, tiny_model_path, tmp_path_factory) -> Path:
    """The output of `coactseg BIDS OUT participant` and of the group level on the tiny cohort."""
    out = tmp_path_factory.mktemp("road") / "out"
    flags = ["-d", f"labels={tiny_labels}", "--model", str(tiny_model_path), "--threshold-all", "0.4", "--threshold-new", "0.4"]
    assert main([str(tiny_bids), str(out), "participant", *flags]) == 0
    assert main([str(tiny_bids), str(out), "group"]) == 0
    return out


def write_tiny_model(path: Path, voxel_mm: float) -> Path:
    """Write a random network of two filters for isotropic voxels. Returns: the file."""
    import torch

    from coactseg_cli.network.checkpoint import CheckpointInfo, save_model
    from coactseg_cli.network.model import VNet

    torch.manual_seed(0)
    save_model(VNet(2), CheckpointInfo(name="tiny", spacing_mm=(voxel_mm,) * 3, n_pairs=1, n_singles=2), path, half=False)
    return path


def validate(out: Path) -> list[dict[str, object]]:
    """Errors and warnings of the BIDS validator; the test is skipped where it is not installed."""
    validator = shutil.which("bids-validator-deno") or shutil.which("bids-validator-deno", path=str(Path(sys.executable).parent))
    if validator is None:
        pytest.skip("bids-validator-deno is not installed")
    import bidsschematools

    schema = Path(bidsschematools.__file__).parent / "data" / "schema.json"
    run = subprocess.run(
        [validator, str(out), "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "BIDS_SCHEMA": schema.as_uri()},
        check=False,
    )
    issues = json.loads(run.stdout)["issues"]["issues"]
    return [i for i in issues if i.get("severity") in {"error", "warning"}]


def test_output_passes_the_validator(road):
    assert validate(road) == []


def test_every_source_is_there_and_metadata_are_each_files_own(road):
    from bids import BIDSLayout

    assert unresolved_sources(road) == []
    layout = BIDSLayout(road, validate=False, is_derivative=True)
    for image in layout.get(extension=".nii.gz"):
        own = json.loads(Path(image.path.replace(".nii.gz", ".json")).read_text())
        assert image.get_metadata() == own, image.path


def test_every_participant_has_its_products(road):
    assert sorted(p.name for p in road.glob("sub-*.html")) == ["sub-01.html", "sub-02.html", "sub-03.html"]
    masks = {p.name for p in road.rglob("*_mask.nii.gz")}
    assert "sub-01_ses-02_space-orig_label-L_desc-new_mask.nii.gz" in masks
    assert "sub-02_ses-01_space-orig_label-L_desc-all_mask.nii.gz" in masks
    assert "sub-03_space-orig_label-L_desc-all_mask.nii.gz" in masks
    rows = read_table(road / "group_lesions.tsv")
    assert {r["participant_id"] for r in rows} == {"sub-01", "sub-02", "sub-03"}


def test_acquisition_times_travel_from_the_raw_data(road):
    rows = read_table(road / "sub-01" / "sub-01_sessions.tsv")
    assert [r["acq_time"] for r in rows] == ["2019-03-12T10:05:00", "2020-04-02T15:40:00"]


def test_research_use_is_said_everywhere(road):
    for path in [*road.glob("*.html"), road / "README.md"]:
        assert RESEARCH in path.read_text(), path


def test_a_second_run_changes_nothing(road, tiny_bids, tiny_labels, tiny_model_path, capsys):
    before = {p: p.stat().st_mtime_ns for p in road.rglob("*") if p.is_file() and "logs" not in p.parts}
    flags = ["-d", f"labels={tiny_labels}", "--model", str(tiny_model_path), "--threshold-all", "0.4", "--threshold-new", "0.4"]
    assert main([str(tiny_bids), str(road), "participant", *flags]) == 0
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert main([str(tiny_bids), str(road), "participant", *flags, "--threshold-new", "0.6", "--participant-label", "01"]) == 2
    assert "threshold" in capsys.readouterr().err


def test_a_dry_run_says_that_everybody_is_complete(road, tiny_bids, tiny_labels, tiny_model_path, capsys):
    flags = ["-d", f"labels={tiny_labels}", "--model", str(tiny_model_path), "--threshold-all", "0.4", "--threshold-new", "0.4"]
    assert main([str(tiny_bids), str(road), "participant", *flags, "--dry-run", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [(entry["participant"], entry["state"]) for entry in said["participants"]] == [(f"sub-0{i}", "complete") for i in (1, 2, 3)]
    assert said["participants"][0]["pairs"] == [{"baseline": "ses-01", "followup": "ses-02"}]
    again = [*flags[2:], "-d", f"prep={road}", "--dry-run", "--json"]
    assert main([str(tiny_bids), str(road.parent / "other"), "participant", *again]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["dataset"], said["counts"]["to_do"]) == (str(road), 3)
    assert (road / said["participants"][0]["visits"][1]["path"]).is_file()
    for words in (["--from-probabilities"], ["--reports-only"]):
        assert main([str(tiny_bids), str(road), "participant", *words, "--dry-run", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["counts"]["to_do"] == 3


def test_reading_the_output_again_gives_the_same_files(road, tiny_bids, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(road, out)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file() and "logs" not in p.parts}
    words = ["--from-probabilities", "--threshold-all", "0.4", "--threshold-new", "0.4", "--participant-label", "01"]
    assert main([str(tiny_bids), str(out), "participant", *words]) == 0
    assert {p for p in before if p.read_bytes() != before[p]} == set()


def flair(root: Path, subject: str, name: str = "") -> Path:
    folder = root / f"sub-{subject}" / "anat"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"sub-{subject}{name}_FLAIR.nii.gz"


@pytest.fixture
def bad_tree(tiny_bids, tiny_labels, tmp_path) -> Path:
    """One good participant and five that cannot be done, each for a reason of its own."""
    root = tmp_path / "bids"
    root.mkdir()
    shutil.copy(tiny_bids / "dataset_description.json", root)
    shutil.copytree(tiny_bids / "sub-03", root / "sub-good")
    for path in (root / "sub-good").rglob("sub-03*"):
        path.rename(path.with_name(path.name.replace("sub-03", "sub-good")))
    whole = next((root / "sub-good").rglob("*_FLAIR.nii.gz"))
    content = whole.read_bytes()
    flair(root, "truncated").write_bytes(content[: len(content) // 2])
    nib.save(nib.Nifti1Image(np.zeros((9, 9, 9, 5), np.float32), np.eye(4)), flair(root, "series"))
    image = nib.load(whole)
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    nib.save(image, flair(root, "nowhere"))
    t1w = flair(root, "t1only")
    shutil.copy(whole, t1w.with_name("sub-t1only_T1w.nii.gz"))
    for run in ("_run-1", "_run-2"):
        shutil.copy(whole, flair(root, "tworuns", run))
    return root


def test_a_broken_participant_stops_no_other(bad_tree, tiny_model_path, tmp_path, capsys):
    out = tmp_path / "out"
    assert main([str(bad_tree), str(out), "participant", "--model", str(tiny_model_path)]) == 1
    said = capsys.readouterr()
    text = said.out + said.err
    for subject, reason in {
        "truncated": "truncated",
        "series": "3D",
        "nowhere": "neither sform nor qform",
        "t1only": "T1w",
        "tworuns": "run-2",
    }.items():
        assert f"sub-{subject}" in text
        assert reason in text
        assert not list(out.glob(f"sub-{subject}/**/*.nii.gz"))
    assert list(out.glob("sub-good/anat/*_desc-all_mask.nii.gz"))
    assert not list(out.rglob(".tmp-*"))
    assert "Traceback (most recent call" not in text


def test_hd_bet_without_weights_says_so_before_any_work(tiny_bids, tmp_path, capsys):
    empty = tmp_path / "weights"
    empty.mkdir()
    flags = ["--skull-strip", "hd-bet", "--hd-bet-weights", str(empty)]
    assert main([str(tiny_bids), str(tmp_path / "out"), "participant", *flags]) == 66
    assert "--skull-strip builtin" in capsys.readouterr().err
    assert not list(tmp_path.glob("out/**/*.nii.gz"))
