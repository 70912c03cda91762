"""What --dry-run lists: the right scans of awkward trees, where everybody stands, and nothing written or loaded."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bids_app.dataset import read_timelines
from coactseg_cli import completion
from coactseg_cli.__main__ import main
from coactseg_cli.completion import Record
from coactseg_cli.config import PrepConfig, SegmentConfig
from coactseg_cli.network.model_file import look_at
from coactseg_cli.network.zoo import PACKAGED

DESCRIPTION = json.dumps({"Name": "x", "BIDSVersion": "1.10.0"})


def make(root: Path, names: str, description: str = DESCRIPTION) -> Path:
    """Empty files with these names, as the public examples have them."""
    for name in names.split():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "dataset_description.json").write_text(description)
    return root


@pytest.fixture
def listed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Run `segment BIDS OUT participant --dry-run --json` and give the JSON with the exit code; stdout holds nothing else."""

    def run(raw: Path, *words: str, command: str = "segment") -> dict[str, Any]:
        capsys.readouterr()
        code = main([command, str(raw), str(tmp_path / "out"), "participant", "--dry-run", "--json", "--nprocs", "1", *words])
        return {**json.loads(capsys.readouterr().out), "exit_code": code}

    return run


# ---- the right scans: trees of the public bids-examples (names only) and others, against a listing written from the BIDS specification

DS004332 = " ".join(
    f"sub-0{subject}/anat/sub-0{subject}_task-{task}_acq-{scan}PMC{onoff}_rec-{rec}_{suffix}.nii"
    for subject, scans in ((1, (("mprage", "T1w"),)), (2, (("mprage", "T1w"), ("flair", "FLAIR"))))
    for scan, suffix in scans
    for task, recs in (("still", ("wore",)), ("nodding", ("wore", "wre")))
    for rec in recs
    for onoff in ("on", "off")
)
GENETICS_UKBB = "FLAIR.json SWI.json derivatives/bids-validator/output.json " + " ".join(
    f"sub-{i:02d}/anat/sub-{i:02d}_FLAIR.nii.gz sub-{i:02d}/anat/sub-{i:02d}_acq-MPRAGE_T1w.nii.gz sub-{i:02d}/dwi/sub-{i:02d}_dwi.nii.gz"
    for i in range(1, 15)
)
TREES = {
    "ds004332": DS004332,
    "genetics_ukbb": GENETICS_UKBB,
    "no FLAIR": "sub-01/anat/sub-01_T1w.nii.gz sub-01/func/sub-01_task-rest_bold.nii.gz sub-02/eeg/sub-02_task-x_eeg.vhdr",
    "no sessions, one, two": "sub-01/anat/sub-01_FLAIR.nii.gz sub-02/ses-b/anat/sub-02_ses-b_FLAIR.nii.gz "
    "sub-02/ses-a/anat/sub-02_ses-a_FLAIR.nii sub-03/ses-01/anat/sub-03_ses-01_FLAIR.nii.gz",
    "with and without a session": "sub-01/anat/sub-01_FLAIR.nii.gz sub-01/ses-1/anat/sub-01_ses-1_FLAIR.nii.gz",
    "both extensions": "sub-01/anat/sub-01_FLAIR.nii.gz sub-01/anat/sub-01_FLAIR.nii",
    "magnitude and phase": "sub-01/anat/sub-01_part-mag_FLAIR.nii.gz sub-01/anat/sub-01_part-phase_FLAIR.nii.gz "
    "sub-02/anat/sub-02_part-phase_FLAIR.nii.gz",
    "runs": "sub-01/anat/sub-01_run-1_FLAIR.nii.gz sub-01/anat/sub-01_run-2_FLAIR.nii.gz sub-02/anat/sub-02_run-01_FLAIR.nii.gz",
    "echoes": "sub-01/anat/sub-01_echo-1_FLAIR.nii.gz sub-01/anat/sub-01_echo-2_FLAIR.nii.gz",
    "one acq, rec, ce": "sub-01/anat/sub-01_acq-3D_ce-gad_rec-norm_FLAIR.nii.gz sub-02/anat/sub-02_chunk-1_FLAIR.nii.gz",
    "other suffixes": "sub-01/anat/sub-01_T2starw.nii.gz sub-01/anat/sub-01_FLAIRx.nii.gz sub-01/anat/sub-01_mod-FLAIR_defacemask.nii.gz "
    "sub-01/anat/sub-01_FLASH.nii.gz sub-01/anat/sub-01_FLAIR.json sub-01/anat/sub-01_FLAIR.nii.gz.tmp sub-01/anat/FLAIR.nii.gz",
    "other folders": "sub-01/sub-01_FLAIR.nii.gz sub-01/dwi/sub-01_FLAIR.nii.gz sub-01/anat/old/sub-01_FLAIR.nii.gz "
    "sub-01/ses-1/ses-2/anat/sub-01_ses-1_FLAIR.nii.gz sub-02/anat/sub-02_FLAIR.nii.gz",
    "derivatives and sources": "derivatives/x/sub-01/anat/sub-01_FLAIR.nii.gz sourcedata/sub-02/anat/sub-02_FLAIR.nii.gz "
    "code/sub-03/anat/sub-03_FLAIR.nii.gz sub-04/anat/sub-04_FLAIR.nii.gz .git/sub-05/anat/sub-05_FLAIR.nii.gz",
    "case matters": "sub-01/anat/sub-01_flair.nii.gz sub-02/Anat/sub-02_FLAIR.nii.gz "
    "sub-a/anat/sub-a_FLAIR.nii.gz sub-A/anat/sub-A_FLAIR.nii.gz",
    "labels with a plus": "sub-01+02/ses-1+1/anat/sub-01+02_ses-1+1_FLAIR.nii.gz",
    "somebody else's": "sub-01/anat/sub-02_FLAIR.nii.gz sub-02/ses-1/anat/sub-02_ses-2_FLAIR.nii.gz sub-03/ses-1/anat/sub-03_FLAIR.nii.gz "
    "sub-04/anat/sub-04_ses-1_FLAIR.nii.gz sub-05/anat/sub-05_FLAIR.nii.gz",
    "empty folders": "sub-01/anat/x sub-02/ses-1/x sub-03/x",
}


