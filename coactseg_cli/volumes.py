"""A 3D array with its place in the scanner: load, save, compare, crop and undo. Nothing here resamples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from bids_app.errors import UnreadableImage
from bids_app.files import replacing
from coactseg_cli.errors import ConflictingGeometry, GridMismatch
from coactseg_cli.nifti import Header, read_header, read_image

GEOMETRY_TOLERANCE_MM = 1e-2  # sform against qform, and grid against grid, at the corners of the volume
LEAST_EDGE_MM = 1e-3
LEAST_FULLNESS = 0.1  # of a voxel's volume relative to a brick's with the same edges; a tilted gantry leaves 0.8
WIDEST_FIELD_MM = 2000.0  # more is no head, and on a grid of 1 mm no computer holds it
FARTHEST_MM = 10_000.0  # of the first voxel from the origin: beyond it single precision loses the place


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """An image: data (X, Y, Z) and affine (4, 4), voxel index to scanner RAS mm."""

    data: np.ndarray
    affine: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """(X, Y, Z)."""
        x, y, z = self.data.shape
        return x, y, z

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel edge lengths in mm along the array axes."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def voxel_mm3(self) -> float:
        """Volume of one voxel."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    def like(self, data: np.ndarray) -> Volume:
        """The same grid with other data. Raises: GridMismatch where the shape differs."""
        if data.shape != self.data.shape:
            msg = f"expected an array of shape {self.data.shape}; got {data.shape}"
            raise GridMismatch(msg)
        return Volume(data, self.affine)


@dataclass(frozen=True, slots=True)
class Box:
    """A half-open box of voxel indices, start <= index < stop."""

    start: tuple[int, int, int]
    stop: tuple[int, int, int]

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """For indexing an array."""
        (x0, y0, z0), (x1, y1, z1) = self.start, self.stop
        return slice(x0, x1), slice(y0, y1), slice(z0, z1)


def same_grid(a: Volume, b: Volume, tolerance_mm: float = GEOMETRY_TOLERANCE_MM) -> bool:
    """Whether two volumes have one shape and place every corner within `tolerance_mm`."""
    return a.data.shape == b.data.shape and corner_distance_mm(a.affine, b.affine, a.shape) <= tolerance_mm


def require_same_grid(a: Volume, b: Volume, name_a: str, name_b: str) -> None:
    """Raises: GridMismatch with both shapes and affines."""
    if not same_grid(a, b):
        msg = (
            f"{name_a} and {name_b} lie on different grids: {a.data.shape} with affine {a.affine.tolist()}, "
            f"{b.data.shape} with affine {b.affine.tolist()}. Resample one to the other first."
        )
        raise GridMismatch(msg)


