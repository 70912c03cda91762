"""The words for what became of a lesion, and the rules behind them; nothing here sees a voxel."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from coactseg_cli.components import CONNECTIVITY
from coactseg_cli.errors import InvalidConfig

MIN_OVERLAP = 0.1  # below a tenth of the smaller lesion, overlap is two neighbours that brush each other
NOISE_MM3 = 26.0  # 95 % of the changes of lesions up to 100 mm3 over 21 rescans of 9 scans, an earlier model (docs/self-check.md)
NOISE_SHARE = 0.66  # the same of larger ones, as a share of the mean of the two volumes


class Fate(StrEnum):
    """What became of a lesion since the visit before."""

    BASELINE = "baseline"  # seen at the first visit, which nothing precedes
    NEW = "new"  # no lesion here at the visit before
    ENLARGING = "enlarging"  # larger by more than the noise
    SHRINKING = "shrinking"  # smaller by more than the noise
    STABLE = "stable"  # a change within the noise, or one that the network which saw both visits does not confirm
    RESOLVED = "resolved"  # no lesion here any more
    MERGED = "merged"  # has become part of another lesion
    SPLIT = "split"  # has come off another lesion


MIRRORED = {
    Fate.NEW: Fate.RESOLVED,
    Fate.ENLARGING: Fate.SHRINKING,
    Fate.STABLE: Fate.STABLE,
    Fate.SHRINKING: Fate.ENLARGING,
    Fate.RESOLVED: Fate.NEW,
    Fate.MERGED: Fate.SPLIT,
    Fate.SPLIT: Fate.MERGED,
}  # the fate when the two visits change places


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides links and fates; written into the sidecar of every table made with it."""

    connectivity: int = CONNECTIVITY  # neighbours that make one lesion of voxels: 6, 18 or 26
    min_overlap: float = MIN_OVERLAP  # share of the smaller lesion that two visits must have in common to be linked
    link_touching: bool = True  # link also lesions that only touch, where neither has another link
    noise_mm3: float = NOISE_MM3  # a change of volume up to this is stable
    noise_share: float = NOISE_SHARE  # and so is one up to this share of the mean volume of the two visits

    def __post_init__(self) -> None:
        """Raises: InvalidConfig for values out of range."""
        if self.connectivity not in (6, 18, 26):
            msg = f"connectivity must be 6, 18 or 26; got {self.connectivity}."
            raise InvalidConfig(msg)
        if not 0 <= self.min_overlap <= 1:
            msg = f"min_overlap is a share, 0 to 1; got {self.min_overlap}."
            raise InvalidConfig(msg)
        if not (self.noise_mm3 >= 0 and 0 <= self.noise_share <= 2):
            msg = f"noise_mm3 must not be negative and noise_share lies in 0 to 2; got {self.noise_mm3}, {self.noise_share}."
            raise InvalidConfig(msg)


def fate_of_change(before_mm3: float, after_mm3: float, rules: Rules) -> Fate:
    """Stable, enlarging or shrinking; exchanging the volumes mirrors the fate exactly."""
    change = after_mm3 - before_mm3
    if abs(change) <= max(rules.noise_mm3, rules.noise_share * (before_mm3 + after_mm3) / 2):
        return Fate.STABLE
    return Fate.ENLARGING if change > 0 else Fate.SHRINKING
