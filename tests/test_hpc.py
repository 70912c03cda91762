"""The scripts for images and clusters, each run for real on small stand-ins."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

HPC = Path(__file__).resolve().parents[1] / "hpc"


def _run(*command: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, env={**os.environ, **env})


# --- check_weights.sh


@pytest.fixture
def weights(tmp_path):
    (tmp_path / "default.safetensors").write_bytes(b"weights")
    (tmp_path / "SHA256SUMS").write_text(f"{hashlib.sha256(b'weights').hexdigest()}  default.safetensors\n")
    return tmp_path


def test_weights_as_listed_pass(weights):
    done = _run(HPC / "check_weights.sh", weights)
    assert done.returncode == 0
    assert "1 weights file(s)" in done.stdout


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda d: (d / "default.safetensors").write_bytes(b"weightS"), "default.safetensors: FAILED"),
        (lambda d: (d / "default.safetensors").unlink(), "default.safetensors"),
        (lambda d: (d / "other.safetensors").write_bytes(b"x"), "other.safetensors is not listed"),
        (lambda d: (d / "SHA256SUMS").unlink(), "no SHA256SUMS"),
        (lambda d: (d / "SHA256SUMS").write_text("nonsense\n"), "SHA256SUMS"),
    ],
    ids=["changed", "missing", "unlisted", "no list", "broken list"],
)
def test_anything_else_fails_and_says_why(weights, damage, says):
    damage(weights)
    done = _run(HPC / "check_weights.sh", weights)
    assert done.returncode != 0
    assert says in done.stdout + done.stderr


# --- fetch_weights.py


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "release.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("fold_all/checkpoint_final.pth", b"parameters")
        file.writestr("plans.json", b"{}")
    return path


def _fetch(url: str, sha256: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return _run(sys.executable, HPC / "fetch_weights.py", url, sha256, folder)


def test_an_archive_with_the_right_hash_is_unpacked(archive, tmp_path):
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert _fetch(archive.as_uri(), sha256.upper(), tmp_path / "to").returncode == 0
    assert (tmp_path / "to/fold_all/checkpoint_final.pth").read_bytes() == b"parameters"


def test_another_hash_is_named_and_nothing_is_kept(archive, tmp_path):
    done = _fetch(archive.as_uri(), "0" * 64, tmp_path / "to")
    assert done.returncode == 1
    assert hashlib.sha256(archive.read_bytes()).hexdigest() in done.stderr
    assert not (tmp_path / "to").exists()


# --- slurm_array.sh


@pytest.fixture
def cluster(tmp_path):
    """A BIDS folder of two participants and an 'apptainer' that writes down how it was called."""
    for name in ("sub-b2", "sub-a1"):
        (tmp_path / "bids" / name).mkdir(parents=True)
    (tmp_path / "bids" / "participants.tsv").touch()
    stub = tmp_path / "apptainer"
    stub.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nexit "${FAIL:-0}"\n')
    stub.chmod(0o755)
    return tmp_path


def _task(cluster: Path, number: int, *more: str, **env: str) -> subprocess.CompletedProcess[str]:
    env = {
        "APPTAINER": str(cluster / "apptainer"),
        "SLURM_ARRAY_TASK_ID": str(number),
        "SLURM_CPUS_PER_TASK": "4",
        "TMPDIR": str(cluster),
        **env,
    }
    return _run(HPC / "slurm_array.sh", cluster / "bids", cluster / "out", *more, **env)


def test_count_is_the_size_of_the_array(cluster):
    assert _run(HPC / "slurm_array.sh", "--count", cluster / "bids").stdout.strip() == "2"


def test_each_task_works_on_its_participant(cluster):
    first, second = (_task(cluster, n).stdout.split("\n") for n in (1, 2))
    assert first[first.index("--participant-label") + 1] == "a1"
    assert second[second.index("--participant-label") + 1] == "b2"
    assert f"{cluster}/bids:/bids:ro" in first
    assert first[first.index("--nprocs") + 1] == "4"


def test_options_are_passed_on_and_the_work_folder_goes(cluster):
    assert _task(cluster, 1, "--skull-strip", "none").stdout.endswith("--skull-strip\nnone\n")
    assert not list(cluster.glob("coactseg.*"))


def test_a_failed_participant_is_a_failed_task(cluster):
    assert _task(cluster, 1, FAIL="1").returncode == 1


def test_a_task_beyond_the_participants_says_how_many_there_are(cluster):
    done = _task(cluster, 3)
    assert done.returncode == 2
    assert "only 2 participants" in done.stderr


def test_only_labels_count_and_a_list_of_them_can_be_given(cluster):
    for name in ("sub-no label", "sub-$(touch x)", "sub-"):
        (cluster / "bids" / name).mkdir()
    assert _run(HPC / "slurm_array.sh", "--list", cluster / "bids").stdout.split() == ["a1", "b2"]
    (cluster / "who").write_text("z9\nb2\n")
    words = _task(cluster, 1, COACTSEG_PARTICIPANTS=str(cluster / "who"), COACTSEG_SKIP="1").stdout.split("\n")
    assert words[words.index("--participant-label") + 1] == "b2"
    (cluster / "who").write_text("a1; rm -rf /\n")
    done = _task(cluster, 1, COACTSEG_PARTICIPANTS=str(cluster / "who"))
    assert done.returncode == 2
    assert "no label" in done.stderr


def test_the_level_group_needs_no_array(cluster):
    env = {"APPTAINER": str(cluster / "apptainer"), "TMPDIR": str(cluster)}
    words = _run(HPC / "slurm_array.sh", "--group", cluster / "bids", cluster / "out", **env).stdout.split("\n")
    assert words[words.index("segment") :] == ["segment", "/bids", "/out", "group", ""]


def test_paths_that_apptainer_cannot_mount_are_refused(cluster):
    (cluster / "bids").rename(cluster / "a:b")
    env = {"SLURM_ARRAY_TASK_ID": "1", "TMPDIR": str(cluster)}
    done = _run(HPC / "slurm_array.sh", cluster / "a:b", cluster / "out", **env)
    assert done.returncode == 2
    assert "colon" in done.stderr


SLEEPER = """#!/usr/bin/env bash
trap 'echo ended cleanly; exit 130' TERM
touch "$CLUSTER/ready"
for _ in $(seq 300); do sleep 0.1; done
"""
SQUEUE = '#!/bin/sh\necho "${STATE:-RUNNING}"\n'
SCONTROL = '#!/bin/sh\necho "$@" >> "$CLUSTER/requeued"\n'


@pytest.mark.parametrize(
    ("how", "env", "code", "requeued"),
    [
        ("USR1", {}, 75, True),
        ("TERM", {}, 75, True),
        ("TERM", {"STATE": "COMPLETING"}, 75, False),  # scancel, or SLURM requeues it itself
        ("USR1", {"SLURM_JOB_END_TIME": "1"}, 1, False),  # its time is over
        ("USR1", {"SLURM_RESTART_COUNT": "100"}, 75, False),
    ],
)
def test_a_warned_task_ends_cleanly_and_goes_back_into_the_queue(cluster, how, env, code, requeued):
    for name, text in {"apptainer": SLEEPER, "squeue": SQUEUE, "scontrol": SCONTROL}.items():
        (cluster / name).write_text(text)
        (cluster / name).chmod(0o755)
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
    clean |= {"PATH": f"{cluster}:{os.environ['PATH']}", "CLUSTER": str(cluster), "TMPDIR": str(cluster)}
    clean |= {"SLURM_ARRAY_TASK_ID": "1", "SLURM_JOB_ID": "77", **env}
    command = [str(HPC / "slurm_array.sh"), str(cluster / "bids"), str(cluster / "out")]
    process = subprocess.Popen(command, env=clean, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 20
    while not (cluster / "ready").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(getattr(signal, f"SIG{how}"))
    said, _ = process.communicate(timeout=20)
    assert "ended cleanly" in said
    assert process.returncode == code
    assert (cluster / "requeued").exists() is requeued
    if requeued:
        assert (cluster / "requeued").read_text() == "requeue 77\n"
    assert not list(cluster.glob("coactseg.*"))


# --- slurm_submit.sh

SBATCH = """#!/usr/bin/env bash
{ printf '%s\\n' "$@"; echo "SKIP=${COACTSEG_SKIP:-} LIST=$COACTSEG_PARTICIPANTS"; echo --; } >> "$CLUSTER/submitted"
echo "$((100 + $(grep -c '^--$' "$CLUSTER/submitted")));here"
"""


LISTING = {
    "participants": [
        {"participant": "sub-a1", "state": "changed", "reason": 'sub-b2 is "to_do"'},
        {"participant": "sub-b2", "state": "complete"},
        {"participant": "sub-c3", "state": "to_do"},
        {"participant": "sub-d4", "state": "cannot_be_done"},
    ]
}


def _submit(cluster: Path, *words: object, **env: str) -> subprocess.CompletedProcess[str]:
    (cluster / "sbatch").write_text(SBATCH)
    (cluster / "scontrol").write_text('#!/bin/sh\necho "MaxArraySize            = ${LONGEST:-1001}"\n')
    for name in ("sbatch", "scontrol"):
        (cluster / name).chmod(0o755)
    (cluster / "coactseg.sif").touch()
    base = {"PATH": f"{cluster}:{os.environ['PATH']}", "CLUSTER": str(cluster), "COACTSEG_IMAGE": str(cluster / "coactseg.sif")}
    return _run(HPC / "slurm_submit.sh", *words, **base, **env)


def _submissions(cluster: Path) -> list[list[str]]:
    return [part.strip().split("\n") for part in (cluster / "submitted").read_text().split("--\n")[:-1]]


def test_the_array_and_the_group_after_it_are_submitted_with_the_users_options(cluster):
    done = _submit(
        cluster, "--partition=long", "--comment=it's $(here)", "--", cluster / "bids", cluster / "out", "--tile", "128", AT_ONCE="7"
    )
    assert done.returncode == 0, done.stderr
    assert "job 101, 2 tasks, 7 at once" in done.stdout
    assert "group: job 102" in done.stdout
    array, group = _submissions(cluster)
    assert array[:4] == ["--parsable", "--partition=long", "--comment=it's $(here)", "--array=1-2%7"]
    assert array[-5:-1] == [str(cluster / "bids"), str(cluster / "out"), "--tile", "128"]
    assert "--dependency=afterany:101" in group
    assert group[-4:-1] == ["--group", str(cluster / "bids"), str(cluster / "out")]


def test_who_is_complete_is_not_submitted_unless_everyone_or_a_list_is_asked_for(cluster):
    complete = cluster / "out/logs/complete"
    complete.mkdir(parents=True)
    (complete / "sub-a1.json").touch()
    lists = cluster / "out/logs/slurm"

    def who(**env: str) -> list[str]:
        shutil.rmtree(lists, ignore_errors=True)
        assert _submit(cluster, cluster / "bids", cluster / "out", **env).returncode == 0
        return next(lists.glob("*/participants.txt")).read_text().split()

    assert who() == ["b2"]
    assert who(WHO="all") == ["a1", "b2"]
    (cluster / "mine").write_text("sub-a1\n\n")
    assert who(WHO=str(cluster / "mine")) == ["a1"]
    (cluster / "apptainer").write_text("#!/bin/sh\ncat << END\n" + json.dumps(LISTING, indent=1) + "\nEND\n")
    assert who(WHO="program", APPTAINER=str(cluster / "apptainer")) == ["a1", "c3"]
    (complete / "sub-b2.json").touch()
    (cluster / "submitted").unlink()
    assert who() == []
    assert len(_submissions(cluster)) == 1  # the group alone


def test_a_cohort_longer_than_an_array_follows_in_further_arrays(cluster):
    for number in range(5):
        (cluster / f"bids/sub-c{number}").mkdir()
    assert _submit(cluster, cluster / "bids", cluster / "out", LONGEST="4").returncode == 0  # 3 tasks from 1 on
    words = _submissions(cluster)
    assert [next(w for w in part if w.startswith("--array")) for part in words[:-1]] == [
        "--array=1-3%20",
        "--array=1-3%20",
        "--array=1-1%20",
    ]
    assert [part[-1].split()[0] for part in words[:-1]] == ["SKIP=0", "SKIP=3", "SKIP=6"]
    assert ["--dependency=afterany:102" in part for part in words] == [False, False, True, False]


@pytest.mark.parametrize(
    ("words", "env", "says"),
    [
        ((), {}, "usage"),
        (("nowhere", "out"), {}, "no such folder"),
        (("bids", "100%"), {}, "Rename"),
        (("bids", "out"), {"AT_ONCE": "1; reboot"}, "AT_ONCE"),
    ],
)
def test_wrong_use_submits_nothing(cluster, words, env, says):
    done = _submit(cluster, *(cluster / word for word in words), **env)
    assert done.returncode == 2
    assert says in done.stderr
    assert not (cluster / "submitted").exists()


# --- compare_outputs.py


def test_outputs_are_compared_byte_for_byte_but_for_places(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    for root, place in ((one, "/bids"), (other, "/data/bids")):
        (root / "logs").mkdir(parents=True)
        (root / "logs/coactseg.log").write_text(place)
        (root / "mask.nii.gz").write_bytes(b"\x00mask")
        (root / "table.tsv").write_text("a\tb\n")
        (root / "description.json").write_text(f'{{"URL": "file://{place}"}}')
    compare = [sys.executable, HPC / "compare_outputs.py", one, other]
    assert _run(*compare, "/bids=/data/bids").returncode == 0
    assert "differs: description.json" in _run(*compare).stdout
    (other / "table.tsv").write_text("a\tc\n")
    (other / "more.nii.gz").touch()
    done = _run(*compare, "/bids=/data/bids")
    assert done.returncode == 1
    assert "differs: table.tsv" in done.stdout
    assert f"only in {other}: more.nii.gz" in done.stdout


# --- style, and the whole thing under a container's conditions


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_has_nothing_to_say():
    done = _run("shellcheck", *sorted(HPC.glob("*.sh")), HPC.parent / ".ci/run")
    assert (done.returncode, done.stdout) == (0, "")


def _can_sandbox() -> bool:
    return shutil.which("bwrap") is not None and _run("bwrap", "--unshare-all", "--ro-bind", "/", "/", "true").returncode == 0


@pytest.mark.skipif(not _can_sandbox(), reason="bubblewrap is not installed, or may not make namespaces here")
def test_help_works_with_read_only_root_foreign_user_no_home_no_network():
    """`make test-container` runs a segmentation this way."""
    done = _run(HPC / "test_container.sh", Path(sys.executable).parent, "--version")
    assert "user 54321 is unknown" in done.stdout
    assert "Read-only file system" in done.stdout
    assert "nothing was written" in done.stderr  # --version went well, and the script noticed that no data set was made


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not _can_sandbox(), reason="bubblewrap is not installed, or may not make namespaces here")
def test_a_run_in_the_sandbox_writes_what_the_same_run_outside_writes():
    done = _run(HPC / "test_container.sh", Path(sys.executable).parent)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\d+ files are the same, \d+ of them \(every image, table, transform\) byte for byte", done.stdout)
