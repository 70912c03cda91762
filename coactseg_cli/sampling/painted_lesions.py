"""One lesion that is about to be painted: where, how it looks at each visit, what becomes of it; and its painting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from coactseg_cli.sampling.fates import Fate, Targets, is_brighter, teach
from coactseg_cli.sampling.lesion_library import middle
from coactseg_cli.sampling.lesion_shapes import Look
from coactseg_cli.sampling.painting import overlap, paint


@dataclass(frozen=True, slots=True, eq=False)
class PaintedLesion:
    """One lesion to paint."""

    centre: np.ndarray  # (3,) voxel of the patch at which the lesion's middle comes to lie
    look: Look  # the fuller one
    lesser: Look | None  # smaller and weaker; None where the fate needs none
    fate: Fate

    @property
    def looks(self) -> tuple[Look | None, Look | None]:
        """How it looks at the baseline and at the follow-up."""
        if self.fate is Fate.STABLE:
            return self.look, self.look
        before = {Fate.NEW: None, Fate.GROWN: self.lesser}.get(self.fate, self.look)
        after = {Fate.RESOLVED: None, Fate.FADED: self.lesser}.get(self.fate, self.look)
        return before, after


def put(lesion: PaintedLesion, images: Sequence[np.ndarray], targets: Targets, brain: np.ndarray) -> bool:
    """Paint a lesion at the visits that show it and write it into the targets; images and targets are changed in place.

    Returns: whether there is anything to be seen of it.
    """
    into, out_of = overlap(brain.shape, lesion.centre - middle(lesion.look.mask), lesion.look.mask.shape)
    before, after = (
        np.zeros(brain[into].shape, bool) if look is None else paint(image[into], brain[into], look.part(out_of))
        for image, look in zip(images, lesion.looks, strict=True)
    )
    brighter = is_brighter(images[0][into], images[1][into])
    teach((targets[0][into], targets[1][into], targets[2][into]), lesion.fate, before, after, brighter)
    return bool(before.any() or after.any())
