"""The packaged model: loads, is small enough to ship, is the file that its list of hashes names, and works on a phantom's scale."""

import hashlib

import numpy as np

from coactseg_cli.config import SegmentConfig
from coactseg_cli.network.fast_vnet import Head
from coactseg_cli.network.inference import make_engine
from coactseg_cli.network.zoo import PACKAGED, find_model
from coactseg_cli.segment import load_model

MAX_BYTES = 25_000_000


def test_it_is_the_default_and_describes_itself():
    model = load_model(SegmentConfig())
    assert model.path == find_model("default") == PACKAGED / "default.safetensors"
    assert model.info.base_filters == 16
    assert model.spacing_mm == (1.0, 1.0, 1.0)
    assert model.normalisation == "zscore"
    assert model.info.n_pairs
    assert model.info.n_singles
    assert model.info.training_data
    assert f"{model.info.n_pairs} pairs and {model.info.n_singles} single scans" in model.research_line


def test_it_is_small_enough_to_ship():
    assert (PACKAGED / "default.safetensors").stat().st_size < MAX_BYTES


def test_hashes_are_those_of_the_files():
    lines = [line.split() for line in (PACKAGED / "SHA256SUMS").read_text().splitlines()]
    assert {name for _, name in lines} == {p.name for p in PACKAGED.glob("*.safetensors")}
    for expected, name in lines:
        assert hashlib.sha256((PACKAGED / name).read_bytes()).hexdigest() == expected


def test_nothing_is_new_where_nothing_changed_and_a_bright_ball_is():
    rng = np.random.default_rng(0)
    grid = np.indices((64, 64, 64)) - 31.5
    brain = np.linalg.norm(grid, axis=0) < 28
    baseline = np.where(brain, rng.normal(0.0, 0.25, brain.shape), 0.0).astype(np.float32)
    ball = np.linalg.norm(grid - np.array([6.0, -4.0, 3.0])[:, None, None, None], axis=0) < 5
    followup = np.where(ball, baseline + 2.5, baseline).astype(np.float32)
    engine = make_engine(load_model(SegmentConfig()).network, SegmentConfig())
    null = engine.run(baseline, baseline, brain, [Head.NEW])[Head.NEW] >= 0.5
    found = engine.run(baseline, followup, brain, [Head.NEW])[Head.NEW] >= 0.5
    assert null.sum() == 0
    assert (found & ball).sum() > 0.5 * ball.sum()
    assert (found & ~ball).sum() < 0.5 * ball.sum()
