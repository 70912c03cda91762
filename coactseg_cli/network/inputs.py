"""The one definition of what the network sees: baseline, follow-up, difference."""

from __future__ import annotations

import torch
from torch import Tensor


def stack(baseline: Tensor, followup: Tensor) -> Tensor:
    """Put two visits and their difference into channels.

    Args:
        baseline: (B, 1, X, Y, Z), normalised.
        followup: the same shape; for a single scan the baseline itself, which gives (x, x, 0).

    Returns: (B, 3, X, Y, Z): baseline, follow-up, follow-up minus baseline.
    Reference: Wu et al. 2023, Eq. 1; the difference is taken after normalisation.
    """
    return torch.cat((baseline, followup, followup - baseline), dim=1)


def visits(baseline: Tensor, followup: Tensor) -> Tensor:
    """The same without the difference, for a network that takes it by its weights.

    Returns: (B, 2, X, Y, Z): baseline, follow-up; the baseline itself where it is both.
    """
    return baseline if followup is baseline else torch.cat((baseline, followup), dim=1)
