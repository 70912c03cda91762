import torch
from torch import nn

from coactseg_cli.network.averaging import Average


def test_an_average_follows_by_hand():
    network = nn.BatchNorm3d(1)
    average = Average(network, 0.9)
    with torch.no_grad():
        network.weight.fill_(3.0)
        network.running_mean.fill_(10.0)
        network.num_batches_tracked.fill_(7)
    average.update(network, 1000)  # far beyond the warm-up: 0.9 of 1 and 0.1 of 3
    found = average.state_dict()
    assert float(found["weight"]) == torch.tensor(1.2).item()
    assert float(found["running_mean"]) == 1.0
    assert int(found["num_batches_tracked"]) == 7
    assert float(network.weight.detach()) == 3.0


def test_the_first_averages_do_not_remember_the_start():
    network = nn.BatchNorm3d(1)
    average = Average(network, 0.999)
    with torch.no_grad():
        network.weight.fill_(3.0)
    average.update(network, 0)  # decay 1/10
    assert float(average.state_dict()["weight"]) == torch.tensor(0.1 * 1 + 0.9 * 3).item()


def test_an_average_takes_no_part_in_learning():
    average = Average(nn.Conv3d(1, 1, 1), 0.9)
    assert not average.network.training
    assert not any(p.requires_grad for p in average.network.parameters())
