"""All lesions at once, projected through the head along each axis and coloured by what became of them. Decides no fate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageFilter

from bids_app.fates import FATES, LesionMap
from bids_app.slices import brain_region
from bids_app.tiles import GAP, Colour, Picture, Plane, Region, Triple, encode_image, fit, join_row, plane_mm, write

WIDTH = 1080  # pixels
PLANES = (Plane.AXIAL, Plane.CORONAL, Plane.SAGITTAL)
TITLES = {Plane.AXIAL: "from below", Plane.CORONAL: "from the front", Plane.SAGITTAL: "from the left"}
DARK, BRIGHT = 18.0, 92.0  # grey of the brain behind the lesions
FILL = 0.82  # opacity of a lesion
NAME_WIDTH, NAME_HEIGHT = 20.0, 13.0  # pixels that a lesion's number takes
OUTLINE: Colour = (120, 134, 150)


def glass_brain(
    image: np.ndarray, brain: np.ndarray, lesions: LesionMap, spacing_mm: Triple, names: Sequence[int] = (), width: int = WIDTH
) -> Picture:
    """Draw three projections of all lesions over a faint brain.

    Args:
        image: (X, Y, Z) grey values; their mean along each axis is the faint brain.
        brain: (X, Y, Z) bool; empty: the whole field is shown.
        lesions: on the same grid.
        spacing_mm: voxel edges.
        names: numbers of the lesions that are written beside them.
        width: of the picture in pixels.

    Raises: ValueError where the shapes differ.
    """
    if not image.shape == brain.shape == lesions.labels.shape:
        msg = f"expected arrays on one grid of shape {image.shape}; got {brain.shape} and {lesions.labels.shape}"
        raise ValueError(msg)
    region = brain_region(image, brain, spacing_mm)
    scale = fit(PLANES, region, spacing_mm, width)
    parts = _Parts(image[region], brain[region], LesionMap(lesions.labels[region], lesions.fates), spacing_mm, scale)
    sheet = join_row([parts.draw(plane, names) for plane in PLANES])
    counts = ", ".join(f"{sum(f == look.word for f in lesions.fates.values())} {look.word}" for look in lesions.present) or "none"
    alt = f"All lesions projected along three axes over a faint brain, by fate: {counts}; patient's right on the left"
    legend = tuple((look.colour, look.word) for look in lesions.present)
    return encode_image(sheet, alt, legend=legend)


class _Parts:
    """The cropped arrays that the three projections share."""

    def __init__(self, image: np.ndarray, brain: np.ndarray, lesions: LesionMap, spacing_mm: Triple, scale: float) -> None:
        self.image, self.brain, self.lesions, self.spacing_mm, self.scale = image, brain, lesions, spacing_mm, scale
        self.ranks = lesions.ranks
        self.region: Region = (slice(0, image.shape[0]), slice(0, image.shape[1]), slice(0, image.shape[2]))

    def draw(self, plane: Plane, names: Sequence[int]) -> Image.Image:
        """One projection with its title, sides and the numbers of the lesions named."""
        width_mm, height_mm = plane_mm(plane, self.region, self.spacing_mm)
        size = max(round(width_mm * self.scale), 1), max(round(height_mm * self.scale), 1)
        pixels = np.repeat(self._backdrop(plane, size)[..., None], 3, axis=2)
        for rank in range(len(FATES), 0, -1):  # what matters most is drawn last
            cover = _resized(_shown((self.ranks == rank).any(axis=plane)) * 255.0, size) / 255.0
            pixels += (FILL * np.clip(2.0 * cover, 0.0, 1.0))[..., None] * (np.array(FATES[rank - 1].rgb) - pixels)
        tile = Image.fromarray(pixels.round().astype(np.uint8))
        self._write_names(tile, plane, names)
        left, right = ("A", "P") if plane is Plane.SAGITTAL else ("R", "L")
        write(tile, (4, tile.height // 2), left, anchor="lm")
        write(tile, (tile.width - 4, tile.height // 2), right, anchor="rm")
        write(tile, (5, tile.height - 5), TITLES[plane], anchor="ls", size=12)
        return tile

    def _backdrop(self, plane: Plane, size: tuple[int, int]) -> np.ndarray:
        """Mean grey value of the brain along the axis, dark, with an outline. Returns: (rows, columns) float, 0 to 255."""
        depth = self.brain.sum(axis=plane)
        total = np.where(self.brain, self.image, 0.0).sum(axis=plane)
        mean = np.divide(total, depth, out=np.zeros(total.shape), where=depth > 0)
        lo, hi = np.percentile(mean[depth > 0], (2.0, 99.5)) if depth.any() else (0.0, 1.0)
        level = np.clip((mean - lo) / max(hi - lo, 1e-6), 0.0, 1.0)
        grey = _resized(_shown(np.where(depth > 0, DARK + (BRIGHT - DARK) * level, 0.0)), size)
        inside = Image.fromarray((_resized(_shown(depth > 0) * 255.0, size) > 127).astype(np.uint8) * 255)
        rim = (np.asarray(inside.filter(ImageFilter.MaxFilter(3))) > 0) & (np.asarray(inside) == 0)
        return np.where(rim, OUTLINE[0], np.clip(grey, 0.0, 255.0))

    def _write_names(self, tile: Image.Image, plane: Plane, names: Sequence[int]) -> None:
        """The first names first; one that would cover another is left out."""
        across, down = (axis for axis in range(3) if axis != plane)
        steps = [step * self.scale for step in self.spacing_mm]
        taken: list[tuple[float, float]] = []
        for name in names:
            places = np.nonzero(self.lesions.labels == name)
            if not places[0].size:
                continue
            x = min((self.image.shape[across] - 0.5 - places[across].min()) * steps[across] + 2, tile.width - 4 * GAP)
            y = (self.image.shape[down] - 0.5 - places[down].mean()) * steps[down]
            if all(abs(x - u) > NAME_WIDTH or abs(y - v) > NAME_HEIGHT for u, v in taken):
                write(tile, (round(x), round(y)), str(name), anchor="lm", size=12)
                taken.append((x, y))


def _shown(projection: np.ndarray) -> np.ndarray:
    """As tiles.cut shows a slice: (rows, columns)."""
    return projection[::-1, ::-1].T


def _resized(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(values.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)).astype(np.float64)
