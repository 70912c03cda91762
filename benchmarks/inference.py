"""The fast inference against the published sliding window on one prepared pair: time, and how far the maps differ.

Run from the project: python benchmarks/inference.py PREPARED SUBJECT [--model default] [--threads 2]
PREPARED is what coactseg prep or segment wrote. Each way is timed once, network only, in this process, the fast one first.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from bids_app.dataset import read_prepared
from coactseg_cli.components import label, remove_small
from coactseg_cli.config import Inference, Precision, SegmentConfig
from coactseg_cli.network.inference import Engine, Head, make_engine
from coactseg_cli.segment import load_model
from coactseg_cli.volumes import load


def main() -> None:
    """Print a row per way and, per map, the agreement with the published way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("subject")
    parser.add_argument("--model", default="default")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    timeline = read_prepared(given.prepared, (given.subject,)).timelines[0]
    images = [load(v.image).data for v in timeline.visits[:2]]
    masks = [load(v.brain_mask).data > 0.5 for v in timeline.visits[:2]]
    network = load_model(SegmentConfig(model=given.model)).network
    ways = {
        "fast bf16": SegmentConfig(precision=Precision.BF16, threads=given.threads),
        "fast fp32": SegmentConfig(precision=Precision.FP32, threads=given.threads),
        "fast fp32, tiles of 128": SegmentConfig(precision=Precision.FP32, tile=128, threads=given.threads),
        "windows (published)": SegmentConfig(inference=Inference.WINDOWS, threads=given.threads),
    }
    found = {}
    for name, config in ways.items():
        begun = time.perf_counter()
        found[name] = passes(make_engine(network, config), images, masks)
        print(f"{name}: {time.perf_counter() - begun:.1f} s for both passes over {images[0].shape} voxels", flush=True)
    for name in list(ways)[:-1]:
        for kind, reference in found["windows (published)"].items():
            print(f"{name}, {kind}: {agreement(found[name][kind], reference, masks[0] | masks[1])}")


def passes(engine: Engine, images: list[np.ndarray], masks: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Pass 1 over the pair, pass 2 (x, x, 0) over the follow-up, as published."""
    pair = engine.run(images[0], images[1], masks[0] | masks[1], Head)
    single = engine.run(images[1], images[1], masks[1], [Head.ALL_FOLLOWUP])
    return {"all baseline": pair[Head.ALL_BASELINE], "all follow-up": single[Head.ALL_FOLLOWUP], "new": pair[Head.NEW]}


def agreement(probability: np.ndarray, reference: np.ndarray, brain: np.ndarray) -> str:
    """Dice and lesion counts of the masks at 0.5 inside the brain, components of more than 3 mm3 at 1 mm."""
    a, b = (remove_small((p >= 0.5) & brain, 1.0, 3.0) for p in (probability, reference))
    dice = 2 * (a & b).sum() / max(a.sum() + b.sum(), 1)
    (labels_a, n_a), (labels_b, n_b) = label(a), label(b)
    lost = sum(not a[labels_b == i].any() for i in range(1, n_b + 1))
    gained = sum(not b[labels_a == i].any() for i in range(1, n_a + 1))
    return f"Dice {dice:.3f}, {a.sum()} and {b.sum()} voxels, {n_a} and {n_b} lesions, {lost} lost, {gained} gained"


if __name__ == "__main__":
    main()
