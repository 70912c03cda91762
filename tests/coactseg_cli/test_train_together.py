"""Two processes that share each batch, started as a user starts them, and what a scheduler's signals do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from coactseg_cli.network.checkpoint import load_model

RUN = ("--base-filters", "2", "--patch-size", "16", "--precision", "fp32", "--nprocs", "1", "--device", "cpu", "--no-compile")


def command(prepared: Path, out: Path, *more: str, processes: int = 1) -> list[str]:
    together = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)] if processes > 1 else []
    return [sys.executable, *together, "-m", "coactseg_cli", "train", str(prepared), str(out), *RUN, *more]


def start(words: list[str]) -> subprocess.Popen:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        cwd=Path(__file__).parents[2],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - ignored in the background of a shell
    )


def weights(out: Path) -> dict[str, torch.Tensor]:
    return torch.load(out / "checkpoint.pt", weights_only=True)["network"]


def wait_for(path: Path, process: subprocess.Popen, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "nothing was written"
        time.sleep(0.02)


@pytest.mark.slow
def test_two_processes_train_as_one(tiny_prepared, tmp_path):
    """The same batches and the same first loss; later losses within 2 % (test_ranks.py has the equality, in float64)."""
    common = ("--iterations", "6", "--fold", "1/2", "--validate-every", "3", "--learning-rate", "1e-3", "--schedule", "constant")
    outs = tmp_path / "one", tmp_path / "two"
    for processes, out in enumerate(outs, start=1):
        process = start(command(tiny_prepared.tree.root, out, *common, processes=processes))
        said, complained = process.communicate(timeout=280)
        assert process.returncode == 0, complained
        assert said.count("Model: ") == 1
    one, two = ([float(line.split("\t")[8]) for line in (out / "losses.tsv").read_text().splitlines()[1:]] for out in outs)
    assert one[0] == pytest.approx(two[0], rel=1e-5)
    assert one == pytest.approx(two, rel=0.02)
    assert (outs[0] / "validation.tsv").read_text().count("\n") == (outs[1] / "validation.tsv").read_text().count("\n") > 1
    assert load_model(outs[1] / "model.safetensors").info.n_pairs == load_model(outs[0] / "model.safetensors").info.n_pairs


def test_a_batch_that_cannot_be_shared_is_refused(tiny_prepared, tmp_path):
    from coactseg_cli.config import TrainConfig
    from coactseg_cli.errors import InvalidConfig
    from coactseg_cli.sampling.batches import places

    config = TrainConfig(prepared=(tiny_prepared.tree.root,), out_dir=tmp_path, pairs_per_batch=2, singles_per_batch=4)
    assert list(places(config, 1, 2)) == [1, 3, 5]
    with pytest.raises(InvalidConfig, match="4 processes share a batch of 2 pairs and 4 single scans"):
        places(config, 0, 4)


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_with_the_same_weights(tiny_prepared, tmp_path):
    """kill -9 three times, each a little later; the checkpoint that is there is whole each time."""
    words = ("--iterations", "40", "--checkpoint-every", "5")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start(command(tiny_prepared.tree.root, whole, *words)).wait(280) == 0
    for i in range(3):
        process = start(command(tiny_prepared.tree.root, killed, *words, *(["--resume"] if i else [])))
        wait_for(killed / "checkpoint.pt", process)
        time.sleep(0.13 * (i + 1))
        process.kill()
        process.wait()
        torch.load(killed / "checkpoint.pt", weights_only=True)
    assert start(command(tiny_prepared.tree.root, killed, *words, "--resume")).wait(280) == 0
    one, other = weights(whole), weights(killed)
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert [line.split("\t")[0] for line in (killed / "losses.tsv").read_text().splitlines()[1:]] == [str(i) for i in range(1, 41)]
    assert not list(killed.glob(".tmp-*"))


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGUSR1, 75), (signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_signal_leaves_a_checkpoint_and_an_exit_code_that_says_so(tiny_prepared, tmp_path, number, code):
    out = tmp_path / "out"
    process = start(command(tiny_prepared.tree.root, out, "--iterations", "100000", "--checkpoint-every", "5"))
    wait_for(out / "checkpoint.pt", process)
    process.send_signal(number)
    _, complained = process.communicate(timeout=120)
    assert process.returncode == code, complained
    done = torch.load(out / "checkpoint.pt", weights_only=True)["iteration"]
    assert done >= 5
    assert len((out / "losses.tsv").read_text().splitlines()) == done + 1
    if code == 75:
        assert f"{number.name}: stopped after iteration {done}" in complained
        assert "--resume" in complained
