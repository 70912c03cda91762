"""Participants mapped over [prep, segment]: who is to be done, by how many at once, and what is said at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bids_app.cases import PreparedTimeline, SubjectFailure, Timeline
from bids_app.errors import BidsAppError
from bids_app.locks import Held, locked
from coactseg_cli import completion
from coactseg_cli.begun import begin, lock_path, sweep
from coactseg_cli.config import Executor, SegmentConfig
from coactseg_cli.logs import Reporter, RunLog, open_log, to_stderr
from coactseg_cli.participant import Job, Outcome, facts_of, model_of, set_threads, write_error_page
from coactseg_cli.plan import Plan, check, check_model_grid, crew_of, effective, follow_model, is_prepared, pairing, read_index, start_tree
from coactseg_cli.running import announced
from coactseg_cli.summary import Result
from coactseg_cli.workers import Crew, get_ready, run_jobs, temporary_files

if TYPE_CHECKING:
    from bids_app.dataset import Index, PreparedIndex
    from bids_app.derivatives import Derivatives

RESEARCH_LINE = "Research use only; not for diagnosis."
STAGES = ("coactseg_cli.prep", "SimpleITK", "coactseg_cli.segment")  # what a participant's work imports; slow to import
INTERRUPTED = 130  # exit code, as the shell says it for Ctrl-C


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a run writes, and the line that stands on every page."""

    tree: Derivatives
    log: RunLog
    research_line: str


def run_participants(plan: Plan) -> int:
    """Work on every participant that is asked for and not complete. Returns: the exit code.

    Raises: errors of the whole run (no data set, nothing matched, no weights, other choices in OUT, OUT cannot be made);
        what goes wrong with one participant is reported and gives exit code 1.
    """
    set_threads(plan.run.omp_threads)
    check(plan)
    index = read_index(plan)
    if plan.run.dry_run:
        return _list(plan, index)
    if plan.segment is not None and plan.run.rereads:
        return _reread(plan, plan.segment, index)
    by_others = crew_of(plan.run, len(index.timelines)).in_processes or plan.run.executor is Executor.SLURM
    if by_others and plan.run.executor is Executor.LOCAL:
        get_ready(STAGES if plan.segment is not None else STAGES[:2])
    model = None if plan.segment is None else facts_of(plan.segment) if by_others else model_of(plan.segment)
    plan = follow_model(plan, model)
    wanted = completion.choices(None if is_prepared(plan) else plan.prep, plan.segment, model)
    if not plan.run.force:
        again = completion.made_again(plan.dataset.out_dir, index.subjects, wanted, segments=plan.segment is not None)
        completion.refuse_other_choices(plan.dataset.out_dir, wanted, but=again)
    research_line = RESEARCH_LINE if model is None else model.research_line
    tree = start_tree(plan, research_line)
    log = open_log(tree.root, effective(plan, model))
    if model is not None and not is_prepared(plan) and (warning := check_model_grid(model, plan.prep.spacing_mm)):
        log.write(f"warning: {warning}")
        to_stderr(f"warning: {warning}")
    with announced(tree.root, log.run_id, wanted):
        return _work(plan, index, _Place(tree, log, research_line), wanted)


def _list(plan: Plan, index: Index | PreparedIndex) -> int:
    """Say what the run would do; load no network and write nothing."""
    from coactseg_cli.dry_run import Question, list_run
    from coactseg_cli.network.model_file import look_at
    from coactseg_cli.network.zoo import find_local

    again = "an output is read again" if plan.run.rereads else "--reports-only" if plan.run.reports_only else ""
    path = None if plan.segment is None or again else find_local(plan.segment.model)
    model = None if path is None else look_at(path)
    plan = follow_model(plan, model)
    wanted = None if again else completion.choices(None if is_prepared(plan) else plan.prep, plan.segment, model)
    out, raw = plan.dataset.out_dir, plan.dataset.bids_dir
    read = plan.dataset.derivatives["prep"] if is_prepared(plan) else out if again else raw
    self_check = plan.segment is not None and plan.segment.self_check
    found = list_run(index, Question(out, raw, read, pairing(plan), wanted, again, self_check, plan.run.force, plan.segment is not None))
    print(found.json() if plan.run.as_json else found.text())
    return found.exit_code


