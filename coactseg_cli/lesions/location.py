"""Where a lesion lies: beside the lateral ventricles or not, on the FLAIR itself; what no checked rule supports is unclassified.

    fluid deep in the brain -> where the lateral ventricles can be -> what is thicker than a fissure -> ventricles -> distance

No atlas, no registration, no network. docs/tracking.md says how it was checked and why the other regions are not told apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from coactseg_cli.components import depth_mm, label, sizes
from coactseg_cli.lesions.history import History
from coactseg_cli.volumes import box_of

FLUID_Z = -1.2  # fluid is darker than this, in standard deviations of the brain
MIN_DEPTH_MM = 15.0  # of the ventricles below the brain's surface; thinner atrophic brains still leave their bodies inside
CLOSING_MM = 8.0  # masks have holes over dark fissures, from which no depth is measured
FISSURE_HALF_MM = 1.0  # fissures, thin cisterns and sulci are no wider than twice this, to the faces of their voxels
MIN_PIECE_MM3 = 150.0  # smaller pieces of deep fluid are sulci, vessels and cysts
REGROWTH_MM = 3.0  # from the thick part back to the ventricle's wall and its narrow ends
MIN_SIDE_MM3 = 300.0  # less on one side of the midline is no pair of ventricles
MAX_SIDE_MM3 = 150e3  # more is not fluid
PERIVENTRICULAR_MM = 3.0  # a lesion that reaches so close touches the wall; thresholds and voxels blur it by one to two millimetres

# Where bodies, frontal horns and atria lie, as shares of the brain's length; wide enough for a head that is tilted by some degrees
ZONE_SIDEWAYS = 0.22  # either way from the midline
ZONE_FORWARD = (0.28, 0.84)  # from the back
ZONE_BELOW_TOP = (0.20, 0.44)  # what lies lower is left out: there the cisterns around the brainstem are as wide as the ventricles
CISTERN_SIDEWAYS, CISTERN_FORWARD, CISTERN_BELOW_TOP = (
    0.08,
    0.48,
    0.36,
)  # near the midline, behind and below these: cisterns behind the thalami


class Location(StrEnum):
    """The regions of the McDonald criteria, and the rest. Only the first and the last are ever given."""

    PERIVENTRICULAR = "periventricular"
    JUXTACORTICAL = "juxtacortical"
    INFRATENTORIAL = "infratentorial"
    DEEP_WHITE_MATTER = "deep_white_matter"
    UNCLASSIFIED = "unclassified"


MEANINGS = {
    Location.PERIVENTRICULAR: f"Reaches within {PERIVENTRICULAR_MM:g} mm of the bodies, frontal horns or atria of the lateral ventricles",
    Location.UNCLASSIFIED: "Elsewhere, or the ventricles were not found; no checked rule tells the other regions apart on FLAIR alone",
}


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """One visit's scan on the common grid."""

    flair: np.ndarray  # (X, Y, Z), zero mean and unit variance inside the brain
    brain: np.ndarray  # (X, Y, Z) bool


def locate(history: History, visits: Sequence[Anatomy], affine: np.ndarray) -> dict[int, Location]:
    """Locate every lesion at the last visit at which it is seen.

    Args:
        history: of track.
        visits: as many as it has.
        affine: (4, 4), voxel of the common grid to RAS mm; its axes run along the head's, either way.

    Returns: id to location.
    """
    last = {track.id: track.present[-1].visit for track in history.tracks}
    found: dict[int, Location] = {}
    for visit, (anatomy, labels) in enumerate(zip(visits, history.labels, strict=True)):
        ids = [number for number, seen in last.items() if seen == visit]
        if not ids:
            continue
        near = near_ventricles(labels, find_ventricles(anatomy, affine), history.spacing_mm)
        found |= {number: Location.PERIVENTRICULAR if number in near else Location.UNCLASSIFIED for number in ids}
    return found


def near_ventricles(labels: np.ndarray, ventricles: np.ndarray, spacing_mm: tuple[float, float, float]) -> set[int]:
    """Ids that reach within PERIVENTRICULAR_MM of the ventricles; none where there are no ventricles."""
    if not ventricles.any():
        return set()
    near = _around(ventricles, PERIVENTRICULAR_MM, spacing_mm)
    close = _distance_mm(ventricles[near], spacing_mm) <= PERIVENTRICULAR_MM
    return {int(number) for number in np.unique(labels[near][close & (labels[near] > 0)])}


