"""The prep stage on the made-up cohort: geometry, intensities, labels, sidecars, and what it refuses."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bids_app.cases import Label, LabelKind, Mask, PreparedTimeline, Timeline
from bids_app.dataset import read_timelines
from bids_app.derivatives import Derivatives, start, unresolved_sources
from coactseg_cli.config import Anatomical, Normalize, PrepConfig, SkullStrip
from coactseg_cli.errors import BrainExtractionFailed, GridMismatch
from coactseg_cli.prep import prepare
from coactseg_cli.preprocessing.resampling import Interpolation, grid_of, resample
from coactseg_cli.preprocessing.transforms import apply, read_itk, rotation_deg
from coactseg_cli.volumes import load, same_grid, save
from tests.coactseg_cli.conftest import Prepared

COARSE = (3.0, 3.0, 3.0)
CONFIG = PrepConfig(spacing_mm=COARSE, n4=False)
AS_IT_IS = PrepConfig(spacing_mm=None, preregistered=True, normalize=Normalize.NONE, skull_strip=SkullStrip.NONE, n4=False)


@pytest.fixture
def pair(tiny_bids: Path, tiny_labels: Path) -> Timeline:
    """sub-01: two visits in different positions and slice thickness, masks and labels on their own grids."""
    return read_timelines(tiny_bids, participant_labels=["01"], derivatives={"labels": tiny_labels}).timelines[0]


@pytest.fixture
def tree(tiny_bids: Path, tiny_labels: Path, tmp_path: Path) -> Derivatives:
    return start(tmp_path / "out", tiny_bids, version="test", readme="Research use only.", links={"labels": tiny_labels})


def run(timeline: Timeline, config: PrepConfig, tree: Derivatives) -> tuple[PreparedTimeline, list[str]]:
    lines: list[str] = []
    return prepare(timeline, config, tree, lines.append), lines


def sidecar(image: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads(image.with_name(image.name.partition(".")[0] + ".json").read_text())
    return content


@pytest.fixture
def plain(tiny_prepared: Prepared) -> PreparedTimeline:
    """sub-01 as CONFIG prepares it (read only)."""
    return tiny_prepared.timelines[0]


def test_visits_meet_on_one_grid_normalised_in_their_own_brains(plain: PreparedTimeline) -> None:
    reference = load(plain.reference)
    images = [load(v.image) for v in plain.visits]
    masks = [load(v.brain_mask).data > 0 for v in plain.visits]
    assert reference.spacing_mm == COARSE
    assert all(same_grid(reference, image) for image in images)
    for image, mask in zip(images, masks, strict=True):
        assert image.data[mask].mean(dtype=np.float64) == pytest.approx(0, abs=1e-3)
        assert image.data[mask].std(dtype=np.float64) == pytest.approx(1, abs=1e-3)
        assert not image.data[~(masks[0] | masks[1])].any()
    both = masks[0] & masks[1]
    assert 2 * both.sum() / (masks[0].sum() + masks[1].sum()) > 0.95
    assert np.corrcoef(images[0].data[both], images[1].data[both])[0, 1] > 0.7
    assert reference.data == pytest.approx((images[0].data + images[1].data) / 2, abs=1e-6)


def test_halfway_favours_no_visit(plain: PreparedTimeline) -> None:
    first, second = (read_itk(v.to_individual) for v in plain.visits)
    assert rotation_deg(second @ np.linalg.inv(first)) > 5
    assert rotation_deg(first) == pytest.approx(rotation_deg(second), abs=1e-6)
    assert first @ second == pytest.approx(np.eye(4), abs=1e-9)
    for visit, matrix in zip(plain.visits, (first, second), strict=True):
        assert read_itk(visit.to_native) @ matrix == pytest.approx(np.eye(4), abs=1e-9)


def test_lesions_that_stay_fall_on_each_other(plain: PreparedTimeline) -> None:
    masks = {label.session: load(label.path).data > 0 for label in plain.labels if label.kind is LabelKind.ALL}
    assert (masks["01"] & masks["02"]).sum() > 0.3 * min(masks["01"].sum(), masks["02"].sum())


def test_the_written_transform_carries_the_scan(pair: Timeline, tree: Derivatives) -> None:
    config = replace(CONFIG, normalize=Normalize.NONE)
    prepared, _ = run(pair, config, tree)
    for scan, visit in zip(pair.visits, prepared.visits, strict=True):
        image = load(visit.image)
        again = resample(load(scan.path), grid_of(image), read_itk(visit.to_individual), Interpolation.CUBIC)
        assert again.data == pytest.approx(image.data, abs=1e-2)
        assert np.array_equal(load(visit.native).data, load(scan.path).data)
        assert same_grid(load(visit.native), load(scan.path))
    require_that_ants_agrees(prepared)


def require_that_ants_agrees(prepared: PreparedTimeline) -> None:
    ants = pytest.importorskip("ants")
    visit = prepared.visits[1]
    orig, individual = ants.image_read(str(visit.native)), ants.image_read(str(visit.image))
    carried = ants.apply_transforms(individual, orig, [str(visit.to_individual)]).numpy()
    inner = load(visit.brain_mask).data > 0
    assert np.corrcoef(carried[inner], individual.numpy()[inner])[0, 1] > 0.97
    mask = ants.image_read(str(visit.brain_mask))
    back = ants.apply_transforms(orig, mask, [str(visit.to_native)], interpolator="nearestNeighbor").numpy() > 0
    truth = load(visit.native_brain_mask).data > 0
    assert 2 * (truth & back).sum() / (truth.sum() + back.sum()) > 0.95


def test_the_same_input_gives_the_same_bytes(pair: Timeline, tree: Derivatives, tmp_path: Path) -> None:
    run(pair, CONFIG, tree)
    other = Derivatives(tmp_path / "again", tree.raw, tree.links)
    run(pair, CONFIG, other)
    files = sorted(p.relative_to(tree.root) for p in (tree.root / "sub-01").rglob("*") if p.is_file())
    assert len(files) > 20
    assert [f for f in files if (tree.root / f).read_bytes() != (other.root / f).read_bytes()] == []


def test_sidecars_say_how_it_was_made(pair: Timeline, tree: Derivatives) -> None:
    prepared, lines = run(replace(pair, visits=pair.visits[1:], labels=()), replace(CONFIG, n4=True), tree)
    content = sidecar(prepared.visits[0].image)
    assert content["BrainExtraction"] == "given"
    assert "brain mask was given" in str(content["BrainExtractionReason"])
    assert content["BiasFieldCorrection"] == "N4"
    assert content["SpacingRequested"] == [3.0, 3.0, 3.0]
    assert content["SkullStripped"] is True
    assert float(str(content["NormalizationStandardDeviation"])) > 0
    assert sidecar(prepared.visits[0].native)["SkullStripped"] is False
    assert unresolved_sources(tree.root) == []
    assert any("given" in line for line in lines)


def test_one_visit_without_a_session(tiny_bids: Path, tiny_labels: Path, tree: Derivatives) -> None:
    timeline = read_timelines(tiny_bids, participant_labels=["03"], derivatives={"labels": tiny_labels}).timelines[0]
    prepared, _ = run(timeline, CONFIG, tree)
    (visit,) = prepared.visits
    assert visit.image.name == "sub-03_space-individual_desc-preproc_FLAIR.nii.gz"
    assert np.array_equal(read_itk(visit.to_individual), np.eye(4))
    labels = {label.kind: load(label.path) for label in prepared.labels}
    raw = next(label for label in timeline.labels if label.kind is LabelKind.ALL)
    truth = load(raw.path)
    for volume in (truth, labels[LabelKind.ALL]):
        assert volume.data.any()
    centres = [apply(v.affine, np.argwhere(v.data > 0).mean(axis=0)[None])[0] for v in (truth, labels[LabelKind.ALL])]
    assert np.linalg.norm(centres[0] - centres[1]) < 3.0


def test_first_lex_stays_in_the_first_visit(pair: Timeline, tree: Derivatives) -> None:
    prepared, _ = run(pair, replace(CONFIG, anatomical=Anatomical.FIRST_LEX), tree)
    assert np.array_equal(read_itk(prepared.visits[0].to_individual), np.eye(4))
    assert rotation_deg(read_itk(prepared.visits[1].to_individual)) > 5


def test_sessionwise_compares_nothing(pair: Timeline, tree: Derivatives) -> None:
    prepared, lines = run(pair, replace(CONFIG, anatomical=Anatomical.SESSIONWISE), tree)
    assert not prepared.comparable
    assert not any(label.kind is LabelKind.NEW for label in prepared.labels)
    assert any("left out: visits that are prepared alone" in line for line in lines)
    assert not same_grid(*(load(v.image) for v in prepared.visits))
    assert all(np.array_equal(read_itk(v.to_individual), np.eye(4)) for v in prepared.visits)


def test_what_is_labelled_is_never_ignored(pair: Timeline, tree: Derivatives) -> None:
    new = next(label for label in pair.labels if label.kind is LabelKind.NEW)
    wide = next(label for label in pair.labels if label.kind is LabelKind.ALL and label.session == new.session)
    timeline = replace(pair, labels=(new, Label(wide.path, LabelKind.IGNORE_NEW, new.session)))
    prepared, _ = run(timeline, CONFIG, tree)
    found = {label.kind: load(label.path).data > 0 for label in prepared.labels}
    assert found[LabelKind.NEW].any()
    assert found[LabelKind.IGNORE_NEW].any()
    assert not (found[LabelKind.NEW] & found[LabelKind.IGNORE_NEW]).any()


def test_a_new_label_without_its_baseline_is_left_out(pair: Timeline, tree: Derivatives) -> None:
    prepared, lines = run(replace(pair, visits=pair.visits[1:]), CONFIG, tree)
    assert {label.kind for label in prepared.labels} == {LabelKind.ALL}
    assert any("not there" in line for line in lines)


def preregistered(timeline: Timeline, folder: Path) -> Timeline:
    """The second visit replaced by a scan on the first visit's grid."""
    first = load(timeline.visits[0].path)
    path = folder / timeline.visits[1].path.name
    save(first.like(first.data[::-1] * 1.5), path)
    return replace(timeline, visits=(timeline.visits[0], replace(timeline.visits[1], path=path)), labels=(), brain_masks=())


