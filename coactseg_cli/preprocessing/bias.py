"""N4 bias field correction inside a brain mask; the same input gives the same bytes."""

from __future__ import annotations

import numpy as np

from coactseg_cli.preprocessing.itk import simpleitk, to_image, to_volume
from coactseg_cli.volumes import Volume, box_of, crop

FIT_MM = 4.0  # edge of the voxels that the field is fitted on
ITERATIONS = (50, 50, 50, 50)
CONVERGENCE = 1e-3
_MARGIN = 4  # voxels around the brain


def correct_bias(volume: Volume, mask: np.ndarray) -> Volume:
    """Divide a scan by the slow field that N4 finds inside the mask; outside the brain's box nothing changes.

    The field is scaled to a mean of one inside the mask, so that the scan keeps its unit.

    Args:
        volume: (X, Y, Z), values not negative inside the mask (what is negative is taken as 0).
        mask: (X, Y, Z) bool, not empty.

    Reference: Tustison et al. 2010, IEEE TMI 29, 1310-1320.
    """
    box = box_of(mask, _MARGIN)
    part, inside = crop(volume, box), mask[box.slices]
    field = _fit(Volume(np.maximum(part.data, 0.0), part.affine), inside)
    field /= field[inside].mean()
    corrected = volume.data.astype(np.float32, copy=True)
    corrected[box.slices] = part.data / field
    return volume.like(corrected)


def _fit(part: Volume, inside: np.ndarray) -> np.ndarray:
    """The multiplicative field on every voxel of the part, float32."""
    sitk = simpleitk()
    image, mask = to_image(part), sitk.Cast(to_image(part.like(inside)), sitk.sitkUInt8)
    factors = [shrink_factor(s, n) for s, n in zip(part.spacing_mm, part.shape, strict=True)]
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(ITERATIONS)
    n4.SetConvergenceThreshold(CONVERGENCE)
    n4.SetNumberOfThreads(1)
    n4.Execute(sitk.Shrink(image, factors), sitk.Shrink(mask, factors))
    field: np.ndarray = np.exp(to_volume(n4.GetLogBiasFieldAsImage(image)).data)
    return field


def shrink_factor(spacing_mm: float, n: int) -> int:
    """How many voxels of an axis of `n` become one: near FIT_MM, at least 8 voxels staying."""
    return int(max(1, min(round(FIT_MM / spacing_mm), n // 8)))
