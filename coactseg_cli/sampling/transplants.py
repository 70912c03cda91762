"""All lesions of one patient at once, carried to the same places of another brain: what a heavy lesion load looks like.

One lesion at a time (synthesis.py) never gives caps around both ventricles, or thirty small lesions in one half of a brain. Only
shapes and places are carried; intensity is made up. Cf. Basaran et al. 2022 (LesionMix), who choose how much load is painted.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from coactseg_cli.components import label as label_components
from coactseg_cli.sampling.fates import Fate, draw_fate
from coactseg_cli.sampling.lesion_library import PAD, PatientLesions, middle
from coactseg_cli.sampling.lesion_shapes import lesser, made_up_texture
from coactseg_cli.sampling.painted_lesions import PaintedLesion
from coactseg_cli.sampling.painting import overlap, paint
from coactseg_cli.sampling.patches import Patch, Place, cut_array

JITTER = 0.02  # SD of the move, fractions of the brain's box: 3 mm
MOST = 60  # lesions of a patch, the largest first
SMALLEST = 4  # voxels, as in the library
TISSUE_Z = (-0.8, 1.2)  # intensity, smoothed, at which a carried voxel stays: neither fluid nor another brain's bright cortex
BORDER = 2  # voxels below the brain's border
CHANGED_SHARE = 0.15  # of the carried lesions of a pair that get a fate of their own; the others are stable
# Mean z-score of a patient's lesions above the tissue around. All lesions of a patient are about equally bright, and not brighter for
# being large: in the heaviest of our scans (50 ml) 0.9, where the line for single lesions (lesion_shapes.py) would give 2.8.
CONTRAST, CONTRAST_LOG_SD, CONTRAST_RANGE = 1.05, 0.35, (0.4, 2.5)
LESION_LOG_SD = 0.2  # of one lesion against the others of its patient
SIZES, BRIGHTNESS = (0.5, 0.85), (0.4, 1.0)  # of the lesser look of a grown or faded lesion


def draw_transplant(rng: np.random.Generator, patch: Patch, patients: tuple[PatientLesions, ...], *, changed: bool) -> list[PaintedLesion]:
    """The lesions of one random patient that come to lie in this patch; none where the patch's place in the brain is unknown.

    Args:
        rng: the sample's own.
        patch: what they are carried to.
        patients: whose masks lie in the box of the brain.
        changed: some may get another fate than stable.
    """
    if patch.place is None or not patients:
        return []
    patient = patients[int(rng.integers(len(patients)))]
    place = widened(patch.place, patch.brain.shape)
    shape = tuple(n + 2 * PAD for n in patch.brain.shape)
    mask = carry(patient, place, shape, move=rng.normal(0.0, JITTER, 3), mirrored=bool(rng.random() < 0.5))
    mask &= np.pad(room(patch), PAD, mode="edge")
    contrast = CONTRAST * float(np.exp(rng.normal(0.0, CONTRAST_LOG_SD)))
    return [_dress(rng, corner - PAD, part, contrast, changed=changed) for corner, part in components(mask)]


def widened(place: Place, shape: tuple[int, ...]) -> Place:
    """The place of a patch with PAD more voxels on every side, so that a lesion at its border is not rounded off there."""
    step = np.array(place.extent) / np.array(shape)
    (x, y, z), (dx, dy, dz) = np.array(place.origin) - PAD * step, np.array(place.extent) + 2 * PAD * step
    return Place((float(x), float(y), float(z)), (float(dx), float(dy), float(dz)))


def carry(patient: PatientLesions, place: Place, shape: tuple[int, ...], *, move: np.ndarray, mirrored: bool) -> np.ndarray:
    """A patient's lesions on the voxels of a patch: (X, Y, Z) bool.

    Both brains' boxes are laid upon each other, so that voxel i of a patch of n voxels shows the fraction
    origin + (i + 0.5) / n * extent of the box (Place).

    Args:
        patient: the mask and the box of the brain in it.
        place: of the patch in its own brain's box.
        shape: of the patch.
        move: (3,), by which the lesions are moved, fractions of the box.
        mirrored: left and right are exchanged.
    """
    origin, extent = np.array(place.origin) - move, np.array(place.extent)
    low, size = np.array(patient.box.low), np.array(patient.box.size)
    step = extent / np.array(shape) * size
    start = low + origin * size + 0.5 * step - 0.5
    if mirrored:
        step[0], start[0] = -step[0], 2 * low[0] + size[0] - 1 - start[0]
    soft = ndimage.affine_transform(patient.mask.astype(np.float32), np.diag(step), start, output_shape=shape, order=1, prefilter=False)
    found: np.ndarray = soft >= 0.5
    return found


def room(patch: Patch) -> np.ndarray:
    """Where a carried voxel may stay: (X, Y, Z) bool. Tissue, below the brain's border, in no known lesion."""
    smooth = ndimage.uniform_filter(patch.baseline, 3, mode="nearest")
    deep = ndimage.minimum_filter(patch.brain.view(np.uint8), 2 * BORDER + 1, mode="nearest") > 0
    free: np.ndarray = deep & (smooth > TISSUE_Z[0]) & (smooth < TISSUE_Z[1])
    for known in (patch.all_baseline, patch.all_followup, patch.new):
        if known is not None:
            free &= known != 1
    return free


def components(mask: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The connected parts (26-connected) of a mask, the largest first: corner of a box with a border, and the part in it."""
    labels, n = label_components(mask, 26)
    voxels = np.bincount(labels.ravel(), minlength=n + 1)[1:]
    boxes = ndimage.find_objects(labels, max_label=n)
    for i in np.argsort(-voxels, kind="stable")[:MOST]:
        box = boxes[i]
        if box is None or voxels[i] < SMALLEST:
            continue
        corner = np.array([s.start for s in box]) - PAD
        x, y, z = (int(s.stop - s.start) + 2 * PAD for s in box)
        yield corner, cut_array(labels, corner + np.array((x, y, z)) // 2, (x, y, z)) == i + 1


def _dress(rng: np.random.Generator, corner: np.ndarray, part: np.ndarray, contrast: float, *, changed: bool) -> PaintedLesion:
    fate = draw_fate(rng, changed=changed and bool(rng.random() < CHANGED_SHARE))
    own = float(np.clip(contrast * np.exp(rng.normal(0.0, LESION_LOG_SD)), *CONTRAST_RANGE))
    look = made_up_texture(rng, part, own)
    weaker = lesser(look, rng.uniform(*SIZES), rng.uniform(*BRIGHTNESS)) if fate in {Fate.GROWN, Fate.FADED} else None
    return PaintedLesion(corner + middle(part), look, weaker, fate)


def load_single(patch: Patch, patients: tuple[PatientLesions, ...], rng: np.random.Generator) -> Patch:
    """A single scan with all lesions of another patient beside its own, and its label with them; the patch given stays as it is."""
    if patch.all_baseline is None:
        return patch
    image, target = np.array(patch.baseline), np.array(patch.all_baseline)
    for lesion in draw_transplant(rng, patch, patients, changed=False):
        into, out_of = overlap(image.shape, lesion.centre - middle(lesion.look.mask), lesion.look.mask.shape)
        target[into][paint(image[into], patch.brain[into], lesion.look.part(out_of))] = 1
    return patch.with_(baseline=image, followup=image, all_baseline=target, all_followup=target)
