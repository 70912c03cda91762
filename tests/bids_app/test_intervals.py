"""Days between visits, by hand."""

from datetime import datetime

import pytest

from bids_app.errors import InvalidDataset
from bids_app.intervals import days_since_first

FIRST, LATER = datetime(2020, 1, 1, 12), datetime(2020, 1, 31, 18)


def raw(tmp_path, text):
    folder = tmp_path / "sub-01"
    folder.mkdir()
    (folder / "sub-01_sessions.tsv").write_text(text)
    return tmp_path


def test_acquisition_times_come_first(tmp_path):
    root = raw(tmp_path, "session_id\tdays\nses-a\t0\nses-b\t900\n")
    assert days_since_first(["a", "b"], [FIRST, LATER], root, "01") == [0.0, 30.25]
    assert days_since_first(["a", "b"], [FIRST, None], root, "01") == [0.0, 900.0]


@pytest.mark.parametrize("column", ["days", "days_since_baseline", "delta_days"])
def test_else_a_column_of_days_counted_from_the_first_visit_used(tmp_path, column):
    root = raw(tmp_path, f"session_id\t{column}\nses-a\t0\nses-b\t100\nses-c\t350.5\n")
    assert days_since_first(["b", "c"], [None, None], root, "01") == [0.0, 250.5]


@pytest.mark.parametrize(
    "text", ["session_id\nses-a\nses-b\n", "session_id\tdays\nses-a\t0\nses-b\tn/a\n", "session_id\tdays\nses-a\t5\nses-b\t5\n"]
)
def test_what_is_not_known_is_not_guessed(tmp_path, text):
    assert days_since_first(["a", "b"], [None, None], raw(tmp_path, text), "01") == [0.0, None]
    assert days_since_first(["a", "b"], [None, None], None, "01") == [0.0, None]
    assert days_since_first([None], [None], None, "01") == [0.0]


def test_a_broken_number_names_table_and_column(tmp_path):
    root = raw(tmp_path, "session_id\tdays\nses-a\t0\nses-b\tlong\n")
    with pytest.raises(InvalidDataset, match=r"sub-01_sessions.tsv: column days.*'long'"):
        days_since_first(["a", "b"], [None, None], root, "01")
