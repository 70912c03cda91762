"""Many participants in one process, with few of them; `make long-cohort` runs 200."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.faults import child
from benchmarks.long_cohort import Measured, measure, slope_per_100


def test_slopes():
    assert slope_per_100([3.0 + 0.02 * i for i in range(50)]).value == pytest.approx(2.0)
    noise = np.random.default_rng(0).normal(0, 1, 200)
    slope = slope_per_100(list(5 + noise))
    assert slope.low < 0 < slope.high


def test_growth_is_noticed():
    flat = (100.0,) * 50
    grown = tuple(100.0 + i for i in range(50))
    assert Measured(1, 45, 5, flat, flat, flat[:45]).problems(50) == []
    assert "memory" in Measured(1, 45, 5, grown, flat, flat[:45]).problems(50)[0]
    assert "open files" in Measured(1, 45, 5, flat, grown, flat[:45]).problems(50)[0]
    assert "time" in Measured(1, 45, 5, flat, flat, grown[:45]).problems(50)[0]
    assert Measured(0, 44, 6, flat, flat, flat[:45]).problems(50) == ["exit code 0, expected 1", "44 complete and 6 failed"]


@pytest.mark.slow
def test_a_dozen_with_a_broken_one(tmp_path):
    child.warm()
    found = measure(tmp_path, 12)
    assert (found.code, found.complete, found.failed) == (1, 11, 1)
    assert max(found.files[2:]) == min(found.files[2:])
    assert max(found.rss_mb[4:]) - found.rss_mb[4] < 60
