"""Prepared scans as the anatomy that pairs are rendered from: image, brain, what must not be painted on. Reads files, paints nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from nibabel.orientations import io_orientation
from scipy import ndimage

from bids_app.cases import LabelKind, PreparedScan, PreparedTimeline
from bids_app.dataset import read_prepared
from coactseg_cli.volumes import Volume, box_of, load

MARGIN = 8  # voxels kept around the brain: nothing is moved out of the box
THICK_MM = 2.0  # a scan whose slices are at least so thick is a 2D scan
BRIGHT = 1.2  # SD; smoothed tissue above may be a lesion that nobody labelled
FLUID = -1.2  # SD of smoothed tissue
WHITE = (-0.2, 0.65)  # SD of smoothed tissue; white matter lies at 0.1 to 0.4, cortex at 0.7 to 1.1 (docs/synthesis.md)
EVEN_VOXELS, EVEN_SD = 7, 0.3  # white matter is even: SD of smoothed tissue in a cube around
DEPTH_MM = 6.0  # below the brain's border
VENTRICLE_DEPTH_MM = 22.0  # fluid deeper than this below the border is a ventricle


@dataclass(frozen=True, eq=False)  # no slots: what is derived is computed once, when it is first asked for
class Background:
    """One scan of one visit; arrays (X, Y, Z) on a grid of 1 mm, cut to the brain's box."""

    name: str  # sub-cs07, sub-long01_ses-02
    subject: str  # label without 'sub-'
    image: np.ndarray  # float32, z-score inside the brain, zero outside
    brain: np.ndarray  # bool
    lesion: np.ndarray | None  # bool, every lesion of the visit, None where nobody labelled them all
    known: np.ndarray  # bool, every voxel that any label names: nothing is painted here
    slice_axis: int | None  # array axis along which the scan has thick slices, None for a 3D scan
    slice_mm: float  # how thick they are

    @cached_property
    def smooth(self) -> np.ndarray:
        """The image without its noise."""
        return ndimage.gaussian_filter(self.image, 1.0)

    @cached_property
    def depth_mm(self) -> np.ndarray:
        """Distance to the brain's border."""
        return np.asarray(ndimage.distance_transform_edt(self.brain), dtype=np.float32)

    @cached_property
    def forbidden(self) -> np.ndarray:
        """Labelled tissue with 2 mm around, and tissue so bright that it may be a lesion with 1 mm around."""
        bright = ndimage.gaussian_filter(self.image, 0.7) > BRIGHT
        return ndimage.binary_dilation(self.known, iterations=2) | ndimage.binary_dilation(bright)

    @cached_property
    def white(self) -> np.ndarray:
        """Where lesions may lie: plausible white matter that is not forbidden."""
        low, high = WHITE
        mean, square = (ndimage.uniform_filter(v, EVEN_VOXELS) for v in (self.smooth, self.smooth**2))
        even = square - mean**2 < EVEN_SD**2  # no ribbon of cortex, whose mean with the fluid beside it may be that of white matter
        tissue = even & (self.smooth > low) & (self.smooth < high) & (self.depth_mm >= DEPTH_MM)
        return np.asarray(tissue & ~self.forbidden)

    @cached_property
    def ventricle_mm(self) -> np.ndarray:
        """Distance to the nearest ventricle; infinite where none is found."""
        fluid = (self.smooth < FLUID) & (self.depth_mm > VENTRICLE_DEPTH_MM)
        if not fluid.any():
            return np.full(self.image.shape, np.inf, np.float32)
        return np.asarray(ndimage.distance_transform_edt(~fluid), dtype=np.float32)


def read_backgrounds(roots: Sequence[Path], subjects: Sequence[str]) -> list[Background]:
    """Every prepared visit of these subjects (labels without 'sub-'), in the order of the subjects.

    Raises: SystemExit where a subject is in none of the data sets, or a grid is not 1 mm; UnreadableImage.
    """
    found: dict[str, list[Background]] = {}
    for root in roots:
        for timeline in read_prepared(root).timelines:
            if timeline.subject in subjects:
                found[timeline.subject] = [background_of(timeline, visit) for visit in timeline.visits]
    if missing := [s for s in subjects if s not in found]:
        msg = f"sub-{', sub-'.join(missing)}: in none of {', '.join(map(str, roots))}. Name subjects that coactseg prep has prepared there."
        raise SystemExit(msg)
    return [background for subject in subjects for background in found[subject]]


def background_of(timeline: PreparedTimeline, visit: PreparedScan) -> Background:
    """One visit with what the subject's labels say of it."""
    image = load(visit.image)
    require_1_mm(image, visit.image)
    brain = load(visit.brain_mask).data > 0.5
    box = box_of(brain, MARGIN).slices
    lesion, known = None, np.zeros(brain.shape, bool)
    for label in timeline.labels:
        mask = load(label.path).data > 0.5
        known |= mask
        if label.kind is LabelKind.ALL and label.session == visit.session:
            lesion = mask[box]
    axis, thickness_mm = slices_of(load(visit.native).affine, image.affine)
    name = f"sub-{timeline.subject}" + (f"_ses-{visit.session}" if visit.session else "")
    return Background(
        name, timeline.subject, np.ascontiguousarray(image.data[box]), np.ascontiguousarray(brain[box]), lesion, known[box],
        axis, thickness_mm,
    )  # fmt: skip


def require_1_mm(image: Volume, path: Path) -> None:
    """Raises: SystemExit for another grid: shapes and depths here are in voxels of 1 mm."""
    if not np.allclose(image.spacing_mm, 1.0, atol=0.01):
        msg = f"{path}: expected voxels of 1 mm; found {image.spacing_mm}. Prepare the scans without --spacing."
        raise SystemExit(msg)


def slices_of(native: np.ndarray, reference: np.ndarray) -> tuple[int | None, float]:
    """The axis of the reference grid along which a scan's thick slices are stacked, and their spacing in mm.

    Args:
        native: affine (4, 4) of the scan as it was acquired.
        reference: affine (4, 4) of the grid that it was resampled to.

    Returns: (None, largest spacing) for a scan without thick slices.
    """
    spacing_mm = np.linalg.norm(native[:3, :3], axis=0)
    thickest = int(spacing_mm.argmax())
    if spacing_mm[thickest] < THICK_MM:
        return None, float(spacing_mm[thickest])
    along = int(io_orientation(native)[thickest, 0])  # the anatomical axis: 0 left-right, 1 back-front, 2 bottom-top
    return io_orientation(reference)[:, 0].tolist().index(along), float(spacing_mm[thickest])
