"""Dice of the builtin brain extraction and of a template it was chosen over, against given brain masks, per scan.

The template is a brain made of ellipsoids, registered affinely to the scan. No scan went into it.
Run from the project: python benchmarks/brain_extraction.py DATA, where DATA is a BIDS data set with brain masks in
DATA/derivatives/labels (`_desc-brain_mask` in space-orig, or in space-common with a FLAIR's transform).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

if not __package__:  # started as a script
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from coactseg_cli.errors import BrainExtractionFailed
from coactseg_cli.preprocessing.builtin_brain import CEREBRUM_MM, WORK_MM, find_brain, find_head, resample_to_work
from coactseg_cli.preprocessing.itk import simpleitk, to_image, to_matrix, to_transform
from coactseg_cli.preprocessing.resampling import Interpolation, grid_of, resample
from coactseg_cli.preprocessing.transforms import apply, read_itk
from coactseg_cli.volumes import Volume, load

CENTRE_MM = np.array([0.0, 0.0, 8.0])  # the template's point that starts at the head's centre
WIDTH_MM, LENGTH_MM = 156.0, 192.0  # of the head around the template


def template() -> Volume:
    """A brain of ellipsoids: cerebrum, temporal lobes, cerebellum, brain stem. (X, Y, Z) bool, RAS mm."""
    axes = [np.arange(low, high, WORK_MM) for low, high in ((-95, 96), (-115, 116), (-105, 96))]
    x, y, z = np.meshgrid(*axes, indexing="ij")

    def ellipsoid(centre: tuple[int, int, int], half_axes: tuple[int, int, int]) -> np.ndarray:
        a, b, c = half_axes
        return np.asarray(((x - centre[0]) / a) ** 2 + ((y - centre[1]) / b) ** 2 + ((z - centre[2]) / c) ** 2 <= 1)

    brain = ellipsoid((0, 0, 5), (68, 86, 62)) & (z > 0.12 * y - 28)
    brain |= ellipsoid((-40, 8, -28), (27, 38, 24)) | ellipsoid((40, 8, -28), (27, 38, 24))
    brain |= ellipsoid((0, -48, -42), (52, 36, 30)) | ellipsoid((0, -22, -50), (18, 18, 35))
    affine = np.diag([WORK_MM, WORK_MM, WORK_MM, 1.0])
    affine[:3, 3] = [axis[0] for axis in axes]
    return Volume(brain, affine)


def find_by_template(native: Volume) -> Volume:
    """The brain as the registered template gives it, on the scan's grid (bool)."""
    sitk = simpleitk()
    working, shape = resample_to_work(native), template()
    intensity, foreground, head = find_head(working)
    height = np.indices(head.shape)[2]
    top = int(np.flatnonzero(head.any(axis=(0, 1)))[-1])
    upper = head & (height > top - CEREBRUM_MM / WORK_MM)
    points = apply(working.affine, np.argwhere(upper))
    level = float(np.median(intensity[upper & foreground]))
    flat = np.where(intensity < 1.5 * level, np.minimum(intensity / level, 1.1), 0.3).astype(np.float32)  # bright scalp made dark
    near = ndimage.binary_dilation(head, iterations=3) & (height > top - 150 / WORK_MM)
    transform = _start(points)
    fixed = to_image(working.like(ndimage.gaussian_filter(flat, 1.0)))
    moving = to_image(shape.like(ndimage.gaussian_filter(shape.data.astype(np.float32), 1.0)))
    mask = sitk.Cast(to_image(working.like(near.astype(np.float32))), sitk.sitkUInt8)
    for shrink, step, steps in ((2, 1.0, 120), (1, 0.3, 80)):
        _improve(transform, fixed, moving, mask, shrink=shrink, step=step, steps=steps)
    return resample(shape.like(shape.data.astype(np.float32)), grid_of(native), to_matrix(transform), Interpolation.MASK)


