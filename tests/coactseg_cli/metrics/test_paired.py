from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from coactseg_cli.metrics.paired import (
    Distribution,
    SignedRank,
    ZeroMethod,
    benjamini_hochberg,
    bonferroni,
    common_language,
    holm,
    paired_t,
    rank_biserial,
    wilcoxon,
)


def array(*values: float) -> np.ndarray:
    return np.array(values, float)


def test_signed_ranks_on_paper() -> None:
    # Ranks of 1, 2, 3, 4, 5: negative are 2 and 1, so W = 3; of 32 sign patterns 5 have a sum of 3 or less on one side.
    test = wilcoxon(array(5, -2, 4, -1, 3))
    assert test == SignedRank(3, pytest.approx(10 / 32), ZeroMethod.PRATT, Distribution.EXACT)


def test_exact_p_counts_all_sign_patterns() -> None:
    differences = array(0.4, -0.1, 0.7, 0.2, -0.3, 0.9, 0.5)
    ranks = np.argsort(np.argsort(np.abs(differences))) + 1
    own = ranks[differences < 0].sum()
    sums = [sum(r for r, negative in zip(ranks, signs, strict=True) if negative) for signs in itertools.product((0, 1), repeat=7)]
    assert wilcoxon(differences).p == pytest.approx(2 * sum(s <= own for s in sums) / 2**7)


def test_the_distribution_follows_zeros_ties_and_size() -> None:
    assert wilcoxon(array(1, 2, 3)).distribution is Distribution.EXACT
    assert wilcoxon(array(1, 2, 0)).distribution is Distribution.APPROX
    assert wilcoxon(array(1, 2, -2)).distribution is Distribution.APPROX
    assert wilcoxon(np.arange(1, 51.0)).distribution is Distribution.EXACT
    assert wilcoxon(np.arange(1, 52.0)).distribution is Distribution.APPROX
    assert wilcoxon(array(1, 2, 3), distribution=Distribution.APPROX).p != wilcoxon(array(1, 2, 3)).p


def test_zero_methods_differ() -> None:
    differences = array(0, 0, 1, -2, 3, 4)
    # Pratt: ranks 3, 4, 5, 6 of the others, W = 4. Wilcoxon: 1, 2, 3, 4, W = 2. Split: 3 / 2 of the zeros' ranks (1.5 + 1.5) on each side.
    assert [wilcoxon(differences, method).statistic for method in ZeroMethod] == [4, 2, 5.5]
    plain, corrected = (wilcoxon(differences, correction=c).p for c in (False, True))
    assert corrected > plain


def test_no_difference_at_all() -> None:
    assert wilcoxon(np.zeros(5)).p == 1
    assert math.isnan(wilcoxon(np.zeros(0)).p)
    assert math.isnan(rank_biserial(np.zeros(5)))
    assert math.isnan(common_language(np.zeros(0), np.zeros(0)))


def test_rank_biserial_on_paper() -> None:
    assert rank_biserial(array(5, -2, 4, -1, 3)) == pytest.approx((12 - 3) / 15)
    assert rank_biserial(array(0, 0, -3, -1)) == -1
    assert rank_biserial(array(1, -1)) == 0


def test_common_language_on_paper() -> None:
    # 1 > 0; 1 = 1 half; 3 > 0, 1; 1 < 2, 3 > 2: 4.5 of 6.
    assert common_language(array(0, 1, 2), array(1, 3)) == pytest.approx(4.5 / 6)


def test_paired_t_on_paper() -> None:
    # mean 2, sd 1: t = 2 / (1 / sqrt 3); p of t = 3.4641 with 2 degrees of freedom.
    result = paired_t(array(1, 2, 3))
    assert (result.t, result.p) == pytest.approx((2 * math.sqrt(3), 0.0741799), abs=1e-6)
    assert math.isnan(paired_t(array(2, 2, 2)).p)
    assert math.isnan(paired_t(array(2)).t)


def test_corrections_on_paper() -> None:
    p = array(0.04, 0.01, 0.03)
    assert holm(p) == pytest.approx([0.06, 0.03, 0.06])
    assert bonferroni(p) == pytest.approx([0.12, 0.03, 0.09])
    assert benjamini_hochberg(p) == pytest.approx([0.04, 0.03, 0.04])
    assert holm(array(0.9, 0.8)) == pytest.approx([1, 1])


def test_undefined_p_are_no_tests() -> None:
    corrected = holm(array(math.nan, 0.01, math.nan, 0.03))
    assert corrected == pytest.approx([math.nan, 0.02, math.nan, 0.03], nan_ok=True)
    assert holm(np.zeros(0)).size == 0
    assert benjamini_hochberg(array(math.nan)) == pytest.approx([math.nan], nan_ok=True)
