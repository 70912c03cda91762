"""Connected components, their sizes and centres: one connectivity everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import cc3d
import edt
import numpy as np
from scipy import ndimage

CONNECTIVITY = 6  # face neighbours, as in the MSSEG challenges (docs/metrics.md)


def label(mask: np.ndarray, connectivity: int = CONNECTIVITY) -> tuple[np.ndarray, int]:
    """Number the components of a boolean (X, Y, Z) array 1..n in raster order. Returns: labels (uint32), n."""
    if connectivity not in (6, 18, 26):
        msg = f"connectivity must be 6, 18 or 26; got {connectivity}"
        raise ValueError(msg)
    labels, n = cc3d.connected_components(np.asfortranarray(mask), connectivity=cast("Literal[6, 18, 26]", connectivity), return_N=True)
    return labels, int(n)


def sizes(labels: np.ndarray, n: int) -> np.ndarray:
    """Voxels per component: (n,) int64."""
    return np.bincount(labels.ravel(order="K"), minlength=n + 1)[1 : n + 1]


def depth_mm(mask: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Distance of each voxel of a mask to the nearest voxel outside, between centres: (X, Y, Z) float32, infinite where all are in it."""
    depth: np.ndarray = edt.edt(np.ascontiguousarray(mask), anisotropy=tuple(spacing_mm))
    return depth


def remove_small(mask: np.ndarray, voxel_mm3: float, min_mm3: float, connectivity: int = CONNECTIVITY) -> np.ndarray:
    """Drop components whose volume is not strictly above `min_mm3` (the MSSEG rule: 3 mm3 itself is dropped)."""
    if min_mm3 <= 0:
        return mask.astype(bool)
    labels, n = label(mask, connectivity)
    keep = np.concatenate([[False], sizes(labels, n) >= min_voxels(voxel_mm3, min_mm3)])
    kept: np.ndarray = keep[labels]
    return kept


def peaks_of(labels: np.ndarray, n: int, probability: np.ndarray) -> np.ndarray:
    """Highest probability in each component: (n,) float."""
    if not n:
        return np.zeros(0, probability.dtype)
    inside = labels > 0  # few voxels of many, and ndimage sorts all that it is given
    return np.asarray(ndimage.maximum(probability[inside], labels[inside], np.arange(1, n + 1)))


def keep_confident(probability: np.ndarray, threshold: float, peak: float | None) -> np.ndarray:
    """The map without the lesions that reach `peak` nowhere: (X, Y, Z), zero in each component of what is at the threshold or above.

    Hysteresis, as of edges in Canny 1986 (IEEE PAMI 8, 679-698): the outline follows the threshold, the peak decides whether to believe it.
    """
    if peak is None or peak <= threshold:
        return probability
    labels, n = label(probability >= threshold)
    doubtful = np.concatenate([[False], peaks_of(labels, n, probability) < peak])
    return np.where(doubtful[labels], np.zeros((), probability.dtype), probability)


def min_voxels(voxel_mm3: float, min_mm3: float) -> int:
    """Fewest voxels whose volume is strictly above `min_mm3`: floor(min / voxel) + 1, the division rounded at 1e-6."""
    return int(np.floor(round(min_mm3 / voxel_mm3, 6))) + 1
