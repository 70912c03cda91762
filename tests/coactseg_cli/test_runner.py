"""Participants over stages: failures stay alone, reruns skip what is complete, killed workers fail their own job only."""

from __future__ import annotations

import json
import mmap
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bids_app.cases import PreparedTimeline, Timeline
from bids_app.derivatives import Derivatives
from bids_app.errors import UnreadableImage
from bids_app.files import write_text
from bids_app.locks import locked
from bids_app.tables import read_table
from coactseg_cli import begun, completion, participant, workers
from coactseg_cli.__main__ import main
from coactseg_cli.completion import Record
from coactseg_cli.config import PrepConfig, RunConfig
from coactseg_cli.logs import RunLog
from coactseg_cli.participant import Job, message_of
from coactseg_cli.plan import crew_of
from coactseg_cli.workers import Crew, run_jobs

PROJECT = Path(__file__).parents[2]


def write(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """sub-01 has two visits, sub-02 and sub-03 one."""
    root = tmp_path / "raw"
    write(root / "dataset_description.json", json.dumps({"Name": "x", "BIDSVersion": "1.8.0", "DatasetType": "raw"}))
    for name in ("sub-01/ses-1", "sub-01/ses-2", "sub-02/ses-1", "sub-03/ses-1"):
        write(root / name / "anat" / f"{name.replace('/', '_')}_FLAIR.nii.gz")
    return root


@dataclass
class Stages:
    """Stands for prep and segment; fails as it is told."""

    fail: dict[str, BaseException] = field(default_factory=dict)  # subject -> what prepare raises
    calls: list[str] = field(default_factory=list)
    preps: list[PrepConfig] = field(default_factory=list)
    spacing_mm: tuple[float, float, float] | None = (0.5, 0.75, 0.75)
    sha256: str = "abc"
    tmpdirs: list[str] = field(default_factory=list)
    meanwhile: Callable[[], object] | None = None  # happens while prepare is at work
    more: tuple[str, ...] = ()  # names of further files that segment writes

    def prepare(self, timeline: Timeline, config: PrepConfig, tree: Derivatives, log: Callable[[str], None]) -> PreparedTimeline:
        subject = timeline.subject
        self.calls.append(subject)
        self.preps.append(config)
        self.tmpdirs.append(os.environ["TMPDIR"])
        log("halfway there")
        if self.meanwhile is not None:
            self.meanwhile()
        if subject in self.fail:
            raise self.fail[subject]
        reference = tree.root / f"sub-{subject}" / "anat" / f"sub-{subject}_desc-reference_FLAIR.nii.gz"
        write_text(reference, "x")
        return PreparedTimeline(subject, reference, ())

    def segment(self, prepared: PreparedTimeline, config: Any, tree: Derivatives, model: Any, log: Callable[[str], None]) -> Any:
        page = tree.root / f"sub-{prepared.subject}.html"
        write_text(page, "<html></html>")
        for name in self.more:
            write_text(tree.root / f"sub-{prepared.subject}" / name, name)
        return SimpleNamespace(subject=prepared.subject, summary=f"{len(prepared.subject)} lesions", report=page)

    def load_model(self, config: Any) -> Any:
        info = SimpleNamespace(name="fake")
        return SimpleNamespace(
            info=info, spacing_mm=self.spacing_mm, normalisation="none", sha256=self.sha256, research_line="Research use only; 1 pair."
        )


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Stages]:
    fake = Stages()
    monkeypatch.setitem(sys.modules, "coactseg_cli.prep", fake)
    monkeypatch.setitem(sys.modules, "coactseg_cli.segment", fake)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmpdir"))
    monkeypatch.delenv("COACTSEG_WORK_DIR", raising=False)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"):
        monkeypatch.setenv(name, "1")
    participant.model_of.cache_clear()
    yield fake
    participant.model_of.cache_clear()


def segment(raw: Path, out: Path, *words: str) -> int:
    return main([str(raw), str(out), "participant", "--nprocs", "1", *words])


def run_folder(out: Path) -> Path:
    return max((path for path in (out / "logs").iterdir() if path.name[0].isdigit()), key=lambda path: path.stat().st_mtime_ns)


