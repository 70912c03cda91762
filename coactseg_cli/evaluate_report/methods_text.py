"""A paragraph for the methods section of a paper, from the settings of the evaluation; only what was done is said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coactseg_cli.evaluate_report.words import CITATIONS, convention_of
from coactseg_cli.metrics.conventions import Convention
from coactseg_cli.metrics.results import EvaluateResult


def methods_text(result: EvaluateResult) -> tuple[str, ...]:
    """Paragraphs to paste, the citations last."""
    rules = result.settings.get("Rules", {})
    version = result.settings.get("Versions", {}).get("coactseg", "n/a")
    paragraphs = [_lesions(rules, version), _overlap(convention_of(result)), _cohort(result)]
    if result.comparison:
        paragraphs.append(_comparison(result))
    return (*paragraphs, f"References: {' '.join(CITATIONS)}")


def _lesions(rules: Mapping[str, Any], version: str) -> str:
    limits = []
    if rules.get("min_lesion_mm3") is not None:
        limits.append(f"a volume strictly above {rules['min_lesion_mm3']:g} mm³")
    if rules.get("min_lesion_voxels") is not None:
        limits.append(f"at least {rules['min_lesion_voxels']} voxels")
    return (
        f"Segmentations were evaluated with CoactSeg {version}, convention '{rules.get('convention', 'n/a')}', on the grid of the "
        f"reference masks. Lesions were {rules.get('connectivity', 'n/a')}-connected components with "
        f"{' and '.join(limits) or 'any volume'}. A reference lesion counted as detected when predicted lesions covered more than "
        f"{_percent(rules.get('alpha'))} of it and, going through them by decreasing overlap until {_percent(rules.get('gamma'))} of "
        f"the overlap was reached, none lay with more than {_percent(rules.get('beta'))} of its volume outside the reference; predicted "
        f"lesions were tested in the same way against the reference (Commowick et al. 2018). Lesion F1 is the harmonic mean of lesion "
        "sensitivity and lesion PPV."
    )


def _percent(share: Any) -> str:
    return "n/a" if share is None else f"{100 * share:g} %"


def _overlap(convention: str) -> str:
    distances = (
        "HD95 is the 95th percentile of the surface distances of both directions together and ASD the mean distance of the predicted "
        "surface to the reference surface, both in voxels."
        if convention == Convention.COACTSEG
        else "HD95 is the larger of the two directed 95th percentiles of the surface distances and ASSD the mean over the surface voxels "
        "of both masks, both in mm."
    )
    undefined = (
        "Where a score is undefined and animaSegPerfAnalyzer prints 0, it is 0."
        if convention == Convention.ANIMA
        else "Undefined scores are left out of means and counted."
    )
    return (
        f"Dice, precision and sensitivity are voxel-wise. {distances} {undefined} Cases without any reference lesion are reported "
        f"apart, with the number and volume of false lesions."
    )


def _cohort(result: EvaluateResult) -> str:
    definition = result.settings.get("Definitions", {}).get("ci95", "percentile bootstrap of the mean over patients; proportions: Wilson")
    return (
        f"Scores are given as mean, standard deviation (ddof 1), median and quartiles over cases; 95 % confidence intervals: {definition}. "
        "Agreement of volumes and lesion counts is given as Bland-Altman limits (bias ± 1.96 SD), Pearson's and Spearman's correlation and "
        "ICC(A,1)."
    )


def _comparison(result: EvaluateResult) -> str:
    tests = sorted({f"{row.zero_method}, {row.p_method}" for row in result.comparison})
    return (
        "Methods were compared by two-sided Wilcoxon signed-rank tests, paired by patient (mean over the cases of a patient; treatment of "
        f"equal values, distribution: {'; '.join(tests)}), with the rank-biserial correlation as effect size and Holm's correction over "
        f"scores and pairs of methods."
    )
