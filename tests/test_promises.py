"""What docs/reliability.md promises of whole runs: the same bytes twice, nothing written elsewhere, every exit code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from benchmarks.faults import child, scene
from benchmarks.faults.injection import Fault, Watch, arm
from coactseg_cli.__main__ import main

PROJECT = Path(__file__).resolve().parents[1]
# One thread and two: the bias field is summed in another order, and what follows from it moves a little.
PLACE_TOLERANCE_MM = 0.02
VALUE_TOLERANCE = 0.03  # in 99 of 100 voxels: of probabilities, and of intensities as a share of the largest
VOXEL_SHARE = 0.005  # of the voxels of a mask


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "random.safetensors"
    scene.write_model(path)
    return path


def words(bids: Path, out: Path, model: Path, threads: int = 1) -> list[str]:
    """Two visits with registration, bias field and the whole rest."""
    what = ["-d", f"labels={bids / 'derivatives' / 'labels'}", "--model", str(model), "--threshold-all", "0.8", "--threshold-new", "0.485"]
    cpus = ["--nprocs", str(threads), "--omp-nthreads", str(threads), "--precision", "fp32", "--spacing", "4"]
    return [str(bids), str(out), "participant", "--participant-label", "01", *what, *cpus]


def run(command: list[str], **more) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own, so that its threads are as asked for."""
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=PROJECT, check=False, **more)


def files(out: Path) -> dict[str, bytes]:
    found = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    return {name: content for name, content in found.items() if not name.startswith("logs/")}


@pytest.fixture(scope="module")
def outside(tmp_path_factory) -> Path:
    """A world with a home folder, a folder of temporary files, OUT and a model cache, and nothing else to write to."""
    return tmp_path_factory.mktemp("outside")


