"""Cases to scores, several at once; what is wrong with one case stops no other."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

from bids_app.cases import MaskPair
from bids_app.errors import BidsAppError
from coactseg_cli.evaluate_files import LoadedCase, Reading, load_case
from coactseg_cli.metrics.case import CaseResult, score_case
from coactseg_cli.metrics.cohort import patient_of
from coactseg_cli.metrics.conventions import Rules
from coactseg_cli.metrics.results import EvaluatedCase
from coactseg_cli.metrics.rows import NotScored


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """What is the same for every case."""

    rules: Rules
    reading: Reading
    thresholds: tuple[float, ...] = ()  # of the curve of each probability map
    missing_as_empty: bool = False  # score a missing prediction as an empty mask


@dataclass(frozen=True, slots=True)
class CaseOutcome:
    """What came of one pair: scores, a reason why there are none, or both for a missing prediction that counts as empty."""

    pair: MaskPair
    result: CaseResult | None = None
    case: EvaluatedCase | None = None
    not_scored: NotScored | None = None


def score_pairs(
    pairs: Sequence[MaskPair], scoring: Scoring, at_once: int = 1, done: Callable[[CaseOutcome], None] = lambda _: None
) -> list[CaseOutcome]:
    """Score every pair, `at_once` in threads: each holds the masks of one case, and NumPy, SciPy and zlib work side by side.

    Args:
        pairs: of one method.
        scoring: how.
        at_once: cases in work at the same time.
        done: told each outcome as it comes.

    Returns: an outcome per pair, in the order of the pairs.
    """
    if at_once == 1 or len(pairs) < 2:
        outcomes = []
        for pair in pairs:
            outcomes.append(score_pair(pair, scoring))
            done(outcomes[-1])
        return outcomes
    with ThreadPoolExecutor(at_once, thread_name_prefix="case") as pool:
        futures = [pool.submit(score_pair, pair, scoring) for pair in pairs]
        for outcome in _as_they_come(futures, pool):
            done(outcome)
    return [future.result() for future in futures]


def _as_they_come(futures: Sequence[Future[CaseOutcome]], pool: ThreadPoolExecutor) -> Iterator[CaseOutcome]:
    try:
        for future in as_completed(futures):
            yield future.result()
    except BaseException:  # an interruption: nobody waits for cases that nobody takes
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def score_pair(pair: MaskPair, scoring: Scoring) -> CaseOutcome:
    """Score one pair, or say why it cannot be."""
    if pair.reference is None:
        return CaseOutcome(pair, not_scored=_not_scored(pair, "surplus", f"no reference for {pair.predicted}"))
    if pair.predicted is None and not scoring.missing_as_empty:
        return CaseOutcome(pair, not_scored=_not_scored(pair, "missing", f"no prediction for {pair.reference}"))
    try:
        loaded = load_case(pair, scoring.reading)
        result = score_case(loaded.pair, scoring.rules, scoring.thresholds)
    except (BidsAppError, OSError, MemoryError) as error:
        return CaseOutcome(pair, not_scored=_not_scored(pair, "failed", str(error) or type(error).__name__))
    except Exception as error:  # a fault of ours: the other cases go on, and this one says where it was
        place = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"unexpected {type(error).__name__} in {Path(place.filename).name}, line {place.lineno}: {error}. Please report it."
        return CaseOutcome(pair, not_scored=_not_scored(pair, "failed", reason))
    absent = pair.predicted is None
    flags = [*result.scores.flags.split(","), "missing_prediction" if absent else "", "resampled" if loaded.resampled else ""]
    scores = replace(result.scores, flags=",".join(flag for flag in flags if flag))
    reason = f"no prediction for {pair.reference}; scored as an empty mask (--missing empty)"
    return CaseOutcome(
        pair,
        replace(result, scores=scores),
        _evaluated(pair, loaded, scoring.reading),
        _not_scored(pair, "missing", reason) if absent else None,
    )


def _evaluated(pair: MaskPair, loaded: LoadedCase, reading: Reading) -> EvaluatedCase:
    assert pair.reference is not None
    return EvaluatedCase(
        case=pair.case,
        kind=str(pair.kind),
        patient=pair.patient or patient_of(pair.case),
        site=pair.site,
        predicted=pair.predicted,
        reference=pair.reference,
        probability=None if loaded.pair.probability is None else pair.probability or pair.predicted,
        background=pair.background,
        resampled=loaded.resampled,
        threshold=reading.threshold,
        predicted_values=reading.predicted_values,
        reference_values=reading.reference_values,
    )


def _not_scored(pair: MaskPair, status: str, reason: str) -> NotScored:
    return NotScored(case=pair.case, kind=str(pair.kind), status=status, reason=reason)