def test_native_spacing_changes_no_bit(pair: Timeline, tree: Derivatives, tmp_path: Path) -> None:
    timeline = preregistered(pair, tmp_path / "raw")
    prepared, _ = run(timeline, AS_IT_IS, Derivatives(tree.root, tree.raw, {**tree.links, "more": tmp_path / "raw"}))
    for scan, visit in zip(timeline.visits, prepared.visits, strict=True):
        raw = load(scan.path)
        for path in (visit.image, visit.native):
            assert np.array_equal(load(path).data, raw.data)
            assert load(path).affine == pytest.approx(raw.affine)
        assert np.array_equal(load(visit.brain_mask).data > 0, raw.data != 0)
        assert np.array_equal(read_itk(visit.to_individual), np.eye(4))


def test_preregistered_refuses_two_grids(pair: Timeline, tree: Derivatives) -> None:
    with pytest.raises(GridMismatch, match=r"ses-01_FLAIR.*ses-02_FLAIR"):
        run(pair, AS_IT_IS, tree)
    assert not (tree.root / "sub-01").exists()


def test_an_empty_scan_is_named_and_nothing_is_written(pair: Timeline, tree: Derivatives, tmp_path: Path) -> None:
    empty = load(pair.visits[1].path)
    path = tmp_path / pair.visits[1].path.name
    save(empty.like(np.zeros_like(empty.data)), path)
    with pytest.raises(BrainExtractionFailed, match=path.name):
        run(replace(pair, visits=(pair.visits[0], replace(pair.visits[1], path=path))), CONFIG, tree)
    assert not (tree.root / "sub-01").exists()


