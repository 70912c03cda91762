"""Tables: what is written, what is read back, and what is refused."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bids_app.errors import InvalidDataset, NoInput
from bids_app.tables import Column, cell, columns_json, number, read_table, write_table

COLUMNS = {
    "case": Column("Case."),
    "volume_mm3": Column("Volume.", "mm3"),
    "fate": Column("What became of it.", levels={"new": "only at the follow-up", "gone": "only at the baseline"}),
}


def test_written_and_read_back(tmp_path):
    rows = [{"case": "sub-01", "volume_mm3": 12.5, "fate": "new"}, {"case": "=1+1", "volume_mm3": math.nan}]
    write_table(tmp_path / "a_b.tsv", rows, COLUMNS, description="Lesions.")
    assert (tmp_path / "a_b.tsv").read_text() == "case\tvolume_mm3\tfate\nsub-01\t12.5\tnew\n'=1+1\tn/a\tn/a\n"
    assert read_table(tmp_path / "a_b.tsv")[1] == {"case": "=1+1", "volume_mm3": "n/a", "fate": "n/a"}
    assert json.loads((tmp_path / "a_b.json").read_text()) == {
        "Description": "Lesions.",
        "case": {"Description": "Case."},
        "volume_mm3": {"Description": "Volume.", "Units": "mm3"},
        "fate": {"Description": "What became of it.", "Levels": {"new": "only at the follow-up", "gone": "only at the baseline"}},
    }


def test_no_rows_and_no_dictionary(tmp_path):
    write_table(tmp_path / "x_dseg.tsv", [], COLUMNS, dictionary=False)
    assert (tmp_path / "x_dseg.tsv").read_text() == "case\tvolume_mm3\tfate\n"
    assert read_table(tmp_path / "x_dseg.tsv") == []
    assert [p.name for p in tmp_path.iterdir()] == ["x_dseg.tsv"]


def test_a_column_that_nobody_described(tmp_path):
    with pytest.raises(ValueError, match="dice"):
        write_table(tmp_path / "a.tsv", [{"dice": 1.0}], COLUMNS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "n/a"),
        (math.nan, "n/a"),
        (np.float32("nan"), "n/a"),
        ("", "n/a"),
        (True, "true"),
        (np.bool_(False), "false"),
        (3, "3"),
        (np.int64(-3), "-3"),
        (-0.5, "-0.5"),
        (0.1 + 0.2, "0.3"),
        (np.float32(2.5), "2.5"),
        (math.inf, "inf"),
        (1234567.125, "1234567.125"),
        ("+1", "'+1"),
        ("@x", "'@x"),
        ("a\tb\nc", "a b c"),
        ("\t=x", "'=x"),
        ("\r=x", "'=x"),
        ("-1+cmd|' /C calc'!A0", "'-1+cmd|' /C calc'!A0"),
        ("-2.5e-3", "-2.5e-3"),
        ("-inf", "-inf"),
        ("-", "-"),
        ("-x", "'-x"),
        ('"=1+1"', '\'"=1+1"'),
        ("＝1+1", "'＝1+1"),  # noqa: RUF001
        ("\u200b=1", "'=1"),
        ("\x00\x1b[31mred", "[31mred"),
        ("\x07", "n/a"),
        ("ä ü", "ä ü"),
    ],
)
def test_cells(value, text):
    assert cell(value) == text


@given(st.text())
def test_any_text_is_one_cell_that_no_spreadsheet_runs(text):
    written = cell(text)
    assert written == " ".join(written.split())
    assert written.isprintable()
    first = written[0]
    assert first not in '=+@"\t\r' or not text
    assert first != "-" or written == "-" or math.isfinite(float(written)) or written == "-inf"


@given(st.lists(st.text(st.characters(categories=("L", "N", "P", "S", "Zs"))), min_size=2, max_size=2, unique_by=cell))
def test_names_and_cells_come_back(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("t") / "a.tsv"
    write_table(path, [dict.fromkeys(texts, "-1"), dict(zip(texts, reversed(texts), strict=True))], {name: Column("x") for name in texts})
    assert len(path.read_text(encoding="utf-8").split("\n")) == 4
    first, second = read_table(path)
    assert list(first.values()) == ["-1", "-1"]
    assert [cell(value) for value in second.values()] == [cell(text) for text in reversed(texts)]


def test_numbers():
    assert number("2.5") == 2.5
    assert math.isnan(number("n/a"))
    with pytest.raises(InvalidDataset, match="'many'"):
        number("many")


def test_types_that_bids_fixes():
    assert columns_json({"index": Column("Number.")}) == {"index": {"Description": "Number.", "Format": "integer"}}


@pytest.mark.parametrize(
    ("content", "match"),
    [(b"a\tb\n1\n", "row 2 has 1 cells; the header has 2"), (b"a\ta\n", "occurs twice"), (b"", "empty"), (b"\xff\xfe\x00", "UTF-8")],
)
def test_broken_tables(tmp_path, content, match):
    (tmp_path / "a.tsv").write_bytes(content)
    with pytest.raises(InvalidDataset, match=match):
        read_table(tmp_path / "a.tsv")


def test_other_line_ends_and_byte_order_mark(tmp_path):
    (tmp_path / "a.tsv").write_bytes("\ufeffa\tb\r\n1\t2\r\n\r\n".encode())
    assert read_table(tmp_path / "a.tsv") == [{"a": "1", "b": "2"}]


def test_missing_table(tmp_path):
    with pytest.raises(NoInput, match="no such file"):
        read_table(tmp_path / "a.tsv")
