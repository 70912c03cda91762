"""Painted lesions against real ones (size, contrast, texture, place), and what drawing and rendering a pair costs.

Painted lesions are measured as real ones are: cut out of the finished scan with their label.
Run from the project: python benchmarks/synthesis.py PREPARED... [--lesion-shapes DIR]. docs/synthesis.md has what it printed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

if not __package__:  # started as a script
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bids_app.dataset import read_prepared
from coactseg_cli.network.device import keep_large_allocations
from coactseg_cli.sampling.augment import draw_acquisition, render
from coactseg_cli.sampling.lesion_library import Library, RealLesion, collect, harvest
from coactseg_cli.sampling.loading import load_cases, load_masks
from coactseg_cli.sampling.patches import Case, Patch, cut
from coactseg_cli.sampling.synthesis import make_pair

SIZE = (64, 64, 64)
SIZES = ((4, 14), (15, 49), (50, 199), (200, 999), (1000, 8000))  # voxels
PERCENT = (5, 25, 50, 75, 95)
PAIRS = 150


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", nargs="+", type=Path)
    parser.add_argument("--lesion-shapes", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_large_allocations()
    cases = [case for root in args.prepared for timeline in read_prepared(root).timelines for case in load_cases(timeline)]
    masks, spacing_mm = load_masks(args.lesion_shapes) if args.lesion_shapes else ([], (1.0, 1.0, 1.0))
    library = harvest(cases, masks, spacing_mm)
    print(f"library: {len(library.lesions)} lesions, {int(library.textured.sum())} with texture")
    pairs, seconds = draw(cases, library)
    print(f"drawing a pair of {SIZE}: {1e3 * np.median(seconds):.0f} ms median, {1e3 * np.percentile(seconds, 95):.0f} ms at 95 %")
    rendering = render_seconds(pairs[:4])
    print(f"rendering 4 pairs on one core: {1e3 * np.median(rendering):.0f} ms median, {1e3 * min(rendering):.0f} ms at best")
    painted = collect([lesion for pair in pairs for lesion in new_lesions(pair)])
    for name, found in (("real", library), ("painted, new", painted)):
        describe(name, found)
    for name, found in (("real", library), ("painted, new", painted)):
        print(f"{name}: place (side to midline, back to front, bottom to top), percentiles {PERCENT}")
        print("  ", *(np.percentile(column, PERCENT).round(2).tolist() for column in places(found).T))


def draw(cases: Sequence[Case], library: Library) -> tuple[list[Patch], list[float]]:
    """Synthetic pairs from single scans, patches centred anywhere in the brain, with the time that each took."""
    rng, singles = np.random.default_rng(1), [c for c in cases if not c.is_pair]
    voxels = [np.argwhere(c.brain)[::50] for c in singles]
    pairs, seconds = [], []
    for i in range(PAIRS):
        k = i % len(singles)
        patch = cut(singles[k], voxels[k][rng.integers(len(voxels[k]))], SIZE)
        start = time.perf_counter()
        pairs.append(make_pair(patch, library, rng))
        seconds.append(time.perf_counter() - start)
    return pairs, seconds


def render_seconds(pairs: Sequence[Patch]) -> list[float]:
    """Both visits of these pairs, ten times with other acquisitions."""
    rng = np.random.default_rng(0)
    images = torch.from_numpy(np.stack([i for p in pairs for i in (p.baseline, p.followup)])[:, None])
    brains = torch.from_numpy(np.stack([p.brain for p in pairs for _ in range(2)]))
    seconds = []
    for _ in range(10):
        how = [draw_acquisition(rng) for _ in range(len(images))]
        start = time.perf_counter()
        render(images, brains, how)
        seconds.append(time.perf_counter() - start)
    return seconds


def new_lesions(pair: Patch) -> Iterator[RealLesion]:
    """The new lesions of a synthetic pair, cut out of the follow-up like those of a real scan, with their place."""
    case = Case(
        "painted", pair.followup, pair.brain, (1.0, 1.0, 1.0), all_baseline=np.where(pair.new == 1, 1, -pair.all_followup.clip(0, 1))
    )
    box, place = case.brain_box, pair.place
    for lesion in harvest([case], []).lesions:
        voxel = np.array(box.low) + np.array(lesion.place) * box.size
        x, y, z = np.array(place.origin) + voxel / pair.brain.shape * np.array(place.extent)
        yield RealLesion(lesion.mask, (x, y, z), lesion.excess)


def places(library: Library) -> np.ndarray:
    """Places of the lesions that have one, left folded onto right: (n, 3)."""
    known = library.places[~np.isnan(library.places).any(axis=1)]
    return np.abs(known - (0.5, 0.0, 0.0)) * (-1, 1, 1) + (0.5, 0.0, 0.0)


def describe(name: str, library: Library) -> None:
    print(f"{name}: {len(library.lesions)} lesions, voxels {np.percentile(library.voxels, PERCENT).round().astype(int).tolist()}")
    rows = [(le.voxels, le.excess[le.mask].mean(), le.excess[le.mask].std()) for le in library.lesions if le.excess is not None]
    table = np.array(rows).reshape(-1, 3)
    for low, high in SIZES:
        part = table[(table[:, 0] >= low) & (table[:, 0] <= high)]
        if len(part) > 2:
            contrast = np.percentile(part[:, 1], PERCENT).round(2).tolist()
            print(f"  {low}-{high} voxels, n {len(part)}: contrast {contrast}, SD / mean {np.median(part[:, 2] / part[:, 1]):.2f}")
    slope, middle = np.polyfit(np.log(table[:, 0]), np.log(table[:, 1]), 1)
    rest = np.log(table[:, 1]) - middle - slope * np.log(table[:, 0])
    print(f"  contrast = {np.exp(middle):.2f} * voxels ** {slope:.2f}, SD of the log {rest.std():.2f}")


if __name__ == "__main__":
    main()
