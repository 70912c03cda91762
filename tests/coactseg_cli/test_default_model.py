"""The packaged model: loads, is small enough to ship, is the file that its list of hashes names, and works on a phantom's scale."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from coactseg_cli.config import SegmentConfig
from coactseg_cli.errors import WrongWeights
from coactseg_cli.network import zoo
from coactseg_cli.network.fast_vnet import Head
from coactseg_cli.network.inference import make_engine
from coactseg_cli.network.zoo import PACKAGED, find_model, is_as_packaged
from coactseg_cli.participant import facts_of
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


def test_who_leaves_the_work_to_others_knows_it_without_torch():
    code = (
        "import sys\n"
        "from coactseg_cli.config import SegmentConfig\n"
        "from coactseg_cli.participant import facts_of\n"
        "model = facts_of(SegmentConfig())\n"
        "print(model.sha256, 'torch' in sys.modules, model.research_line, sep='|')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    model = load_model(SegmentConfig())
    assert done.stdout.strip() == f"{model.sha256}|False|{model.research_line}"


def test_only_an_unchanged_packaged_file_counts_as_known(tmp_path, monkeypatch):
    path, sha256 = PACKAGED / "default.safetensors", load_model(SegmentConfig()).sha256
    assert is_as_packaged(path, sha256)
    assert not is_as_packaged(path, "0" * 64)
    assert not is_as_packaged(tmp_path / path.name, sha256)
    monkeypatch.setattr(zoo, "PACKAGED", tmp_path)
    assert not is_as_packaged(tmp_path / path.name, sha256)  # no list of hashes


def test_a_damaged_file_is_found_before_the_work_begins(tmp_path):
    content = bytearray((PACKAGED / "default.safetensors").read_bytes())
    content[-4:] = b"\xff\xff\xff\xff"  # not a number, in half or in single precision: only loading shows it
    path = tmp_path / "mine.safetensors"
    path.write_bytes(content)
    with pytest.raises(WrongWeights, match="not finite"):
        facts_of(SegmentConfig(model=str(path)))


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
