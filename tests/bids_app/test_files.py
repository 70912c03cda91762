"""Files: a final name never stands for a part, and what was put in place is known."""

from __future__ import annotations

import errno
import os

import pytest

from bids_app import files
from bids_app.errors import CannotCreate
from bids_app.files import noting_placed, remove_leftovers, replacing, write_bytes, write_json, write_text


def test_the_former_file_stays_where_writing_fails(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail():
        with replacing(path) as temporary:
            temporary.write_text("ne")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_content_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append(str(files.Path(f"/proc/self/fd/{fd}").readlink())), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append(str(b)), replace(a, b)))
    write_bytes(tmp_path / "a.bin", b"x")
    assert order[0].startswith(f"{tmp_path}/.tmp-")
    assert order[1] == str(tmp_path / "a.bin")


@pytest.mark.parametrize(("number", "raises"), [(errno.EIO, True), (errno.ENOSPC, True), (errno.EINVAL, False), (errno.ENOSYS, False)])
def test_a_disk_that_cannot_keep_it_says_so(tmp_path, monkeypatch, number, raises):
    """EINVAL, ENOSYS: a file system that has no fsync."""

    def fail(_fd):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    if raises:
        with pytest.raises(OSError, match=os.strerror(number)):
            write_text(tmp_path / "a", "x")
        assert list(tmp_path.iterdir()) == []
    else:
        write_text(tmp_path / "a", "x")
        assert (tmp_path / "a").read_text() == "x"


def test_what_was_put_in_place_is_noted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with noting_placed() as placed:
        write_json(tmp_path / "a" / "b.json", {})
        write_text(files.Path("c"), "")
        with pytest.raises(RuntimeError), replacing(tmp_path / "d"):
            raise RuntimeError
    write_text(tmp_path / "e", "")
    assert placed == {tmp_path / "a" / "b.json", tmp_path / "c"}


def test_leftovers_of_one_file_only(tmp_path):
    for name in (".tmp-abc-sub-01.html", ".tmp-abc-sub-02.html", "sub-01.html", ".tmp-abc"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path / "sub-01.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".tmp-abc", ".tmp-abc-sub-02.html", "sub-01.html"]


def test_long_names_have_temporary_names_too(tmp_path):
    write_text(tmp_path / ("x" * 250), "1")
    assert [len(path.name) for path in tmp_path.iterdir()] == [250]


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path):
    (tmp_path / "a.json").mkdir()
    with pytest.raises(CannotCreate, match=r"a\.json: cannot be written \(a folder has its name\)"):
        write_bytes(tmp_path / "a.json", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
