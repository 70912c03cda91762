"""One training step and the samples it needs, against the published way of doing the same: `make bench-train`.

    python benchmarks/training.py [--patch-size 80] [--batch 8] [--steps 3] [--rounds 2] [--threads N]

Step: batch 8 of 80^3, Dice and relation loss, each way in a process of its own, in turn. Published: fp32, contiguous, default
allocator, the layout of the published network. Ours: coactseg_cli.training_step.step in the number format of this machine.
Samples: rotate and flip whole volumes, then crop (published) against cut, then turn (ours), from arrays mapped into memory, one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

if not __package__:  # started as a script
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from coactseg_cli.config import Precision, TrainConfig
from coactseg_cli.network.device import choose_dtype, keep_large_allocations
from coactseg_cli.network.inputs import stack
from coactseg_cli.network.losses import coactseg_loss
from coactseg_cli.network.model import Heads, VNet
from coactseg_cli.network.ranks import Ranks
from coactseg_cli.sampling.batches import Batch, Pool, draw_batch, make_pool, places, stream
from coactseg_cli.sampling.lesion_library import Library, harvest
from coactseg_cli.sampling.patches import Case
from coactseg_cli.training_options import Preset, recipe
from coactseg_cli.training_state import start
from coactseg_cli.training_step import step

VOLUME = (180, 220, 180)
CPU = Ranks(0, 1, torch.device("cpu"))


# ---- the published step


def published_forward(network: VNet, x: Tensor) -> Heads:
    """The network as its authors wrote it: one convolution over the features put side by side."""
    decoder = network.decoder
    shared = decoder.features(network.encoder(x))
    f1, f2 = decoder.dropout(decoder.block_nine_1(shared)), decoder.dropout(decoder.block_nine_2(shared))
    f3 = decoder.dropout(decoder.block_c2f(torch.cat((f2 - f1, f1, decoder.block_nine_3(shared)), dim=1)))
    return Heads(decoder.out_conv_1(f1), decoder.out_conv_2(f2), decoder.out_conv_3(f3))


def published_loss(heads: Heads, batch: Batch) -> Tensor:
    """Eq. 4 with lambda1 = lambda2 = 1: pairs first in the batch, then single scans."""
    n = int(batch.is_pair.sum())
    first, second, new = (torch.softmax(h, dim=1)[:, 1] for h in heads)
    every, wanted = batch.targets.all_baseline[n:].float(), batch.targets.new[:n].float()
    inside = wanted == 1
    relation = ((first[n:] - second[n:]) ** 2).mean()
    if inside.any():  # the published code gives NaN where there is no new lesion
        relation = relation + (first[:n][inside] ** 2).mean() + ((1 - second[:n][inside]) ** 2).mean()
    return _dice(first[n:], every) + _dice(second[n:], every) + _dice(new[:n], wanted) + relation


def _dice(probability: Tensor, label: Tensor) -> Tensor:
    return 1 - (2 * (probability * label).sum() + 1e-8) / (probability.sum() + label.sum() + 1e-8)


def published_steps(config: TrainConfig, batch: Batch) -> Callable[[], None]:
    """A step of the published loop."""
    torch.manual_seed(config.seed)
    network = VNet(config.base_filters, dropout=config.dropout).train()
    optimiser = torch.optim.Adam(network.parameters(), lr=config.learning_rate, foreach=False)
    x = stack(batch.baseline, batch.followup)

    def one() -> None:
        loss = published_loss(published_forward(network, x), batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return one


def our_steps(config: TrainConfig, batch: Batch) -> Callable[[], None]:
    """A step of this project."""
    keep_large_allocations()
    state = start(config, CPU)
    state.network.train()
    return lambda: step(state, batch, config, CPU) and None


def check_equal(config: TrainConfig, batch: Batch) -> float:
    """Largest difference of the two losses and logits with one set of weights, in fp32 without dropout."""
    torch.manual_seed(0)
    network = VNet(config.base_filters, dropout=0.0).train()
    x = stack(batch.baseline, batch.followup)
    theirs, ours = published_forward(network, x), network(x)
    terms = coactseg_loss(ours, batch.targets, batch.is_pair, new_weight=1.0, relation_weight=1.0, cross_entropy_weight=0.0)
    apart = [float((a - b).detach().abs().max()) for a, b in zip(theirs, ours, strict=True)]
    return max(*apart, abs(float(published_loss(theirs, batch).detach() - terms.total.detach())))


# ---- data


def made_up_cases(folder: Path | None) -> list[Case]:
    """A pair and a single scan with lesions, noise for tissue; mapped from a folder, or in memory."""
    rng = np.random.default_rng(0)
    image, other = (rng.standard_normal(VOLUME, dtype=np.float32) for _ in range(2))
    brain = np.ones(VOLUME, bool)
    lesions = np.zeros(VOLUME, np.int8)
    for corner in rng.integers(20, 140, (30, 3)):
        lesions[tuple(slice(c, c + 6) for c in corner)] = 1
    arrays = {"image": image, "other": other, "brain": brain, "lesions": lesions}
    if folder is not None:
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in arrays}
    single = Case("sub-1", arrays["image"], arrays["brain"], (1.0, 1.0, 1.0), all_baseline=arrays["lesions"])
    pair = Case("sub-2_pair", arrays["image"], arrays["brain"], (1.0, 1.0, 1.0), followup=arrays["other"], new=arrays["lesions"])
    return [single, pair]


def rotate_then_crop(images: np.ndarray, label: np.ndarray, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The published order: two images and the label are turned and flipped whole, then a patch around a random lesion voxel is cut."""
    k, axis = int(rng.integers(4)), int(rng.integers(2))
    images = np.flip(np.rot90(images, k, (1, 2)), axis + 1).copy()
    label = np.flip(np.rot90(label, k, (0, 1)), axis).copy()
    voxels = np.where(label > 0)
    chosen = int(rng.integers(len(voxels[0])))
    low = [min(max(int(v[chosen] + rng.integers(-10, 11)) - size // 2, 0), n - size) for v, n in zip(voxels, label.shape, strict=True)]
    box = tuple(slice(c, c + size) for c in low)
    return images[(slice(None), *box)].copy(), label[box].copy()


def patches_per_second(draw: Callable[[int], object], seconds: float = 5.0) -> float:
    """How many calls of `draw` a second allows."""
    draw(0)
    begun, n = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        n += 1
        draw(n)
    return n / (time.perf_counter() - begun)


def compare_samples(config: TrainConfig) -> None:
    """Print patches per second of both orders, and of the everyday recipe with synthesis."""
    with tempfile.TemporaryDirectory() as folder:
        cases = made_up_cases(Path(folder))
        pool = make_pool(cases, Library(), config)
        everyday = TrainConfig(prepared=(), out_dir=Path())
        rich = make_pool(cases, harvest(cases, []), everyday)
        whole = made_up_cases(None)[1]
        images = np.stack([whole.baseline, whole.followup])
        rng = np.random.default_rng(1)
        size = config.patch_size[0]
        published = patches_per_second(lambda _: rotate_then_crop(images, whole.new, size, rng))
        torch.set_num_threads(1)
        keep_large_allocations()  # as train does
        ours = len(places(config)) * patches_per_second(lambda i: draw_batch(pool, config, i))
        synthetic = len(places(everyday)) * patches_per_second(lambda i: draw_batch(rich, everyday, i))
        torch.set_num_threads(config.threads)
        print(f"samples, one thread, volumes of {VOLUME}, patches of {size}^3")
        print(f"  rotate whole volumes, then crop: {published:.1f} a second")
        print(f"  cut, then turn, into a batch (ours): {ours:.1f} a second, {ours / published:.0f} times as many (target 20)")
        print(f"  with synthesis, patches of 64^3: {synthetic:.1f} a second (7 in 10 pairs synthetic; rendering is part of the step)")


def waiting(pool: Pool, config: TrainConfig, steps: int) -> float:
    """Share of the time in which the step waits for its batch."""
    keep_large_allocations()
    state = start(config, CPU)
    state.network.train()
    batches = stream(pool, config, 0, places(config), 1)
    step(state, next(batches), config, CPU)
    waited = worked = 0.0
    for _ in range(steps):
        begun = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - begun
        step(state, batch, config, CPU)
        worked += time.perf_counter() - begun
    batches.close()
    return waited / worked


# ---- processes


def one_way(way: str, config: TrainConfig, steps: int) -> None:
    """Run in a process of its own: print the seconds per step, two warm-up steps left out, and the peak memory."""
    torch.set_num_threads(config.threads)
    batch = draw_batch(make_pool(made_up_cases(None), Library(), config), config, 0)
    one = published_steps(config, batch) if way == "published" else our_steps(config, batch)
    seconds = []
    for _ in range(steps + 2):
        begun = time.perf_counter()
        one()
        seconds.append(time.perf_counter() - begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"seconds": seconds[2:], "gib": peak}))


def compare_steps(args: argparse.Namespace) -> None:
    """Print seconds per step of both ways, measured in turn, and their ratio."""
    found: dict[str, list[dict[str, object]]] = {"published": [], "ours": []}
    for _ in range(args.rounds):
        for way, results in found.items():
            words = [sys.executable, __file__, "--way", way, *sys.argv[1:]]
            done = subprocess.run(words, capture_output=True, text=True, check=True)
            results.append(json.loads(done.stdout.splitlines()[-1]))
            print(f"  {way}: {results[-1]}", flush=True)
    medians = {way: statistics.median(s for r in results for s in r["seconds"]) for way, results in found.items()}
    memory = {way: max(r["gib"] for r in results) for way, results in found.items()}
    for way in found:
        print(f"  {way:10s} {medians[way]:.2f} s per step, {memory[way]:.1f} GiB")
    target = 5 if choose_dtype(Precision.AUTO, CPU.device) is torch.bfloat16 else 3
    print(f"  ratio {medians['published'] / medians['ours']:.2f} (target {target}: 5 with AVX512_BF16, 3 without)")


def main() -> None:
    """Print both comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patch-size", type=int, default=80)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--base-filters", type=int, default=16)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--way", choices=("published", "ours"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    half = args.batch // 2
    paper = TrainConfig(prepared=(), out_dir=Path(), **recipe(Preset.PAPER, {}))
    config = replace(
        paper,
        patch_size=(args.patch_size,) * 3,
        pairs_per_batch=half,
        singles_per_batch=args.batch - half,
        base_filters=args.base_filters,
        threads=args.threads,
        relation_from=0,
        precision=Precision.AUTO,
    )
    if args.way:
        one_way(args.way, config, args.steps)
        return
    torch.set_num_threads(args.threads)
    small = replace(config, patch_size=(32, 32, 32), base_filters=2)
    pool = make_pool(made_up_cases(None), Library(), config)
    print(f"same network and loss: largest difference {check_equal(small, draw_batch(pool, small, 0)):.1e}")
    compare_samples(config)
    print(f"step, batch {args.batch} of {args.patch_size}^3, {args.threads} threads, load {os.getloadavg()[0]:.1f} before")
    compare_steps(args)
    share = waiting(pool, replace(config, patch_size=(64, 64, 64)), 3)
    print(f"  waiting for the batch: {100 * share:.1f} % of the time (64^3, one drawing thread)")


if __name__ == "__main__":
    main()
