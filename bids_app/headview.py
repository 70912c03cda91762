"""Lesions as solid bodies in a translucent brain, seen from an angle (Wu et al. 2023, Fig. 4): rays cast in numpy. Decides no fate.

    camera --ray--> [ glass: brain surface, more opaque where it is seen edge-on ] --> [ lesion surface, lit, coloured by fate ]

Directions are RAS: x to the patient's right, y to the front, z to the head. Projection is parallel: what is as large looks as large.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from bids_app.fates import FATES, LesionMap
from bids_app.slices import brain_region
from bids_app.tiles import GAP, Colour, Picture, Triple, encode_image, join_row, write

WIDTH = 1080  # pixels
BRAIN_STEP_MM, LESION_STEP_MM = 1.5, 0.6  # along a ray, before the crossing is interpolated
COARSE = 2  # pixels of the picture per ray through the brain; lesions get a ray per pixel
SMOOTH_BRAIN_MM, SMOOTH_LESION_MM = 1.2, 0.6  # standard deviation of the Gaussian that rounds voxel corners
LESION_LEVEL = 0.2  # of the smoothed mask: so low that a lesion of one voxel is still there
FLUID = 0.45  # of the brain's median grey value above its darkest: below it lies fluid, so that sulci show
MARGIN = 1.06  # of what is seen, left free around it
GLASS: Colour = (198, 214, 232)
CLEAR, RIM = 0.20, 0.60  # opacity of glass seen face-on, and what is added where it is seen edge-on


@dataclass(frozen=True, slots=True)
class Camera:
    """From where the head is seen."""

    azimuth_deg: float  # 0: from the front; 90: from the patient's left
    elevation_deg: float  # above the horizon
    title: str

    @property
    def axes(self) -> np.ndarray:
        """(3, 3): picture's right, picture's up, towards the camera, as RAS unit vectors."""
        a, e = math.radians(self.azimuth_deg), math.radians(self.elevation_deg)
        towards = np.array([-math.sin(a) * math.cos(e), math.cos(a) * math.cos(e), math.sin(e)])
        right = np.cross([0.0, 0.0, 1.0], towards)
        right /= np.linalg.norm(right)
        return np.stack([right, np.cross(towards, right), towards])


CAMERAS = (Camera(38.0, 24.0, "from the front left, above"), Camera(-125.0, 24.0, "from the back right, above"))


@dataclass(frozen=True, slots=True, eq=False)
class _Field:
    """A smooth volume whose surface is where it crosses a level."""

    values: np.ndarray  # (X, Y, Z) float32
    level: float
    spacing_mm: np.ndarray  # (3,)
    centre_mm: np.ndarray  # (3,) of the scene, from voxel 0

    def at(self, points_mm: np.ndarray) -> np.ndarray:
        """Values at (n, 3) points, mm from the scene's centre; 0 outside."""
        places = ((points_mm + self.centre_mm) / self.spacing_mm).T
        values: np.ndarray = ndimage.map_coordinates(self.values, places, order=1, mode="constant", prefilter=False)
        return values

    def depths(self, towards: np.ndarray) -> tuple[float, float]:
        """Mm from the scene's centre towards the camera: in front of the first, and behind the second there is nothing."""
        filled = self.values > 0
        x, y = np.nonzero(filled.any(axis=2))
        if not len(x):
            return -np.inf, np.inf
        columns = filled[x, y]
        ends = [columns.argmax(axis=1), columns.shape[1] - 1 - columns[:, ::-1].argmax(axis=1)]
        mm = [(np.stack([x, y, z], axis=1) * self.spacing_mm - self.centre_mm) @ towards for z in ends]
        voxel_mm = float(np.abs(self.spacing_mm * towards).sum())  # values between two voxels are mixed
        return float(np.max(mm)) + voxel_mm, float(np.min(mm)) - voxel_mm

    def normals(self, points_mm: np.ndarray) -> np.ndarray:
        """Unit vectors out of the body at (n, 3) points."""
        slope = np.zeros_like(points_mm)
        for axis in range(3):
            step = np.zeros(3)
            step[axis] = float(self.spacing_mm[axis])
            slope[:, axis] = (self.at(points_mm - step) - self.at(points_mm + step)) / (2.0 * step[axis])
        length = np.linalg.norm(slope, axis=1, keepdims=True)
        unit: np.ndarray = slope / np.maximum(length, 1e-9)
        return unit


