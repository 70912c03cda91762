"""The split is the published one: 32 and 8 pairs, 30 and 8 single scans, nobody twice."""

from __future__ import annotations

from coactseg_cli.convert.splits import TRAIN_PAIRS, TRAIN_SINGLES, VALIDATION_PAIRS, VALIDATION_SINGLES, of_msseg2, published


def test_sizes():
    parts = (TRAIN_PAIRS, VALIDATION_PAIRS, TRAIN_SINGLES, VALIDATION_SINGLES)
    assert [len(part) for part in parts] == [32, 8, 30, 8]
    assert len(frozenset().union(*parts)) == 78


def test_parts():
    assert [published(label) for label in ("015", "100", "ms23030", "ms23031", "001")] == [
        "train",
        "validation",
        "train",
        "validation",
        None,
    ]
    assert of_msseg2("001") == "test"
