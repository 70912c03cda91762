import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from bids_app.derivatives import Derivatives, unresolved_sources
from bids_app.tables import number, read_table
from coactseg_cli.components import label, peaks_of
from coactseg_cli.config import AllLesionFrom, Pairing, SegmentConfig
from coactseg_cli.errors import InvalidConfig
from coactseg_cli.plan import check_model_grid
from coactseg_cli.rereading import Again, reread
from coactseg_cli.segment import segment
from coactseg_cli.volumes import load, same_grid

MAPS = (("01", "all"), ("02", "all"), ("02", "new"), ("02", "resolved"))
LOW = SegmentConfig(threshold_all=0.4, threshold_new=0.4)


def quiet(_):
    pass


@pytest.fixture
def tree(tiny_prepared, tmp_path):
    """An output tree of its own whose Sources reach the prepared one."""
    from bids_app.derivatives import start

    return start(
        tmp_path / "out", tiny_prepared.tree.raw, version="test", readme="Research use only.", links={"prep": tiny_prepared.tree.root}
    )


def names(tree: Derivatives) -> set[str]:
    return {p.name for p in tree.root.rglob("*.nii.gz")}


def test_two_visits_give_maps_of_both_and_of_what_is_new(tiny_prepared, tiny_model, tree):
    result = segment(tiny_prepared.timelines[0], LOW, tree, tiny_model, quiet)
    expected = {
        f"sub-01_ses-{s}_space-{space}_label-L_desc-{d}_{kind}.nii.gz"
        for s, d in MAPS
        for space in ("orig", "individual")
        for kind in ("mask", "probseg")
    }
    expected |= {f"sub-01_ses-{s}_space-orig_desc-{d}_dseg.nii.gz" for s, d in MAPS}
    expected |= {f"sub-01_ses-{s}_space-individual_label-L_desc-nullpair_probseg.nii.gz" for s in ("01", "02")}
    assert {n for n in names(tree) if "desc-lesions" not in n} == expected
    assert result.report == tree.root / "sub-01.html"
    assert "new at ses-02 since ses-01" in result.summary
    assert not unresolved_sources(tree.root)
    assert all(p.exists() for p in result.outputs)


@pytest.mark.parametrize("which", [1, 2])
def test_one_visit_gives_all_lesions_only(tiny_prepared, tiny_model, tree, which):
    segment(tiny_prepared.timelines[which], LOW, tree, tiny_model, quiet)
    assert not any("desc-new" in n or "desc-resolved" in n for n in names(tree))
    assert sum(n.endswith("probseg.nii.gz") for n in names(tree)) == 3  # all lesions on two grids, the null pair on one


def test_maps_lie_on_the_scans_own_grid(tiny_prepared, tiny_model, tree):
    prepared = tiny_prepared.timelines[0]
    segment(prepared, LOW, tree, tiny_model, quiet)
    for visit in prepared.visits:
        native = load(visit.native)
        for path in tree.root.rglob(f"sub-01_ses-{visit.session}_space-orig_*.nii.gz"):
            assert same_grid(load(path), native, 1e-3), path


def test_masks_are_the_thresholded_probabilities_inside_the_brain(tiny_prepared, tiny_model, tree):
    prepared = tiny_prepared.timelines[0]
    segment(prepared, dataclasses.replace(LOW, min_lesion_mm3=0.0), tree, tiny_model, quiet)
    folder = tree.root / "sub-01" / "ses-02" / "anat"
    probability = load(folder / "sub-01_ses-02_space-individual_label-L_desc-new_probseg.nii.gz").data
    mask = load(folder / "sub-01_ses-02_space-individual_label-L_desc-new_mask.nii.gz").data
    brain = load(prepared.visits[1].brain_mask).data > 0.5
    assert np.array_equal(mask > 0, (probability >= np.float32(0.4)) & brain)
    assert 0.0 <= probability.min() <= probability.max() <= 1.0


