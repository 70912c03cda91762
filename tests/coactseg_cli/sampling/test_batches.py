from pathlib import Path

import numpy as np
import pytest
import torch

from coactseg_cli.config import TrainConfig
from coactseg_cli.errors import InvalidConfig
from coactseg_cli.sampling.batches import draw_batch, make_pool
from coactseg_cli.sampling.lesion_library import Library
from coactseg_cli.sampling.patches import Case
from coactseg_cli.targets import IGNORE

SIZE = (16, 16, 16)


def config(**changes):
    return TrainConfig(prepared=(Path("p"),), out_dir=Path("o"), patch_size=SIZE, **{"lesion_share": 1.0, **changes})


def test_shares_of_a_batch(single, pair):
    batch = draw_batch(make_pool([single, pair], Library(), c := config(pairs_per_batch=3, singles_per_batch=2)), c, 0)
    assert batch.is_pair.tolist() == [True] * 3 + [False] * 2
    assert batch.baseline.shape == (5, 1, *SIZE)
    assert batch.targets.new.shape == (5, *SIZE)
    assert batch.targets.new.dtype == torch.int8


def test_labels_decide_what_is_supervised(single, pair):
    c = config(pairs_per_batch=2, singles_per_batch=2, synthetic_share=0.0, null_new_on_singles=False)
    batch = draw_batch(make_pool([single, pair], Library(), c), c, 0)
    assert (batch.targets.all_baseline[:2] == IGNORE).all()
    assert (batch.targets.new[:2] == 1).any()
    assert (batch.targets.new[2:] == IGNORE).all()
    assert (batch.targets.all_followup[2:] == 1).any()


def test_null_new_on_singles_teaches_that_nothing_is_new(single):
    c = config(pairs_per_batch=0, singles_per_batch=2)
    assert not draw_batch(make_pool([single], Library(), c), c, 0).targets.new.any()


def test_the_iteration_alone_decides_a_batch(single, pair):
    c = config()
    pool = make_pool([single, pair], Library(), c)
    first, again, other = draw_batch(pool, c, 4), draw_batch(pool, c, 4), draw_batch(pool, c, 5)
    assert torch.equal(first.baseline, again.baseline)
    assert torch.equal(first.targets.new, again.targets.new)
    assert not torch.equal(first.baseline, other.baseline)


def test_the_seed_decides_too(single, pair):
    batches = [draw_batch(make_pool([single, pair], Library(), c), c, 4) for c in (config(seed=1), config(seed=2))]
    assert not torch.equal(batches[0].baseline, batches[1].baseline)


def test_synthetic_pairs_come_from_single_scans(single):
    c = config(pairs_per_batch=2, singles_per_batch=0, synthetic_share=1.0)
    batches = [draw_batch(make_pool([single], Library(), c), c, i) for i in range(10)]
    assert all(b.is_pair.all() for b in batches)
    assert sum(bool((b.targets.new == 1).any()) for b in batches) >= 5


@pytest.mark.parametrize(
    "changes", [{"singles_per_batch": 1, "pairs_per_batch": 0}, {"pairs_per_batch": 1, "singles_per_batch": 0, "synthetic_share": 0.0}]
)
def test_nothing_to_draw_from_is_said(changes):
    unlabelled = Case("sub-9", np.zeros((20, 20, 20), np.float32), np.ones((20, 20, 20), bool), (1.0, 1.0, 1.0))
    with pytest.raises(InvalidConfig, match="coactseg prep -d labels"):
        make_pool([unlabelled], Library(), config(**changes))


def test_augmentation_strength_zero_keeps_intensities(single):
    c = config(pairs_per_batch=0, singles_per_batch=1, augment_strength=0.0)
    batch = draw_batch(make_pool([single], Library(), c), c, 0)
    assert np.isin(np.round(batch.baseline.numpy(), 5), np.round(np.append(single.baseline, np.float32(0)), 5)).all()


def test_lesion_share_decides_how_many_patches_hold_a_lesion(single):
    shares = []
    for share in (0.0, 1.0):
        c = config(pairs_per_batch=0, singles_per_batch=1, lesion_share=share, max_shift=2)
        pool = make_pool([single], Library(), c)
        shares.append(np.mean([bool((draw_batch(pool, c, i).targets.all_baseline == 1).any()) for i in range(30)]))
    assert shares[0] < 0.8
    assert shares[1] == 1.0
