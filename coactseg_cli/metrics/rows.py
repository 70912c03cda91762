"""The rows of the cohort tables, one class per table: each field is a column with its meaning. Numbers that are undefined are NaN.

Where several methods are compared, the writer puts a column `method` in front of every table but comparison.tsv and raters.tsv.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bids_app.tables import Column
from coactseg_cli.metrics.columns import column

KIND = "all or new"
GROUP = "with_reference_lesions or without_reference_lesions: whether the reference mask of the case has any voxel"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotScored:
    """One row of not_scored.tsv: a case without a score, or one whose missing prediction was scored as an empty mask."""

    case: str = column("What should have been compared")
    kind: str = column(KIND)
    status: str = column("missing: no prediction; surplus: no reference; failed: the masks could not be compared")
    reason: str = column("What was found and what helps")


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryRow:
    """One row of summary.tsv: one score over the cases of one group."""

    group: str = column(GROUP)
    kind: str = column(KIND)
    metric: str = column("Column of per_case.tsv")
    n_patients: int = column("Patients in the group")
    n_cases: int = column("Cases in the group")
    n: int = column("Cases with a defined value; mean to max are over these")
    n_undefined: int = column("Cases whose value is n/a")
    why_undefined: str = column("Flags of those cases and how many cases have them")
    n_not_scored: int = field(
        default=0,
        metadata={
            "column": Column("Cases of this kind that are in no mean: no prediction, or masks that could not be compared; not_scored.tsv")
        },
    )
    mean: float = column("Mean over cases (macro)")
    sd: float = column("Standard deviation over cases, ddof 1")
    median: float = column("Median")
    q25: float = column("25th percentile, linear interpolation")
    q75: float = column("75th percentile, linear interpolation")
    min: float = column("Smallest value")
    max: float = column("Largest value")
    ci95_low: float = column("Lower end of the 95 % percentile bootstrap interval of the mean, patients resampled")
    ci95_high: float = column("Upper end of that interval")
    pooled: float = column("Lesion scores only: over the lesions of all cases together (micro)")
    pooled_ci95_low: float = column("Lower end of the 95 % percentile bootstrap interval of pooled, patients resampled")
    pooled_ci95_high: float = column("Upper end of that interval")
    total: float = column("Counts and false volume only: sum over cases")


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRow(SummaryRow):
    """One row of by_site.tsv: as summary.tsv, over the cases of one site."""

    site: str = column("Value of the column of participants.tsv that --site-column names; n/a where it is not known")


@dataclass(frozen=True, slots=True, kw_only=True)
class RaterRow(SummaryRow):
    """One row of raters.tsv: as summary.tsv, over the cases that two raters (or a rater or method and the reference) share."""

    rater: str = column("Whose masks were taken as the prediction: a rater's or a method's name")
    against: str = column("Whose masks were taken as the reference: 'reference' or a rater's name")


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityRow:
    """One row of activity.tsv: a proportion of patients or cases."""

    kind: str = column(KIND)
    measure: str = column(
        "sensitivity, specificity, ppv, npv: whether a patient has at least one lesion above the size limit in any case; "
        "true_positive, false_positive, false_negative, true_negative: the confusion table of the same patients; "
        "no_false_lesion: cases with an empty reference that have no predicted lesion above the limit"
    )
    k: int = column("Patients (or cases) of whom it is true")
    n: int = column("Patients (or cases) of whom it could be true")
    value: float = column("k / n")
    ci95_low: float = column("Lower end of the 95 % Wilson interval")
    ci95_high: float = column("Upper end of the 95 % Wilson interval")
    exact_ci95_low: float = column("Lower end of the 95 % Clopper-Pearson interval")
    exact_ci95_high: float = column("Upper end of the 95 % Clopper-Pearson interval")


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeRow:
    """One row of by_size.tsv: lesions of one range of volumes, those of the reference and those predicted."""

    kind: str = column(KIND)
    size: str = column("Range of volumes in mm3, for instance 10-50; the lower end is excluded, the upper included")
    low_mm3: float = column("Lower end, excluded", "mm3")
    high_mm3: float = column("Upper end, included; n/a: none", "mm3")
    n_patients: int = column("Patients with a reference lesion of this size")
    n_reference: int = column("Reference lesions of this size")
    n_detected: int = column("Of them detected, MSSEG test")
    detection_rate: float = column("n_detected / n_reference")
    detection_ci95_low: float = column("Lower end of its 95 % percentile bootstrap interval, patients resampled")
    detection_ci95_high: float = column("Upper end of that interval")
    detection_wilson_low: float = column("Lower end of its 95 % Wilson interval, which takes lesions as independent")
    detection_wilson_high: float = column("Upper end of that interval")
    n_predicted: int = column("Predicted lesions of this size")
    n_false: int = column("Of them not confirmed, MSSEG test")
    false_rate: float = column("n_false / n_predicted")
    false_ci95_low: float = column("Lower end of its 95 % percentile bootstrap interval, patients resampled")
    false_ci95_high: float = column("Upper end of that interval")
    false_wilson_low: float = column("Lower end of its 95 % Wilson interval, which takes lesions as independent")
    false_wilson_high: float = column("Upper end of that interval")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementRow:
    """One row of agreement.tsv: how a predicted quantity follows the reference's over cases (Bland-Altman, correlation, ICC)."""

    kind: str = column(KIND)
    quantity: str = column("volume_mm3; log_volume: its natural logarithm; lesions: their number above the size limit")
    n: int = column("Cases; for log_volume only those where both volumes are above 0")
    bias: float = column("Mean of predicted minus reference")
    sd: float = column("Standard deviation of the differences, ddof 1")
    loa_low: float = column("bias - 1.96 sd")
    loa_high: float = column("bias + 1.96 sd")
    bias_ci95_low: float = column("Lower end of the 95 % t interval of the bias")
    bias_ci95_high: float = column("Upper end of that interval")
    loa_low_ci95_low: float = column("Lower end of the 95 % t interval of loa_low, standard error sd sqrt(1/n + 1.96^2 / (2 (n - 1)))")
    loa_low_ci95_high: float = column("Upper end of that interval")
    loa_high_ci95_low: float = column("Lower end of the same interval of loa_high")
    loa_high_ci95_high: float = column("Upper end of that interval")
    percent_n: int = column("Cases where predicted and reference are not both 0")
    percent_bias: float = column("Mean of 100 (predicted - reference) / their mean, over percent_n cases; n/a for log_volume", "percent")
    percent_sd: float = column("Standard deviation of that, ddof 1", "percent")
    percent_loa_low: float = column("percent_bias - 1.96 percent_sd", "percent")
    percent_loa_high: float = column("percent_bias + 1.96 percent_sd", "percent")
    pearson: float = column("Pearson's correlation")
    spearman: float = column("Spearman's rank correlation")
    kendall: float = column("Kendall's tau b")
    icc_a1: float = column("ICC(A,1): two-way, absolute agreement, single measure (McGraw and Wong 1996)")
    icc_a1_ci95_low: float = column("Lower end of its 95 % F interval")
    icc_a1_ci95_high: float = column("Upper end of that interval")
    icc_11: float = column("ICC(1,1): one-way, single measure")
    icc_11_ci95_low: float = column("Lower end of its 95 % F interval")
    icc_11_ci95_high: float = column("Upper end of that interval")
    icc_c1: float = column("ICC(C,1): two-way, consistency, single measure")
    icc_c1_ci95_low: float = column("Lower end of its 95 % F interval")
    icc_c1_ci95_high: float = column("Upper end of that interval")
    icc_1k: float = column("ICC(1,k): one-way, mean of both measures")
    icc_1k_ci95_low: float = column("Lower end of its 95 % F interval")
    icc_1k_ci95_high: float = column("Upper end of that interval")
    icc_ak: float = column("ICC(A,k): two-way, absolute agreement, mean of both measures")
    icc_ak_ci95_low: float = column("Lower end of its 95 % F interval")
    icc_ak_ci95_high: float = column("Upper end of that interval")
    icc_ck: float = column("ICC(C,k): two-way, consistency, mean of both measures")
    icc_ck_ci95_low: float = column("Lower end of its 95 % F interval")
    icc_ck_ci95_high: float = column("Upper end of that interval")


