"""Dice and longitudinal relation losses over whatever labels a batch has; nothing missing ever counts as zero.

Targets are int8 with 0 (no lesion), 1 (lesion) and IGNORE (nobody knows); a sample whose head has no label is IGNORE everywhere.
Reference: Wu et al. 2023, Eq. 2 to 4.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from coactseg_cli.network.model import Heads
from coactseg_cli.targets import IGNORE, Targets

SMOOTH = 1e-8


class LossTerms(NamedTuple):
    """Named scalar terms; `total` is what is minimised."""

    dice_all_baseline: Tensor
    dice_all_followup: Tensor
    dice_new: Tensor
    cross_entropy: Tensor
    relation_agreement: Tensor  # single scans: both all-lesion heads agree
    relation_absent: Tensor  # pairs: a new lesion is absent at baseline
    relation_present: Tensor  # pairs: a new lesion is present at follow-up
    total: Tensor


def lesion_probability(logits: Tensor) -> Tensor:
    """(B, 2, X, Y, Z) logits -> (B, X, Y, Z) probability of class 1, in float32."""
    return torch.softmax(logits.float(), dim=1)[:, 1]


def dice_loss(probability: Tensor, target: Tensor) -> Tensor:
    """1 - Dice over the labelled voxels of the whole batch; 0 where nothing is labelled.

    Args:
        probability: (B, X, Y, Z), 0 to 1.
        target: (B, X, Y, Z), 0, 1 or IGNORE.

    Reference: Eq. 2, with the smoothing of the published code.
    """
    known = target != IGNORE
    if not bool(known.any()):
        return probability.sum() * 0.0
    p, y = probability * known, (target == 1).float()
    return 1.0 - (2.0 * (p * y).sum() + SMOOTH) / (p.sum() + y.sum() + SMOOTH)


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy over the labelled voxels; 0 where nothing is labelled."""
    known = int((target != IGNORE).sum())
    total = functional.cross_entropy(logits.float(), target.long(), ignore_index=IGNORE, reduction="sum")
    return total / max(known, 1)


def masked_mean_square(difference: Tensor, mask: Tensor) -> Tensor:
    """Mean of squares of (B, X, Y, Z) over a boolean mask; 0 for an empty mask, where the published code gives NaN."""
    count = mask.sum().clamp(min=1)
    return (difference.square() * mask).sum() / count


def coactseg_loss(
    heads: Heads, targets: Targets, is_pair: Tensor, *, new_weight: float, relation_weight: float, cross_entropy_weight: float
) -> LossTerms:
    """Eq. 4 over a mixed batch: L = L_al + lambda1 L_nl + lambda2 L_rr, plus weighted cross-entropy (0 in the paper).

    Args:
        heads: logits.
        targets: labels per head.
        is_pair: (B,) bool, True where a sample has two different visits; relation terms depend on it.
        new_weight: lambda1.
        relation_weight: lambda2, 0 in the first stage of training.
        cross_entropy_weight: weight of the cross-entropy summed over the heads.
    """
    p_baseline, p_followup, p_new = (lesion_probability(h) for h in heads)
    dice = [dice_loss(p, y) for p, y in zip((p_baseline, p_followup, p_new), targets, strict=True)]
    entropy = sum((cross_entropy(h, y) for h, y in zip(heads, targets, strict=True)), start=p_new.new_zeros(()))
    single = (~is_pair)[:, None, None, None].expand_as(p_new)
    new_voxels = (targets.new == 1) & ~single
    agreement = masked_mean_square(p_baseline - p_followup, single)
    absent = masked_mean_square(p_baseline, new_voxels)
    present = masked_mean_square(1.0 - p_followup, new_voxels)
    total = dice[0] + dice[1] + new_weight * dice[2] + relation_weight * (agreement + absent + present)
    return LossTerms(dice[0], dice[1], dice[2], entropy, agreement, absent, present, total + cross_entropy_weight * entropy)
