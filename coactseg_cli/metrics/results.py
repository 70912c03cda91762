"""What an evaluation hands from the stage to the cohort functions, and from both to the page: frozen values, nothing is computed.

Who fills what:

    score_case(CasePair, Rules, thresholds) -> CaseResult(scores, lesions, candidates, points)      one case, in a worker
    summarise(scores, patients), activity(scores, patients)                      metrics/cohort.py
    by_size(lesions, cases), by_site(scores, cases)                              metrics/strata.py
    agreement(scores)                                                            metrics/agreement.py
    isbi(scores), isbi_of_raters(rater_results)                                  metrics/isbi.py
    froc(candidates, scores of cases with a map), threshold_curve(points)        metrics/froc.py
    compare(methods: Sequence[MethodResult])                                     metrics/comparison.py
    rater_rows(Sequence[RaterResult])                                            metrics/raters.py
    write_report(EvaluateResult, out_dir) -> path of the page                    evaluate_report.py

score_case gets the probability map, where there is one, as CasePair.probability: Volume | None (float, on the grid of the masks; None by
default), and the thresholds of the curve (0.05, 0.1, ... 0.95; empty: no curve). CaseResult.candidates and .points are empty without a map.
The stage sets SummaryRow.n_not_scored afterwards (dataclasses.replace), and adds the flags `missing_prediction` and `resampled` itself.

For pictures evaluate_files.masks_of(EvaluatedCase) gives both masks (boolean, reference grid) as they were scored.

`cases`, `scores` and `patients` of one method are parallel: one element per scored case, in the same order; all kinds together (each row
knows its kind). The key of a case is (case, kind). `lesions`, `candidates` and `points` refer to cases by these two fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coactseg_cli.metrics.columns import CaseScores, LesionRow
from coactseg_cli.metrics.rows import (
    ActivityRow,
    AgreementRow,
    ComparisonRow,
    FrocRow,
    IsbiRow,
    NotScored,
    RaterIsbiRow,
    RaterRow,
    SiteRow,
    SizeRow,
    SummaryRow,
    ThresholdRow,
)

ONLY_METHOD = "predicted"  # name of the method where one is evaluated
REFERENCE = "reference"  # name of the consensus among raters


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedCase:
    """Who a scored case belongs to, and the files it was made from."""

    case: str
    kind: str  # all or new
    patient: str  # the unit that is resampled: sub-01 of sub-01_ses-02, or as a table of pairs says
    site: str | None = None  # None: not known, or no --site-column
    predicted: Path | None  # None: missing, scored as an empty mask (--missing empty)
    reference: Path
    probability: Path | None = None  # map on the grid of `predicted`
    background: Path | None = None  # scan for pictures, on any grid (bring it to the reference's by nearest neighbour, or leave it out)
    resampled: bool = False  # `predicted` lies on another grid and was brought to the reference's, nearest neighbour (--resample)
    threshold: float | None = None  # makes a mask of `predicted` and `reference` where they are probabilities
    predicted_values: tuple[int, ...] = ()  # labels of `predicted` that are lesion; empty: every label above 0
    reference_values: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A component of the thresholded probability map, for FROC."""

    case: str
    kind: str
    volume_mm3: float
    max_probability: float
    mean_probability: float
    hits: tuple[int, ...]  # `label` in per_lesion.tsv of the reference lesions that it touches; empty: a false candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdPoint:
    """Scores of one case at one threshold of its probability map; NaN as in CaseScores."""

    case: str
    kind: str
    threshold: float
    has_reference: bool  # whether the reference mask has any voxel
    dice: float
    lesion_sensitivity: float
    lesion_ppv: float
    lesion_f1: float
    false_lesions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodResult:
    """What came of one set of predictions."""

    name: str
    cases: tuple[EvaluatedCase, ...]
    scores: tuple[CaseScores, ...]  # parallel to cases
    lesions: tuple[LesionRow, ...] = ()
    candidates: tuple[Candidate, ...] = ()  # empty without probability maps
    points: tuple[ThresholdPoint, ...] = ()  # empty without probability maps
    not_scored: tuple[NotScored, ...] = ()
    summary: tuple[SummaryRow, ...] = ()
    activity: tuple[ActivityRow, ...] = ()
    by_size: tuple[SizeRow, ...] = ()
    by_site: tuple[SiteRow, ...] = ()  # empty without --site-column
    agreement: tuple[AgreementRow, ...] = ()
    isbi: tuple[IsbiRow, ...] = ()
    froc: tuple[FrocRow, ...] = ()
    thresholds: tuple[ThresholdRow, ...] = ()

    @property
    def patients(self) -> tuple[str, ...]:
        """Whose case it is, parallel to scores."""
        return tuple(case.patient for case in self.cases)


@dataclass(frozen=True, slots=True, kw_only=True)
class RaterResult:
    """Masks of one rater (or method) scored against the consensus or against another rater."""

    rater: str
    against: str  # REFERENCE or a rater's name
    cases: tuple[EvaluatedCase, ...]
    scores: tuple[CaseScores, ...]  # parallel to cases
    not_scored: tuple[NotScored, ...] = ()

    @property
    def listed(self) -> tuple[NotScored, ...]:
        """What not_scored.tsv says of it: a mask that is missing is listed once, against the reference."""
        return tuple(row for row in self.not_scored if self.against == REFERENCE or row.status == "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateResult:
    """What came of an evaluation: one MethodResult per set of predictions, and what is said across them."""

    methods: tuple[MethodResult, ...]  # at least one
    rater_results: tuple[RaterResult, ...] = ()
    raters: tuple[RaterRow, ...] = ()
    isbi_raters: tuple[RaterIsbiRow, ...] = ()  # of rater_results; empty without raters
    comparison: tuple[ComparisonRow, ...] = ()  # empty for one method
    settings: Mapping[str, Any] = field(default_factory=dict)  # what settings.json holds: Rules, Definitions, Cases, Versions, ...

    @property
    def scores(self) -> tuple[CaseScores, ...]:
        """Of every method."""
        return tuple(row for method in self.methods for row in method.scores)

    @property
    def not_scored(self) -> tuple[NotScored, ...]:
        """Of every method, then of every rater."""
        of_methods = (row for method in self.methods for row in method.not_scored)
        return (*of_methods, *(row for rated in self.rater_results for row in rated.listed))

    @property
    def failures(self) -> tuple[NotScored, ...]:
        """Cases whose masks could not be compared."""
        return self._with_status("failed")

    @property
    def missing(self) -> tuple[NotScored, ...]:
        """Cases that have a reference and no prediction."""
        return self._with_status("missing")

    @property
    def surplus(self) -> tuple[NotScored, ...]:
        """Cases that have a prediction and no reference."""
        return self._with_status("surplus")

    @property
    def exit_code(self) -> int:
        """1 where a case failed, else 0; missing and surplus cases are reported and are no failure."""
        return 1 if self.failures else 0

    def _with_status(self, status: str) -> tuple[NotScored, ...]:
        return tuple(row for row in self.not_scored if row.status == status)
