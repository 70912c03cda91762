"""An exponential moving average of a network's weights: what is validated and shipped, while the weights themselves keep learning."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

WARM_UP = 10.0  # the first averages reach back over few iterations: (1 + i) / (WARM_UP + i)


class Average:
    """A second set of weights that follows the first; batch norm statistics too."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.network = copy.deepcopy(network).requires_grad_(requires_grad=False).eval()

    @torch.no_grad()
    def update(self, network: nn.Module, iteration: int) -> None:
        """Move towards the weights of `network`, of which `iteration` updates are done; counters are copied."""
        decay = min(self.decay, (1.0 + iteration) / (WARM_UP + iteration))
        mine, theirs = self.network.state_dict(), network.state_dict()
        names = [name for name, value in mine.items() if value.is_floating_point()]
        torch._foreach_lerp_([mine[n] for n in names], [theirs[n] for n in names], 1.0 - decay)
        for name in mine.keys() - set(names):
            mine[name].copy_(theirs[name])

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights."""
        return self.network.state_dict()
