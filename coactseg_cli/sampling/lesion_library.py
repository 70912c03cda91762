"""Real lesions cut out of labels and scans: shape, place and texture; nothing here paints.

A label with its scan gives all three, a label alone shape and place. Cf. Zhang et al. 2021 (CarveMix: real lesions with their own
voxels), Basaran et al. 2022 (LesionMix: lesion by lesion, placed by a map of where lesions occur).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import ndimage

from coactseg_cli.components import label as label_components
from coactseg_cli.sampling.patches import BrainBox, Case, box_of, cut_array

Spacing = tuple[float, float, float]

PAD = 3  # voxels kept around a lesion
VOXELS = (4, 8000)  # smaller components carry no shape, larger ones are confluent and fill a patch
MASKS_FOR_PLACE = 10  # the union of many patients' lesions nearly fills the brain's box (docs/synthesis.md)
TISSUE_Z = (-1.0, 1.2)  # what counts as tissue around a lesion: neither CSF nor another lesion
RING_VOXELS = 8  # fewest of them around a lesion for its contrast to be known
GRID = 24  # cells per axis of the map of places
MAP_SIGMA = 1.0  # cells, 5 to 7 mm
ANYWHERE = 0.05  # of the mean density: where no lesion was seen, one is rare, not impossible


@dataclass(frozen=True, slots=True, eq=False)
class RealLesion:
    """One lesion in a small box with a border of PAD voxels."""

    mask: np.ndarray  # (x, y, z) bool
    place: tuple[float, float, float] | None = None  # of its middle in the brain's box, fractions; None: unknown
    excess: np.ndarray | None = None  # (x, y, z) float32, SD above the tissue around it; None: no scan

    @property
    def voxels(self) -> int:
        """Size of the mask."""
        return int(self.mask.sum())


@dataclass(frozen=True, slots=True, eq=False)
class PatientLesions:
    """All lesions of one patient, on voxels of any spacing, in the box of the brain."""

    mask: np.ndarray  # (X, Y, Z) bool, no larger than the lesions
    box: BrainBox  # of the brain, in voxels of the mask; may begin below 0 and end outside


@dataclass(frozen=True, slots=True, eq=False)
class Library:
    """Lesions to draw from, on grids of one spacing; may be empty."""

    lesions: tuple[RealLesion, ...] = ()
    voxels: np.ndarray = field(default_factory=lambda: np.zeros(0))  # (n,)
    places: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))  # (n, 3), NaN where unknown
    textured: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))  # (n,)
    density: np.ndarray | None = None  # (GRID, GRID, GRID) over the brain's box, mean 1; None: no place is known
    patients: tuple[PatientLesions, ...] = ()  # whose lesions can be carried all at once


def harvest(cases: Sequence[Case], masks: Sequence[np.ndarray], mask_spacing_mm: Spacing = (1.0, 1.0, 1.0)) -> Library:
    """Collect the lesions of labelled cases and of label files without a scan.

    Args:
        cases: all on one spacing. A pair gives the lesions of its new-lesion label as the follow-up shows them.
        masks: (X, Y, Z) bool each. Their places count where there are MASKS_FOR_PLACE of them on one grid: the brain's box is then
            taken to be the bounding box of all together.
        mask_spacing_mm: of the masks; they are resampled to the spacing of the cases.
    """
    factor = np.array(mask_spacing_mm) / np.array(cases[0].spacing_mm if cases else mask_spacing_mm)
    found = [lesion for case in cases for lesion in _of_case(case)]
    box = _common_box(masks)
    found += [_resample(lesion, factor) for mask in masks for lesion in _of_label(mask, None, None, box)]
    patients = [*_patients_of(cases), *(_patient(mask, box) for mask in masks if box is not None and np.any(mask))]
    return replace(collect(_unique(found)), patients=tuple(patients))


def _patients_of(cases: Sequence[Case]) -> Iterator[PatientLesions]:
    """All lesions of each labelled single scan; a pair shows the same patients again."""
    for case in cases:
        if not case.is_pair and case.all_baseline is not None and np.any(case.all_baseline == 1):
            yield _patient(case.all_baseline == 1, case.brain_box)


def _patient(mask: np.ndarray, box: BrainBox) -> PatientLesions:
    """Cut to what is marked."""
    marked = box_of(mask)
    (x, y, z), low = marked.low, box.low
    part = np.array(mask[tuple(slice(a, a + n) for a, n in zip(marked.low, marked.size, strict=True))], bool)
    return PatientLesions(part, BrainBox((low[0] - x, low[1] - y, low[2] - z), box.size))


def collect(lesions: Sequence[RealLesion]) -> Library:
    """A library of these lesions, with the map of their places."""
    places = np.array([(np.nan,) * 3 if le.place is None else le.place for le in lesions]).reshape(-1, 3)
    known = places[~np.isnan(places).any(axis=1)]
    voxels, textured = np.array([le.voxels for le in lesions], float), np.array([le.excess is not None for le in lesions], bool)
    return Library(tuple(lesions), voxels, places, textured, density_of(known) if len(known) else None)


def _of_case(case: Case) -> Iterator[RealLesion]:
    """The lesions of a case: at each visit those of its all-lesion label, at the follow-up also the new ones."""
    visits = [(case.baseline, case.all_baseline)]
    if case.followup is not None:
        visits += [(case.followup, case.all_followup), (case.followup, case.new)]
    for image, target in visits:
        if target is not None:
            known = (target != 0) & np.asarray(case.brain)
            yield from _of_label(target == 1, image, case.brain & ~known, case.brain_box)


def _of_label(mask: np.ndarray, image: np.ndarray | None, healthy: np.ndarray | None, box: BrainBox | None) -> Iterator[RealLesion]:
    labels, n = label_components(mask, 26)
    for i, place in enumerate(ndimage.find_objects(labels, max_label=n), start=1):
        if place is None or not VOXELS[0] <= (labels[place] == i).sum() <= VOXELS[1]:
            continue
        x, y, z = (int(s.stop - s.start) + 2 * PAD for s in place)
        low = np.array([s.start for s in place]) - PAD
        centre = low + np.array((x, y, z)) // 2
        part = cut_array(labels, centre, (x, y, z)) == i
        excess = None
        if image is not None and healthy is not None:
            excess = _excess(cut_array(image, centre, (x, y, z)), part, cut_array(healthy, centre, (x, y, z)))
        yield RealLesion(part, None if box is None else _fraction(low + middle(part), box), excess)


def _excess(image: np.ndarray, lesion: np.ndarray, healthy: np.ndarray) -> np.ndarray | None:
    """Intensity above the median of the tissue around a lesion; None where there is too little of it or the lesion is not brighter."""
    ring = healthy & (image > TISSUE_Z[0]) & (image < TISSUE_Z[1]) & ~ndimage.binary_dilation(lesion)
    if ring.sum() < RING_VOXELS:
        return None
    excess = (image - np.median(image[ring])).astype(np.float32)
    return excess if excess[lesion].mean() > 0 else None


def middle(mask: np.ndarray) -> np.ndarray:
    """The voxel of a mask that is nearest to its centre of mass: (3,), inside the lesion whatever its shape."""
    voxels = np.argwhere(mask)
    nearest: np.ndarray = voxels[np.argmin(((voxels - voxels.mean(axis=0)) ** 2).sum(axis=1))]
    return nearest


def _fraction(voxel: np.ndarray, box: BrainBox) -> tuple[float, float, float]:
    x, y, z = ((float(v) + 0.5 - low) / n for v, low, n in zip(voxel, box.low, box.size, strict=True))
    return x, y, z


def _common_box(masks: Sequence[np.ndarray]) -> BrainBox | None:
    """The bounding box of all masks together, for the brain's box; None where they are few, empty or on several grids."""
    if len(masks) < MASKS_FOR_PLACE or len({m.shape for m in masks}) > 1:
        return None
    union = np.logical_or.reduce([np.asarray(m, bool) for m in masks])
    return box_of(union) if union.any() else None


