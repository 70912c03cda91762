r"""A made-up head: which tissue lies at a point. Pure functions of coordinates; no grid, no noise, no file.

Head coordinates are mm, RAS (x to the right, y to the front, z up), the origin near the anterior commissure:

              z
          ___ | ___            scalp, skull, CSF around the brain
        /  folded   \
       |   ___|___   |         lateral ventricles on both sides of x = 0
       |  (___|___)  |------ y (front)
        \ cerebel- |
          \ lum   / face, eyes, nasal cavity
           | stem |
           | neck |
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

CSF_MM = 2.5  # fluid between brain and skull
SKULL_MM = 6.0
SCALP_MM = 6.5
CORTEX_MM = 3.2
SULCUS_MM = 0.8  # half width of a sulcus
SULCUS_DEPTH_MM = 15.0


class Tissue(IntEnum):
    """What a point is made of."""

    AIR = 0
    FAT = 1
    MUSCLE = 2
    BONE = 3
    MARROW = 4
    EYE = 5
    CSF = 6
    GREY = 7
    WHITE = 8
    RIM = 9  # the thin bright lining of the ventricles


FLAIR_SIGNAL = {  # arbitrary units, white matter 100; fluid is suppressed, fat is bright
    Tissue.AIR: 0.0,
    Tissue.FAT: 150.0,
    Tissue.MUSCLE: 70.0,
    Tissue.BONE: 12.0,
    Tissue.MARROW: 60.0,
    Tissue.EYE: 22.0,
    Tissue.CSF: 18.0,
    Tissue.GREY: 112.0,
    Tissue.WHITE: 100.0,
    Tissue.RIM: 110.0,
}
LESION_SIGNAL = 185.0


@dataclass(frozen=True, slots=True)
class Points:
    """Points in head coordinates, mm: three float32 arrays of one shape (N,)."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray

    def __getitem__(self, index: np.ndarray) -> Points:
        """The chosen points."""
        return Points(self.x[index], self.y[index], self.z[index])


@dataclass(frozen=True, slots=True)
class Waves:
    """A smooth random field: a sum of plane waves. Frequencies (K, 3) in radians per unit, phases (K,)."""

    frequency: np.ndarray
    phase: np.ndarray

    def value(self, points: Points) -> np.ndarray:
        """The field at the points: (N,), standard deviation about 1."""
        total = np.zeros_like(points.x)
        for (kx, ky, kz), phase in zip(self.frequency, self.phase, strict=True):
            total += np.sin(kx * points.x + ky * points.y + kz * points.z + phase)
        return total * np.float32(np.sqrt(2.0 / len(self.phase)))

    def distance_to_zero(self, points: Points) -> np.ndarray:
        """First-order distance to the nearest zero of the field: |value| / |gradient|, in the points' unit."""
        value = np.zeros_like(points.x)
        gradient = [np.zeros_like(points.x) for _ in range(3)]
        for k, phase in zip(self.frequency, self.phase, strict=True):
            angle = k[0] * points.x + k[1] * points.y + k[2] * points.z + phase
            value += np.sin(angle)
            slope = np.cos(angle)
            for axis in range(3):
                gradient[axis] += k[axis] * slope
        distance: np.ndarray = np.abs(value) / np.sqrt(gradient[0] ** 2 + gradient[1] ** 2 + gradient[2] ** 2 + 1e-6)
        return distance


def draw_waves(rng: np.random.Generator, count: int, shortest_mm: float, longest_mm: float) -> Waves:
    """Draw plane waves of random direction and of wavelengths between two lengths."""
    direction = rng.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    wavelength_mm = rng.uniform(shortest_mm, longest_mm, size=(count, 1))
    frequency = 2 * np.pi * direction / wavelength_mm
    return Waves(frequency.astype(np.float32), rng.uniform(0, 2 * np.pi, count).astype(np.float32))


@dataclass(frozen=True, slots=True)
class Anatomy:
    """What differs between two heads."""

    folds: Waves  # its zeros, seen from the middle of the brain, are the sulci
    depth: Waves  # how deep they reach
    texture: Waves  # faint variation inside a tissue
    ventricles: float = 1.0  # their size, 1: usual
    size: float = 1.0  # of the whole head


def draw_anatomy(rng: np.random.Generator, ventricles: float = 1.0, size: float = 1.0) -> Anatomy:
    """Draw the random fields of a head."""
    return Anatomy(draw_waves(rng, 20, 24, 38), draw_waves(rng, 6, 30, 60), draw_waves(rng, 16, 9, 30), ventricles, size)


