from collections import Counter

import numpy as np
import pytest

from coactseg_cli.sampling.fates import CHANCES, CHANGED, Fate, draw_fate, is_brighter, teach
from coactseg_cli.targets import IGNORE

# one row of four voxels: rim at the left, core, core, tissue
NOWHERE = np.array([0, 0, 0, 0], bool)
CORE = np.array([0, 1, 1, 0], bool)
WHOLE = np.array([1, 1, 1, 0], bool)


def taught(fate, before, after, at_baseline=(0, 0, 0, 0), brighter=NOWHERE, new=(0, 0, 0, 0)):
    targets = tuple(np.array(t, np.int8) for t in (at_baseline, (0, 0, 0, 0), new))
    teach(targets, fate, before, after, brighter)
    return [t.tolist() for t in targets]


@pytest.mark.parametrize(
    ("fate", "before", "after", "at_baseline", "at_followup", "new"),
    [
        (Fate.NEW, NOWHERE, WHOLE, [0, 0, 0, 0], [1, 1, 1, 0], [1, 1, 1, 0]),
        (Fate.RESOLVED, WHOLE, NOWHERE, [1, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]),
        (Fate.STABLE, WHOLE, WHOLE, [1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]),
        (Fate.GROWN, CORE, WHOLE, [0, 1, 1, 0], [1, 1, 1, 0], [IGNORE, 0, 0, 0]),
        (Fate.FADED, WHOLE, CORE, [1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]),
    ],
)
def test_what_each_fate_teaches_each_head(fate, before, after, at_baseline, at_followup, new):
    assert taught(fate, before, after) == [at_baseline, at_followup, new]


def test_nothing_is_new_where_a_lesion_was():
    assert taught(Fate.NEW, NOWHERE, WHOLE, at_baseline=(0, 1, 0, 1))[2] == [1, 0, 1, 0]


def test_where_nobody_knows_the_baseline_a_clear_change_counts():
    unknown, brighter = (IGNORE,) * 4, np.array([1, 0, 1, 0], bool)
    assert taught(Fate.NEW, NOWHERE, WHOLE, at_baseline=unknown, brighter=brighter)[2] == [1, IGNORE, 1, 0]


def test_a_grown_rim_is_never_taught_as_new():
    assert taught(Fate.GROWN, CORE, WHOLE, brighter=WHOLE)[2] == [IGNORE, 0, 0, 0]


def test_a_lesion_at_both_visits_is_not_new_whatever_was_known():
    assert taught(Fate.RESOLVED, WHOLE, NOWHERE, new=(1, IGNORE, 0, 1))[2] == [0, 0, 0, 1]


def test_brighter_by_hand():
    assert is_brighter(np.array([0.0, 0.0, 1.0]), np.array([0.4, 0.6, 0.0])).tolist() == [False, True, False]


def test_fates_come_as_often_as_stated():
    rng = np.random.default_rng(0)
    counts = Counter(draw_fate(rng, changed=True) for _ in range(4000))
    assert [counts[f] / 4000 for f in CHANGED] == pytest.approx(CHANCES, abs=0.03)
    assert sum(CHANCES) == pytest.approx(1.0)


def test_without_change_every_lesion_is_stable():
    rng = np.random.default_rng(0)
    assert {draw_fate(rng, changed=False) for _ in range(50)} == {Fate.STABLE}