AUDIT = """
import os, sys
opened = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
def note(event, args):
    paths = []
    if event in {"os.mkdir", "os.remove", "os.rmdir"} and args[-1] != -1:  # a name in an open folder
        args = [os.readlink(f"/proc/self/fd/{args[-1]}") + "/" + os.fsdecode(args[0])]
    if event == "open" and isinstance(args[2], int) and args[2] & WRITES:
        paths = [args[0]]
    elif event in {"os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod", "os.utime", "os.chown"}:
        paths = [args[0]]
    elif event in {"os.rename", "os.link", "os.symlink"}:
        paths = list(args[:2])
    for path in paths:
        if isinstance(path, (str, bytes, os.PathLike)):
            os.write(opened, f"{event}\\t{os.path.abspath(os.fsdecode(path))}\\n".encode())
sys.addaudithook(note)
del sys.argv[1]
from coactseg_cli.__main__ import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def first(tiny_bids, model, outside) -> Path:
    """OUT of a run that was watched; what it wrote to is in outside/writes.txt."""
    (outside / "audit.py").write_text(AUDIT)
    (outside / "home").mkdir()
    (outside / "tmp").mkdir()
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tiny_bids.rglob("*") if path.is_file()}
    env = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("COACTSEG", "XDG", "MPL", "SLURM"))},
        "HOME": str(outside / "home"),
        "TMPDIR": str(outside / "tmp"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(PROJECT),
    }
    command = [str(outside / "audit.py"), str(outside / "writes.txt"), *words(tiny_bids, outside / "out", model)]
    done = run(command, env=env)
    assert done.returncode == 0, done.stderr
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before} == before, "the input was touched"
    return outside / "out"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_is_written_outside(first, outside):
    """OUT, the folder for temporary files and the model cache; /dev and /proc are no disk."""
    lines = [line.split("\t") for line in (outside / "writes.txt").read_text().splitlines()]
    assert any(path.startswith(f"{first}/sub-01/") for _, path in lines)  # the hook sees what is written
    allowed = (f"{first}", f"{outside}/tmp", f"{outside}/home/.cache/coactseg", "/dev/", "/proc/")
    assert sorted({path for _, path in lines if not path.startswith(allowed)}) == []
    found = [path for place in ("home", "tmp") for path in (outside / place).rglob("*") if path.is_file()]
    left = sorted(path.relative_to(outside).as_posix() for path in found)
    assert [name for name in left if not name.startswith("home/.cache/coactseg/")] == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_same_command_gives_the_same_bytes(first, tiny_bids, model, tmp_path):
    assert run(["-m", "coactseg_cli", *words(tiny_bids, tmp_path / "again", model)]).returncode == 0
    a, b = files(first), files(tmp_path / "again")
    assert set(a) == set(b)
    assert [name for name in a if a[name] != b[name]] == []
    assert sum(name.endswith((".nii.gz", ".tsv")) for name in a) > 40


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_and_two_threads_agree(first, tiny_bids, model, tmp_path):
    assert run(["-m", "coactseg_cli", *words(tiny_bids, tmp_path / "two", model, threads=2)]).returncode == 0
    names = sorted(path.relative_to(first) for path in (first / "sub-01").rglob("*.nii.gz"))
    assert names == sorted(path.relative_to(tmp_path / "two") for path in (tmp_path / "two" / "sub-01").rglob("*.nii.gz"))
    for name in names:
        a, b = nib.load(first / name), nib.load(tmp_path / "two" / name)
        np.testing.assert_allclose(a.affine, b.affine, atol=PLACE_TOLERANCE_MM, err_msg=str(name))
        one, two = np.asarray(a.dataobj, np.float64), np.asarray(b.dataobj, np.float64)
        if name.name.endswith(("_dseg.nii.gz", "_mask.nii.gz")):
            assert ((one > 0) != (two > 0)).mean() < VOXEL_SHARE, name
        else:
            scale = 1.0 if name.name.endswith("_probseg.nii.gz") else float(np.abs(one).max())
            assert np.percentile(np.abs(one - two), 99) < VALUE_TOLERANCE * scale, name


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_participants_at_once_change_no_byte(small, tmp_path):
    done = []
    for name, cpus in (("one", "1"), ("two", "2")):
        command = scene.SCENARIOS["fresh"].words(small, tmp_path / name)
        shutil.copytree(small.raw, tmp_path / "raw", dirs_exist_ok=True)
        done.append(run(["-m", "coactseg_cli", *command, "--nprocs", cpus, "--omp-nthreads", "1"]))
    assert [one.returncode for one in done] == [0, 0]
    assert ["2 at once" in one.stderr for one in done] == [False, True]
    assert files(tmp_path / "one") == files(tmp_path / "two")


# ---- exit codes: each with a command of a user


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> scene.Scene:
    child.warm()
    return scene.make(tmp_path_factory.mktemp("small"))


def ended(here: scene.Scene, folder: Path, fault: Fault | None = None, *more: str) -> int:
    """The exit code of segment in a child, with a fault at one call."""
    out = folder / "out"

    def before() -> None:
        child.light_pages()
        if fault is not None:
            arm(Watch(out, folder / "work", folder / "raw", fault))

    if not (folder / "raw").exists():
        shutil.copytree(here.raw, folder / "raw")
    return child.run([*scene.SCENARIOS["fresh"].words(here, out), *more], folder, folder / "said", before)


def broken_scan(here: scene.Scene, folder: Path) -> int:
    shutil.copytree(here.raw, folder / "raw")
    (folder / "raw" / "sub-02" / "ses-1" / "anat" / "sub-02_ses-1_FLAIR.nii.gz").write_bytes(b"no image")
    return ended(here, folder, None, "--participant-label", "02")


def segment(bids: Path, folder: Path, *more: str, level: str = "participant") -> int:
    return main([str(bids), str(folder / "out"), level, "--nprocs", "1", *more])


CODES = {
    0: lambda here, folder: segment(here.raw, folder, "--dry-run"),
    1: broken_scan,
    2: lambda here, folder: segment(here.raw, folder, "--nprocs", "0"),
    16: lambda here, folder: segment(here.root, folder),
    17: lambda here, folder: segment(here.raw, folder, level="cohort"),
    18: lambda here, folder: segment(here.raw, folder, "--participant-label", "nobody"),
    66: lambda here, folder: segment(here.root / "nowhere", folder),
    73: lambda here, folder: segment(here.raw, folder, "--model", str(here.model), "-w", str(here.model)),
    74: lambda here, folder: ended(here, folder, Fault("write", "tree", 0, "ENOSPC")),
    130: lambda here, folder: ended(here, folder, Fault("rename", "maps", 0, "term")),
}


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_exit_code_has_a_command_that_gives_it(small, tmp_path, code):
    """75 is that of a training that a signal stopped: tests/coactseg_cli/test_train_together.py."""
    assert CODES[code](small, tmp_path) == code


def test_the_documents_name_every_exit_code():
    table = (PROJECT / "README.md").read_text().split("### Exit codes")[1].split("\n## ")[0]
    cells = [line.split("|")[1].replace(",", " ").split() for line in table.splitlines() if line.startswith("| ")]
    named = {int(number) for cell in cells for number in cell if number.isdigit()}
    assert named == {*CODES, 75}
