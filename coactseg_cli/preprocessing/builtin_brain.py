"""The builtin brain extraction: thresholds and morphology, no download, the same answer every time.

How well it does, beside the template it was chosen over: docs/brain-extraction.md.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from coactseg_cli.components import depth_mm, label, sizes
from coactseg_cli.errors import BrainExtractionFailed
from coactseg_cli.preprocessing.resampling import Grid, Interpolation, grid_of, resample
from coactseg_cli.preprocessing.transforms import apply
from coactseg_cli.volumes import Volume, box_of, to_ras, uncrop

WORK_MM = 2.5  # the brain is found on this isotropic grid
PLAUSIBLE_ML = (300.0, 2500.0)
FULLEST_BOX = 0.85  # a brain fills about half of its bounding box; noise and blocks fill all of it
TISSUE = (0.6, 1.55)  # of the local level of brain tissue
BRIDGE_MM = 6.0  # what is thinner than twice this is cut: vessels, meninges and nerves between brain and head
REGROW_MM = BRIDGE_MM + 2.0  # how far the brain is grown back into tissue
SULCUS_MM = 8.0  # gaps up to twice this are fluid inside the brain
CEREBRUM_MM = 120.0  # from the top of the head to below the cerebrum
BRAIN_MM = 160.0  # from the top of the head to below the brain


def find_brain(native: Volume) -> Volume:
    """Find the brain in a head scan, in any orientation.

    Args:
        native: (X, Y, Z) a FLAIR, T1w or T2w with or without skull.

    Returns: (X, Y, Z) bool on the same grid: brain with the fluid in sulci and ventricles.

    Raises: BrainExtractionFailed where nothing plausible was found.
    """
    working = resample_to_work(native)
    found = find_on_grid(working)
    _require_plausible(found)
    return resample(working.like(found.astype(np.float32)), grid_of(native), np.eye(4), Interpolation.MASK)


def _require_plausible(found: np.ndarray) -> None:
    """Raises: BrainExtractionFailed where size or shape is no brain's."""
    least_ml, most_ml = PLAUSIBLE_ML
    volume_ml = float(found.sum()) * WORK_MM**3 / 1000
    if not least_ml <= volume_ml <= most_ml:
        raise BrainExtractionFailed(_failure(f"found {volume_ml:.0f} ml, expected {least_ml:.0f} to {most_ml:.0f} ml"))
    fullness = float(found[box_of(found).slices].mean())
    if fullness > FULLEST_BOX:
        raise BrainExtractionFailed(_failure(f"found a block (it fills {fullness:.0%} of its box), no brain"))


def _failure(found: str) -> str:
    return f"the builtin brain extraction {found}. Look at the scan; give a mask with --derivatives, or choose another --skull-strip."


def resample_to_work(native: Volume) -> Volume:
    """The scan on an isotropic RAS grid around its whole field of view."""
    ras = to_ras(native)
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in ras.shape], indexing="ij")).reshape(3, -1).T
    points = apply(ras.affine, corners)
    affine = np.diag([WORK_MM, WORK_MM, WORK_MM, 1.0])
    affine[:3, 3] = points.min(axis=0)
    x, y, z = (np.ceil((points.max(axis=0) - points.min(axis=0)) / WORK_MM - 1e-3).astype(int) + 1).tolist()
    blur = [max(WORK_MM / mm, 1.0) ** 2 - 1.0 for mm in ras.spacing_mm]
    smooth = ndimage.gaussian_filter(ras.data.astype(np.float32), [0.42 * b**0.5 for b in blur])
    return resample(ras.like(smooth), Grid((x, y, z), affine), np.eye(4), Interpolation.LINEAR)


def find_on_grid(working: Volume) -> np.ndarray:
    """The brain on the working grid: (X, Y, Z) bool. Raises: BrainExtractionFailed."""
    if float(working.data.max()) <= max(float(working.data.min()), 0.0):
        raise BrainExtractionFailed(_failure("found a scan without contrast"))
    intensity, foreground, head = find_head(working)
    if not head.any():
        raise BrainExtractionFailed(_failure("found no head"))
    box = box_of(head, margin=1)
    inner = _brain_in_head(intensity[box.slices], foreground[box.slices], head[box.slices])
    return uncrop(inner, box, working.shape)


