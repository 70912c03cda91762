"""Checks of how the visits of a participant lie on each other. Registers nothing, moves nothing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from coactseg_cli.preprocessing.alignment import align
from coactseg_cli.preprocessing.quality import Check, Rule
from coactseg_cli.preprocessing.resampling import grid_of, inside_field
from coactseg_cli.preprocessing.transforms import apply, rotation_deg
from coactseg_cli.preprocessing.visit_facts import VisitFacts

_LOOK = "compare the two visits on the page, and do not read new lesions where edges do not meet."
SHIFT = Rule(
    "motion-shift", "mm", "The brain moved between the visits further than it does in a head coil: " + _LOOK, high=80.0
)  # the origin of a scanner's coordinates may move with the table
TURN = Rule("motion-rotation", "degrees", "The head turned between the visits further than it does in a head coil: " + _LOOK, high=35.0)
ASYMMETRY = Rule(
    "registration-asymmetry", "mm", "Registering there and back gave different answers, so one of them is wrong: " + _LOOK, high=1.5
)
SIMILARITY = Rule("registration-similarity", None, "The visits do not look alike where they should be the same brain: " + _LOOK, low=0.75)
RESIDUAL = Rule(
    "registration-residual", "mm", "The visits would be more alike if one were moved, so the registration is off: " + _LOOK, high=1.0
)
OVERLAP = Rule(
    "brain-overlap", None, "The brain masks of the visits do not cover the same place: look at the masks, and " + _LOOK, low=0.90
)
COVERAGE = Rule(
    "coverage",
    "%",
    "The scan does not show part of the brain that other visits show: lesions there are neither new nor resolved, they were not imaged.",
    low=97.0,
)


def registration_checks(visits: Sequence[VisitFacts]) -> tuple[Check, ...]:
    """The checks of each visit after the first, against the first (motion) and the one before (the rest), and of what each shows.

    Args:
        visits: in temporal order, all on one grid.
    """
    if len(visits) < 2:
        return ()
    first = visits[0]
    checks: list[Check] = []
    for before, visit in pairwise(visits):
        found = align(before.image.data, visit.image.data, before.brain, visit.brain, visit.image.spacing_mm)
        checks += motion_checks(visit.orig_from_individual @ np.linalg.inv(first.orig_from_individual), _centre_mm(first), visit.session)
        if visit.asymmetry_mm is not None:
            checks += ASYMMETRY.judge(visit.asymmetry_mm, visit.session)
        checks += SIMILARITY.judge(found.similarity, visit.session)
        checks += RESIDUAL.judge(found.residual_mm, visit.session)
        checks += OVERLAP.judge(found.overlap, visit.session)
    anywhere = np.logical_or.reduce([v.brain for v in visits])
    return (*checks, *(c for v in visits for c in COVERAGE.judge(coverage_percent(v, anywhere), v.session)))


def motion_checks(visit_from_first: np.ndarray, brain_centre_mm: np.ndarray, session: str | None) -> tuple[Check, ...]:
    """Checks of the motion itself.

    Args:
        visit_from_first: (4, 4) RAS mm.
        brain_centre_mm: (3,) in the first visit's space; the shift is measured there.
        session: the later visit.
    """
    if np.array_equal(visit_from_first, np.eye(4)):
        return ()  # nothing was registered
    shift = apply(visit_from_first, brain_centre_mm[None])[0] - brain_centre_mm
    return SHIFT.judge(float(np.linalg.norm(shift)), session) + TURN.judge(rotation_deg(visit_from_first), session)


def _centre_mm(visit: VisitFacts) -> np.ndarray:
    """Centre of the brain on the scan's own grid, RAS mm, (3,)."""
    index = np.argwhere(visit.native_brain)
    return apply(visit.native.affine, index.mean(axis=0)[None])[0] if len(index) else visit.native.affine[:3, 3]


def coverage_percent(visit: VisitFacts, brain: np.ndarray) -> float:
    """Share of a brain on the common grid that lies in a scan's field of view; NaN for an empty brain."""
    if not brain.any():
        return float("nan")
    shown = inside_field(grid_of(visit.image), grid_of(visit.native), visit.orig_from_individual)
    return 100.0 * float(shown[brain].mean())
