"""Run by torchrun from test_ranks.py: what processes that share a batch learn from it, in float64, to a file."""

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
    targets = Targets(*(y[mine] for y in labels))
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    first: dict[str, torch.Tensor] = {}
    for _ in range(3):
        terms = coactseg_loss(
            shared(x[mine]),
            targets,
            is_pair[mine],
            new_weight=1.0,
            relation_weight=0.7,
            cross_entropy_weight=0.5,
            add_up=ranks.add_up if ranks.world > 1 else None,
        )
        optimiser.zero_grad()
        terms.total.backward()
        first = first or {f"grad/{name}": p.grad.clone() for name, p in network.named_parameters()}
        optimiser.step()
    everyone = ranks.gather([ranks.any(ranks.rank == ranks.world - 1)])
    apart = ranks.gather([torch.cat([value.double().flatten() for value in network.state_dict().values()])])
    if ranks.leads:
        found = {f"weight/{name}": value for name, value in network.state_dict().items()}
        found |= {"loss": torch.stack([t.detach() for t in terms]), "everyone": torch.tensor(everyone)}
        found["between processes"] = torch.stack([(one - apart[0]).abs().max() for one in apart]).max()
        torch.save({**first, **found}, out)
    ranks.wait()
    leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
