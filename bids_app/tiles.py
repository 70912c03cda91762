"""One slice to one tile, tiles to one encoded picture; which slices are shown is chosen in slices.py.

All arrays are (X, Y, Z), RAS+: x to the patient's right, y to the front, z to the head. Slices are shown in radiological
convention, the patient's right on the viewer's left, and every tile says so:

    axial      A        coronal    S        sagittal    S
             R + L               R + L                A + P
               P                   I                    I
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Triple = tuple[float, float, float]
Window = tuple[float, float]
Colour = tuple[int, int, int]
Region = tuple[slice, slice, slice]

GAP = 4  # pixels between tiles
JPEG_QUALITY = 80
DOT = 3  # pixels of a dotted line, and between two


class Plane(IntEnum):
    """The array axis along which a slice is taken."""

    SAGITTAL = 0
    CORONAL = 1
    AXIAL = 2


@dataclass(frozen=True, slots=True)
class View:
    """One slice: its plane and the voxel index along that axis."""

    plane: Plane
    index: int


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """A mask that is drawn as a contour around its voxels, so that what lies inside stays visible."""

    mask: np.ndarray  # (X, Y, Z) bool
    colour: Colour
    label: str  # for the legend
    width: int = 1  # pixels
    dotted: bool = False  # so that it differs without colour too


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded image with the words that belong to it."""

    data: bytes
    media_type: str
    width: int  # pixels
    height: int
    alt: str  # what it shows, for readers who do not see it
    note: str = ""  # a sentence for the caption
    legend: tuple[tuple[str, str], ...] = ()  # (#rrggbb, label)

    @property
    def uri(self) -> str:
        """The image as a data URI."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.data).decode('ascii')}"


@dataclass(frozen=True, slots=True)
class Flicker:
    """Two pictures of one size that are shown in turn."""

    baseline: Picture
    followup: Picture


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What all tiles of one picture share."""

    image: np.ndarray
    spacing_mm: Triple
    window: Window
    region: Region  # in-plane part that is shown
    scale: float  # pixels per mm
    overlays: tuple[Overlay, ...] = ()
    origin_mm: Triple | None = None  # scanner place of voxel 0; None: slices are named by index
    colours: np.ndarray | None = None  # (256, 3) uint8: what black to white become; None: grey


def cut(volume: np.ndarray, view: View, region: Region) -> np.ndarray:
    """Take one slice of (X, Y, Z) as it is displayed. Returns: (rows, columns).

    Reversing both axes puts the patient's right on the left (axial, coronal), the front on the left (sagittal), and
    the front (axial) or the head on top.
    """
    index: list[slice | int] = list(region)
    index[view.plane] = view.index
    return volume[tuple(index)][::-1, ::-1].T


def plane_mm(plane: Plane, region: Region, spacing_mm: Triple) -> tuple[float, float]:
    """Width and height in mm of a slice through the region."""
    edges = [(part.stop - part.start) * step for part, step in zip(region, spacing_mm, strict=True)]
    horizontal, vertical = (edge for axis, edge in enumerate(edges) if axis != plane)
    return horizontal, vertical


def fit(planes: Sequence[Plane], region: Region, spacing_mm: Triple, width: int) -> float:
    """Pixels per mm at which a row of slices fills a width in pixels."""
    total_mm = sum(plane_mm(plane, region, spacing_mm)[0] for plane in planes)
    return max(width - GAP * (len(planes) - 1), len(planes)) / total_mm


def draw_tile(scene: Scene, view: View) -> Image.Image:
    """One slice with contours, sides and its place; the voxel aspect is respected."""
    width_mm, height_mm = plane_mm(view.plane, scene.region, scene.spacing_mm)
    size = max(round(width_mm * scene.scale), 1), max(round(height_mm * scene.scale), 1)
    lo, hi = scene.window
    grey = np.clip((cut(scene.image, view, scene.region).astype(np.float64) - lo) / (hi - lo), 0.0, 1.0)
    grey = np.nan_to_num(grey * 255.0).round().astype(np.uint8)
    levels = np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BICUBIC))
    pixels = np.repeat(levels[..., None], 3, axis=2) if scene.colours is None else scene.colours[levels]
    for overlay in scene.overlays:
        line = contour(cut(overlay.mask, view, scene.region), size, overlay.width)
        pixels[line & dots(line.shape) if overlay.dotted else line] = overlay.colour
    tile = Image.fromarray(pixels)
    _write_marks(tile, scene, view)
    return tile