def ellipsoid(p: Points, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
    """First-order signed distance in mm to an ellipsoid, negative inside: (N,)."""
    dx, dy, dz = ((v - np.float32(c)) for v, c in zip((p.x, p.y, p.z), centre, strict=True))
    rx, ry, rz = radii
    scaled = np.sqrt((dx / rx) ** 2 + (dy / ry) ** 2 + (dz / rz) ** 2)
    slope = np.sqrt((dx / rx**2) ** 2 + (dy / ry**2) ** 2 + (dz / rz**2) ** 2)
    tiny = np.float32(1e-6)  # at the very centre both are zero; the distance is then the smallest radius
    distance: np.ndarray = (scaled + tiny) * (scaled - 1) / (slope + tiny / min(radii))
    return distance


def _union(distances: Iterable[np.ndarray]) -> np.ndarray:
    """Signed distance to what lies in any of the shapes."""
    total, *others = distances
    for other in others:
        total = np.minimum(total, other)
    return total


def hemispheres(p: Points) -> np.ndarray:
    """Signed distance to the rounded surface into which the sulci cut; it runs on below the flat base of the cerebrum."""
    side = Points(np.abs(p.x), p.y, p.z)
    return _union((ellipsoid(p, (0, -4, 10), (67, 84, 60)), ellipsoid(side, (40, 2, -18), (25, 44, 22))))


def cerebrum(p: Points) -> np.ndarray:
    """Signed distance to both hemispheres with their temporal lobes, sulci filled."""
    side = Points(np.abs(p.x), p.y, p.z)
    dome = np.maximum(ellipsoid(p, (0, -4, 10), (67, 84, 60)), -16 - p.z)
    return _union((dome, ellipsoid(side, (40, 2, -18), (25, 44, 22))))


def hindbrain(p: Points) -> np.ndarray:
    """Signed distance to cerebellum and brain stem; the stem ends at z = -72."""
    stem_y = -14 + (p.z + 20) * np.float32(0.3)  # leans back on its way down
    stem = np.maximum(np.sqrt(p.x**2 + (p.y - stem_y) ** 2) - (13 + np.clip(p.z + 40, 0, 25) * np.float32(0.15)), p.z)
    stem = np.maximum(stem, -72 - p.z)
    return _union((stem, ellipsoid(p, (0, -52, -40), (50, 33, 22))))


def _cranium(p: Points) -> np.ndarray:
    return ellipsoid(p, (0, -5, -4), (66, 82, 68))  # the skull base closes what lies between the lobes


def _outside(p: Points, brain: np.ndarray) -> np.ndarray:
    """Tissue (N,) int8 of points outside the brain, from their signed distance to it."""
    bone = np.minimum(brain - (CSF_MM + SKULL_MM), _cranium(p) - SKULL_MM)
    neck = np.maximum(np.sqrt(p.x**2 + ((p.y + 32 + (p.z + 60) * np.float32(-0.15)) / np.float32(1.1)) ** 2) - 56, p.z + 30)
    face = ellipsoid(p, (0, 45, -58), (54, 52, 66))
    nose = ellipsoid(p, (0, 96, -62), (13, 18, 24))
    skin = _union((bone - SCALP_MM, neck, face, nose))
    side = Points(np.abs(p.x), p.y, p.z)
    eye = ellipsoid(side, (32, 76, -38), (12, 12, 12))
    airway = _union(
        (ellipsoid(p, (0, 68, -66), (11, 24, 22)), ellipsoid(p, (0, 24, -84), (10, 8, 30)), ellipsoid(side, (27, 58, -70), (13, 14, 15)))
    )
    tissue = np.where(skin < 0, Tissue.MUSCLE, Tissue.AIR).astype(np.int8)
    tissue[(skin < 0) & (skin > -4.5)] = Tissue.FAT
    tissue[bone < 0] = Tissue.BONE
    tissue[(np.abs(bone + SKULL_MM / 2) < 1.2) & (brain > 3)] = Tissue.MARROW
    tissue[(brain > 12) & (bone < -7)] = Tissue.MARROW  # the skull base
    tissue[brain < CSF_MM] = Tissue.CSF
    beyond = brain > CSF_MM + 1.5
    tissue[(eye < 3.5) & beyond] = Tissue.FAT
    tissue[(eye < 0) & beyond] = Tissue.EYE
    tissue[(airway < 0) & beyond & (bone > -3)] = Tissue.AIR
    return tissue


def ventricles(p: Points, scale: float) -> np.ndarray:
    """Signed distance to the lateral ventricles, the third and the fourth."""
    bend = Points(np.abs(p.x) - 9 - (p.y / np.float32(13)) ** 2 * np.float32(0.9), p.y, p.z + (p.y / np.float32(16)) ** 2)
    body = ellipsoid(bend, (2, -6, 20), (6.5 * scale, 42, 8.5 * scale))
    third = ellipsoid(p, (0, -6, 2), (2.2 * scale, 15, 11))
    fourth = ellipsoid(p, (0, -34, -32), (6.5, 5.0 * scale, 9))
    return _union((body, third, fourth))


def _deep_grey(p: Points) -> np.ndarray:
    side = Points(np.abs(p.x), p.y, p.z)
    thalamus = ellipsoid(side, (12, -16, 6), (8.5, 13, 8.5))
    caudate = ellipsoid(side, (16.5, 14, 11), (5, 12, 8))
    putamen = ellipsoid(side, (27, 2, 2), (5, 16, 9))
    return _union((thalamus, caudate, putamen))


def _folds(p: Points, anatomy: Anatomy, depth_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance in mm to the nearest sulcus wall plane, and how far (mm) the point lies above the sulcus's bottom."""
    radius = np.sqrt((p.x / 67) ** 2 + ((p.y + 4) / 84) ** 2 + ((p.z - 4) / 60) ** 2) + np.float32(1e-3)
    on_surface = Points(p.x / radius, (p.y + 4) / radius, (p.z - 4) / radius)  # so that sulci run towards the middle
    to_sulcus = anatomy.folds.distance_to_zero(on_surface) * radius
    bottom_mm = np.float32(SULCUS_DEPTH_MM) + 4 * anatomy.depth.value(on_surface)
    return to_sulcus, bottom_mm - depth_mm


def _inside(p: Points, anatomy: Anatomy, cerebral: np.ndarray, hind: np.ndarray) -> np.ndarray:
    """Tissue (N,) int8 of points in the brain, from their signed distances to its two parts."""
    to_sulcus, above_bottom = _folds(p, anatomy, -hemispheres(p))
    callosum = (((p.y + 4) / 46) ** 2 + ((p.z - 6) / 27) ** 2) < 1  # the fissure between the hemispheres stops here
    to_fissure = np.where(callosum, np.float32(99), np.abs(p.x))
    # cortex follows the outer surface, both walls of each sulcus, its bottom, and the fissure
    wall = np.where(above_bottom > 0, to_sulcus, np.hypot(to_sulcus, above_bottom))
    to_fluid = _union((-cerebral, wall - SULCUS_MM, to_fissure - np.float32(1.0)))
    tissue = np.where(to_fluid < CORTEX_MM, Tissue.GREY, Tissue.WHITE).astype(np.int8)
    tissue[to_fluid < 0] = Tissue.CSF
    tissue[_deep_grey(p) < 0] = Tissue.GREY
    rear = (hind < 0) & (cerebral > -1)
    leaf = np.abs(np.sin(p.z * np.float32(0.62) + p.y * np.float32(0.3) + np.abs(p.x) * np.float32(0.12)))  # the leaves of the cerebellum
    tissue[rear] = np.where(np.abs(p.x[rear]) + np.abs(p.y[rear] + 26) < 22, Tissue.WHITE, Tissue.GREY)
    tissue[rear & (leaf < 0.22) & (hind > -12) & (p.y < -44)] = Tissue.CSF
    tissue[rear & (hind < -13) & (p.y < -36)] = Tissue.WHITE
    lumen = ventricles(p, anatomy.ventricles)
    tissue[(lumen < 1.2) & (tissue == Tissue.WHITE)] = Tissue.RIM
    tissue[lumen < 0] = Tissue.CSF
    return tissue


def tissue_at(points: Points, anatomy: Anatomy) -> tuple[np.ndarray, np.ndarray]:
    """What a head is made of. Returns: tissue (N,) int8 (see Tissue), in_brain (N,) bool (fluid of sulci and ventricles included)."""
    p = Points(points.x / anatomy.size, points.y / anatomy.size, points.z / anatomy.size)
    cerebral, hind = cerebrum(p), hindbrain(p)
    brain = np.minimum(cerebral, hind)
    in_brain = brain < 0
    tissue = _outside(p, brain)
    inner = np.flatnonzero(in_brain)
    tissue[inner] = _inside(p[inner], anatomy, cerebral[inner], hind[inner])
    return tissue, in_brain
