"""Reading an output again as a user does: --from-probabilities, --from-masks, --self-check, three visits, on the command line."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from bids_app.derivatives import unresolved_sources
from bids_app.tables import read_table
from coactseg_cli import completion, reading
from coactseg_cli.__main__ import main
from coactseg_cli.volumes import load, save
from examples.cohort import COHORT
from examples.make_dataset import write_dataset
from tests.test_end_to_end import validate, write_tiny_model

FLAGS = ["--threshold-all", "0.745", "--threshold-new", "0.47", "--n4"]
AGAIN = ["--from-probabilities", *FLAGS[:4]]


@pytest.fixture(scope="module", autouse=True)
def no_page():
    """Pages take longer than all the rest; test_end_to_end.py has them."""

    def page(prepared, tree, pairs, research_line):
        path = tree.root / f"sub-{prepared.subject}.html"
        path.write_text(f"{len(pairs)} pairs. {research_line}")
        return path

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "write_report", page)
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A random network of two filters for 4 mm voxels."""
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.safetensors", 4.0)


@pytest.fixture(scope="module")
def bids(tmp_path_factory) -> Path:
    """sub-01 with three visits, sub-03 with one that has no session label: a mixed cohort."""
    root = tmp_path_factory.mktemp("mixed") / "bids"
    person = COHORT[0]
    third = dataclasses.replace(person.visits[0], session="03", acq_time="2021-04-01T09:00:00", rotation_deg=(1, 2, 3))
    lesions = tuple(dataclasses.replace(lesion, scale=(*lesion.scale, lesion.scale[0])) for lesion in person.lesions)
    write_dataset(root, 4.0, (dataclasses.replace(person, visits=(*person.visits, third), lesions=lesions), COHORT[2]))
    return root


@pytest.fixture(scope="module")
def segmented(bids, model, tmp_path_factory) -> Path:
    """The cohort's output (read only)."""
    out = tmp_path_factory.mktemp("segmented") / "out"
    words = ["-d", f"labels={bids / 'derivatives' / 'labels'}", "--model", str(model), *FLAGS, "--pairs", "all"]
    assert main([str(bids), str(out), "participant", *words]) == 0
    return out


@pytest.fixture
def out(segmented, tmp_path) -> Path:
    """The same, to be changed."""
    shutil.copytree(segmented, tmp_path / "out")
    return tmp_path / "out"


def content(out: Path) -> dict[str, bytes]:
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file() and "logs" not in p.parts}


def test_three_visits_and_one_pass_the_validator(segmented):
    assert validate(segmented) == []
    assert unresolved_sources(segmented) == []
    rows = read_table(segmented / "sub-01/sub-01_sessions.tsv")
    assert [r["days"] for r in rows] == ["0", "387.2326389", "750.9548611"]
    assert [r["baseline_session_id"] for r in rows] == ["n/a", "ses-01", "ses-02"]
    assert (segmented / "sub-01/ses-03/anat/sub-01_ses-03_space-orig_desc-resolvedFrom01_dseg.tsv").is_file()
    assert (segmented / "sub-03/sub-03_desc-lesions_timeline.tsv").is_file()


def test_a_self_check_is_made_once_and_validates(out, bids, model, capsys):
    table = out / "sub-03/sub-03_desc-selfcheck_table.tsv"
    words = [str(bids), str(out), "participant", "-d", f"labels={bids / 'derivatives' / 'labels'}", "--model", str(model), *FLAGS]
    words += ["--pairs", "all", "--participant-label", "03"]
    assert main([*words, "--self-check"]) == 0
    assert {r["check"] for r in read_table(table)} >= {"null_pair", "rescan", "all_sensitivity"}
    assert validate(out) == []
    capsys.readouterr()
    for again in ([], ["--self-check"]):
        assert main([*words, *again]) == 0
        assert "complete before" in capsys.readouterr().out
    assert main([*words, "--force"]) == 0
    assert not table.exists(), "it was about maps that are made again"


