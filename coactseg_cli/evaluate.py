"""Stage: pairs of predicted and reference masks to tables of scores and a page. Loads neither torch nor ants; segments nothing."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from bids_app.files import make_folder
from coactseg_cli.config import EvaluateConfig, Missing
from coactseg_cli.errors import InvalidConfig
from coactseg_cli.evaluate_cases import CaseOutcome, Scoring, score_pairs
from coactseg_cli.evaluate_files import Reading
from coactseg_cli.evaluate_inputs import Comparison, read_inputs
from coactseg_cli.evaluate_tables import settings, write_tables
from coactseg_cli.metrics.agreement import agreement
from coactseg_cli.metrics.cohort import activity, summarise
from coactseg_cli.metrics.comparison import compare
from coactseg_cli.metrics.conventions import Convention, Rules, rules_of
from coactseg_cli.metrics.froc import froc, threshold_curve
from coactseg_cli.metrics.isbi import isbi, isbi_of_raters
from coactseg_cli.metrics.raters import rater_rows
from coactseg_cli.metrics.results import REFERENCE, EvaluatedCase, EvaluateResult, MethodResult, RaterResult
from coactseg_cli.metrics.rows import RaterRow
from coactseg_cli.metrics.strata import by_site, by_size

Log = Callable[[str], None]
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))  # of the curves


def evaluate(config: EvaluateConfig, log: Log) -> EvaluateResult:
    """Score every pair of masks and write the tables and the page to `config.out_dir`. One bad case does not stop the others.

    Raises: InvalidConfig; NoInput, InvalidDataset, AmbiguousScan and NothingMatched where the inputs make no pairs; CannotCreate.
    """
    rules = checked_rules(config)
    inputs = read_inputs(config)
    make_folder(config.out_dir)
    scoring = _scoring(config, rules)
    with _progress(inputs.n_pairs, log, several=len(inputs.methods) + len(inputs.raters) > 1) as told:
        methods = [_method(comparison, scoring, config.nprocs, told(comparison)) for comparison in inputs.methods]
        raters = [
            _rater(comparison, _of_raters(scoring, comparison, config), config.nprocs, told(comparison)) for comparison in inputs.raters
        ]
    result = _result(config, rules, methods, raters)
    write_tables(result, config.out_dir)
    if config.report:
        from coactseg_cli.evaluate_report import write_report

        log(f"page: {write_report(result, config.out_dir)}")
    log(f"{_counts(result)}; tables in {config.out_dir}")
    return result


def checked_rules(config: EvaluateConfig) -> Rules:
    """Take the rules that the configuration names. Raises: InvalidConfig."""
    if config.convention not in set(Convention):
        msg = f"--convention must be one of {', '.join(Convention)}; got {config.convention!r}"
        raise InvalidConfig(msg)
    if config.connectivity not in {None, 6, 18, 26}:
        msg = f"--connectivity must be 6, 18 or 26; got {config.connectivity}"
        raise InvalidConfig(msg)
    if config.threshold is not None and not 0 < config.threshold < 1:
        msg = f"--threshold must lie between 0 and 1; got {config.threshold}"
        raise InvalidConfig(msg)
    for name, limit in (("--min-lesion-mm3", config.min_lesion_mm3), ("--min-lesion-voxels", config.min_lesion_voxels)):
        if limit is not None and not limit >= 0:
            msg = f"{name} must not be negative; got {limit}"
            raise InvalidConfig(msg)
    if config.participants is not None and config.site_column is None:
        msg = "--participants names a table of sites; say which column with --site-column"
        raise InvalidConfig(msg)
    if config.probability_pattern is not None and not config.probabilities:
        msg = "--probability-pattern says where maps lie below --probabilities; name that folder"
        raise InvalidConfig(msg)
    return rules_of(Convention(config.convention), config.connectivity, config.min_lesion_mm3, config.min_lesion_voxels)


def _scoring(config: EvaluateConfig, rules: Rules) -> Scoring:
    reading = Reading(
        threshold=config.threshold,
        predicted_values=config.predicted_values,
        reference_values=config.reference_values,
        resample=config.resample,
        probabilities=config.curves,
    )
    return Scoring(
        rules=rules,
        reading=reading,
        thresholds=THRESHOLDS if config.curves else (),
        missing_as_empty=config.missing is Missing.EMPTY,
    )


def _of_raters(scoring: Scoring, comparison: Comparison, config: EvaluateConfig) -> Scoring:
    """Without curves; a rater's own masks are read as the reference is, and one that is missing is never an empty one."""
    reading = replace(scoring.reading, probabilities=False)
    if comparison.name in config.raters:
        return replace(scoring, thresholds=(), missing_as_empty=False, reading=replace(reading, predicted_values=config.reference_values))
    return replace(scoring, thresholds=(), reading=reading)


