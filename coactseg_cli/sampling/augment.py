"""Random changes of patches: first all random numbers are drawn, then pure functions apply them.

Patches are turned in numpy as they are cut; a batch is rendered in torch on the device that trains, each visit as a scanner of its
own would show it. docs/synthesis.md says where the ranges come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from coactseg_cli.sampling import profiles
from coactseg_cli.sampling.patches import Patch

Triple = tuple[float, float, float]

ZERO_SIGNAL = -4.0  # z-score of a voxel without signal: a brain's mean FLAIR is about four standard deviations above it
GAIN_SD, OFFSET_SD, GAMMA_SD = 0.12, 0.12, 0.1  # of log gain, z-score, log gamma
NOISE_SD, NOISE_SHARE = 0.2, 0.7  # largest noise, z-score; share of the visits that are noisy
BIAS_SD = 0.08  # of a control point; N4 leaves a few percent
SLICE_MM, SLICE_SHARE = (1.5, 5.0), 0.4  # clinical 2D FLAIR: 3 to 5 mm; the thickest are the rarest, small lesions vanish in them
BLUR_MM, BLUR_SHARE = 0.7, 0.5  # largest sigma in plane
RING_AMOUNT, RING_SHARE = 0.5, 0.2
MOVED_SHARE = 0.5
SHIFT_MM = 0.4  # SD per axis: rigid registration of two visits agrees to 0.2 to 0.6 mm
ROTATION_DEG = 0.5  # SD per axis; at most MAX_ROTATION_DEG
MAX_ROTATION_DEG = 1.0


@dataclass(frozen=True, slots=True)
class Orientation:
    """A permutation of the axes followed by flips."""

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]


@dataclass(frozen=True, slots=True, eq=False)
class Acquisition:
    """How one visit was scanned; each visit draws its own. Intensities are z-scores; a value of NOTHING is left out exactly."""

    gain: float = 1.0  # contrast scale
    offset: float = 0.0  # SD
    gamma: float = 1.0  # contrast curve, the brain's mean stays
    noise_sd: float = 0.0  # SD, Rician; before slices are interpolated
    noise_seed: int = 0
    bias: np.ndarray | None = None  # (4, 4, 4) control points of a smooth multiplicative field around 1; None: no field
    slice_axis: int = 2  # 0, 1, 2: through-slice direction
    slice_mm: float = 0.0  # thickness and distance of the slices; not above one voxel: nothing is lost
    slice_phase: float = 0.0  # 0 to 1: where in the first slice the patch begins
    slice_gaussian: bool = False  # profile: Gaussian (selective pulse) or box
    blur_mm: float = 0.0  # sigma in plane
    ring_amount: float = 0.0  # share of the image that is cut off in k-space, in plane
    ring_cutoff: float = 1.0  # of the Nyquist frequency
    shift_mm: Triple = (0.0, 0.0, 0.0)  # residual misregistration
    rotation_deg: Triple = (0.0, 0.0, 0.0)  # about the patch's centre
    spacing_mm: Triple = (1.0, 1.0, 1.0)  # of the patch that is rendered


NOTHING = Acquisition()


def draw_orientation(rng: np.random.Generator) -> Orientation:
    """All 48 orientations of a cube are equally likely (Wu et al. 2023: random flip and rotation)."""
    x, y, z = (int(i) for i in rng.permutation(3))
    a, b, c = (bool(i) for i in rng.integers(0, 2, 3))
    return Orientation((x, y, z), (a, b, c))


def turn(array: np.ndarray, how: Orientation) -> np.ndarray:
    """Permute and flip the axes of a cube-shaped (X, Y, Z) array."""
    turned = array.transpose(how.axes)
    return turned[tuple(slice(None, None, -1) if f else slice(None) for f in how.flips)]


def orient(patch: Patch, how: Orientation) -> Patch:
    """Turn every array of a patch alike; edges or voxels of different lengths are only flipped. The place in the brain is lost."""
    if len(set(patch.baseline.shape)) > 1 or np.ptp(patch.spacing_mm) > 1e-3 * min(patch.spacing_mm):
        how = Orientation((0, 1, 2), how.flips)
    names = ("baseline", "followup", "brain", "all_baseline", "all_followup", "new")
    arrays = {n: getattr(patch, n) for n in names}
    return patch.with_(place=None, **{n: None if a is None else turn(a, how) for n, a in arrays.items()})


def draw_acquisition(rng: np.random.Generator, strength: float = 1.0, spacing_mm: Triple = (1.0, 1.0, 1.0)) -> Acquisition:
    """A plausible scanner for one visit; `strength` 0 changes nothing, and the same number of draws is made whatever it is."""
    contrast = rng.normal(0.0, (GAIN_SD, OFFSET_SD, GAMMA_SD)) * strength
    shift, turn_deg = rng.normal(0.0, SHIFT_MM, 3) * strength, rng.normal(0.0, ROTATION_DEG, 3) * strength
    bias = rng.normal(0.0, BIAS_SD, (4, 4, 4))
    noisy, sliced, blurred, ringing, moved = rng.random(5) < (NOISE_SHARE, SLICE_SHARE, BLUR_SHARE, RING_SHARE, MOVED_SHARE)
    noise, thickness, blur, ring, phase, cutoff, gaussian = rng.random(7)
    axis, seed = int(rng.integers(3)), int(rng.integers(2**31))
    limit = MAX_ROTATION_DEG * min(strength, 1.0)
    return Acquisition(
        gain=float(np.exp(contrast[0])),
        offset=float(contrast[1]),
        gamma=float(np.exp(contrast[2])),
        noise_sd=float(NOISE_SD * noise * strength * noisy),
        noise_seed=seed,
        bias=(1.0 + strength * bias) if strength > 0 else None,
        slice_axis=axis,
        slice_mm=float((SLICE_MM[0] + thickness**1.5 * (SLICE_MM[1] - SLICE_MM[0])) * min(strength, 1.0) * sliced),
        slice_phase=float(phase),
        slice_gaussian=bool(gaussian < 0.5),
        blur_mm=float(BLUR_MM * blur * strength * blurred),
        ring_amount=float(RING_AMOUNT * ring * min(strength, 1.0) * ringing),
        ring_cutoff=float(0.5 + 0.4 * cutoff),
        shift_mm=_triple(shift * moved),
        rotation_deg=_triple(np.clip(turn_deg, -limit, limit) * moved),
        spacing_mm=spacing_mm,
    )


def _triple(values: np.ndarray) -> Triple:
    x, y, z = (float(v) for v in values)
    return x, y, z


def render(image: Tensor, brain: Tensor, how: Sequence[Acquisition]) -> Tensor:
    """Show z-scored images as other acquisitions would; sample i depends on how[i] alone.

    The order is that of a scanner: the head lies a little differently, in-plane resolution, contrast and coil, slices with
    their noise, which a resampling program then interpolates.

    Args:
        image: (B, 1, X, Y, Z) float32.
        brain: (B, X, Y, Z) bool.
        how: B acquisitions.

    Returns: (B, 1, X, Y, Z), zero outside the brain, on the device of `image`.
    """
    if len(how) != len(image) or brain.shape != image[:, 0].shape:
        msg = f"expected one acquisition and one brain mask per image of {tuple(image.shape)}; got {len(how)} and {tuple(brain.shape)}"
        raise ValueError(msg)
    out = _move(image[:, 0], how)
    out = _blur_in_plane(out, how)
    out = _expose(out, how)
    out = _cut_into_slices(out, how)
    return torch.where(brain, out, torch.zeros((), dtype=out.dtype, device=out.device))[:, None]


def _move(image: Tensor, how: Sequence[Acquisition]) -> Tensor:
    """Shift and rotate by linear interpolation; the border is repeated."""
    which = [i for i, h in enumerate(how) if any(h.shift_mm) or any(h.rotation_deg)]
    if not which:
        return image
    theta = torch.tensor(np.stack([_theta(how[i], tuple(image.shape[1:])) for i in which]), dtype=image.dtype, device=image.device)
    part = image[which][:, None]
    grid = functional.affine_grid(theta, list(part.shape), align_corners=False)
    moved = functional.grid_sample(part, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return _put(image, which, moved[:, 0])


def _theta(how: Acquisition, shape: tuple[int, ...]) -> np.ndarray:
    """The affine (3, 4) in torch's coordinates, -1 to 1 across the patch and the last axis first, that pulls the image."""
    half_mm = np.array(shape) * np.array(how.spacing_mm) / 2.0
    pulled = rotation(how.rotation_deg).T
    linear = pulled * half_mm[None, :] / half_mm[:, None]
    offset = -(pulled @ np.array(how.shift_mm)) / half_mm
    return np.concatenate([linear[::-1, ::-1], offset[::-1, None]], axis=1)


