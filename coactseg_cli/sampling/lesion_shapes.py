"""Shapes and textures of lesions that are about to be painted: real ones varied, made-up ones, larger and smaller versions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from coactseg_cli.sampling.lesion_library import Library, RealLesion

# Measured once on the labelled scans of Lesjak et al. 2016 and 2018 (docs/synthesis.md): mean z-score above the tissue around a lesion
CONTRAST_AT_1_VOXEL = 0.44  # geometric mean: 0.44 * voxels ** 0.19 at 1 mm, so 0.7 at 10, 1.1 at 100 and 1.6 at 1000 voxels
CONTRAST_POWER = 0.19
CONTRAST_LOG_SD = 0.45
CONTRAST_RANGE = (0.4, 2.8)
TEXTURE_SD = 0.15  # of the contrast, in a lesion that is painted over tissue with its own noise
TEXTURE_SIGMA = 0.8  # voxels
EDGE_SIGMA = (0.35, 0.7)  # voxels: at 0.5, nine tenths of the contrast in a voxel at the border and a tenth in the one outside

MADE_UP_SHARE = 0.15  # ellipsoids among the shapes, so that no shape is learnt by heart
NEARBY = 0.12  # fraction of the brain's box within which a lesion of the library is likely to be taken
SIZE_POWER = 0.25  # larger lesions are drawn more often than they occur: most components are tiny
TEXTURED_BONUS = 8.0  # a lesion with its own voxels is worth so many without: labels without scans are far more numerous
ZOOM_LOG_SD = 0.15
FREE_TURN_SHARE = 0.3  # shapes that lose their real direction


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """A lesion as one visit shows it, in a box: arrays of one shape (x, y, z)."""

    mask: np.ndarray  # bool: what counts as lesion
    weights: np.ndarray  # float32, 0 to 1: how far the lesion replaces the tissue
    excess: np.ndarray  # float32, SD above the tissue
    real_texture: bool  # the excess has its own noise, so the tissue's is replaced

    def part(self, box: tuple[slice, ...]) -> Look:
        """What of it lies in a box."""
        return Look(self.mask[box], self.weights[box], self.excess[box], self.real_texture)


def soften(mask: np.ndarray, sigma: float) -> np.ndarray:
    """A boolean box to weights 0 to 1, about half at the border."""
    weights: np.ndarray = np.clip(ndimage.gaussian_filter(mask.astype(np.float32), sigma), 0.0, 1.0)
    return weights


def ellipsoid(rng: np.random.Generator, radii: np.ndarray) -> np.ndarray:
    """A bumpy ellipsoid with the given half axes in voxels, at least one voxel large: a boolean box."""
    edge = int(np.ceil(radii.max())) + 3
    grid = np.stack(np.meshgrid(*[np.arange(-edge, edge + 1)] * 3, indexing="ij"), axis=-1).astype(np.float32)
    turned = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    distance = np.linalg.norm((grid @ turned) / radii, axis=-1)
    bumps = ndimage.gaussian_filter(rng.normal(size=distance.shape), 1.5)
    mask: np.ndarray = distance + 0.25 * bumps / (bumps.std() + 1e-6) < 1.0
    mask[edge, edge, edge] = True
    return mask


def draw_look(rng: np.random.Generator, library: Library, place: np.ndarray | None) -> Look:
    """A lesion that could lie at `place` (fractions of the brain's box; None: anywhere)."""
    if not library.lesions or rng.random() < MADE_UP_SHARE:
        size = np.exp(rng.uniform(np.log(1.0), np.log(6.0)))
        return made_up_texture(rng, ellipsoid(rng, size * np.exp(rng.normal(0.0, 0.25, 3))))
    lesion = library.lesions[rng.choice(len(library.lesions), p=_chances(library, place))]
    mirrored = place is not None and lesion.place is not None and (place[0] - 0.5) * (lesion.place[0] - 0.5) < 0
    return vary(rng, lesion, mirrored=bool(mirrored))


def _chances(library: Library, place: np.ndarray | None) -> np.ndarray:
    """Each lesion's chance: large ones, those with a texture and those from about the same place, on either side, come more often."""
    chances = library.voxels**SIZE_POWER * np.where(library.textured, TEXTURED_BONUS, 1.0)
    if place is not None:
        side = np.abs(library.places - (0.5, 0.0, 0.0)) - np.abs(place - np.array((0.5, 0.0, 0.0)))
        distance = np.nan_to_num(np.linalg.norm(side, axis=1), nan=NEARBY)
        chances = chances * (np.exp(-0.5 * (distance / NEARBY) ** 2) + 1e-3)
    total: np.ndarray = chances / chances.sum()
    return total


def vary(rng: np.random.Generator, lesion: RealLesion, *, mirrored: bool) -> Look:
    """A real lesion a little larger or smaller, on the other side, or in another direction."""
    factor = float(np.exp(rng.normal(0.0, ZOOM_LOG_SD)))
    axes, flips = np.arange(3), np.array([mirrored, False, False])
    if rng.random() < FREE_TURN_SHARE:
        axes, flips = rng.permutation(3), rng.random(3) < 0.5
    mask = zoom(_turn(lesion.mask, axes, flips), factor)
    if lesion.excess is None:
        return made_up_texture(rng, mask)
    excess = ndimage.zoom(_turn(lesion.excess, axes, flips), factor, order=1, grid_mode=True, mode="nearest", output=np.float32)
    brightness = float(np.exp(rng.normal(0.0, 0.15)))
    weights = soften(ndimage.binary_dilation(mask), EDGE_SIGMA[0])  # the voxels at the border are partly tissue already
    return Look(mask, weights, excess * np.float32(brightness), real_texture=True)


def _turn(array: np.ndarray, axes: np.ndarray, flips: np.ndarray) -> np.ndarray:
    return array.transpose(axes)[tuple(slice(None, None, -1) if f else slice(None) for f in flips)]


def zoom(mask: np.ndarray, factor: float) -> np.ndarray:
    """A boolean box scaled about its middle, never empty."""
    soft = ndimage.zoom(mask.astype(np.float32), factor, order=1, grid_mode=True, mode="nearest")
    zoomed: np.ndarray = soft >= min(0.5, float(soft.max()))
    return zoomed


def draw_contrast(rng: np.random.Generator, voxels: float) -> float:
    """Mean z-score above the tissue around, as measured for lesions of that size."""
    middle = CONTRAST_AT_1_VOXEL * voxels**CONTRAST_POWER
    return float(np.clip(middle * np.exp(rng.normal(0.0, CONTRAST_LOG_SD)), *CONTRAST_RANGE))


def made_up_texture(rng: np.random.Generator, mask: np.ndarray, contrast: float | None = None) -> Look:
    """Contrast (None: as measured) and texture for a shape without a scan."""
    if contrast is None:
        contrast = draw_contrast(rng, float(mask.sum()))
    texture = ndimage.gaussian_filter(rng.standard_normal(mask.shape, np.float32), TEXTURE_SIGMA)
    texture = (texture - texture[mask].mean()) / (texture.std() + 1e-6)  # so that the lesion's mean is the contrast
    weights = soften(mask, rng.uniform(*EDGE_SIGMA))
    excess = (contrast / weights[mask].mean() * (1.0 + TEXTURE_SD * texture)).astype(np.float32)
    return Look(mask, weights, excess, real_texture=False)


def lesser(look: Look, size: float, brightness: float) -> Look:
    """The same lesion smaller (a factor of its diameter) and weaker (a factor of its excess), around the same middle."""
    at = np.argwhere(look.mask).mean(axis=0)
    offset = at - at / size

    def shrink(array: np.ndarray) -> np.ndarray:
        shrunk: np.ndarray = ndimage.affine_transform(array.astype(np.float32), np.eye(3) / size, offset, order=1)
        return shrunk

    soft = shrink(look.mask)
    mask = (soft >= min(0.5, float(soft.max()))) & (soft > 0)
    return Look(mask, shrink(look.weights), look.excess * np.float32(brightness), look.real_texture)
