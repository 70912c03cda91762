"""Rows of the cohort from output folders whose content is known."""

from __future__ import annotations

import json
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_app.errors import NoInput
from coactseg_cli.cohort.columns import Cells
from coactseg_cli.cohort.gathering import Cohort, gather
from coactseg_cli.errors import InvalidConfig
from tests.coactseg_cli.cohort.made import RESEARCH, brain, done, dseg, out_folder, raw_folder, table, two_visits, write


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return out_folder(tmp_path / "out")


def only(rows: tuple[Cells, ...], **wanted: str) -> Cells:
    (row,) = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    return row


def states(cohort: Cohort) -> dict[str, str]:
    return {row["participant_id"]: row["status"] for row in cohort.rows}


def test_two_visits_give_two_rows_and_their_pair(out: Path) -> None:
    two_visits(out, "01")
    cohort = gather(out)
    assert [row["row_type"] for row in cohort.rows] == ["visit", "visit", "pair"]
    first, second = cohort.visits
    assert (first["visit_number"], second["visit_number"], first["days"], second["days"]) == ("1", "2", "0", "182")
    assert float(first["lesion_load_percent"]) == pytest.approx(100 * 1000 / 1_200_000)
    assert first["new_lesions"] == second["new_lesions"] == "n/a"  # counted once: in the row of the pair
    (pair,) = cohort.pairs
    assert (pair["session_id"], pair["baseline_session_id"], pair["consecutive"], pair["days_between"]) == ("ses-02", "ses-01", "1", "182")
    assert (pair["new_lesions"], pair["new_volume_mm3"], pair["volume_change_mm3"]) == ("2", "50.5", "250")
    assert float(pair["volume_change_mm3_per_year"]) == pytest.approx(250 / 182 * 365.25)
    assert float(pair["brain_mask_change_percent"]) == pytest.approx(1.0)
    assert (pair["threshold_all"], pair["threshold_new"], pair["brain_mask_volume_mm3"]) == ("0.5", "0.4", "1212000")
    for row in cohort.rows:
        assert (row["status"], row["model_name"], row["model_sha256"]) == ("done", "tiny", "ab" * 32)
        assert (row["coactseg_version"], row["brain_extraction"], row["normalization"]) == ("0.1.0", "builtin", "zscore")
        assert (row["report"], row["output"], row["intended_use"]) == ("sub-01.html", ".", RESEARCH)
    assert pair["enlarging_lesions"] == pair["resolved_lesions"] == pair["nullpair_lesions"] == "n/a"  # this version did not look


def full(out: Path, subject: str) -> None:
    """Three visits with every column of the sessions table, a timeline and flags."""
    fates = {"new_lesions": 1, "new_volume_mm3": 40, "resolved_lesions": 2, "resolved_volume_mm3": 15.5, "enlarging_lesions": 2}
    fates |= {"shrinking_lesions": 1, "stable_lesions": 3, "merged_lesions": 0, "split_lesions": 0, "new_and_resolved_mm3": 1.5}
    rows = []
    for i, days in enumerate((0, 100, 400)):
        row = {"session_id": f"ses-{i + 1}", "days": days, "all_lesions": 5 + i, "all_volume_mm3": 500 + 100 * i}
        row |= {"baseline_session_id": f"ses-{i}" if i else "n/a", **{name: value if i else "n/a" for name, value in fates.items()}}
        row |= {"nullpair_lesions": i, "n_flags": int(i == 2), "flags": "snr" if i == 2 else "n/a", "scanner": f"S{i}"}
        rows.append(row | {"brain_mask_volume_mm3": 1_000_000})
        dseg(out, subject, str(i + 1), "all", [100.0])
    folder = out / f"sub-{subject}"
    table(folder / f"sub-{subject}_sessions.tsv", rows)
    write(folder / f"sub-{subject}_sessions.json", json.dumps({"scanner": {"Description": "The scanner", "Units": "arbitrary"}}))
    timeline = [
        {"lesion_id": 1, "session_id": "ses-2", "fate": "enlarging", "change_mm3": 10.25},
        {"lesion_id": 2, "session_id": "ses-2", "fate": "enlarging", "change_mm3": 4},
        {"lesion_id": 3, "session_id": "ses-2", "fate": "shrinking", "change_mm3": -6},
        {"lesion_id": 4, "session_id": "ses-2", "fate": "stable", "change_mm3": 1},
        {"lesion_id": 1, "session_id": "ses-3", "fate": "stable", "change_mm3": "n/a"},
    ]
    table(folder / f"sub-{subject}_desc-lesions_timeline.tsv", timeline)
    about = {"units": "1", "low": 5, "high": "n/a", "reason": "Noisy; look."}
    checks = [{"session_id": f"ses-{i}", "name": "snr", "value": 9 - 2 * i, **about, "flagged": int(i == 3)} for i in (1, 2, 3)]
    table(folder / f"sub-{subject}_desc-quality_flags.tsv", checks)
    done(out, subject)


