"""The scripts that train on a cluster and that repeat the paper, with stand-ins for SLURM and once for real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from coactseg_cli.convert.__main__ import main as convert
from tests.coactseg_cli.convert.conftest import write_patient

HPC = Path(__file__).resolve().parents[1] / "hpc"


def _script(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


# --- slurm_train.sh

SRUN = """#!/usr/bin/env bash
while [[ $1 == -* ]]; do shift; done
export SLURM_NTASKS=2
trap 'kill -USR1 "$first" "$second"' USR1
SLURM_PROCID=0 SLURM_LOCALID=0 "$@" & first=$!
SLURM_PROCID=1 SLURM_LOCALID=1 "$@" & second=$!
worst=0
for task in $first $second; do
    while kill -0 $task 2> /dev/null; do wait $task || true; done
    code=0; wait $task || code=$?
    ((code <= worst)) || worst=$code
done
exit $worst
"""
SCONTROL = """#!/usr/bin/env bash
if [[ $1 == show ]]; then printf 'node7\\nnode8\\n'; else echo "$@" >> "$LOG/scontrol"; fi
"""
SQUEUE = """#!/usr/bin/env bash
[[ "$*" == "--noheader --jobs 40123 --format %T" ]] && echo "${STATE:-RUNNING}"
"""
PROGRAM = """#!/usr/bin/env bash
echo "$@" >> "$LOG/arguments"
echo "$RANK $LOCAL_RANK $WORLD_SIZE $MASTER_ADDR $MASTER_PORT $OMP_NUM_THREADS" >> "$LOG/ranks"
[[ ${ENDS:-} ]] && exit "$ENDS"
trap 'touch "$OUT/checkpoint.pt"; exit 75' USR1
touch "$LOG/ready$RANK"
for _ in $(seq 300); do sleep 0.1; done
"""


@pytest.fixture
def job(tmp_path):
    """Two prepared data sets, and stand-ins for srun (two tasks), scontrol, squeue, coactseg and apptainer."""
    for name in ("one", "two", "log", "out", "bin"):
        (tmp_path / name).mkdir()
    _script(tmp_path / "bin/srun", SRUN)
    _script(tmp_path / "bin/scontrol", SCONTROL)
    _script(tmp_path / "bin/squeue", SQUEUE)
    _script(tmp_path / "bin/coactseg", PROGRAM)
    _script(tmp_path / "bin/apptainer", PROGRAM)
    return tmp_path


def _env(job: Path, **more: str) -> dict[str, str]:
    slurm = {"SLURM_JOB_ID": "40123", "SLURM_JOB_NODELIST": "node[7-8]", "SLURM_CPUS_PER_TASK": "3"}
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "COACTSEG", "CUDA_", "MASTER_"))}
    return clean | {"PATH": f"{job / 'bin'}:{os.environ['PATH']}", "LOG": str(job / "log"), "OUT": str(job / "out")} | slurm | more


def _command(job: Path, *options: str) -> list[str]:
    return [str(HPC / "slurm_train.sh"), str(job / "one"), str(job / "two"), str(job / "out"), *options]


def _run(job: Path, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(_command(job, *options), capture_output=True, text=True, check=False, env=_env(job, **env), timeout=60)


def test_every_task_knows_its_place_and_where_the_first_is(job):
    assert _run(job, "--preset", "paper", ENDS="0").returncode == 0
    assert sorted(_lines(job / "log/ranks")) == [f"{rank} {rank} 2 node7 20123 3" for rank in (0, 1)]
    wanted = f"train --nprocs 3 {job}/one {job}/two {job}/out --preset paper"
    assert _lines(job / "log/arguments") == [wanted, wanted]
    assert _lines(job / "log/scontrol") == []


@pytest.mark.parametrize("how", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_reaches_the_tasks_and_the_job_goes_back_into_the_queue(job, how):
    process = subprocess.Popen(_command(job), env=_env(job), stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 20
    while not all((job / f"log/ready{rank}").exists() for rank in (0, 1)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(how)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "back into the queue" in said
    assert _lines(job / "log/scontrol") == ["requeue 40123"]
    assert (job / "out/checkpoint.pt").exists()
    assert _run(job, ENDS="0", SLURM_RESTART_COUNT="1").returncode == 0
    assert [line.endswith("/out --resume") for line in _lines(job / "log/arguments")] == [False, False, True, True]


def test_what_ends_with_75_is_queued_again_and_what_fails_is_not(job):
    assert _run(job, ENDS="75").returncode == 0
    assert _lines(job / "log/scontrol") == ["requeue 40123"]
    for code in (1, 2, 74):
        assert _run(job, ENDS=str(code)).returncode == code
    assert _lines(job / "log/scontrol") == ["requeue 40123"]


def test_a_cancelled_job_stays_cancelled(job):
    """SLURM says COMPLETING of a job that scancel or a requeue of its own ends."""
    done = _run(job, ENDS="75", STATE="COMPLETING")
    assert done.returncode == 75
    assert "COMPLETING" in done.stderr
    assert _lines(job / "log/scontrol") == []


def test_a_job_is_not_queued_again_for_ever(job):
    done = _run(job, ENDS="75", SLURM_RESTART_COUNT="4", MAX_RESTARTS="4")
    assert done.returncode == 75
    assert "restarted 4 times" in done.stderr
    assert _lines(job / "log/scontrol") == []
    assert _run(job, ENDS="75", SLURM_RESTART_COUNT="3", MAX_RESTARTS="4").returncode == 0


def test_with_an_image_the_folders_are_mounted_and_gpus_where_there_are_some(job):
    assert _run(job, ENDS="0", COACTSEG_IMAGE="coactseg.sif").returncode == 0
    words = _lines(job / "log/arguments")[0]
    assert words.startswith("run --bind")
    assert f"--bind {job}/two:{job}/two --bind {job}/out:{job}/out coactseg.sif train" in words
    assert "--nv" not in words
    _run(job, ENDS="0", COACTSEG_IMAGE="coactseg.sif", SLURM_GPUS_ON_NODE="2")
    assert _lines(job / "log/arguments")[-1].startswith("run --nv --bind")


@pytest.mark.parametrize(
    ("arguments", "env", "says"),
    [(["one"], {}, "usage"), (["absent", "out"], {}, "absent: no such folder"), (["one", "out"], {"SLURM_JOB_ID": ""}, "sbatch")],
)
def test_wrong_use_is_said_before_anything_runs(job, arguments, env, says):
    command = [str(HPC / "slurm_train.sh"), *(str(job / name) for name in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_env(job, **env))
    assert done.returncode == 2
    assert says in done.stderr
    assert _lines(job / "log/arguments") == []


# --- reproduce_paper.sh

RECORDER = """#!/usr/bin/env bash
echo "$@" >> "$LOG/arguments"
[[ $1 != train ]] || exit "${TRAIN_ENDS:-0}"
if [[ $1 == evaluate ]]; then
    mkdir -p "$4"
    printf 'group\\tkind\\tmetric\\tn_cases\\tn\\tmean\\n' > "$4/summary.tsv"
    printf 'with_reference_lesions\\tnew\\tdice\\t8\\t7\\t0.61234\\n' >> "$4/summary.tsv"
    printf 'without_reference_lesions\\tnew\\tdice\\t3\\t0\\tn/a\\n' >> "$4/summary.tsv"