def test_a_mask_for_one_visit_only(pair: Timeline, tree: Derivatives) -> None:
    """The other visit falls back to the builtin method, and the sidecars say so."""
    prepared, _ = run(replace(pair, brain_masks=pair.brain_masks[:1], labels=()), CONFIG, tree)
    assert [sidecar(v.image)["BrainExtraction"] for v in prepared.visits] == ["given", "builtin"]


def test_normalize_none_leaves_the_head_in(pair: Timeline, tree: Derivatives) -> None:
    prepared, _ = run(pair, replace(CONFIG, normalize=Normalize.NONE), tree)
    image, mask = load(prepared.visits[0].image), load(prepared.visits[0].brain_mask)
    assert image.data[mask.data == 0].max() > 0
    assert image.data.min() >= 0
    assert sidecar(prepared.visits[0].image)["SkullStripped"] is False


def test_a_mask_that_lies_in_a_common_space_needs_its_transform(pair: Timeline, tree: Derivatives) -> None:
    from coactseg_cli.preprocessing.transforms import UnreadableTransform

    masks = tuple(Mask(m.path, m.session, "common") for m in pair.brain_masks)
    with pytest.raises(UnreadableTransform, match="space-common"):
        run(replace(pair, brain_masks=masks), CONFIG, tree)


@pytest.mark.shared
def test_real_pair_with_labels_in_a_common_space(shared_dir: Path, tmp_path: Path) -> None:
    data = shared_dir / "data" / "open-ms-longitudinal"
    labels = data / "derivatives" / "labels"
    tree = start(tmp_path / "out", data, version="test", readme="Research use only.", links={"labels": labels})
    desc = {"brighter": LabelKind.NEW, "change": LabelKind.IGNORE_NEW}
    timeline = read_timelines(data, participant_labels=["long01"], derivatives={"labels": labels}, label_desc=desc).timelines[0]
    prepared, _ = run(timeline, PrepConfig(n4=False), tree)
    found = {label.kind: load(label.path).data > 0 for label in prepared.labels}
    baseline, followup = (load(v.image).data for v in prepared.visits)
    assert 2300 < found[LabelKind.NEW].sum() < 3300  # 1 mm3 each; the README of the issue says about 2,500
    assert (followup - baseline)[found[LabelKind.NEW]].mean() > 0.8
    shutil.rmtree(tree.root)
