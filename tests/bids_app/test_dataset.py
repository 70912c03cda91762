"""Raw data sets to timelines; a bad participant is named and stops nobody else."""

import json
import os
import shutil
from pathlib import Path

import pytest

from bids_app.cases import LabelKind
from bids_app.dataset import read_timelines
from bids_app.errors import InvalidDataset, NoInput, NothingMatched
from bids_app.files import write_json, write_text

from .conftest import make_raw, put_image

SHARED = Path(__file__).parents[3] / "shared/data"


def sessions(index):
    return {timeline.subject: [visit.session for visit in timeline.visits] for timeline in index.timelines}


def failures(index):
    return {failure.subject: failure.message for failure in index.failures}


def filter_file(tmp_path, **flair):
    write_json(tmp_path / "filter.json", {"flair": flair})
    return tmp_path / "filter.json"


def test_timelines(raw):
    index = read_timelines(raw)
    assert sessions(index) == {"01": ["01", "02"], "02": [None], "03": ["02"]}
    assert index.failures == ()
    assert index.timelines[0].visits[0].path == raw / "sub-01/ses-01/anat/sub-01_ses-01_acq-3D_FLAIR.nii.gz"
    assert index.timelines[0].visits[0].entities.acquisition == "3D"


def test_participants_and_sessions(raw):
    assert sessions(read_timelines(raw, participant_labels=["sub-02", "03"])) == {"02": [None], "03": ["02"]}
    some = read_timelines(raw, participant_labels=["01", "99"])
    assert sessions(some) == {"01": ["01", "02"]}
    assert "no folder sub-99" in failures(some)["99"]
    with pytest.raises(NothingMatched, match="no participant 98, 99; there are 3: 01, 02, 03"):
        read_timelines(raw, participant_labels=["98", "99"])
    late = read_timelines(raw, session_labels=["ses-02"])
    assert sessions(late) == {"01": ["02"], "03": ["02"]}
    assert "sub-02 has no FLAIR scan in ses-02" in failures(late)["02"]
    with pytest.raises(NothingMatched, match="--session-label"):
        read_timelines(raw, session_labels=["77"])


def test_only_the_wanted_participants_are_read(raw):
    (raw / "sub-02/anat/sub-02_FLAIR.nii.gz").unlink()
    assert failures(read_timelines(raw, participant_labels=["01"])) == {}


def test_no_flair(tmp_path):
    raw = make_raw(tmp_path / "raw", ["sub-01_FLAIR.nii.gz", "sub-02_T1w.nii.gz", "sub-02_T2w.nii.gz"])
    (raw / "sub-03").mkdir()
    index = read_timelines(raw)
    assert sessions(index) == {"01": [None]}
    assert "sub-02 has no FLAIR scan; found T1w, T2w." in failures(index)["02"]
    assert "--participant-label" in failures(index)["02"]
    assert "found no image" in failures(index)["03"]
    assert index.failures[0].stage == "index"
    empty = make_raw(tmp_path / "other", [])
    (empty / "sub-01").mkdir()
    assert "found no image" in failures(read_timelines(empty))["01"]


def test_two_runs_are_ambiguous_until_one_is_chosen(tmp_path):
    names = ["sub-01_ses-01_FLAIR.nii.gz", "sub-01_ses-02_run-1_FLAIR.nii.gz", "sub-01_ses-02_run-2_FLAIR.nii.gz", "sub-02_FLAIR.nii.gz"]
    raw = make_raw(tmp_path / "raw", names)
    index = read_timelines(raw)
    assert sessions(index) == {"02": [None]}
    message = failures(index)["01"]
    assert "sub-01_ses-02_run-1_FLAIR.nii.gz, sub-01_ses-02_run-2_FLAIR.nii.gz" in message
    snippet = message[message.index("{") : message.index("}}") + 2]
    assert json.loads(snippet) == {"flair": {"run": [None, "1"]}}
    (tmp_path / "filter.json").write_text(snippet)  # what the message says works
    chosen = read_timelines(raw, bids_filter_file=tmp_path / "filter.json")
    assert sessions(chosen) == {"01": ["01", "02"], "02": [None]}
    assert chosen.timelines[0].visits[1].entities.run == "1"


def test_snippets_for_acquisitions_and_file_types(tmp_path):
    raw = make_raw(tmp_path / "raw", ["sub-01_acq-2D_FLAIR.nii.gz", "sub-01_FLAIR.nii.gz", "sub-02_FLAIR.nii", "sub-02_FLAIR.nii.gz"])
    found = failures(read_timelines(raw))
    assert '{"flair": {"acquisition": null}}' in found["01"] or '{"flair": {"acquisition": "2D"}}' in found["01"]
    assert '{"flair": {"extension": ".nii"}}' in found["02"]
    index = read_timelines(raw, bids_filter_file=filter_file(tmp_path, acquisition=None, extension=".nii.gz"))
    assert sessions(index) == {"01": [None], "02": [None]}
    with pytest.raises(NothingMatched, match=r"left out: sub-01_FLAIR\.nii\.gz, sub-01_acq-2D_FLAIR\.nii\.gz"):
        read_timelines(raw, bids_filter_file=filter_file(tmp_path, acquisition="9T"))


def test_scans_with_and_without_a_session(tmp_path):
    raw = make_raw(tmp_path / "raw", ["sub-01_FLAIR.nii.gz", "sub-01_ses-02_FLAIR.nii.gz"])
    assert "with and without a session" in failures(read_timelines(raw))["01"]
    assert sessions(read_timelines(raw, bids_filter_file=filter_file(tmp_path, session="*"))) == {"01": ["02"]}


