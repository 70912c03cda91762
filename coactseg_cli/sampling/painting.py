"""Lesions painted into images and taken out of them; pure functions, nothing here draws a number or knows a fate."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from coactseg_cli.sampling.lesion_shapes import Look

FLUID_Z = (-1.6, -0.8)  # below the first there is cerebrospinal fluid, above the second none; lesions stop there
TISSUE_Z = (-0.8, 0.9)  # white matter and what is like it, to see what a lesion is brighter than, and to fill one in
NEAR, FAR = 7, 17  # voxels: edges of the boxes whose tissue fills a lesion in, where there is any near, else from farther away
HALO = 2  # voxels around a lesion that are still a little bright


def overlap(shape: tuple[int, ...], corner: np.ndarray, size: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where a box of `size` at voxel `corner` meets a patch: slices into the patch and into the box, empty where they do not meet."""
    low = np.clip(corner, 0, shape)
    high = np.maximum(np.clip(corner + np.array(size), 0, shape), low)
    into = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    out_of = tuple(slice(int(a), int(b)) for a, b in zip(low - corner, high - corner, strict=True))
    return into, out_of


def paint(image: np.ndarray, brain: np.ndarray, look: Look, corner: np.ndarray) -> np.ndarray:
    """Lift the intensity of an image (changed in place) to a lesion's; fluid and what is brighter already stay as they are.

    Returns: the lesion's mask (X, Y, Z) bool: its shape inside the brain, without fluid.
    """
    painted = np.zeros(image.shape, bool)
    into, out_of = overlap(image.shape, corner, look.mask.shape)
    tissue, inside = image[into], brain[into]
    if not inside.any():
        return painted
    solid = inside * np.clip((tissue - FLUID_Z[0]) / (FLUID_Z[1] - FLUID_Z[0]), 0.0, 1.0)
    under = level_of(tissue, inside) if look.real_texture else tissue
    lift = np.maximum(under + look.excess[out_of] - tissue, 0.0)
    painted[into] = look.mask[out_of] & (solid >= 0.5)
    image[into] += look.weights[out_of] * solid * lift
    return painted


def level_of(image: np.ndarray, inside: np.ndarray) -> float:
    """The usual intensity of tissue in a box; the brain's mean where there is none."""
    tissue = image[inside & (image > TISSUE_Z[0]) & (image < TISSUE_Z[1])]
    return float(np.median(tissue)) if tissue.size else 0.0


def erase(image: np.ndarray, amount: np.ndarray, lesions: np.ndarray, brain: np.ndarray, roll: tuple[int, int, int]) -> np.ndarray:
    """Replace lesions by tissue as it is around them, with that tissue's own noise.

    Args:
        image: (X, Y, Z).
        amount: (X, Y, Z) 0 to 1, how far each voxel is replaced; the border is softened.
        lesions: (X, Y, Z) bool, everything that is not normal tissue.
        brain: (X, Y, Z) bool.
        roll: voxels by which the noise is moved, so that it is not the lesion's.

    Returns: a new image; unchanged far from where `amount` is above 0.
    """
    box = _around(amount > 0, FAR)
    if box is None:
        return image
    part, inside = image[box], brain[box]
    tissue = inside & ~lesions[box] & (part > TISSUE_Z[0]) & (part < TISSUE_Z[1])
    mean = _fill(part, tissue)
    noise = np.roll(np.where(tissue, part - ndimage.uniform_filter(np.where(tissue, part, mean), 3), 0.0), roll, axis=(0, 1, 2))
    soft = np.clip(ndimage.gaussian_filter(amount[box].astype(np.float32), 0.8), 0.0, 1.0) * inside
    out = image.copy()
    out[box] = part + soft * (mean + noise - part)
    return out


def _fill(image: np.ndarray, tissue: np.ndarray) -> np.ndarray:
    """The mean of the tissue near each voxel, of that farther away where there is none near, of all where there is none at all."""
    everywhere = float(image[tissue].mean()) if tissue.any() else 0.0
    weight, total = tissue.astype(np.float32), np.where(tissue, image, np.float32(0.0))
    mean = np.full(image.shape, np.float32(everywhere))
    for edge, share in ((FAR, 0.02), (NEAR, 0.1)):  # the share of a box that is worth half of what is known from farther away
        near = _box_mean(weight, edge)
        mean = (_box_mean(total, edge) + share * mean) / (near + share)
    return mean


def _box_mean(array: np.ndarray, edge: int) -> np.ndarray:
    """Twice a box of `edge` voxels, which is close to a Gaussian and costs the same for any edge."""
    for _ in range(2):
        array = ndimage.uniform_filter(array, edge, mode="nearest")
    return array


def _around(mask: np.ndarray, margin: int) -> tuple[slice, ...] | None:
    found = ndimage.find_objects(mask.astype(np.uint8))
    if not found or found[0] is None:
        return None
    return tuple(slice(max(s.start - margin, 0), min(s.stop + margin, n)) for s, n in zip(found[0], mask.shape, strict=True))