def _work(plan: Plan, index: Index | PreparedIndex, place: _Place, wanted: Mapping[str, str]) -> int:
    """Do what is not complete."""
    todo, complete = _split(plan, index.timelines, wanted, place.log.run_id)
    kept = () if plan.run.force else _corrected(plan, [timeline for timeline, _ in todo])
    redo = plan.run.force or (plan.segment is not None and plan.segment.self_check)
    jobs = [
        Job(t, plan.prep, plan.segment, place.tree, place.log, r, place.research_line, plan.run.reports_only, redo=redo)
        for t, r in todo
        if plan.run.reports_only or t.subject not in {failure.subject for failure in kept}
    ]
    return _do(plan, jobs, index, place, complete, () if plan.run.reports_only else kept)


def _corrected(plan: Plan, timelines: Sequence[Timeline | PreparedTimeline]) -> tuple[SubjectFailure, ...]:
    """Participants whose masks somebody corrected by hand: computing again would lose that, so they are left as they are."""
    found = []
    for timeline in timelines:
        record = completion.read(plan.dataset.out_dir, timeline.subject)
        if record is not None and record.corrected:
            msg = (
                f"{plan.dataset.out_dir} holds masks of sub-{timeline.subject} that were corrected by hand, and computing again would lose "
                "them: it is left as it is. Keep a copy of them, give --force, then --from-masks."
            )
            found.append(SubjectFailure(timeline.subject, "masks", msg))
    return tuple(found)


def _reread(plan: Plan, segment: SegmentConfig, index: Index | PreparedIndex) -> int:
    """Read outputs again, without the network. Raises: MadeDifferently for options that only the network could follow."""
    from bids_app.derivatives import Derivatives
    from coactseg_cli.rereading import Again, research_line_of

    out, prepared = plan.dataset.out_dir, plan.dataset.derivatives.get("prep")
    timelines = [t for t in index.timelines if isinstance(t, PreparedTimeline)]
    subjects = {t.subject for t in timelines}
    masks = plan.run.from_masks is not None
    wanted = completion.choices(None, segment)
    records = {s: completion.read(out, s) or (None if prepared is None else completion.read(prepared, s)) for s in subjects}
    choices = {s: completion.reread_choices(record, wanted, masks=masks) for s, record in records.items()}
    new = completion.RULES if masks else completion.RULES | completion.SIZES
    if not plan.run.force:
        known = subjects | {failure.subject for failure in index.failures}  # what is wrong with the latter is said of each
        completion.refuse_other_choices(out, {key: wanted[key] for key in new}, but=known)
    kept = () if masks or plan.run.force else _corrected(plan, timelines)
    trees = [Derivatives(place) for place in (out, prepared) if place is not None]
    research_line = research_line_of(timelines, trees) or RESEARCH_LINE
    tree = start_tree(plan, research_line)
    log = open_log(tree.root, effective(plan, None))
    jobs = []
    for timeline in timelines:
        subject = timeline.subject
        if subject in {failure.subject for failure in kept}:
            continue
        config = completion.reread_config(segment, choices[subject])
        inputs = record.inputs if (record := records[subject]) is not None else ""
        fresh = completion.Record(subject, inputs, choices[subject], {}, run=log.run_id, corrected=masks)
        again = Again(plan.run.from_masks, prepared)
        jobs.append(Job(timeline, plan.prep, config, tree, log, fresh, research_line, again=again))
    with announced(tree.root, log.run_id, {key: wanted[key] for key in new}):
        return _do(plan, jobs, index, _Place(tree, log, research_line), [], kept)


def _do(
    plan: Plan,
    jobs: Sequence[Job],
    index: Index | PreparedIndex,
    place: _Place,
    complete: Sequence[completion.Record],
    kept: Sequence[SubjectFailure],
) -> int:
    """Do the jobs, say what was found, and return the exit code."""
    tree, log = place.tree, place.log
    crew = crew_of(plan.run, len(jobs))
    outcomes: list[Outcome] = []
    interrupted = False
    cluster_code = 0
    with Reporter(len(jobs), plan.run.verbose) as reporter:
        reporter.say(_greeting(len(jobs), len(complete), len(index.failures) + len(kept), crew, log))
        for failure in kept:
            log.write(f"failed in {failure.stage}: {failure.message}", failure.subject)
            reporter.say(f"sub-{failure.subject}: FAILED in {failure.stage}: {failure.message}")
        for failure in index.failures:
            _report_index_failure(failure, place)
            reporter.say(f"sub-{failure.subject}: FAILED in {failure.stage}: {failure.message}")

        def done(outcome: Outcome) -> None:
            outcomes.append(outcome)
            reporter.done(_ending(outcome, plan.run.verbose), outcome.subject)

        try:
            if plan.run.stop_on_first_crash and index.failures:
                pass
            elif plan.run.executor is Executor.SLURM:
                cluster_code = _on_slurm(plan, jobs, place, reporter.say, done)
            else:
                with temporary_files(plan.run.work_dir, log):
                    run_jobs(jobs, crew, reporter.step, done)
        except KeyboardInterrupt:
            interrupted = True
    not_done = len(jobs) - len(outcomes) if plan.run.wait else 0
    result = Result(tuple(complete), tuple(outcomes), (*index.failures, *kept), not_done)
    log.write(result.text(tree.root, log))
    print(f"{result.text(tree.root, log)}\n{place.research_line}")
    if interrupted:
        print("Interrupted. What is complete stays; the same command goes on from there.", file=sys.stderr)
        return INTERRUPTED
    return 1 if result.failures or result.not_started else cluster_code


