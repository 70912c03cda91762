"""From the files of a case to two boolean volumes on the reference's grid, with the probability map where there is one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import affine_transform

from bids_app.cases import LabelKind, MaskPair
from bids_app.errors import UnreadableImage
from coactseg_cli.errors import GridMismatch
from coactseg_cli.metrics.case import CasePair
from coactseg_cli.metrics.results import EvaluatedCase
from coactseg_cli.volumes import Volume, load_stored, same_grid, stated_spacing_mm

INTEGER_TOLERANCE = 1e-5  # a value this close to an integer is one: scaled files are not exact
SPACING_TOLERANCE = 1e-4  # relative, of pixdim against the affine: an oblique affine is stored in single precision


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How files become masks."""

    threshold: float | None = None  # from this probability on a voxel is lesion; None: masks must hold integers
    predicted_values: tuple[int, ...] = ()  # labels that are lesion; empty: every label above 0
    reference_values: tuple[int, ...] = ()
    resample: bool = False  # bring a prediction on another grid to the reference's
    probabilities: bool = True  # read the map of a case where there is one


@dataclass(frozen=True, slots=True)
class LoadedCase:
    """What score_case needs, and how it was come by."""

    pair: CasePair
    resampled: bool


def load_case(pair: MaskPair, reading: Reading) -> LoadedCase:
    """Read the masks of a case; a missing prediction is an empty mask.

    Raises: UnreadableImage, ConflictingGeometry; GridMismatch where the grids differ and nothing is to be resampled.
    """
    assert pair.reference is not None
    reference = binarise(load_stored(pair.reference), pair.reference, reading.threshold, reading.reference_values)
    predicted, probability = reference.like(np.zeros_like(reference.data)), None
    if pair.predicted is not None:
        stored = load_stored(pair.predicted)
        predicted = binarise(stored, pair.predicted, reading.threshold, reading.predicted_values)
        probability = _probability(pair, stored, reading)
    resampled = not same_grid(predicted, reference)
    if resampled:
        _require_resampling(predicted, reference, pair, reading)
        predicted = nearest(predicted, reference)
        probability = None if probability is None else nearest(probability, reference)
    case = CasePair(pair.case, pair.kind, predicted, reference, spacing_of(pair.reference, reference), probability)
    return LoadedCase(case, resampled)


def masks_of(case: EvaluatedCase) -> tuple[Volume, Volume]:
    """Read the predicted and the reference mask of a scored case again, both on the reference's grid. Raises: as load_case."""
    reading = Reading(
        threshold=case.threshold,
        predicted_values=case.predicted_values,
        reference_values=case.reference_values,
        resample=case.resampled,
        probabilities=False,
    )
    loaded = load_case(MaskPair(case.case, LabelKind(case.kind), case.predicted, case.reference), reading)
    return loaded.pair.predicted, loaded.pair.reference


def _probability(pair: MaskPair, stored: Volume, reading: Reading) -> Volume | None:
    """The map of a case: the file that was found for it, else the prediction itself where it holds probabilities."""
    if not reading.probabilities:
        return None
    if pair.probability is None:
        return stored if _between(stored.data).size else None
    volume = stored if pair.probability == pair.predicted else load_stored(pair.probability)
    low, high = float(volume.data.min()), float(volume.data.max())
    if low < -INTEGER_TOLERANCE or high > 1 + INTEGER_TOLERANCE:
        msg = f"{pair.probability}: expected probabilities from 0 to 1; found {low:g} to {high:g}. Scale the map, or pass --no-curves."
        raise UnreadableImage(msg)
    if not same_grid(volume, stored):
        raise GridMismatch(_different(volume, stored, pair.probability, pair.predicted, "Give the map of this mask, or pass --no-curves."))
    return volume


def _require_resampling(predicted: Volume, reference: Volume, pair: MaskPair, reading: Reading) -> None:
    if not reading.resample:
        advice = "Scores belong on one grid: give the masks on the scan's own grid, or pass --resample."
        raise GridMismatch(_different(predicted, reference, pair.predicted, pair.reference, advice))


def _different(first: Volume, second: Volume, name: Path | None, other: Path | None, advice: str) -> str:
    """Both names, shapes, orientations and affines."""
    grids = (
        f"{volume.shape} {''.join(nib.orientations.aff2axcodes(volume.affine))} with affine {_rounded(volume.affine)}"
        for volume in (first, second)
    )
    return f"{name} and {other} lie on different grids: {', '.join(grids)}. {advice}"


def _rounded(affine: np.ndarray) -> list[list[float]]:
    """Without the digits beyond single precision."""
    return [[float(f"{value:.7g}") for value in row] for row in affine]


def binarise(volume: Volume, path: Path, threshold: float | None = None, values: tuple[int, ...] = ()) -> Volume:
    """Turn a mask into booleans: a label above 0 is lesion; values between integers need a threshold, from which on they are lesion.

    Args:
        volume: as stored.
        path: its file, for messages.
        threshold: of probabilities.
        values: labels that are lesion; empty: every label above 0.

    Raises: UnreadableImage for negative values, and for values between integers without a threshold.
    """
    data = volume.data
    if data.dtype.kind in "iuf" and data.min() < -INTEGER_TOLERANCE:
        msg = f"{path}: expected a mask or probabilities; the smallest value is {data.min():g}. Give the lesion mask, not the scan."
        raise UnreadableImage(msg)
    between = _between(data)
    if not between.size:
        return volume.like(np.isin(np.round(data), values) if values else data > 0.5)
    if threshold is None or values:
        msg = (
            f"{path}: expected a mask of integers; {between.size} voxels lie between, for instance {between[0]:g}. "
            "Give --threshold to binarise probabilities."
        )
        raise UnreadableImage(msg)
    if data.max() > 1 + INTEGER_TOLERANCE:
        msg = f"{path}: --threshold needs probabilities from 0 to 1; the largest value is {data.max():g}. Scale the map or give a mask."
        raise UnreadableImage(msg)
    return volume.like(data >= threshold)


def _between(data: np.ndarray) -> np.ndarray:
    """The values that are no integer: (n,)."""
    if data.dtype.kind != "f":
        return np.zeros(0)
    values = data[data != 0]  # lesions are small
    return np.asarray(values[np.abs(values - np.round(values)) > INTEGER_TOLERANCE])


def nearest(volume: Volume, grid: Volume) -> Volume:
    """Bring a volume to another grid, nearest neighbour; 0 outside."""
    to_index = np.linalg.inv(volume.affine) @ grid.affine
    data = volume.data.view(np.uint8) if volume.data.dtype == bool else volume.data
    moved = affine_transform(data, to_index[:3, :3], to_index[:3, 3], grid.shape, order=0, mode="grid-constant", cval=0)
    return grid.like(moved.astype(volume.data.dtype, copy=False))


def spacing_of(path: Path, volume: Volume) -> tuple[float, float, float]:
    """The voxel edges that the header states (pixdim), where they agree with its affine, else those of the affine.

    They are taken as the shortest decimals that single precision can mean: 0.9, not 0.8999999761581421.
    """
    stated = stated_spacing_mm(path)
    edges = stated if np.allclose(stated, volume.spacing_mm, rtol=SPACING_TOLERANCE, atol=0) else np.array(volume.spacing_mm)
    x, y, z = (float(str(np.float32(edge))) for edge in edges)
    return x, y, z