def head_view(image: np.ndarray, brain: np.ndarray, lesions: LesionMap, spacing_mm: Triple, width: int = WIDTH) -> Picture:
    """Draw the lesions inside the brain from two angles.

    Args:
        image: (X, Y, Z) grey values of a FLAIR, fluid dark.
        brain: (X, Y, Z) bool; empty: lesions alone are drawn.
        lesions: on the same grid.
        spacing_mm: voxel edges.
        width: of the picture in pixels.

    Raises: ValueError where the shapes differ.
    """
    if not image.shape == brain.shape == lesions.labels.shape:
        msg = f"expected arrays on one grid of shape {image.shape}; got {brain.shape} and {lesions.labels.shape}"
        raise ValueError(msg)
    region = brain_region(image, brain, spacing_mm)
    scene = _Scene.of(image[region], brain[region], LesionMap(lesions.labels[region], lesions.fates), spacing_mm)
    edge = (width - GAP * (len(CAMERAS) - 1)) // len(CAMERAS)
    sheet = join_row([scene.draw(camera, edge) for camera in CAMERAS])
    counts = ", ".join(f"{sum(f == look.word for f in lesions.fates.values())} {look.word}" for look in lesions.present) or "none"
    alt = f"Lesions as solid bodies in a translucent brain, {' and '.join(c.title for c in CAMERAS)}; by fate: {counts}"
    return encode_image(sheet, alt, legend=tuple((look.colour, look.word) for look in lesions.present))


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """What both pictures show."""

    brain: _Field
    lesions: _Field
    ranks: np.ndarray  # (X, Y, Z) uint8, grown by some voxels so that the smooth surface lies inside; 0 is nothing
    radius_mm: float  # of a ball around everything

    @classmethod
    def of(cls, image: np.ndarray, brain: np.ndarray, lesions: LesionMap, spacing_mm: Triple) -> _Scene:
        spacing = np.array(spacing_mm)
        ranks = lesions.ranks
        size_mm = np.array(ranks.shape) * spacing
        centre = (size_mm - spacing) / 2
        body = _smooth(_tissue(image, brain), spacing, SMOOTH_BRAIN_MM)
        solid = _smooth(ranks > 0, spacing, SMOOTH_LESION_MM)
        grown = ndimage.grey_dilation(ranks, size=(3, 3, 3)) if ranks.any() else ranks
        return cls(
            _Field(body, 0.5, spacing, centre),
            _Field(solid, LESION_LEVEL, spacing, centre),
            np.where(ranks > 0, ranks, grown),
            float(np.linalg.norm(size_mm)) / 2,
        )

    def draw(self, camera: Camera, edge: int) -> Image.Image:
        """One square picture."""
        axes = camera.axes
        scale = edge / (2.0 * MARGIN * self._reach_mm(axes))
        pixels = np.zeros((edge, edge, 3))
        self._draw_lesions(pixels, axes, scale)
        glass = self._glass(axes, math.ceil(edge / COARSE), scale / COARSE)
        light, opacity = (_enlarged(layer, edge) for layer in glass)
        pixels = pixels * (1.0 - opacity) + light * np.array(GLASS)
        tile = Image.fromarray(np.clip(pixels, 0.0, 255.0).round().astype(np.uint8))
        _draw_compass(tile, axes)
        write(tile, (8, 8), camera.title.capitalize(), anchor="la", size=15)
        return tile

    def _reach_mm(self, axes: np.ndarray) -> float:
        """From the middle to the farthest that is seen, across or up."""
        bodies = [np.argwhere(field.values[::3, ::3, ::3] > field.level) * 3 for field in (self.brain, self.lesions)]
        points = np.concatenate(bodies) * self.brain.spacing_mm - self.brain.centre_mm
        return float(abs(points @ axes[:2].T).max()) if len(points) else self.radius_mm

    def _glass(self, axes: np.ndarray, edge: int, scale: float) -> np.ndarray:
        """Light that the brain's surface sends, and its opacity. Returns: (2, edge, edge), 0 to 1."""
        rows, columns = _pixels_of(self.brain, axes, edge, scale)
        points, hit = self._cast(self.brain, axes, _place(rows, columns, edge, scale), BRAIN_STEP_MM)
        normals = self.brain.normals(points)
        facing = np.abs(normals @ axes[2])
        light, opacity = layers = np.zeros((2, edge, edge))
        opacity[rows[hit], columns[hit]] = CLEAR + RIM * (1.0 - facing) ** 2
        light[rows[hit], columns[hit]] = opacity[rows[hit], columns[hit]] * np.clip(0.30 + 0.80 * _lit(normals, axes), 0.0, 1.0)
        return layers

    def _draw_lesions(self, pixels: np.ndarray, axes: np.ndarray, scale: float) -> None:
        edge = pixels.shape[0]
        rows, columns = _pixels_of(self.lesions, axes, edge, scale)
        points, hit = self._cast(self.lesions, axes, _place(rows, columns, edge, scale), LESION_STEP_MM)
        if not len(points):
            return
        field = self.lesions
        places = np.rint((points + field.centre_mm) / field.spacing_mm).astype(int)
        ranks = self.ranks[tuple(np.clip(places, 0, np.array(self.ranks.shape) - 1).T)]
        palette = np.array([(150, 160, 172), *(look.rgb for look in FATES)], float)
        normals = field.normals(points)
        light = _lit(normals, axes)
        shine = np.clip(normals @ _half_way(axes), 0.0, 1.0) ** 24
        colour = palette[ranks] * (0.38 + 0.85 * light)[:, None] + 90.0 * shine[:, None]
        pixels[rows[hit], columns[hit]] = colour

    def _cast(self, field: _Field, axes: np.ndarray, flat_mm: np.ndarray, step_mm: float) -> tuple[np.ndarray, np.ndarray]:
        """Follow rays from the camera to where the field first reaches its level.

        Args:
            field: the body.
            axes: of the camera.
            flat_mm: (n, 2) where each ray crosses the picture plane through the scene's centre.
            step_mm: along the ray.

        Returns: (m, 3) points in mm from the scene's centre, and the (m,) indices of their rays.
        """
        starts = flat_mm @ axes[:2]
        depth = np.full(len(starts), np.nan)
        active, before = np.arange(len(starts)), np.zeros(len(starts))
        steps = np.arange(self.radius_mm, -self.radius_mm, -step_mm)
        near, far = field.depths(axes[2])
        for t in steps[(steps <= near) & (steps >= far)]:
            value = field.at(starts[active] + t * axes[2])
            hit = value >= field.level
            past = before[active[hit]]
            depth[active[hit]] = t + step_mm * (1.0 - (field.level - past) / np.maximum(value[hit] - past, 1e-6))
            before[active] = value
            active = active[~hit]
        found = np.flatnonzero(np.isfinite(depth))
        return starts[found] + depth[found, None] * axes[2], found


