import dataclasses
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from coactseg_cli.config import TrainConfig
from coactseg_cli.errors import InvalidConfig
from coactseg_cli.sampling.batches import draw_batch, draw_sample, make_pool, places, render, stream
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


def kinds(pool, c, iterations):
    return [[draw_sample(pool, c, i, place).kind for place in places(c)] for i in range(iterations)]


def test_synthetic_pairs_come_in_a_set_share(single, pair):
    c = config(pairs_per_batch=4, singles_per_batch=1, synthetic_share=0.75)
    drawn = kinds(make_pool([single, pair], Library(), c), c, 5)
    assert all(batch.count("synthetic pair") == 3 and batch.count("real pair") == 1 for batch in drawn)
    c = config(pairs_per_batch=1, singles_per_batch=1, synthetic_share=0.25)
    drawn = kinds(make_pool([single, pair], Library(), c), c, 8)
    assert [batch[0] for batch in drawn].count("synthetic pair") == 2


def test_pairs_with_new_and_with_all_lesion_labels_take_turns(single, pair):
    """However many there are of each: 1 with a new-lesion label, 3 with all-lesion labels only."""
    every = dataclasses.replace(pair, new=None, all_baseline=single.all_baseline, all_followup=single.all_baseline)
    c = config(pairs_per_batch=2, singles_per_batch=1, synthetic_share=0.0)
    pool = make_pool([single, pair, every, every, every], Library(), c)
    for i in range(4):
        targets = draw_batch(pool, c, i).targets
        assert [bool((targets.new[k] != IGNORE).any()) for k in range(2)] == [True, False]
        assert [bool((targets.all_baseline[k] != IGNORE).any()) for k in range(2)] == [False, True]


def test_processes_draw_the_parts_of_one_batch(single, pair):
    c = config(pairs_per_batch=2, singles_per_batch=2)
    pool = make_pool([single, pair], Library(), c)
    whole = draw_batch(pool, c, 3)
    for rank in (0, 1):
        part = draw_batch(pool, c, 3, places(c, rank, 2))
        assert part.is_pair.tolist() == [True, False], "each process has both kinds"
        assert torch.equal(part.baseline, whole.baseline[rank::2])
        assert torch.equal(part.targets.new, whole.targets.new[rank::2])


@pytest.mark.parametrize("workers", [1, 3])
def test_a_stream_gives_the_batches_in_order_whatever_the_threads(single, pair, workers):
    c = config()
    pool = make_pool([single, pair], Library(), c)
    batches = stream(pool, c, 5, places(c), workers)
    for i, batch in enumerate(islice(batches, 4), start=5):
        assert torch.equal(batch.baseline, draw_batch(pool, c, i).baseline)
    batches.close()


def test_each_visit_is_rendered_on_its_own_and_a_single_scan_once(single, pair):
    c = config(synthetic_share=0.0)
    batch = draw_batch(make_pool([single, pair], Library(), c), c, 0)
    first, second = render(batch, torch.device("cpu"), 1.0)
    assert torch.equal(first[2:], second[2:]), "(x, x)"
    assert not torch.equal(first[0], second[0])
    assert not torch.equal(first[0], batch.baseline[0])
    plain = render(batch, torch.device("cpu"), 0.0)
    assert torch.equal(plain[0], batch.baseline)
    assert torch.equal(plain[1], batch.followup)


def test_samples_lie_in_memory_that_torch_aligned(single, pair):
    """Products of matrices round by where their numbers lie; NumPy's memory lies at multiples of 16 only."""
    c = config()
    batch = draw_batch(make_pool([single, pair], Library(), c), c, 0)
    assert all(t.data_ptr() % 64 == 0 for t in (batch.baseline, batch.followup, *batch.targets))
