"""A check as a value, and its row."""

import json

import pytest

from bids_app.tables import read_table, write_table
from coactseg_cli.preprocessing.quality import COLUMNS, Check, Rule, flag_names, flagged, rows

BETWEEN = Rule("volume", "ml", "Look at it.", low=700.0, high=2000.0)


@pytest.mark.parametrize(("value", "is_flagged"), [(699.0, True), (700.0, False), (2000.0, False), (2001.0, True)])
def test_limits_themselves_are_usual(value, is_flagged):
    (check,) = BETWEEN.judge(value, "02")
    assert (check.value, check.flagged, check.session) == (value, is_flagged, "02")


def test_one_sided_limits():
    assert not Rule("snr", None, "", low=12.0).judge(1e9, None)[0].flagged
    assert not Rule("edge", "mm", "", high=4.5).judge(-1e9, None)[0].flagged


def test_what_is_undefined_was_not_checked():
    assert BETWEEN.judge(float("nan"), "01") == ()


def test_message_has_value_limits_and_what_to_do():
    assert BETWEEN.judge(650.0, None)[0].message == "volume: 650 ml (usual: at least 700 and at most 2000). Look at it."
    assert "(usual: at least 12)" in Rule("snr", None, "", low=12.0).judge(3.0, None)[0].message


def test_table_holds_passed_checks_too(tmp_path):
    checks = [*BETWEEN.judge(1300.0, "01"), *Rule("snr", None, "Noisy.", low=12.0).judge(5.0, None)]
    write_table(tmp_path / "flags.tsv", rows(checks), COLUMNS)
    first, second = read_table(tmp_path / "flags.tsv")
    assert first == {
        "session_id": "ses-01",
        "name": "volume",
        "value": "1300",
        "units": "ml",
        "low": "700",
        "high": "2000",
        "flagged": "0",
        "reason": "Look at it.",
    }
    assert [second[name] for name in ("session_id", "units", "high", "flagged")] == ["n/a", "n/a", "n/a", "1"]
    assert json.loads((tmp_path / "flags.json").read_text())["flagged"]["Levels"]["1"] == "look at it"


def test_names_of_flags_once_and_of_one_visit():
    def check(name, session, is_flagged):
        return Check(name, session, 1.0, None, None, None, is_flagged, "")

    checks = [check("a", "01", True), check("b", "02", True), check("c", "02", False), check("b", "02", True), check("d", "02", True)]
    assert flag_names(checks, "02") == ("b", "d")
    assert [c.name for c in flagged(checks)] == ["a", "b", "b", "d"]
