"""Checks of a prepared participant from the disk, and their table; the shared scans as they are and misregistered."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.quality import DEGRADATIONS, MOTIONS, Cohort, profile
from bids_app.dataset import read_timelines
from bids_app.derivatives import Derivatives, start
from bids_app.tables import read_table
from coactseg_cli.config import PrepConfig
from coactseg_cli.lesion_maps import read_grids
from coactseg_cli.prep import prepare
from coactseg_cli.prep_files import ASYMMETRY
from coactseg_cli.preprocessing.quality import COLUMNS, rows
from coactseg_cli.quality_files import check_participant, read_facts, write_checks
from coactseg_cli.sampling.loading import load_cases
from coactseg_cli.training_data import seen_in
from coactseg_cli.volumes import load, save

DATA_SETS = ("open-ms-longitudinal", "open-ms-single")
CUT = {"long09", "long20"}  # their topmost slice still holds 21 and 15 cm2 of brain


def test_facts_are_what_prep_wrote(tiny_prepared):
    first, second = tiny_prepared.timelines[0].visits
    recorded = json.loads(second.image.with_name(second.image.name.replace(".nii.gz", ".json")).read_text())[ASYMMETRY]
    facts = read_facts(read_grids(second))
    assert (facts.session, facts.asymmetry_mm) == ("02", recorded)
    assert read_facts(read_grids(first)).asymmetry_mm is None
    assert facts.brain.shape == facts.image.shape
    assert facts.native_brain.shape == facts.native.shape


def test_the_table_has_a_row_for_every_check(tiny_prepared, tmp_path):
    timeline = tiny_prepared.timelines[0]
    cases = [c for t in tiny_prepared.timelines for c in load_cases(t)]
    checks = check_participant(timeline, seen_in(cases, 1.0))
    path = write_checks(Derivatives(tmp_path), timeline.subject, rows(checks))
    assert path == tmp_path / "sub-01" / "sub-01_desc-quality_flags.tsv"
    table = read_table(path)
    assert [row["name"] for row in table] == [c.name for c in checks]
    assert {"registration-asymmetry", "registration-residual", "motion-shift", "seen-intensities"} <= {c.name for c in checks}
    assert not {c.name for c in checks if c.flagged and c.name.startswith(("seen", "registration"))}
    assert set(json.loads(path.with_suffix(".json").read_text())) == {"Description", *COLUMNS}


def test_the_protocol_is_read_beside_the_raw_scans(tiny_prepared, tmp_path):
    timeline = tiny_prepared.timelines[0]
    raw = []
    for visit, field_strength in zip(timeline.visits, (1.5, 3.0), strict=True):
        folder = tmp_path / f"sub-01/ses-{visit.session}/anat"
        folder.mkdir(parents=True)
        raw.append(folder / f"sub-01_ses-{visit.session}_FLAIR.nii.gz")
        raw[-1].with_name(f"sub-01_ses-{visit.session}_FLAIR.json").write_text(json.dumps({"MagneticFieldStrength": field_strength}))
    elsewhere = replace(timeline, visits=tuple(replace(v, raw=path) for v, path in zip(timeline.visits, raw, strict=True)))
    (check,) = [c for c in check_participant(elsewhere, None) if c.name.startswith("protocol")]
    assert (check.name, check.value, check.flagged, check.session) == ("protocol-magnetic-field-strength", 100, True, "02")


def test_prep_says_what_it_found(tiny_bids, tmp_path):
    """A mask of one hemisphere at the follow-up: in the log, and in the sidecar."""
    bids = tmp_path / "bids"
    shutil.copytree(tiny_bids, bids)
    timeline = read_timelines(bids, participant_labels=["01"], derivatives={"labels": bids / "derivatives" / "labels"}).timelines[0]
    mask = next(m for m in timeline.brain_masks if m.session == "02")
    volume = load(mask.path)
    half = volume.data.copy()
    half[: int(np.argwhere(half)[:, 0].mean())] = 0
    save(volume.like(half), mask.path, np.uint8)
    lines = []
    tree = start(tmp_path / "out", bids, version="test", readme="x", links={"labels": bids / "derivatives" / "labels"})
    prepared = prepare(timeline, PrepConfig(spacing_mm=(3.0, 3.0, 3.0), n4=False), tree, lines.append)
    assert any(line.startswith("sub-01 ses-02: brain-change: -") for line in lines)
    sidecar = json.loads(prepared.visits[1].image.with_name(prepared.visits[1].image.name.replace(".nii.gz", ".json")).read_text())
    assert {"brain-change", "brain-overlap"} <= {flag["Name"] for flag in sidecar["Flags"]}


@pytest.fixture(scope="module")
def cohort(shared_dir, tmp_path_factory):
    """The nine shared FLAIRs, prepared."""
    visits = {}
    for name in DATA_SETS:
        data = shared_dir / "data" / name
        links = {"labels": data / "derivatives" / "labels"}
        tree = start(tmp_path_factory.mktemp(name) / "out", data, version="test", readme="x", links=links)
        for timeline in read_timelines(data, derivatives=links).timelines:
            prepared = prepare(timeline, PrepConfig(), tree, lambda _: None)
            visits[timeline.subject] = [read_facts(read_grids(v)) for v in prepared.visits]
    return Cohort(visits, {subject: [profile(v) for v in facts] for subject, facts in visits.items()})


@pytest.mark.shared
def test_shared_scans_as_they_are_have_only_flags_that_are_true(cohort):
    found = {(subject, c.name) for subject, visits in cohort.visits.items() for c in cohort.check(subject, visits) if c.flagged}
    assert found == {(subject, "field-of-view") for subject in CUT}


@pytest.mark.shared
@pytest.mark.parametrize("how", [*DEGRADATIONS, *MOTIONS], ids=lambda how: how.name)
def test_degraded_scans_are_flagged(cohort, how):
    for subject, checks in cohort.spoiled(how):
        missed = set(how.seen_by) - {c.name for c in checks if c.flagged}
        assert not missed, f"{subject}: {missed}"


@pytest.mark.shared
def test_another_head_is_never_taken_for_the_same(cohort):
    for names, checks in cohort.exchanged():
        assert "registration-similarity" in {c.name for c in checks if c.flagged}, names
