"""What changes during training, and its checkpoint: written then renamed, so that a kill or a full disk leaves the last good one.

    OUT/checkpoint.pt   weights, optimiser, average of the weights, best validation so far, iteration, and the settings

All random numbers (samples, rendering, dropout) follow from the seed and the iteration: those two are the random state.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bids_app.files import write_bytes
from coactseg_cli.config import TrainConfig
from coactseg_cli.errors import InvalidConfig, MissingWeights, WrongWeights
from coactseg_cli.network.averaging import Average
from coactseg_cli.network.checkpoint import Model, load_model
from coactseg_cli.network.model import VNet
from coactseg_cli.network.ranks import Ranks, share
from coactseg_cli.network.zoo import find_model

CHECKPOINT = "checkpoint.pt"
# between a run and its resumption
MAY_CHANGE = frozenset(
    {"resume", "name", "iterations", "out_dir", "prepared", "validation_prepared", "device", "threads", "workers", "checkpoint_every"}
    | {"lesion_shapes", "cache_dir", "preview", "compile", "init", "force"}
)


@dataclass(frozen=True, slots=True)
class Best:
    """The validation that was best so far."""

    score: float
    iteration: int
    weights: dict[str, Tensor] = field(repr=False)


@dataclass(slots=True)
class State:
    """What changes during training."""

    network: VNet  # holds the weights
    shared: Callable[[Tensor], Any]  # the same, as it is called: shared with other processes, compiled
    optimiser: torch.optim.Optimizer
    average: Average | None  # None: the weights themselves are validated and shipped
    iteration: int = 0  # done so far
    best: Best | None = None
    known: tuple[str, ...] = ()  # participants that the weights of --init were trained on

    @property
    def shipped(self) -> VNet:
        """The network whose maps count: the average where there is one."""
        return self.network if self.average is None else self.average.network  # type: ignore[return-value]


def start(config: TrainConfig, ranks: Ranks) -> State:
    """A network and an optimiser, fresh or from --init; the same seed gives the same weights in every process.

    Raises: MissingWeights, WrongWeights, InvalidConfig where --init has another width.
    """
    torch.manual_seed(config.seed)
    network = VNet(config.base_filters, dropout=config.dropout)
    model = None if config.init is None else _model_of(config.init, config.base_filters)
    if model is not None:
        network.load_state_dict(model.network.state_dict())
    network.to(ranks.device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    average = Average(network, config.ema_decay) if config.ema_decay > 0 else None
    shared: nn.Module = share(network, ranks)
    called = torch.compile(shared) if config.compile else shared
    optimiser = torch.optim.Adam(network.parameters(), lr=config.learning_rate, fused=True)
    return State(network, called, optimiser, average, known=() if model is None else model.info.training_data)


def _model_of(name: str, base_filters: int) -> Model:
    model = load_model(find_model(name))
    if model.info.base_filters != base_filters:
        msg = (
            f"--init {name} has {model.info.base_filters} base filters; this run makes {base_filters}. "
            f"Pass --base-filters {model.info.base_filters}."
        )
        raise InvalidConfig(msg)
    return model


def save(state: State, config: TrainConfig) -> None:
    """Write the checkpoint. Raises: OSError (a full disk); the one before stays."""
    best = None if state.best is None else {"score": state.best.score, "iteration": state.best.iteration, "weights": state.best.weights}
    content = {
        "network": state.network.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "average": None if state.average is None else state.average.state_dict(),
        "best": best,
        "iteration": state.iteration,
        "known": list(state.known),
        "random": {"seed": config.seed, "iteration": state.iteration},
        "config": json.dumps(asdict(config), default=str),
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes(config.out_dir / CHECKPOINT, buffer.getvalue())


def resume(state: State, config: TrainConfig) -> None:
    """Continue from OUT/checkpoint.pt. Raises: MissingWeights, WrongWeights, InvalidConfig where the settings differ."""
    path = config.out_dir / CHECKPOINT
    content, then = _read(path)
    now = json.loads(json.dumps(asdict(config), default=str))
    changed = [f"{k}: {then.get(k)} then, {v} now" for k, v in now.items() if k not in MAY_CHANGE and k in then and then[k] != v]
    if changed:
        msg = f"{path}: the run to resume was made otherwise ({'; '.join(changed)}). Use its settings, or another OUT."
        raise InvalidConfig(msg)
    try:
        state.network.load_state_dict(content["network"])
        state.optimiser.load_state_dict(content["optimiser"])
        if state.average is not None:
            state.average.network.load_state_dict(content["average"])
        state.best = None if content["best"] is None else Best(**content["best"])
        state.iteration = int(content["iteration"])
        state.known = tuple(content.get("known", ()))
    except (KeyError, TypeError, RuntimeError, ValueError) as error:
        msg = f"{path}: the checkpoint is of another version or incomplete ({error}). Start anew without --resume."
        raise WrongWeights(msg) from error


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The checkpoint and its settings."""
    if not path.exists():
        msg = f"{path}: nothing to resume. Leave out --resume to start."
        raise MissingWeights(msg)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        return content, json.loads(content["config"])
    except Exception as error:
        msg = f"{path}: not a readable checkpoint ({error}). Start anew without --resume, or restore the file."
        raise WrongWeights(msg) from error


def keep_best(state: State, score: float) -> bool:
    """Remember the shipped weights where the score is the best so far; the earlier of two equal ones stays."""
    if state.best is not None and score <= state.best.score:
        return False
    weights = {name: value.detach().cpu().clone() for name, value in state.shipped.state_dict().items()}
    state.best = Best(score, state.iteration, weights)
    return True
