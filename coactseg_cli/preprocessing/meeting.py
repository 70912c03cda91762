"""The space in which the visits of a participant meet, and its grid; no image is resampled here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from coactseg_cli.config import Anatomical, PrepConfig
from coactseg_cli.preprocessing.halfway import halfway
from coactseg_cli.preprocessing.registration import RigidResult, rigid
from coactseg_cli.preprocessing.resampling import Grid, grid_of, reference_grid
from coactseg_cli.preprocessing.transforms import settled
from coactseg_cli.volumes import Volume, require_same_grid


@dataclass(frozen=True, slots=True, eq=False)
class Meeting:
    """Where each visit lies relative to the reference space."""

    visits_from_reference: tuple[np.ndarray, ...]  # per visit (4, 4), RAS mm: reference points to points of the visit
    grids: tuple[Grid, ...]  # per visit; one and the same, unless each visit stays alone
    registrations: tuple[RigidResult | None, ...]  # per visit, from the first visit to it; None where none was made
    shared: bool  # whether the visits can be compared voxel by voxel


def meet(images: Sequence[Volume], masks: Sequence[Volume], names: Sequence[str], config: PrepConfig) -> Meeting:
    """Find the reference space.

    Args:
        images: per visit (X, Y, Z), on its own grid.
        masks: per visit the brain, bool, on the same grid.
        names: per visit, for messages.
        config: anatomical, preregistered and spacing_mm count.

    Raises: GridMismatch for visits on different grids with preregistered, ImplausibleRegistration.
    """
    identity = (np.eye(4),) * len(images)
    nothing: tuple[RigidResult | None, ...] = (None,) * len(images)
    if config.preregistered:
        for image, name in zip(images[1:], names[1:], strict=True):
            require_same_grid(images[0], image, names[0], name)
        return Meeting(identity, (_grid(images[0], masks, identity, config.spacing_mm),) * len(images), nothing, shared=True)
    if config.anatomical is Anatomical.SESSIONWISE and len(images) > 1:
        alone = tuple(_grid(i, [m], identity[:1], config.spacing_mm) for i, m in zip(images, masks, strict=True))
        return Meeting(identity, alone, nothing, shared=False)
    found = [rigid(images[0], i, masks[0].data, m.data) for i, m in zip(images[1:], masks[1:], strict=True)]
    visits_from_first = [np.eye(4), *[f.matrix for f in found]]
    places = halfway(visits_from_first) if config.anatomical is Anatomical.UNBIASED else visits_from_first
    places = [settled(place) for place in places]
    return Meeting(tuple(places), (_grid(images[0], masks, places, config.spacing_mm),) * len(images), (None, *found), shared=True)


def _grid(first: Volume, masks: Sequence[Volume], places: Sequence[np.ndarray], spacing_mm: tuple[float, float, float] | None) -> Grid:
    """The grid around all brains; the scan's own, as it is stored, where no spacing is asked for."""
    return grid_of(first) if spacing_mm is None else reference_grid(masks, places, spacing_mm)
