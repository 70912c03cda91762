"""Two methods on the same cases: signed-rank test, effect size and median difference for each score, paired by patient.

A patient counts once, with the mean over those of its cases that both methods have a value for. Cases of one method only are left out, and
their patients are counted.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from coactseg_cli.metrics.bootstrap import bootstrap_median
from coactseg_cli.metrics.cohort import WITH, WITHOUT, is_empty
from coactseg_cli.metrics.columns import CaseScores
from coactseg_cli.metrics.paired import ZeroMethod, common_language, holm, paired_t, rank_biserial, wilcoxon
from coactseg_cli.metrics.results import MethodResult
from coactseg_cli.metrics.rows import ComparisonRow

COMPARED = (
    "dice", "lesion_f1", "lesion_sensitivity", "lesion_ppv", "hd95_mm", "assd_mm", "nsd_1mm", "volume_error_percent", "false_lesions",
)  # fmt: skip
COMPARED_WITHOUT = ("false_lesions", "false_volume_mm3")


@dataclasses.dataclass(frozen=True, slots=True)
class PairedValues:
    """One score of two methods, parallel over patients."""

    a: np.ndarray  # (n,)
    b: np.ndarray  # (n,)
    n_left_out: int  # patients without a value of both


def compare(
    methods: Sequence[MethodResult],
    metrics: Sequence[str] = COMPARED,
    metrics_without: Sequence[str] = COMPARED_WITHOUT,
    zero_method: ZeroMethod = ZeroMethod.PRATT,
) -> tuple[ComparisonRow, ...]:
    """A row for each group, kind, pair of methods and score; Holm's correction runs over the rows of one group and kind.

    `metrics` and `metrics_without` are compared where the reference has lesions and where it has none.
    """
    rows: list[ComparisonRow] = []
    kinds = sorted({s.kind for method in methods for s in method.scores})
    for group, names in ((WITH, metrics), (WITHOUT, metrics_without)):
        for kind in kinds:
            family = [
                _row(group, kind, metric, first, second, values, zero_method)
                for first, second in itertools.combinations(methods, 2)
                for metric, values in _paired(group, kind, names, first, second)
            ]
            rows += _corrected(family)
    return tuple(rows)


def _paired(group: str, kind: str, metrics: Sequence[str], first: MethodResult, second: MethodResult) -> Iterator[tuple[str, PairedValues]]:
    """Every score over the patients that either method has in this group; nothing where neither has one."""
    a, b = (_cases(method, group, kind) for method in (first, second))
    patients = {case: patient for scored in (a, b) for case, (_, patient) in scored.items()}
    shared = [case for case in patients if case in a and case in b]
    for metric in metrics if patients else ():
        values = {case: (float(getattr(a[case][0], metric)), float(getattr(b[case][0], metric))) for case in shared}
        yield metric, _by_patient(values, patients)


def _cases(method: MethodResult, group: str, kind: str) -> dict[str, tuple[CaseScores, str]]:
    return {
        s.case: (s, case.patient)
        for s, case in zip(method.scores, method.cases, strict=True)
        if s.kind == kind and is_empty(s) == (group == WITHOUT)
    }


def _by_patient(values: dict[str, tuple[float, float]], patients: dict[str, str]) -> PairedValues:
    """Mean over the cases of each patient that have a value of both methods."""
    of_patient: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for case, pair in values.items():
        if not np.isnan(pair).any():
            of_patient[patients[case]].append(pair)
    means = np.array([np.mean(pairs, axis=0) for pairs in of_patient.values()]).reshape(-1, 2)
    return PairedValues(means[:, 0], means[:, 1], len(set(patients.values())) - len(means))


def _row(
    group: str, kind: str, metric: str, first: MethodResult, second: MethodResult, values: PairedValues, zero_method: ZeroMethod
) -> ComparisonRow:
    differences = values.b - values.a
    test, t_test, interval = wilcoxon(differences, zero_method), paired_t(differences), bootstrap_median(differences)
    some = differences.size > 0
    return ComparisonRow(
        group=group,
        kind=kind,
        metric=metric,
        method_a=first.name,
        method_b=second.name,
        n=differences.size,
        n_zero=int(np.count_nonzero(differences == 0)),
        n_left_out=values.n_left_out,
        median_a=float(np.median(values.a)) if some else np.nan,
        median_b=float(np.median(values.b)) if some else np.nan,
        median_difference=float(np.median(differences)) if some else np.nan,
        ci95_low=interval.low,
        ci95_high=interval.high,
        statistic=test.statistic,
        zero_method=str(test.zero_method),
        p_method=str(test.distribution),
        p=test.p,
        p_holm=np.nan,
        rank_biserial=rank_biserial(differences),
        common_language=common_language(values.a, values.b),
        mean_difference=float(differences.mean()) if some else np.nan,
        t=t_test.t,
        p_t=t_test.p,
    )


def _corrected(family: Sequence[ComparisonRow]) -> list[ComparisonRow]:
    corrected = holm(np.array([row.p for row in family]))
    return [dataclasses.replace(row, p_holm=float(p)) for row, p in zip(family, corrected, strict=True)]
