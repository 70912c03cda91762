import dataclasses
import shutil

import pytest
import torch

from bids_app.errors import BidsAppError
from coactseg_cli.config import Precision, TrainConfig
from coactseg_cli.errors import GridMismatch, InvalidConfig, MissingWeights, WrongWeights
from coactseg_cli.network.checkpoint import load_model
from coactseg_cli.sampling.loading import common_spacing, load_cases
from coactseg_cli.train import train
from coactseg_cli.training_step import learning_rate


@pytest.fixture
def config(tiny_prepared, tmp_path):
    return TrainConfig(
        prepared=(tiny_prepared.tree.root,),
        out_dir=tmp_path / "run",
        iterations=6,
        patch_size=(16, 16, 16),
        base_filters=2,
        checkpoint_every=3,
        name="tiny",
        precision=Precision.FP32,  # bf16 training does not repeat itself to the bit
    )


def quiet(_):
    pass


def rows(path):
    return [line.split("\t") for line in path.read_text().splitlines()]


def test_labels_decide_what_each_case_teaches(tiny_prepared):
    cases = {c.name: c for t in tiny_prepared.timelines for c in load_cases(t)}
    assert sorted(cases) == ["sub-01_ses-01", "sub-01_ses-02", "sub-01_ses-02_pair", "sub-02_ses-01", "sub-03"]
    pair = cases["sub-01_ses-02_pair"]
    assert pair.is_pair
    assert (pair.new == 1).any()
    assert (pair.all_baseline == 1).any()
    assert cases["sub-03"].new is None
    assert (cases["sub-03"].all_baseline == 1).any()
    assert common_spacing(cases.values()) == (3.0, 3.0, 3.0)


def test_other_spacing_is_refused(tiny_prepared):
    cases = load_cases(tiny_prepared.timelines[0])
    with pytest.raises(GridMismatch, match=r"sub-01_ses-02.*--spacing"):
        common_spacing([cases[0], dataclasses.replace(cases[1], spacing_mm=(1.0, 1.0, 3.0))])


def test_a_run_writes_a_model_that_describes_itself(config):
    model = load_model(train(config, quiet))
    assert (model.info.name, model.info.base_filters, model.info.iterations) == ("tiny", 2, 6)
    assert (model.info.spacing_mm, model.info.patch_size) == ((3.0, 3.0, 3.0), (16, 16, 16))
    assert (model.info.n_pairs, model.info.n_singles) == (1, 4)
    assert model.info.training_data == ("sub-01", "sub-02", "sub-03")


def test_losses_have_a_row_per_iteration_and_named_columns(config):
    train(config, quiet)
    header, *lines = rows(config.out_dir / "losses.tsv")
    assert header[0] == "iteration"
    assert header[-3:] == ["total", "learning_rate", "seconds"]
    assert [line[0] for line in lines] == ["1", "2", "3", "4", "5", "6"]


def test_excluded_participants_are_not_seen(config):
    info = load_model(train(dataclasses.replace(config, exclude=("01",), synthetic_share=1.0), quiet)).info
    assert info.training_data == ("sub-02", "sub-03")
    assert info.n_pairs == 0


def test_resumed_run_gives_the_same_numbers(config, tmp_path):
    straight = load_model(train(config, quiet)).network.state_dict()
    halves = dataclasses.replace(config, out_dir=tmp_path / "halves", schedule="constant", relation_from=4)
    whole = load_model(train(dataclasses.replace(halves, out_dir=tmp_path / "whole"), quiet)).network.state_dict()
    train(dataclasses.replace(halves, iterations=3), quiet)
    resumed = load_model(train(dataclasses.replace(halves, resume=True), quiet)).network.state_dict()
    assert all(torch.equal(v, resumed[k]) for k, v in whole.items())
    assert any(not torch.equal(v, resumed[k]) for k, v in straight.items())
    assert len(rows(tmp_path / "halves" / "losses.tsv")) == 7


def test_training_learns(config):
    easy = dataclasses.replace(
        config, iterations=40, pairs_per_batch=0, singles_per_batch=4, augment_strength=0.0, learning_rate=1e-2, schedule="constant"
    )
    train(easy, quiet)
    header, *lines = rows(easy.out_dir / "losses.tsv")
    total = [float(line[header.index("total")]) for line in lines]
    assert sum(total[-5:]) < 0.85 * sum(total[:5])


def test_resuming_with_other_settings_is_refused(config):
    train(config, quiet)
    with pytest.raises(InvalidConfig, match=r"learning_rate: 0\.002 then, 0\.1 now"):
        train(dataclasses.replace(config, resume=True, learning_rate=0.1), quiet)


def test_nothing_to_resume_is_said(config):
    with pytest.raises(MissingWeights, match="nothing to resume"):
        train(dataclasses.replace(config, resume=True), quiet)


def test_a_broken_checkpoint_is_named(config):
    train(config, quiet)
    (config.out_dir / "checkpoint.pt").write_bytes(b"half a file")
    with pytest.raises(WrongWeights, match=r"checkpoint\.pt"):
        train(dataclasses.replace(config, resume=True), quiet)


def test_no_prepared_participant_is_said(config, tiny_prepared, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    shutil.copy(tiny_prepared.tree.root / "dataset_description.json", empty)
    with pytest.raises(BidsAppError, match="empty"):
        train(dataclasses.replace(config, prepared=(empty,)), quiet)


def test_relation_loss_comes_in_stages(config):
    assert dataclasses.replace(config, iterations=20_000).relation_start == 10_000
    assert dataclasses.replace(config, relation_from=0).relation_start == 0
    late = dataclasses.replace(config, iterations=2, relation_from=1, pairs_per_batch=0)
    train(late, quiet)
    header, *lines = rows(late.out_dir / "losses.tsv")
    values = [{k: float(v) for k, v in zip(header, line, strict=True)} for line in lines]
    for row, weight in zip(values, (0.0, 1.0), strict=True):
        dice = row["dice_all_baseline"] + row["dice_all_followup"] + row["dice_new"] + row["cross_entropy"]
        assert row["total"] == pytest.approx(dice + weight * row["relation_agreement"], abs=2e-3)


def test_learning_rate_warms_up_and_falls(config):
    c = dataclasses.replace(config, iterations=1000, learning_rate=1.0)
    assert learning_rate(0, c) == pytest.approx(0.01, rel=1e-3)
    assert learning_rate(99, c) > 0.95
    assert learning_rate(999, c) == pytest.approx(0.01, abs=1e-3)
    assert learning_rate(5, dataclasses.replace(c, schedule="constant")) == 1.0