def find_head(working: Volume) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clipped intensities (float), what is not background (bool) and the filled head (bool), each (X, Y, Z)."""
    intensity = np.clip(working.data, 0.0, float(np.percentile(working.data[working.data > 0], 99.8)))
    foreground = intensity > 0.6 * otsu(intensity[intensity > 0])
    head = largest(ndimage.binary_fill_holes(ndimage.binary_closing(foreground, iterations=2)))
    return intensity, foreground, head


def _brain_in_head(intensity: np.ndarray, foreground: np.ndarray, head: np.ndarray) -> np.ndarray:
    """Keep tissue, cut its bridges by an erosion, keep the largest piece near the centre, grow it back, close its sulci."""
    at = np.indices(head.shape)
    top = int(np.flatnonzero(head.any(axis=(0, 1)))[-1])
    centre = np.argwhere(head & (at[2] > top - CEREBRUM_MM / WORK_MM)).mean(axis=0)
    distance = WORK_MM * np.sqrt(sum((at[k] - centre[k]) ** 2 for k in range(3)))
    inside = intensity[(distance < 50) & foreground]
    if inside.size == 0:
        raise BrainExtractionFailed(_failure("found nothing bright in the middle of the head"))
    tissue = _like_brain(intensity, float(np.median(inside))) & (at[2] > top - BRAIN_MM / WORK_MM)
    labels, n = label(depth_mm(tissue, (WORK_MM,) * 3) > BRIDGE_MM)
    counts = np.bincount(labels[distance < 80], minlength=n + 1)[1:]
    if not counts.any():
        raise BrainExtractionFailed(_failure("found no compact tissue in the middle of the head"))
    core = labels == 1 + int(counts.argmax())
    brain = largest(dilate(core, REGROW_MM) & tissue)
    filled: np.ndarray = ndimage.binary_fill_holes(close(brain, SULCUS_MM))
    return filled


def _like_brain(intensity: np.ndarray, middle: float) -> np.ndarray:
    """Voxels within TISSUE of the local level of brain tissue, so that a bias field does not matter."""
    low, high = TISSUE
    tissue = (intensity > low * middle) & (intensity < high * middle)
    sigma = 25.0 / WORK_MM
    weight = ndimage.gaussian_filter(tissue.astype(np.float32), sigma)
    local = ndimage.gaussian_filter(np.where(tissue, intensity, 0).astype(np.float32), sigma) / np.maximum(weight, 0.02)
    kept: np.ndarray = (intensity > low * local) & (intensity < high * local) & (intensity > 0.3 * middle)
    return kept


def otsu(values: np.ndarray) -> float:
    """The threshold between two classes that are farthest apart (Otsu 1979), from 256 bins."""
    counts, edges = np.histogram(values, 256)
    centres = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1].astype(float)
    mass = np.cumsum(counts * centres)
    between = (mass[-1] * below / counts.sum() - mass[:-1]) ** 2 / np.maximum(below * (counts.sum() - below), 1.0)
    return float(centres[int(between.argmax())])


def largest(mask: np.ndarray) -> np.ndarray:
    """The largest component of a boolean array; empty stays empty."""
    labels, n = label(mask)
    if n == 0:
        return mask
    kept: np.ndarray = labels == 1 + int(sizes(labels, n).argmax())
    return kept


def dilate(mask: np.ndarray, radius_mm: float) -> np.ndarray:
    """Grow a mask on the working grid by a ball."""
    if not mask.any():
        return mask
    grown: np.ndarray = depth_mm(~mask, (WORK_MM,) * 3) <= radius_mm
    return grown


def close(mask: np.ndarray, radius_mm: float) -> np.ndarray:
    """Grow and shrink a mask on the working grid by a ball: narrow gaps are filled."""
    pad = int(radius_mm / WORK_MM) + 2
    grown = dilate(np.pad(mask, pad), radius_mm)
    shrunk = depth_mm(grown, (WORK_MM,) * 3) > radius_mm
    closed: np.ndarray = shrunk[pad:-pad, pad:-pad, pad:-pad] | mask
    return closed
