"""What a scanner does along one axis, as small matrices: slice profile, interpolation between slices, blur, ringing.

Every step is linear, so it is one matrix product along that axis, on any device:

    voxels (n) --slice_profile (m, n)--> slices (m) --interpolation (n, m)--> voxels (n)
"""

from __future__ import annotations

import numpy as np

KEYS_A = -0.5  # cubic convolution of third order (Keys 1981)
FWHM = 2.3548  # full width at half maximum of a Gaussian, in standard deviations


def slice_centres(n: int, thickness: float, phase: float) -> np.ndarray:
    """Places of contiguous slices that cover n voxels: (m,), in voxels.

    Args:
        n: voxels along the axis, at 0, 1, ..., n - 1.
        thickness: slice thickness in voxels, above 0.
        phase: 0 to 1, where in the first slice voxel 0 lies.
    """
    first = (0.5 - phase) * thickness
    return first + thickness * np.arange(int(np.ceil((n - 0.5 - first) / thickness + 0.5)))


def slice_profile(n: int, centres: np.ndarray, thickness: float, *, gaussian: bool) -> np.ndarray:
    """Through-slice averaging: (m, n), rows sum to 1. A box of the thickness, or a Gaussian whose width at half height it is."""
    distance = np.abs(np.arange(n) - centres[:, None])
    if gaussian:
        weights = np.exp(-0.5 * (distance * FWHM / thickness) ** 2)
    else:
        weights = np.clip((thickness + 1.0) / 2.0 - distance, 0.0, min(1.0, thickness))
    total = weights.sum(axis=1, keepdims=True)
    nearest = distance == distance.min(axis=1, keepdims=True)  # a slice beyond the border shows the border
    return np.where(total > 1e-6, weights / np.maximum(total, 1e-6), nearest / nearest.sum(axis=1, keepdims=True))


def interpolation(n: int, centres: np.ndarray, thickness: float) -> np.ndarray:
    """Slices back to voxels by cubic convolution, as a resampling program does it: (n, m), rows sum to 1."""
    d = np.abs(np.arange(n)[:, None] - centres) / thickness
    near = (KEYS_A + 2.0) * d**3 - (KEYS_A + 3.0) * d**2 + 1.0
    far = KEYS_A * (d**3 - 5.0 * d**2 + 8.0 * d - 4.0)
    weights = np.where(d < 1.0, near, np.where(d < 2.0, far, 0.0))
    return _rows_to_one(weights)


def blur(n: int, sigma: float) -> np.ndarray:
    """Gaussian blur of `sigma` voxels: (n, n), rows sum to 1."""
    distance = np.arange(n) - np.arange(n)[:, None]
    return _rows_to_one(np.exp(-0.5 * (distance / max(sigma, 1e-3)) ** 2))


def ringing(n: int, amount: float, cutoff: float) -> np.ndarray:
    """Gibbs ringing: a share `amount` of the image is cut off at `cutoff` of the Nyquist frequency. (n, n), rows sum to 1."""
    distance = np.arange(n) - np.arange(n)[:, None]
    return (1.0 - amount) * np.eye(n) + amount * _rows_to_one(np.sinc(cutoff * distance))


def _rows_to_one(weights: np.ndarray) -> np.ndarray:
    scaled: np.ndarray = weights / weights.sum(axis=1, keepdims=True)
    return scaled
