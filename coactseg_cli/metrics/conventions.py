"""Which lesions count and what an undefined score says: the three conventions and their settings (docs/metrics.md)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from coactseg_cli.components import min_voxels
from coactseg_cli.metrics.detection import ALPHA, BETA, GAMMA, Detection, harmonic_mean

MSSEG_LIMIT_MM3 = 3.0  # a lesion must be strictly larger


class Convention(StrEnum):
    """Whose definitions are followed where they differ."""

    MM = "mm"  # 6-connected lesions above 3 mm3, millimetres, n/a where a score has no meaning
    ANIMA = "anima"  # the same lesions; where the score has no meaning, the 0 that animaSegPerfAnalyzer prints
    COACTSEG = "coactseg"  # 26-connected lesions of at least 11 voxels, as the published evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The settings of the lesion-wise scores."""

    convention: Convention = Convention.MM
    connectivity: int = 6  # neighbours that join voxels to a lesion: 6, 18 or 26
    min_lesion_mm3: float | None = MSSEG_LIMIT_MM3  # lesions must be strictly larger; None: no limit in mm3
    min_lesion_voxels: int | None = None  # lesions must have at least so many voxels; None: no limit in voxels
    alpha: float = ALPHA
    beta: float = BETA
    gamma: float = GAMMA

    def smallest(self, voxel_mm3: float) -> int:
        """Fewest voxels of a lesion that counts; both limits hold where both are set."""
        in_mm3 = 1 if self.min_lesion_mm3 is None else min_voxels(voxel_mm3, self.min_lesion_mm3)
        return max(in_mm3, self.min_lesion_voxels or 1)

    def smallest_false(self, voxel_mm3: float) -> int:
        """As smallest, for a case without any reference lesion: there Anima keeps to 3 mm3 whatever it is told."""
        if self.convention is Convention.ANIMA:
            return min_voxels(voxel_mm3, MSSEG_LIMIT_MM3)
        return self.smallest(voxel_mm3)


def rules_of(
    convention: Convention,
    connectivity: int | None = None,
    min_lesion_mm3: float | None = None,
    min_lesion_voxels: int | None = None,
) -> Rules:
    """Take the rules of a convention, with what the user chose otherwise; any limit replaces all of the convention's limits."""
    coactseg = convention is Convention.COACTSEG
    if min_lesion_mm3 is None and min_lesion_voxels is None:
        min_lesion_mm3, min_lesion_voxels = (None, 11) if coactseg else (MSSEG_LIMIT_MM3, None)
    return Rules(
        convention=convention,
        connectivity=connectivity if connectivity is not None else (26 if coactseg else 6),
        min_lesion_mm3=min_lesion_mm3,
        min_lesion_voxels=min_lesion_voxels,
    )


@dataclass(frozen=True, slots=True)
class LesionScores:
    """Lesion sensitivity, positive predictive value and their F1."""

    sensitivity: float
    ppv: float
    f1: float


def lesion_scores(detection: Detection, *, has_reference: bool, has_prediction: bool, convention: Convention) -> LesionScores:
    """Read the scores off a detection test, with what the convention says where there is nothing to divide by.

    `has_reference` and `has_prediction` say whether a mask has any voxel; the lesions of the detection are those above the limit.
    """
    if not has_reference:
        return LesionScores(math.nan, math.nan, math.nan)
    anima = convention is Convention.ANIMA
    sensitivity = detection.sensitivity
    ppv = detection.ppv
    if not detection.predicted and (has_prediction or anima):
        ppv = 0.0  # there is a prediction, but no part of it is large enough
    if not detection.reference:
        return LesionScores(sensitivity, ppv, 0.0 if anima else math.nan)
    if not detection.predicted:
        return LesionScores(sensitivity, ppv, 0.0)
    return LesionScores(sensitivity, ppv, harmonic_mean(sensitivity, ppv))
