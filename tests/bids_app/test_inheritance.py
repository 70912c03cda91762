"""Metadata of a raw scan through the folders above it."""

import json

import pytest

from bids_app.inheritance import metadata_of


@pytest.fixture
def scan(tmp_path):
    path = tmp_path / "bids" / "sub-01" / "ses-02" / "anat" / "sub-01_ses-02_acq-3d_FLAIR.nii.gz"
    path.parent.mkdir(parents=True)
    return path


def put(folder, name, **fields):
    (folder / name).write_text(json.dumps(fields))


def test_the_nearest_file_wins(scan):
    root = scan.parents[3]
    put(root, "FLAIR.json", Manufacturer="GE", EchoTime=0.1)
    put(root, "acq-3d_FLAIR.json", EchoTime=0.2, RepetitionTime=5)
    put(root / "sub-01", "sub-01_FLAIR.json", RepetitionTime=6)
    put(scan.parent, "sub-01_ses-02_acq-3d_FLAIR.json", InversionTime=1.8)
    assert metadata_of(scan) == {"Manufacturer": "GE", "EchoTime": 0.2, "RepetitionTime": 6, "InversionTime": 1.8}


def test_files_of_other_scans_do_not_apply(scan):
    put(scan.parents[3], "T1w.json", EchoTime=1)
    put(scan.parents[3], "acq-2d_FLAIR.json", EchoTime=2)
    put(scan.parent, "sub-01_ses-02_run-1_FLAIR.json", EchoTime=3)
    put(scan.parents[4], "FLAIR.json", EchoTime=4)  # above the data set
    assert metadata_of(scan) == {}


def test_broken_json_says_nothing(scan):
    put(scan.parents[3], "FLAIR.json", EchoTime=1)
    (scan.parent / "sub-01_ses-02_acq-3d_FLAIR.json").write_text("{broken")
    assert metadata_of(scan) == {"EchoTime": 1}


def test_outside_a_data_set_only_the_file_beside(tmp_path):
    put(tmp_path, "FLAIR.json", EchoTime=1)
    assert metadata_of(tmp_path / "some" / "scan_FLAIR.nii.gz") == {}
