"""Locks: one holder at a time, a dead one is recognised on this machine and on others, clocks that go wrong do no harm."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bids_app import locks
from bids_app.locks import Held, holder_of, is_free, locked


def leave(path: Path, pid: int, machine: str, age_s: float) -> None:
    """The name of a holder, as it stays behind when a run dies."""
    path.write_text(
        json.dumps(
            {"about": {"run": "r"}, "host": "node7", "pid": pid, "machine": machine, "since": "2026-01-01T00:00:00+0000", "token": "t"}
        )
    )
    os.utime(path, (time.time() - age_s,) * 2)


def dead_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_one_holder_and_the_other_hears_who(tmp_path):
    path = tmp_path / "a" / "lock"
    with locked(path, {"run": "20260101_x"}):
        with pytest.raises(Held, match=rf"run 20260101_x, process {os.getpid()} on "), locked(path, wait=False):
            pass
        assert not is_free(path)
    assert is_free(path)
    assert path.read_text() == ""


def test_whoever_waits_comes_next(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "POLL_S", 0.01)
    order, held, told = [], threading.Event(), []

    def first():
        with locked(tmp_path / "lock", {"run": "first"}):
            held.set()
            time.sleep(0.2)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    held.wait()
    with locked(tmp_path / "lock", waiting=told.append):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]
    assert [holder.about["run"] for holder in told] == ["first"]


def test_a_killed_holder_holds_nothing(tmp_path):
    path = tmp_path / "lock"
    code = (
        "import pathlib, time\nfrom bids_app.locks import locked\n"
        f"with locked(pathlib.Path({str(path)!r})):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    assert not is_free(path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert holder_of(path).pid == process.pid  # its name is still there
    assert is_free(path)


@pytest.mark.parametrize(
    ("machine", "age_s", "free"),
    [("here", 1.0, True), ("there", 1.0, False), ("there", 60.0, False), ("there", 600.0, True), ("there", -86400.0, True)],
)
def test_a_name_without_the_kernels_lock(tmp_path, machine, age_s, free):
    """Of this machine it is that of a dead run; of another one it counts while the file is touched, and not in the future."""
    path = tmp_path / "lock"
    leave(path, dead_pid(), locks._machine() if machine == "here" else "another", age_s)
    assert is_free(path) is free
    assert [p.name for p in tmp_path.iterdir()] == ["lock"]


@pytest.mark.parametrize(("alive", "free"), [(True, False), (False, True)])
def test_a_file_system_without_locks(tmp_path, monkeypatch, alive, free):
    def flock(_descriptor, _what):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(locks, "POLL_S", 0.01)
    leave(tmp_path / "lock", os.getpid() if alive else dead_pid(), locks._machine(), 1.0)
    assert is_free(tmp_path / "lock") is free


def test_a_holder_says_that_it_lives(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "TOUCH_S", 0.01)
    with locked(tmp_path / "lock"):
        os.utime(tmp_path / "lock", (0, 0))
        deadline = time.monotonic() + 10
        while (tmp_path / "lock").stat().st_mtime < 1e9 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (tmp_path / "lock").stat().st_mtime > 1e9


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 3, "surplus": 1}', '{"pid": "x"}', '{"about": 3}'])
def test_a_broken_name_is_nobodys(tmp_path, content):
    (tmp_path / "lock").write_text(content)
    assert holder_of(tmp_path / "lock") is None or content == ""
    assert is_free(tmp_path / "lock")


def test_a_link_is_not_followed(tmp_path):
    """Somebody else may have put it into a shared folder of temporary files."""
    (tmp_path / "precious").write_text("content")
    (tmp_path / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError), locked(tmp_path / "lock"):
        pass
    assert (tmp_path / "precious").read_text() == "content"
