"""What follows from the maps: fates, ids, tables; the same bytes when an output is read again; masks corrected by hand."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bids_app.cases import PreparedTimeline
from bids_app.dataset import read_prepared, read_timelines
from bids_app.derivatives import Derivatives, start, unresolved_sources
from bids_app.errors import InvalidDataset, NoInput
from bids_app.tables import number, read_table
from coactseg_cli import reading
from coactseg_cli.config import Pairing, PrepConfig, SegmentConfig
from coactseg_cli.errors import GridMismatch
from coactseg_cli.lesion_maps import STEP, rounded
from coactseg_cli.prep import prepare
from coactseg_cli.rereading import Again, reread
from coactseg_cli.segment import segment
from coactseg_cli.volumes import Volume, load, save
from examples.cohort import COHORT
from examples.make_dataset import write_dataset

LOW = SegmentConfig(threshold_all=0.745, threshold_new=0.47, noise_mm3=70.0, noise_share=0.1)  # about a hundred blobs per map
MIRROR = {"new": "resolved", "resolved": "new", "enlarging": "shrinking", "shrinking": "enlarging", "merged": "split", "split": "merged"}
TINY = 4.0


def quiet(_):
    pass


@pytest.fixture(autouse=True)
def no_page(monkeypatch):
    """The page has tests of its own, and takes longer than all the rest."""

    def page(prepared, tree, pairs, research_line):
        path = tree.root / f"sub-{prepared.subject}.html"
        path.write_text(f"{pairs} {research_line}")
        return path

    monkeypatch.setattr(reading, "write_report", page)


def visits_on_one_grid(root: Path, sessions: str) -> Path:
    """One participant, scanned once per letter of `sessions` (a or b, the example's two visits) in one head position, a year apart."""
    person = COHORT[0]
    kinds = {"a": 0, "b": 1}
    visits = tuple(
        dataclasses.replace(person.visits[0], session=f"{i:02d}", acq_time=f"20{10 + i}-01-01T10:00:00")
        for i in range(1, len(sessions) + 1)
    )
    lesions = tuple(dataclasses.replace(lesion, scale=tuple(lesion.scale[kinds[s]] for s in sessions)) for lesion in person.lesions)
    write_dataset(root, TINY, (dataclasses.replace(person, visits=visits, lesions=lesions),))
    return root


@dataclasses.dataclass(frozen=True)
class Case:
    """One prepared participant and the folder that is its output."""

    prepared: PreparedTimeline
    tree: Derivatives

    @property
    def subject(self) -> Path:
        return self.tree.root / "sub-01"

    def table(self, name: str) -> list[dict[str, str]]:
        return read_table(self.subject / f"sub-01_{name}.tsv")

    def image(self, session: str, name: str) -> Volume:
        return load(self.subject / f"ses-{session}/anat/sub-01_ses-{session}_{name}.nii.gz")

    def lesions(self) -> list[dict[str, str]]:
        return read_table(self.subject / "anat/sub-01_space-individual_desc-lesions_dseg.tsv")

    def content(self) -> dict[Path, bytes]:
        return {p.relative_to(self.tree.root): p.read_bytes() for p in sorted(self.tree.root.rglob("*")) if p.is_file()}

    def again(self, config: SegmentConfig = LOW, masks: Path | None = None, source: Path | None = None) -> None:
        reread(self.prepared, config, self.tree, Again(masks, source), "x", quiet)


def prep(bids: Path, out: Path) -> Case:
    links = {"labels": bids / "derivatives" / "labels"}
    tree = start(out, bids, version="test", readme="Research use only.", links=links)
    timeline = read_timelines(bids, derivatives=links).timelines[0]
    config = PrepConfig(spacing_mm=(4.0, 4.0, 4.0), n4=False, preregistered=True)
    return Case(prepare(timeline, config, tree, quiet), tree)


def done(bids: Path, out: Path, model, config: SegmentConfig = LOW) -> Case:
    case = prep(bids, out)
    segment(case.prepared, config, case.tree, model, quiet)
    return case


@pytest.fixture(scope="module")
def bids(tmp_path_factory) -> Path:
    return visits_on_one_grid(tmp_path_factory.mktemp("two") / "bids", "ab")


@pytest.fixture(scope="module")
def segmented(bids, tiny_model, tmp_path_factory) -> Case:
    """Two visits on one grid, segmented (read only)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "write_report", lambda prepared, tree, *_: tree.root / f"sub-{prepared.subject}.html")
        return done(bids, tmp_path_factory.mktemp("segmented") / "out", tiny_model)


@pytest.fixture
def case(segmented, tmp_path) -> Case:
    """The same, to be changed."""
    out = tmp_path / "out"
    shutil.copytree(segmented.tree.root, out)
    tree = dataclasses.replace(segmented.tree, root=out)
    return Case(read_prepared(out).timelines[0], tree)


# ---- probabilities


def test_probabilities_are_stored_in_steps(segmented):
    """The published way is to be met at 1e-5, and a file of noise below that would be three times as large."""
    assert STEP / 2 < 5e-6
    paths = sorted(segmented.tree.root.rglob("*_probseg.nii.gz"))
    assert {path.name.split("space-")[1].split("_")[0] for path in paths} == {"individual", "orig"}
    for path in paths:
        steps = load(path).data.astype(np.float64) / STEP
        assert np.array_equal(steps, np.rint(steps)), path.name
        assert 0 < steps.max() <= 1 / STEP
        assert "in steps of 1/131072" in json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())["Description"]


def test_rounding_moves_a_probability_by_half_a_step_at_most():
    probability = np.random.default_rng(0).random((20, 20, 20), np.float32)
    probability[0, 0, :2] = 0.0, 1.0
    found = rounded(probability)
    assert found.dtype == np.float32
    assert abs(found.astype(np.float64) - probability).max() <= STEP / 2
    assert found[0, 0, 0] == 0.0
    assert found[0, 0, 1] == 1.0
    assert np.array_equal(rounded(found), found)


# ---- fates


def test_swapping_the_visits_turns_new_into_resolved_exactly(segmented, bids, tiny_model, tmp_path):
    swapped = tmp_path / "bids"
    shutil.copytree(bids, swapped)
    table = swapped / "sub-01" / "sub-01_sessions.tsv"
    table.write_text(table.read_text().replace("2012-", "2009-"))
    other = done(swapped, tmp_path / "out", tiny_model)
    assert [v.session for v in other.prepared.visits] == ["02", "01"]
    for space in ("orig", "individual"):
        for here, there in (("new", "resolved"), ("resolved", "new")):
            one, two = (c.image(s, f"space-{space}_label-L_desc-{d}_mask") for c, s, d in ((segmented, "02", here), (other, "01", there)))
            assert one.data.any()
            assert np.array_equal(one.data, two.data), (space, here)
    before, after = segmented.table("sessions")[1], other.table("sessions")[1]
    for here, there in MIRROR.items():
        if here in {"new", "resolved"}:
            for name in ("lesions", "volume_mm3"):
                assert before[f"{here}_{name}"] == after[f"{there}_{name}"]
        column = f"tracked_{here}_lesions" if here in {"new", "resolved"} else f"{here}_lesions"
        mirrored = f"tracked_{there}_lesions" if there in {"new", "resolved"} else f"{there}_lesions"
        assert before[column] == after[mirrored], here
    assert before["stable_lesions"] == after["stable_lesions"]
    for here, there in (("new_outside_followup", "resolved_outside_baseline"), ("new_inside_baseline", "resolved_inside_followup")):
        assert before[f"{here}_mm3"] == after[f"{there}_mm3"]
        assert after[f"{here}_mm3"] == before[f"{there}_mm3"]
    assert changes(segmented, "ses-02") == sorted((MIRROR.get(fate, fate), -change + 0.0) for fate, change in changes(other, "ses-01"))
    assert {"stable", "new", "resolved", "enlarging", "shrinking"} <= {fate for fate, _ in changes(segmented, "ses-02")}


def changes(case: Case, session: str) -> list[tuple[str, float]]:
    rows = [r for r in case.table("desc-lesions_timeline") if r["session_id"] == session and r["change_mm3"] != "n/a"]
    return sorted((r["fate"], round(number(r["change_mm3"]), 3) + 0.0) for r in rows)


def test_the_same_file_at_both_visits_changes_nothing(tiny_model, tmp_path):
    """What a random network calls new there is exactly what its null pair says; no lesion has another fate than stable."""
    case = done(visits_on_one_grid(tmp_path / "bids", "a"), tmp_path / "one", tiny_model)
    scan = tmp_path / "bids/sub-01/ses-01/anat/sub-01_ses-01_FLAIR.nii.gz"
    shutil.copytree(tmp_path / "bids/sub-01/ses-01", tmp_path / "bids/sub-01/ses-02")
    labels = tmp_path / "bids/derivatives/labels/sub-01"
    shutil.copytree(labels / "ses-01", labels / "ses-02")
    for path in [*(tmp_path / "bids/sub-01/ses-02").rglob("*ses-01*"), *(labels / "ses-02").rglob("*ses-01*")]:
        path.rename(path.with_name(path.name.replace("ses-01", "ses-02")))
    assert scan.read_bytes() == Path(str(scan).replace("ses-01", "ses-02")).read_bytes()
    sessions = tmp_path / "bids/sub-01/sub-01_sessions.tsv"
    sessions.unlink()
    case = done(tmp_path / "bids", tmp_path / "two", tiny_model)
    row = case.table("sessions")[1]
    assert number(row["stable_lesions"]) > 0
    assert {row[c] for c in ("tracked_new_lesions", "tracked_resolved_lesions", "enlarging_lesions", "shrinking_lesions")} == {"0"}
    new, null = (case.image("02", f"space-individual_label-L_desc-{d}_probseg").data for d in ("new", "nullpair"))
    assert np.array_equal(new, null)
    assert (number(row["nullpair_volume_mm3"]) > 0) == bool(case.image("02", "space-individual_label-L_desc-new_mask").data.any())
    assert {r["fate"] for r in case.table("desc-lesions_timeline")} <= {"baseline", "stable"}


def test_tables_agree_with_the_images(segmented):
    everything = load(segmented.subject / "anat/sub-01_space-individual_desc-lesions_dseg.nii.gz")
    visits = [segmented.image(s, "space-individual_desc-lesions_dseg") for s in ("01", "02")]
    assert np.array_equal(everything.data, np.where(visits[1].data > 0, visits[1].data, visits[0].data))
    for row in segmented.table("desc-lesions_timeline"):
        seen = visits[("ses-01", "ses-02").index(row["session_id"])]
        found = np.argwhere(seen.data == number(row["lesion_id"]))
        assert number(row["volume_mm3"]) == pytest.approx(len(found) * seen.voxel_mm3)
        if len(found):
            centre = seen.affine[:3, :3] @ found.mean(axis=0) + seen.affine[:3, 3]
            assert [number(row[k]) for k in ("x_mm", "y_mm", "z_mm")] == pytest.approx(list(centre), abs=1e-3)
    assert [number(r["index"]) for r in segmented.lesions()] == sorted({int(v) for v in np.unique([v.data for v in visits]) if v})
    assert {r["days"] for r in segmented.table("desc-lesions_timeline")} == {"0", "365"}


def test_contradictions_and_null_pairs_are_measured(segmented):
    row = segmented.table("sessions")[1]
    masks = {(s, d): segmented.image(s, f"space-individual_label-L_desc-{d}_mask").data > 0 for s in ("01", "02") for d in ("all",)}
    new, gone = (segmented.image("02", f"space-individual_label-L_desc-{d}_mask").data > 0 for d in ("new", "resolved"))
    first, second = masks["01", "all"], masks["02", "all"]
    for column, voxels in {
        "new_outside_followup_mm3": new & ~second,
        "new_inside_baseline_mm3": new & first,
        "resolved_outside_baseline_mm3": gone & ~first,
        "resolved_inside_followup_mm3": gone & second,
        "new_and_resolved_mm3": new & gone,
    }.items():
        assert number(row[column]) == pytest.approx(64.0 * voxels.sum()), column
    null = segmented.image("02", "space-individual_label-L_desc-nullpair_probseg").data
    brain = load(segmented.prepared.visits[1].brain_mask).data > 0.5
    assert number(row["nullpair_volume_mm3"]) == pytest.approx(64.0 * ((null >= np.float32(0.47)) & brain).sum())
    flagged = [r for r in segmented.table("desc-quality_flags") if r["flagged"] == "1" and r["session_id"] == "ses-02"]
    assert set(row["flags"].split(";")) - {"n/a"} == {r["name"] for r in flagged}


def test_a_change_of_scanner_is_a_flag(bids, tiny_model, tmp_path):
    changed = tmp_path / "bids"
    shutil.copytree(bids, changed)
    sidecar = changed / "sub-01/ses-02/anat/sub-01_ses-02_FLAIR.json"
    before = json.loads(sidecar.read_text()) if sidecar.is_file() else {}
    sidecar.write_text(json.dumps({**before, "Manufacturer": "Another", "ManufacturersModelName": "Other"}))
    case = done(changed, tmp_path / "out", tiny_model)
    assert "protocol-manufacturer" in case.table("sessions")[1]["flags"].split(";")
    assert "protocol" not in case.table("sessions")[0]["flags"]


# ---- three visits, one visit


@pytest.mark.parametrize("pairs", list(Pairing))
def test_three_visits(tiny_model, tmp_path, pairs):
    config = dataclasses.replace(LOW, pairs=pairs)
    case = done(visits_on_one_grid(tmp_path / "bids", "aba"), tmp_path / "out", tiny_model, config)
    last = case.table("sessions")[2]
    assert last["baseline_session_id"] == ("ses-01" if pairs is Pairing.FIRST else "ses-02")
    assert "n/a" not in {last[c] for c in ("tracked_new_lesions", "tracked_resolved_lesions", "enlarging_lesions", "new_and_resolved_mm3")}
    assert (case.subject / "ses-03/anat/sub-01_ses-03_space-orig_desc-resolvedFrom01_dseg.tsv").exists() == (
        pairs is not Pairing.CONSECUTIVE
    )
    assert {r["session_id"] for r in case.table("desc-lesions_timeline")} == {"ses-01", "ses-02", "ses-03"}
    assert unresolved_sources(case.tree.root) == []
    before = case.content()
    case.again(config)
    assert {k for k, v in case.content().items() if before.get(k) != v} <= {Path("sub-01.html")}


def test_one_visit_has_a_baseline_only(tiny_prepared, tiny_model, tmp_path):
    for which, path in ((1, "sub-02/ses-01"), (2, "sub-03")):
        tree = start(tmp_path / f"{which}", tiny_prepared.tree.raw, version="test", readme="x", links={"prep": tiny_prepared.tree.root})
        prepared = tiny_prepared.timelines[which]
        for _ in range(2):  # the second time, ids are found again
            segment(prepared, LOW, tree, tiny_model, quiet)
        table = read_table(tree.root / f"sub-{prepared.subject}/anat/sub-{prepared.subject}_space-individual_desc-lesions_dseg.tsv")
        assert {r["fate"] for r in table} == {"baseline"}
        assert [r["index"] for r in table] == [str(i) for i in range(1, len(table) + 1)]
        assert len(list((tree.root / path / "anat").glob("*space-orig_desc-lesions_dseg.nii.gz"))) == 1
        assert unresolved_sources(tree.root) == []


# ---- ids


def test_a_visit_that_is_added_changes_no_id(tiny_bids, tiny_labels, tmp_path):
    """The halfway space moves with the visit that is added: ids are found again through each scan's own space."""
    links = {"labels": tiny_labels, "corrected": tmp_path / "two"}
    timeline = read_timelines(tiny_bids, participant_labels=["01"], derivatives={"labels": tiny_labels}).timelines[0]
    tree = start(tmp_path / "out", tiny_bids, version="test", readme="x", links=links)
    config = PrepConfig(spacing_mm=(3.0, 3.0, 3.0), n4=False)
    truth = {label.session: load(label.path) for label in timeline.labels if label.kind == "all"}
    fresh = next(load(label.path) for label in timeline.labels if label.kind == "new")
    names = "sub-01/ses-{0}/anat/sub-01_ses-{0}_space-orig_label-L_desc-{1}_mask.nii.gz"
    for folder, masks in {
        "one": {("02", "all"): truth["02"]},
        "two": {
            ("01", "all"): truth["01"],
            ("02", "all"): truth["02"],
            ("02", "new"): fresh,
            ("02", "resolved"): fresh.like(0 * fresh.data),
        },
    }.items():
        for (session, desc), mask in masks.items():
            save(mask, tmp_path / folder / names.format(session, desc), np.uint8)
    maps, tables, grids = [], [], []
    for folder, visits in (("one", timeline.visits[1:]), ("two", timeline.visits)):  # the visit that is added lies before the other
        prepared = prepare(dataclasses.replace(timeline, visits=visits), config, tree, quiet)
        place = dataclasses.replace(tree, links={**links, "corrected": tmp_path / folder})
        reread(prepared, LOW, place, Again(tmp_path / folder), "x", quiet)
        maps.append(load(tree.root / "sub-01/ses-02/anat/sub-01_ses-02_space-orig_desc-lesions_dseg.nii.gz").data)
        tables.append(read_table(tree.root / "sub-01/anat/sub-01_space-individual_desc-lesions_dseg.tsv"))
        grids.append(load(prepared.reference).affine)
    assert not np.allclose(*grids)
    before, after = maps
    assert len(np.unique(before)) > 5
    both = (before > 0) & (after > 0)
    moved = int((before[both] != after[both]).sum())
    assert moved <= 2, f"{moved} of {both.sum()}"  # where two lesions touch, the nearest voxel of the other grid may be the neighbour's
    assert {i for i in np.unique(before) if (before == i).sum() > 2} <= set(np.unique(after))  # a speck may fall between the voxels
    used = {int(r["index"]) for r in tables[0]}
    added = {int(r["index"]) for r in tables[1]} - used
    assert added
    assert min(added) > max(used), "an id that was given is never given to another lesion"
    sidecar = json.loads((tree.root / "sub-01/anat/sub-01_space-individual_desc-lesions_dseg.json").read_text())
    assert sidecar["LargestIndexEverUsed"] == max(added)


def test_ids_stay_and_are_never_used_again(case):
    first = {r["index"] for r in case.lesions()}
    case.again(dataclasses.replace(LOW, threshold_all=0.8, threshold_new=0.48))
    fewer = {r["index"] for r in case.lesions()}
    assert first & fewer
    case.again(LOW)
    back = {r["index"] for r in case.lesions()}
    assert fewer & back
    assert not (back - fewer) & first, "what went with the higher threshold and is found again has an id that nobody had"
    case.again(LOW)
    assert {r["index"] for r in case.lesions()} == back


# ---- read again


def test_reading_again_gives_the_same_bytes(case):
    before = case.content()
    case.again()
    assert {k for k, v in case.content().items() if before.get(k) != v} <= {Path("sub-01.html")}
    assert set(before) | {Path("sub-01.html")} == set(case.content()) | {Path("sub-01.html")}


def test_another_threshold_is_what_segment_would_have_given(case, bids, tiny_model, tmp_path):
    other = dataclasses.replace(LOW, threshold_all=0.76, threshold_new=0.475, min_lesion_mm3=70.0)
    fresh = done(bids, tmp_path / "fresh", tiny_model, other)
    before = case.content()
    case.again(other)
    for session in ("01", "02"):
        for path in (fresh.subject / f"ses-{session}/anat").glob("*_desc-[anr]*"):
            if path.name.endswith((".nii.gz", ".tsv", ".json")):
                twin = case.subject / f"ses-{session}/anat" / path.name
                assert twin.read_bytes() == path.read_bytes(), path.name
    changed = {k for k, v in case.content().items() if before.get(k) != v}
    assert Path("sub-01/sub-01_sessions.tsv") in changed
    assert not any("probseg" in k.name or "preproc" in k.name for k in changed)


def test_the_models_own_threshold_is_the_default(case):
    case.again(SegmentConfig())
    sidecar = json.loads(next((case.subject / "ses-02/anat").glob("*individual_label-L_desc-new_mask.json")).read_text())
    assert sidecar["Threshold"] == sidecar["ModelThreshold"] == 0.5


def test_what_is_not_there_is_named(case):
    for path in case.subject.rglob("*desc-resolved_probseg.nii.gz"):
        path.unlink()
    with pytest.raises(NoInput, match=r"desc-resolved_probseg.*--output-probabilities"):
        case.again()


def test_reading_again_needs_no_network():
    code = "import sys, coactseg_cli.rereading; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert run.stdout.strip() == "False"


# ---- corrected by hand


def corrected(case: Case, folder: Path, name: str, session: str = "02") -> tuple[Path, Volume]:
    """A copy of a mask without its first lesion voxels and with a block of new ones. Returns: file, mask."""
    mask = case.image(session, name)
    data = mask.data > 0
    data[:] = False
    x, y, z = (n // 2 for n in data.shape)
    data[x : x + 3, y : y + 2, z : z + 2] = True
    path = folder / f"sub-01/ses-{session}/anat/sub-01_ses-{session}_{name}.nii.gz"
    save(mask.like(data), path, np.uint8)
    return path, mask.like(data)


@pytest.mark.parametrize("space", ["individual", "orig"])
def test_a_corrected_mask_gives_everything_that_follows(case, tmp_path, space):
    path, mask = corrected(case, tmp_path / "mine", f"space-{space}_label-L_desc-new_mask")
    given, before = path.read_bytes(), case.content()
    case = dataclasses.replace(case, tree=dataclasses.replace(case.tree, links={**case.tree.links, "corrected": tmp_path / "mine"}))
    case.again(masks=tmp_path / "mine")
    assert path.read_bytes() == given
    assert np.array_equal(case.image("02", f"space-{space}_label-L_desc-new_mask").data > 0, mask.data)
    row = case.table("sessions")[1]
    native = case.image("02", "space-orig_label-L_desc-new_mask")
    assert row["new_lesions"] == "1"
    assert number(row["new_volume_mm3"]) == pytest.approx(native.data.sum() * native.voxel_mm3)
    assert 0.4 < number(row["new_volume_mm3"]) / (mask.data.sum() * mask.voxel_mm3) < 2.5  # the other grid has coarse voxels
    sidecar = json.loads((case.subject / "ses-02/anat/sub-01_ses-02_space-orig_label-L_desc-new_mask.json").read_text())
    assert sidecar["HandCorrected"] is True
    assert sidecar["HandCorrectedFrom"] == [f"bids:corrected:{path.relative_to(tmp_path / 'mine')}"]
    assert "Model" in sidecar
    same = {k for k, v in case.content().items() if before.get(k) == v}
    assert {k for k in before if "desc-all" in k.name or "desc-resolved" in k.name} <= same
    case.again(masks=tmp_path / "mine")  # and again: what was not corrected stays as it is
    shutil.rmtree(tmp_path / "mine")
    (tmp_path / "mine").mkdir()
    kept = case.content()
    case.again(masks=tmp_path / "mine")
    assert {k for k, v in case.content().items() if kept[k] != v} == set(), "the corrected mask in OUT stays, and says that it was"


def test_corrected_masks_may_go_to_another_folder(case, tmp_path):
    corrected(case, tmp_path / "mine", "space-orig_label-L_desc-all_mask", "01")
    before = case.content()
    tree = start(
        tmp_path / "other", case.tree.raw, version="test", readme="x", links={"prep": case.tree.root, "corrected": tmp_path / "mine"}
    )
    other = dataclasses.replace(case, tree=tree)
    other.again(masks=tmp_path / "mine", source=case.tree.root)
    assert case.content() == before
    assert other.table("sessions")[0]["all_lesions"] == "1"
    assert other.table("sessions")[1]["all_lesions"] == case.table("sessions")[1]["all_lesions"]
    assert unresolved_sources(tree.root) == []


def test_a_corrected_mask_on_another_grid_is_refused(case, tmp_path):
    path, mask = corrected(case, tmp_path / "mine", "space-orig_label-L_desc-new_mask")
    save(Volume(mask.data, mask.affine @ np.diag([2.0, 1.0, 1.0, 1.0])), path, np.uint8)
    with pytest.raises(GridMismatch, match=rf"{path.name}.*space-orig_desc-preproc"):
        case.again(masks=tmp_path / "mine")


def test_a_corrected_mask_under_another_name_is_refused(case, tmp_path):
    path, _ = corrected(case, tmp_path / "mine", "space-orig_label-L_desc-new_mask")
    path.rename(path.with_name(path.name.replace("desc-new", "desc-newer")))
    with pytest.raises(InvalidDataset, match="nothing asks for it"):
        case.again(masks=tmp_path / "mine")


def test_masks_alone_are_enough(case, tmp_path):
    for path in case.subject.rglob("*probseg*"):
        path.unlink()
    corrected(case, tmp_path / "mine", "space-individual_label-L_desc-all_mask")
    case = dataclasses.replace(case, tree=dataclasses.replace(case.tree, links={**case.tree.links, "corrected": tmp_path / "mine"}))
    case.again(masks=tmp_path / "mine")
    row = case.table("sessions")[1]
    assert (row["all_lesions"], row["nullpair_lesions"]) == ("1", "n/a")
    assert {r["max_probability"] for r in case.table("desc-lesions_timeline")} == {"n/a"}
