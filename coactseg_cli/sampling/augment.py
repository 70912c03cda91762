"""Random changes of patches: first all random numbers are drawn, then pure functions apply them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from coactseg_cli.sampling.patches import Patch


@dataclass(frozen=True, slots=True)
class Orientation:
    """A permutation of the axes followed by flips."""

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]


@dataclass(frozen=True, slots=True, eq=False)
class Acquisition:
    """How one visit was scanned; each visit draws its own. Intensities are z-scores."""

    gain: float  # contrast scale
    offset: float  # SD
    gamma: float  # contrast curve, 1 is none
    noise_sd: float  # SD
    noise_seed: int
    blur_axis: int  # 0, 1, 2: slice direction
    blur_sigma: float  # voxels; through-slice partial volume
    shift: tuple[float, float, float]  # voxels; residual misregistration
    bias: np.ndarray  # (4, 4, 4) control points of a smooth multiplicative field, around 1


def draw_orientation(rng: np.random.Generator) -> Orientation:
    """All 48 orientations of a cube are equally likely (Wu et al. 2023: random flip and rotation)."""
    x, y, z = (int(i) for i in rng.permutation(3))
    a, b, c = (bool(i) for i in rng.integers(0, 2, 3))
    return Orientation((x, y, z), (a, b, c))


def draw_acquisition(rng: np.random.Generator, strength: float = 1.0) -> Acquisition:
    """A plausible scanner for one visit; `strength` 0 changes nothing."""
    x, y, z = (float(v) for v in rng.normal(0.0, 0.3, 3) * strength)
    return Acquisition(
        gain=float(np.exp(rng.normal(0.0, 0.12) * strength)),
        offset=float(rng.normal(0.0, 0.12) * strength),
        gamma=float(np.exp(rng.normal(0.0, 0.1) * strength)),
        noise_sd=float(rng.uniform(0.0, 0.2) * strength * (rng.random() < 0.7)),
        noise_seed=int(rng.integers(2**31)),
        blur_axis=int(rng.integers(3)),
        blur_sigma=float(rng.uniform(0.3, 1.3) * strength * (rng.random() < 0.5)),
        shift=(x, y, z),
        bias=1.0 + strength * rng.normal(0.0, 0.06, (4, 4, 4)),
    )


def turn(array: np.ndarray, how: Orientation) -> np.ndarray:
    """Permute and flip the axes of a cube-shaped (X, Y, Z) array."""
    turned = array.transpose(how.axes)
    return turned[tuple(slice(None, None, -1) if f else slice(None) for f in how.flips)]


def orient(patch: Patch, how: Orientation) -> Patch:
    """Turn every array of a patch alike; edges of different lengths are only flipped."""
    if len(set(patch.baseline.shape)) > 1:
        how = Orientation((0, 1, 2), how.flips)
    names = ("baseline", "followup", "brain", "all_baseline", "all_followup", "new")
    arrays = {n: getattr(patch, n) for n in names}
    return patch.with_(**{n: None if a is None else turn(a, how) for n, a in arrays.items()})


def scan(image: np.ndarray, brain: np.ndarray, how: Acquisition) -> np.ndarray:
    """Render a z-scored image (X, Y, Z) as another acquisition would show it; zero outside the brain."""
    out = image
    if any(abs(s) > 0.02 for s in how.shift):
        out = ndimage.shift(out, how.shift, order=1, mode="nearest", prefilter=False)
    if how.blur_sigma > 0.05:
        out = ndimage.gaussian_filter1d(out, how.blur_sigma, axis=how.blur_axis)
    if abs(how.gamma - 1.0) > 1e-3:
        positive = np.clip((out + 4.0) / 8.0, 0.0, None)
        out = positive**how.gamma * 8.0 - 4.0
    zoom = [n / 4 for n in image.shape]
    field = ndimage.zoom(how.bias, zoom, order=1, mode="nearest", grid_mode=True)
    out = ((out + 4.0) * field - 4.0) * how.gain + how.offset
    if how.noise_sd > 0:
        noise = np.random.default_rng(how.noise_seed).standard_normal(image.shape, dtype=np.float32)
        out = out + how.noise_sd * noise
    return np.where(brain, out, 0.0).astype(np.float32)


def acquire(patch: Patch, baseline: Acquisition, followup: Acquisition) -> Patch:
    """Render both visits; a single scan is rendered once and stays (x, x)."""
    first = scan(patch.baseline, patch.brain, baseline)
    second = scan(patch.followup, patch.brain, followup) if patch.is_pair else first
    return patch.with_(baseline=first, followup=second)
