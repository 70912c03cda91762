"""Run by torchrun from test_ranks.py: gradients and batch norm statistics of a batch that the processes share, in float64, to a file."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from coactseg_cli.network.losses import coactseg_loss
from coactseg_cli.network.model import VNet
from coactseg_cli.network.ranks import join, leave, share
from coactseg_cli.targets import Targets


def main(out: Path) -> None:
    torch.set_num_threads(1)
    ranks = join("cpu")
    rng = torch.Generator().manual_seed(3)
    x = torch.randn(4, 3, 32, 16, 16, generator=rng, dtype=torch.float64)
    labels = [torch.randint(-1, 2, (4, 32, 16, 16), generator=rng, dtype=torch.int8) for _ in range(3)]
    is_pair = torch.tensor([True, True, False, False])
    mine = slice(ranks.rank, None, ranks.world)
    torch.manual_seed(1)
    network = VNet(2, dropout=0.0).double()
    shared = share(network, ranks)  # kept: without it gradients are not shared
    heads = shared(x[mine])
    targets = Targets(*(y[mine] for y in labels))
    terms = coactseg_loss(
        heads,
        targets,
        is_pair[mine],
        new_weight=1.0,
        relation_weight=0.7,
        cross_entropy_weight=0.5,
        add_up=ranks.add_up if ranks.world > 1 else None,
    )
    terms.total.backward()
    everyone = ranks.gather([ranks.any(ranks.rank == ranks.world - 1)])
    if ranks.leads:
        found = {f"grad/{name}": p.grad for name, p in network.named_parameters()}
        found |= {f"buffer/{name}": b for name, b in network.named_buffers()}
        torch.save({**found, "loss": torch.stack([t.detach() for t in terms]), "everyone": torch.tensor(everyone)}, out)
    ranks.wait()
    leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
