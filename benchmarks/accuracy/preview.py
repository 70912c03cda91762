"""A picture of made pairs, to look at before a figure is believed: baseline, follow-up with the lesions outlined, difference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.accuracy.backgrounds import Background
from benchmarks.accuracy.contrast import Range
from benchmarks.accuracy.injection import Fate, make_pair

WINDOW = (-2.5, 3.0)  # SD
COLOURS = {Fate.NEW: "#d55e00", Fate.STABLE: "#009e73", Fate.RESOLVED: "#0072b2"}


def write_preview(path: Path, backgrounds: Sequence[Background], ranges: Sequence[Range]) -> None:
    """Two rows per background: the slices through its two largest new lesions."""
    rows = [
        (pair, lesion)
        for i, background in enumerate(backgrounds)
        for pair in [make_pair(background, ranges, i, with_lesions=True)]
        for lesion in [lesion for lesion in pair.lesions if lesion.fate is Fate.NEW][:2]
    ]
    figure = Figure(figsize=(9, 3 * len(rows)), layout="constrained")
    for axes, (pair, lesion) in zip(figure.subplots(len(rows), 3, squeeze=False), rows, strict=True):
        z = int(np.median(np.argwhere(pair.reference == lesion.number)[:, 2]))
        for place, image in zip(axes, (pair.baseline, pair.followup, pair.followup - pair.baseline), strict=True):
            place.imshow(image[:, :, z].T, cmap="gray", origin="lower", vmin=WINDOW[0], vmax=WINDOW[1])
            place.axis("off")
        for other in pair.lesions:
            here = other.number == pair.reference[:, :, z].T
            if here.any():
                axes[1].contour(here, [0.5], colors=COLOURS[other.fate], linewidths=0.7)
        axes[0].set_title(f"{pair.name}: {lesion.volume_mm3:.0f} mm3, contrast {lesion.seen:.2f} SD", fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
