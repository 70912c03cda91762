"""The fault harness itself, with a handful of faults; `make faults` runs hundreds. Without write-then-rename it must turn red."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.faults import cases, child, scene
from benchmarks.faults.__main__ import one
from benchmarks.faults.injection import Point, Watch
from benchmarks.faults.place import Place, baselines
from benchmarks.faults.verdict import OK, Verdict, after_fault, after_rerun

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """A scene with its undisturbed runs."""
    child.warm()
    root = tmp_path_factory.mktemp("faults")
    here = scene.make(root / "scene")
    return root / "case", here, baselines(root / "case", here, ("fresh", "prep"), root / "starts")


@pytest.mark.parametrize(
    ("point", "seed"), [("write:maps:kill-half", 1), ("rename:record:kill-before", 1), ("write:page:ENOSPC", 2), ("read:input:vanish", 3)]
)
def test_a_fault_ends_well(ground, point, seed):
    root, here, made = ground
    (case,) = cases.points_of(point, 1, seed, {"fresh": made["fresh"]})
    assert one(Place(root, here, made["fresh"]), case) is OK


def test_without_the_rename_the_harness_turns_red(ground):
    root, here, made = ground
    (case,) = cases.points_of("write:maps:kill-half", 1, 1, {"fresh": made["fresh"]})
    assert one(Place(root, here, made["fresh"], in_place=True), case).verdict == Verdict.HALF


def test_faults_are_drawn_from_the_seed_and_spread(ground):
    made = ground[2]
    first, again, other = (cases.plan(60, seed, made, disks=True, workers=True) for seed in (1, 1, 2))
    assert [(c.kind, c.stage, c.what) for c in first] == [(c.kind, c.stage, c.what) for c in again]
    assert [c.what for c in first] != [c.what for c in other]
    assert len(first) == 60
    assert {"prep", "maps", "page", "record", "tree", "log"} <= {c.stage for c in first}


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_two_hundred_faults_end_well():
    command = [sys.executable, "-m", "benchmarks.faults", "--n", "200", "--seed", "2"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, check=False)
    assert run.returncode == 0, run.stdout


# ---- verdicts


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "verdict"),
    [(b"old", Verdict.OK), (b"newer", Verdict.OK), (b"ne", Verdict.HALF), (b"", Verdict.HALF), (b"other", Verdict.WRONG)],
)
def test_right_after_a_fault_a_file_is_old_or_new(tmp_path, content, verdict):
    write(tmp_path / "sub-01" / "a", content)
    write(tmp_path / "sub-01" / ".tmp-1-a", b"ne")
    assert after_fault(tmp_path, ({"sub-01/a": b"old"}, {"sub-01/a": b"newer"})).verdict == verdict


def test_the_sessions_table_of_prep_is_a_whole_one(tmp_path):
    write(tmp_path / "sub-01" / "sub-01_sessions.tsv", b"session_id\tacq_time\nses-1\tn/a\n")
    new = {"sub-01/sub-01_sessions.tsv": b"session_id\tacq_time\tn\nses-1\tn/a\t3\n"}
    assert after_fault(tmp_path, (new,)) is OK


def test_a_record_that_does_not_hold_is_wrong(tmp_path):
    write(tmp_path / "sub-01" / "a", b"x")
    write(tmp_path / "logs" / "complete" / "sub-01.json", b'{"outputs": {"sub-01/a": "00"}}')
    assert after_fault(tmp_path, ({"sub-01/a": b"x"},)).verdict == Verdict.WRONG
    write(tmp_path / "logs" / "complete" / "sub-01.json", b'{"outp')
    assert after_fault(tmp_path, ({"sub-01/a": b"x"},)).verdict == Verdict.HALF


@pytest.mark.parametrize(
    ("files", "code", "verdict"),
    [
        ({"a": b"xyz", "b": b"1"}, 0, Verdict.OK),
        ({"a": b"xyz", "b": b"1"}, 1, Verdict.LOST),
        ({"a": b"xyz"}, 0, Verdict.LOST),
        ({"a": b"xy", "b": b"1"}, 0, Verdict.HALF),
        ({"a": b"xyy", "b": b"1"}, 0, Verdict.WRONG),
        ({"a": b"xyz", "b": b"1", "c": b""}, 0, Verdict.WRONG),
        ({"a": b"xyz", "b": b"1", ".tmp-1-c": b""}, 0, Verdict.HALF),
        ({"a": b"xyz", "b": b"1", "logs/running/r": b""}, 0, Verdict.WRONG),
    ],
)
def test_after_a_rerun_all_is_as_it_would_have_been(tmp_path, files, code, verdict):
    for name, content in files.items():
        write(tmp_path / "out" / name, content)
    said = write(tmp_path / "said", b"why")
    assert after_rerun(tmp_path / "out", {"a": b"xyz", "b": b"1"}, code, said).verdict == verdict


def test_a_participant_that_is_not_recorded_is_lost(tmp_path):
    write(tmp_path / "sub-01" / "a", b"x")
    assert after_rerun(tmp_path, {"sub-01/a": b"x"}, 0, tmp_path).verdict == Verdict.LOST


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("/r/sub-01/x_FLAIR.nii.gz", "input"),
        ("/w/coactseg-1/x", "work"),
        ("/o/README.md", "tree"),
        ("/o/.tmp-0123456789ab-sub-01.html", "page"),
        ("/o/logs/complete/.tmp-0123456789ab-sub-01.json", "record"),
        ("/o/logs/begun/sub-01/record.json", "begun"),
        ("/o/logs/locks/tree", "lock"),
        ("/o/logs/20260101_x/coactseg.log", "log"),
        ("/o/sub-01/anat/.tmp-0123456789ab-sub-01_desc-reference_FLAIR.nii.gz", "prep"),
        ("/o/sub-01/anat/sub-01_space-orig_desc-all_dseg.tsv", "maps"),
        ("/o/group_lesions.tsv", "group"),
        ("/elsewhere/x", None),
    ],
)
def test_stages(path, stage):
    watch = Watch(Path("/o"), Path("/w"), Path("/r"))
    assert watch.stage_of(path) == stage
    watch.at("write" if stage != "input" else "read", path)
    assert watch.journal == ([] if stage is None else [Point("write" if stage != "input" else "read", stage)])
