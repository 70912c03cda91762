"""Cohorts on a real SLURM, with a participant that fails and one that is killed; hpc/test_slurm.sh starts the SLURM (make test-slurm)."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bids_app.tables import read_table
from tests.test_end_to_end import write_tiny_model

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not os.environ.get("COACTSEG_TEST_SLURM"), reason="hpc/test_slurm.sh starts the SLURM that this needs"),
]
HPC = Path(__file__).resolve().parents[1] / "hpc"
WITHIN_S = 400
MEM = "1500M"


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """A random network of two filters for 3 mm voxels."""
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.safetensors", 3.0)


def _as(source: Path, subject: str, bids: Path, name: str) -> None:
    """Copy a participant of the made-up data set, with its brain mask, under another name."""
    for root in ("", "derivatives/labels"):
        for path in (source / root / f"sub-{subject}").rglob("*"):
            if path.is_file():
                place = bids / str(path.relative_to(source)).replace(f"sub-{subject}", f"sub-{name}")
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, place)


@pytest.fixture
def cohort(tiny_bids, tmp_path) -> Path:
    """Two good participants, one with half a file, and one of two visits that tests kill."""
    bids = tmp_path / "bids"
    (bids / "derivatives" / "labels").mkdir(parents=True)
    for root in ("", "derivatives/labels"):
        shutil.copy(tiny_bids / root / "dataset_description.json", bids / root)
    for subject, name in {"03": "a", "02": "b", "01": "killed"}.items():
        _as(tiny_bids, subject, bids, name)
    _as(tiny_bids, "03", bids, "broken")
    scan = _scan(bids, "broken")
    scan.write_bytes(scan.read_bytes()[:2000])
    return bids


def _scan(bids: Path, name: str) -> Path:
    return next((bids / f"sub-{name}").rglob("*_FLAIR.nii.gz"))


def _mend(bids: Path) -> None:
    shutil.copy(_scan(bids, "a"), _scan(bids, "broken"))


def _options(bids: Path, model: Path) -> list[str]:
    return ["-d", f"labels={bids}/derivatives/labels", "--model", str(model), "--threshold-all", "0.4", "--threshold-new", "0.4"]


def _start(bids: Path, out: Path, model: Path, *more: str) -> subprocess.Popen[str]:
    program = [sys.executable, "-m", "coactseg_cli", "segment", str(bids), str(out), "participant", *_options(bids, model)]
    cluster = ["--executor", "slurm", "--omp-nthreads", "1", "--slurm", f"mem={MEM}", "time=60", *more]
    return subprocess.Popen([*program, *cluster], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _ask(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _until(there: Callable[[], object], what: str) -> object:
    """Wait until something is there, and return it."""
    deadline = time.monotonic() + WITHIN_S
    while not (found := there()):
        assert time.monotonic() < deadline, f"no {what} within {WITHIN_S} s; {_ask('squeue', '--states=all')}"
        time.sleep(0.2)
    return found


def _at_work(out: Path, pattern: str, says: str) -> str | None:
    """Number of the task in whose log something stands."""
    for log in sorted(out.glob(pattern)):
        if says in log.read_text():
            return "_".join(log.name.split("_")[:2]).removesuffix(".log")
    return None


def _kill(task: str) -> None:
    """kill -9 for the program of a task, as the kernel does for want of memory."""
    array, _, number = task.partition("_")
    wanted = {f"SLURM_ARRAY_JOB_ID={array}", f"SLURM_ARRAY_TASK_ID={number}", f"SLURM_CONF={os.environ['SLURM_CONF']}"}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_text().split("\0")
            environment = set((folder / "environ").read_text().split("\0"))
            if "python" in Path(words[0]).name and {"submitit.core._submit", "coactseg_cli"} & set(words) and wanted <= environment:
                os.kill(int(folder.name), signal.SIGKILL)
                return
    pytest.fail(f"no program of {task}")


def _rows(said: str) -> dict[str, list[str]]:
    """The table at the end: participant to task, state, exit, log."""
    lines = said[said.index("participant  task") :].splitlines()[1:]
    return {line.split()[0]: line.split(maxsplit=4)[1:] for line in lines if re.match(r"(sub-|group )", line) and ": " not in line}


def _finished(out: Path) -> dict[str, int]:
    return {path.stem: path.stat().st_mtime_ns for path in (out / "logs/complete").glob("*.json")}


def _restarts(task: str) -> int:
    return int(re.search(r"Restarts=(\d+)", _ask("scontrol", "show", "job", task))[1])


def test_one_that_fails_and_one_that_is_killed_stop_nobody_and_a_second_run_does_what_is_left(cohort, model, tmp_path):
    out = tmp_path / 'o\'ut $(touch pwned) "x";'
    run = _start(cohort, out, model, "--slurm-array-parallelism", "2")
    _kill(_until(lambda: _at_work(out, "logs/*/slurm/*_log.out", "sub-killed"), "task of sub-killed"))
    said, _ = run.communicate(timeout=WITHIN_S)
    assert run.returncode == 1, said
    rows = _rows(said)
    assert [rows[name][1:3] for name in ("sub-a", "sub-b", "group")] == [["COMPLETED", "0:0"]] * 3
    assert rows["sub-broken"][1:3] == ["FAILED", "1:0"]
    assert rows["sub-killed"][1] == "FAILED"
    assert all(Path(row[3]).exists() for row in rows.values())
    assert "sub-broken: FAILED in prep" in said
    assert "sub-killed: FAILED in slurm: SLURM says FAILED" in said
    assert "2 done, 2 failed" in said
    before = _finished(out)
    assert sorted(before) == ["sub-a", "sub-b"]
    status = {row["participant_id"]: row["status"] for row in read_table(out / "group_lesions.tsv")}
    assert status["sub-a"] == "done"
    assert status["sub-broken"] != "done"

    _mend(cohort)
    again = _start(cohort, out, model)
    said, _ = again.communicate(timeout=WITHIN_S)
    assert again.returncode == 0, said
    assert sorted(_rows(said)) == ["group", "sub-broken", "sub-killed"]
    after = _finished(out)
    assert sorted(after) == ["sub-a", "sub-b", "sub-broken", "sub-killed"]
    assert {name: after[name] for name in before} == before
    assert {row["status"] for row in read_table(out / "group_lesions.tsv")} == {"done"}
    assert not list(tmp_path.rglob("pwned"))
    assert not Path("pwned").exists()
    assert not list(out.rglob("*.pkl"))


def test_a_task_that_is_preempted_goes_on_when_there_is_room_again(cohort, model, tmp_path):
    out = tmp_path / "out"
    run = _start(cohort, out, model, "--participant-label", "killed")
    task = _until(lambda: _at_work(out, "logs/*/slurm/*_log.out", "sub-killed"), "task of sub-killed").split("_")[0]
    _ask("sbatch", "--partition=urgent", "--exclusive", f"--output={tmp_path}/urgent.log", "--wrap", "sleep 3")
    _until(lambda: _restarts(task), "restart")
    said, _ = run.communicate(timeout=WITHIN_S)
    assert run.returncode == 0, said
    assert _restarts(task) == 1
    assert "interrupted by SLURM" in next(out.glob(f"logs/*/slurm/{task}_0_log.out")).read_text()
    assert list(_finished(out)) == ["sub-killed"]
    assert not list(out.rglob(".tmp-*"))


def test_submitits_own_signal_puts_a_task_back_into_the_queue(cohort, model, tmp_path):
    out = tmp_path / "out"
    run = _start(cohort, out, model, "--participant-label", "killed")
    task = _until(lambda: _at_work(out, "logs/*/slurm/*_log.out", "sub-killed"), "task of sub-killed").split("_")[0]
    subprocess.run(["scancel", "--signal=USR2", task], check=True)
    said, _ = run.communicate(timeout=WITHIN_S)
    assert run.returncode == 0, said
    assert _restarts(task) == 1
    assert list(_finished(out)) == ["sub-killed"]


# --- hpc/slurm_submit.sh and hpc/slurm_array.sh

APPTAINER = """#!{python}
import os, sys
words, places = sys.argv[2:], {{}}
while words[0].startswith("--"):
    word = words.pop(0)
    if word == "--bind":
        there, here = words.pop(0).split(":")[:2]
        places[here] = there