def test_the_same_settings_give_the_same_files(out, bids, capsys):
    before = content(out)
    record = completion.read(out, "01")
    assert main([str(bids), str(out), "participant", *AGAIN]) == 0
    assert {k for k, v in content(out).items() if before.get(k) != v} == set()
    assert set(content(out)) == set(before)
    again = completion.read(out, "01")
    assert dataclasses.replace(again, run=record.run, finished=record.finished) == record
    assert "2 done" in capsys.readouterr().out


def test_new_thresholds_are_recorded_and_what_they_do_not_reach_is_refused(out, bids, model, capsys):
    words = ["--from-probabilities", "--threshold-all", "0.76", "--threshold-new", "0.475", "--min-lesion-mm3", "80"]
    assert main([str(bids), str(out), "participant", *words, "--participant-label", "01"]) == 2
    assert "sub-03" in capsys.readouterr().err  # one output, one way: the other participant would keep the old thresholds
    assert main([str(bids), str(out), "participant", *words]) == 0
    facts = json.loads((out / "sub-01/ses-02/anat/sub-01_ses-02_space-orig_desc-new_dseg.json").read_text())
    assert (facts["Threshold"], facts["MinLesionVolume"]) == (0.475, 80.0)
    labels = ["-d", f"labels={bids / 'derivatives' / 'labels'}"]
    run = [str(bids), str(out), "participant", *labels, "--model", str(model), "--pairs", "all", "--n4"]
    capsys.readouterr()
    assert main([*run, *FLAGS[:4], "--participant-label", "01"]) == 2
    assert main([*run, *words[1:]]) == 0  # the thresholds that OUT has now: everything is complete
    assert "2 complete before" in capsys.readouterr().out
    for wrong in (["--inference", "windows"], ["--pairs", "first"], ["--self-check"], ["--model", str(model)], ["--reports-only"]):
        assert main([str(bids), str(out), "participant", *words, *wrong]) == 2, wrong


def test_without_probabilities_the_way_out_is_named(out, bids, capsys):
    for path in out.rglob("sub-01*probseg.nii.gz"):
        path.unlink()
    assert main([str(bids), str(out), "participant", *AGAIN]) == 1
    said = capsys.readouterr().out
    assert "sub-01: FAILED" in said
    assert "--output-probabilities" in said
    assert completion.read_complete(out, "01") is None
    assert completion.read_complete(out, "03") is not None


def test_corrected_masks_stay_until_the_user_says_otherwise(out, bids, model, tmp_path, capsys):
    name = "sub-01/ses-02/anat/sub-01_ses-02_space-orig_label-L_desc-all_mask.nii.gz"
    mask = load(out / name)
    save(mask.like(mask.data * (np.indices(mask.shape)[0] < mask.shape[0] // 2)), tmp_path / "mine" / name, np.uint8)
    given = (tmp_path / "mine" / name).read_bytes()
    words = [str(bids), str(out), "participant"]
    assert main([*words, "--from-masks", str(tmp_path / "mine"), "--participant-label", "01"]) == 0
    corrected = content(out)
    assert (tmp_path / "mine" / name).read_bytes() == given
    assert np.array_equal(load(out / name).data, load(tmp_path / "mine" / name).data)
    assert validate(out) == []
    assert unresolved_sources(out) == []
    run = [*words, "-d", f"labels={bids / 'derivatives' / 'labels'}", "--model", str(model), "--pairs", "all", *FLAGS]
    assert main(run) == 0  # complete: nothing is computed
    assert content(out) == corrected
    capsys.readouterr()
    assert main([*words, *AGAIN]) == 1
    assert "corrected by hand" in capsys.readouterr().out
    assert content(out) == corrected
    (out / "sub-01/sub-01_sessions.json").unlink()  # no longer complete
    assert main(run) == 1
    assert np.array_equal(load(out / name).data, load(tmp_path / "mine" / name).data)
    assert main([*words, *AGAIN, "--force"]) == 0
    assert not np.array_equal(load(out / name).data, load(tmp_path / "mine" / name).data)


def test_masks_inside_the_output_are_refused(out, bids, capsys):
    assert main([str(bids), str(out), "participant", "--from-masks", str(out)]) == 2
    assert "folder of their own" in capsys.readouterr().err
    assert main([str(bids), str(out), "participant", "--from-masks", str(out / "nowhere")]) == 66
