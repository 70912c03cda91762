import dataclasses
import math

import numpy as np
import pytest
import torch

from coactseg_cli.config import TrainConfig
from coactseg_cli.network.model import VNet
from coactseg_cli.network.ranks import Ranks
from coactseg_cli.sampling.patches import Case
from coactseg_cli.targets import IGNORE
from coactseg_cli.validation import Row, mean_of, score, summary_score, validate

ALONE = Ranks(0, 1, torch.device("cpu"))
SHAPE = (20, 24, 28)


def cube(start, edge, shape=SHAPE):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(s, s + edge) for s in start)] = True
    return mask


def case(**changes):
    image = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    return Case("sub-1", image, np.ones(SHAPE, bool), (1.0, 1.0, 1.0), **changes)


def row(**changes):
    values = dict.fromkeys(("dice", "hd95_mm", "lesion_sensitivity", "lesion_ppv", "lesion_f1", "volume_ref_mm3", "volume_pred_mm3"), 0.5)
    counts = dict.fromkeys(("lesions_ref", "lesions_pred", "false_lesions"), 1)
    return Row(**{"iteration": 3, "case": "sub-1", "kind": "all", **values, **counts, **changes})


def test_scores_by_hand():
    """A label of 4^3, found with half of it missed, and a false lesion of 2^3: Dice 2*32 / (64 + 40)."""
    target = cube((2, 2, 2), 4).astype(np.int8)
    found = np.where(cube((2, 2, 2), 4), 0.9, 0.1)
    found[4:6, 2:6, 2:6] = 0.2
    found[cube((12, 12, 12), 2)] = 0.7
    scores = score(found, target, np.ones(SHAPE, bool), case(all_baseline=target))
    assert scores.dice == pytest.approx(64 / 104)
    assert (scores.lesions_ref, scores.lesions_pred, scores.false_lesions) == (1, 2, 1)


def test_what_the_label_ignores_counts_neither_way():
    target = cube((2, 2, 2), 4).astype(np.int8)
    target[cube((12, 12, 12), 4)] = IGNORE
    found = np.where(target != 0, 0.9, 0.1)
    assert score(found, target, np.ones(SHAPE, bool), case(all_baseline=target)).dice == 1.0
    assert score(np.where(target == IGNORE, 0.9, 0.1), target, np.ones(SHAPE, bool), case(all_baseline=target)).lesions_pred == 0


def test_lesions_outside_the_brain_and_specks_are_no_lesions():
    target = cube((2, 2, 2), 4).astype(np.int8)
    brain = ~cube((12, 12, 12), 4)
    found = np.where((target == 1) | cube((12, 12, 12), 4), 0.9, 0.1)
    found[18, 20, 20:23] = 0.9  # 3 mm3, not more
    scores = score(found, target, brain, case(all_baseline=target))
    assert (scores.dice, scores.lesions_pred) == (1.0, 1)


def test_a_kind_with_many_cases_does_not_outweigh_the_other():
    rows = [row(kind="all", dice=d) for d in (0.2, 0.4, 0.6)] + [row(kind="new", dice=1.0)]
    assert summary_score(rows) == pytest.approx((0.4 + 1.0) / 2)
    assert math.isnan(summary_score([]))
    assert mean_of(rows, "all", "dice") == pytest.approx(0.4)


@pytest.mark.parametrize(("predicted", "wanted"), [(0, 1.0), (2, 0.0)])
def test_a_case_without_a_lesion_wants_an_empty_map(predicted, wanted):
    assert row(dice=math.nan, lesions_ref=0, lesions_pred=predicted).score == wanted


def test_means_leave_out_what_is_undefined():
    assert mean_of([row(lesion_f1=math.nan), row(lesion_f1=0.25)], "all", "lesion_f1") == 0.25
    assert math.isnan(mean_of([row(lesion_f1=math.nan)], "all", "lesion_f1"))


def test_every_labelled_case_is_scored_by_its_own_head(tmp_path):
    lesion = cube((5, 5, 5), 5).astype(np.int8)
    single, bare = case(all_baseline=lesion), case()
    pair = dataclasses.replace(case(), name="sub-1_pair", followup=single.baseline + 1, new=np.zeros(SHAPE, np.int8))
    torch.manual_seed(0)
    network = VNet(2)
    config = TrainConfig(prepared=(), out_dir=tmp_path, base_filters=2)
    rows = validate(network, [single, bare, pair], config, ALONE, 7)
    assert [(r.case, r.kind, r.iteration) for r in rows] == [("sub-1", "all", 7), ("sub-1_pair", "new", 7)]
    assert (rows[0].lesions_ref, rows[1].lesions_ref) == (1, 0)
    assert network.training, "the network that learns is left as it was"
