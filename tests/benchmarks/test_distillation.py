import argparse

import numpy as np
import pytest
import torch

from benchmarks import distillation
from benchmarks.distillation import Brain, distil, draw, fold_norms, loss_of, odds_of
from coactseg_cli.network.checkpoint import Model, load_model
from coactseg_cli.network.model import VNet
from coactseg_cli.network.model_file import CheckpointInfo


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = VNet(2)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
    return network.eval()


def brain(network, seed, shape=(32, 48, 16)):
    images = np.random.default_rng(seed).normal(size=(2, *shape)).astype(np.float16)
    with torch.no_grad():
        maps = odds_of(network, torch.from_numpy(images.astype(np.float32))[None])[0].numpy()
    return Brain("made", images, maps.astype(np.float16), np.argwhere(maps[0] > 0))


def test_folding_the_norms_changes_no_number_and_no_name(network):
    images = torch.randn(1, 2, 16, 32, 16)
    before, names = odds_of(network, images), list(network.state_dict())
    folded = fold_norms(network)
    torch.testing.assert_close(odds_of(folded, images), before, atol=1e-5, rtol=1e-5)
    assert list(folded.state_dict()) == names


def test_the_norms_learn_through_the_folding(network):
    odds_of(fold_norms(network), torch.randn(1, 2, 16, 16, 16)).sum().backward()
    assert all(
        p.grad is not None and p.grad.abs().sum() > 0 for n, p in network.named_parameters() if n.endswith("block_two.conv.1.weight")
    )


def test_the_loss_is_zero_for_the_teacher_itself_and_nowhere_less():
    teacher = torch.randn(2, 3, 8, 8, 8)
    assert float(loss_of(teacher, teacher)) == pytest.approx(0.0, abs=1e-5)
    assert float(loss_of(teacher + 0.3 * torch.randn_like(teacher), teacher)) > 0.01


def test_crops_lie_where_their_teacher_says_and_are_filled_up(network):
    made = brain(network, 1)
    images, teacher = draw([made], 32, np.random.default_rng(0))
    assert images.shape == (2, 2, 32, 32, 32)
    assert (images[:, :, :, :, 16:] == 0).all()
    assert (teacher[:, :, :, :, 16:] == -distillation.LARGEST).all()
    places = [y for y in range(17) if np.array_equal(images[0, :, :, :, :16].numpy(), made.images[:, :, y : y + 32].astype(np.float32))]
    assert len(places) == 1
    wanted = made.maps[:, :, places[0] : places[0] + 32].astype(np.float32)
    np.testing.assert_array_equal(teacher[0, :, :, :, :16].numpy(), wanted)


def test_windows_come_nearer_to_the_whole(network, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(distillation, "WINDOW", 16)
    monkeypatch.setattr(distillation, "LARGE", 32)
    out = tmp_path / "student.safetensors"
    info = CheckpointInfo(name="small", base_filters=2, threshold_new=0.7)
    args = argparse.Namespace(out=out, iterations=60, learning_rate=1e-2, report_every=30, threads=1, seed=0)
    distil(Model(out, info, "", network=network), [brain(network, i) for i in range(8)], args)
    lines = capsys.readouterr().out.splitlines()
    first, last = (float(line.split("loss ")[1].split(" ")[0]) for line in lines[1:])
    assert last < 0.9 * first
    student = load_model(out)
    assert (student.info.iterations, student.info.threshold_new) == (60, 0.7)
