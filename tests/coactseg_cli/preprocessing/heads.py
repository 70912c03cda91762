"""A tiny head of formulas: an ellipsoid brain with tissue, dark fluid and texture, at any place on any grid."""

from __future__ import annotations

import numpy as np

from coactseg_cli.preprocessing.visit_facts import VisitFacts
from coactseg_cli.volumes import Volume

SHAPE, SPACING = (56, 66, 48), (3.0, 3.0, 3.5)
RADII_MM = np.array([62.0, 80.0, 58.0])


def grid(spacing=SPACING):
    """Centred affine of SHAPE."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -(np.array(SHAPE) - 1) / 2 * np.array(spacing)
    return affine


def points(affine, matrix=None):
    """Head coordinates, mm, of every voxel: (X, Y, Z, 3)."""
    index = np.moveaxis(np.indices(SHAPE), 0, -1)
    mm = index @ affine[:3, :3].T + affine[:3, 3]
    return mm if matrix is None else mm @ matrix[:3, :3].T + matrix[:3, 3]


def head(matrix=None):
    """Image and brain of a head moved by `matrix` (points of the grid to points of the head)."""
    p = points(grid(), matrix)
    brain = ((p / RADII_MM) ** 2).sum(axis=-1) <= 1
    texture = 12 * np.sin(p[..., 0] / 9) * np.cos(p[..., 1] / 11) + 10 * np.sin(p[..., 2] / 8 + p[..., 1] / 13)
    ventricle = (((p - [0, 10, 0]) / [18.0, 30.0, 16.0]) ** 2).sum(axis=-1) <= 1
    image = np.where(ventricle, 20.0, 100.0 + texture)
    return np.where(brain, image, 30.0).astype(np.float32), brain


def visit(session=None, matrix=None, image=None, brain=None, place=None):
    """Facts of a visit; its own grid is the common one. `place`: orig_from_individual."""
    own, mask = head(matrix)
    image = own if image is None else image
    mask = mask if brain is None else brain
    values = image[mask]
    scores = np.where(mask, (image - values.mean()) / values.std(), 0).astype(np.float32)
    affine = grid()
    return VisitFacts(session, Volume(image, affine), mask, Volume(scores, affine), mask, np.eye(4) if place is None else place)
