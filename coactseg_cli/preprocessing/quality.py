"""Flags about scans, registration and masks: what a reader should look at. Decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MOTION_MM, MOTION_DEG = 80.0, 35.0  # more between two visits is rare in a head coil
ASYMMETRY_MM = 1.5  # the two directions of one registration disagree
BRAIN_ML = (700.0, 2000.0)  # adults, with cerebrospinal fluid inside the mask
BRAIN_CHANGE = 0.15  # between visits; true change is far smaller


@dataclass(frozen=True, slots=True)
class Flag:
    """Something to look at."""

    name: str  # motion, registration, brain-volume, brain-change
    message: str  # one sentence with the number and the limit
    session: str | None = None


def motion_flags(visit_from_first: np.ndarray, brain_centre_mm: np.ndarray, asymmetry_mm: float, session: str | None) -> list[Flag]:
    """Flags of one registration.

    Args:
        visit_from_first: (4, 4) RAS mm.
        brain_centre_mm: (3,) in the first visit's space; the shift is measured there.
        asymmetry_mm: of RigidResult.
        session: the later visit.
    """
    cosine = np.clip((np.trace(visit_from_first[:3, :3]) - 1) / 2, -1, 1)
    angle = float(np.degrees(np.arccos(cosine)))
    shift = float(np.linalg.norm(visit_from_first[:3, :3] @ brain_centre_mm + visit_from_first[:3, 3] - brain_centre_mm))
    flags = []
    if angle > MOTION_DEG or shift > MOTION_MM:
        usual = f"usual: below {MOTION_MM:.0f} and {MOTION_DEG:.0f}"
        text = f"The head moved by {shift:.0f} mm and {angle:.0f} degrees since the first visit ({usual})."
        flags.append(Flag("motion", text, session))
    if asymmetry_mm > ASYMMETRY_MM:
        text = f"Registering there and back differs by {asymmetry_mm:.1f} mm (usual: below {ASYMMETRY_MM:g}): look at the alignment."
        flags.append(Flag("registration", text, session))
    return flags


def brain_flags(volumes_ml: Sequence[float], sessions: Sequence[str | None]) -> list[Flag]:
    """Flags of the brain masks of a timeline, in millilitres per visit."""
    low, high = BRAIN_ML
    flags = [
        Flag("brain-volume", f"The brain mask holds {ml:.0f} ml (usual: {low:.0f} to {high:.0f}).", session)
        for ml, session in zip(volumes_ml, sessions, strict=True)
        if not low <= ml <= high
    ]
    for i in range(1, len(volumes_ml)):
        change = volumes_ml[i] / volumes_ml[i - 1] - 1.0
        if abs(change) > BRAIN_CHANGE:
            text = f"The brain mask changed by {100 * change:+.0f} % since the visit before (usual: within {100 * BRAIN_CHANGE:.0f} %)."
            flags.append(Flag("brain-change", text, sessions[i]))
    return flags