def _on_slurm(plan: Plan, jobs: Sequence[Job], place: _Place, say: Callable[[str], None], done: Callable[[Outcome], None]) -> int:
    """Do the jobs as tasks of SLURM, and the level 'group' after a segmentation. Returns: 1 where that failed, else 0."""
    from coactseg_cli.cluster.farm import Places, run_on_slurm

    places = Places(place.tree.root, plan.dataset.bids_dir, place.log)
    return run_on_slurm(jobs, plan.run, places, say, done, group=plan.segment is not None)


def _split(
    plan: Plan, timelines: Sequence[Timeline | PreparedTimeline], wanted: Mapping[str, str], run_id: str
) -> tuple[list[tuple[Timeline | PreparedTimeline, completion.Record]], list[completion.Record]]:
    """Who is to be done, each with the record to be written in the end, and the records of who is complete."""
    todo, complete = [], []
    again = plan.run.force or plan.run.reports_only
    for timeline in timelines:
        record = completion.read(plan.dataset.out_dir, timeline.subject)
        checked = plan.segment is None or not plan.segment.self_check or completion.has_self_check(record)
        if record is not None and not again and checked and _is_complete(plan, timeline, record, wanted):
            complete.append(record)
            with suppress(Held), locked(lock_path(plan.dataset.out_dir, timeline.subject), wait=False):
                sweep(plan.dataset.out_dir, timeline.subject, complete=True)
        else:
            todo.append((timeline, completion.Record(timeline.subject, "", dict(wanted), {}, run=run_id)))
    return todo, complete


def _is_complete(plan: Plan, timeline: Timeline | PreparedTimeline, record: completion.Record, wanted: Mapping[str, str]) -> bool:
    """Whether nothing needs to be done; files are read only where the record promises that."""
    if not record.done or not completion.fits(record, wanted):
        return False
    try:
        inputs = completion.fingerprint(timeline, plan.dataset.bids_dir)
    except (OSError, BidsAppError):  # a file that cannot be looked at: the stage that reads it says so
        return False
    return completion.is_complete(plan.dataset.out_dir, record, inputs, wanted)


def _report_index_failure(failure: SubjectFailure, place: _Place) -> None:
    """Say on the participant's page why it cannot be done, unless another run is at work on it: that one saw something else."""
    place.log.write(f"failed in {failure.stage}: {failure.message}", failure.subject)
    with suppress(Held), locked(lock_path(place.tree.root, failure.subject), {"run": place.log.run_id}, wait=False):
        begin(place.tree.root, failure.subject)
        write_error_page(place.tree.root, failure, place.research_line)


def _greeting(n_todo: int, n_complete: int, n_failures: int, crew: Crew, log: RunLog) -> str:
    parts = [f"{n_todo} to do"]
    parts += [f"{n_complete} complete already"] if n_complete else []
    parts += [f"{n_failures} that cannot be done"] if n_failures else []
    parts += [f"{crew.at_once} at once"] if crew.at_once > 1 else []
    return f"participants: {', '.join(parts)}; log in {log.folder}"


def _ending(outcome: Outcome, verbose: int) -> str:
    if outcome.failure is None:
        return f"done in {outcome.seconds:.0f} s: {outcome.summary}"
    text = f"FAILED in {outcome.failure.stage}: {outcome.failure.message}"
    if verbose and outcome.crash is not None:
        text += "\n" + outcome.crash.read_text(encoding="utf-8")
    return text