def test_a_run_leaves_results_logs_and_records(stages: Stages, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert segment(raw, out) == 0
    assert stages.calls == ["01", "02", "03"]
    folder = run_folder(out)
    assert tomllib.loads((folder / "coactseg.toml").read_text())["spacing"] == [0.5, 0.75, 0.75]
    assert "sub-01: halfway there" in (folder / "coactseg.log").read_text()
    assert "Wu Y." in (out / "logs" / "CITATION.md").read_text()
    assert json.loads((out / "dataset_description.json").read_text())["DatasetType"] == "derivative"
    assert "Research use only; 1 pair." in (out / "README.md").read_text()
    said = capsys.readouterr()
    assert f"sub-02: 2 lesions; report {out}/sub-02.html" in said.out
    assert "participants: 3 done" in said.out
    assert "Research use only; 1 pair." in said.out
    assert "sub-01: halfway there" in said.err
    record = completion.read(out, "01")
    assert record is not None
    assert tuple(sorted(record.outputs)) == ("sub-01.html", "sub-01/anat/sub-01_desc-reference_FLAIR.nii.gz")


def test_a_failure_stops_nobody_else_and_is_named(stages: Stages, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    write(raw / "sub-04" / "anat" / "sub-04_T1w.nii.gz")
    write(raw / "sub-05" / "anat" / "sub-05_run-1_FLAIR.nii.gz")
    write(raw / "sub-05" / "anat" / "sub-05_run-2_FLAIR.nii.gz")
    stages.fail = {"01": UnreadableImage("sub-01.nii.gz is truncated. Copy it again."), "02": ZeroDivisionError("by zero")}
    assert segment(raw, out) == 1
    said = capsys.readouterr()
    assert "sub-03: 2 lesions" in said.out
    assert "sub-01: FAILED in prep: sub-01.nii.gz is truncated. Copy it again." in said.out
    assert "sub-02: FAILED in prep: unexpected ZeroDivisionError: by zero" in said.out
    assert "sub-04: FAILED in index: sub-04 has no FLAIR" in said.out
    assert "sub-05: FAILED in index" in said.out
    assert "participants: 1 done, 4 failed" in said.out
    assert "Traceback (most recent call last)" not in said.err
    crashes = sorted(run_folder(out).glob("crash-*.txt"))
    assert [path.name.split("-", 3)[3] for path in crashes] == ["sub-01-prep.txt", "sub-02-prep.txt"]
    assert "ZeroDivisionError: by zero" in crashes[1].read_text()
    assert "is truncated" in (out / "sub-01.html").read_text()
    assert (out / "sub-04.html").exists()
    assert sorted(path.name for path in (out / "logs" / "complete").iterdir()) == ["sub-03.json"]
    assert not list(out.rglob(".tmp-*"))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "out of memory (MemoryError). Try --tile 128"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes"), "out of memory"),
        (SystemExit(3), "unexpected SystemExit: 3"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (ValueError("two\nlines"), "unexpected ValueError: two lines"),
    ],
)
def test_every_kind_of_failure_has_a_reason_in_one_line(stages: Stages, raw: Path, tmp_path: Path, error: BaseException, said: str) -> None:
    assert said in message_of(error)
    assert "\n" not in message_of(error)
    stages.fail = {"01": error}
    assert segment(raw, tmp_path / "out", "--participant-label", "01", "02") == 1
    assert stages.calls == ["01", "02"]


def test_a_rerun_skips_what_is_complete(stages: Stages, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    stages.fail = {"02": UnreadableImage("bad")}
    assert segment(raw, out) == 1
    stages.fail = {}
    stages.calls.clear()
    assert segment(raw, out) == 0
    assert stages.calls == ["02"]
    assert "participants: 1 done, 2 complete before" in capsys.readouterr().out
    assert "lesions" in (out / "sub-01.html").read_text() or (out / "sub-01.html").exists()


@pytest.mark.parametrize("change", ["scan", "new visit", "output gone", "record broken", "forced"])
def test_what_is_not_as_it_was_is_done_again(stages: Stages, raw: Path, tmp_path: Path, change: str) -> None:
    out = tmp_path / "out"
    assert segment(raw, out) == 0
    stages.calls.clear()
    words: list[str] = []
    if change == "scan":
        write(raw / "sub-01" / "ses-1" / "anat" / "sub-01_ses-1_FLAIR.nii.gz", "another")
    elif change == "new visit":
        write(raw / "sub-01" / "ses-3" / "anat" / "sub-01_ses-3_FLAIR.nii.gz")
    elif change == "output gone":
        (out / "sub-01" / "anat" / "sub-01_desc-reference_FLAIR.nii.gz").unlink()
    elif change == "record broken":
        write(out / "logs" / "complete" / "sub-01.json", "{")
    else:
        words = ["--force", "--participant-label", "01"]
    assert segment(raw, out, *words) == 0
    assert stages.calls == ["01"]


def test_a_data_set_that_moved_is_the_same(stages: Stages, raw: Path, tmp_path: Path) -> None:
    assert segment(raw, tmp_path / "out") == 0
    raw.rename(tmp_path / "elsewhere")
    stages.calls.clear()
    assert segment(tmp_path / "elsewhere", tmp_path / "out") == 0
    assert stages.calls == []


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("--skull-strip none", '--skull-strip was "auto", now "none"'),
        ("--threshold-all 0.3", "--threshold-all was null, now 0.3"),
        ("--spacing 2", "--spacing was [0.5, 0.75, 0.75], now [2.0, 2.0, 2.0]"),
        ("--inference windows --stride 40", "--inference was"),
    ],
)
def test_other_choices_in_one_folder_are_refused(
    stages: Stages, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, named: str
) -> None:
    out = tmp_path / "out"
    assert segment(raw, out, "--participant-label", "01") == 0
    before = sorted(out.rglob("*"))
    assert segment(raw, out, "--participant-label", "02", *words.split()) == 2
    err = capsys.readouterr().err.splitlines()[-1]
    assert named in err
    assert "--force" in err
    assert sorted(out.rglob("*")) == before
    assert segment(raw, out, "--participant-label", "01", "02", "--force", *words.split()) == 0


