"""Distances between single lesions: the surface of each component of two masks, and how far matched pairs lie apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from coactseg_cli.metrics.surface import between, mean_of_means


@dataclass(frozen=True, slots=True, eq=False)
class LesionSurfaces:
    """The surface voxels of a mask, lesion by lesion."""

    indices: np.ndarray  # (m, 3), sorted by lesion
    first: np.ndarray  # (M + 1,) where each lesion begins

    def of(self, lesion: int) -> np.ndarray:
        """Surface voxels of one lesion: (n, 3)."""
        return self.indices[self.first[lesion] : self.first[lesion + 1]]


def by_lesion(indices: np.ndarray, lesions: np.ndarray, n: int) -> LesionSurfaces:
    """Sort (m, 3) surface voxels by the lesion, 0 to n - 1, that each belongs to (26-connected lesions share no surface voxel)."""
    order = np.argsort(lesions, kind="stable")
    return LesionSurfaces(indices[order], np.searchsorted(lesions[order], np.arange(n + 1)))


def distance_mm(a: np.ndarray, b: np.ndarray, spacing_mm: tuple[float, float, float]) -> float:
    """Mean of the two directed mean distances of two lesions from their surface voxels (panoptica's ASSD is this MASD)."""
    return mean_of_means(between(a, b, spacing_mm))
