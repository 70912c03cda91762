"""The scripts for images and clusters, each run for real on small stand-ins."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
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
