"""Text and JSON of users: what is refused, and that nothing is waited for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bids_app import files
from bids_app.errors import InvalidDataset, NoInput
from bids_app.files import read_json, read_text


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n')
    assert read_json(tmp_path / "a.json") == {"a": 1}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "broken JSON"),
        ('{"a": ', "broken JSON"),
        ("[1]", "expected a JSON object"),
        ('{"a":' * 100_000, "broken JSON"),
        ('{"a": ' + "9" * 6000 + "}", "broken JSON"),
    ],
)
def test_broken_json_is_refused_by_name(tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InvalidDataset, match=rf"a\.json: {word}"):
        read_json(tmp_path / "a.json")


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": 1}', encoding="utf-16")
    with pytest.raises(InvalidDataset, match="not UTF-8"):
        read_json(tmp_path / "a.json")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(InvalidDataset, match="a folder, a pipe or a device"):
            read_text(path)


def test_a_link_that_leads_nowhere_or_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "nowhere").symlink_to("x")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(NoInput, match="no such file"):
        read_text(tmp_path / "nowhere")
    with pytest.raises(InvalidDataset, match="cannot be read"):
        read_text(tmp_path / "loop")


def test_files_too_large_to_be_text_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_TEXT_BYTES", 3)
    (tmp_path / "a.tsv").write_text("abcd")
    with pytest.raises(InvalidDataset, match="4 bytes of text; expected at most 3"):
        read_text(tmp_path / "a.tsv")