@dataclass(frozen=True, slots=True, kw_only=True)
class IsbiRow:
    """One row of isbi.tsv: the raw score of the ISBI 2015 longitudinal challenge (Carass 2017), no rescaling by raters."""

    kind: str = column(KIND)
    connectivity: int = column("Neighbours that join voxels to a lesion: 18 as in the challenge, 26 as in the usual programs")
    n: int = column("Cases whose reference has a voxel; all terms are over these")
    n_missed: int = column("Of them without any prediction: they count 0 in dice, ppv and ltpr, and 1 in lfpr")
    dice: float = column("Mean Dice")
    ppv: float = column("Mean voxel precision; an empty prediction counts 0")
    ltpr: float = column("Mean share of reference lesions that are touched, any size")
    lfpr: float = column("Mean share of predicted lesions that touch no reference lesion, any size")
    correlation: float = column("Pearson's correlation of the volumes over the cases")
    score: float = column("dice/8 + ppv/8 + (1 - lfpr)/4 + ltpr/4 + correlation/4")


@dataclass(frozen=True, slots=True, kw_only=True)
class RaterIsbiRow(IsbiRow):
    """One row of isbi_raters.tsv: the score against one rater, or the mean over raters."""

    rater: str = column("Whose masks were taken as the prediction: a rater's or a method's name")
    against: str = column("Whose masks were taken as the reference: 'reference', a rater's name, or mean: the mean over the raters")