def test_three_visits_with_fates_timeline_and_flags(out: Path) -> None:
    full(out, "07")
    cohort = gather(out)
    assert [(p["baseline_session_id"], p["session_id"], p["days_between"]) for p in cohort.pairs] == [
        ("ses-1", "ses-2", "100"),
        ("ses-2", "ses-3", "300"),
    ]
    first, second = cohort.pairs
    assert (first["enlarging_change_mm3"], first["shrinking_change_mm3"]) == ("14.25", "-6")
    assert (second["enlarging_change_mm3"], second["shrinking_change_mm3"]) == ("0", "0")
    assert (first["resolved_volume_mm3"], first["stable_lesions"], first["new_and_resolved_mm3"]) == ("15.5", "3", "1.5")
    assert [v["nullpair_lesions"] for v in cohort.visits] == ["0", "1", "2"]
    assert [v["n_flags"] for v in cohort.visits] == ["0", "0", "1"]
    assert [v["scanner"] for v in cohort.visits] == ["S0", "S1", "S2"]  # what we do not know is carried
    assert (cohort.columns["scanner"].description, cohort.columns["scanner"].units) == ("The scanner", "arbitrary")
    (flag,) = cohort.flags
    assert (flag["session_id"], flag["name"], flag["value"], flag["low"], flag["reason"]) == ("ses-3", "snr", "3", "5", "Noisy; look.")


def test_further_pairs_are_rows_of_their_own(out: Path) -> None:
    """--pairs all: ses-3 against ses-1 lies in maps only."""
    full(out, "07")
    dseg(out, "07", "3", "newFrom1", [7.0, 8.0, 9.0], BaselineSession="1", FollowUpSession="3")
    dseg(out, "07", "3", "resolvedFrom1", [5.5], BaselineSession="1", FollowUpSession="3", Threshold=0.3)
    pair = only(gather(out).pairs, session_id="ses-3", baseline_session_id="ses-1")
    assert (pair["consecutive"], pair["new_lesions"], pair["new_volume_mm3"]) == ("0", "3", "24")
    assert (pair["resolved_lesions"], pair["resolved_volume_mm3"], pair["threshold_resolved"]) == ("1", "5.5", "0.3")
    assert (pair["enlarging_lesions"], pair["enlarging_change_mm3"], pair["volume_change_mm3"]) == ("n/a", "n/a", "200")


@pytest.mark.parametrize(
    ("session", "desc", "marked"), [("01", "all", ["1", "0", "1"]), ("02", "all", ["0", "1", "1"]), ("02", "new", ["0", "0", "1"])]
)
def test_what_was_corrected_by_hand_is_marked(out: Path, session: str, desc: str, marked: list[str]) -> None:
    """Visit 1, visit 2, their pair."""
    two_visits(out, "01")
    dseg(out, "01", session, desc, [5.0], BaselineSession="01", HandCorrected=True)
    assert [row["hand_corrected"] for row in gather(out).rows] == marked


def test_one_visit_without_a_session_label_has_its_brain_measured(out: Path) -> None:
    dseg(out, "05", None, "all", [10.5, 20.0])
    brain(out, "05", None, "hd-bet", Flags=[{"Name": "brain-volume", "Message": "Small."}])
    mask = np.zeros((4, 5, 6), np.uint8)
    mask[1:3, 1:4, 2:4] = 1  # 12 voxels of 1 x 1.5 x 3 mm
    nib.save(nib.Nifti1Image(mask, np.diag([1.0, 1.5, 3.0, 1.0])), out / "sub-05" / "anat" / "sub-05_space-orig_desc-brain_mask.nii.gz")
    done(out, "05")
    (row,) = gather(out).rows
    assert (row["session_id"], row["visit_number"], row["days"]) == ("n/a", "1", "n/a")
    assert (row["all_lesions"], row["all_volume_mm3"], row["brain_mask_volume_mm3"]) == ("2", "30.5", "54")
    assert (row["brain_extraction"], row["n_flags"], row["flags"]) == ("hd-bet", "1", "brain-volume")


