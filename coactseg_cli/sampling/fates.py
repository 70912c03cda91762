"""What becomes of a lesion between two visits, and what each head is then taught."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from coactseg_cli.targets import IGNORE

Targets = tuple[np.ndarray, np.ndarray, np.ndarray]  # all_baseline, all_followup, new of one patch


class Fate(StrEnum):
    """A lesion's fate. In brackets the targets: all lesions at baseline, at follow-up, new lesions."""

    NEW = "new"  # at the follow-up only (0, 1, 1)
    RESOLVED = "resolved"  # at the baseline only (1, 0, 0)
    STABLE = "stable"  # at both (1, 1, 0)
    GROWN = "grown"  # larger and brighter at the follow-up: what was there (1, 1, 0), its new rim (0, 1, IGNORE)
    FADED = "faded"  # smaller and weaker at the follow-up: what is left (1, 1, 0), its former rim (1, 0, 0)


CHANGED = (Fate.NEW, Fate.RESOLVED, Fate.GROWN, Fate.FADED, Fate.STABLE)
CHANCES = (0.40, 0.15, 0.10, 0.20, 0.15)  # of a lesion in a pair with change; fading is as frequent as resolving, and harder


BRIGHTER_Z = 0.5  # follow-up minus baseline that is clear: a small lesion's contrast, more than twice the noise


def is_brighter(baseline: np.ndarray, followup: np.ndarray) -> np.ndarray:
    """Where the follow-up is clearly brighter: (X, Y, Z) bool."""
    brighter: np.ndarray = followup - baseline > BRIGHTER_Z
    return brighter


def draw_fate(rng: np.random.Generator, *, changed: bool) -> Fate:
    """A lesion's fate; in a pair without change every lesion is stable."""
    drawn = CHANGED[int(rng.choice(len(CHANGED), p=CHANCES))]
    return drawn if changed else Fate.STABLE


def teach(targets: Targets, fate: Fate, before: np.ndarray, after: np.ndarray, brighter: np.ndarray) -> None:
    """Write a lesion into the targets (int8, changed in place).

    Where another lesion is at the baseline already, nothing is new. Where nobody knows whether one is, a new lesion counts where
    the follow-up became clearly brighter; elsewhere nobody knows.

    Args:
        targets: all_baseline, all_followup, new; a part of the patch will do, (X, Y, Z) each.
        fate: what became of it.
        before: (X, Y, Z) bool, the lesion at the baseline; empty for a new one.
        after: the lesion at the follow-up; empty for a resolved one.
        brighter: (X, Y, Z) bool, the follow-up is clearly brighter than the baseline.
    """
    at_baseline, at_followup, new = targets
    at_baseline[before] = 1
    at_followup[after] = 1
    rim = after & (at_baseline != 1)
    new[(before | after) & ~rim] = 0
    new[rim] = np.where((at_baseline[rim] == 0) | brighter[rim], 1, IGNORE) if fate is Fate.NEW else IGNORE
