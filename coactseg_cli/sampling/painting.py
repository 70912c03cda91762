"""Lesions painted into images and taken out of them; pure functions, nothing here draws a number or knows a fate."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from coactseg_cli.sampling.lesion_shapes import Look

FLUID_Z = (-1.6, -0.8)  # below the first there is cerebrospinal fluid, above the second none; lesions stop there
TISSUE_Z = (-0.8, 0.9)  # white matter and what is like it, to see what a lesion is brighter than, and to fill one in
VISIBLE_Z = 0.3  # mean lift of a lesion that counts: 95 % of the real ones stand out by more
ROOM = 0.8  # share of a lesion's shape that must be tissue: one may lean on a ventricle, not cross sulci
NEAR, FAR = 3, 9  # blocks of 2 voxels: edges of the boxes whose tissue fills a lesion in, where there is any near, else from farther away
MARGIN = 16  # voxels around a lesion that are looked at to fill it in
SOFT_SIGMA, LEAK = 0.8, 0.25  # voxels; share of that softness which reaches into a lesion that stays
HALO = 2  # voxels around a lesion that are still a little bright


def overlap(shape: tuple[int, ...], corner: np.ndarray, size: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where a box of `size` at voxel `corner` meets a patch: slices into the patch and into the box, empty where they do not meet."""
    low = np.clip(corner, 0, shape)
    high = np.maximum(np.clip(corner + np.array(size), 0, shape), low)
    into = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    out_of = tuple(slice(int(a), int(b)) for a, b in zip(low - corner, high - corner, strict=True))
    return into, out_of


def paint(image: np.ndarray, brain: np.ndarray, look: Look) -> np.ndarray:
    """Lift the intensity of a part of an image (changed in place) to a lesion's; fluid and what is brighter already stay as they are.

    A lesion that has no room there, or would be lost in the tissue, is not painted at all.

    Args:
        image: (x, y, z), the part of the patch that the lesion's box covers.
        brain: (x, y, z) bool.
        look: of the same part.

    Returns: (x, y, z) bool, what counts as lesion: its shape in the brain and not in fluid; empty where nothing was painted.
    """
    if not image.size:
        return np.zeros(image.shape, bool)
    solid = brain * np.clip((image - FLUID_Z[0]) / (FLUID_Z[1] - FLUID_Z[0]), 0.0, 1.0)
    under = level_of(image, brain) if look.real_texture else image
    lift = look.weights * solid * np.maximum(under + look.excess - image, 0.0)
    mask: np.ndarray = look.mask & (solid >= 0.5)
    if mask.sum() <= ROOM * look.mask.sum() or lift[mask].mean() < VISIBLE_Z:
        return np.zeros(image.shape, bool)
    image += lift
    return mask


def level_of(image: np.ndarray, inside: np.ndarray) -> float:
    """The usual intensity of tissue in a box; the brain's mean where there is none."""
    tissue = image[inside & (image > TISSUE_Z[0]) & (image < TISSUE_Z[1])]
    return float(np.median(tissue)) if tissue.size else 0.0


def erase(image: np.ndarray, amount: np.ndarray, lesions: np.ndarray, brain: np.ndarray, roll: tuple[int, int, int]) -> np.ndarray:
    """Replace lesions by tissue as it is around them, with that tissue's own noise.

    Args:
        image: (X, Y, Z).
        amount: (X, Y, Z) 0 to 1, how far each voxel is replaced; the border is softened.
        lesions: (X, Y, Z) bool, everything that is not normal tissue; what of it is not replaced wholly stays as it is.
        brain: (X, Y, Z) bool.
        roll: voxels by which the noise is moved, so that it is not the lesion's.

    Returns: a new image; unchanged far from where `amount` is above 0.
    """
    box = _around(amount > 0, MARGIN)
    if box is None:
        return image
    part, inside = image[box], brain[box]
    tissue = inside & ~lesions[box] & (part > TISSUE_Z[0]) & (part < TISSUE_Z[1])
    mean = _fill(part, tissue)
    noise = np.roll(np.where(tissue, part - ndimage.uniform_filter(np.where(tissue, part, mean), 3), 0.0), roll, axis=(0, 1, 2))
    soft = _soften(amount[box].astype(np.float32), lesions[box]) * inside
    out = image.copy()
    out[box] = part + soft * (mean + noise - part)
    return out


def _soften(amount: np.ndarray, lesions: np.ndarray) -> np.ndarray:
    """A soft border, but hardly into a lesion that stays: it would fade, and a small one vanish."""
    smooth = np.clip(ndimage.gaussian_filter(amount, SOFT_SIGMA), 0.0, 1.0)
    stays = lesions & (amount < 1.0)
    softened: np.ndarray = np.where(stays, amount + LEAK * (smooth - amount), smooth)
    return softened


def _fill(image: np.ndarray, tissue: np.ndarray) -> np.ndarray:
    """The mean of the tissue near each voxel, of that farther away where there is none near, of all where there is none at all.

    Worked out on blocks of 2 x 2 x 2 voxels, which is eight times cheaper and as smooth.
    """
    everywhere = float(image[tissue].mean()) if tissue.any() else 0.0
    weight, total = _halve(tissue.astype(np.float32)), _halve(np.where(tissue, image, np.float32(0.0)))
    mean = np.full(weight.shape, np.float32(everywhere))
    for edge, share in ((FAR, 0.02), (NEAR, 0.1)):  # the share of a box that is worth half of what is known from farther away
        near = _box_mean(weight, edge)
        mean = (_box_mean(total, edge) + share * mean) / (near + share)
    fine = np.repeat(np.repeat(np.repeat(mean, 2, 0), 2, 1), 2, 2)[tuple(slice(0, n) for n in image.shape)]
    filled: np.ndarray = ndimage.uniform_filter(fine, 3, mode="nearest")
    return filled


def _halve(array: np.ndarray) -> np.ndarray:
    """Means of blocks of 2 x 2 x 2 voxels; an odd border is repeated."""
    even = np.pad(array, [(0, n % 2) for n in array.shape], mode="edge")
    for axis in range(3):
        pairs = np.moveaxis(even, axis, 0)
        even = np.moveaxis((pairs[::2] + pairs[1::2]) * np.float32(0.5), 0, axis)
    return even


def _box_mean(array: np.ndarray, edge: int) -> np.ndarray:
    """Twice a box of `edge` voxels, which is close to a Gaussian and costs the same for any edge."""
    for _ in range(2):
        array = ndimage.uniform_filter(array, edge, mode="nearest")
    return array


def grow(mask: np.ndarray, voxels: int = 1) -> np.ndarray:
    """Dilate by face neighbours; on a whole patch ten times as fast as scipy."""
    for _ in range(voxels):
        wide = mask.copy()
        for axis in range(3):
            into, out_of = np.moveaxis(wide, axis, 0), np.moveaxis(mask, axis, 0)
            into[1:] |= out_of[:-1]
            into[:-1] |= out_of[1:]
        mask = wide
    return mask


def _around(mask: np.ndarray, margin: int) -> tuple[slice, ...] | None:
    found = ndimage.find_objects(mask.astype(np.uint8))
    if not found or found[0] is None:
        return None
    return tuple(slice(max(s.start - margin, 0), min(s.stop + margin, n)) for s, n in zip(found[0], mask.shape, strict=True))
