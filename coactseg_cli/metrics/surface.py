"""Distances between the surfaces of two masks: measured once, then small functions read numbers off them.

A surface voxel is a mask voxel with at least one of its six face neighbours outside the mask or outside the image. Each surface voxel
of one mask is given the distance from its centre to the nearest surface voxel centre of the other. The nearest ones are looked up in a
k-d tree of the surface voxels: exact in double precision, and independent of the size of the image (lesions are small, heads are not).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from coactseg_cli.metrics.surfels import Surfels
from coactseg_cli.metrics.voxels import surface_places, voxels_of

NSD_TOLERANCE_MM = 1.0
ROUNDING = 1e-6  # relative: a distance of one voxel of 1 mm from a single-precision header still counts as within 1 mm


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceDistances:
    """For every surface voxel the distance to the other surface, in the unit of the spacing.

    An array is empty where its own mask is, and infinite where only the other mask is.
    """

    predicted_to_reference: np.ndarray  # (n,) float64
    reference_to_predicted: np.ndarray  # (m,) float64

    @property
    def defined(self) -> bool:
        """Whether both masks have a surface."""
        return self.predicted_to_reference.size > 0 and self.reference_to_predicted.size > 0

    @property
    def pooled(self) -> np.ndarray:
        """Both directions together: (n + m,)."""
        return np.concatenate([self.predicted_to_reference, self.reference_to_predicted])


def surface_voxels(mask: np.ndarray) -> np.ndarray:
    """Voxel indices of the surface of a boolean (X, Y, Z) array: (n, 3) int64, n = 0 for an empty mask."""
    (voxels,) = voxels_of(mask)
    return voxels.indices(voxels.positions[surface_places(voxels)])


def measure(predicted: np.ndarray, reference: np.ndarray, spacing: tuple[float, float, float]) -> SurfaceDistances:
    """Distances between the surfaces of two boolean (X, Y, Z) arrays whose voxels have edges `spacing` ((1, 1, 1): in voxels)."""
    return between(surface_voxels(predicted), surface_voxels(reference), spacing)


def between(predicted: np.ndarray, reference: np.ndarray, spacing: tuple[float, float, float], limit: float = math.inf) -> SurfaceDistances:
    """Distances between two sets of voxel indices, (n, 3) and (m, 3); what lies `limit` or further away may be infinite."""
    return SurfaceDistances(_nearest(predicted, reference, spacing, limit), _nearest(reference, predicted, spacing, limit))


def _nearest(points: np.ndarray, targets: np.ndarray, spacing: tuple[float, float, float], limit: float) -> np.ndarray:
    if not len(targets):
        return np.full(len(points), np.inf)
    if not len(points):
        return np.zeros(0)
    distances, _ = cKDTree(targets * np.array(spacing)).query(points * np.array(spacing), distance_upper_bound=limit)
    return np.asarray(distances, dtype=np.float64)


def hausdorff(distances: SurfaceDistances) -> float:
    """Largest distance of both directions; NaN where a mask is empty."""
    return float(distances.pooled.max()) if distances.defined else math.nan


def hausdorff95(distances: SurfaceDistances) -> float:
    """HD95: the larger of the two directed 95th percentiles (Metrics Reloaded, MONAI); NaN where a mask is empty."""
    if not distances.defined:
        return math.nan
    return float(max(np.percentile(distances.predicted_to_reference, 95), np.percentile(distances.reference_to_predicted, 95)))


def hausdorff95_pooled(distances: SurfaceDistances) -> float:
    """95th percentile of both directions together (medpy, CoactSeg); NaN where a mask is empty."""
    return float(np.percentile(distances.pooled, 95)) if distances.defined else math.nan


def mean_symmetric(distances: SurfaceDistances) -> float:
    """ASSD: mean over the surface voxels of both masks; NaN where a mask is empty."""
    return float(distances.pooled.mean()) if distances.defined else math.nan


def mean_of_means(distances: SurfaceDistances) -> float:
    """MASD: mean of the two directed means; NaN where a mask is empty."""
    if not distances.defined:
        return math.nan
    return float((distances.predicted_to_reference.mean() + distances.reference_to_predicted.mean()) / 2)


def mean_predicted_to_reference(distances: SurfaceDistances) -> float:
    """ASD from the prediction to the reference: a missed lesion does not raise it; NaN where a mask is empty."""
    return float(distances.predicted_to_reference.mean()) if distances.defined else math.nan


def mean_reference_to_predicted(distances: SurfaceDistances) -> float:
    """ASD from the reference to the prediction: a false lesion does not raise it; NaN where a mask is empty."""
    return float(distances.reference_to_predicted.mean()) if distances.defined else math.nan


def larger_mean(distances: SurfaceDistances) -> float:
    """Larger of the two directed means (Anima's ContourMeanDistance); NaN where a mask is empty."""
    return max(mean_predicted_to_reference(distances), mean_reference_to_predicted(distances))


def normalised_surface_dice(distances: SurfaceDistances, tolerance: float) -> float:
    """Share of the surface voxels of both masks within `tolerance` of the other; 0 for a miss, NaN without a reference."""
    if not distances.reference_to_predicted.size:
        return math.nan
    pooled = distances.pooled
    return float(np.count_nonzero(pooled <= tolerance * (1 + ROUNDING)) / pooled.size)


def area_within(predicted: Surfels, reference: Surfels, spacing_mm: tuple[float, float, float], tolerance: float) -> float:
    """NSD that weighs each surface element by its area; 0 for a miss, NaN without a reference.

    Reference: Nikolov et al. 2021, J Med Internet Res 23:e26151, surface Dice at a tolerance.
    """
    if not reference.areas.size:
        return math.nan
    limit = tolerance * (1 + ROUNDING)
    distances = between(predicted.indices, reference.indices, spacing_mm, 2 * limit)
    near = (
        predicted.areas[distances.predicted_to_reference <= limit].sum() + reference.areas[distances.reference_to_predicted <= limit].sum()
    )
    return float(near / (predicted.areas.sum() + reference.areas.sum()))
