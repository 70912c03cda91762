"""The cohort statistics against the answers of other programs (stats.json beside the metric vectors)."""

from __future__ import annotations

import dataclasses
import json
from functools import cache
from typing import Any

import numpy as np
import pytest

from coactseg_cli.metrics.agreement import agreement, bland_altman, correlations, percent_differences
from coactseg_cli.metrics.bootstrap import IntervalMethod, bootstrap_means
from coactseg_cli.metrics.cohort import WITH, summarise
from coactseg_cli.metrics.comparison import compare
from coactseg_cli.metrics.conventions import Convention
from coactseg_cli.metrics.froc import camelyon_score, curve
from coactseg_cli.metrics.icc import Form, intraclass
from coactseg_cli.metrics.isbi import isbi
from coactseg_cli.metrics.paired import (
    Distribution,
    ZeroMethod,
    benjamini_hochberg,
    bonferroni,
    common_language,
    holm,
    paired_t,
    rank_biserial,
    wilcoxon,
)
from coactseg_cli.metrics.proportions import clopper_pearson, wilson
from tests.coactseg_cli.metrics.made import made_method, made_scores
from tests.coactseg_cli.metrics.test_case import vector_scores
from tests.coactseg_cli.metrics.vectors import CASE_NAMES, FOLDER, needs_vectors

pytestmark = needs_vectors
close = {"rel": 1e-9, "abs": 1e-11}  # the answers are stored with twelve digits


@cache
def stored() -> dict[str, Any]:
    answers: dict[str, Any] = json.loads((FOLDER / "stats.json").read_text())
    return answers


def column(name: str) -> np.ndarray:
    return np.array(stored()["inputs"][name])


def dice() -> tuple[np.ndarray, np.ndarray]:
    return column("dice_a"), column("dice_b")


@pytest.mark.parametrize("zero_method", ZeroMethod)
@pytest.mark.parametrize("distribution", [Distribution.EXACT, Distribution.APPROX])
@pytest.mark.parametrize("correction", [False, True])
def test_wilcoxon(zero_method: ZeroMethod, distribution: Distribution, correction: bool) -> None:
    a, b = dice()
    own = wilcoxon(b - a, zero_method, distribution, correction)
    answer = stored()["wilcoxon_b_minus_a"]["values"][f"{zero_method}_{distribution}_correction{correction}"]
    assert (own.statistic, own.p) == pytest.approx((answer["statistic"], answer["p"]), **close)


def test_effect_sizes_and_the_t_test() -> None:
    a, b = dice()
    pingouin = stored()["wilcoxon_b_minus_a"]["values"]["pingouin"]
    assert rank_biserial(b - a) == pytest.approx(pingouin["RBC"], **close)
    assert common_language(a, b) == pytest.approx(pingouin["CLES"], **close)
    own = paired_t(b - a)
    assert (own.t, own.p) == pytest.approx((stored()["paired_t"]["t"], stored()["paired_t"]["p"]), **close)


def test_the_comparison_table_says_the_same() -> None:
    a, b = (
        made_method(name, [made_scores(f"c{n}", dice=d) for n, d in enumerate(values)]) for name, values in zip("ab", dice(), strict=True)
    )
    answers = stored()["wilcoxon_b_minus_a"]["values"]
    for zero_method in ZeroMethod:
        (row,) = compare([a, b], ["dice"], [], zero_method)
        answer = answers[f"{zero_method}_approx_correctionFalse"]
        assert (row.statistic, row.p, row.p_method) == (answer["statistic"], pytest.approx(answer["p"], **close), "approx")
    assert (row.n, row.n_zero) == (20, 2)
    assert (row.rank_biserial, row.common_language) == pytest.approx((answers["pingouin"]["RBC"], answers["pingouin"]["CLES"]), **close)
    assert (row.t, row.p_t) == pytest.approx((stored()["paired_t"]["t"], stored()["paired_t"]["p"]), **close)


def test_bland_altman_and_correlations() -> None:
    predicted, reference = column("volume_pred_mm3"), column("volume_true_mm3")
    answer = stored()["bland_altman_volume"]
    own, percent = bland_altman(predicted - reference), bland_altman(percent_differences(predicted, reference))
    assert (own.bias, own.sd, own.low, own.high) == pytest.approx(
        (answer["bias"], answer["sd_ddof1"], answer["loa_low"], answer["loa_high"]), **close
    )
    assert (own.bias_ci95.low, own.bias_ci95.high) == pytest.approx(tuple(answer["bias_ci95_t"]), **close)
    assert (percent.bias, percent.sd) == pytest.approx((answer["percent_of_mean"]["bias"], answer["percent_of_mean"]["sd_ddof1"]), **close)
    related, expected = correlations(predicted, reference), stored()["correlation_volume"]
    assert related.pearson == pytest.approx(expected["pearson_scipy"], **close)
    assert related.pearson == pytest.approx(expected["pearson_lesion_metrics_corr"], **close)
    assert related.spearman == pytest.approx(expected["spearman_scipy"], **close)
    assert related.kendall == pytest.approx(expected["kendall_scipy"], **close)


