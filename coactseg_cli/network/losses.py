"""Dice and longitudinal relation losses over whatever labels a batch has; nothing missing ever counts as zero.

Every term is a ratio of sums over the voxels of the whole batch. The sums are taken first, so that the parts of a batch that
several processes hold can be added up (`add_up`) before any ratio is formed: the loss is then that of one process.

Targets are int8 with 0 (no lesion), 1 (lesion) and IGNORE (nobody knows); a sample whose head has no label is IGNORE everywhere.
Reference: Wu et al. 2023, Eq. 2 to 4.
"""

from __future__ import annotations

from collections.abc import Callable
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


class HeadSums(NamedTuple):
    """Sums over the labelled voxels of one head, (5,)."""

    overlap: Tensor  # probability x label
    probability: Tensor
    label: Tensor
    entropy: Tensor  # cross-entropy
    voxels: Tensor  # that are labelled


def lesion_probability(logits: Tensor) -> Tensor:
    """(B, 2, X, Y, Z) logits -> (B, X, Y, Z) probability of class 1, in float32."""
    return torch.sigmoid(margin(logits))


def margin(logits: Tensor) -> Tensor:
    """(B, 2, X, Y, Z) -> (B, X, Y, Z): how far class 1 leads. The softmax of two classes is the sigmoid of this."""
    wide = logits if logits.dtype is torch.float64 else logits.float()
    return wide[:, 1] - wide[:, 0]


def head_sums(lead: Tensor, probability: Tensor, target: Tensor) -> HeadSums:
    """What Dice and cross-entropy of one head are made of; arrays (B, X, Y, Z)."""
    known = (target != IGNORE).to(lead.dtype)
    lesion = (target == 1).to(lead.dtype)
    entropy = (functional.softplus(lead) - lesion * lead) * known  # -log p of the labelled class
    return HeadSums((probability * lesion).sum(), (probability * known).sum(), lesion.sum(), entropy.sum(), known.sum())


def dice_of(sums: HeadSums) -> Tensor:
    """1 - Dice; 0 where nothing is labelled. Reference: Eq. 2, with the smoothing of the published code."""
    dice = (2.0 * sums.overlap + SMOOTH) / (sums.probability + sums.label + SMOOTH)
    return (1.0 - dice) * (sums.voxels > 0)


def dice_loss(probability: Tensor, target: Tensor) -> Tensor:
    """1 - Dice over the labelled voxels of a batch; 0 where nothing is labelled.

    Args:
        probability: (B, X, Y, Z), 0 to 1.
        target: (B, X, Y, Z), 0, 1 or IGNORE.
    """
    return dice_of(head_sums(torch.zeros_like(probability), probability, target))


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy over the labelled voxels; 0 where nothing is labelled."""
    lead = margin(logits)
    return _entropy_of(head_sums(lead, torch.sigmoid(lead), target))


def _entropy_of(sums: HeadSums) -> Tensor:
    return sums.entropy / sums.voxels.clamp(min=1)


def masked_mean_square(difference: Tensor, mask: Tensor) -> Tensor:
    """Mean of squares of (B, X, Y, Z) over a boolean mask; 0 for an empty mask, where the published code gives NaN."""
    return (difference.square() * mask).sum() / mask.sum().clamp(min=1)


def coactseg_loss(
    heads: Heads,
    targets: Targets,
    is_pair: Tensor,
    *,
    new_weight: float,
    relation_weight: float,
    cross_entropy_weight: float,
    add_up: Callable[[Tensor], Tensor] | None = None,
) -> LossTerms:
    """Eq. 4 over a mixed batch: L = L_al + lambda1 L_nl + lambda2 L_rr, plus weighted cross-entropy (0 in the paper).

    Args:
        heads: logits.
        targets: labels per head.
        is_pair: (B,) bool, True where a sample has two different visits; relation terms depend on it.
        new_weight: lambda1.
        relation_weight: lambda2, 0 in the first stage of training.
        cross_entropy_weight: weight of the cross-entropy summed over the heads.
        add_up: adds a vector of sums over the processes that share the batch; None: this process has all of it.
    """
    leads = [margin(h) for h in heads]
    probabilities = [torch.sigmoid(lead) for lead in leads]
    sums = [head_sums(*one) for one in zip(leads, probabilities, targets, strict=True)]
    local = torch.stack([*sums[0], *sums[1], *sums[2], *_relation_sums(probabilities[0], probabilities[1], targets.new, is_pair)])
    total = local if add_up is None else add_up(local)
    first, second, third = (HeadSums(*total[i : i + 5]) for i in (0, 5, 10))
    agreement, single_voxels, absent, present, new_voxels = total[15:]
    dice = [dice_of(s) for s in (first, second, third)]
    entropy = _entropy_of(first) + _entropy_of(second) + _entropy_of(third)
    agree, absent, present = agreement / single_voxels.clamp(min=1), absent / new_voxels.clamp(min=1), present / new_voxels.clamp(min=1)
    loss = dice[0] + dice[1] + new_weight * dice[2] + relation_weight * (agree + absent + present)
    return LossTerms(dice[0], dice[1], dice[2], entropy, agree, absent, present, loss + cross_entropy_weight * entropy)


def _relation_sums(baseline: Tensor, followup: Tensor, new_target: Tensor, is_pair: Tensor) -> tuple[Tensor, ...]:
    """Eq. 3: sums of squares, and the voxels they are taken over (both 0 where there are none)."""
    pair = is_pair[:, None, None, None].to(baseline.dtype)
    single = (1.0 - pair).expand_as(baseline)
    lesion = (new_target == 1).to(pair.dtype) * pair
    agreement = ((baseline - followup).square() * single).sum()
    absent = (baseline.square() * lesion).sum()
    present = ((1.0 - followup).square() * lesion).sum()
    return agreement, single.sum(), absent, present, lesion.sum()
