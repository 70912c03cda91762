"""Where the brain is in a scan: a mask that was given, HD-BET, the builtin method, or what is not zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bids_app.cases import Mask
from coactseg_cli.config import SkullStrip
from coactseg_cli.errors import BrainExtractionFailed
from coactseg_cli.preprocessing import hd_bet
from coactseg_cli.preprocessing.builtin_brain import find_brain
from coactseg_cli.preprocessing.resampling import Interpolation, grid_of, resample
from coactseg_cli.preprocessing.transforms import read_given
from coactseg_cli.volumes import Volume, from_ras, load, same_grid, to_ras

LEAST_RANGE = 1e-30  # of intensities: below it single precision has no room for a histogram
LEAST_BRAIN_MM3 = 50_000.0  # a tenth of a small adult brain; thick partial coverage passes


@dataclass(frozen=True, slots=True, eq=False)
class BrainMask:
    """A brain mask and where it comes from."""

    volume: Volume  # bool, on the scan's own grid
    method: str  # given, hd-bet, builtin or none
    why: str  # one sentence


def extract(
    native: Volume, *, method: SkullStrip, given: Mask | None = None, hd_bet_weights: Path | None = None, threads: int = 1
) -> BrainMask:
    """Find the brain in a scan.

    AUTO takes a mask that was given, else HD-BET where its weights are, else the builtin method. A method that is named
    is used, whatever else is there.

    Args:
        native: (X, Y, Z) the scan, any orientation.
        method: which way.
        given: a mask of this visit.
        hd_bet_weights: folder with HD-BET's parameter files; None: HD-BET's own place.
        threads: for HD-BET.

    Raises: BrainExtractionFailed where nothing plausible was found, MissingWeights, GridMismatch, UnreadableTransform.
    """
    low, high = float(native.data.min()), float(native.data.max())
    if high - low <= LEAST_RANGE:
        msg = f"the scan is constant (every voxel is {high:g}). Leave it out or convert it again."
        raise BrainExtractionFailed(msg)
    chosen, why = choose(method, given, hd_bet_weights)
    if chosen == "given" and given is not None:
        mask = carry_back(given, native)
    elif chosen == "hd-bet":
        mask = hd_bet.find_brain(native, hd_bet.weights_folder(hd_bet_weights), threads)
    elif chosen == "builtin":
        mask = find_brain(native)
    else:
        return BrainMask(_checked(native.like(native.data != 0), 0.0, chosen), chosen, why)
    named = f"given: {given.path}" if chosen == "given" and given is not None else chosen
    return BrainMask(_checked(mask, LEAST_BRAIN_MM3, named), chosen, why)


def choose(method: SkullStrip, given: Mask | None, hd_bet_weights: Path | None) -> tuple[str, str]:
    """Which way is taken (given, hd-bet, builtin, none), and why in one sentence. Raises: MissingWeights."""
    if method is SkullStrip.NONE:
        return "none", "--skull-strip none: what is not zero is brain."
    if method is SkullStrip.BUILTIN:
        return "builtin", "--skull-strip builtin was asked for."
    if method is SkullStrip.HD_BET:
        hd_bet.require_weights(hd_bet.weights_folder(hd_bet_weights))
        return "hd-bet", "--skull-strip hd-bet was asked for."
    if given is not None:
        return "given", f"A brain mask was given: {given.path.name}."
    folder = hd_bet.weights_folder(hd_bet_weights)
    if hd_bet.has_weights(folder):
        return "hd-bet", "No mask was given, and HD-BET's weights are there."
    if hd_bet_weights is not None:
        hd_bet.require_weights(folder)
    return "builtin", f"No mask was given, and {folder} holds no HD-BET weights."


def of_visit(masks: Sequence[Mask], session: str | None) -> Mask | None:
    """The mask of a visit: the first that names its session."""
    return next((m for m in masks if m.session == session), None)


def carry_back(given: Mask, native: Volume) -> Volume:
    """A given mask on the scan's own grid: as it is where the grids are one but for the order of their axes, else in one interpolation."""
    mask = to_ras(load(given.path))
    mask = mask.like((mask.data > 0.5).astype(np.float32))
    orig_from_mask = read_given(given.path, given.space, given.transform)
    if orig_from_mask is None and same_grid(mask, to_ras(native)):
        return from_ras(mask.data > 0.5, native)
    return resample(mask, grid_of(native), np.eye(4) if orig_from_mask is None else np.linalg.inv(orig_from_mask), Interpolation.MASK)


def _checked(mask: Volume, least_mm3: float, method: str) -> Volume:
    """The mask. Raises: BrainExtractionFailed where it is too small."""
    found = float(mask.data.sum()) * mask.voxel_mm3
    if found <= least_mm3:
        msg = (
            f"brain extraction ({method}) found {found / 1000:.1f} ml, less than {least_mm3 / 1000:.0f} ml. "
            "Look at the scan; give a mask with --derivatives, or choose another --skull-strip."
        )
        raise BrainExtractionFailed(msg)
    return mask
