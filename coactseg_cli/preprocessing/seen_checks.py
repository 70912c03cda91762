"""Checks of a scan against the scans that the model saw in training. Knows no model file, only the ranges it gives."""

from __future__ import annotations

from collections.abc import Sequence

from coactseg_cli.preprocessing.quality import Check, Rule
from coactseg_cli.seen import PERCENTILES, Range, ScanProfile, SeenRanges

SPACING_MARGIN = 0.25  # of the range's ends: a quarter wider or narrower voxels look much the same on the prepared grid
EXTENT_MARGIN = 0.10
VOLUME_MARGIN = 0.15
INTENSITY_MARGIN = 0.4  # SD; leaving each of the seven shared participants out in turn, the others' range is missed by at most 0.31
AXES = ("left-right", "back-front", "bottom-top")
_SHAKY = "the maps are less certain than the model's card says, so look at each of them."


def seen_checks(profile: ScanProfile, seen: SeenRanges, session: str | None) -> tuple[Check, ...]:
    """Each number of a scan against the range over the training's scans, widened by a margin."""
    ranges = (
        ("seen-in-plane-spacing", "mm", "Voxels are of a width", profile.in_plane_mm, widened(seen.in_plane_mm, SPACING_MARGIN)),
        ("seen-slice-thickness", "mm", "Slices are of a thickness", profile.slice_mm, widened(seen.slice_mm, SPACING_MARGIN)),
        ("seen-brain-volume", "ml", "The brain mask is of a size", profile.brain_ml, widened(seen.brain_ml, VOLUME_MARGIN)),
        *(
            (f"seen-extent-{name}", "mm", f"The brain shown is of a {name} extent", length, widened(extent, EXTENT_MARGIN))
            for name, length, extent in zip(AXES, profile.extent_mm, seen.extent_mm, strict=True)
        ),
    )
    return (
        *(
            c
            for name, units, what, value, (low, high) in ranges
            for c in Rule(name, units, f"{what} that the model did not see in training: {_SHAKY}", low, high).judge(value, session)
        ),
        *intensity_check(profile.intensities, seen.intensities, session),
    )


def widened(values: Range, margin: float) -> Range:
    """A range with its ends moved out by a share of each."""
    low, high = values
    return low * (1.0 - margin), high * (1.0 + margin)


def intensity_check(scores: Sequence[float], seen: Sequence[Range], session: str | None) -> tuple[Check, ...]:
    """How far, in SD of the brain, a percentile of the z-scored brain lies outside the training's range; the one that is furthest out."""
    beyond = [max(low - score, score - high, 0.0) for score, (low, high) in zip(scores, seen, strict=True)]
    worst = max(range(len(beyond)), key=lambda i: beyond[i])
    where = f"the {PERCENTILES[worst]:.0f}th percentile" if beyond[worst] > 0 else "no percentile"
    reason = f"The intensity profile of the brain is one that the model did not see in training ({where} is outside): {_SHAKY}"
    return Rule("seen-intensities", "SD", reason, high=INTENSITY_MARGIN).judge(beyond[worst], session)