def expected(root: Path) -> dict[str, list[str]]:
    """Participant to the scans that can be used, in order; none where a visit has several or they cannot be ordered."""
    name = re.compile(r"(sub-[0-9A-Za-z+]+)/(?:(ses-[0-9A-Za-z+]+)/)?anat/\1(?:_\2)?((?:_[a-z]+-[0-9A-Za-z+]+)*)_FLAIR\.nii(?:\.gz)?")
    found: dict[str, list[tuple[str, str]]] = {
        entry.name: [] for entry in os.scandir(root) if re.fullmatch(r"sub-[0-9A-Za-z+]+", entry.name)
    }
    for folder, _, files in os.walk(root):
        for file in files:
            path = Path(folder, file).relative_to(root).as_posix()
            match = name.fullmatch(path)
            session = re.search(r"_(ses-[^_]+)", file)
            if match and match[2] == (session and session[1]) and not re.search(r"_part-(?!mag_)", file):
                found[match[1]].append((match[2] or "", path))
    one_each = {s: v for s, v in found.items() if len({session for session, _ in v}) == len(v) and (len(v) < 2 or all(x for x, _ in v))}
    return {subject: [path for _, path in sorted(one_each.get(subject, []))] for subject in found}


@pytest.mark.parametrize("tree", TREES)
def test_the_scans_are_those_of_an_independent_listing(tree: str, tmp_path: Path, listed: Callable[..., dict[str, Any]]) -> None:
    raw = make(tmp_path / "raw", TREES[tree])
    said = listed(raw)
    used = {entry["participant"]: [visit["path"] for visit in entry["visits"]] for entry in said["participants"]}
    assert used == expected(raw)
    assert {entry["participant"]: entry["state"] for entry in said["participants"]} == {
        subject: "to_do" if paths else "cannot_be_done" for subject, paths in used.items()
    }
    assert said["exit_code"] == (0 if any(used.values()) else 1)
    for entry in said["participants"]:
        sessions = [visit["session"] for visit in entry["visits"]]
        assert [(pair["baseline"], pair["followup"]) for pair in entry["pairs"]] == list(itertools.pairwise(sessions))
        assert bool(entry["reason"]) == (entry["state"] == "cannot_be_done")