def corner_distance_mm(a: np.ndarray, b: np.ndarray, shape: tuple[int, int, int]) -> float:
    """Largest distance in mm between the places two affines give to the corners of a volume."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij")).reshape(3, -1)
    return float(np.linalg.norm((a - b)[:3, :3] @ corners + (a - b)[:3, 3:], axis=0).max())


def load(path: Path, dtype: type[np.generic] = np.float32) -> Volume:
    """Read a 3D NIfTI, or a volume of FreeSurfer (.mgz), as it is stored (no reorientation), scaling applied. Raises: as load_stored."""
    stored = load_stored(path)
    data = stored.data.astype(dtype, copy=False)
    _require_finite(data, path)
    return stored.like(data)


def load_stored(path: Path) -> Volume:
    """As load, in the number format of the file where that is not scaled: masks of one byte stay one byte.

    Raises: UnreadableImage (truncated, not 3D, no affine, not finite, not real), ConflictingGeometry.
    """
    stored = read_image(path)
    affine = _affine_of(stored.header, stored.data.shape, path)
    _require_finite(stored.data, path)
    return Volume(stored.data, affine)


def stated_spacing_mm(path: Path) -> np.ndarray:
    """(3,) voxel edges that the header states (pixdim), which need not be those of its affine. Raises: UnreadableImage."""
    return np.array(read_header(path).get_zooms()[:3], np.float64)


def _require_finite(data: np.ndarray, path: Path) -> None:
    if data.dtype.kind == "f" and not np.isfinite(data).all():
        msg = f"{path}: {int((~np.isfinite(data)).sum())} voxels are NaN or infinite. Replace them, for instance with 0."
        raise UnreadableImage(msg)


def _affine_of(header: Header, shape: tuple[int, ...], path: Path) -> np.ndarray:
    """The affine of the header, sform first. Raises: UnreadableImage, ConflictingGeometry."""
    if not isinstance(header, nib.Nifti1Header):
        affine = np.asarray(header.get_affine(), np.float64)
        _require_usable(affine, shape, path)
        return affine
    sform, sform_code = header.get_sform(coded=True)
    qform, qform_code = _qform(header, path)
    if not sform_code and not qform_code:
        msg = (
            f"{path}: the header has neither sform nor qform, so left and right are unknown. "
            "Set one (for instance by converting from DICOM again) or leave the scan out."
        )
        raise UnreadableImage(msg)
    affine = np.asarray(sform if sform_code else qform, dtype=np.float64)
    _require_usable(affine, shape, path)
    if sform_code and qform_code:
        x, y, z = shape[:3]
        distance = corner_distance_mm(np.asarray(sform), np.asarray(qform), (x, y, z))
        limit = max(0.1 * float(np.linalg.norm(affine[:3, :3], axis=0).min()), GEOMETRY_TOLERANCE_MM)
        if distance > limit:
            msg = (
                f"{path}: sform and qform disagree by {distance:.3f} mm (limit {limit:.3f}): sform {np.asarray(sform).tolist()}, "
                f"qform {np.asarray(qform).tolist()}. Left and right are at stake: set both to the true one."
            )
            raise ConflictingGeometry(msg)
    return affine


def _require_usable(affine: np.ndarray, shape: tuple[int, ...], path: Path) -> None:
    """Raises: UnreadableImage where the affine cannot be that of a head scan."""
    way_out = "Repair the header."
    if not np.isfinite(affine).all():
        msg = f"{path}: the affine {affine.tolist()} is not usable (not finite). {way_out}"
        raise UnreadableImage(msg)
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    if edges.min() < LEAST_EDGE_MM or abs(np.linalg.det(affine[:3, :3])) < LEAST_FULLNESS * edges.prod():
        msg = f"{path}: the affine {affine.tolist()} is not usable (a voxel edge of zero, or edges that lie in one plane). {way_out}"
        raise UnreadableImage(msg)
    field, shift = float((edges * shape[:3]).max()), float(np.abs(affine[:3, 3]).max())
    if field > WIDEST_FIELD_MM or shift > FARTHEST_MM:
        msg = (
            f"{path}: by its affine {affine.tolist()} the image is {field:.4g} mm wide and lies {shift:.4g} mm from the origin; expected "
            f"at most {WIDEST_FIELD_MM:g} and {FARTHEST_MM:g} mm. {way_out}"
        )
        raise UnreadableImage(msg)


def _qform(header: nib.Nifti1Header, path: Path) -> tuple[np.ndarray | None, int]:
    """The qform and its code; where it is broken and there is an sform: none."""
    try:
        qform, code = header.get_qform(coded=True)
    except Exception as error:
        if int(header["sform_code"]) > 0:
            return None, 0
        msg = f"{path}: the qform of the header is broken ({error}). Repair the header."
        raise UnreadableImage(msg) from error
    return qform, int(code)


def save(volume: Volume, path: Path, dtype: type[np.generic] = np.float32) -> None:
    """Write a NIfTI under a temporary name and rename it; sform and qform set, mm, no time stamp (same data, same bytes)."""
    data = np.asfortranarray(volume.data, dtype)  # the order of the file: nibabel writes a slice at a time, and gathers it much more slowly
    image = nib.Nifti1Image(data, volume.affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(volume.affine, code=1)
    image.set_qform(volume.affine, code=1, strip_shears=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        nib.save(image, temporary)


def to_ras(volume: Volume) -> Volume:
    """Flip and permute the axes to the nearest RAS+ order; every voxel keeps its place in the scanner."""
    ornt = ornt_transform(io_orientation(volume.affine), axcodes2ornt("RAS"))
    data = nib.orientations.apply_orientation(volume.data, ornt)
    return Volume(data, volume.affine @ inv_ornt_aff(ornt, volume.shape))


def from_ras(data: np.ndarray, like: Volume) -> Volume:
    """Data on the grid of to_ras(like) in the order of axes of `like`; undoes to_ras."""
    ornt = ornt_transform(axcodes2ornt("RAS"), io_orientation(like.affine))
    return like.like(nib.orientations.apply_orientation(data, ornt))


def box_of(mask: np.ndarray, margin: int = 0) -> Box:
    """The smallest box around what is not zero in (X, Y, Z), grown by `margin` voxels inside the array.

    Raises: ValueError for an empty mask.
    """
    if not mask.any():
        msg = "cannot take the box of an empty mask"
        raise ValueError(msg)
    start, stop = [], []
    for axis in range(3):
        line = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        start.append(max(int(line[0]) - margin, 0))
        stop.append(min(int(line[-1]) + 1 + margin, mask.shape[axis]))
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def crop(volume: Volume, box: Box) -> Volume:
    """The part of a volume inside a box, at its place in the scanner."""
    affine = volume.affine.copy()
    affine[:3, 3] = (volume.affine @ np.array([*box.start, 1.0]))[:3]
    return Volume(volume.data[box.slices], affine)


def uncrop(data: np.ndarray, box: Box, shape: tuple[int, int, int]) -> np.ndarray:
    """Put cropped data back into zeros of the full shape; undoes crop."""
    full = np.zeros(shape, data.dtype)
    full[box.slices] = data
    return full