def _start(head_points: np.ndarray) -> Any:
    """Head centre to template centre, scaled by the head's width and length."""
    extent = np.ptp(head_points, axis=0)
    centre = head_points.mean(axis=0)
    scale = 1 / float(np.clip((extent[0] / WIDTH_MM + extent[1] / LENGTH_MM) / 2, 0.8, 1.2))
    transform = to_transform(np.diag([scale, scale, scale, 1.0]))
    lps = np.array([-1.0, -1.0, 1.0])
    transform.SetCenter((lps * centre).tolist())
    transform.SetTranslation((lps * (CENTRE_MM - centre)).tolist())
    return transform


def _improve(transform: Any, fixed: Any, moving: Any, mask: Any, *, shrink: int, step: float, steps: int) -> None:
    """Correlate scan and template under an affine, in place."""
    method = simpleitk().ImageRegistrationMethod()
    method.SetMetricAsCorrelation()
    method.SetMetricFixedMask(mask)
    method.SetInterpolator(simpleitk().sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(step, 0.005, steps)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([shrink])
    method.SetSmoothingSigmasPerLevel([4.0 if shrink > 1 else 0.0])
    method.SetNumberOfThreads(1)
    method.SetInitialTransform(transform, True)
    method.Execute(fixed, moving)


def cases(data: Path) -> Iterator[tuple[str, Volume, np.ndarray]]:
    """Every FLAIR, T1w and T2w whose visit has a brain mask: name, scan, true mask on the scan's grid.

    A mask in the common space is carried by the FLAIR's transform; T1w and T2w have none of their own and are taken to
    lie where the FLAIR of their visit lies.
    """
    for path in sorted(data.glob("sub-*/**/anat/*.nii.gz")):
        stem, suffix = path.name.removesuffix(".nii.gz").rsplit("_", 1)
        if suffix not in ("FLAIR", "T1w", "T2w"):
            continue
        folder = data / "derivatives" / "labels" / path.parent.relative_to(data)
        masks = sorted(folder.glob(f"{stem}_space-*_desc-brain_mask.nii.gz"))
        if not masks:
            continue
        transform = folder / f"{stem}_from-FLAIR_to-common_mode-image_xfm.txt"
        mask_from_scan = np.linalg.inv(read_itk(transform)) if "_space-common_" in masks[0].name else np.eye(4)
        native = load(path)
        yield f"{stem}_{suffix}", native, resample(load(masks[0]), grid_of(native), mask_from_scan, Interpolation.MASK).data


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Overlap of two masks: 2 |a and b| / (|a| + |b|)."""
    return 2.0 * float((a & b).sum()) / float(a.sum() + b.sum())


def score(find: Callable[[Volume], Volume], native: Volume, truth: np.ndarray) -> tuple[float, float]:
    """Dice (0 where nothing was found) and seconds."""
    start = time.perf_counter()
    try:
        found = find(native).data
    except BrainExtractionFailed as error:
        print(error, file=sys.stderr)
        return 0.0, time.perf_counter() - start
    return dice(found, truth), time.perf_counter() - start


def main() -> int:
    """Print a row per scan, and the mean and worst per suffix."""
    parser = argparse.ArgumentParser(description="Dice of the builtin brain extraction and of a template.")
    parser.add_argument("data", type=Path)
    rows = []
    print("| scan | builtin | template | builtin, s | template, s |\n|---|---|---|---|---|")
    for name, native, truth in cases(parser.parse_args().data):
        (builtin, builtin_s), (by_template, template_s) = score(find_brain, native, truth), score(find_by_template, native, truth)
        print(f"| {name} | {builtin:.3f} | {by_template:.3f} | {builtin_s:.1f} | {template_s:.1f} |", flush=True)
        rows.append((name.rsplit("_", 1)[1], builtin, by_template))
    for suffix in sorted({row[0] for row in rows}):
        values = np.array([row[1:] for row in rows if row[0] == suffix])
        print(f"| **{suffix}, mean of {len(values)}** | {values[:, 0].mean():.3f} | {values[:, 1].mean():.3f} | | |")
        print(f"| **{suffix}, worst** | {values[:, 0].min():.3f} | {values[:, 1].min():.3f} | | |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
