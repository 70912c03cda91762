"""Participants mapped over [prep, segment]: who is to be done, by how many at once, and what is said at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bids_app.cases import PreparedTimeline, SubjectFailure, Timeline
from bids_app.errors import NoInput, NothingMatched
from coactseg_cli import __version__, completion, config_file
from coactseg_cli.config import (
    AllLesionFrom,
    Anatomical,
    DatasetConfig,
    Executor,
    Normalize,
    Pairing,
    PrepConfig,
    RunConfig,
    SegmentConfig,
    SkullStrip,
)
from coactseg_cli.errors import InvalidConfig
from coactseg_cli.logs import Reporter, RunLog, open_log, to_stderr
from coactseg_cli.participant import Job, Outcome, model_of, set_threads, write_error_page
from coactseg_cli.summary import Result, listing
from coactseg_cli.workers import Crew, run_jobs, temporary_files

if TYPE_CHECKING:
    from bids_app.dataset import Index, PreparedIndex
    from bids_app.derivatives import Derivatives
    from coactseg_cli.network.checkpoint import Model

RESEARCH_LINE = "Research use only; not for diagnosis."
MEM_AT_LEAST_MB = 1000  # below it the libraries cannot even be loaded
MEM_PER_PARTICIPANT_MB = 4000  # whole brain in bf16, with registration before it; fp32 needs up to 7000
INTERRUPTED = 130  # exit code, as the shell says it for Ctrl-C


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does: one configuration per concern."""

    dataset: DatasetConfig
    prep: PrepConfig
    segment: SegmentConfig | None  # None: prepare only
    run: RunConfig
    model_decides: frozenset[str] = frozenset()  # fields of prep that the user left to the model


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
        print(listing(index, plan.dataset.bids_dir, _pairing(plan)))
        return 0
    if plan.segment is not None and plan.run.rereads:
        return _reread(plan, plan.segment, index)
    model = None if plan.segment is None else model_of(plan.segment)
    plan = follow_model(plan, model)
    wanted = completion.choices(None if _is_prepared(plan) else plan.prep, plan.segment, model)
    if not plan.run.force:
        completion.refuse_other_choices(plan.dataset.out_dir, wanted)
    research_line = RESEARCH_LINE if model is None else model.research_line
    tree = start_tree(plan, research_line)
    log = open_log(tree.root, effective(plan, model))
    if model is not None:
        from coactseg_cli.segment import check_model_grid

        if not _is_prepared(plan) and (warning := check_model_grid(model, plan.prep.spacing_mm)):
            log.write(f"warning: {warning}")
            to_stderr(f"warning: {warning}")
    return _work(plan, index, _Place(tree, log, research_line), wanted)


def check(plan: Plan) -> None:
    """Raises: NoInput without a data set, MissingWeights without HD-BET's, InvalidConfig for choices that do not go together."""
    dataset, segment = plan.dataset, plan.segment
    if not dataset.bids_dir.is_dir():
        msg = f"{dataset.bids_dir}: no such folder; expected a BIDS data set"
        raise NoInput(msg)
    if segment is not None and segment.all_lesion_from is AllLesionFrom.PAIR and plan.prep.anatomical is Anatomical.SESSIONWISE:
        msg = "--all-lesion-from pair needs visits that meet; it does not go with --subject-anatomical-reference sessionwise"
        raise InvalidConfig(msg)
    if segment is not None and plan.run.rereads:
        _check_rereading(plan, segment)
    if plan.run.executor is Executor.SLURM and not plan.run.dry_run:
        from coactseg_cli.cluster import request

        request.check(plan.run, dataset.out_dir)
    if plan.run.mem_mb is not None and plan.run.mem_mb < MEM_AT_LEAST_MB:
        msg = f"--mem {plan.run.mem_mb} MB does not hold the program itself; give at least {MEM_AT_LEAST_MB} MB"
        raise InvalidConfig(msg)
    if plan.prep.skull_strip is SkullStrip.HD_BET and not (_is_prepared(plan) or plan.run.rereads):
        from coactseg_cli.preprocessing import hd_bet

        hd_bet.require_weights(hd_bet.weights_folder(plan.prep.hd_bet_weights))
    if plan.run.work_dir is not None and plan.run.work_dir.resolve().is_relative_to(dataset.bids_dir.resolve()):
        msg = f"--work-dir {plan.run.work_dir} lies in the raw data set {dataset.bids_dir}, which is only read. Choose another."
        raise InvalidConfig(msg)


