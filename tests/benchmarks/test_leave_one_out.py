"""Real cases through a tiny network: which results come out, and what counts as wanted, ignored and false in each."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy.results import write_result
from benchmarks.leave_one_out import results_of, without_new
from bids_app.cases import Label, LabelKind, PreparedScan, PreparedTimeline
from bids_app.entities import Entities
from coactseg_cli.config import SegmentConfig
from coactseg_cli.network.fast_vnet import Head
from coactseg_cli.network.inference import Engine, make_engine
from coactseg_cli.network.model import VNet
from coactseg_cli.volumes import Volume, save

SHAPE = (26, 24, 22)


def written(folder: Path, name: str, data: np.ndarray) -> Path:
    save(Volume(data.astype(np.float32), np.eye(4)), folder / f"{name}.nii.gz")
    return folder / f"{name}.nii.gz"


@pytest.fixture
def two_visits_of_one(tmp_path):
    """Two visits at 1 mm; at the second 27 mm3 are new, and 8 mm3 of change are ignored; the first has an all-lesion label."""
    rng = np.random.default_rng(0)
    brain = np.zeros(SHAPE, bool)
    brain[3:-3, 3:-3, 3:-3] = True
    new, ignored, every = (np.zeros(SHAPE, bool) for _ in range(3))
    new[10:13, 10:13, 10:13] = True
    ignored[5:7, 5:7, 5:7] = True
    every[15:19, 15:18, 15:17] = True
    scans = []
    for session in ("01", "02"):
        image = written(tmp_path, f"image{session}", np.where(brain, rng.normal(0, 1, SHAPE) + 2 * new * (session == "02"), 0))
        mask, nothing = written(tmp_path, f"brain{session}", brain), tmp_path / "none"
        scans.append(
            PreparedScan(
                Entities(subject="1", session=session, suffix="FLAIR", extension=".nii.gz"),
                None,
                image,
                mask,
                image,
                mask,
                nothing,
                nothing,
            )
        )
    labels = (
        Label(written(tmp_path, "new", new), LabelKind.NEW, "02"),
        Label(written(tmp_path, "ignored", ignored), LabelKind.IGNORE_NEW, "02"),
        Label(written(tmp_path, "all", every), LabelKind.ALL, "01"),
    )
    return PreparedTimeline("1", scans[0].image, tuple(scans), labels)


def tiny_engine() -> Engine:
    return make_engine(VNet(2).eval(), SegmentConfig())


def test_every_case_of_a_subject_is_scored_once(two_visits_of_one, tmp_path):
    results = list(results_of(two_visits_of_one, tiny_engine(), tmp_path / "out", "A", "sha"))
    assert [(r.name, r.kind) for r in results] == [
        ("all-sub-1_ses-01", "real"),
        ("new-sub-1_ses-02", "real"),
        ("reversed-sub-1_ses-02", "reversed"),
        ("same-sub-1_ses-01", "same"),
        ("same-sub-1_ses-02", "same"),
    ]
    every, new, reversed_, *same = results
    assert [t.volume_mm3 for t in every.of("network, all").targets] == [24.0]
    assert [f.method for f in new.found] == ["network", "subtraction", "difference, 0.7 mm", "difference, 1 mm", "difference, 1.5 mm"]
    assert [(t.fate, t.volume_mm3) for t in new.of("network").targets] == [("new", 27.0)]
    assert sum(new.histograms["new"].voxels) == 20 * 18 * 16 - 8, "what nobody knows is not counted"
    assert [t.fate for t in reversed_.of("network").targets] == ["stable"], "brighter change was there before, read backwards"
    assert all(not r.of("network").targets for r in same)
    for result in results:
        write_result(tmp_path / "out" / f"{result.name}.json", result)
    assert list(results_of(two_visits_of_one, tiny_engine(), tmp_path / "out", "A", "sha")) == []
    assert len(list(results_of(two_visits_of_one, tiny_engine(), tmp_path / "out", "A", "another model"))) == 5


def test_what_is_marked_where_nothing_is_new_is_false_unless_it_is_ignored():
    class Marks:
        def run(self, *_):
            probability = np.zeros(SHAPE, np.float32)
            probability[4:6, 4:6, 4:6] = probability[10:12, 10:12, 10:12] = probability[18:20, 18:20, 18:20] = 0.9
            return {Head.NEW: probability}

    brighter, unknown = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    brighter[11, 11, 11] = unknown[4, 4, 4] = True
    result = without_new("r", "1", "reversed", [np.zeros(SHAPE)] * 2, np.ones(SHAPE, bool), brighter, unknown, Marks(), "A", "sha")
    pieces = [p for p in result.of("network").pieces if p.threshold == 0.5]
    assert sorted((p.volume_mm3, p.unknown_mm3, dict(p.hits)) for p in pieces if p.unknown_mm3) == [(7.0, 1.0, {})]
    assert sorted(len(p.hits) for p in pieces if not p.unknown_mm3) == [0, 1]
