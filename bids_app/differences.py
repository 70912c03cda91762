"""Follow-up minus baseline as a picture with its scale. Decides no lesion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from bids_app.slices import brain_region, choose_slices
from bids_app.tiles import Overlay, Picture, Plane, Scene, Triple, View, draw_sheet, encode_image, fit, join_column, write

WIDTH = 1080  # pixels
COLUMNS, ROWS = 4, 2
SCALE_HEIGHT = 46  # pixels of the strip that explains the colours
STOPS = (  # from -1 to 1: black in the middle, so that what did not change stays dark
    (-1.0, (214, 242, 255)),
    (-0.75, (92, 176, 250)),
    (-0.4, (20, 74, 150)),
    (-0.15, (4, 14, 30)),
    (0.0, (0, 0, 0)),
    (0.15, (30, 9, 3)),
    (0.4, (150, 46, 14)),
    (0.75, (250, 150, 56)),
    (1.0, (255, 240, 196)),
)


def difference(
    baseline: np.ndarray,
    followup: np.ndarray,
    brain: np.ndarray,
    spacing_mm: Triple,
    limit: float,
    guide: np.ndarray,
    *,
    overlays: Sequence[Overlay] = (),
    origin_mm: Triple | None = None,
) -> Picture:
    """Draw follow-up minus baseline inside the brain: orange is brighter at the follow-up, blue is darker.

    Args:
        baseline: (X, Y, Z), normalised.
        followup: (X, Y, Z), same grid and scale of grey values.
        brain: (X, Y, Z) bool; outside it nothing is shown.
        spacing_mm: voxel edges.
        limit: difference that is shown as the brightest colour.
        guide: (X, Y, Z) bool: slices are chosen to cut it.
        overlays: contours drawn over it.
        origin_mm: scanner place of voxel 0, for naming the slices in mm.

    Raises: ValueError where the shapes differ.
    """
    shapes = {a.shape for a in (baseline, followup, brain, guide)}
    if len(shapes) > 1:
        msg = f"expected arrays on one grid; got shapes {sorted(shapes)}"
        raise ValueError(msg)
    change = np.where(brain, followup - baseline, 0.0)
    chosen, _, _ = choose_slices(guide, brain, COLUMNS * ROWS)
    region = brain_region(followup, brain, spacing_mm)
    scale = fit((Plane.AXIAL,) * COLUMNS, region, spacing_mm, WIDTH)
    scene = Scene(change, spacing_mm, (-limit, limit), region, scale, tuple(overlays), origin_mm, colour_table())
    views = [View(Plane.AXIAL, z) for z in chosen]
    sheet = draw_sheet(scene, [views[i : i + COLUMNS] for i in range(0, len(views), COLUMNS)])
    legend = tuple(("#{:02x}{:02x}{:02x}".format(*o.colour), o.label) for o in overlays)
    meaning = "orange is brighter at the follow-up, blue is darker"
    alt = f"Follow-up minus baseline on {len(views)} axial slices: {meaning}; patient's right on the left"
    return encode_image(join_column([sheet, scale_bar(sheet.width, limit)]), alt, legend=legend)


def colour_table() -> np.ndarray:
    """(256, 3) uint8 from the lowest difference to the highest; entry 127 and 128 lie at zero and are almost black."""
    places, colours = zip(*STOPS, strict=True)
    levels = np.linspace(-1.0, 1.0, 256)
    channels = [np.interp(levels, places, [c[i] for c in colours]) for i in range(3)]
    return np.stack(channels, axis=1).round().astype(np.uint8)


def scale_bar(width: int, limit: float) -> Image.Image:
    """Draw the colours from -limit to limit with numbers and words below them."""
    strip = Image.new("RGB", (width, SCALE_HEIGHT))
    length = width // 2
    left = (width - length) // 2
    bar = np.repeat(colour_table()[np.linspace(0, 255, length).round().astype(int)][None], 14, axis=0)
    strip.paste(Image.fromarray(bar), (left, 8))
    for share, words in ((0.0, f"-{limit:g}"), (0.5, "0"), (1.0, f"+{limit:g}")):
        write(strip, (left + round(share * (length - 1)), 26), words, anchor="ma", size=13)
    write(strip, (left - 12, 15), "darker at the follow-up", anchor="rm", size=13)
    write(strip, (left + length + 12, 15), "brighter at the follow-up", anchor="lm", size=13)
    return strip