def find_ventricles(anatomy: Anatomy, affine: np.ndarray) -> np.ndarray:
    """Bodies, frontal horns and atria of the lateral ventricles. Returns: (X, Y, Z) bool, empty where none are found on both sides."""
    spacing_mm = _spacing_mm(affine)
    ventricles = np.zeros(anatomy.brain.shape, bool)
    if not anatomy.brain.any():
        return ventricles
    sideways, zone = _zone(anatomy.brain, affine)
    zone = anatomy.brain & zone
    if not zone.any():
        return ventricles
    near = _around(zone, MIN_DEPTH_MM + 2 * CLOSING_MM, spacing_mm)  # what lies farther decides nothing
    fluid = zone[near] & (anatomy.flair[near] < FLUID_Z) & (_depth_mm(anatomy.brain[near], spacing_mm) > MIN_DEPTH_MM)
    thick = _thick_pieces(fluid, spacing_mm)
    if not thick.any():
        return ventricles
    found = fluid & (_distance_mm(thick, spacing_mm) <= REGROWTH_MM)
    side = np.broadcast_to(sideways, zone.shape)[near]
    voxel_mm3 = float(np.prod(spacing_mm))
    sides_mm3 = [np.count_nonzero(found & half) * voxel_mm3 for half in (side < 0, side > 0)]
    if min(sides_mm3) >= MIN_SIDE_MM3 and max(sides_mm3) <= MAX_SIDE_MM3:
        ventricles[near] = found
    return ventricles


def _around(mask: np.ndarray, reach_mm: float, spacing_mm: tuple[float, float, float]) -> tuple[slice, slice, slice]:
    """The box of a mask and what lies within reach of it."""
    return box_of(mask, math.ceil(reach_mm / min(spacing_mm))).slices


def _depth_mm(brain: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Distance to the brain's surface, once fissures and holes of the mask up to twice CLOSING_MM wide are closed."""
    outside = _distance_mm(brain, spacing_mm) > CLOSING_MM
    depth: np.ndarray = _distance_mm(outside, spacing_mm) - CLOSING_MM
    return depth


def _spacing_mm(affine: np.ndarray) -> tuple[float, float, float]:
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0)
    return float(x), float(y), float(z)


def _zone(brain: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Signed distance to the midline over the brain's length, and where lateral ventricles can be: both broadcast to (X, Y, Z)."""
    x, y, z = (_along(affine, brain.shape, world) for world in range(3))
    inside = np.nonzero(brain)
    in_brain = [axis[tuple(i if n > 1 else np.zeros_like(i) for i, n in zip(inside, axis.shape, strict=True))] for axis in (x, y, z)]
    midline = np.median(in_brain[0])
    (back, front), top = np.percentile(in_brain[1], (0.5, 99.5)), np.percentile(in_brain[2], 99.5)
    length = max(front - back, 1.0)
    sideways, forward, below = (x - midline) / length, (y - back) / length, (top - z) / length
    zone = (abs(sideways) <= ZONE_SIDEWAYS) & _between(forward, ZONE_FORWARD) & _between(below, ZONE_BELOW_TOP)
    cistern = (abs(sideways) <= CISTERN_SIDEWAYS) & (forward <= CISTERN_FORWARD) & (below >= CISTERN_BELOW_TOP)
    return sideways, zone & ~cistern


def _between(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    return (values >= limits[0]) & (values <= limits[1])


def _along(affine: np.ndarray, shape: tuple[int, ...], world: int) -> np.ndarray:
    """Coordinate in mm along a world axis, on the array axis that runs most along it; broadcasts to (X, Y, Z)."""
    direction = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    axis = int(np.argmax(abs(direction[world])))
    steps = np.arange(shape[axis], dtype=np.float64).reshape([-1 if i == axis else 1 for i in range(3)])
    return steps * float(affine[world, axis])


def _thick_pieces(fluid: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Open by a ball of FISSURE_HALF_MM and half a voxel; drop small pieces."""
    radius_mm = FISSURE_HALF_MM + max(spacing_mm) / 2
    core: np.ndarray = depth_mm(fluid, spacing_mm) > radius_mm
    if not core.any():
        return core
    labels, count = label(fluid & (_distance_mm(core, spacing_mm) <= radius_mm))
    keep = np.concatenate([[False], sizes(labels, count) * np.prod(spacing_mm) >= MIN_PIECE_MM3])
    pieces: np.ndarray = keep[labels]
    return pieces


def _distance_mm(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Distance of each voxel's centre to the nearest centre in the mask."""
    return depth_mm(~mask, spacing_mm)
