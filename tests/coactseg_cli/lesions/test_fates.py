"""The noise rule by hand, and its mirror."""

import numpy as np
import pytest

from coactseg_cli.errors import InvalidConfig
from coactseg_cli.lesions.fates import MIRRORED, Fate, Rules, fate_of_change

RULES = Rules(noise_mm3=10, noise_share=0.2)


@pytest.mark.parametrize(
    ("before_mm3", "after_mm3", "fate"),
    [
        (20, 30, Fate.STABLE),  # 10 mm3 is the noise, not above it
        (20, 30.5, Fate.ENLARGING),
        (30.5, 20, Fate.SHRINKING),
        (450, 550, Fate.STABLE),  # a fifth of the mean, 500
        (450, 560, Fate.ENLARGING),  # 110 above 101
        (5, 0, Fate.STABLE),
    ],
)
def test_a_change_is_real_only_above_both_limits(before_mm3: float, after_mm3: float, fate: Fate) -> None:
    assert fate_of_change(before_mm3, after_mm3, RULES) is fate


def test_exchanging_the_volumes_mirrors_the_fate() -> None:
    volumes = np.random.default_rng(0).uniform(0, 300, (500, 2))
    for a, b in volumes:
        assert fate_of_change(b, a, RULES) is MIRRORED[fate_of_change(a, b, RULES)]


def test_the_words_of_the_tables() -> None:
    assert " ".join(Fate) == "baseline new enlarging shrinking stable resolved merged split"
    assert set(MIRRORED) == set(Fate) - {Fate.BASELINE}
    assert all(MIRRORED[MIRRORED[fate]] is fate for fate in MIRRORED)


@pytest.mark.parametrize("wrong", [{"connectivity": 8}, {"min_overlap": 1.2}, {"noise_mm3": -1}, {"noise_share": float("nan")}])
def test_rules_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(InvalidConfig, match=next(iter(wrong))):
        Rules(**wrong)