def test_visits_that_were_prepared_alone_have_no_pair(out: Path) -> None:
    rows = [
        {"session_id": f"ses-{i}", "acq_time": "n/a", "all_lesions": i, "all_volume_mm3": i, "baseline_session_id": "n/a"} for i in (1, 2)
    ]
    table(out / "sub-01" / "sub-01_sessions.tsv", rows)
    cohort = gather(out)
    assert [row["row_type"] for row in cohort.rows] == ["visit", "visit"]
    assert [row["days"] for row in cohort.rows] == ["n/a", "n/a"]


def test_scans_that_another_folder_prepared_say_how(tmp_path: Path) -> None:
    """-d prep=PATH: sidecars of brain masks lie in the linked data set."""
    out, prep = tmp_path / "out", tmp_path / "prep"
    dseg(out, "01", "1", "all", [5.0], SpatialReference="bids:prep:sub-01/ses-1/anat/sub-01_ses-1_space-orig_desc-preproc_FLAIR.nii.gz")
    brain(prep, "01", "1", "given")
    write(out / "dataset_description.json", json.dumps({"DatasetLinks": {"prep": prep.as_uri()}}))
    (row,) = gather(out).rows
    assert (row["session_id"], row["all_lesions"], row["brain_extraction"], row["normalization"]) == ("ses-1", "1", "given", "zscore")


# ---- who is missing, and why


def test_everybody_is_listed_with_a_reason(tmp_path: Path) -> None:
    raw = raw_folder(tmp_path / "raw", "01", "02", "03", "04", "05", "06")
    out = out_folder(tmp_path / "out", raw)
    for subject in ("01", "02", "03"):
        two_visits(out, subject)
    for subject in ("02", "03"):
        (out / "logs" / "complete" / f"sub-{subject}.json").unlink()
    old, new = out / "logs" / "20200101-000000_a", out / "logs" / "20200102-000000_b"
    write(old / "coactseg.log", "T sub-03: failed in prep: an older reason\n")
    write(
        new / "coactseg.log",
        "T sub-02: registered\nT sub-03: failed in segment: out of memory\nT sub-03: FAILED in segment: out of memory Traceback: /x\n",
    )
    write(out / "sub-04.html", "<div><h3>Not done: prep failed</h3>\n<p>sub-04 has no FLAIR; found &lt;T1w&gt;.</p></div>")
    table(out / "sub-05" / "sub-05_sessions.tsv", [{"session_id": "ses-1", "acq_time": "n/a"}])
    done(out, "05")
    cohort = gather(out)
    assert states(cohort) == {
        "sub-01": "done",
        "sub-02": "incomplete",
        "sub-03": "failed",
        "sub-04": "failed",
        "sub-05": "not_started",
        "sub-06": "not_started",
    }
    reasons = {row["participant_id"]: row["reason"] for row in cohort.not_done}
    assert reasons["sub-03"] == "segment: out of memory"
    assert reasons["sub-04"] == "prep: sub-04 has no FLAIR; found <T1w>."
    assert reasons["sub-05"] == "prepared, and not segmented yet"
    assert len(cohort.visits) == 2  # what an older run left of sub-02 and sub-03 is in no number
    assert cohort.without_raw == ()


def test_a_copy_without_logs_is_taken_as_it_is(out: Path) -> None:
    two_visits(out, "01")
    (out / "logs" / "complete" / "sub-01.json").unlink()
    (out / "logs" / "complete").rmdir()
    cohort = gather(out)
    assert states(cohort) == {"sub-01": "done"}
    assert cohort.without_raw == (".",)  # nobody can say who else there should be


