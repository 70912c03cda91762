import subprocess
import sys
from pathlib import Path

import pytest
import torch

from coactseg_cli.errors import InvalidConfig
from coactseg_cli.network import ranks as r

ROOT = Path(__file__).parents[3]


def together(processes: int, out: Path) -> dict[str, torch.Tensor]:
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)] if processes > 1 else []
    words = [sys.executable, *several, "-m", "tests.coactseg_cli.network.together", str(out)]
    done = subprocess.run(words, check=False, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return torch.load(out, weights_only=True)


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(tmp_path):
    """Gradients, and weights and statistics after three updates, in float64, where only the order of additions differs."""
    one, two = (together(n, tmp_path / f"{n}.pt") for n in (1, 2))
    assert one["everyone"].tolist() == [True]
    assert two["everyone"].tolist() == [True, True]
    assert float(two["between processes"]) == 0.0, "all processes hold the same weights"
    for name in one.keys() - {"everyone", "between processes"}:
        scale = float(one[name].abs().max()) + 1e-3
        assert float((one[name] - two[name]).abs().max()) / scale < (1e-8 if name.startswith("grad/") else 1e-6), name
    assert any(value.abs().max() > 1e-3 for name, value in one.items() if name.startswith("grad/"))


def test_one_process_needs_no_other(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    ranks = r.join("cpu")
    assert (ranks.rank, ranks.world, ranks.leads) == (0, 1, True)
    assert ranks.any(value=True)
    assert not ranks.any(value=False)
    assert ranks.gather([1, 2]) == [1, 2]
    values = torch.ones(3)
    assert ranks.add_up(values) is values
    network = torch.nn.BatchNorm3d(2)
    assert r.share(network, ranks) is network
    ranks.wait()
    r.leave()


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(InvalidConfig, match="--device"):
        r.join("cuda:99")
