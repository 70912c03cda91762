"""Raters against their consensus and against each other: the line that a method is read against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from coactseg_cli.metrics.cohort import summarise
from coactseg_cli.metrics.results import RaterResult
from coactseg_cli.metrics.rows import RaterRow


def rater_rows(results: Sequence[RaterResult]) -> tuple[RaterRow, ...]:
    """Summarise each pair of raters (or a method and a rater) as a cohort of its own, in the order given.

    What is called prediction and reference is only a choice between two raters: exchange both and the precision becomes the sensitivity.
    """
    return tuple(
        RaterRow(**asdict(row), rater=result.rater, against=result.against)
        for result in results
        for row in summarise(result.scores, [case.patient for case in result.cases])
    )