def test_the_raw_data_set_of_the_command_line_stands_in_for_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    out = out_folder(tmp_path / "out", tmp_path / "moved")
    two_visits(out, "01")
    raw = raw_folder(tmp_path / "raw", "01", "09")
    assert states(gather(out)) == {"sub-01": "done"}
    assert states(gather(out, raw=raw)) == {"sub-01": "done", "sub-09": "not_started"}


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("sub-02_sessions.tsv", "session_id\tall_lesions\nses-1\t2\t3\n", "row 2 has 3 cells; the header has 2"),
        (
            "sub-02_sessions.tsv",
            "session_id\tall_lesions\nses-1\tmany\n",
            "column all_lesions: expected a number or 'n/a' in a table; got 'many'",
        ),
        ("sub-02_sessions.tsv", "session_id\tall_lesions\nses-1\t1\nses-1\t2\n", "expected a row per session_id; found ses-1, ses-1"),
        ("sub-02_sessions.tsv", "all_lesions\n1\n", "expected a row per session_id"),
        ("ses-02/anat/sub-02_ses-02_space-orig_desc-all_dseg.json", "{", "broken JSON"),
        (
            "ses-02/anat/sub-02_ses-02_space-orig_desc-new_dseg.tsv",
            "index\tname\n1\tx\n",
            "expected the column volume_mm3; found index, name",
        ),
        ("sub-02_desc-quality_flags.tsv", "session_id\tname\nses-01\tsnr\n", "expected the column flagged"),
    ],
)
def test_a_broken_file_is_named_and_the_others_go_on(out: Path, name: str, text: str, reason: str) -> None:
    for subject in ("01", "02", "03"):
        two_visits(out, subject)
    write(out / "sub-02" / name, text)
    cohort = gather(out)
    assert states(cohort) == {"sub-01": "done", "sub-02": "unreadable", "sub-03": "done"}
    (problem,) = cohort.problems
    assert str(out / "sub-02" / name) in problem
    assert reason in problem
    assert reason in only(cohort.not_done)["reason"]


# ---- several folders


def test_folders_are_merged(tmp_path: Path) -> None:
    raw = raw_folder(tmp_path / "raw", "01", "02", "03")
    one, two = out_folder(tmp_path / "one", raw), out_folder(tmp_path / "two", raw)
    two_visits(one, "01")
    two_visits(two, "02")
    cohort = gather(one, [two])
    assert [(row["participant_id"], row["output"], row["report"]) for row in cohort.visits[::2]] == [
        ("sub-01", ".", "sub-01.html"),
        ("sub-02", "../two", "../two/sub-02.html"),
    ]
    assert [row["participant_id"] for row in cohort.not_done] == ["sub-03"]  # once, and not sub-02 of one, nor sub-01 of two
    assert cohort.outputs == (".", "../two")


def test_the_same_results_twice_are_kept_once(tmp_path: Path) -> None:
    one, two = out_folder(tmp_path / "one"), out_folder(tmp_path / "two")
    for out in (one, two):
        two_visits(out, "01")
    assert [row["output"] for row in gather(one, [two, one]).rows] == ["."] * 3


def test_different_results_of_one_visit_name_both_folders(tmp_path: Path) -> None:
    one, two = out_folder(tmp_path / "one"), out_folder(tmp_path / "two")
    two_visits(one, "01")
    two_visits(two, "01", volumes=(1000.0, 1300.0))
    with pytest.raises(InvalidConfig, match=r"sub-01 ses-02 is in .*one \(all_volume_mm3 1250\) and .*two \(all_volume_mm3 1300\)"):
        gather(one, [two])


def test_a_participant_that_failed_in_one_folder_and_is_done_in_another_shows_both(tmp_path: Path) -> None:
    one, two = out_folder(tmp_path / "one"), out_folder(tmp_path / "two")
    write(one / "sub-01.html", "<h3>Not done: prep failed</h3><p>bad</p>")
    two_visits(two, "01")
    assert [(row["status"], row["output"]) for row in gather(one, [two]).rows] == [("failed", "."), *[("done", "../two")] * 3]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NoInput, match="two: no such folder"):
        gather(out_folder(tmp_path / "one"), [tmp_path / "two"])


def test_thousands_of_participants_are_gathered_in_linear_time(tmp_path: Path) -> None:
    """2,000 participants take about ten times as long as 200: the second factor leaves room for a busy machine."""
    out = out_folder(tmp_path / "out")
    text = "session_id\tall_lesions\tall_volume_mm3\tbaseline_session_id\tnew_lesions\nses-1\t2\t31.5\tn/a\tn/a\nses-2\t3\t40\tses-1\t1\n"

    def seconds(first: int, last: int) -> float:
        for i in range(first, last):
            write(out / f"sub-{i:04d}" / f"sub-{i:04d}_sessions.tsv", text)
        begun = time.process_time()
        assert len(gather(out).rows) == 3 * last
        return time.process_time() - begun

    few = seconds(0, 200)
    assert seconds(200, 2000) < 3 * 10 * few + 1.0
