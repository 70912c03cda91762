"""Masks of foreign files: read, checked, put on the grid of their scan."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bids_app.errors import UnreadableImage
from coactseg_cli.errors import GridMismatch
from coactseg_cli.volumes import Volume, load, same_grid


def read_mask(path: Path, scan: Volume, scan_path: Path, *, trust_array: bool = False) -> Volume:
    """A mask of 0 and 1 on the grid of its scan, bool.

    Args:
        path: NIfTI file.
        scan: the scan that it belongs to.
        scan_path: its file, for messages.
        trust_array: take the array as it is where only the header differs.

    Raises: UnreadableImage where the file holds other values; GridMismatch.
    """
    mask = load(path)
    require_binary(mask.data, str(path))
    if mask.data.shape != scan.data.shape:
        msg = (
            f"{path}: expected the {scan.data.shape} voxels of {scan_path}; got {mask.data.shape}. "
            "Fetch both again, or leave this patient out."
        )
        raise GridMismatch(msg)
    if not trust_array and not same_grid(mask, scan):
        msg = (
            f"{path}: its header places it elsewhere than {scan_path}: affine {mask.affine.tolist()}, expected {scan.affine.tolist()}. "
            "Look at both in a viewer; where only the mask's header is wrong, pass --ignore-label-geometry."
        )
        raise GridMismatch(msg)
    return scan.like(mask.data > 0.5)


def require_binary(data: np.ndarray, name: str) -> None:
    """Raises: UnreadableImage where a mask holds anything but 0 and 1."""
    odd = (data != 0) & (data != 1)
    if odd.any():
        example = f"{float(data[odd][0]):g}"
        msg = f"{name}: expected a mask of 0 and 1; {int(odd.sum())} voxels hold others, for instance {example}. Is it the scan?"
        raise UnreadableImage(msg)
