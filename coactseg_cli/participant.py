"""One participant through prep and segment; a failure becomes a value, so that it stops nobody else."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from bids_app.cases import PreparedTimeline, SubjectFailure, Timeline, pairs_of
from bids_app.errors import BidsAppError
from bids_app.files import noting_placed, remove_leftovers, write_text
from bids_app.locks import Held, Holder, locked
from coactseg_cli import __version__, begun, completion
from coactseg_cli.config import PrepConfig, SegmentConfig
from coactseg_cli.errors import InputChanged, InvalidConfig, OutOfMemory
from coactseg_cli.logs import RunLog, printable

if TYPE_CHECKING:
    from bids_app.derivatives import Derivatives
    from coactseg_cli.network.checkpoint import Model
    from coactseg_cli.network.model_file import ModelFile
    from coactseg_cli.rereading import Again

_NO_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "failed to allocate memory", "bad_alloc")


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that one participant's work needs; travels to another process."""

    timeline: Timeline | PreparedTimeline
    prep: PrepConfig
    segment: SegmentConfig | None  # None: prepare only
    tree: Derivatives
    log: RunLog
    record: completion.Record  # written when the participant is done
    research_line: str  # stands on every page
    page_only: bool = False  # write the page again, from what OUT holds
    again: Again | None = None  # read the maps again instead of running the network
    redo: bool = False  # work even where another run completed the participant meanwhile
    wait: bool = False  # until another run that is at work on the participant is done

    @property
    def subject(self) -> str:
        """Label without 'sub-'."""
        return self.timeline.subject


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a participant."""

    subject: str
    summary: str = ""
    report: Path | None = None
    failure: SubjectFailure | None = None
    crash: Path | None = None  # file with the traceback
    seconds: float = 0.0
    held: str = ""  # not begun: another run, named here, is at work on the participant


def work(job: Job, step: Callable[[str], None]) -> Outcome:
    """Run the stages of one participant and record that it is complete; never raises but for an interruption.

    Whoever works on a participant holds its lock. Where another run has it, nothing is done (Outcome.held), or waited for (Job.wait);
    what that run then has completed is not done again.

    Args:
        job: the participant, the choices, the places.
        step: told each milestone.
    """

    def log(message: str) -> None:
        job.log.write(message, job.subject)
        step(message)

    def waiting(holder: Holder | None) -> None:
        log(f"waits for another run ({holder or 'it has just begun'})")

    try:
        with locked(begun.lock_path(job.tree.root, job.subject), {"run": job.log.run_id}, wait=job.wait, waiting=waiting):
            return _work(job, log)
    except Held as error:
        log(f"left for later: {error}")
        return Outcome(job.subject, held=str(error))
    except (OSError, BidsAppError) as error:
        return failed(job, "lock", error)


def _work(job: Job, log: Callable[[str], None]) -> Outcome:
    """The work of whoever holds the lock."""
    start, stage = time.perf_counter(), "prep"
    try:
        if job.page_only:
            stage = "report"
            return _write_page(job)
        inputs = _inputs(job)
        if (complete := _complete_already(job, inputs)) is not None:
            return complete
        before = begun.files_of(job.tree.root, job.subject)
        begun.begin(job.tree.root, job.subject, replace(job.record, inputs=inputs))
        with noting_placed() as placed:
            prepared = _prepare(job, log)
            stage = "segment"
            outcome = _segment(job, prepared, log)
        stage = "record"
        if job.again is None:
            left = before - placed - completion.input_files(job.timeline)
            begun.remove_obsolete(job.tree.root, job.subject, left, keep_ids=job.segment is None)
        _require_unchanged(job, inputs)
        _complete(job, outcome, inputs)
    except (Exception, SystemExit) as error:
        return failed(job, stage, error, time.perf_counter() - start)
    return replace(outcome, seconds=time.perf_counter() - start)


def _inputs(job: Job) -> str:
    """Fingerprint of what the results are made from; what is read again keeps that of the run that made it."""
    if job.again is not None:
        return job.record.inputs
    try:
        return completion.fingerprint(job.timeline, job.tree.raw or job.tree.root)
    except (OSError, BidsAppError):  # a file that cannot be looked at: the stage that reads it says so
        return ""


def _complete_already(job: Job, inputs: str) -> Outcome | None:
    """What another run completed since this one looked."""
    record = None if job.redo or job.again is not None else completion.read(job.tree.root, job.subject)
    if record is None or not completion.is_complete(job.tree.root, record, inputs, job.record.choices):
        return None
    report = job.tree.root / record.report if record.report else None
    return Outcome(job.subject, completion.summary_of(record), report)


def _require_unchanged(job: Job, inputs: str) -> None:
    """Raises: InputChanged where what was read is not what is there now."""
    if _inputs(job) != inputs:
        msg = f"the scans, labels or masks of sub-{job.subject} changed while they were worked on. Run again when they are at rest."
        raise InputChanged(msg)


def failed(job: Job, stage: str, error: BaseException, seconds: float = 0.0) -> Outcome:
    """The outcome of a participant whose work raised an error; the traceback goes to a file."""
    failure = SubjectFailure(job.subject, stage, message_of(error))
    try:
        job.log.write(f"failed in {stage}: {failure.message}", job.subject)
        crash = job.log.crash(job.subject, stage, error)
        write_error_page(job.tree.root, failure, job.research_line, "".join(traceback.format_exception(error)))
    except (OSError, BidsAppError):  # a full disk must not hide the failure itself
        crash = None
    return Outcome(job.subject, failure=failure, crash=crash, seconds=seconds)


def write_error_page(root: Path, failure: SubjectFailure, research_line: str, details: str = "") -> None:
    """Write the participant's page with nothing but what went wrong. Raises: CannotCreate."""
    from bids_app.report import Problem, SubjectReport, render

    problem = Problem(f"Not done: {failure.stage} failed", failure.message, details)
    page = render(SubjectReport(failure.subject, research_line, __version__, errors=(problem,)))
    write_text(root / f"sub-{failure.subject}.html", page)