def test_a_new_lesion_must_reach_the_models_peak(tiny_prepared, tiny_model, tree):
    """On the common grid and, with the same lesions, on the scan's own; with a threshold of the user's there is no peak."""
    prepared = tiny_prepared.timelines[0]
    stem = tree.root / "sub-01/ses-02/anat/sub-01_ses-02_space-individual_label-L_desc-new_"
    segment(prepared, dataclasses.replace(LOW, min_lesion_mm3=0.0), tree, tiny_model, quiet)
    probability = load(Path(f"{stem}probseg.nii.gz")).data
    brain = load(prepared.visits[1].brain_mask).data > 0.5
    threshold = round(float(np.quantile(probability[brain], 0.9)), 3)
    labels, n = label(probability >= np.float32(threshold))
    peaks = peaks_of(labels, n, probability)
    assert n > 2
    peak = float(peaks.max())  # one lesion stays
    kept = np.isin(labels, np.flatnonzero(peaks >= peak) + 1)
    model = dataclasses.replace(tiny_model, info=dataclasses.replace(tiny_model.info, threshold_new=threshold, peak_new=peak))
    own = SegmentConfig(threshold_all=0.4, min_lesion_mm3=0.0)
    segment(prepared, own, tree, model, quiet)
    mask = load(Path(f"{stem}mask.nii.gz")).data > 0
    assert np.array_equal(mask, kept & brain)
    sidecar = json.loads(Path(f"{stem}mask.json").read_text())
    assert (sidecar["Threshold"], sidecar["Peak"], sidecar["ModelPeak"]) == (threshold, peak, peak)
    assert "Peak" not in json.loads(Path(str(stem).replace("desc-new", "desc-all") + "mask.json").read_text())
    native = Path(str(stem).replace("space-individual", "space-orig") + "mask.nii.gz")
    few = load(native).data.sum()
    segment(prepared, dataclasses.replace(own, threshold_new=threshold), tree, model, quiet)
    assert "Peak" not in json.loads(Path(f"{stem}mask.json").read_text())
    assert 0 < few < load(native).data.sum()
    reread(prepared, dataclasses.replace(own, threshold_all=None), tree, Again(None), "Research use only.", quiet)
    assert np.array_equal(load(Path(f"{stem}mask.nii.gz")).data > 0, mask)
    assert load(native).data.sum() == few


def test_tables_count_what_the_dseg_shows(tiny_prepared, tiny_model, tree):
    segment(tiny_prepared.timelines[0], LOW, tree, tiny_model, quiet)
    sessions = read_table(tree.root / "sub-01" / "sub-01_sessions.tsv")
    assert [s["session_id"] for s in sessions] == ["ses-01", "ses-02"]
    assert [s["baseline_session_id"] for s in sessions] == ["n/a", "ses-01"]
    for row, session, desc in ((sessions[0], "01", "all"), (sessions[1], "02", "all"), (sessions[1], "02", "new")):
        stem = tree.root / "sub-01" / f"ses-{session}" / "anat" / f"sub-01_ses-{session}_space-orig_desc-{desc}_dseg"
        labels, lesions = load(Path(f"{stem}.nii.gz")), read_table(Path(f"{stem}.tsv"))
        assert number(row[f"{desc}_lesions"]) == labels.data.max() == len(lesions)
        assert number(row[f"{desc}_volume_mm3"]) == pytest.approx((labels.data > 0).sum() * labels.voxel_mm3, rel=1e-4)
        for lesion in lesions:
            assert number(lesion["voxels"]) == (labels.data == number(lesion["index"])).sum()
            assert number(lesion["volume_mm3"]) > 3.0


def test_sidecars_record_what_decided_a_map(tiny_prepared, tiny_model, tree):
    segment(tiny_prepared.timelines[0], LOW, tree, tiny_model, quiet)
    path = tree.root / "sub-01/ses-02/anat/sub-01_ses-02_space-orig_label-L_desc-new_mask.json"
    content = json.loads(path.read_text())
    assert (content["BaselineSession"], content["FollowUpSession"], content["Threshold"]) == ("01", "02", 0.4)
    assert content["Model"]["SHA256"] == tiny_model.sha256
    assert content["Type"] == "Lesion"
    assert "Research use only" in content["IntendedUse"]


def test_all_lesion_map_does_not_depend_on_the_partner_unless_asked(tiny_prepared, tiny_model, tree, tmp_path):
    prepared = tiny_prepared.timelines[0]
    path = tree.root / "sub-01/ses-01/anat/sub-01_ses-01_space-individual_label-L_desc-all_probseg.nii.gz"
    alone = dataclasses.replace(prepared, visits=prepared.visits[:1])
    maps = []
    for case, config in ((prepared, LOW), (alone, LOW), (prepared, dataclasses.replace(LOW, all_lesion_from=AllLesionFrom.PAIR))):
        segment(case, config, tree, tiny_model, quiet)
        maps.append(load(path).data)
    assert np.array_equal(maps[0], maps[1])
    assert not np.array_equal(maps[0], maps[2])


