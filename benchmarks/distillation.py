"""Teach a model to give in windows what it gives for the whole brain: self-distillation, the last stage of the packaged model.

    python benchmarks/distillation.py MODEL OUT.safetensors PREPARED... --lesion-shapes DIR

In the published sliding window most voxels are seen near the border of a window as often as in its middle, with zeros beyond; in a whole
brain they are seen once, with all that is around them. Where a network is unsure, the two ways differ. Here the network as it is (the
teacher) is run over whole brains, real ones and ones with painted lesions, each visit with an acquisition of its own; the same network
(the student) is then shown crops of 80^3, every sixth time 112^3 voxels, and learns the teacher's probabilities there. Batch norms keep
their statistics, nothing is dropped out, no label is used. OUT is written at every report; its thresholds are the model's, as its maps of
whole brains are to be.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

if not __package__:  # started as a script
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from coactseg_cli.config import Inference, SegmentConfig, TrainConfig
from coactseg_cli.network.checkpoint import Model, load_model, save_model
from coactseg_cli.network.device import keep_large_allocations
from coactseg_cli.network.fast_vnet import Head
from coactseg_cli.network.inference import make_engine
from coactseg_cli.network.inputs import stack
from coactseg_cli.network.losses import margin
from coactseg_cli.network.model import ConvBlock, Down, Up, VNet
from coactseg_cli.network.zoo import find_model
from coactseg_cli.sampling import augment, synthesis
from coactseg_cli.sampling.batches import Sample, collate, render
from coactseg_cli.sampling.lesion_library import Library, harvest
from coactseg_cli.sampling.loading import load_masks
from coactseg_cli.sampling.patches import Case, cut
from coactseg_cli.training_data import read_cases

HEADS = (Head.ALL_BASELINE, Head.ALL_FOLLOWUP, Head.NEW)
WINDOW, LARGE = 80, 112  # edges of crops, voxels
AT_ONCE = 2  # crops per iteration
LARGE_EVERY = 6  # iterations
NEAR_LESION = 0.5  # share of crops that hold a voxel which the teacher is not sure is healthy
UNSURE = 0.02  # probability from which a voxel counts in full
BACKGROUND = 0.02  # weight of the other voxels
SHARPENED = 2.5  # factor of the log-odds in the overlap term
LARGEST = 10.0  # of log-odds
REPORTED = 6  # brains, pairs and their (x, x) in turn, that are not shown


@dataclass(frozen=True, slots=True, eq=False)
class Brain:
    """What the teacher said of one whole brain, cropped to it."""

    note: str
    images: np.ndarray  # (2, X, Y, Z) float16
    maps: np.ndarray  # (3, X, Y, Z) float16, log-odds
    unsure: np.ndarray  # (n, 3) voxels with a probability above UNSURE


def main(words: list[str] | None = None) -> None:
    """Distil, and write the student."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("prepared", nargs="+", type=Path)
    parser.add_argument("--lesion-shapes", type=Path, required=True)
    parser.add_argument("--exclude", nargs="*", default=[], help="participants that are not looked at")
    parser.add_argument("--student", help="model whose weights the student begins with; those of MODEL, where none is given")
    parser.add_argument("--brains", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--report-every", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(words)
    torch.set_num_threads(args.threads)
    keep_large_allocations()
    model = load_model(find_model(args.model))
    cases = read_cases(args.prepared, TrainConfig(prepared=tuple(args.prepared), out_dir=args.out.parent, exclude=tuple(args.exclude)))
    library = harvest(cases, *load_masks(args.lesion_shapes, {f"sub-{label}" for label in args.exclude}))
    rngs = [np.random.default_rng([args.seed, number]) for number in range(args.brains)]
    brains = [brain for rng in rngs for brain in taught(model, cases, library, rng, args.threads)]
    print(f"{len(brains)} brains, {sum(b.images[0].size for b in brains) / 1e6:.0f} million voxels", flush=True)
    if args.student:
        model.network.load_state_dict(load_model(find_model(args.student)).network.state_dict())
    distil(model, brains, args)


def taught(model: Model, cases: Sequence[Case], library: Library, rng: np.random.Generator, threads: int) -> list[Brain]:
    """One drawn pair, real or painted, and its (x, x), with the teacher's maps."""
    case = cases[rng.integers(len(cases))]
    box = case.brain_box
    patch = cut(case, np.array(box.low) + np.array(box.size) // 2, box.size)
    kind = "real"
    if not case.is_pair or rng.random() < 0.7:
        names = ("baseline", "followup", "brain", *case.labelled)
        patch = patch.with_(**{n: np.array(getattr(patch, n)) for n in names if getattr(patch, n) is not None})
        patch, kind = synthesis.make_pair(patch, library, rng, transplant=bool(rng.random() < 0.4)), "painted"
    patch = augment.orient(patch, augment.draw_orientation(rng))
    how = [augment.draw_acquisition(rng, 1.0, patch.spacing_mm) for _ in range(2)]
    batch = collate([Sample(patch, kind, how[0], how[1])])
    first, second = (x[0, 0].numpy() for x in render(batch, torch.device("cpu"), 1.0))
    engine = make_engine(model.network, SegmentConfig(threads=threads))
    note = f"{case.name}, {kind}"
    found = []
    for name, a, b in ((note, first, second), (f"{note}, (x, x)", second, second)):
        maps = engine.run(a, b, np.ones(a.shape, bool), HEADS)
        odds = np.stack([np.clip(torch.logit(torch.from_numpy(maps[h]), 1e-7).numpy(), -LARGEST, LARGEST) for h in HEADS])
        unsure = np.argwhere((np.stack([maps[h] for h in HEADS]) > UNSURE).any(axis=0))
        found.append(Brain(name, np.stack([a, b]).astype(np.float16), odds.astype(np.float16), unsure))
    return found


def draw(brains: Sequence[Brain], edge: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Crops of some brains: images (B, 2, E, E, E), the teacher's log-odds (B, 3, E, E, E), float32. Zeros where a brain is smaller."""
    images, maps = torch.zeros(AT_ONCE, 2, edge, edge, edge), torch.full((AT_ONCE, 3, edge, edge, edge), -LARGEST)
    for i in range(AT_ONCE):
        brain = brains[rng.integers(len(brains))]
        shape = np.array(brain.images.shape[1:])
        most = np.maximum(shape - edge, 0)
        start = rng.integers(0, most + 1)
        if len(brain.unsure) and rng.random() < NEAR_LESION:
            start = np.clip(brain.unsure[rng.integers(len(brain.unsure))] - rng.integers(0, edge, 3), 0, most)
        stop = np.minimum(start + edge, shape)
        source = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        place = tuple(slice(0, n) for n in stop - start)
        images[(i, slice(None), *place)] = torch.from_numpy(brain.images[(slice(None), *source)].astype(np.float32))
        maps[(i, slice(None), *place)] = torch.from_numpy(brain.maps[(slice(None), *source)].astype(np.float32))
    return images, maps


class Folded(nn.Sequential):
    """Convolution, batch norm and ReLU in turn, each norm multiplied into its convolution: in evaluation the same, and half of the time."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, X, Y, Z) -> (B, C', X', Y', Z')."""
        layers = list(self)
        while layers:
            layer = layers.pop(0)
            if isinstance(layer, nn.Conv3d | nn.ConvTranspose3d) and layers and isinstance(layers[0], nn.BatchNorm3d):
                x = _folded(layer, layers.pop(0), x)
            else:
                x = layer(x)
        return x


def _folded(convolution: nn.Conv3d | nn.ConvTranspose3d, norm: nn.BatchNorm3d, x: Tensor) -> Tensor:
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    bias = (convolution.bias - norm.running_mean) * scale + norm.bias
    if isinstance(convolution, nn.ConvTranspose3d):
        return functional.conv_transpose3d(x, convolution.weight * scale[None, :, None, None, None], bias, convolution.stride)
    return functional.conv3d(x, convolution.weight * scale[:, None, None, None, None], bias, convolution.stride, convolution.padding)


def fold_norms(network: VNet) -> VNet:
    """The same parameters under the same names, norms multiplied into their convolutions at each call."""
    for module in list(network.modules()):
        if isinstance(module, ConvBlock | Down | Up):
            module.conv = Folded(*module.conv)
    return network


def odds_of(network: VNet, images: Tensor) -> Tensor:
    """(B, 2, X, Y, Z) -> log-odds (B, 3, X, Y, Z)."""
    x = stack(images[:, :1], images[:, 1:]).contiguous(memory_format=torch.channels_last_3d)
    return torch.stack([margin(head) for head in network(x)], dim=1)


def loss_of(odds: Tensor, teacher: Tensor) -> Tensor:
    """Divergence from the teacher's probabilities, and what sharpened maps lack of full overlap, summed over the heads; 0: the same."""
    p, q = torch.sigmoid(odds), torch.sigmoid(teacher)
    weight = torch.where((p.detach() > UNSURE) | (q > UNSURE), 1.0, BACKGROUND)
    axes = (0, 2, 3, 4)
    entropy = functional.binary_cross_entropy_with_logits
    divergence = entropy(odds, q, reduction="none") - entropy(teacher, q, reduction="none")
    off = (weight * divergence).sum(axes) / (weight.sum(axes) + 1000.0)
    a, b = torch.sigmoid(SHARPENED * odds), torch.sigmoid(SHARPENED * teacher)
    overlap = 1.0 - (2.0 * (a * b).sum(axes) + 50.0) / ((a * a).sum(axes) + (b * b).sum(axes) + 50.0)
    return (off + overlap).sum()


def distil(model: Model, brains: Sequence[Brain], args: argparse.Namespace) -> None:
    """Adam with a warm-up and a cosine, on all brains but the last, which the reports are on."""
    network = fold_norms(model.network.eval().to(memory_format=torch.channels_last_3d))
    shown, kept = brains[:-REPORTED], [*brains[-REPORTED::2], brains[-1]]
    optimiser = torch.optim.Adam(network.parameters(), lr=args.learning_rate, fused=True)
    rng = np.random.default_rng([args.seed, 10**6])
    begun, total = time.monotonic(), 0.0
    for iteration in range(args.iterations + 1):
        if iteration % args.report_every == 0 or iteration == args.iterations:
            report(network, kept, args.threads, f"{iteration} {time.monotonic() - begun:.0f} s, loss {total / args.report_every:.4f}")
            total = 0.0
            save_model(network, replace(model.info, iterations=iteration), args.out)
        if iteration == args.iterations:
            break
        share = min((iteration + 1) / 30, 1.0) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * iteration / args.iterations)))
        for group in optimiser.param_groups:
            group["lr"] = args.learning_rate * share
        images, teacher = draw(shown, LARGE if iteration % LARGE_EVERY == LARGE_EVERY - 1 else WINDOW, rng)
        optimiser.zero_grad(set_to_none=True)
        loss = loss_of(odds_of(network, images), teacher)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        total += float(loss.detach())