def rotation(degrees: Triple) -> np.ndarray:
    """Rotation about x, then y, then z: (3, 3)."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    turned: np.ndarray = about_z @ about_y @ about_x
    return turned


def _put(image: Tensor, which: list[int], part: Tensor) -> Tensor:
    """The batch with some samples replaced."""
    if len(which) == len(image):
        return part
    return image.index_copy(0, torch.tensor(which, device=image.device), part)


def _along(image: Tensor, axis: int, matrices: Sequence[np.ndarray]) -> Tensor:
    """One matrix (m, n) per sample along an axis of (B, X, Y, Z)."""
    stacked = torch.tensor(np.stack(matrices), dtype=image.dtype, device=image.device)
    if axis == 0:
        return (stacked @ image.flatten(2)).reshape(len(image), -1, *image.shape[2:])
    if axis == 1:
        return stacked[:, None] @ image
    return (image.flatten(1, 2) @ stacked.mT).reshape(*image.shape[:3], -1)


def _blur_in_plane(image: Tensor, how: Sequence[Acquisition]) -> Tensor:
    """In-plane blur, and ringing along the first in-plane axis."""
    for axis in range(3):
        which = [i for i, h in enumerate(how) if h.slice_axis != axis and (h.blur_mm or (h.ring_amount and _ring_axis(h) == axis))]
        if which:
            image = _put(image, which, _along(image[which], axis, [_in_plane(how[i], axis, image.shape[axis + 1]) for i in which]))
    return image


def _ring_axis(how: Acquisition) -> int:
    return (how.slice_axis + 1) % 3


def _in_plane(how: Acquisition, axis: int, n: int) -> np.ndarray:
    matrix = profiles.blur(n, how.blur_mm / how.spacing_mm[axis]) if how.blur_mm else np.eye(n)
    if how.ring_amount and _ring_axis(how) == axis:
        matrix = profiles.ringing(n, how.ring_amount, how.ring_cutoff) @ matrix
    return matrix


def _expose(image: Tensor, how: Sequence[Acquisition]) -> Tensor:
    """Contrast curve, coil sensitivity, gain and offset."""
    curved = [i for i, h in enumerate(how) if h.gamma != 1.0]
    if curved:
        signal = (1.0 - image[curved] / ZERO_SIGNAL).clamp_min_(0.0)
        curve = signal.pow_(_column([how[i].gamma for i in curved], image))
        image = _put(image, curved, curve.mul_(-ZERO_SIGNAL).add_(ZERO_SIGNAL))
    scaled = [i for i, h in enumerate(how) if h.bias is not None or h.gain != 1.0 or h.offset]
    if not scaled:
        return image
    field = _field(image, [how[i] for i in scaled])  # of gain and bias: (x - zero) * bias + zero, then * gain + offset
    shift = _column([ZERO_SIGNAL * how[i].gain + how[i].offset for i in scaled], image)
    return _put(image, scaled, (image[scaled] - ZERO_SIGNAL).mul_(field).add_(shift))


def _column(values: Sequence[float], like: Tensor) -> Tensor:
    """One number per sample: (B, 1, 1, 1)."""
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None, None, None]


def _field(image: Tensor, how: Sequence[Acquisition]) -> Tensor:
    """Gain times a cubic Bezier field through control points (4, 4, 4): (B, X, Y, Z)."""
    points = [h.gain * (np.ones((4, 4, 4)) if h.bias is None else h.bias) for h in how]
    field = torch.tensor(np.stack(points), dtype=image.dtype, device=image.device)
    for axis, n in enumerate(image.shape[1:]):
        t = (np.arange(n)[:, None] + 0.5) / n
        basis = np.array([1.0, 3.0, 3.0, 1.0]) * t ** np.arange(4) * (1.0 - t) ** np.arange(3, -1, -1)
        field = _along(field, axis, [basis] * len(how))
    return field


def _cut_into_slices(image: Tensor, how: Sequence[Acquisition]) -> Tensor:
    """Average through thick slices, add noise to what was acquired, interpolate back to voxels."""
    for axis in range(3):
        which = [i for i, h in enumerate(how) if h.slice_axis == axis and (_is_thick(h) or h.noise_sd)]
        if which:
            parts = [_one_scan(image[i], how[i]) for i in which]
            image = _put(image, which, torch.stack(parts))
    return image


def _is_thick(how: Acquisition) -> bool:
    return how.slice_mm > how.spacing_mm[how.slice_axis]


def _one_scan(image: Tensor, how: Acquisition) -> Tensor:
    """Slices and noise of one image (X, Y, Z)."""
    axis, n = how.slice_axis, image.shape[how.slice_axis]
    if not _is_thick(how):
        return _noisy(image, how)
    thickness = how.slice_mm / how.spacing_mm[axis]
    centres = profiles.slice_centres(n, thickness, how.slice_phase)
    slices = _along(image[None], axis, [profiles.slice_profile(n, centres, thickness, gaussian=how.slice_gaussian)])
    return _along(_noisy(slices, how), axis, [profiles.interpolation(n, centres, thickness)])[0]


def _noisy(image: Tensor, how: Acquisition) -> Tensor:
    """Noise of a magnitude image: Gaussian where there is signal, with the Rician floor and bias where there is little.

    One normal number a voxel: the imaginary part's square is taken at its mean, which is Rician to second order in noise over signal.
    """
    if not how.noise_sd:
        return image
    generator = torch.Generator(device=image.device).manual_seed(how.noise_seed)
    noise = torch.randn(image.shape, generator=generator, dtype=image.dtype, device=image.device)
    signal = noise.mul_(how.noise_sd).add_(image).sub_(ZERO_SIGNAL)
    return signal.square_().add_(how.noise_sd**2).sqrt_().add_(ZERO_SIGNAL)