def _method(comparison: Comparison, scoring: Scoring, nprocs: int, told: Callable[[CaseOutcome], None]) -> MethodResult:
    outcomes = score_pairs(comparison.pairs, scoring, nprocs, told)
    scored = [(outcome.case, outcome.result) for outcome in outcomes if outcome.case is not None and outcome.result is not None]
    cases = tuple(case for case, _ in scored)
    scores = tuple(result.scores for _, result in scored)
    lesions = tuple(lesion for _, result in scored for lesion in result.lesions)
    candidates = tuple(candidate for _, result in scored for candidate in result.candidates)
    points = tuple(point for _, result in scored for point in result.points)
    patients = [case.patient for case in cases]
    not_scored = tuple(outcome.not_scored for outcome in outcomes if outcome.not_scored is not None)
    left_out = _left_out(outcomes)
    with_map = [row for case, row in zip(cases, scores, strict=True) if _counts_for_froc(case)]
    return MethodResult(
        name=comparison.name,
        cases=cases,
        scores=scores,
        lesions=lesions,
        candidates=candidates,
        points=points,
        not_scored=not_scored,
        summary=tuple(replace(row, n_not_scored=_of_kind(left_out, row.kind)) for row in summarise(scores, patients)),
        activity=activity(scores, patients),
        by_size=by_size(lesions, cases),
        by_site=tuple(replace(row, n_not_scored=left_out[row.kind, row.site]) for row in by_site(scores, cases)),
        agreement=agreement(scores),
        isbi=isbi(scores),
        froc=froc(candidates, with_map) if any(case.probability for case in cases) else (),
        thresholds=threshold_curve(points),
    )


def _counts_for_froc(case: EvaluatedCase) -> bool:
    """Cases with a map, and missing ones that are scored as empty."""
    return case.probability is not None or case.predicted is None


def _left_out(outcomes: Sequence[CaseOutcome]) -> Counter[tuple[str, str]]:
    """Kind and site ('': not known) to the number of their cases that have a reference and no score."""
    return Counter((str(o.pair.kind), o.pair.site or "") for o in outcomes if o.result is None and o.pair.reference is not None)


def _of_kind(left_out: Counter[tuple[str, str]], kind: str) -> int:
    return sum(n for (of, _), n in left_out.items() if of == kind)


def _rater(comparison: Comparison, scoring: Scoring, nprocs: int, told: Callable[[CaseOutcome], None]) -> RaterResult:
    outcomes = score_pairs(comparison.pairs, scoring, nprocs, told)
    scored = [(outcome.case, outcome.result.scores) for outcome in outcomes if outcome.case is not None and outcome.result is not None]
    return RaterResult(
        rater=comparison.name,
        against=comparison.against,
        cases=tuple(case for case, _ in scored),
        scores=tuple(scores for _, scores in scored),
        not_scored=tuple(outcome.not_scored for outcome in outcomes if outcome.not_scored is not None),
    )


def _result(config: EvaluateConfig, rules: Rules, methods: Sequence[MethodResult], raters: Sequence[RaterResult]) -> EvaluateResult:
    """What is said across methods and raters; with raters, the methods stand beside them."""
    lines = [
        RaterResult(rater=method.name, against=REFERENCE, cases=method.cases, scores=method.scores, not_scored=method.not_scored)
        for method in methods
    ]
    rated = [*raters, *lines] if raters else []
    return EvaluateResult(
        methods=tuple(methods),
        rater_results=tuple(raters),
        raters=tuple(row for one in rated for row in _rater_rows(one)),
        isbi_raters=isbi_of_raters(rated),
        comparison=compare(methods) if len(methods) > 1 else (),
        settings=settings(config, rules, methods, raters),
    )


def _rater_rows(rated: RaterResult) -> list[RaterRow]:
    scored = {(row.case, row.kind) for row in rated.scores}
    left_out = Counter(row.kind for row in rated.not_scored if row.status != "surplus" and (row.case, row.kind) not in scored)
    return [replace(row, n_not_scored=left_out[row.kind]) for row in rater_rows([rated])]


@contextmanager
def _progress(total: int, log: Log, *, several: bool) -> Iterator[Callable[[Comparison], Callable[[CaseOutcome], None]]]:
    """Say what came of each pair: a line, and on a terminal a bar with lines for what went wrong only."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    terminal = sys.stderr.isatty()
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )
    n_done = 0
    with Progress(*columns, console=Console(stderr=True), disable=not terminal) as bar:
        task = bar.add_task("cases", total=total)

        def told(comparison: Comparison) -> Callable[[CaseOutcome], None]:
            name = (
                ""
                if not several
                else f"{comparison.name}: "
                if comparison.against == REFERENCE
                else f"{comparison.name}, {comparison.against}: "
            )

            def one(outcome: CaseOutcome) -> None:
                nonlocal n_done
                n_done += 1
                bar.advance(task)
                if outcome.not_scored is not None or not terminal:
                    log(f"[{n_done}/{total}] {name}{outcome.pair.case} {outcome.pair.kind}: {_headline(outcome)}")

            return one

        yield told


def _headline(outcome: CaseOutcome) -> str:
    if outcome.not_scored is not None:
        return f"{outcome.not_scored.status}: {outcome.not_scored.reason}"
    assert outcome.result is not None
    scores = outcome.result.scores
    if scores.lesions_ref == 0:
        return f"no reference lesion, {scores.false_lesions} false lesions"
    return f"Dice {scores.dice:.3f}, {scores.lesions_ref_detected} of {scores.lesions_ref} lesions found, {scores.false_lesions} false"


def _counts(result: EvaluateResult) -> str:
    return f"{len(result.scores)} scored, {len(result.failures)} failed, {len(result.missing)} missing, {len(result.surplus)} surplus"