def message_of(error: BaseException) -> str:
    """One line for the user: the reason, and for what no class of ours names, its type."""
    text = printable(" ".join(str(error).split()))
    if isinstance(error, BidsAppError):
        return text
    if isinstance(error, MemoryError) or any(sign in text.lower() for sign in _NO_MEMORY):
        return str(OutOfMemory(f"out of memory ({text[:200] or type(error).__name__}). Try --tile 128, or more --mem."))
    return f"unexpected {type(error).__name__}: {text[:500]}"


def set_threads(threads: int) -> None:
    """CPUs per participant for every library that asks the environment; must come before they are imported."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"):
        os.environ[name] = str(threads)


@lru_cache(maxsize=1)
def model_of(config: SegmentConfig) -> Model:
    """The model of a configuration, loaded once per process."""
    from coactseg_cli.segment import load_model

    return load_model(config)


def facts_of(config: SegmentConfig) -> ModelFile:
    """What the file of a model says, for a process that leaves the work to others: torch is not imported for the packaged model.

    Any other is loaded, so that what is wrong with it is said before the work begins. Raises: MissingWeights, WrongWeights.
    """
    from coactseg_cli.network.model_file import look_at
    from coactseg_cli.network.zoo import find_model, is_as_packaged

    found = look_at(find_model(config.model))
    return found if is_as_packaged(found.path, found.sha256) else model_of(config)


def _prepare(job: Job, log: Callable[[str], None]) -> PreparedTimeline:
    if isinstance(job.timeline, PreparedTimeline):
        return job.timeline
    from coactseg_cli.prep import prepare

    return prepare(job.timeline, job.prep, job.tree, log)


def _segment(job: Job, prepared: PreparedTimeline, log: Callable[[str], None]) -> Outcome:
    if job.segment is None:
        visits = len(prepared.visits)
        return Outcome(job.subject, f"prepared {visits} visit{'s' if visits != 1 else ''}")
    if job.again is not None:
        from coactseg_cli.rereading import reread

        read = reread(prepared, job.segment, job.tree, job.again, job.research_line, log)
        return Outcome(job.subject, read.summary, read.report)
    from coactseg_cli.segment import segment

    result = segment(prepared, job.segment, job.tree, model_of(job.segment), log)
    return Outcome(job.subject, result.summary, result.report)


def _write_page(job: Job) -> Outcome:
    """Write the page again. Raises: InvalidConfig for a participant that is not segmented."""
    from coactseg_cli.subject_report import write_report

    if not isinstance(job.timeline, PreparedTimeline) or job.segment is None:
        msg = f"sub-{job.subject} is not prepared; leave --reports-only out"
        raise InvalidConfig(msg)
    pairs = pairs_of(len(job.timeline.visits), job.segment.pairs) if job.timeline.comparable else ()
    remove_leftovers(job.tree.root / f"sub-{job.subject}.html")
    page = write_report(job.timeline, job.tree, pairs, job.research_line)
    record = completion.read(job.tree.root, job.subject)
    if record is not None and record.done:
        outputs = {**record.outputs, f"sub-{job.subject}.html": completion.content_hash(page)}
        completion.write(job.tree.root, replace(record, outputs=outputs))
    return Outcome(job.subject, "page written again", page)


def _complete(job: Job, outcome: Outcome, inputs: str) -> None:
    root = job.tree.root
    report = outcome.report.relative_to(root).as_posix() if outcome.report is not None and outcome.report.is_relative_to(root) else ""
    outputs = begun.outputs(root, job.subject)
    begun.end(root, replace(job.record, inputs=inputs, outputs=outputs, summary=outcome.summary, report=report))
