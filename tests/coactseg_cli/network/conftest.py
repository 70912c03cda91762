from pathlib import Path

import numpy as np
import pytest
import torch

from coactseg_cli.network.model import VNet

VECTORS = Path(__file__).resolve().parents[4] / "shared" / "vectors" / "network"


def vectors(name: str) -> dict[str, np.ndarray]:
    path = VECTORS / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"the published code's answers are not here ({path})")
    with np.load(path) as file:
        return dict(file)


@pytest.fixture
def small() -> VNet:
    """A random network of two filters whose batch norms are not the identity."""
    torch.manual_seed(3)
    network = VNet(2)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.normal_(0.0, 0.3)
            module.running_var.uniform_(0.5, 2.0)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0.0, 0.3)
    return network.eval()