def report(network: VNet, brains: Sequence[Brain], threads: int, begin: str) -> None:
    """Print how far windows and the whole agree in the middle of brains that were not shown, and how far the whole has moved."""
    edge = LARGE
    engines = [make_engine(network, SegmentConfig(threads=threads, inference=i)) for i in (Inference.FAST, Inference.WINDOWS)]
    both = np.zeros((3, 2))
    sizes = np.zeros((3, 2))
    for brain in brains:
        middle = tuple(slice(max((n - edge) // 2, 0), max((n - edge) // 2, 0) + min(n, edge)) for n in brain.images.shape[1:])
        a, b = (np.ascontiguousarray(x[middle], dtype=np.float32) for x in brain.images)
        whole, windows = (engine.run(a, b, np.ones(a.shape, bool), HEADS) for engine in engines)
        inner = (slice(16, -16),) * 3
        for i, head in enumerate(HEADS):
            w, s, t = whole[head] >= 0.5, windows[head] >= 0.5, brain.maps[i][middle] >= 0
            both[i] += (w & s).sum(), (w & t)[inner].sum()
            sizes[i] += w.sum() + s.sum(), w[inner].sum() + t[inner].sum()
    dice = 2 * both / np.maximum(sizes, 1)
    words = [
        f"{head}: windows {d[0]:.4f}, teacher {d[1]:.4f} of {int(n[0]) // 2} voxels" for head, d, n in zip(HEADS, dice, sizes, strict=True)
    ]
    print(begin, *words, sep=" | ", flush=True)


if __name__ == "__main__":
    main()