def _check_rereading(plan: Plan, segment: SegmentConfig) -> None:
    """Raises: InvalidConfig for what does not go with reading an output again."""
    option = "--from-probabilities" if plan.run.from_probabilities else "--from-masks"
    others = {
        "--from-masks": plan.run.from_probabilities and plan.run.from_masks is not None,
        "--reports-only": plan.run.reports_only,
        "--self-check": segment.self_check,
        "--model": segment.model != "default",
    }
    if other := next((name for name, given in others.items() if given), None):
        msg = f"{other} does not go with {option}: the network is not run, and an output is read in one way. Leave one of them out."
        raise InvalidConfig(msg)
    masks, out = plan.run.from_masks, plan.dataset.out_dir
    if masks is not None and (masks.resolve() == out.resolve() or masks.resolve().is_relative_to(out.resolve())):
        msg = f"--from-masks {masks} lies in {out}, which is written. Put the corrected masks into a folder of their own."
        raise InvalidConfig(msg)


def read_index(plan: Plan) -> Index | PreparedIndex:
    """Participants of the raw data set, of the prepared one that was given with -d prep=PATH, or of OUT where it is read again.

    Raises: NoInput, InvalidDataset, NothingMatched.
    """
    from bids_app.dataset import read_prepared, read_timelines

    dataset = plan.dataset
    if _is_prepared(plan):
        return _of_sessions(read_prepared(dataset.derivatives["prep"], dataset.participant_labels), dataset.session_labels)
    if plan.run.rereads:
        return _of_sessions(read_prepared(dataset.out_dir, dataset.participant_labels), dataset.session_labels)
    if plan.run.reports_only:
        return read_prepared(dataset.out_dir, dataset.participant_labels)
    return read_timelines(
        dataset.bids_dir,
        participant_labels=dataset.participant_labels,
        session_labels=dataset.session_labels,
        bids_filter_file=dataset.bids_filter_file,
        bids_database_dir=dataset.bids_database_dir,
        derivatives=dataset.derivatives,
        label_desc=plan.prep.label_desc,
        validate=not dataset.skip_bids_validation,
    )


def _of_sessions(index: PreparedIndex, sessions: tuple[str, ...]) -> PreparedIndex:
    """The index with the visits that --session-label names. Raises: NothingMatched."""
    if not sessions:
        return index
    narrowed = [replace(t, visits=tuple(v for v in t.visits if v.session in sessions)) for t in index.timelines]
    kept = tuple(timeline for timeline in narrowed if timeline.visits)
    if not kept:
        msg = f"no prepared visit is of --session-label {', '.join(sessions)}"
        raise NothingMatched(msg)
    return replace(index, timelines=kept)


def follow_model(plan: Plan, model: Model | None) -> Plan:
    """The plan with the grid and the intensities that the model was trained with, where the user named none."""
    prep = plan.prep
    if model is not None and "spacing_mm" in plan.model_decides and model.spacing_mm is not None:
        prep = replace(prep, spacing_mm=model.spacing_mm)
    if model is not None and "normalize" in plan.model_decides and model.normalisation in set(Normalize):
        prep = replace(prep, normalize=Normalize(model.normalisation))
    if model is not None and "n4" in plan.model_decides:
        prep = replace(prep, n4=prep.normalize is not Normalize.NONE)
    return replace(plan, prep=prep)