assert words.pop(0) == {image!r}
for here, there in places.items():
    words = [there + word[len(here):] if word == here or word.startswith(here + "/") else word for word in words]
os.execv({python!r}, [{python!r}, "-m", "coactseg_cli", *words])
"""


def _submit(tmp_path: Path, bids: Path, out: Path, model: Path) -> list[str]:
    """Submit, with a program in place of Apptainer that runs this checkout. Returns: numbers of the array and of the group job."""
    image = tmp_path / "an image.sif"
    image.touch()
    stub = tmp_path / "apptainer"
    stub.write_text(APPTAINER.format(python=sys.executable, image=str(image)))
    stub.chmod(0o755)
    env = {**os.environ, "APPTAINER": str(stub), "COACTSEG_IMAGE": str(image), "AT_ONCE": "2"}
    sbatch = ["--cpus-per-task=1", f"--mem={MEM}", "--"]
    command = [HPC / "slurm_submit.sh", *sbatch, bids, out, *_options(bids, model)]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    return re.findall(r"job (\d+)", done.stdout)


def _over(job: str) -> str:
    """The state of a job, once it is over."""
    return _until(
        lambda: re.search(r"JobState=(COMPLETED|FAILED|CANCELLED|TIMEOUT)", _ask("scontrol", "show", "job", job)), f"end of {job}"
    )[1]


def test_the_array_script_for_images_does_the_same(cohort, model, tmp_path):
    out = tmp_path / "out put"
    array, group = _submit(tmp_path, cohort, out, model)
    _kill(_until(lambda: _at_work(out, "logs/slurm/*/*_*.log", "sub-killed"), "task of sub-killed"))
    assert _over(group) == "COMPLETED"
    labels = next(out.glob("logs/slurm/*/participants.txt")).read_text().split()
    states = {label: _over(f"{array}_{number}") for number, label in enumerate(labels, 1)}
    assert states == {"a": "COMPLETED", "b": "COMPLETED", "broken": "FAILED", "killed": "FAILED"}
    assert sorted(_finished(out)) == ["sub-a", "sub-b"]

    _mend(cohort)
    array, group = _submit(tmp_path, cohort, out, model)
    task = _until(lambda: _at_work(out, f"logs/slurm/*/{array}_*.log", "sub-killed"), "task of sub-killed")
    subprocess.run(["scontrol", "requeue", task], check=True)
    assert _over(group) == "COMPLETED"
    last = max(out.glob("logs/slurm/*/participants.txt"), key=lambda path: path.stat().st_mtime)
    assert last.read_text().split() == ["broken", "killed"]
    assert _restarts(task) == 1
    assert sorted(_finished(out)) == ["sub-a", "sub-b", "sub-broken", "sub-killed"]
    assert {row["status"] for row in read_table(out / "group_lesions.tsv")} == {"done"}


def test_a_preempted_task_of_the_array_goes_back_into_the_queue(cohort, model, tmp_path):
    out = tmp_path / "out"
    _, group = _submit(tmp_path, cohort, out, model)
    task = _until(lambda: _at_work(out, "logs/slurm/*/*_*.log", "sub-killed"), "task of sub-killed")
    subprocess.run(["scancel", "--batch", "--signal=USR1", task], check=True)  # as SLURM warns with send_user_signal
    assert _over(group) == "COMPLETED"
    assert _restarts(task) == 1
    assert "back into the queue" in next(out.glob(f"logs/slurm/*/{task}.log")).read_text()
    assert sorted(_finished(out)) == ["sub-a", "sub-b", "sub-killed"]
