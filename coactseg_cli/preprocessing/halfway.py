"""The mean of rigid transforms: the space that lies halfway between the visits of a participant. Pure numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import expm, logm

_TOLERANCE = 1e-12
_MAX_ITERATIONS = 100


def halfway(visits_from_first: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Maps from the halfway space to each visit.

    The halfway space H solves `sum_i log(visit_i_from_H) = 0`: no visit is favoured, and since the mean is taken in the
    group (not in coordinates) neither the order of the visits nor the origins of their coordinates matter. Two visits
    give the exact square root of the transform between them.

    Args:
        visits_from_first: per visit the (4, 4) rigid map, RAS mm, of points of the first visit to points of this visit;
            the first is the identity.

    Returns: per visit the (4, 4) map of points of the halfway space to points of this visit.

    Reference: Reuter et al. 2012, NeuroImage 61, 1402-1418, section "Unbiased template"; Pennec and Arsigny 2013
    (exponential barycentres).
    """
    first_from_half = _inverse(mean_rigid(visits_from_first))
    return [orthonormal(visit @ first_from_half) for visit in visits_from_first]


def mean_rigid(matrices: Sequence[np.ndarray]) -> np.ndarray:
    """The rigid (4, 4) mean of rigid matrices: the fixed point of M = M exp(mean_i log(M^-1 T_i))."""
    mean = np.asarray(matrices[0], dtype=np.float64)
    for _ in range(_MAX_ITERATIONS):
        step = np.mean([log_rigid(_inverse(mean) @ m) for m in matrices], axis=0)
        mean = orthonormal(mean @ expm(step))
        if np.abs(step).max() < _TOLERANCE:
            break
    return mean


def log_rigid(matrix: np.ndarray) -> np.ndarray:
    """Matrix logarithm (4, 4) of a rigid matrix whose rotation is below 180 degrees."""
    return np.real(logm(matrix)) if np.abs(matrix - np.eye(4)).max() > _TOLERANCE else matrix - np.eye(4)


def orthonormal(matrix: np.ndarray) -> np.ndarray:
    """The same (4, 4) with its 3 x 3 part replaced by the nearest rotation."""
    u, _, vt = np.linalg.svd(matrix[:3, :3])
    clean = matrix.copy()
    clean[:3, :3] = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
    clean[3] = [0.0, 0.0, 0.0, 1.0]
    return clean


def _inverse(matrix: np.ndarray) -> np.ndarray:
    """Inverse of a rigid (4, 4)."""
    inverse = np.eye(4)
    inverse[:3, :3] = matrix[:3, :3].T
    inverse[:3, 3] = -matrix[:3, :3].T @ matrix[:3, 3]
    return inverse