def effective(plan: Plan, model: Model | None) -> str:
    """The options in effect as a file for --config-file."""
    command = "prep" if plan.segment is None else "segment"
    comments = [
        f"coactseg {__version__}",
        f"coactseg {command} {plan.dataset.bids_dir} {plan.dataset.out_dir} participant --config-file THIS",
    ]
    if model is not None:
        comments.append(f"model {model.info.name}, sha256 {model.sha256}")
    configs = (plan.dataset, None if _is_prepared(plan) else plan.prep, plan.segment, plan.run)
    return config_file.dumps(config_file.settings(*(config for config in configs if config is not None)), comments)


def start_tree(plan: Plan, research_line: str) -> Derivatives:
    """Make OUT a derivative data set. Raises: CannotCreate."""
    from bids_app.derivatives import start

    links = dict(plan.dataset.derivatives) | ({} if plan.run.from_masks is None else {"corrected": plan.run.from_masks})
    readme = f"# CoactSeg\n\n{research_line}\n\nMultiple sclerosis lesions on FLAIR MRI, made by coactseg {__version__}.\n\
descriptions.tsv says what each desc- label marks; logs/CITATION.md what to cite; sub-*.html are the reports.\n"
    return start(plan.dataset.out_dir, plan.dataset.bids_dir, version=__version__, readme=readme, links=links)


def _pairing(plan: Plan) -> Pairing | None:
    """Which visits are compared; None where none are."""
    return None if plan.segment is None or plan.prep.anatomical is Anatomical.SESSIONWISE else plan.segment.pairs


def _is_prepared(plan: Plan) -> bool:
    """Whether -d prep=PATH gives scans that `coactseg prep` wrote, so that nothing is prepared here."""
    from bids_app.dataset import is_prepared

    folder = plan.dataset.derivatives.get("prep")
    return plan.segment is not None and folder is not None and is_prepared(folder)


def _work(plan: Plan, index: Index | PreparedIndex, place: _Place, wanted: Mapping[str, str]) -> int:
    """Do what is not complete."""
    todo, complete = _split(plan, index.timelines, wanted, place.log.run_id)
    kept = () if plan.run.force else _corrected(plan, [timeline for timeline, _ in todo])
    jobs = [
        Job(t, plan.prep, plan.segment, place.tree, place.log, r, place.research_line, plan.run.reports_only)
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
        completion.refuse_other_choices(out, {key: wanted[key] for key in new}, but=subjects)
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
        fresh = completion.Record(subject, inputs, choices[subject], (), run=log.run_id, corrected=masks)
        again = Again(plan.run.from_masks, prepared)
        jobs.append(Job(timeline, plan.prep, config, tree, log, fresh, research_line, again=again))
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
        try:
            inputs = completion.fingerprint(timeline, plan.dataset.bids_dir)
        except OSError:  # a file that cannot be looked at: the stage that reads it says so
            inputs = ""
        record = completion.read(plan.dataset.out_dir, timeline.subject)
        checked = plan.segment is None or not plan.segment.self_check or completion.has_self_check(record)
        if record is not None and not again and checked and completion.is_complete(plan.dataset.out_dir, record, inputs, wanted):
            complete.append(record)
        else:
            todo.append((timeline, completion.Record(timeline.subject, inputs, dict(wanted), (), run=run_id)))
    return todo, complete


def crew_of(run: RunConfig, n_jobs: int) -> Crew:
    """Participants at once: as many as the CPUs and the memory allow, and as there are."""
    if run.executor is Executor.SLURM:
        return Crew(min(run.slurm_array_parallelism, max(n_jobs, 1)), None, run.stop_on_first_crash)
    at_once = min(run.nprocs // run.omp_threads, max(n_jobs, 1))
    if run.mem_mb is None:
        return Crew(at_once, None, run.stop_on_first_crash)
    at_once = max(1, min(at_once, run.mem_mb // MEM_PER_PARTICIPANT_MB))
    return Crew(at_once, run.mem_mb // at_once, run.stop_on_first_crash)


def _report_index_failure(failure: SubjectFailure, place: _Place) -> None:
    place.log.write(f"failed in {failure.stage}: {failure.message}", failure.subject)
    completion.begin(place.tree.root, failure.subject)
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
