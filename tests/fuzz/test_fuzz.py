"""A few dozen inputs of the harness in a process of its own, and that its judgement can go either way; `make fuzz` runs thousands."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fuzz.__main__ import Result, table
from tests.fuzz.cases import Case, Expect
from tests.fuzz.judging import failures
from tests.fuzz.running import Ran

REFUSED = Ran(1, "", "coactseg: /data/scan.nii.gz: truncated. Copy it again.", 10**8, 0.1)
DONE = Ran(0, "sub-01: done", "", 10**8, 0.1)


def case(tmp_path: Path, expect: Expect) -> Case:
    return Case(("segment",), expect, ("scan.nii.gz",), tmp_path / "out", lambda text: "" if "done" in text else "nothing is done")


def test_a_refusal_that_names_the_file_is_fine_where_one_is_expected(tmp_path: Path) -> None:
    assert failures(case(tmp_path, Expect.REFUSED), REFUSED) == []
    assert failures(case(tmp_path, Expect.EITHER), REFUSED) == []
    assert "refused with exit code 1" in failures(case(tmp_path, Expect.RIGHT), REFUSED)[0]


def test_a_result_is_fine_where_one_is_expected(tmp_path: Path) -> None:
    assert failures(case(tmp_path, Expect.RIGHT), DONE) == []
    assert failures(case(tmp_path, Expect.EITHER), replace(DONE, stdout="")) == ["nothing is done"]
    assert failures(case(tmp_path, Expect.REFUSED), DONE) == ["taken for sound"]


@pytest.mark.parametrize(
    ("ran", "word"),
    [
        (replace(REFUSED, code=None), "hang"),
        (replace(REFUSED, code=-9), "signal 9"),
        (replace(REFUSED, code=3), "exit code 3"),
        (replace(REFUSED, peak_bytes=3 * 10**9), "memory: 3000 MB"),
        (replace(REFUSED, stderr="Traceback (most recent call last):\nValueError: scan.nii.gz"), "traceback: ValueError"),
        (replace(REFUSED, stderr="sub-01: FAILED in prep: unexpected IndexError: scan.nii.gz"), "undocumented: unexpected IndexError"),
        (replace(REFUSED, stderr="coactseg: something is wrong"), "names none of scan.nii.gz"),
    ],
)
def test_every_other_end_is_a_failure(tmp_path: Path, ran: Ran, word: str) -> None:
    assert word in failures(case(tmp_path, Expect.REFUSED), ran)[0]


def test_half_written_output_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.tmp-1.nii.gz").write_bytes(b"")
    (tmp_path / "out/map.nii.gz").write_bytes(b"half")
    found = failures(case(tmp_path, Expect.RIGHT), DONE)
    assert found[0] == "left behind: .tmp-1.nii.gz"
    assert any(problem.startswith("map.nii.gz: cannot be read") for problem in found)


def test_the_table_counts_each_end_once() -> None:
    results = [Result(0, "a", REFUSED, "", ()), Result(1, "a", DONE, "", ()), Result(2, "b", DONE, "", ("wrong",))]
    assert [line.split()[:5] for line in table(results).splitlines()[1:]] == [
        ["a", "2", "1", "1", "0"],
        ["b", "1", "0", "0", "1"],
        ["all", "3", "1", "1", "1"],
    ]


@pytest.mark.timeout(600)  # some 30 s on an idle core, ten times that beside other work
@pytest.mark.skipif(sys.platform != "linux", reason="the harness forks and reads /proc")
def test_a_few_dozen_inputs(project_root: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tests.fuzz", "--quick", "-n", "40", "--seed", "8", "--tmp", str(tmp_path)]
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"), "1")
    ran = subprocess.run(words, cwd=project_root, env={**os.environ, **one}, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    assert " 40 " in ran.stdout.splitlines()[-1]