def test_a_database_gives_the_same_list_and_is_not_made(tmp_path: Path, listed: Callable[..., dict[str, Any]]) -> None:
    raw, database = make(tmp_path / "raw", TREES["genetics_ukbb"]), tmp_path / "database"
    without = listed(raw, "--bids-database-dir", str(database))
    assert not database.exists()
    read_timelines(raw, bids_database_dir=database)
    assert listed(raw, "--bids-database-dir", str(database)) == without


def test_a_scan_of_somebody_else_is_not_taken(tmp_path: Path, listed: Callable[..., dict[str, Any]]) -> None:
    said = listed(make(tmp_path / "raw", TREES["somebody else's"]))
    reasons = {entry["participant"]: entry["reason"] for entry in said["participants"]}
    assert "the name says sub-02, the folder sub-01: whose scan is it?" in reasons["sub-01"]
    assert "the name says sub-02_ses-2, the folder sub-02_ses-1" in reasons["sub-02"]


def test_choosing_one_of_several_makes_it_usable(tmp_path: Path, listed: Callable[..., dict[str, Any]]) -> None:
    """The reason names every candidate and a filter file that chooses; that filter works."""
    raw = make(tmp_path / "raw", TREES["ds004332"])
    entry = listed(raw)["participants"][1]
    assert "6 FLAIR scans" in entry["reason"]
    filters = re.search(r"\{\"flair\": \{.*?\}\}", entry["reason"])
    assert filters is not None
    (tmp_path / "filters.json").write_text(filters[0])
    (used,) = (entry for entry in listed(raw, "--bids-filter-file", str(tmp_path / "filters.json"))["participants"] if entry["visits"])
    assert used["participant"] == "sub-02"