def test_another_model_is_another_choice(stages: Stages, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert segment(raw, tmp_path / "out") == 0
    stages.sha256 = "def"
    participant.model_of.cache_clear()
    assert segment(raw, tmp_path / "out", "--participant-label", "01") == 2
    assert '--model was "abc", now "def"' in capsys.readouterr().err
    stages.calls.clear()
    assert segment(raw, tmp_path / "out") == 0
    assert sorted(stages.calls) == ["01", "02", "03"]


def test_other_choices_for_everybody_are_computed_again(stages: Stages, raw: Path, tmp_path: Path) -> None:
    assert segment(raw, tmp_path / "out") == 0
    stages.calls.clear()
    assert segment(raw, tmp_path / "out", "--min-lesion-mm3", "7") == 0
    assert sorted(stages.calls) == ["01", "02", "03"]
    stages.calls.clear()
    assert segment(raw, tmp_path / "out", "--min-lesion-mm3", "7") == 0
    assert stages.calls == []


@pytest.mark.parametrize("words", ["--nprocs 4 --omp-nthreads 4", "--device cpu", "-v", "--stop-on-first-crash", "--stride 40"])
def test_what_changes_no_map_is_no_other_choice(stages: Stages, raw: Path, tmp_path: Path, words: str) -> None:
    assert segment(raw, tmp_path / "out") == 0
    stages.calls.clear()
    assert segment(raw, tmp_path / "out", *words.split()) == 0
    assert stages.calls == []


def test_prep_then_segment_in_one_folder(stages: Stages, raw: Path, tmp_path: Path) -> None:
    stages.spacing_mm = None
    out = tmp_path / "out"
    assert main(["prep", str(raw), str(out), "participant", "--normalize", "none", "--nprocs", "1"]) == 0
    assert not (out / "sub-01.html").exists()
    assert segment(raw, out) == 0  # not complete: there are no maps
    assert (out / "sub-01.html").exists()
    assert main(["prep", str(raw), str(out), "participant", "--nprocs", "1"]) == 2  # --normalize zscore: the maps would be lost


def test_prep_alone_is_made_again_with_other_choices(stages: Stages, raw: Path, tmp_path: Path) -> None:
    words = ["prep", str(raw), str(tmp_path / "out"), "participant", "--nprocs", "1"]
    assert main([*words, "--normalize", "none"]) == 0
    assert main(words) == 0
    assert [prep.normalize for prep in stages.preps[-3:]] == ["zscore"] * 3


def test_the_model_decides_the_grid_unless_the_user_does(
    stages: Stages, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert segment(raw, tmp_path / "a", "--participant-label", "01") == 0
    assert stages.preps[-1].spacing_mm == (0.5, 0.75, 0.75)
    assert stages.preps[-1].normalize == "none"
    assert "warning" not in capsys.readouterr().err
    assert segment(raw, tmp_path / "b", "--participant-label", "01", "--spacing", "2", "--normalize", "zscore") == 0
    assert stages.preps[-1].spacing_mm == (2.0, 2.0, 2.0)
    assert stages.preps[-1].normalize == "zscore"
    assert "warning: the model was trained on voxels of (0.5, 0.75, 0.75) mm; these are 2.00, 2.00, 2.00 mm" in capsys.readouterr().err


def test_stop_on_first_crash(stages: Stages, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stages.fail = {"02": UnreadableImage("bad")}
    assert segment(raw, tmp_path / "out", "--stop-on-first-crash") == 1
    assert stages.calls == ["01", "02"]
    assert "participants: 1 done, 1 failed, 1 not done" in capsys.readouterr().out


def test_an_interruption_keeps_what_is_complete(stages: Stages, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    stages.fail = {"02": KeyboardInterrupt()}
    assert segment(raw, out) == 130
    said = capsys.readouterr()
    assert "participants: 1 done, 2 not done" in said.out
    assert "Interrupted" in said.err
    stages.fail = {}
    stages.calls.clear()
    assert segment(raw, out) == 0
    assert stages.calls == ["02", "03"]


def test_dry_run_lists_scans_and_pairs_and_writes_nothing(
    stages: Stages, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(raw / "sub-04" / "anat" / "sub-04_T1w.nii.gz")
    assert segment(raw, tmp_path / "out", "--dry-run", "--participant-label", "01", "02", "04") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["participant", "session", "time", "scan"]
    assert lines[1].split() == ["sub-01", "ses-1", "n/a", "sub-01/ses-1/anat/sub-01_ses-1_FLAIR.nii.gz"]
    assert lines[4:7] == ["pair: sub-01 ses-1 -> ses-2", "to do: sub-01", "to do: sub-02"]
    assert lines[7].startswith("cannot be done: sub-04: ")
    assert lines[8:] == ["participants: 2 to do, 1 cannot be done"]
    assert not (tmp_path / "out").exists()
    assert stages.calls == []


def test_dry_run_names_the_pairs_that_are_asked_for(stages: Stages, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(raw / "sub-01" / "ses-3" / "anat" / "sub-01_ses-3_FLAIR.nii.gz")
    counts = {}
    for words in ("--pairs consecutive", "--pairs all", "--subject-anatomical-reference sessionwise"):
        assert segment(raw, tmp_path / "out", "--dry-run", *words.split()) == 0
        counts[words.split()[1]] = capsys.readouterr().out.count("pair:")
    assert counts == {"consecutive": 2, "all": 3, "sessionwise": 0}


@pytest.mark.parametrize(
    ("words", "code"),
    [("--participant-label 09", 18), ("--session-label 9", 18), ("--bids-filter-file {none}", 18)],
)
def test_filters_that_match_nothing(stages: Stages, raw: Path, tmp_path: Path, words: str, code: int) -> None:
    none = write(tmp_path / "none.json", '{"flair": {"acquisition": "odd"}}')
    assert segment(raw, tmp_path / "out", *words.replace("{none}", str(none)).split()) == code
    assert not (tmp_path / "out").exists()


def test_no_bids_data_set(stages: Stages, raw: Path, tmp_path: Path) -> None:
    (raw / "dataset_description.json").unlink()
    assert segment(raw, tmp_path / "out") == 16
    assert segment(raw, tmp_path / "out", "--skip-bids-validation") == 0


def test_the_output_is_not_the_input(stages: Stages, raw: Path) -> None:
    assert segment(raw, raw) == 73
    assert segment(raw, raw / "derivatives" / "coactseg") == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_made(stages: Stages, raw: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    assert segment(raw, tmp_path / "locked" / "out") == 73


def test_an_output_that_is_a_file(stages: Stages, raw: Path, tmp_path: Path) -> None:
    assert segment(raw, write(tmp_path / "file")) == 73


def test_temporary_files_go_to_the_work_dir_and_are_removed(stages: Stages, raw: Path, tmp_path: Path) -> None:
    assert segment(raw, tmp_path / "out", "-w", str(tmp_path / "w")) == 0
    assert {Path(name).parent for name in stages.tmpdirs} == {tmp_path / "w"}
    assert list((tmp_path / "w").iterdir()) == []
    assert os.environ["TMPDIR"] == str(tmp_path / "tmpdir")
    assert segment(raw, tmp_path / "out2", "-w", str(write(tmp_path / "file"))) == 73


def test_the_order_of_work_folders(stages: Stages, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i, name in enumerate(("TMPDIR", "SLURM_TMPDIR", "COACTSEG_WORK_DIR")):
        monkeypatch.setenv(name, str(tmp_path / name))
        assert segment(raw, tmp_path / f"out{i}", "--participant-label", "01") == 0
        assert Path(stages.tmpdirs[-1]).parent == tmp_path / name


def test_without_any_place_work_is_made_and_removed(stages: Stages, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TMPDIR")
    monkeypatch.delenv("SLURM_TMPDIR", raising=False)
    assert segment(raw, tmp_path / "out", "--participant-label", "01") == 0
    assert Path(stages.tmpdirs[-1]).parent == tmp_path / "work"
    assert not (tmp_path / "work").exists()


def test_a_crash_is_shown_where_more_is_asked_for(stages: Stages, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stages.fail = {"01": ZeroDivisionError("by zero")}
    assert segment(raw, tmp_path / "out", "--participant-label", "01", "-v") == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_what_a_killed_run_left_is_removed(stages: Stages, raw: Path, tmp_path: Path) -> None:
    left = write(tmp_path / "out" / "sub-01" / "anat" / ".tmp-abc.nii.gz")
    other = write(tmp_path / "out" / "sub-02" / "anat" / ".tmp-abc.nii.gz")
    assert segment(raw, tmp_path / "out", "--participant-label", "01") == 0
    assert not left.exists()
    assert other.exists()  # perhaps somebody works on it


def test_group_gathers_the_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    write(out / "sub-01" / "sub-01_sessions.tsv", "session_id\tall_lesions\tall_volume_mm3\nses-1\t2\t31.5\nses-2\t3\t40\n")
    write(out / "sub-02" / "anat" / "sub-02_space-orig_desc-all_dseg.tsv", "index\tname\tvolume_mm3\n1\ta\t10.5\n2\tb\t20\n")
    assert main(["segment", str(tmp_path), str(out), "group"]) == 0
    assert "2 participants, 3 visits" in capsys.readouterr().out
    names = ("participant_id", "session_id", "all_lesions", "all_volume_mm3")
    assert [[row[name] for name in names] for row in read_table(out / "group_lesions.tsv")] == [
        ["sub-01", "ses-1", "2", "31.5"],
        ["sub-01", "ses-2", "3", "40"],
        ["sub-02", "n/a", "2", "30.5"],
    ]
    assert json.loads((out / "group_lesions.json").read_text())["all_volume_mm3"]["Units"] == "mm^3"
    assert (out / "participants.tsv").read_text().splitlines() == ["participant_id", "sub-01", "sub-02"]


def test_group_without_participants(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert main(["segment", str(tmp_path), str(tmp_path / "out"), "group"]) == 18


@pytest.mark.parametrize(
    ("run", "n_jobs", "crew"),
    [
        (RunConfig(nprocs=8, omp_threads=2), 10, Crew(4)),
        (RunConfig(nprocs=8, omp_threads=3), 10, Crew(2)),
        (RunConfig(nprocs=8, omp_threads=2), 3, Crew(3)),
        (RunConfig(nprocs=8, omp_threads=8), 10, Crew(1)),
        (RunConfig(nprocs=8, omp_threads=2, mem_mb=9000), 10, Crew(2, 4500)),
        (RunConfig(nprocs=8, omp_threads=2, mem_mb=1000), 10, Crew(1, 1000)),
        (RunConfig(nprocs=8, omp_threads=2, mem_mb=90000), 10, Crew(4, 22500)),
        (RunConfig(), 0, Crew(1)),
    ],
)
def test_how_many_at_once(run: RunConfig, n_jobs: int, crew: Crew) -> None:
    assert crew_of(run, n_jobs) == crew


# ---- what makes a participant complete


@pytest.mark.parametrize("how", ["truncated", "emptied", "another byte", "page"])
def test_a_result_that_is_not_as_it_was_written_is_made_again(stages: Stages, raw: Path, tmp_path: Path, how: str) -> None:
    """Also where size and time of change are the same."""
    out = tmp_path / "out"
    stages.more = ("anat/map.nii.gz",)
    assert segment(raw, out) == 0
    path = out / "sub-01.html" if how == "page" else out / "sub-01" / "anat" / "map.nii.gz"
    before, status = path.read_bytes(), path.stat()
    path.write_bytes({"truncated": before[:-3], "emptied": b""}.get(how, before[:-1] + b"?"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    stages.calls.clear()
    assert segment(raw, out) == 0
    assert stages.calls == ["01"]
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "again"),
    [("times", False), ("content, same size and time", True), ("metadata", True), ("days", True), ("what nobody reads", False)],
)
def test_inputs_are_known_by_their_content(stages: Stages, raw: Path, tmp_path: Path, change: str, again: bool) -> None:
    scan = raw / "sub-01" / "ses-1" / "anat" / "sub-01_ses-1_FLAIR.nii.gz"
    sessions = write(raw / "sub-01" / "sub-01_sessions.tsv", "session_id\tdays\tage\nses-1\t0\t30\nses-2\t365\t31\n")
    assert segment(raw, tmp_path / "out") == 0
    status = scan.stat()
    if change == "times":
        for path in raw.rglob("*"):
            os.utime(path, (4e9, 4e9))
    elif change == "metadata":
        write(raw / "FLAIR.json", '{"EchoTime": 0.1}')
        assert segment(raw, tmp_path / "out", "--participant-label", "02", "03") == 0  # a file at the root is everybody's
    elif change == "days":
        write(sessions, sessions.read_text().replace("365", "366"))
    elif change == "what nobody reads":
        write(sessions, sessions.read_text().replace("31", "32"))
    else:
        scan.write_text("y")
        os.utime(scan, ns=(status.st_atime_ns, status.st_mtime_ns))
    stages.calls.clear()
    assert segment(raw, tmp_path / "out") == 0
    assert stages.calls == (["01"] if again else [])


def test_inputs_that_change_while_they_are_read_make_nobody_complete(
    stages: Stages, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = raw / "sub-01" / "ses-1" / "anat" / "sub-01_ses-1_FLAIR.nii.gz"
    stages.meanwhile = lambda: write(scan, f"{time.monotonic_ns()}")
    assert segment(raw, tmp_path / "out", "--participant-label", "01") == 1
    assert "changed while they were worked on" in capsys.readouterr().out
    stages.meanwhile = None
    stages.calls.clear()
    assert segment(raw, tmp_path / "out", "--participant-label", "01") == 0
    assert stages.calls == ["01"]


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"subject": "01"}', '{"subject": "01", "inputs": 3, "choices": [], "outputs": ["a"]}', '{"surplus": 1}', "\x00" * 50],
)
def test_a_record_that_cannot_be_used_is_none(stages: Stages, raw: Path, tmp_path: Path, content: str) -> None:
    assert segment(raw, tmp_path / "out") == 0
    write(tmp_path / "out" / "logs" / "complete" / "sub-02.json", content)
    stages.calls.clear()
    assert segment(raw, tmp_path / "out") == 0
    assert stages.calls == ["02"]


def test_files_of_an_earlier_run_that_are_not_made_any_more_go(stages: Stages, raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    stages.more = ("ses-1/anat/old_probseg.nii.gz", "anat/kept.tsv")
    assert segment(raw, out) == 0
    other = write(out / "sub-02" / "notes.txt")
    stages.more = ("anat/kept.tsv",)
    assert segment(raw, out, "--force", "--participant-label", "01") == 0
    assert sorted(path.name for path in (out / "sub-01").rglob("*")) == ["anat", "kept.tsv", "sub-01_desc-reference_FLAIR.nii.gz"]
    assert (out / "sub-02" / "ses-1" / "anat" / "old_probseg.nii.gz").exists()
    assert other.exists()


def test_prep_keeps_the_numbers_of_lesions_for_segment(stages: Stages, raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    stages.more = ("anat/sub-01_space-individual_desc-lesions_dseg.nii.gz", "anat/map.nii.gz")
    assert segment(raw, out, "--participant-label", "01") == 0
    words = ["--participant-label", "01", "--nprocs", "1", "--force"]
    assert main(["prep", str(raw), str(out), "participant", *words]) == 0
    assert sorted(path.name for path in (out / "sub-01" / "anat").iterdir()) == [
        "sub-01_desc-reference_FLAIR.nii.gz",
        "sub-01_space-individual_desc-lesions_dseg.nii.gz",
    ]


@pytest.mark.parametrize("damaged", [False, True])
def test_numbers_of_lesions_are_those_of_the_last_complete_run(tmp_path: Path, damaged: bool) -> None:
    """Whatever a run that died has overwritten, or somebody damaged."""
    ids = write(tmp_path / "sub-01" / "anat" / "sub-01_space-individual_desc-lesions_dseg.nii.gz", "complete")
    begun.end(tmp_path, Record("01", "i", {}, begun.outputs(tmp_path, "01")))
    if damaged:
        ids.write_text("damaged")
    for _ in range(3):
        begun.begin(tmp_path, "01", Record("01", "i", {}, {}))
        kept = begun.ids_place(tmp_path, "01") / "sub-01" / "anat" / ids.name
        assert kept.read_text() == "complete"
        ids.write_text("half overwritten")
    begun.end(tmp_path, Record("01", "i", {}, {}))
    assert begun.ids_place(tmp_path, "01") == tmp_path
    assert completion.read(tmp_path, "01").done  # type: ignore[union-attr]


def test_a_first_run_that_died_leaves_no_numbers(tmp_path: Path) -> None:
    begun.begin(tmp_path, "01")
    write(tmp_path / "sub-01" / "anat" / "sub-01_space-individual_desc-lesions_dseg.nii.gz", "half")
    begun.begin(tmp_path, "01")
    assert list(begun.ids_place(tmp_path, "01").iterdir()) == []


def test_a_run_that_died_is_remembered_and_complete_it_is_not(tmp_path: Path) -> None:
    record = Record("01", "i", {"a": "1"}, {}, corrected=True)
    completion.write(tmp_path, record)
    begun.begin(tmp_path, "01", record)
    found = completion.read(tmp_path, "01")
    assert found is not None
    assert found.corrected
    assert not completion.is_complete(tmp_path, found, "i", {"a": "1"})
    begun.end(tmp_path, record)
    assert completion.is_complete(tmp_path, completion.read(tmp_path, "01"), "i", {"a": "1"})


# ---- two runs in one OUT


def in_thread(*words: object) -> tuple[threading.Thread, list[int]]:
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(segment(*words)))  # type: ignore[arg-type]
    return thread, codes


def test_a_second_run_waits_and_does_nothing_twice(stages: Stages, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at_work, go_on = threading.Event(), threading.Event()
    stages.meanwhile = lambda: (at_work.set(), go_on.wait(60))
    thread, codes = in_thread(raw, tmp_path / "out", "--participant-label", "01")
    thread.start()
    assert at_work.wait(60)
    stages.meanwhile = None
    threading.Timer(0.5, go_on.set).start()
    assert segment(raw, tmp_path / "out") == 0
    thread.join()
    assert codes == [0]
    assert stages.calls == ["01", "02", "03"]
    said = capsys.readouterr()
    assert "sub-01: left for later: another run is at work there (run 20" in said.err
    assert "sub-01: waits for another run" in said.err
    assert "complete since" in said.out


def test_a_second_run_with_other_choices_is_refused(stages: Stages, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at_work, go_on = threading.Event(), threading.Event()
    stages.meanwhile = lambda: (at_work.set(), go_on.wait(60))
    thread, codes = in_thread(raw, tmp_path / "out", "--participant-label", "01")
    thread.start()
    assert at_work.wait(60)
    try:
        assert segment(raw, tmp_path / "out", "--participant-label", "02", "--min-lesion-mm3", "7") == 2
    finally:
        go_on.set()
        thread.join()
    assert codes == [0]
    assert stages.calls == ["01"]
    assert "--min-lesion-mm3 is 3.0 there, 7.0 here" in capsys.readouterr().err
    assert list((tmp_path / "out" / "logs" / "running").iterdir()) == []


def test_a_dead_run_refuses_nobody(stages: Stages, raw: Path, tmp_path: Path) -> None:
    dead = write(tmp_path / "out" / "logs" / "running" / "dead", json.dumps({"about": {"--min-lesion-mm3": "9"}, "host": "x", "pid": 1}))
    os.utime(dead, (0, 0))
    assert segment(raw, tmp_path / "out") == 0
    assert not dead.exists()


def test_who_cannot_be_done_is_left_to_the_run_that_is_at_work(stages: Stages, raw: Path, tmp_path: Path) -> None:
    """Its index saw a scan that this one misses."""
    page = write(tmp_path / "out" / "sub-04.html", "of the other run")
    write(raw / "sub-04" / "anat" / "sub-04_T1w.nii.gz")
    with locked(begun.lock_path(tmp_path / "out", "04")):
        assert segment(raw, tmp_path / "out", "--participant-label", "02", "04") == 1
    assert page.read_text() == "of the other run"


# ---- disks


def test_a_log_that_cannot_be_written_stops_nobody(
    stages: Stages, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    def full(self: Path, *args: Any, **words: Any) -> Any:
        if self.name == "coactseg.log":
            raise OSError(28, "No space left on device")
        return real(self, *args, **words)

    monkeypatch.setattr(Path, "open", full)
    assert segment(raw, tmp_path / "out") == 0
    assert "the log cannot be written (No space left on device)" in capsys.readouterr().err


def test_temporary_files_of_killed_runs_go(stages: Stages, raw: Path, tmp_path: Path) -> None:
    work = tmp_path / "w"
    write(work / "coactseg-dead.lock")
    write(work / "coactseg-dead" / "scan.nii.gz")
    without = write(work / "coactseg-just-begun" / "scan.nii.gz")
    others = write(work / "precious.lock")
    write(work / "coactseg-alive" / "scan.nii.gz")
    with locked(work / "coactseg-alive.lock"):
        assert segment(raw, tmp_path / "out", "-w", str(work)) == 0
    assert sorted(path.name for path in work.iterdir()) == ["coactseg-alive", "coactseg-alive.lock", "coactseg-just-begun", "precious.lock"]
    assert without.exists()
    assert others.exists()


# ---- processes


@dataclass(frozen=True)
class DeadlyTree:
    """A tree whose use kills any process but the one that made it."""

    place: Path
    parent: int

    @property
    def root(self) -> Path:
        if os.getpid() != self.parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.place


@dataclass(frozen=True)
class SlowTree:
    """A tree whose first use takes long."""

    place: Path

    @property
    def root(self) -> Path:
        write(self.place / f"at-work-{os.getpid()}")
        time.sleep(60)
        return self.place


@dataclass(frozen=True)
class HungryTree:
    """A tree whose use takes 2 GB."""

    place: Path
    raw: None = None

    @property
    def root(self) -> Path:
        mmap.mmap(-1, 2_000_000_000, flags=mmap.MAP_PRIVATE).close()  # nothing is touched: quick
        return self.place


def job(out: Path, subject: str, tree: Any = None) -> Job:
    log = RunLog(out / "logs" / "run")
    log.folder.mkdir(parents=True, exist_ok=True)
    prepared = PreparedTimeline(subject, out, ())  # already prepared, and nothing to segment: the shortest job
    return Job(prepared, PrepConfig(), None, tree or Derivatives(out), log, Record(subject, "i", {}, {}), "Research use only.")


@pytest.fixture(params=["on their own", "forked"])
def origin(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where workers come from: each imports for itself, or a process that has imported."""
    monkeypatch.setattr(workers, "_forks", False)
    if request.param == "forked":
        if sys.platform != "linux":
            pytest.skip("workers are forked on Linux only")
        workers.get_ready(["coactseg_cli.participant"])
        assert workers._forks
    return str(request.param)


@pytest.mark.usefixtures("origin")
@pytest.mark.parametrize("crew", [Crew(2), Crew(1, 2000)])
def test_workers_do_every_job(tmp_path: Path, crew: Crew) -> None:
    jobs = [job(tmp_path, subject) for subject in ("01", "02", "03")]
    outcomes = run_jobs(jobs, crew, lambda *_: None, lambda _: None)
    assert sorted(outcome.subject for outcome in outcomes) == ["01", "02", "03"]
    assert all(outcome.failure is None for outcome in outcomes)
    assert all(completion.read(tmp_path, subject) for subject in ("01", "02", "03"))


@pytest.mark.usefixtures("origin")
def test_a_killed_worker_fails_its_own_participant_only(tmp_path: Path) -> None:
    jobs = [job(tmp_path, "01"), job(tmp_path, "02", DeadlyTree(tmp_path, os.getpid())), job(tmp_path, "03"), job(tmp_path, "04")]
    outcomes = {outcome.subject: outcome for outcome in run_jobs(jobs, Crew(2), lambda *_: None, lambda _: None)}
    assert set(outcomes) == {"01", "02", "03", "04"}
    assert [subject for subject, outcome in outcomes.items() if outcome.failure] == ["02"]
    assert outcomes["02"].failure is not None
    assert "the process was killed" in outcomes["02"].failure.message


@pytest.mark.usefixtures("origin")
@pytest.mark.parametrize("stop", [False, True])
def test_mem_limits_each_worker_and_stop_on_first_crash_starts_no_other(tmp_path: Path, stop: bool) -> None:
    jobs = [job(tmp_path, "01", HungryTree(tmp_path)), job(tmp_path, "02"), job(tmp_path, "03")]
    outcomes = run_jobs(jobs, Crew(1, 1200, stop), lambda *_: None, lambda _: None)
    assert [outcome.subject for outcome in outcomes] == (["01"] if stop else ["01", "02", "03"])
    assert outcomes[0].failure is not None
    assert "out of memory" in outcomes[0].failure.message
    assert all(outcome.failure is None for outcome in outcomes[1:])


def test_with_more_memory_the_same_job_is_done(tmp_path: Path) -> None:
    (outcome,) = run_jobs([job(tmp_path, "01", HungryTree(tmp_path))], Crew(1, 4000), lambda *_: None, lambda _: None)
    assert outcome.failure is None


@dataclass(frozen=True)
class TellingTree:
    """A tree whose use writes down where the worker puts temporary files, and what it had imported when it was made."""

    place: Path
    raw: None = None

    @property
    def root(self) -> Path:
        write(self.place / "told", f"{tempfile.gettempdir()} {'xmlrpc.client' in sys.modules}")
        return self.place


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")
def test_workers_come_with_what_they_need(tmp_path: Path) -> None:
    """Imports before the fork count; the folder for temporary files is that of the moment when the work begins."""
    code = (
        "import pathlib\n"
        "from coactseg_cli import workers\n"
        "from coactseg_cli.logs import RunLog\n"
        "from tests.coactseg_cli.test_runner import TellingTree, job\n"
        "if __name__ == '__main__':\n"
        f"    out = pathlib.Path({str(tmp_path)!r})\n"
        "    workers.get_ready(['xmlrpc.client'])\n"
        "    with workers.temporary_files(out / 'w', RunLog(out / 'logs' / 'run')):\n"
        "        workers.run_jobs([job(out, '01', TellingTree(out))], workers.Crew(1, 4000), lambda *_: None, lambda _: None)\n"
    )
    script = write(tmp_path / "script.py", code)
    subprocess.run([sys.executable, str(script)], cwd=PROJECT, env={**os.environ, "PYTHONPATH": str(PROJECT)}, check=True)
    folder, imported = (tmp_path / "told").read_text().split()
    assert Path(folder).parent == tmp_path / "w"
    assert imported == "True"


def test_where_no_socket_can_be_made_each_worker_imports_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError("AF_UNIX path too long")

    monkeypatch.setattr(workers, "_forks", False)
    monkeypatch.setattr(workers.forkserver, "ensure_running", refuse)
    workers.get_ready(["coactseg_cli.participant"])
    assert not workers._forks
    (outcome,) = run_jobs([job(tmp_path, "01")], Crew(1, 2000), lambda *_: None, lambda _: None)
    assert outcome.failure is None


def at_work(tmp_path: Path, origin: str) -> tuple[subprocess.Popen[bytes], list[int]]:
    """A parent and its two workers, which would be at work for a minute."""
    code = (
        "import pathlib, signal, sys\n"
        "from coactseg_cli.__main__ import _interrupt\n"
        "from coactseg_cli.workers import Crew, get_ready, run_jobs\n"
        "from tests.coactseg_cli.test_runner import SlowTree, job\n"
        "if __name__ == '__main__':\n"
        "    signal.signal(signal.SIGTERM, _interrupt)\n"
        f"    out = pathlib.Path({str(tmp_path)!r})\n"
        f"    if {origin == 'forked'}:\n"
        "        get_ready(['coactseg_cli.participant'])\n"
        "    try:\n"
        "        run_jobs([job(out, s, SlowTree(out)) for s in ('01', '02')], Crew(2), lambda *_: None, lambda _: None)\n"
        "    except KeyboardInterrupt:\n"
        "        sys.exit(130)\n"
    )
    script = write(tmp_path / "script.py", code)
    process = subprocess.Popen([sys.executable, str(script)], cwd=PROJECT, env={**os.environ, "PYTHONPATH": str(PROJECT)})
    deadline = time.monotonic() + 100
    while len(list(tmp_path.glob("at-work-*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    pids = [int(path.name.rpartition("-")[2]) for path in tmp_path.glob("at-work-*")]
    assert len(pids) == 2
    return process, pids


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has asked about does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_an_interruption_ends_the_workers(tmp_path: Path, origin: str) -> None:
    """A scheduler's SIGTERM to the parent alone: it says so, exits with 130, and no worker stays behind."""
    process, pids = at_work(tmp_path, origin)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 130
    assert not any(alive(pid) for pid in pids)


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path, origin: str) -> None:
    process, pids = at_work(tmp_path, origin)
    process.kill()
    process.wait(30)
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in pids)


def test_a_pipe_in_the_place_of_a_result_is_not_waited_for(stages: Stages, raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert segment(raw, out) == 0
    page = out / "sub-01.html"
    page.unlink()
    os.mkfifo(page)
    with pytest.raises(OSError, match="no such file"):
        completion.content_hash(page)
    stages.calls.clear()
    assert segment(raw, out) == 0
    assert stages.calls == ["01"]
    assert page.is_file()
