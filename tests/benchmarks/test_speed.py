import importlib

import numpy as np
import pytest
import torch

from benchmarks.speed import published
from benchmarks.speed.agreement import compare
from benchmarks.speed.cases import PairCase, example_case, read_case
from benchmarks.speed.steps import STEPS, Clock
from coactseg_cli.config import Inference, SegmentConfig
from coactseg_cli.network.fast_vnet import Head
from coactseg_cli.network.inference import make_engine
from coactseg_cli.network.model import VNet
from coactseg_cli.targets import IGNORE


@pytest.fixture
def network():
    torch.manual_seed(3)
    return VNet(2).eval()


def test_the_published_way_is_what_windows_gives(network):
    rng = np.random.default_rng(0)
    baseline, followup = rng.normal(size=(2, 20, 33, 40)).astype(np.float32)
    slow = published.slide(network, baseline, followup, patch=32, stride=9)
    engine = make_engine(network, SegmentConfig(inference=Inference.WINDOWS, patch_size=(32, 32, 32), stride=(9, 9, 9)))
    fast = engine.run(baseline, followup, np.ones(baseline.shape, bool), Head)
    for head in Head:
        np.testing.assert_allclose(fast[head], slow[head.value], atol=1e-5)


def test_the_second_pass_sees_the_follow_up_twice(network, monkeypatch):
    monkeypatch.setattr(published, "PATCH", 16)
    rng = np.random.default_rng(1)
    baseline, followup = rng.normal(size=(2, 16, 16, 16)).astype(np.float32)
    monkeypatch.setattr(published.slide, "__defaults__", (16, 20))
    maps = published.both_passes(network, baseline, followup)
    assert np.array_equal(maps["all_followup"], published.slide(network, followup, followup, 16)["all_followup"])
    assert np.array_equal(maps["new"], published.slide(network, baseline, followup, 16)["new"])


def test_voxels_are_pooled_and_lesions_counted():
    brain = np.ones((20, 10, 10), bool)
    new = np.zeros(brain.shape, np.int8)
    new[0:3, 0:2, 0:2], new[19] = 1, IGNORE
    case = PairCase("a", np.zeros(brain.shape), np.zeros(brain.shape), brain, new)
    ours, theirs = np.zeros(brain.shape), np.zeros(brain.shape)
    ours[0:3, 0:2, 0:2], theirs[0:4, 0:2, 0:2] = 0.9, 0.9  # 12 and 16 voxels, one lesion
    theirs[10:13, 5:7, 5:7] = 0.9  # 12 voxels, lost
    ours[16, 8, 8:10] = 0.9  # 2 voxels: too small to be counted as gained
    ours[19, 0, 0] = 0.9  # where the label says nothing
    found = compare([(case, {"new": ours}, {"new": theirs})], "new", 0.5)
    assert found.dice == pytest.approx(2 * 12 / (15 + 28))
    assert (found.lesions, found.lost, found.gained) == (2, 1, 0)
    assert found.dice_with_label == pytest.approx((2 * 12 / (14 + 12), 2 * 12 / (28 + 12)))
    assert found.largest_difference == pytest.approx(0.9)


def test_the_example_fills_its_grid_and_survives_a_file(tmp_path):
    case = example_case((30, 36, 32))
    assert case.baseline.shape == (30, 36, 32)
    assert case.brain.all()
    assert abs(float(case.followup[case.followup != 0].mean())) < 0.1
    assert case.new is not None
    assert 0 < case.new.sum() < 0.05 * case.new.size
    case.save(tmp_path / "case.npz")
    assert np.array_equal(read_case(tmp_path / "case.npz").followup, case.followup)


def test_every_step_is_still_there():
    for place in [place for places in STEPS.values() for place in places]:
        module, _, path = place.partition(":")
        owner = importlib.import_module(module)
        for name in path.split("."):
            owner = getattr(owner, name)
        assert callable(owner)


def test_a_second_belongs_to_one_step(monkeypatch):
    now = iter([0.0, 1.0, 3.0, 6.0, 10.0])
    monkeypatch.setattr("benchmarks.speed.steps.time.perf_counter", lambda: next(now))
    clock = Clock(next(now))
    inner = clock.watch("inner", lambda: None)
    clock.watch("outer", inner)()
    assert clock.seconds == {"everything else": 1.0, "outer": 2.0 + 4.0, "inner": 3.0}