@dataclass(frozen=True, slots=True, kw_only=True)
class FrocRow:
    """One row of froc.tsv: one operating point."""

    kind: str = column(KIND)
    score: str = column("Score of a candidate: max or mean probability of the component")
    threshold: float = column("Candidates with at least this score are kept")
    sensitivity: float = column("Reference lesions hit by a kept candidate / reference lesions")
    false_per_case: float = column("Kept candidates that hit no reference lesion / cases")
    n_reference: int = column("Reference lesions")
    n_cases: int = column("Cases with a probability map")
    camelyon: float = column(
        "Of the whole curve: mean sensitivity at 0.25, 0.5, 1, 2, 4 and 8 false lesions per case, computed as in CAMELYON16 "
        "(the lowest threshold left out, linear between points)"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdRow:
    """One row of thresholds.tsv: scores of the masks that a threshold on the probability map gives, mean over cases."""

    kind: str = column(KIND)
    threshold: float = column("Voxels with at least this probability are lesion")
    n_cases: int = column("Cases with a probability map and a reference lesion; the means are over those with a value")
    dice: float = column("Mean Dice")
    lesion_sensitivity: float = column("Mean lesion sensitivity, MSSEG test")
    lesion_ppv: float = column("Mean lesion PPV, MSSEG test")
    lesion_f1: float = column("Mean lesion F1, MSSEG test")
    false_lesions: float = column("Mean number of false lesions, over all cases with a probability map")


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """One row of comparison.tsv: one score of two methods, paired by patient."""

    group: str = column(GROUP)
    kind: str = column(KIND)
    metric: str = column("Column of per_case.tsv")
    method_a: str = column("First method")
    method_b: str = column("Second method")
    n: int = column("Patients with a value of both methods (mean over the cases of a patient)")
    n_zero: int = column("Patients whose values are equal")
    n_left_out: int = column("Patients without a value of both methods")
    median_a: float = column("Median of method_a over these patients")
    median_b: float = column("Median of method_b over these patients")
    median_difference: float = column("Median of method_b - method_a")
    ci95_low: float = column("Lower end of the 95 % percentile bootstrap interval of median_difference, patients resampled")
    ci95_high: float = column("Upper end of that interval")
    statistic: float = column("Wilcoxon's signed-rank statistic W: the smaller sum of ranks")
    zero_method: str = column("How patients with equal values were treated: pratt, wilcox or zsplit (scipy.stats.wilcoxon)")
    p_method: str = column("Distribution of W: exact, or approx: normal approximation without continuity correction")
    p: float = column("Two-sided p of the Wilcoxon signed-rank test")
    p_holm: float = column("p after Holm's correction over the metrics and pairs of methods of this kind and group")
    rank_biserial: float = column(
        "Effect size: (sum of positive ranks - sum of negative ranks) / sum of ranks, equal values left out; positive: method_b is larger"
    )
    common_language: float = column("Effect size: chance that a value of method_b exceeds one of method_a, ties half (Vargha and Delaney)")
    mean_difference: float = column("Mean of method_b - method_a")
    t: float = column("Statistic of the paired t test, for comparison")
    p_t: float = column("Its two-sided p, not corrected")