def test_resolved_is_what_is_new_when_time_runs_backwards(tiny_prepared, tiny_model, tree, tmp_path):
    """On the common grid, of one and the same pass; a null pair is the pass of a visit with itself."""
    prepared = tiny_prepared.timelines[0]
    back = dataclasses.replace(prepared, visits=prepared.visits[::-1])
    there, folder = "sub-01/ses-{0}/anat/sub-01_ses-{0}_space-individual_label-L_desc-{1}_{2}.nii.gz", tree.root
    segment(prepared, LOW, tree, tiny_model, quiet)
    forward = {(d, k): load(folder / there.format("02", d, k)).data for d in ("new", "resolved") for k in ("probseg", "mask")}
    null = load(folder / there.format("02", "nullpair", "probseg")).data
    segment(back, LOW, tree, tiny_model, quiet)
    for desc, other in (("new", "resolved"), ("resolved", "new")):
        for kind in ("probseg", "mask"):
            assert np.array_equal(load(folder / there.format("01", other, kind)).data, forward[desc, kind]), (desc, kind)
    assert not np.array_equal(forward["new", "probseg"], forward["resolved", "probseg"])
    assert null.max() > 0
    facts = json.loads((folder / there.format("02", "resolved", "mask").replace(".nii.gz", ".json")).read_text())
    assert (facts["BaselineSession"], facts["FollowUpSession"]) == ("01", "02")
    assert "exchanged" in facts["Pass"]


def test_without_probabilities_only_masks_are_written(tiny_prepared, tiny_model, tree):
    segment(tiny_prepared.timelines[0], dataclasses.replace(LOW, output_probabilities=False), tree, tiny_model, quiet)
    assert not any("probseg" in n for n in names(tree))


@pytest.mark.parametrize(
    ("pairs", "descs"), [(Pairing.CONSECUTIVE, {"new"}), (Pairing.FIRST, {"new", "newFrom01"}), (Pairing.ALL, {"new", "newFrom01"})]
)
def test_pairs_of_three_visits(tiny_prepared, tiny_model, tree, pairs, descs):
    prepared = tiny_prepared.timelines[0]
    third = dataclasses.replace(prepared.visits[0], entities=prepared.visits[0].entities.with_(session="03"))
    segment(dataclasses.replace(prepared, visits=(*prepared.visits, third)), dataclasses.replace(LOW, pairs=pairs), tree, tiny_model, quiet)
    folder = tree.root / "sub-01" / "ses-03" / "anat"
    found = {p.name.split("desc-")[1].split("_")[0] for p in folder.glob("*_mask.nii.gz")} - {"all"}
    descs = descs - {"new"} if pairs is Pairing.FIRST else descs
    assert found == descs | {desc.replace("new", "resolved") for desc in descs}


def test_min_lesion_size_is_applied_in_native_space(tiny_prepared, tiny_model, tree):
    prepared = tiny_prepared.timelines[0]
    counts = []
    for limit in (0.0, 500.0):
        segment(prepared, dataclasses.replace(LOW, min_lesion_mm3=limit), tree, tiny_model, quiet)
        table = read_table(tree.root / "sub-01/ses-01/anat/sub-01_ses-01_space-orig_desc-all_dseg.tsv")
        assert all(number(r["volume_mm3"]) > limit for r in table)
        counts.append(len(table))
    assert counts[0] >= counts[1]


def test_visits_prepared_alone_are_not_compared(tiny_prepared, tiny_model, tree):
    prepared = dataclasses.replace(tiny_prepared.timelines[0], comparable=False)
    segment(prepared, LOW, tree, tiny_model, quiet)
    assert not any("desc-new" in n or "desc-resolved" in n for n in names(tree))
    with pytest.raises(InvalidConfig, match="sessionwise"):
        segment(prepared, dataclasses.replace(LOW, all_lesion_from=AllLesionFrom.PAIR), tree, tiny_model, quiet)


def test_the_same_run_gives_the_same_bytes(tiny_prepared, tiny_model, tree):
    def content():
        segment(tiny_prepared.timelines[0], LOW, tree, tiny_model, quiet)
        return {p.relative_to(tree.root): p.read_bytes() for p in tree.root.rglob("*") if p.is_file()}

    assert content() == content()


def test_another_grid_than_the_models_is_said(tiny_model):
    assert check_model_grid(tiny_model, (3.0, 3.0, 3.0)) is None
    assert "1.00, 1.00, 3.00 mm" in check_model_grid(tiny_model, (1.0, 1.0, 3.0))


def test_the_page_says_how_the_visits_met(tiny_prepared, tiny_model, tree):
    for which, words in ((0, "halfway space"), (1, "brought to the model&#39;s grid")):
        result = segment(tiny_prepared.timelines[which], LOW, tree, tiny_model, quiet)
        assert words in result.report.read_text()


def test_visits_that_stay_alone_refer_to_their_own_grids(tiny_prepared, tiny_model, tree):
    prepared = dataclasses.replace(tiny_prepared.timelines[0], comparable=False)
    segment(prepared, LOW, tree, tiny_model, quiet)
    for session in ("01", "02"):
        path = tree.root / f"sub-01/ses-{session}/anat/sub-01_ses-{session}_space-individual_label-L_desc-all_mask.json"
        assert f"sub-01_ses-{session}_space-individual_desc-preproc_FLAIR" in json.loads(path.read_text())["SpatialReference"]