@pytest.mark.parametrize(
    ("names", "description", "code"),
    [
        ("tpl-MNI/anat/tpl-MNI_T1w.nii.gz", DESCRIPTION, 16),  # a template: no participant
        ("sub-01/anat/sub-01_FLAIR.nii.gz", '{"Name": "x", "BIDSVersion": "1.4.0", "DatasetType": "derivative"}', 16),
        ("sub-01/anat/sub-01_FLAIR.nii.gz", "{", 16),
    ],
)
def test_what_is_no_raw_data_set(names: str, description: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = make(tmp_path / "raw", names, description)
    assert main(["segment", str(raw), str(tmp_path / "out"), "participant", "--dry-run", "--json"]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert str(raw) in said.err


# ---- where everybody stands


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Three participants, one with two visits."""
    names = "sub-01/ses-1/anat/sub-01_ses-1_FLAIR.nii.gz sub-01/ses-2/anat/sub-01_ses-2_FLAIR.nii.gz "
    root = make(tmp_path / "raw", names + "sub-02/anat/sub-02_FLAIR.nii.gz sub-03/anat/sub-03_FLAIR.nii.gz")
    (root / "sub-01" / "sub-01_sessions.tsv").write_text("session_id\tacq_time\nses-2\t2020-01-31T00:00:00\nses-1\t2021-01-31T00:00:00\n")
    return root


@pytest.fixture
def out(tmp_path: Path, raw: Path) -> Path:
    """Everybody is complete, made with the packaged model."""
    wanted = completion.choices(PrepConfig(), SegmentConfig(), look_at(PACKAGED / "default.safetensors"))
    for timeline in read_timelines(raw).timelines:
        page = tmp_path / "out" / f"sub-{timeline.subject}.html"
        page.parent.mkdir(exist_ok=True)
        page.touch()
        record = Record(timeline.subject, completion.fingerprint(timeline, raw), wanted, {page.name: completion.content_hash(page)})
        completion.write(tmp_path / "out", record)
    return tmp_path / "out"


def states(said: dict[str, Any]) -> list[str]:
    return [entry["state"] for entry in said["participants"]]


def test_the_json_has_these_keys(raw: Path, listed: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    said = listed(raw, "--participant-label", "01")
    assert said.pop("coactseg_version")
    assert said == {
        "schema_version": 1,
        "dataset": str(raw),
        "out_dir": str(tmp_path / "out"),
        "refused": None,
        "counts": {"complete": 0, "to_do": 1, "changed": 0, "cannot_be_done": 0},
        "participants": [
            {
                "participant": "sub-01",
                "state": "to_do",
                "reason": None,
                "visits": [
                    {"session": "ses-2", "path": "sub-01/ses-2/anat/sub-01_ses-2_FLAIR.nii.gz", "time": "2020-01-31T00:00:00"},
                    {"session": "ses-1", "path": "sub-01/ses-1/anat/sub-01_ses-1_FLAIR.nii.gz", "time": "2021-01-31T00:00:00"},
                ],
                "pairs": [{"baseline": "ses-2", "followup": "ses-1"}],
            }
        ],
        "exit_code": 0,
    }


def test_what_is_complete_is_so_until_something_changes(raw: Path, out: Path, listed: Callable[..., dict[str, Any]]) -> None:
    assert states(listed(raw)) == ["complete"] * 3
    (raw / "sub-02/anat/sub-02_FLAIR.nii.gz").write_text("another scan")
    (out / "sub-03.html").unlink()
    said = listed(raw)
    assert states(said) == ["complete", "changed", "changed"]
    assert said["participants"][1]["reason"] == "scans, labels or masks are others than they were"
    assert said["participants"][2]["reason"] == "1 of its files are missing, first sub-03.html"
    assert said["counts"] == {"complete": 1, "to_do": 0, "changed": 2, "cannot_be_done": 0}


def test_other_choices_are_named_with_what_a_run_would_say(raw: Path, out: Path, listed: Callable[..., dict[str, Any]]) -> None:
    said = listed(raw, "--min-lesion-mm3", "10")
    assert states(said) == ["changed"] * 3
    assert said["participants"][0]["reason"] == "--min-lesion-mm3 was 3.0, now 10.0"
    assert said["refused"] is None
    assert said["exit_code"] == 0
    some = listed(raw, "--min-lesion-mm3", "10", "--participant-label", "01")
    assert "--force" in some["refused"]
    forced = listed(raw, "--min-lesion-mm3", "10", "--force")
    assert (states(forced), forced["refused"]) == (["to_do"] * 3, None)


def test_another_model_makes_other_results(raw: Path, out: Path, listed: Callable[..., dict[str, Any]], tiny_model_file: Path) -> None:
    said = listed(raw, "--model", str(tiny_model_file))
    assert states(said) == ["changed"] * 3
    assert "--model was" in said["participants"][0]["reason"]
    assert "--spacing was" in said["participants"][0]["reason"]  # the model's grid


def test_a_self_check_that_is_not_made_is_to_do(raw: Path, out: Path, listed: Callable[..., dict[str, Any]]) -> None:
    assert states(listed(raw, "--self-check")) == ["to_do"] * 3


def test_masks_corrected_by_hand_are_kept(raw: Path, out: Path, listed: Callable[..., dict[str, Any]]) -> None:
    record = completion.read(out, "02")
    assert record is not None
    completion.write(out, Record(record.subject, "other", record.choices, record.outputs, corrected=True))
    assert states(listed(raw)) == ["complete", "cannot_be_done", "complete"]
    assert states(listed(raw, "--force")) == ["to_do"] * 3


def test_a_model_that_is_not_here_is_not_fetched(
    raw: Path, listed: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COACTSEG_MODEL_DIR", str(tmp_path / "cache"))
    assert states(listed(raw, "--model", "miccai2023")) == ["to_do"] * 3
    assert not (tmp_path / "cache").exists()


def test_prep_compares_nothing(raw: Path, listed: Callable[..., dict[str, Any]]) -> None:
    said = listed(raw, command="prep")
    assert [len(entry["visits"]) for entry in said["participants"]] == [2, 1, 1]
    assert not any(entry["pairs"] for entry in said["participants"])


def test_json_without_a_dry_run_is_a_mistake(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(raw), str(tmp_path / "out"), "participant", "--json"]) == 2
    assert "--dry-run" in capsys.readouterr().err


def test_nothing_is_written_and_no_network_loaded(raw: Path, tmp_path: Path) -> None:
    code = "import sys; from coactseg_cli.__main__ import main; code = main(sys.argv[1:]); print('\\nLOADED', *sys.modules)"
    words = [sys.executable, "-c", code, str(raw), str(tmp_path / "out"), "participant", "--dry-run"]
    before = sorted(tmp_path.rglob("*"))
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "to do: sub-01" in done.stdout
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & {"torch", "ants", "monai", "HD_BET", "nnunetv2", "bids", "matplotlib"}
    assert sorted(tmp_path.rglob("*")) == before
