"""A picture sheet of what the network sees: a row per sample, after rendering. Draws nothing of its own and decides no label.

    title | baseline | follow-up | difference | baseline + all lesions | follow-up + all and new lesions

Patches are turned at random, so no tile names a side.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from bids_app.figures import ALL_COLOUR, BRAIN_COLOUR, NEW_COLOUR
from bids_app.files import write_bytes
from bids_app.tiles import Colour, contour, join_column, join_row, write
from coactseg_cli.components import label, sizes
from coactseg_cli.targets import IGNORE

GREY_Z = (-2.5, 3.5)  # z-scores shown as black and white; one window for all, so that rows can be compared
DIFFERENCE_Z = (-3.0, 3.0)
TILE = 192  # pixels
CAPTION = 18  # pixels above a row
IGNORED_SHARE = 0.25  # of blue, over what is not taught
COLUMNS = ("baseline", "follow-up", "difference", "all lesions at baseline", "all and new at follow-up")
LEGEND = "amber: lesion   red: new lesion   blue: that map is not taught there"


def write_sheet(
    path: Path,
    baseline: np.ndarray,
    followup: np.ndarray,
    targets: Sequence[np.ndarray],
    titles: Sequence[str],
) -> None:
    """Write a PNG.

    Args:
        path: file to write; folders are made.
        baseline: (B, X, Y, Z) z-scores.
        followup: (B, X, Y, Z).
        targets: all_baseline, all_followup, new: (B, X, Y, Z) each, as coactseg_cli.targets.Targets has them.
        titles: B captions: the kind of sample and what was painted.

    Raises: ValueError where the numbers or shapes of the samples differ; OSError where the file cannot be written.
    """
    arrays = [np.asarray(a) for a in (baseline, followup, *targets)]
    if len({a.shape for a in arrays}) > 1 or len(titles) != len(arrays[0]) or arrays[0].ndim != 4:
        msg = f"expected five arrays (B, X, Y, Z) of one shape and B titles; got {[a.shape for a in arrays]} and {len(titles)} titles"
        raise ValueError(msg)
    rows = [_caption(f"{' | '.join(COLUMNS)}      {LEGEND}")]
    for i, title in enumerate(titles):
        z = chosen_slice(*(a[i] for a in arrays[2:]))
        rows += [_caption(f"{title}  (slice {z})"), _row(*(a[i, :, :, z] for a in arrays))]
    buffer = io.BytesIO()
    join_column(rows).save(buffer, "PNG", optimize=True)
    write_bytes(path, buffer.getvalue())


def chosen_slice(all_baseline: np.ndarray, all_followup: np.ndarray, new: np.ndarray) -> int:
    """The slice along the last axis that shows most of the largest new lesion, else of the largest lesion, else the middle one."""
    for mask in (new == 1, (all_baseline == 1) | (all_followup == 1)):
        labels, n = label(mask, 26)
        if n:
            largest = labels == 1 + int(np.argmax(sizes(labels, n)))
            return int(np.argmax(np.count_nonzero(largest, axis=(0, 1))))
    return int(new.shape[2] // 2)


def _row(baseline: np.ndarray, followup: np.ndarray, all_baseline: np.ndarray, all_followup: np.ndarray, new: np.ndarray) -> Image.Image:
    """The tiles of one slice (X, Y)."""
    first, second = _grey(baseline, GREY_Z), _grey(followup, GREY_Z)
    before = _outline(_tint(first, all_baseline == IGNORE), ((all_baseline == 1, ALL_COLOUR),))
    after = _outline(_tint(second, new == IGNORE), ((all_followup == 1, ALL_COLOUR), (new == 1, NEW_COLOUR)))
    return join_row([first, second, _grey(followup - baseline, DIFFERENCE_Z), before, after])


def _grey(image: np.ndarray, window: tuple[float, float]) -> Image.Image:
    low, high = window
    grey = np.nan_to_num(np.clip((image.astype(np.float64) - low) / (high - low), 0.0, 1.0) * 255.0).astype(np.uint8)
    return Image.fromarray(_shown(grey)).resize(_size(image), Image.Resampling.BICUBIC).convert("RGB")


def _shown(plane: np.ndarray) -> np.ndarray:
    """(X, Y) as rows from top to bottom: the second axis upwards."""
    return np.ascontiguousarray(plane[:, ::-1].T)


def _size(plane: np.ndarray) -> tuple[int, int]:
    """Width and height of a tile: the longer edge fills it."""
    scale = TILE / max(plane.shape)
    return max(round(plane.shape[0] * scale), 1), max(round(plane.shape[1] * scale), 1)


def _outline(tile: Image.Image, masks: Sequence[tuple[np.ndarray, Colour]]) -> Image.Image:
    pixels = np.array(tile)
    for mask, colour in masks:
        pixels[contour(_shown(mask), tile.size, 1)] = colour
    return Image.fromarray(pixels)


def _tint(tile: Image.Image, mask: np.ndarray) -> Image.Image:
    """Blue over what is not taught: it is often speckled, so a contour would hide the scan."""
    pixels = np.array(tile, np.float32)
    here = np.asarray(Image.fromarray(_shown(mask)).resize(tile.size, Image.Resampling.NEAREST))
    pixels[here] += IGNORED_SHARE * (np.array(BRAIN_COLOUR, np.float32) - pixels[here])
    return Image.fromarray(pixels.astype(np.uint8))


def _caption(text: str) -> Image.Image:
    strip = Image.new("RGB", (len(COLUMNS) * TILE, CAPTION))
    write(strip, (4, CAPTION // 2), text, anchor="lm", size=12)
    return strip