def test_order_of_visits(raw):
    write_text(raw / "sub-01/sub-01_sessions.tsv", "session_id\tacq_time\nses-01\t2021-01-01T00:00:00\nses-02\t2020-01-01T00:00:00\n")
    assert sessions(read_timelines(raw))["01"] == ["02", "01"]
    write_text(raw / "sub-01/sub-01_sessions.tsv", "session_id\tacq_time\nses-01\tyesterday\nses-02\t2020-01-01T00:00:00\n")
    index = read_timelines(raw)
    assert "'yesterday' is not a time" in failures(index)["01"]
    assert set(sessions(index)) == {"02", "03"}


def test_description_is_checked_unless_told_otherwise(raw):
    (raw / "dataset_description.json").write_text('{"Name": "x"}')
    with pytest.raises(InvalidDataset, match=r"BIDSVersion missing.*--skip-bids-validation"):
        read_timelines(raw)
    (raw / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0", "DatasetType": "derivative"}')
    with pytest.raises(InvalidDataset, match="DatasetType"):
        read_timelines(raw)
    (raw / "dataset_description.json").write_text("{")
    with pytest.raises(InvalidDataset, match="broken JSON"):
        read_timelines(raw)
    assert len(read_timelines(raw, validate=False).timelines) == 3
    (raw / "dataset_description.json").unlink()
    with pytest.raises(InvalidDataset, match=r"no dataset_description\.json.*--skip-bids-validation"):
        read_timelines(raw)
    assert len(read_timelines(raw, validate=False).timelines) == 3


def test_folders_that_are_not_there(tmp_path, raw):
    with pytest.raises(NoInput, match="does not exist"):
        read_timelines(tmp_path / "none")
    with pytest.raises(NoInput, match="is not a folder"):
        read_timelines(raw / "participants.tsv")
    with pytest.raises(NoInput, match="--derivatives labels"):
        read_timelines(raw, derivatives={"labels": tmp_path / "none"})
    with pytest.raises(InvalidDataset, match="no participant"):
        read_timelines(make_raw(tmp_path / "empty", []))


def test_odd_files(raw):
    anat = raw / "sub-01/ses-01/anat"
    (anat / "sub-01_ses-01_acq-dir_FLAIR.nii.gz").mkdir()
    (anat / "loop").symlink_to(anat, target_is_directory=True)
    (raw / "sub-01/ses-01/ses-01").symlink_to(raw / "sub-01", target_is_directory=True)
    (raw / "sub-01/self").symlink_to(raw / "sub-01/self")
    (anat / "sub-01_ses-01_acq-é_FLAIR.nii.gz").write_text("")
    (anat / "sub-01_ses-01_VISIT_FLAIR.nii.gz").write_text("")
    (raw / "sub-x_old/anat").mkdir(parents=True)
    (raw / "sub-01.html").write_text("")
    with (anat / os.fsdecode(b"sub-01_ses-01_acq-\xff_FLAIR.nii.gz")).open("w"):
        pass
    assert sessions(read_timelines(raw)) == {"01": ["01", "02"], "02": [None], "03": ["02"]}


def test_a_link_to_nothing_is_named(raw):
    scan = raw / "sub-02/anat/sub-02_FLAIR.nii.gz"
    scan.unlink()
    scan.symlink_to(raw / ".git/annex/objects/none")
    index = read_timelines(raw)
    assert "datalad get" in failures(index)["02"]
    assert set(sessions(index)) == {"01", "03"}


def test_database_is_made_for_all_and_used(tmp_path, raw):
    database = tmp_path / "database"
    assert sessions(read_timelines(raw, participant_labels=["02"], bids_database_dir=database)) == {"02": [None]}
    assert [path.name for path in database.iterdir()] == ["layout_index.sqlite"]
    put_image(raw / "sub-02/anat/sub-02_run-2_FLAIR.nii.gz")  # not in the database
    assert len(read_timelines(raw, bids_database_dir=database).timelines) == 3
    shutil.rmtree(database)
    assert len(read_timelines(raw, bids_database_dir=database).timelines) == 2
    (database / "layout_index.sqlite").write_text("not a database")
    with pytest.raises(InvalidDataset, match="PyBIDS cannot read it"):
        read_timelines(raw, bids_database_dir=database)


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not there")
def test_shared_data():
    root = SHARED / "open-ms-longitudinal"
    kinds = {"brighter": LabelKind.NEW, "darker": LabelKind.IGNORE_NEW}
    index = read_timelines(root, derivatives={"labels": root / "derivatives/labels"}, label_desc=kinds)
    assert sessions(index) == {"long01": ["01", "02"], "long03": ["01", "02"], "long04": ["01"], "long09": ["02"], "long20": ["02"]}
    first = index.timelines[0]
    assert [(label.kind, label.session, label.space) for label in first.labels] == [
        (LabelKind.NEW, "02", "common"),
        (LabelKind.IGNORE_NEW, "02", "common"),
    ]
    assert first.labels[0].transform is not None
    assert first.labels[0].transform.name == "sub-long01_ses-02_from-FLAIR_to-common_mode-image_xfm.txt"
    assert [(mask.session, mask.space) for mask in first.brain_masks] == [("01", "common"), ("02", "common")]
    single = SHARED / "open-ms-single"
    for timeline in read_timelines(single, derivatives={"labels": single / "derivatives/labels"}).timelines:
        assert [(label.kind, label.session, label.space) for label in timeline.labels] == [(LabelKind.ALL, None, None)]
