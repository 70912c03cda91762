"""What squeue prints -> states."""

from __future__ import annotations

import subprocess

import pytest

from coactseg_cli.cluster import states
from coactseg_cli.cluster.states import GONE, TaskState

SAID = """\
12          0         COMPLETED           0
12          1         FAILED              256
12          2         FAILED              9
12          3         RUNNING             0
12          4         OUT_OF_MEMORY       125
12          5         CANCELLED           15
13          N/A       PENDING             0
"""


def test_wait_statuses_are_exit_codes_and_signals():
    found = states.parse(SAID)
    assert found["12_0"] == TaskState("COMPLETED")
    assert found["12_1"] == TaskState("FAILED", 1, 0)
    assert found["12_2"] == TaskState("FAILED", 0, 9)
    assert found["13"] == TaskState("PENDING")
    assert [found[key].exit for key in ("12_0", "12_1", "12_2")] == ["0:0", "1:0", "0:9"]
    assert {key for key, state in found.items() if state.ended} == {"12_0", "12_1", "12_2", "12_4", "12_5"}


def test_words_that_are_no_row_are_passed_over():
    assert states.parse("slurm_load_jobs: hello\n\n12 0 RUNNING\n12 0 RUNNING soon\n") == {}
    assert GONE.ended
    assert GONE.exit == "n/a"


def _program(monkeypatch, tmp_path, name: str, text: str) -> None:
    (tmp_path / name).write_text("#!/bin/sh\n" + text)
    (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


def test_forgotten_jobs_are_no_error_and_a_silent_controller_is_one(monkeypatch, tmp_path):
    _program(monkeypatch, tmp_path, "squeue", 'echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1')
    assert states.look(["12"]) == {}
    _program(monkeypatch, tmp_path, "squeue", 'echo "Unable to contact slurm controller" >&2; exit 1')
    with pytest.raises(states.NoAnswer, match="contact"):
        states.look(["12"])

    def late(*_, **__):
        raise subprocess.TimeoutExpired("squeue", 60)

    monkeypatch.setattr(states.subprocess, "run", late)
    with pytest.raises(states.NoAnswer):
        states.look(["12"])


def test_the_longest_array_is_the_clusters_or_slurms_default(monkeypatch, tmp_path):
    _program(monkeypatch, tmp_path, "scontrol", 'echo "MaxArraySize            = 4001"')
    assert states.max_array_size() == 4001
    _program(monkeypatch, tmp_path, "scontrol", "exit 1")
    assert states.max_array_size() == 1001
