"""Where a lesion lies, by distances on the common grid; what no checked rule supports is unclassified."""

from __future__ import annotations

from enum import StrEnum


class Location(StrEnum):
    """The regions of the McDonald criteria, and the rest."""

    PERIVENTRICULAR = "periventricular"
    JUXTACORTICAL = "juxtacortical"
    INFRATENTORIAL = "infratentorial"
    DEEP_WHITE_MATTER = "deep_white_matter"
    UNCLASSIFIED = "unclassified"

    @property
    def meaning(self) -> str:
        """For the dictionary of a column."""
        return _MEANINGS[self]


_MEANINGS = {
    Location.PERIVENTRICULAR: "Touches the lateral ventricles",
    Location.JUXTACORTICAL: "Touches the cortex",
    Location.INFRATENTORIAL: "In the brainstem, cerebellum or their peduncles",
    Location.DEEP_WHITE_MATTER: "In the white matter of the hemispheres, touching neither ventricle nor cortex",
    Location.UNCLASSIFIED: "No rule that was checked applies",
}