@pytest.mark.parametrize("form", Form)
def test_icc(form: Form) -> None:
    own = intraclass(np.stack([column("volume_true_mm3"), column("volume_pred_mm3")], axis=1))[form]
    answer = stored()["icc_pingouin"][str(form)]
    assert own.value == pytest.approx(answer["icc"], **close)
    assert (own.ci95.low, own.ci95.high) == pytest.approx(tuple(answer["ci95"]), abs=0.00501)  # stored with two decimals


def test_the_agreement_table_says_the_same() -> None:
    pairs = zip(column("volume_pred_mm3"), column("volume_true_mm3"), strict=True)
    row = agreement([made_scores(f"c{n}", volume_pred_mm3=p, volume_ref_mm3=r) for n, (p, r) in enumerate(pairs)])[0]
    answer = stored()
    assert (row.n, row.percent_n) == (20, 20)
    assert (row.loa_low, row.percent_sd) == pytest.approx(
        (answer["bland_altman_volume"]["loa_low"], answer["bland_altman_volume"]["percent_of_mean"]["sd_ddof1"]), **close
    )
    assert (row.spearman, row.kendall) == pytest.approx(
        (answer["correlation_volume"]["spearman_scipy"], answer["correlation_volume"]["kendall_scipy"]), **close
    )
    for form in Form:
        assert getattr(row, form.column) == pytest.approx(answer["icc_pingouin"][str(form)]["icc"], **close)


def test_corrections_for_many_tests() -> None:
    answer = stored()["multiple_tests"]
    p = np.array(answer["p"])
    assert holm(p) == pytest.approx(answer["holm"], **close)
    assert bonferroni(p) == pytest.approx(answer["bonferroni"], **close)
    assert benjamini_hochberg(p) == pytest.approx(answer["fdr_bh"], **close)


@pytest.mark.parametrize(("name", "interval"), [("wilson", wilson), ("clopper_pearson", clopper_pearson)])
def test_intervals_of_proportions(name: str, interval: Any) -> None:
    answer = stored()["binomial_ci"]
    for (k, n), ends in zip(answer["k_n"], answer[name], strict=True):
        assert (interval(k, n).low, interval(k, n).high) == pytest.approx(tuple(ends), **close)


@pytest.mark.parametrize("method", IntervalMethod)
def test_bootstrap(method: IntervalMethod) -> None:
    answer = stored()["bootstrap_mean_dice_a"]
    values = column("dice_a")
    # 100,000 draws: at 20,000 the ends of two BCa intervals of the same program already differ by the tolerance.
    own = bootstrap_means(values[:, None], [str(n) for n in range(len(values))], n_resamples=100_000, method=method)[0]
    assert (own.low, own.high) == pytest.approx(tuple(answer["ci95"][method]), abs=answer["tolerance"])


def test_the_summary_table_says_the_same() -> None:
    answer = stored()["bootstrap_mean_dice_a"]
    scores = [made_scores(f"c{n}", dice=d) for n, d in enumerate(column("dice_a"))]
    row = next(r for r in summarise(scores, [s.case for s in scores]) if r.metric == "dice" and r.group == WITH)
    assert (row.mean, row.sd, row.median, row.q25, row.q75) == pytest.approx(
        (answer["mean"], answer["sd_ddof1"], answer["median"], *answer["q25_q75_linear"]), **close
    )
    assert (row.ci95_low, row.ci95_high) == pytest.approx(tuple(answer["ci95"]["percentile"]), abs=answer["tolerance"])


def test_froc() -> None:
    answer = stored()["froc"]
    points = curve(np.array(answer["fp_probs"]), np.array(answer["tp_probs"]), answer["num_targets"], answer["num_images"])
    assert points.false_per_case[1:] == pytest.approx(answer["fps_per_image"], **close)  # the stored curve lacks the lowest threshold
    assert points.sensitivity[1:] == pytest.approx(answer["sensitivity"], **close)
    assert points.sensitivity[0] == 0.8
    assert camelyon_score(points) == pytest.approx(answer["score_0.25_0.5_1_2_4_8"], **close)


def test_isbi_2015() -> None:
    answer = stored()["isbi15"]
    scores = []
    for name, raw, predicted, reference in zip(
        answer["cases"], answer["per_case_raw_without_corr"], answer["pred_voxels"], answer["true_voxels"], strict=True
    ):
        if name in CASE_NAMES:
            own = vector_scores(name, Convention.MM)
            assert own.isbi_raw_26 == pytest.approx(raw, rel=1e-9)
            assert (own.volume_pred_mm3, own.volume_ref_mm3) == pytest.approx((predicted * own.voxel_mm3, reference * own.voxel_mm3))
        else:  # the masks of one case are not stored: any terms that make its score
            own = made_scores(
                name, dice=raw / 0.75, precision=raw / 0.75, lesion_tpr_any=raw / 0.75, lesion_fdr_any=1 - raw / 0.75, lesions_pred_any=1
            )
        # The stored correlation is of voxel counts, whatever the size of a voxel.
        scores.append(dataclasses.replace(own, volume_pred_mm3=predicted, volume_ref_mm3=reference))
    row = next(r for r in isbi(scores) if r.connectivity == 26)
    assert row.correlation == pytest.approx(answer["volume_correlation"], **close)
    assert row.score == pytest.approx(answer["score_mean_raw_plus_corr_over_4"], rel=1e-9)
