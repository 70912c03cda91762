"""One acquisition of a head: motion, slices, bias, contrast curve, gain, noise, each drawn first and then applied.

    anatomy --move--> head as it lies --slices--> thick slices --bias, curve, gain, noise--> --to 1 mm--> z-score

What prep undoes (large motion, most of the bias, gain) is drawn as what it leaves behind. Written for this benchmark:
it shares no code with what the training images are rendered by.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

SHIFT_MM = 0.3  # SD per axis, cut at MOST_MM: what registration leaves
ROTATION_DEG = 0.25  # SD per axis
MOST_MM = 1.0
BLUR_MM = (0.0, 0.45)  # in-plane SD of the point spread
THICKNESS_MM = (1.0, 4.0)
THIN_SHARE = 0.4  # of acquisitions whose slices are no thicker than the anatomy's
BIAS = 0.02  # SD of each of the slow waves, as a share of the signal: what N4 leaves
NOISE = (0.03, 0.15)  # SD of the brain's SD
AIR = -4.0  # z-score at which a FLAIR's signal is about zero
GAMMA = 0.06  # SD of the log


@dataclass(frozen=True, slots=True, eq=False)
class Scanner:
    """What one acquisition does to the anatomy."""

    shift_mm: np.ndarray  # (3,)
    rotation_deg: np.ndarray  # (3,) about the three axes
    blur_mm: float
    slice_axis: int | None  # None: no thick slices
    thickness_mm: float
    phase: float  # of the first slice, as a share of the thickness
    bias: np.ndarray  # (3, 3) per axis the weights of half a wave, a wave, and one and a half
    noise: float  # SD
    gamma: float
    gain: float  # factor on the signal; the z-score takes it out again
    seed: int  # of the noise


def draw_scanner(rng: np.random.Generator, slice_axis: int | None) -> Scanner:
    """An acquisition. `slice_axis`: of an anatomy that has thick slices already; None: any axis may be the one."""
    thin = rng.random() < THIN_SHARE
    axis = int(rng.integers(3)) if slice_axis is None else slice_axis
    return Scanner(
        shift_mm=np.clip(rng.normal(0, SHIFT_MM, 3), -MOST_MM, MOST_MM),
        rotation_deg=np.clip(rng.normal(0, ROTATION_DEG, 3), -MOST_MM, MOST_MM),
        blur_mm=float(rng.uniform(*BLUR_MM)),
        slice_axis=None if thin else axis,
        thickness_mm=float(rng.uniform(*THICKNESS_MM)),
        phase=float(rng.random()),
        bias=rng.normal(0, BIAS, (3, 3)),
        noise=float(rng.uniform(*NOISE)),
        gamma=float(np.exp(rng.normal(0, GAMMA))),
        gain=float(np.exp(rng.normal(0, 0.3))),
        seed=int(rng.integers(2**31)),
    )


def render(anatomy: np.ndarray, brain: np.ndarray, scanner: Scanner) -> tuple[np.ndarray, np.ndarray]:
    """The scan that this acquisition gives, prepared, and its brain mask.

    Args:
        anatomy: (X, Y, Z) float32, z-score inside the brain, voxels of 1 mm.
        brain: (X, Y, Z) bool.
        scanner: what happens to it.

    Returns: (X, Y, Z) float32, zero mean and unit variance inside its brain and zero outside; (X, Y, Z) bool.
    """
    inside = move(brain.astype(np.float32), scanner, order=1) > 0.5
    signal = np.maximum(to_slices(move(np.where(brain, anatomy, AIR), scanner, cval=AIR), scanner) - AIR, 0.0)
    signal = scanner.gain * (signal * _on_slices(bias_field(anatomy.shape, scanner), scanner) / -AIR) ** scanner.gamma
    noise = np.random.default_rng(scanner.seed).standard_normal(signal.shape, dtype=np.float32)
    scan = from_slices(signal + scanner.noise * _tissue_sd(signal) * noise, scanner, anatomy.shape)
    values = scan[inside]
    return np.where(inside, (scan - values.mean()) / values.std(), 0.0).astype(np.float32), inside


def _tissue_sd(signal: np.ndarray) -> float:
    """SD of what is clearly not air."""
    return float(signal[signal > 0.3 * np.percentile(signal, 95)].std())


def carry(share: np.ndarray, scanner: Scanner) -> np.ndarray:
    """What the geometry alone makes of a lesion's share of each voxel (motion, blur, slices); linear, so amounts add up."""
    return from_slices(to_slices(move(share, scanner, order=1), scanner), scanner, share.shape)


