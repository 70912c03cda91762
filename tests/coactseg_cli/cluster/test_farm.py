"""The road from jobs to outcomes on a stand-in for SLURM: sbatch runs the tasks at once, squeue says what became of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bids_app.cases import SubjectFailure, Timeline
from bids_app.derivatives import Derivatives
from coactseg_cli import completion
from coactseg_cli.cluster import farm, submission
from coactseg_cli.cluster.farm import Places, run_on_slurm
from coactseg_cli.cluster.request import Request
from coactseg_cli.cluster.states import GONE, TaskState
from coactseg_cli.cluster.submission import Task
from coactseg_cli.config import Executor, PrepConfig, RunConfig
from coactseg_cli.errors import SubmissionFailed
from coactseg_cli.logs import RunLog
from coactseg_cli.participant import Job, Outcome

PROJECT = Path(__file__).resolve().parents[3]

# The tasks of a job run one after the other in the background; of two lines about a task in `states` the later counts.
SBATCH = """#!/usr/bin/env bash
[[ -z ${REFUSES:-} ]] || { echo "sbatch: error: $REFUSES" >&2; exit 1; }
job=$(($(cat "$SLURM/last") + 1))
echo $job > "$SLURM/last"
script=$SLURM/script.$job
cp "$1" "$script"
last=$(sed -nE 's/^#SBATCH --array=0-([0-9]+)%.*/\\1/p' "$script")
tasks=$([[ -n $last ]] && seq 0 "$last" || echo N/A)
for task in $tasks; do echo "$job $task PENDING 0" >> "$SLURM/states"; done
(
    export SLURM_JOB_ID=$job
    while [[ ! -e $SLURM/go ]]; do sleep 0.05; done # until somebody looks: submitit has moved what travels by then
    for task in $tasks; do
        [[ $task == N/A ]] || export SLURM_ARRAY_JOB_ID=$job SLURM_ARRAY_TASK_ID=$task
        bash "$script" > "$SLURM/out.$job.$task" 2>&1
        code=$?
        echo "$job $task $([[ $code == 0 ]] && echo COMPLETED || echo FAILED) $((code * 256))" >> "$SLURM/states"
    done
) > /dev/null 2>&1 &
echo "Submitted batch job $job"
"""
SRUN = '#!/usr/bin/env bash\nwhile [[ $1 == --* ]]; do [[ $1 != --output ]] || shift; shift; done\nexec "$@"\n'
SQUEUE = '#!/usr/bin/env bash\ntouch "$SLURM/go"; cat "$SLURM/states"\n'
SCONTROL = '#!/usr/bin/env bash\necho "MaxArraySize = ${LONGEST:-1001}"\n'


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> Path:
    """Stand-ins of SLURM's programs on PATH, and their memory."""
    place = tmp_path / "slurm"
    place.mkdir()
    (place / "last").write_text("11")
    (place / "states").touch()
    for name, text in {"sbatch": SBATCH, "srun": SRUN, "squeue": SQUEUE, "scontrol": SCONTROL, "scancel": "#!/bin/sh\n"}.items():
        (place / name).write_text(text)
        (place / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM", str(place))
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(farm, "FIRST_LOOK_S", 0.1)
    monkeypatch.setattr(farm, "LOOK_EVERY_S", 0.2)
    return place


def _jobs(out: Path, *subjects: str) -> list[Job]:
    """Participants without a scan, so that each fails at once, in its own task."""
    log = RunLog(out / "logs" / "run")
    log.folder.mkdir(parents=True)
    return [
        Job(
            Timeline(subject, (), ()),
            PrepConfig(),
            None,
            Derivatives(out),
            log,
            completion.Record(subject, "", {}, ()),
            "Research use only.",
        )
        for subject in subjects
    ]


def _run(out: Path, jobs: list[Job], *, group: bool = False, **run: object) -> tuple[int, list[Outcome], str]:
    outcomes: list[Outcome] = []
    said: list[str] = []
    config = RunConfig(executor=Executor.SLURM, **run)
    code = run_on_slurm(jobs, config, Places(out, out / "raw", RunLog(out / "logs" / "run")), said.append, outcomes.append, group=group)
    return code, outcomes, "\n".join(said)


def test_every_job_becomes_a_task_whose_outcome_and_log_are_told(slurm, tmp_path):
    out = tmp_path / "it's $(touch x) out"
    code, outcomes, said = _run(out, _jobs(out, "a", "b"), group=True)
    assert [outcome.subject for outcome in outcomes] == ["a", "b"]
    assert all(outcome.failure is not None for outcome in outcomes)
    rows = [line.split(maxsplit=4) for line in said.splitlines() if line.startswith(("sub-", "group"))]
    assert [row[:4] for row in rows] == [
        ["sub-a", "12_0", "FAILED", "1:0"],
        ["sub-b", "12_1", "FAILED", "1:0"],
        ["group", "13", "FAILED", "1:0"],  # nobody was segmented
    ]
    assert code == 1
    script = (slurm / "script.12").read_text()
    assert "#SBATCH --array=0-1%2\n" in script
    assert "#SBATCH --requeue\n" in script
    assert "#SBATCH --signal=USR2@90\n" in script
    assert "#SBATCH --dependency=afterany:12\n" in (slurm / "script.13").read_text()
    table = (out / "logs/run/slurm/status.tsv").read_text().splitlines()
    assert table[0] == "participant\ttask\tstate\texit\tlog"
    assert len(table) == 4
    assert not list(out.rglob("*.pkl"))


def test_without_waiting_the_jobs_are_named_and_nothing_is_told(slurm, tmp_path):
    code, outcomes, said = _run(tmp_path / "out", _jobs(tmp_path / "out", "a", "b", "c"), wait=False, slurm_array_parallelism=2)
    assert (code, outcomes) == (0, [])
    assert "job 12, 3 tasks" in said
    assert "squeue --jobs=12" in said
    assert "--array=0-2%2\n" in (slurm / "script.12").read_text()


def test_a_cohort_longer_than_an_array_follows_in_arrays_one_after_the_other(slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("LONGEST", "2")
    _run(tmp_path / "out", _jobs(tmp_path / "out", *"abcde"), wait=False, group=True)
    scripts = [(slurm / f"script.{number}").read_text() for number in (12, 13, 14, 15)]
    assert ["--array=0-1%2" in script for script in scripts] == [True, True, False, False]
    waits = [line for script in scripts for line in script.splitlines() if "dependency" in line]
    assert waits == [f"#SBATCH --dependency=afterany:{number}" for number in (12, 13, 14)]


def test_what_sbatch_refuses_is_said_with_its_own_words(slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("REFUSES", "invalid partition specified: lnog")
    with pytest.raises(SubmissionFailed, match="invalid partition specified: lnog"):
        _run(tmp_path / "out", _jobs(tmp_path / "out", "a"), slurm={"partition": "lnog"})


def test_options_reach_sbatch_as_one_quoted_word(slurm, tmp_path):
    _run(tmp_path / "out", _jobs(tmp_path / "out", "a"), wait=False, slurm={"comment": "it's; rm -rf $HOME", "time": "1-1"}, mem_mb=9000)
    script = (slurm / "script.12").read_text()
    assert """#SBATCH --comment='it'"'"'s; rm -rf $HOME'\n""" in script
    assert "#SBATCH --time=1500\n" in script
    assert "#SBATCH --mem=9000M\n" in script
    assert subprocess.run(["bash", "-n", slurm / "script.12"], check=False).returncode == 0


# --- states to outcomes, without any process


def _task(tmp_path: Path, *, began: bool = True) -> Task:
    log = tmp_path / "12_0_0_log.out"
    if began:
        log.touch()
    return Task("sub-a", "12_0", log)


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (TaskState("OUT_OF_MEMORY", 0, 125), "--mem 8000"),
        (TaskState("TIMEOUT", 0, 1), "--slurm time="),
        (TaskState("CANCELLED", 0, 15), "cancelled"),
        (TaskState("FAILED", 137, 0), "exit 137:0"),
        (TaskState("NODE_FAIL", 0, 9), "does again"),
    ],
)
def test_a_task_that_says_nothing_fails_with_slurms_word_and_a_way_out(state, says, tmp_path):
    job = _jobs(tmp_path / "out", "a")[0]
    outcome = farm._outcome(job, _task(tmp_path), state, None, RunConfig())
    assert outcome.failure.stage == "slurm"
    assert says in outcome.failure.message
    assert state.name in outcome.failure.message
    assert says.split()[0] in (tmp_path / "out/sub-a.html").read_text()


def test_a_task_that_was_cancelled_before_it_began_has_no_outcome(tmp_path):
    job = _jobs(tmp_path / "out", "a")[0]
    assert farm._outcome(job, _task(tmp_path, began=False), TaskState("CANCELLED"), None, RunConfig()) is None


def test_what_a_task_wrote_counts_where_it_ended_by_itself(tmp_path):
    job = _jobs(tmp_path / "out", "a")[0]
    found = Outcome("a", failure=SubjectFailure("a", "slurm", "interrupted"))
    for state in (TaskState("FAILED", 1), TaskState("COMPLETED"), GONE):
        assert farm._outcome(job, _task(tmp_path), state, found, RunConfig()) is found
    timed_out = farm._outcome(job, _task(tmp_path), TaskState("TIMEOUT", 0, 1), found, RunConfig())
    assert "interrupted" in timed_out.failure.message
    assert "TIMEOUT" in timed_out.failure.message


def test_an_end_counts_when_it_is_seen_twice_and_a_requeue_undoes_it(monkeypatch, tmp_path):
    seen = iter([{"12_0": TaskState("NODE_FAIL", 0, 9)}, {"12_0": TaskState("PENDING")}, {"12_0": TaskState("FAILED", 1)}] + [{}] * 2)
    monkeypatch.setattr(farm.states, "look", lambda _: next(seen))
    task = _task(tmp_path)
    watch = farm._Watch([task])
    over = []
    for _ in range(4):
        watch.look()
        over.append(watch.over(task))
    assert over == [False, False, False, True]
    assert watch.states["12_0"] == TaskState("FAILED", 1)  # kept when SLURM had forgotten it


def test_a_controller_that_is_silent_for_a_while_changes_nothing(monkeypatch, tmp_path, capsys):
    def silent(_):
        raise farm.states.NoAnswer("squeue: Unable to contact")

    task = _task(tmp_path)
    watch = farm._Watch([task])
    monkeypatch.setattr(farm.states, "look", silent)
    for _ in range(3):
        watch.look()
    assert not watch.over(task)
    assert capsys.readouterr().err.count("does not answer") == 1


def test_the_first_failure_takes_the_waiting_out_of_the_queue(slurm, tmp_path):
    (slurm / "scancel").write_text('#!/bin/sh\necho "$@" >> "$SLURM/cancelled"\n')
    _run(tmp_path / "out", _jobs(tmp_path / "out", "a", "b"), stop_on_first_crash=True)
    assert (slurm / "cancelled").read_text().splitlines()[0] == "--state=PENDING 12"


def test_tasks_run_with_this_python_and_take_no_module_from_where_they_start(slurm, tmp_path):
    command = submission._executor(tmp_path, Request(2, 30, 5), after="7")._submitit_command_str
    assert command == f"{sys.executable} -P -u -m submitit.core._submit {tmp_path}"
