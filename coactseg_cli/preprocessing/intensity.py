"""Intensities of a volume inside a brain mask; nothing here moves a voxel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from coactseg_cli.errors import BrainExtractionFailed
from coactseg_cli.volumes import Volume


@dataclass(frozen=True, slots=True)
class Normalized:
    """A z-scored volume and the numbers that were used."""

    volume: Volume  # zero mean, unit variance inside the mask
    mean: float  # in the scan's own unit
    sd: float


def zscore(volume: Volume, mask: np.ndarray, keep: np.ndarray | None = None) -> Normalized:
    """Zero mean and unit variance over `mask`, zero outside `keep`.

    Args:
        volume: (X, Y, Z).
        mask: (X, Y, Z) bool, the voxels that mean and standard deviation are taken from.
        keep: (X, Y, Z) bool, the voxels that keep a value; None: `mask`.

    Raises: BrainExtractionFailed where the mask is empty or the brain is constant.
    """
    values = volume.data[mask].astype(np.float64)
    mean, sd = (float(values.mean()), float(values.std())) if values.size else (0.0, 0.0)
    if values.size == 0 or sd <= 1e-6 * max(abs(mean), 1e-6):
        msg = f"the intensities inside the brain mask ({values.size} voxels) are constant (standard deviation {sd:g}); is the scan empty?"
        raise BrainExtractionFailed(msg)
    scaled = np.where(mask if keep is None else keep, (volume.data - np.float32(mean)) / np.float32(sd), np.float32(0.0))
    return Normalized(volume.like(scaled.astype(np.float32, copy=False)), mean, sd)
