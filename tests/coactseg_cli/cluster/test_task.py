"""A task's end: exit codes, what it writes, and what a signal does."""

from __future__ import annotations

import os
import signal

import pytest

from bids_app.cases import SubjectFailure
from coactseg_cli.cluster import task
from coactseg_cli.participant import Outcome


def test_an_outcome_comes_back_as_it_was_written(tmp_path):
    good = Outcome("01", "scan: 3 lesions, 41 mm3", tmp_path / "sub-01.html", seconds=12.5)
    bad = Outcome("02", failure=SubjectFailure("02", "prep", "no <FLAIR> & more"), crash=tmp_path / "crash.txt", seconds=1.0)
    for outcome in (good, bad):
        task.write_answer(tmp_path, outcome)
        assert task.read_answer(tmp_path, outcome.subject) == outcome
    assert task.read_answer(tmp_path, "03") is None
    task.answer(tmp_path, "03").write_text('{"subject": "03"}')
    assert task.read_answer(tmp_path, "03") is None


def test_the_exit_code_is_that_of_the_work():
    task._as_task(lambda: 0, lambda: pytest.fail("nobody interrupted"))
    with pytest.raises(SystemExit) as ended:
        task._as_task(lambda: 18, lambda: pytest.fail("nobody interrupted"))
    assert ended.value.code == 18


def test_sigterm_ends_the_work_cleanly_and_leaves_the_queue_to_slurm():
    before = signal.getsignal(signal.SIGTERM)
    done = []

    def do() -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        finally:
            done.append("cleared away")
        return 0

    with pytest.raises(SystemExit) as ended:
        task._as_task(do, lambda: done.append("said"))
    assert ended.value.code == 75
    assert done == ["cleared away", "said"]
    assert signal.getsignal(signal.SIGTERM) == before


def test_submitits_signal_ends_the_work_and_then_submitit_requeues(monkeypatch):
    done = []
    before = signal.signal(signal.SIGUSR2, lambda number, _frame: done.append(f"requeued upon {signal.Signals(number).name}"))
    try:

        def do() -> int:
            os.kill(os.getpid(), signal.SIGUSR2)
            signal.pause()
            return 0

        with pytest.raises(SystemExit) as ended:
            task._as_task(do, lambda: done.append("said"))
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert ended.value.code == 75
    assert done == ["said", "requeued upon SIGUSR2"]


def test_temporary_files_of_two_attempts_do_not_meet(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    first = task._attempt()
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert first != task._attempt()
