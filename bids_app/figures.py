"""Arrays to pictures for a page: mosaics, brain outline, flicker, lesion crops. Reads no file and decides no lesion.

All arrays are (X, Y, Z), RAS+; how a slice is displayed is in tiles.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw

from bids_app.fates import UNCHANGED, LesionMap, look_of
from bids_app.slices import brain_region, choose_slices, field_around, nearest_slice, spread, usual_views
from bids_app.tiles import (
    GAP,
    Colour,
    Flicker,
    Overlay,
    Picture,
    Plane,
    Region,
    Scene,
    Triple,
    View,
    Window,
    draw_sheet,
    draw_tile,
    encode,
    fit,
    join_row,
    plane_mm,
    write,
)

ALL_COLOUR: Colour = (255, 200, 40)  # amber: every lesion of a visit
NEW_COLOUR: Colour = look_of("new").rgb  # red: new at the follow-up, drawn thicker so that it shows without colour too
BRAIN_COLOUR: Colour = (70, 190, 255)  # blue: brain mask

DOTTED = ("resolved", "shrinking", "merged")
PERCENTILES = (1.0, 99.95)  # of the grey values: black and white; so high that a bright lesion keeps its inner structure


def all_lesions(mask: np.ndarray) -> Overlay:
    """Contour every lesion of a visit."""
    return Overlay(mask, ALL_COLOUR, "lesions", 1)


def new_lesions(mask: np.ndarray) -> Overlay:
    """Contour what is new at the follow-up; draw it after all_lesions."""
    return Overlay(mask, NEW_COLOUR, "new lesions", 2)


def of_fate(mask: np.ndarray, fate: str) -> Overlay:
    """Contour lesions of one fate: what came or grew with a full line, what went or shrank with a dotted one, change thicker."""
    width = 1 if fate in UNCHANGED else 3 if fate in DOTTED else 2
    return Overlay(mask, look_of(fate).rgb, f"{fate} lesions", width, dotted=fate in DOTTED)


def by_fate(lesions: LesionMap) -> tuple[Overlay, ...]:
    """Contour lesions by what became of them, what matters most drawn last."""
    return tuple(of_fate(lesions.of(look.word), look.word) for look in reversed(lesions.present))


def grey_window(volumes: Sequence[np.ndarray], masks: Sequence[np.ndarray | None]) -> Window:
    """Find one grey window for several scans: percentiles 1 and 99.95 of all voxels inside the masks together.

    Args:
        volumes: (X, Y, Z) each; shapes may differ.
        masks: bool, one per volume; None or an empty mask: all voxels that are not zero.

    Returns: (lo, hi) with lo < hi, whatever the volumes hold.
    """
    parts = [_inside(volume, mask) for volume, mask in zip(volumes, masks, strict=True)]
    values = np.concatenate(parts) if parts else np.zeros(0)
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    lo, hi = np.percentile(values, PERCENTILES)
    return (float(lo), float(hi)) if hi > lo else (float(lo), float(lo) + 1.0)


def _inside(volume: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    chosen = mask.astype(bool) if mask is not None and mask.any() else volume != 0
    values: np.ndarray = volume[chosen].astype(np.float64)
    return values


def mosaic(
    image: np.ndarray,
    spacing_mm: Triple,
    window: Window,
    overlays: Sequence[Overlay] = (),
    *,
    brain: np.ndarray | None = None,
    outline: bool = False,
    slices: Sequence[int] | None = None,
    columns: int = 4,
    width: int = 1080,
    origin_mm: Triple | None = None,
    guide: Overlay | None = None,
) -> Picture:
    """Draw axial slices in rows, with contours.

    Args:
        image: (X, Y, Z).
        spacing_mm: voxel edges.
        window: grey values shown as black and white.
        overlays: drawn in order.
        brain: (X, Y, Z) bool: the rest is black and cut off.
        outline: draw the brain mask's contour too.
        slices: axial indices; None: chosen.
        columns: tiles in a row.
        width: of the picture in pixels.
        origin_mm: scanner place of voxel 0, for naming the slices in mm.
        guide: slices are chosen to cut it (see choose_slices); None: the last overlay that is not empty.

    Raises: ValueError where a mask has another shape than the image.
    """
    _require_shape(image, [*(o.mask for o in overlays), brain])
    guide = guide or next((o for o in reversed(overlays) if o.mask.any()), all_lesions(np.zeros(image.shape, bool)))
    chosen, shown, total = choose_slices(guide.mask, brain) if slices is None else (tuple(slices), 0, 0)
    drawn = (Overlay(brain, BRAIN_COLOUR, "brain mask"), *overlays) if outline and brain is not None else tuple(overlays)
    region = brain_region(image, brain, spacing_mm)
    scale = fit((Plane.AXIAL,) * columns, region, spacing_mm, width)
    scene = Scene(_blacken(image, brain, window), spacing_mm, window, region, scale, drawn, origin_mm)
    views = [View(Plane.AXIAL, z) for z in chosen]
    rows = [views[i : i + columns] for i in range(0, len(views), columns)]
    note = f"These slices cut {shown} of {total} {guide.label}." if total else ""
    return encode(draw_sheet(scene, rows), f"{len(views)} axial slices, patient's right on the left", note, drawn)


def brain_outline(
    image: np.ndarray, mask: np.ndarray, spacing_mm: Triple, window: Window | None = None, *, columns: int = 5, width: int = 1080
) -> Picture:
    """Draw the contour of the brain mask on axial, coronal and sagittal slices of the scan with its skull.

    Args:
        image: (X, Y, Z), not stripped, so that a mask that is too small shows.
        mask: (X, Y, Z) bool; may be empty.
        spacing_mm: voxel edges.
        window: None: percentiles 1 and 99.95 of what is not zero.
        columns: slices per plane.
        width: of the picture in pixels.

    Raises: ValueError where the shapes differ.
    """
    _require_shape(image, [mask])
    window = window or grey_window([image], [None])
    region = brain_region(image, image > window[0], spacing_mm)
    overlays = (Overlay(mask, BRAIN_COLOUR, "brain mask"),)
    rows = [[View(plane, i) for i in spread(mask, plane, columns)] for plane in (Plane.AXIAL, Plane.CORONAL, Plane.SAGITTAL)]
    scale = min(fit([v.plane for v in row], region, spacing_mm, width) for row in rows)
    scene = Scene(image, spacing_mm, window, region, scale, overlays)
    note = "" if mask.any() else "The brain mask is empty."
    return encode(
        draw_sheet(scene, rows), "Brain mask contour on axial, coronal and sagittal slices, patient's right on the left", note, overlays
    )


def flicker(
    baseline: np.ndarray,
    followup: np.ndarray,
    spacing_mm: Triple,
    window: Window,
    views: Sequence[View] | None = None,
    *,
    brain: np.ndarray | None = None,
    width: int = 1080,
) -> Flicker:
    """Draw the same slices of two registered scans in two pictures of one size and one grey window.

    Args:
        baseline: (X, Y, Z).
        followup: (X, Y, Z), same shape.
        spacing_mm: voxel edges.
        window: grey values shown as black and white, for both.
        views: slices; None: three axial, one coronal and two sagittal through the brain.
        brain: (X, Y, Z) bool, union of both masks; the rest is cut off, not blackened.
        width: of each picture in pixels.

    Raises: ValueError where the shapes differ.
    """
    _require_shape(baseline, [followup, brain])
    views = tuple(views) if views is not None else usual_views(brain if brain is not None else baseline > window[0])
    region = brain_region(baseline, brain, spacing_mm)
    rows = [views[i : i + 3] for i in range(0, len(views), 3)]
    scale = min(fit([v.plane for v in row], region, spacing_mm, width) for row in rows)
    pictures = []
    for image, name in ((baseline, "Baseline"), (followup, "Follow-up")):
        sheet = draw_sheet(Scene(image, spacing_mm, window, region, scale), rows)
        write(sheet, (sheet.width - 10, 6), name, anchor="ra", size=18)
        pictures.append(encode(sheet, f"{name} on {len(views)} slices for the registration check", "", ()))
    return Flicker(pictures[0], pictures[1])


def triptych(
    baseline: np.ndarray,
    followup: np.ndarray,
    focus: Overlay,
    others: Sequence[Overlay] = (),
    *,
    centre: Sequence[float],
    spacing_mm: Triple,
    window: Window,
    on_baseline: bool = False,
    field_mm: float = 48.0,
    width: int = 1080,
    name: str = "lesion",
) -> Picture:
    """Draw one lesion in axial slices: baseline, follow-up, one of them with contours, and where in the head it lies.

    Args:
        baseline: (X, Y, Z).
        followup: (X, Y, Z), same shape.
        focus: what the picture is about, drawn over the others.
        others: further contours, in order.
        centre: voxel indices (x, y, z) of the lesion; the nearest slice with something of the focus near it is shown.
        spacing_mm: voxel edges.
        window: grey values shown as black and white.
        on_baseline: contours on the baseline, for a lesion that is gone; else on the follow-up.
        field_mm: edge of the field that is shown.
        width: of the picture in pixels.
        name: of the lesion, for the alt text.

    Raises: ValueError where the shapes differ.
    """
    _require_shape(baseline, [followup, focus.mask, *(o.mask for o in others)])
    edge = (width - 3 * GAP) // 4
    box = field_around(baseline.shape, centre, spacing_mm, field_mm)
    view = View(Plane.AXIAL, nearest_slice(focus.mask, box, centre[2]))
    overlays = (*others, focus)
    crop = Scene(baseline, spacing_mm, window, box, edge / field_mm)
    marked, visit = (baseline, "Baseline") if on_baseline else (followup, "Follow-up")
    whole = brain_region(marked, None, spacing_mm)
    head = Scene(marked, spacing_mm, window, whole, edge / max(plane_mm(Plane.AXIAL, whole, spacing_mm)))
    panels = (
        (draw_tile(crop, view), "Baseline"),
        (draw_tile(replace(crop, image=followup), view), "Follow-up"),
        (draw_tile(replace(crop, image=marked, overlays=overlays), view), f"{visit}, contours"),
        (_locate(head, view, box, focus.colour), "Where"),
    )
    alt = f"{name}: baseline, follow-up, {visit.lower()} with contours, place in the head; axial, patient's right on the left"
    return encode(join_row([_frame(tile, edge, title) for tile, title in panels]), alt, "", overlays)


def _require_shape(image: np.ndarray, others: Sequence[np.ndarray | None]) -> None:
    for other in others:
        if other is not None and other.shape != image.shape:
            msg = f"expected arrays on one grid of shape {image.shape}; got {other.shape}"
            raise ValueError(msg)


def _blacken(image: np.ndarray, brain: np.ndarray | None, window: Window) -> np.ndarray:
    return image if brain is None or not brain.any() else np.where(brain, image, window[0])


def _locate(scene: Scene, view: View, box: Region, colour: Colour) -> Image.Image:
    """Draw a whole slice with the field of the crops as a frame."""
    tile = draw_tile(scene, view)
    nx, ny = scene.image.shape[:2]
    sx, sy = (step * scene.scale for step in scene.spacing_mm[:2])
    corners = ((nx - box[0].stop) * sx, (ny - box[1].stop) * sy, (nx - box[0].start) * sx - 1, (ny - box[1].start) * sy - 1)
    ImageDraw.Draw(tile).rectangle(corners, outline=colour, width=2)
    return tile


def _frame(tile: Image.Image, edge: int, title: str) -> Image.Image:
    """Put a tile in the middle of a black square with a title."""
    panel = Image.new("RGB", (edge, edge))
    panel.paste(tile, ((edge - tile.width) // 2, (edge - tile.height) // 2))
    write(panel, (6, 6), title, anchor="la", size=15)
    return panel
