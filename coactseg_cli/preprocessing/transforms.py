"""Rigid and affine transforms as (4, 4) matrices in RAS mm, and ITK text files; nothing here touches an image.

A matrix is named `b_from_a`: it maps points of space a to points of space b. To resample an image that lies in space b
onto a grid in space a, one needs `b_from_a`; this is what ITK and ANTs store in a file named `from-b_to-a_mode-image`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bids_app.errors import BidsAppError
from bids_app.files import read_text, write_text
from coactseg_cli.errors import CoactSegError

_RAS_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
DIGITS = 10
_KNOWN = ("MatrixOffsetTransformBase_", "AffineTransform_")


class UnreadableTransform(CoactSegError):
    """A transform file is not a linear ITK text transform."""


def ras_to_lps(matrix: np.ndarray) -> np.ndarray:
    """A (4, 4) map between RAS points as a map between LPS points; its own inverse."""
    lps: np.ndarray = _RAS_LPS @ matrix @ _RAS_LPS
    return lps


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Map (N, 3) points by a (4, 4) matrix."""
    moved: np.ndarray = points @ matrix[:3, :3].T + matrix[:3, 3]
    return moved


def translation(shift_mm: Sequence[float] | np.ndarray) -> np.ndarray:
    """The (4, 4) matrix that adds `shift_mm`."""
    matrix = np.eye(4)
    matrix[:3, 3] = shift_mm
    return matrix


def rotation_deg(matrix: np.ndarray) -> float:
    """Angle of the rotation part in degrees, 0 to 180."""
    cosine = (np.trace(matrix[:3, :3]) - 1.0) / 2.0
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def settled(numbers: np.ndarray) -> np.ndarray:
    """The same numbers (mm, or of a rotation) to DIGITS: beyond them, small products of matrices round by where they lie in memory."""
    return np.round(numbers, DIGITS)


def write_itk(path: Path, b_from_a: np.ndarray) -> None:
    """Write `b_from_a` (RAS mm) as an ITK text transform, the file that resamples an image of space b to a grid of space a.

    ITK points are LPS; the centre is 0. All digits are written, so that reading gives the same numbers.
    """
    lps = ras_to_lps(b_from_a)
    numbers = [*lps[:3, :3].ravel(), *lps[:3, 3]]
    text = (
        "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
        f"Parameters: {' '.join(repr(float(v) + 0.0) for v in numbers)}\nFixedParameters: 0 0 0\n"
    )
    write_text(path, text)


def read_itk(path: Path) -> np.ndarray:
    """Read an ITK text transform with a 3 x 3 matrix, a translation and a centre as `b_from_a`, (4, 4) in RAS mm.

    y = matrix (x - centre) + centre + translation, in LPS. Raises: UnreadableTransform.
    """
    fields = _read_fields(path)
    kind = fields.get("Transform", "nothing")
    parameters = _numbers(path, fields.get("Parameters", ""))
    centre = _numbers(path, fields.get("FixedParameters", "")) or [0.0, 0.0, 0.0]
    if not kind.startswith(_KNOWN) or len(parameters) != 12 or len(centre) != 3:
        msg = (
            f"{path}: expected one ITK text transform with 12 parameters and a centre (AffineTransform or "
            f"MatrixOffsetTransformBase, double_3_3); got {kind} with {len(parameters)}. Convert it, for instance with ITK or ANTs."
        )
        raise UnreadableTransform(msg)
    matrix = np.array(parameters[:9]).reshape(3, 3)
    lps = np.eye(4)
    lps[:3, :3] = matrix
    lps[:3, 3] = np.array(parameters[9:]) + np.array(centre) - matrix @ np.array(centre)
    if not np.isfinite(lps).all() or abs(np.linalg.det(matrix)) < 1e-6:
        msg = f"{path}: the transform cannot be inverted (matrix {matrix.tolist()}). Write it again."
        raise UnreadableTransform(msg)
    return ras_to_lps(lps)


def read_given(path: Path, space: str | None, transform: Path | None) -> np.ndarray | None:
    """How a file that the user supplied lies to its scan: `orig_from_space` (4, 4) RAS mm, None for the scan's own space.

    Args:
        path: the mask or label, for the message.
        space: its `space-` entity; None and 'orig' are the scan's own.
        transform: ITK text file from the scan to that space (`from-FLAIR_to-<space>_mode-image_xfm.txt`).

    Raises: UnreadableTransform where another space has no transform.
    """
    if space in {None, "orig"}:
        return None
    if transform is None:
        msg = (
            f"{path}: it lies in space-{space}, and no transform from the scan to that space lies beside it. "
            f"Put from-FLAIR_to-{space}_mode-image_xfm.txt there, or give the file on the scan's own grid."
        )
        raise UnreadableTransform(msg)
    return read_itk(transform)


def _read_fields(path: Path) -> dict[str, str]:
    try:
        lines = read_text(path).splitlines()
    except BidsAppError as error:
        msg = f"{path}: the transform cannot be read ({error}). Give an ITK text transform."
        raise UnreadableTransform(msg) from error
    if sum(line.startswith("Transform:") for line in lines) > 1:
        msg = f"{path}: more than one transform in the file. Give one linear transform."
        raise UnreadableTransform(msg)
    pairs = (line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, value in pairs}


def _numbers(path: Path, text: str) -> list[float]:
    try:
        return [float(word) for word in text.split()]
    except ValueError as error:
        msg = f"{path}: expected numbers; got {text!r}. Write the transform again."
        raise UnreadableTransform(msg) from error
