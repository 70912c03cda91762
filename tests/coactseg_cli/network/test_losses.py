import math

import pytest
import torch

from coactseg_cli.network.losses import coactseg_loss, cross_entropy, dice_loss, masked_mean_square
from coactseg_cli.network.model import Heads
from coactseg_cli.targets import IGNORE, Targets
from tests.coactseg_cli.network.conftest import vectors


def published_case():
    stored = vectors("losses")
    labels = torch.from_numpy(stored["labels"]).to(torch.int8)
    is_pair = torch.arange(len(labels)) < int(stored["n_two_time_point"])
    pair_voxels = is_pair[:, None, None, None]
    unknown = torch.full_like(labels, IGNORE)
    every = torch.where(pair_voxels, unknown, labels)
    targets = Targets(every, every, torch.where(pair_voxels, labels, unknown))
    heads = Heads(*(torch.from_numpy(stored[f"logits_{k}"]) for k in ("baseline", "followup", "new")))
    return stored, heads, targets, is_pair


@pytest.mark.parametrize(("relation", "total"), [(0.0, "total_stage1"), (1.0, "total_stage2")])
def test_terms_equal_the_published_loss(relation, total):
    stored, heads, targets, is_pair = published_case()
    terms = coactseg_loss(heads, targets, is_pair, new_weight=1.0, relation_weight=relation, cross_entropy_weight=0.0)
    pairs = {
        "dice_new": terms.dice_new,
        "dice_all_baseline": terms.dice_all_baseline,
        "dice_all_followup": terms.dice_all_followup,
        "relation_new_absent_in_baseline": terms.relation_absent,
        "relation_new_present_in_followup": terms.relation_present,
        "relation_single_time_point_agreement": terms.relation_agreement,
        total: terms.total,
    }
    for name, value in pairs.items():
        assert float(value) == pytest.approx(float(stored[name]), abs=1e-5), name


def test_dice_by_hand():
    p = torch.tensor([[[[0.5, 1.0, 0.0]]]])
    y = torch.tensor([[[[1, 1, 0]]]], dtype=torch.int8)
    assert float(dice_loss(p, y)) == pytest.approx(1 - 2 * 1.5 / (1.5 + 2))


def test_ignored_voxels_do_not_count():
    p = torch.tensor([[[[0.5, 1.0, 0.9]]]])
    y = torch.tensor([[[[1, 1, IGNORE]]]], dtype=torch.int8)
    assert float(dice_loss(p, y)) == pytest.approx(1 - 2 * 1.5 / (1.5 + 2))


def heads_of(value: float) -> Heads:
    logits = torch.full((2, 2, 2, 3, 4), 0.0)
    logits[:, 1] = value
    return Heads(logits.clone().requires_grad_(), logits.clone().requires_grad_(), logits.clone().requires_grad_())


def test_a_batch_without_any_label_adds_nothing_and_is_finite():
    unknown = torch.full((2, 2, 3, 4), IGNORE, dtype=torch.int8)
    heads = heads_of(1.0)
    terms = coactseg_loss(
        heads,
        Targets(unknown, unknown, unknown),
        torch.tensor([True, True]),
        new_weight=1.0,
        relation_weight=1.0,
        cross_entropy_weight=1.0,
    )
    assert [float(t.detach()) for t in terms] == [0.0] * 8
    terms.total.backward()
    assert all(h.grad is None or not h.grad.any() for h in heads)


def test_empty_relation_mask_gives_zero_not_nan():
    assert float(masked_mean_square(torch.ones(1, 2, 2, 2), torch.zeros(1, 2, 2, 2, dtype=torch.bool))) == 0.0


def test_relation_wants_a_new_lesion_absent_then_present():
    new = torch.zeros(2, 2, 3, 4, dtype=torch.int8)
    new[0, 0, 0, 0] = 1
    new[1] = IGNORE
    unknown = torch.full_like(new, IGNORE)
    terms = coactseg_loss(
        heads_of(0.0),
        Targets(unknown, unknown, new),
        torch.tensor([True, False]),
        new_weight=1.0,
        relation_weight=1.0,
        cross_entropy_weight=0.0,
    )
    assert float(terms.relation_absent) == pytest.approx(0.25)
    assert float(terms.relation_present) == pytest.approx(0.25)
    assert float(terms.relation_agreement) == 0.0


def test_cross_entropy_averages_over_labelled_voxels():
    logits = torch.zeros(1, 2, 1, 1, 2)
    target = torch.tensor([[[[1, IGNORE]]]], dtype=torch.int8)
    assert float(cross_entropy(logits, target)) == pytest.approx(math.log(2))