def move(volume: np.ndarray, scanner: Scanner, order: int = 3, cval: float = 0.0) -> np.ndarray:
    """Turn about the middle and shift, (X, Y, Z) float32."""
    matrix = rotation(scanner.rotation_deg)
    if not scanner.shift_mm.any() and np.allclose(matrix, np.eye(3)):
        return volume.astype(np.float32, copy=False)
    middle = (np.array(volume.shape) - 1) / 2
    offset = middle - matrix @ (middle + scanner.shift_mm)
    return np.asarray(ndimage.affine_transform(volume.astype(np.float32, copy=False), matrix, offset, order=order, cval=cval))


def rotation(degrees: np.ndarray) -> np.ndarray:
    """Rotations about the three axes, one after the other: (3, 3)."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        i, j = [a for a in range(3) if a != axis]
        turn = np.eye(3)
        turn[[i, i, j, j], [i, j, i, j]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        matrix = matrix @ turn
    return matrix


def to_slices(volume: np.ndarray, scanner: Scanner) -> np.ndarray:
    """Blur in plane and average over each slice's thickness: the slice axis becomes as long as there are slices."""
    sigma = [0.0 if axis == scanner.slice_axis else scanner.blur_mm for axis in range(3)]
    return _on_slices(ndimage.gaussian_filter(volume, sigma, truncate=3.0) if scanner.blur_mm > 0.1 else volume, scanner)


def _on_slices(volume: np.ndarray, scanner: Scanner) -> np.ndarray:
    if scanner.slice_axis is None:
        return volume
    return _along(averaging(volume.shape[scanner.slice_axis], scanner.thickness_mm, scanner.phase), volume, scanner.slice_axis)


def from_slices(slices: np.ndarray, scanner: Scanner, shape: tuple[int, ...]) -> np.ndarray:
    """Cubic splines through the slices, read at every millimetre: undoes the length of to_slices, not its blur."""
    if scanner.slice_axis is None:
        return slices
    n = shape[scanner.slice_axis]
    return _along(interpolation(n, slices.shape[scanner.slice_axis], scanner), slices, scanner.slice_axis)


def _along(matrix: np.ndarray, volume: np.ndarray, axis: int) -> np.ndarray:
    """Apply a matrix along one axis."""
    return np.ascontiguousarray(np.moveaxis(np.tensordot(matrix.astype(np.float32), volume, axes=(1, axis)), 0, axis))


def averaging(n: int, thickness_mm: float, phase: float) -> np.ndarray:
    """Weights (slices, n) that average n voxels of 1 mm over slices that touch each other; a row adds up to 1."""
    starts = _starts(n, thickness_mm, phase)
    edges = np.arange(n)
    upper, lower = np.minimum(edges + 1, starts[:, None] + thickness_mm), np.maximum(edges, starts[:, None])
    weights = np.clip(upper - lower, 0.0, None)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _starts(n: int, thickness_mm: float, phase: float) -> np.ndarray:
    """Where each slice begins, in voxels; the first and the last may reach out of the volume."""
    first = -phase * thickness_mm
    return first + thickness_mm * np.arange(int(np.ceil((n - first) / thickness_mm)))


def interpolation(n: int, n_slices: int, scanner: Scanner) -> np.ndarray:
    """Weights (n, slices) of a cubic spline through the slices' middles, read at the middles of n voxels."""
    middles = (np.arange(n) + 0.5 + scanner.phase * scanner.thickness_mm) / scanner.thickness_mm - 0.5
    columns = [ndimage.map_coordinates(unit, [middles], order=3, mode="nearest") for unit in np.eye(n_slices)]
    return np.stack(columns, axis=1)


def bias_field(shape: tuple[int, ...], scanner: Scanner) -> np.ndarray:
    """A product of slow waves along the axes, about 1: (X, Y, Z) float32."""
    field = np.ones(shape, np.float32)
    for axis, n in enumerate(shape):
        place = (np.arange(n) + 0.5) / n
        wave = 1 + sum(w * np.cos(np.pi * (k + 1) * place) for k, w in enumerate(scanner.bias[axis]))
        field *= wave.astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
    return field
