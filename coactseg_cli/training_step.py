"""One update of the weights: a batch rendered on the device, the heads, the loss, Adam."""

from __future__ import annotations

import math

import numpy as np
import torch

from coactseg_cli.config import TrainConfig
from coactseg_cli.network.device import choose_dtype
from coactseg_cli.network.inputs import stack
from coactseg_cli.network.losses import LossTerms, coactseg_loss
from coactseg_cli.network.ranks import Ranks
from coactseg_cli.sampling.batches import Batch, render
from coactseg_cli.targets import Targets
from coactseg_cli.training_state import State

WARM_UP = 100  # iterations, a tenth of all where that is less


def step(state: State, batch: Batch, config: TrainConfig, ranks: Ranks) -> LossTerms:
    """One update of the weights. Returns: the loss terms, detached."""
    device = ranks.device
    dtype = torch.float32 if config.reproducible else choose_dtype(config.precision, device)
    for group in state.optimiser.param_groups:
        group["lr"] = learning_rate(state.iteration, config)
    torch.manual_seed(_seed_of(config.seed, state.iteration, ranks.rank))  # dropout
    x = stack(*render(batch, device, config.augment_strength)).contiguous(memory_format=torch.channels_last_3d)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype is torch.bfloat16):
        heads = state.shared(x)
    terms = coactseg_loss(
        heads,
        Targets(*(y.to(device, non_blocking=True) for y in batch.targets)),
        batch.is_pair.to(device),
        new_weight=config.new_weight,
        relation_weight=config.relation_weight if state.iteration >= config.relation_start else 0.0,
        cross_entropy_weight=config.cross_entropy_weight,
        add_up=ranks.add_up if ranks.world > 1 else None,
    )
    state.optimiser.zero_grad(set_to_none=True)
    terms.total.backward()  # type: ignore[no-untyped-call]
    if config.clip_norm > 0:
        torch.nn.utils.clip_grad_norm_(state.network.parameters(), config.clip_norm)
    state.optimiser.step()
    return LossTerms(*(t.detach() for t in terms))


def _seed_of(seed: int, iteration: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, iteration, rank]).generate_state(1, np.uint32)[0])


def learning_rate(iteration: int, config: TrainConfig) -> float:
    """Constant, or warm-up and a cosine to 1 % of the start."""
    if config.schedule == "constant":
        return config.learning_rate
    warm = min(1.0, (iteration + 1) / min(WARM_UP, max(config.iterations // 10, 1)))
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(iteration / config.iterations, 1.0)))
    return config.learning_rate * warm * (0.01 + 0.99 * cosine)