def _resample(lesion: RealLesion, factor: np.ndarray) -> RealLesion:
    """A mask-only lesion on voxels that are `factor` times smaller."""
    if np.allclose(factor, 1.0, atol=1e-3):
        return lesion
    zoomed = ndimage.zoom(lesion.mask.astype(np.float32), factor, order=1, grid_mode=True, mode="nearest") >= 0.5
    return RealLesion(np.pad(zoomed, 1) if zoomed.any() else lesion.mask[tuple(slice(c, c + 1) for c in middle(lesion.mask))], lesion.place)


def _unique(lesions: Sequence[RealLesion]) -> list[RealLesion]:
    """Each lesion once: a visit's label may come with the single case and with the pair."""
    keys = {(le.place, le.voxels, None if le.excess is None else float(le.excess.sum())): le for le in lesions if le.place is not None}
    return [*keys.values(), *(le for le in lesions if le.place is None)]


def density_of(places: np.ndarray) -> np.ndarray:
    """How often lesions lie where: a smooth, left-right symmetric map over the brain's box with mean 1. Axis 0 is left-right."""
    both = np.concatenate([places, places * (-1.0, 1.0, 1.0) + (1.0, 0.0, 0.0)])
    cells = np.clip((both * GRID).astype(int), 0, GRID - 1)
    count = np.zeros((GRID,) * 3)
    np.add.at(count, tuple(cells.T), 1.0)
    smooth = ndimage.gaussian_filter(count, MAP_SIGMA, mode="constant")
    density: np.ndarray = (smooth / smooth.mean() + ANYWHERE).astype(np.float32)
    return density


def density_at(library: Library, places: np.ndarray) -> np.ndarray:
    """The map of places at fractions (n, 3) of the brain's box: (n,). 1 where there is no map."""
    if library.density is None:
        return np.ones(len(places))
    cells = np.clip((places * GRID).astype(int), 0, GRID - 1)
    found: np.ndarray = library.density[tuple(cells.T)].astype(np.float64)
    return found
