"""The order of visits decides what is new."""

from datetime import datetime

import pytest

from bids_app.cases import Scan
from bids_app.entities import parse
from bids_app.errors import InvalidDataset
from bids_app.files import write_text
from bids_app.sessions import in_order, natural, parse_time


def scans(subject_dir, *sessions):
    names = [f"sub-01_ses-{session}_FLAIR.nii.gz" for session in sessions]
    return [Scan(subject_dir / f"ses-{s}/anat/{n}", parse(n)) for s, n in zip(sessions, names, strict=True)]


def order(subject_dir, *sessions):
    return [scan.session for scan in in_order(scans(subject_dir, *sessions), subject_dir)]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "sub-01"


def test_labels_in_natural_order(folder):
    assert order(folder, "m12", "m2", "m0") == ["m0", "m2", "m12"]
    assert order(folder, "10", "2", "1a", "1") == ["1", "1a", "2", "10"]


def test_sessions_table(folder):
    text = "session_id\tacq_time\nses-a\t2021-01-01T00:00:00\nses-b\t2020-01-01T00:00:00\nses-c\t2022-01-01\n"
    write_text(folder / "sub-01_sessions.tsv", text)
    assert order(folder, "a", "b", "c") == ["b", "a", "c"]
    assert in_order(scans(folder, "a"), folder)[0].time == datetime(2021, 1, 1)
    assert order(folder, "b", "d", "a") == ["a", "b", "d"]  # d has no time: by label


def test_scans_table_where_the_sessions_table_is_silent(folder):
    write_text(folder / "sub-01_sessions.tsv", "session_id\tacq_time\nses-a\tn/a\nses-b\t2020-01-01T00:00:00\n")
    for session, year in (("a", 2021), ("b", 2019)):
        text = f"filename\tacq_time\nanat/sub-01_ses-{session}_FLAIR.nii.gz\t{year}-01-01T00:00:00\n"
        write_text(folder / f"ses-{session}/sub-01_ses-{session}_scans.tsv", text)
    assert order(folder, "a", "b") == ["b", "a"]


def test_tables_without_a_time(folder):
    write_text(folder / "sub-01_sessions.tsv", "session_id\tpathology\nses-b\tMS\nses-a\tMS\n")
    assert order(folder, "b", "a") == ["a", "b"]


def test_no_session(tmp_path):
    scan = Scan(tmp_path / "sub-02/anat/sub-02_FLAIR.nii.gz", parse("sub-02_FLAIR.nii.gz"))
    write_text(tmp_path / "sub-02/sub-02_scans.tsv", "filename\tacq_time\nanat/sub-02_FLAIR.nii.gz\t1870-05-01T10:00:00\n")
    assert in_order([scan], tmp_path / "sub-02")[0].time == datetime(1870, 5, 1, 10)


def test_same_time_falls_back_to_the_label(folder):
    write_text(folder / "sub-01_sessions.tsv", "session_id\tacq_time\nses-b\t2020-01-01\nses-a\t2020-01-01\n")
    assert order(folder, "b", "a") == ["a", "b"]


def test_times(tmp_path):
    assert parse_time("2020-01-01T02:00:00+02:00", tmp_path) == datetime(2020, 1, 1)
    assert parse_time("2020-01-01T00:00:00.125000Z", tmp_path) == datetime(2020, 1, 1, 0, 0, 0, 125000)
    assert parse_time("n/a", tmp_path) is None
    with pytest.raises(InvalidDataset, match="'last year' is not a time"):
        parse_time("last year", tmp_path)


def test_a_broken_table_is_no_reason_to_guess(folder):
    write_text(folder / "sub-01_sessions.tsv", "session_id\tacq_time\nses-a\n")
    with pytest.raises(InvalidDataset, match="row 2"):
        order(folder, "a", "b")


def test_natural():
    assert sorted(["b", "10", "a2", "9", "a10", ""], key=natural) == ["", "9", "10", "a2", "a10", "b"]
