"""The training benchmarks run, and measure what they say."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks import ablation, training
from coactseg_cli.config import TrainConfig
from coactseg_cli.sampling.batches import draw_batch, make_pool
from coactseg_cli.sampling.lesion_library import Library
from coactseg_cli.training_options import Preset, recipe
from coactseg_cli.volumes import load, save

SMALL = ("--iterations", "2", "--base-filters", "2", "--patch-size", "16", "--folds", "2", "--threads", "1")


@pytest.fixture
def two_pairs(tiny_prepared, tmp_path):
    """The tiny cohort with a second participant of two labelled visits, whose scans are a little brighter."""
    root = tmp_path / "prepared"
    shutil.copytree(tiny_prepared.tree.root, root)
    for path in [p for p in (root / "sub-01").rglob("*") if p.is_file()]:
        copy = root / str(path.relative_to(root)).replace("sub-01", "sub-04")
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.name.endswith("space-individual_desc-preproc_FLAIR.nii.gz"):
            volume = load(path)
            save(volume.like(volume.data * np.float32(1.01)), copy)
        else:
            shutil.copy(path, copy)
    return root


@pytest.mark.slow
def test_the_rows_of_table_3_come_from_one_script_and_are_not_run_twice(two_pairs, tmp_path, capsys):
    words = [str(tmp_path / "out"), str(two_pairs), *SMALL]
    ablation.main(words)
    printed = capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "out" / "table3.tsv").open(), delimiter="\t"))
    assert [r["row"] for r in rows] == ["pairs", "singles", "both", "pairs-relation", "singles-relation", "both-relation", "staged"]
    assert all(f"| {r['row']} |" in printed for r in rows)
    assert rows[0]["all_dice"] == "n/a", "a network that learned from pairs alone is not scored on all lesions"
    made = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("checkpoint.pt")}
    assert len(made) == 14
    ablation.main(words)
    assert {p: p.stat().st_mtime_ns for p in made} == made
    with pytest.raises(SystemExit, match="finished with other settings"):
        ablation.main([*words, "--seed", "5"])


def test_the_published_step_is_the_same_function(monkeypatch):
    monkeypatch.setattr(training, "VOLUME", (60, 64, 68))
    monkeypatch.setattr(training.np.random, "default_rng", _small_corners(training.np.random.default_rng))
    config = TrainConfig(prepared=(), out_dir=Path(), **recipe(Preset.PAPER, {"patch_size": (16, 16, 16), "base_filters": 2}))
    pool = make_pool(training.made_up_cases(None), Library(), config)
    assert training.check_equal(config, draw_batch(pool, config, 0)) < 1e-4


def _small_corners(make):
    class Small:
        def __init__(self, *seed):
            self.rng = make(*seed)

        def __getattr__(self, name):
            return getattr(self.rng, name)

        def integers(self, low, high=None, size=None, **more):
            if size == (30, 3):
                low, high = 20, 34
            return self.rng.integers(low, high, size, **more)

    return Small


def test_rotating_first_and_cropping_then_gives_a_patch_with_its_label():
    rng = np.random.default_rng(0)
    label = np.zeros((30, 34, 38), np.int8)
    label[10:14, 12:16, 20:24] = 1
    images = np.stack([label * 5.0, label * 7.0])
    seen = []
    for _ in range(8):
        patch, cut = training.rotate_then_crop(images, label, 16, rng)
        assert patch.shape == (2, 16, 16, 16)
        seen.append(cut.any())
        assert np.array_equal(patch[0], cut * 5.0)
        assert np.array_equal(patch[1], cut * 7.0)
    assert any(seen)
