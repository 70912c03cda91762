"""The processes that train one network together (torchrun): who this one is, and what they add up. One process needs none of it.

The batch is the same whatever the number of processes: each takes its samples, and every sum that decides the update (loss, batch
norm statistics, gradients) goes over all of them. So N processes end where one process with the same batch ends, but for rounding.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from coactseg_cli.errors import InvalidConfig
from coactseg_cli.network.device import choose_device

PATIENCE = timedelta(hours=2)  # one process may validate or write for long while the others wait


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that train together."""

    rank: int
    world: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    @property
    def alone(self) -> Ranks:
        """This process as if there were no other: what it does, nobody shares."""
        return Ranks(0, 1, self.device)

    def add_up(self, sums: Tensor) -> Tensor:
        """Sum a tensor over the processes; gradients flow back to each."""
        return sums if self.world == 1 else _sum_over_ranks(sums)

    def any(self, value: bool) -> bool:
        """Whether any process says yes; all get the same answer at the same iteration."""
        if self.world == 1:
            return value
        flag = torch.tensor(float(value), device=self.device)
        distributed.all_reduce(flag, distributed.ReduceOp.MAX)
        return bool(flag.item())

    def gather(self, mine: list[Any]) -> list[Any]:
        """The lists of all processes, one after the other, in every process."""
        if self.world == 1:
            return mine
        parts: list[Any] = [None] * self.world
        distributed.all_gather_object(parts, mine)
        return [item for part in parts for item in part]

    def wait(self) -> None:
        """Until every process is here."""
        if self.world > 1:
            distributed.barrier()


def world_size() -> int:
    """How many processes were started together (torchrun's WORLD_SIZE); 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def join(device: str) -> Ranks:
    """Meet the other processes that torchrun started. Raises: InvalidConfig for a device that is not there."""
    world = world_size()
    if world == 1:
        return Ranks(0, 1, choose_device(device))
    rank, local = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", "0"))
    chosen = choose_device(device)
    if chosen.type == "cuda":
        if ":" in device:
            msg = f"--device {device} with {world} processes: each takes a GPU of its own. Use --device cuda."
            raise InvalidConfig(msg)
        chosen = choose_device(f"cuda:{local}")
        torch.cuda.set_device(chosen)
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=PATIENCE)
    return Ranks(rank, world, chosen)


def leave() -> None:
    """Part from the others, if there are any."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def share(network: nn.Module, ranks: Ranks) -> nn.Module:
    """Make a network learn with the others: batch norm over all samples, gradients averaged. Parameter names stay those of `network`.

    Returns: what is to be called; `network` itself holds the weights.
    """
    if ranks.world == 1:
        return network
    if ranks.device.type == "cuda":
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return DistributedDataParallel(network, device_ids=[ranks.device.index], gradient_as_bucket_view=True)
    _use_shared_norms(network)
    return DistributedDataParallel(network, gradient_as_bucket_view=True)


class _SumOverRanks(torch.autograd.Function):
    """Sum a tensor over the processes; the gradient of that sum is summed over them too."""

    @staticmethod
    def forward(_: Any, value: Tensor) -> Tensor:
        total = value.detach().clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        return _sum_over_ranks(gradients[0])


def _sum_over_ranks(value: Tensor) -> Tensor:
    return cast("Tensor", _SumOverRanks.apply(value))  # type: ignore[no-untyped-call]


class SharedBatchNorm(nn.BatchNorm3d):
    """Batch norm with the statistics of the samples of all processes, on a CPU, where torch.nn.SyncBatchNorm does not run."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, X, Y, Z) -> the same shape."""
        if not self.training:
            return super().forward(x)
        axes = (0, 2, 3, 4)
        wide = x if x.dtype is torch.float64 else x.float()
        count = _sum_over_ranks(torch.tensor(float(x.numel() // x.shape[1]), dtype=wide.dtype))
        mean = _sum_over_ranks(wide.sum(axes)) / count
        centred = wide - mean[:, None, None, None]
        variance = _sum_over_ranks(centred.square().sum(axes)) / count
        with torch.no_grad():
            self._remember(mean, variance * count / (count - 1))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        y: Tensor = centred * scale[:, None, None, None] + self.bias[:, None, None, None]
        return y.to(x.dtype)

    def _remember(self, mean: Tensor, unbiased_variance: Tensor) -> None:
        momentum = self.momentum if self.momentum is not None else 0.1
        cast("Tensor", self.running_mean).lerp_(mean, momentum)
        cast("Tensor", self.running_var).lerp_(unbiased_variance, momentum)
        cast("Tensor", self.num_batches_tracked).add_(1)


def _use_shared_norms(network: nn.Module) -> None:
    for module in network.modules():
        if type(module) is nn.BatchNorm3d:
            module.__class__ = SharedBatchNorm  # the same parameters and names; only forward differs
