import numpy as np
import pytest
import torch

from coactseg_cli.network.inputs import stack
from coactseg_cli.network.model import VNet


def test_logits_equal_the_published_network(published):
    network, stored = published
    with torch.inference_mode():
        heads = network(torch.from_numpy(stored["input"]))
    for i, head in enumerate(heads, start=1):
        np.testing.assert_allclose(head.numpy(), stored[f"head{i}"], atol=1e-5)


def test_size_is_that_of_the_published_network():
    assert sum(p.numel() for p in VNet(16).parameters()) == 9_484_502


def test_heads_keep_the_grid_of_three_different_edges():
    heads = VNet(2).eval()(torch.zeros(2, 3, 16, 32, 48))
    assert [tuple(h.shape) for h in heads] == [(2, 2, 16, 32, 48)] * 3


def test_difference_is_followup_minus_baseline():
    x = stack(torch.full((1, 1, 2, 2, 2), 1.0), torch.full((1, 1, 2, 2, 2), 4.0))
    assert x[0, :, 0, 0, 0].tolist() == [1.0, 4.0, 3.0]


def test_a_single_scan_has_no_difference():
    scan = torch.randn(1, 1, 3, 4, 5)
    assert not stack(scan, scan)[:, 2].any()


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_dropout_acts_in_training_only(dropout):
    torch.manual_seed(0)
    network, x = VNet(2, dropout=dropout), torch.randn(2, 3, 16, 16, 16)
    network.train()
    first, second = network(x).new.detach(), network(x).new.detach()
    assert torch.equal(first, second) == (dropout == 0.0)
