"""How long `coactseg evaluate` takes, and how long the usual way takes on the same files: medpy's distances and a plain loop for the F1.

Each case is a pair of masks of 180 x 220 x 180 voxels with 30 lesions; predicted lesions are moved, some are missed, some false.
`evaluate` computes every score of per_case.tsv, the lesions, the cohort tables and the page; the usual way computes dc, hd95, asd, assd
and the MSSEG F1. Both read the files.
Run from the project: make bench-evaluate, or, where medpy is installed, python benchmarks/evaluate.py [--cases 200] [--nprocs 2].
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from coactseg_cli.config import EvaluateConfig
from coactseg_cli.evaluate import evaluate

SHAPE = (180, 220, 180)
LESIONS = 30
AFFINE = np.diag([1.0, 1.0, 1.0, 1.0])
LIMIT_VOXELS = 4  # more than 3 mm3
ALPHA, BETA, GAMMA = 0.10, 0.70, 0.65


def draw(shape: tuple[int, int, int], centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Ellipsoids as a mask, each inside its own box."""
    mask = np.zeros(shape, np.uint8)
    for centre, radius in zip(centres, radii, strict=True):
        low = np.maximum(np.floor(centre - radius), 0).astype(int)
        high = np.minimum(np.ceil(centre + radius) + 1, shape).astype(int)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        grid = np.ogrid[box]
        mask[box] |= sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre, radius, strict=True)) <= 1
    return mask


def make_pair(shape: tuple[int, int, int], lesions: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A predicted and a reference mask; 4 of 5 lesions are predicted, a few voxels beside, and as many as are missed are false."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0.15, 0.85, (lesions, 3)) * shape
    radii = rng.uniform(1.5, 6.0, (lesions, 3))
    found = max(1, round(0.8 * lesions))
    moved = np.concatenate([centres[:found] + rng.normal(0, 1, (found, 3)), rng.uniform(0.15, 0.85, (lesions - found, 3)) * shape])
    return draw(shape, moved, radii * rng.uniform(0.8, 1.2, (lesions, 1))), draw(shape, centres, radii)


def write_cases(folder: Path, n: int, shape: tuple[int, int, int], lesions: int) -> None:
    for side in ("predicted", "reference"):
        (folder / side).mkdir()
    for case in range(n):
        for side, mask in zip(("predicted", "reference"), make_pair(shape, lesions, case), strict=True):
            nib.save(nib.Nifti1Image(mask, AFFINE), folder / side / f"case{case:03d}.nii.gz")


def usual_way(predicted: Path, reference: Path) -> dict[str, float]:
    """medpy and a loop over all pairs of lesions."""
    from medpy.metric import binary

    start = time.perf_counter()
    masks = [np.asarray(nib.load(path).dataobj) > 0 for path in (predicted, reference)]
    spacing = nib.load(reference).header.get_zooms()
    scores = {name: float(getattr(binary, name)(*masks, voxelspacing=spacing)) for name in ("hd95", "asd", "assd")}
    scores |= {"dc": float(binary.dc(*masks)), "medpy_s": time.perf_counter() - start}
    return {**scores, "f1": plain_f1(*masks)}


def plain_f1(predicted: np.ndarray, reference: np.ndarray) -> float:
    """The MSSEG F1 as one writes it down: every reference lesion against every predicted one."""
    labels = [components(mask) for mask in (reference, predicted)]
    counts = np.zeros([n + 1 for _, n in labels])
    for i in range(counts.shape[0]):
        lesion = labels[0][0] == i
        for j in range(counts.shape[1]):
            counts[i, j] = np.count_nonzero(labels[1][0][lesion] == j)
    sensitivity, ppv = detected(counts), detected(counts.T)
    return 2 * sensitivity * ppv / (sensitivity + ppv) if sensitivity + ppv else 0.0


def components(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """6-connected components of at least LIMIT_VOXELS voxels, the largest first."""
    labels, n = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=n + 1)
    order = [k for k in np.argsort(-sizes[1:], kind="stable") + 1 if sizes[k] >= LIMIT_VOXELS]
    renumbered = np.zeros(n + 1, int)
    renumbered[order] = np.arange(1, len(order) + 1)
    return renumbered[labels], len(order)


def detected(counts: np.ndarray) -> float:
    """Share of the rows 1... of a table of shared voxels (row and column 0: background) that pass the MSSEG test."""
    outside = counts[0] / np.maximum(counts.sum(axis=0), 1)
    passed = 0
    for row in counts[1:]:
        covered = row[1:].sum()
        if not covered / row.sum() > ALPHA:
            continue
        seen, good = 0.0, True
        for j in np.argsort(-row[1:], kind="stable") + 1:
            if not seen < GAMMA:
                break
            if outside[j] > BETA:
                good = False
                break
            seen += row[j] / covered
        passed += good
    return passed / max(len(counts) - 1, 1)


def time_ours(folder: Path, nprocs: int, *, report: bool) -> tuple[float, Sequence[object]]:
    config = EvaluateConfig(
        predicted=folder / "predicted", reference=folder / "reference", out_dir=folder / "out", nprocs=nprocs, report=report
    )
    start = time.perf_counter()
    result = evaluate(config, lambda _: None)
    return time.perf_counter() - start, result.scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--peer-cases", type=int, default=3, help="cases for medpy, one after the other")
    parser.add_argument("--lesions", type=int, default=LESIONS)
    parser.add_argument("--shape", type=int, nargs=3, default=SHAPE)
    parser.add_argument("--nprocs", type=int, default=min(2, len(os.sched_getaffinity(0))))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_cases(folder, options.cases, tuple(options.shape), options.lesions)
        together, scores = time_ours(folder, options.nprocs, report=False)
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        with_page, _ = time_ours(folder, options.nprocs, report=True)
        peers = [case.case for case in scores[: options.peer_cases]]
        few = folder / "few"
        for side in ("predicted", "reference"):
            (few / side).mkdir(parents=True)
            for case in peers:
                (few / side / f"{case}.nii.gz").symlink_to(folder / side / f"{case}.nii.gz")
        ours = time_ours(few, 1, report=False)[0] / len(peers)
        start = time.perf_counter()
        theirs = [usual_way(few / "predicted" / f"{case}.nii.gz", few / "reference" / f"{case}.nii.gz") for case in peers]
        usual = (time.perf_counter() - start) / len(peers)
    for score, answer in zip(scores, theirs, strict=False):
        mine = (score.dice, score.hd95_pooled_mm, score.asd_pred_to_ref_mm, score.assd_mm, score.lesion_f1)
        wanted = tuple(answer[key] for key in ("dc", "hd95", "asd", "assd", "f1"))
        assert np.allclose(mine, wanted, atol=1e-6), (score.case, mine, wanted)
    print(f"{options.cases} pairs of {' x '.join(map(str, options.shape))} voxels, {options.lesions} lesions each")
    print(f"evaluate, {options.nprocs} at once:         {together:7.1f} s in all, {together / options.cases:.3f} s per case")
    print(f"the same with the page:       {with_page:7.1f} s in all")
    print(f"memory of the process, peak:  {peak_mb:7.0f} MB")
    print(f"evaluate, one after another:  {ours:7.3f} s per case, cohort tables included")
    print(f"medpy and a plain loop:       {usual:7.3f} s per case, the same five numbers to 1e-6")
    print(f"medpy alone:                  {np.mean([answer['medpy_s'] for answer in theirs]):7.3f} s per case")
    print(f"ratio per case, one core each: {usual / ours:6.1f}")


if __name__ == "__main__":
    main()
