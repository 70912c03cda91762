"""What each way of finding new lesions marks at each of its thresholds: connected pieces, and which true lesions they touch.

Everything that is reported later (sensitivity, false lesions, Dice, at any threshold and any size limit) is counted from these rows;
the maps themselves are not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from coactseg_cli.components import label, min_voxels, peaks_of, sizes
from coactseg_cli.targets import IGNORE
from coactseg_cli.volumes import box_of

SMALLEST_MM3 = 3.0  # pieces that are not larger are never counted, as in segment
PROBABILITIES = (0.01, 0.02, *(round(0.05 * k, 2) for k in range(1, 20)), 0.97, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999)
PEAKS = (0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9997, 0.9998, 0.9999)  # that a lesion may have to reach somewhere
PEAKS_AT = tuple(round(0.1 * k, 1) for k in range(1, 10))  # thresholds that are tried with every peak
DIFFERENCES = tuple(round(2.0 + 0.5 * k, 1) for k in range(25))  # robust SD of the difference image
SMOOTHING_MM = (0.7, 1.0, 1.5)  # of the difference image; each is a way of its own, so that the baseline may choose
RIM_VOXELS = 3  # of the brain that the difference image leaves out: there motion makes the largest differences


@dataclass(frozen=True, slots=True)
class Method:
    """One way to a mask: a threshold in, a boolean (X, Y, Z) array out."""

    name: str
    thresholds: tuple[float, ...]
    mask: Callable[[float], np.ndarray]
    probability: np.ndarray | None = None  # (X, Y, Z) where the mask is a map at a threshold: pieces have a peak then


@dataclass(frozen=True, slots=True)
class Piece:
    """One connected piece of a mask (6-connected)."""

    threshold: float
    volume_mm3: float  # without what nobody knows
    hits: Mapping[int, float]  # number of each true lesion that it touches, and the shared volume in mm3
    unknown_mm3: float = 0.0  # of it lies where the label says nothing
    peak: float = 0.0  # the highest probability in it; 0 where the method has none


def by_network(name: str, probability: np.ndarray, brain: np.ndarray) -> Method:
    """A probability map, thresholded."""
    return Method(name, PROBABILITIES, lambda t: np.asarray((probability >= t) & brain), probability)


def by_subtraction(baseline: np.ndarray, followup: np.ndarray, brain: np.ndarray) -> Method:
    """The all-lesion mask of the follow-up without that of the baseline, both from single-visit probability maps at one threshold."""
    return Method("subtraction", PROBABILITIES, lambda t: np.asarray((followup >= t) & (baseline < t) & brain))


def by_difference(baseline: np.ndarray, followup: np.ndarray, brain: np.ndarray, smoothing_mm: float) -> Method:
    """Follow-up minus baseline, smoothed in the brain, divided by its robust SD (1.4826 MAD), without the brain's rim; voxels of 1 mm."""
    inner = ndimage.binary_erosion(brain, iterations=RIM_VOXELS)
    weight = ndimage.gaussian_filter(brain.astype(np.float32), smoothing_mm)
    smooth = ndimage.gaussian_filter(np.where(brain, followup - baseline, 0.0).astype(np.float32), smoothing_mm)
    smooth /= np.maximum(weight, 1e-3)
    middle = float(np.median(smooth[brain]))
    sd = 1.4826 * float(np.median(abs(smooth[brain] - middle)))
    score = np.where(inner, (smooth - middle) / max(sd, 1e-6), 0.0)
    return Method(f"difference, {smoothing_mm:g} mm", DIFFERENCES, lambda t: np.asarray(score >= t))


def pieces_of(method: Method, reference: np.ndarray, voxel_mm3: float = 1.0) -> list[Piece]:
    """The pieces above 3 mm3 at every threshold of a method.

    Args:
        method: what makes the masks.
        reference: (X, Y, Z) integers: 0 nothing, IGNORE nobody knows, else the number of a true lesion.
        voxel_mm3: volume of a voxel.
    """
    return [piece for t in method.thresholds for piece in _pieces(method.mask(t), reference, t, voxel_mm3, method.probability)]


def _pieces(mask: np.ndarray, reference: np.ndarray, threshold: float, voxel_mm3: float, probability: np.ndarray | None) -> list[Piece]:
    if not mask.any():
        return []
    box = box_of(mask).slices
    labels, n = label(mask[box])
    voxels = sizes(labels, n)
    large = np.flatnonzero(voxels >= min_voxels(voxel_mm3, SMALLEST_MM3)) + 1
    marked = (labels > 0) & (reference[box] != 0)
    pairs, counts = np.unique(np.stack([labels[marked], reference[box][marked].astype(np.int64)]), axis=1, return_counts=True)
    shared: dict[int, dict[int, float]] = {}
    for piece, number, count in zip(*pairs.tolist(), counts.tolist(), strict=True):
        shared.setdefault(piece, {})[number] = count * voxel_mm3
    peaks = np.zeros(n) if probability is None else peaks_of(labels, n, probability[box])
    found = []
    for i in large.tolist():
        hits = shared.get(i, {})
        unknown = hits.pop(IGNORE, 0.0)
        found.append(Piece(threshold, float(voxels[i - 1]) * voxel_mm3 - unknown, hits, unknown, float(peaks[i - 1])))
    return found


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many voxels of a brain have which log-odds, and how many of them are lesion: (BINS,) each; enough for any temperature."""

    voxels: Sequence[int]
    lesion: Sequence[int]


LOGIT_EDGE, BINS = 12.0, 96  # log-odds from -12 to 12 in steps of 0.25; what lies beyond counts in the last bin


def histogram(probability: np.ndarray, reference: np.ndarray, brain: np.ndarray) -> Histogram:
    """Count the voxels of the brain whose truth is known. `reference`: as int8, 1 lesion, IGNORE nobody knows."""
    known = brain & (reference != IGNORE)
    p = np.clip(probability[known].astype(np.float64), 1e-9, 1 - 1e-9)
    place = np.clip((np.log(p / (1 - p)) + LOGIT_EDGE) / (2 * LOGIT_EDGE) * BINS, 0, BINS - 1).astype(np.int64)
    truth = reference[known] > 0
    return Histogram(np.bincount(place, minlength=BINS).tolist(), np.bincount(place[truth], minlength=BINS).tolist())


def logits() -> np.ndarray:
    """The middle of each bin: (BINS,)."""
    return (np.arange(BINS) + 0.5) / BINS * 2 * LOGIT_EDGE - LOGIT_EDGE