fi
"""


@pytest.fixture
def study(tmp_path):
    """A data set with the four values of split, two label data sets and no masks; coactseg writes down how it was called."""
    (tmp_path / "log").mkdir()
    for name in ("labels", "labels-expert2"):
        (tmp_path / "bids/derivatives" / name).mkdir(parents=True)
    rows = ["sub-015\ttrain\tF", "sub-013\tvalidation\tM", "sub-001\ttest\tF", "sub-026\tvalidation\tF", "sub-x\tn/a\tF"]
    (tmp_path / "bids/participants.tsv").write_text("\n".join(["participant_id\tsplit\tsex", *rows]) + "\n")
    _script(tmp_path / "coactseg", RECORDER)
    return tmp_path


def _reproduce(study: Path, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COACTSEG": str(study / "coactseg"), "LOG": str(study / "log"), **env}
    command = [str(HPC / "reproduce_paper.sh"), str(study / "bids"), str(study / "out"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def _calls(study: Path) -> dict[str, list[str]]:
    return {line.split()[0]: line.split() for line in _lines(study / "log/arguments")}


def _after(words: list[str], option: str) -> list[str]:
    return [words[i + 1] for i, word in enumerate(words) if word == option]


def test_the_split_decides_who_is_trained_on_and_who_is_scored(study):
    done = _reproduce(study)
    assert done.returncode == 0, done.stderr
    calls = _calls(study)
    assert _after(calls["prep"], "--participant-label") == ["015", "013", "026", "x"]
    assert _after(calls["train"], "--validation") == ["013", "026"]
    assert _after(calls["segment"], "--participant-label") == _after(calls["evaluate"], "--participant-label") == ["013", "026"]


def test_the_recipe_is_the_published_one(study):
    _reproduce(study)
    calls = _calls(study)
    assert " ".join(calls["prep"]).endswith("--preregistered --spacing 0.5,0.75,0.75 --no-n4")
    assert _after(calls["train"], "--preset") == ["paper"]
    assert _after(calls["segment"], "--inference") == ["windows"]
    assert _after(calls["segment"], "--threshold-new") == ["0.5"]
    scored = [line.split()[1:4] for line in _lines(study / "log/arguments") if line.startswith("evaluate")]
    out = study / "out"
    assert scored == [
        [f"{out}/maps", f"{out}/prepared", f"{out}/scores/coactseg"],
        [f"{out}/maps", f"{study}/bids/derivatives/labels", f"{out}/scores/mm"],
    ]


def test_options_of_train_come_last_and_the_environment_reaches_the_rest(study):
    (study / "bids/derivatives/masks").mkdir()
    env = {"LABELS": "labels-expert2", "SPACING": "1,2,3", "PREP_OPTIONS": "--skull-strip builtin", "SEGMENT_OPTIONS": "--device cuda"}
    assert _reproduce(study, "--iterations", "7", **env).returncode == 0
    calls = _calls(study)
    assert calls["train"][-2:] == ["--iterations", "7"]
    assert _after(calls["prep"], "-d") == [f"labels={study}/bids/derivatives/labels-expert2", f"masks={study}/bids/derivatives/masks"]
    assert _after(calls["prep"], "--spacing") == ["1,2,3"]
    assert calls["prep"][-2:] == ["--skull-strip", "builtin"]
    assert calls["segment"][-2:] == ["--device", "cuda"]


def test_training_may_have_a_program_of_its_own_and_goes_on_where_it_stopped(study):
    _script(study / "trainer", '#!/bin/sh\necho "trainer $@" >> "$LOG/arguments"\n')
    (study / "out/model").mkdir(parents=True)
    (study / "out/model/checkpoint.pt").touch()
    assert _reproduce(study, COACTSEG_TRAIN=f"{study / 'trainer'} --nproc-per-node 4").returncode == 0
    assert _calls(study)["trainer"][:4] == ["trainer", "--nproc-per-node", "4", "train"]
    assert _calls(study)["trainer"][-1] == "--resume"


def test_a_step_that_fails_stops_the_rest_with_its_exit_code(study):
    assert _reproduce(study, TRAIN_ENDS="75").returncode == 75
    assert "segment" not in _calls(study)


def test_the_scores_stand_beside_the_papers(study):
    said = _reproduce(study).stdout
    rows = [line.split() for line in said.splitlines()]
    assert ["new", "dice", "0.6123", "7", "of", "8", "0.6382"] in rows
    assert ["all", "dice", "n/a", "0", "0.7232"] in rows
    assert "labelling bug" in said
    assert "chose the checkpoint" in said


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda s: (s / "bids/participants.tsv").unlink(), "coactseg_cli.convert"),
        (lambda s: (s / "bids/participants.tsv").write_text("participant_id\tsex\nsub-1\tF\n"), "no column 'split'"),
        (lambda s: (s / "bids/participants.tsv").write_text("participant_id\tsplit\nsub-1\ttrain\n"), "nobody has the split 'validation'"),
        (lambda s: (s / "bids/derivatives/labels").rmdir(), "LABELS="),
    ],
    ids=["no table", "no column", "nobody", "no labels"],
)
def test_a_data_set_that_cannot_do_is_refused_at_once(study, damage, says):
    damage(study)
    done = _reproduce(study)
    assert done.returncode == 2
    assert says in done.stderr
    assert _calls(study) == {}


@pytest.mark.slow
def test_the_whole_road_on_made_up_patients(tmp_path):
    """Training patients 015 and 016, validation 013, testing 002; two iterations of a network of two filters."""
    for number, place in enumerate(("training/013", "training/015", "training/016", "testing/002")):
        write_patient(tmp_path / "src" / place, seed=number)
    assert convert(["msseg2", str(tmp_path / "src"), str(tmp_path / "bids")]) == 0
    program = f"{sys.executable} -m coactseg_cli"
    env = {"COACTSEG": program, "PREP_OPTIONS": "--skull-strip none", "SEGMENT_OPTIONS": "--patch-size 16 --stride 16"}
    tiny = ["--iterations", "2", "--base-filters", "2", "--patch-size", "16", "--pairs-per-batch", "2", "--singles-per-batch", "0"]
    done = _reproduce(tmp_path, *tiny, **env)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == ["maps", "model", "prepared", "scores"]
    assert [path.name for path in sorted((out / "maps").glob("sub-*")) if path.is_dir()] == ["sub-013"]
    assert not (out / "prepared/sub-002").exists()
    assert "1 of 1" in done.stdout
    again = _reproduce(tmp_path, *tiny, **env)  # everything is complete
    assert again.returncode == 0, again.stderr