def _pixels_of(field: _Field, axes: np.ndarray, edge: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of every pixel that a ray through it may meet a body."""
    voxels = np.argwhere(field.values > field.level / 3)
    flat = (voxels * field.spacing_mm - field.centre_mm) @ axes[:2].T
    columns = np.clip(np.rint(edge / 2 + flat[:, 0] * scale), 0, edge - 1).astype(int)
    rows = np.clip(np.rint(edge / 2 - flat[:, 1] * scale), 0, edge - 1).astype(int)
    seen = np.zeros((edge, edge), bool)
    seen[rows, columns] = True
    near = math.ceil(float(field.spacing_mm.max()) * scale)
    grown = ndimage.binary_dilation(seen, iterations=near) if seen.any() else seen
    found_rows, found_columns = np.nonzero(grown)
    return found_rows, found_columns


def _enlarged(layer: np.ndarray, edge: int) -> np.ndarray:
    """To the picture's size, its steps smoothed. Returns: (edge, edge, 1)."""
    soft = ndimage.gaussian_filter(layer, 0.6).astype(np.float32)
    return np.clip(np.asarray(Image.fromarray(soft).resize((edge, edge), Image.Resampling.BICUBIC)), 0.0, 1.0)[..., None]


def _tissue(image: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """Brain without the dark fluid of sulci and fissures, so that the surface looks like one. Returns: bool."""
    if not brain.any():
        return brain
    inside = image[brain]
    dark, middle = np.percentile(inside, (0.5, 50.0))
    tissue: np.ndarray = brain & (image > dark + FLUID * (middle - dark))
    return tissue


def _smooth(mask: np.ndarray, spacing_mm: np.ndarray, sigma_mm: float) -> np.ndarray:
    soft: np.ndarray = ndimage.gaussian_filter(mask.astype(np.float32), sigma_mm / spacing_mm, mode="constant", truncate=3.0)
    return soft


def _place(rows: np.ndarray, columns: np.ndarray, edge: int, scale: float) -> np.ndarray:
    """Pixels to (n, 2) mm to the right and up from the picture's middle."""
    return np.stack([(columns + 0.5 - edge / 2) / scale, (edge / 2 - rows - 0.5) / scale], axis=1)


def _lit(normals: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Light from the upper left, before the picture. Returns: (n,), 0 to 1."""
    light: np.ndarray = np.clip(normals @ _light(axes), 0.0, 1.0)
    return light


def _light(axes: np.ndarray) -> np.ndarray:
    direction = np.array([-0.45, 0.6, 0.66]) @ axes
    unit: np.ndarray = direction / np.linalg.norm(direction)
    return unit


def _half_way(axes: np.ndarray) -> np.ndarray:
    half = _light(axes) + axes[2]
    unit: np.ndarray = half / np.linalg.norm(half)
    return unit


def _draw_compass(tile: Image.Image, axes: np.ndarray) -> None:
    """Where the patient's right, front and head lie, as three short lines in the corner."""
    pen, middle, length = ImageDraw.Draw(tile), np.array([44.0, tile.height - 44.0]), 24.0
    for letter, direction in zip("RAS", np.eye(3), strict=True):
        across, up = axes[:2] @ direction
        tip = middle + length * np.array([across, -up])
        pen.line([tuple(middle), tuple(tip)], fill=(200, 208, 218), width=2)
        x, y = middle + (length + 10) * np.array([across, -up])
        write(tile, (round(x), round(y)), letter, anchor="mm", size=13)
