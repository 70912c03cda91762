"""The raw score of the ISBI 2015 longitudinal lesion challenge; the website's rescaling by the agreement of its raters is not done.

    score = dice / 8 + ppv / 8 + (1 - lfpr) / 4 + ltpr / 4 + correlation / 4

Lesions are 18-connected in the paper and 26-connected in the usual programs, of any size; both are given. A case without any prediction
has no ppv and no lfpr: it counts as the worst, 0 and 1. Reference: Carass et al. 2017, NeuroImage 148:77.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from coactseg_cli.metrics.agreement import correlations
from coactseg_cli.metrics.cohort import is_empty
from coactseg_cli.metrics.columns import CaseScores
from coactseg_cli.metrics.results import REFERENCE, RaterResult
from coactseg_cli.metrics.rows import IsbiRow, RaterIsbiRow

CONNECTIVITIES = {18: ("lesion_tpr_18", "lesion_fdr_18"), 26: ("lesion_tpr_any", "lesion_fdr_any")}
MEAN_OF_RATERS = "mean"
TERMS = ("dice", "ppv", "ltpr", "lfpr", "correlation", "score")


def isbi(scores: Sequence[CaseScores]) -> tuple[IsbiRow, ...]:
    """A row for each kind and connectivity, over the cases whose reference has a voxel; no row where there is none."""
    rows: list[IsbiRow] = []
    for kind in sorted({s.kind for s in scores}):
        scored = [s for s in scores if s.kind == kind and not is_empty(s)]
        rows += [_row(kind, connectivity, scored) for connectivity in CONNECTIVITIES if scored]
    return tuple(rows)


def isbi_of_raters(results: Sequence[RaterResult]) -> tuple[RaterIsbiRow, ...]:
    """The score against each rater, and, where the same masks were compared with several raters, the mean of these (against = mean)."""
    rows = [
        RaterIsbiRow(**dataclasses.asdict(row), rater=result.rater, against=result.against)
        for result in results
        for row in isbi(result.scores)
    ]
    for key in dict.fromkeys((row.rater, row.kind, row.connectivity) for row in rows):
        of_raters = [row for row in rows if (row.rater, row.kind, row.connectivity) == key and row.against != REFERENCE]
        rows += [_mean(of_raters)] if len(of_raters) > 1 else []
    return tuple(rows)


def _row(kind: str, connectivity: int, scores: Sequence[CaseScores]) -> IsbiRow:
    ltpr_name, lfpr_name = CONNECTIVITIES[connectivity]
    missed = [s.lesions_pred_any == 0 for s in scores]
    dice, ltpr = (float(np.mean([getattr(s, name) for s in scores])) for name in ("dice", ltpr_name))
    ppv = float(np.mean(np.where(missed, 0.0, [s.precision for s in scores])))
    lfpr = float(np.mean(np.where(missed, 1.0, [getattr(s, lfpr_name) for s in scores])))
    volumes = np.array([(s.volume_pred_mm3, s.volume_ref_mm3) for s in scores])
    correlation = correlations(*volumes.T).pearson
    return IsbiRow(
        kind=kind, connectivity=connectivity, n=len(scores), n_missed=sum(missed),
        dice=dice, ppv=ppv, ltpr=ltpr, lfpr=lfpr, correlation=correlation,
        score=dice / 8 + ppv / 8 + (1 - lfpr) / 4 + ltpr / 4 + correlation / 4,
    )  # fmt: skip


def _mean(rows: Sequence[RaterIsbiRow]) -> RaterIsbiRow:
    means: dict[str, Any] = {name: float(np.mean([getattr(row, name) for row in rows])) for name in TERMS}
    return dataclasses.replace(
        rows[0], against=MEAN_OF_RATERS, n=min(row.n for row in rows), n_missed=max(row.n_missed for row in rows), **means
    )