def contour(mask: np.ndarray, size: tuple[int, int], width: int) -> np.ndarray:
    """Find the pixels just outside the voxels of a displayed mask, so that the lesion itself stays visible.

    Args:
        mask: (rows, columns) bool.
        size: (columns, rows) of the tile in pixels.
        width: of the line in pixels.

    Returns: (rows, columns) bool in pixels.
    """
    if not mask.any():
        return np.zeros((size[1], size[0]), bool)
    filled = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.NEAREST)
    grown = filled.filter(ImageFilter.MaxFilter(2 * width + 1))
    line: np.ndarray = (np.asarray(grown) > 0) & (np.asarray(filled) == 0)
    return line


def dots(shape: tuple[int, ...]) -> np.ndarray:
    """Chequer of DOT pixels, (rows, columns) bool: what a dotted line keeps."""
    rows, columns = np.indices(shape)
    kept: np.ndarray = (rows // DOT + columns // DOT) % 2 == 0
    return kept


def _write_marks(tile: Image.Image, scene: Scene, view: View) -> None:
    """Write the sides at mid-height and the place of the slice at the bottom."""
    left, right = ("A", "P") if view.plane is Plane.SAGITTAL else ("R", "L")
    write(tile, (4, tile.height // 2), left, anchor="lm")
    write(tile, (tile.width - 4, tile.height // 2), right, anchor="rm")
    axis = "xyz"[view.plane]
    place = f"{axis} {view.index}"
    if scene.origin_mm is not None:
        place = f"{axis} {round(scene.origin_mm[view.plane] + view.index * scene.spacing_mm[view.plane])} mm"
    write(tile, (5, tile.height - 5), place, anchor="ls", size=12)


def write(image: Image.Image, place: tuple[int, int], text: str, *, anchor: str, size: int = 14) -> None:
    """White letters with a dark rim, readable on every grey."""
    ImageDraw.Draw(image).text(place, text, fill="white", font=_font(size), anchor=anchor, stroke_width=2, stroke_fill="black")


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def join_row(tiles: Sequence[Image.Image]) -> Image.Image:
    """Tiles side by side on black, centred in height."""
    width = sum(tile.width for tile in tiles) + GAP * (len(tiles) - 1)
    row = Image.new("RGB", (width, max(tile.height for tile in tiles)))
    x = 0
    for tile in tiles:
        row.paste(tile, (x, (row.height - tile.height) // 2))
        x += tile.width + GAP
    return row


def join_column(rows: Sequence[Image.Image]) -> Image.Image:
    """Rows below each other on black, centred in width."""
    height = sum(row.height for row in rows) + GAP * (len(rows) - 1)
    sheet = Image.new("RGB", (max(row.width for row in rows), height))
    y = 0
    for row in rows:
        sheet.paste(row, ((sheet.width - row.width) // 2, y))
        y += row.height + GAP
    return sheet


def draw_sheet(scene: Scene, rows: Sequence[Sequence[View]]) -> Image.Image:
    """Slices in rows; all share the scene's scale."""
    return join_column([join_row([draw_tile(scene, view) for view in row]) for row in rows])


def encode(image: Image.Image, alt: str, note: str = "", overlays: Sequence[Overlay] = ()) -> Picture:
    """Encode slices, in colour where something is drawn over them; the overlays become the legend and end the alternative text."""
    legend = tuple(("#{:02x}{:02x}{:02x}".format(*o.colour), o.label) for o in overlays)
    if legend:
        alt = f"{alt}; contours: {', '.join(label for _, label in legend)}"
    return encode_image(image.convert("RGB" if overlays else "L"), alt, note, legend)


def encode_image(image: Image.Image, alt: str, note: str = "", legend: tuple[tuple[str, str], ...] = ()) -> Picture:
    """To JPEG, full colour resolution for thin lines; the same pixels give the same bytes."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0, optimize=True)
    return Picture(buffer.getvalue(), "image/jpeg", image.width, image.height, alt, note, legend)
