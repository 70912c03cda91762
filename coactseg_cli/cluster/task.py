"""What runs inside a task of SLURM: one participant, or the level 'group'. Called by submitit on the node, knows nothing of the others."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bids_app.cases import SubjectFailure
from bids_app.errors import BidsAppError
from bids_app.files import read_json, write_json
from coactseg_cli.logs import about, to_stderr
from coactseg_cli.participant import Job, Outcome, set_threads
from coactseg_cli.workers import Crew, run_jobs, temporary_files

STOPPED = 75  # exit code: it can be done again
_INTERRUPTED = "interrupted by SLURM (preempted, or its time was over); it is done again where SLURM puts it back into the queue"


@dataclass(frozen=True, slots=True)
class Setting:
    """What a task is told of where it runs."""

    cwd: Path  # of the submission: relative paths mean something there only
    answers: Path  # folder of the outcomes
    threads: int
    work_dir: Path | None = None
    mem_mb: int | None = None


def run_participant(job: Job, setting: Setting) -> None:
    """Do the participant and write what became of it. Ends the process with 1 where it failed, 75 where it was interrupted."""
    os.chdir(setting.cwd)
    set_threads(setting.threads)
    answer(setting.answers, job.subject).unlink(missing_ok=True)  # of an attempt before this one
    outcomes: list[Outcome] = []

    def do() -> int:
        with temporary_files(setting.work_dir, job.log, _attempt()):
            run_jobs([job], Crew(1, setting.mem_mb), lambda message, subject: to_stderr(about(message, subject)), outcomes.append)
        write_answer(setting.answers, outcomes[0])
        to_stderr(about(outcomes[0].failure.message if outcomes[0].failure else outcomes[0].summary, job.subject))
        return 1 if outcomes[0].failure else 0

    def interrupted() -> None:
        write_answer(setting.answers, Outcome(job.subject, failure=SubjectFailure(job.subject, "slurm", _INTERRUPTED)))

    _as_task(do, interrupted)


def run_group(out_dir: Path, raw: Path, setting: Setting) -> None:
    """Make the tables of the cohort. Ends the process with the exit code of the level 'group'."""
    os.chdir(setting.cwd)

    def do() -> int:
        from coactseg_cli.group import group

        try:
            result = group(out_dir, (), raw)
        except BidsAppError as error:
            to_stderr(f"group: {error}")
            return 1
        print(result.text, flush=True)
        return result.exit_code

    _as_task(do, lambda: None)


def _attempt() -> str:
    """What tells this task's temporary files from another's, and from those of an attempt that was killed."""
    return f"-{os.environ.get('SLURM_JOB_ID', os.getpid())}-{os.environ.get('SLURM_RESTART_COUNT', '0')}"


def _as_task(do: Callable[[], int], interrupted: Callable[[], None]) -> None:
    """Do it and end with its exit code.

    SLURM's warning (the signal that submitit asked for, or SIGTERM) ends the work cleanly: files are whole or absent. For its own signal
    submitit then puts the task back into the queue, unless its time was over; after SIGTERM, SLURM itself does, or not.
    """
    with _interruptible() as asked:
        try:
            code = do()
        except KeyboardInterrupt:
            for number in asked:
                signal.signal(number, signal.SIG_IGN)  # once is enough
            interrupted()
            to_stderr(_INTERRUPTED)
            for requeue in asked.values():
                if requeue is not None:
                    requeue()
            code = STOPPED
    if code:
        raise SystemExit(code)


@contextmanager
def _interruptible() -> Iterator[dict[int, Callable[[], None] | None]]:
    """Signals raise KeyboardInterrupt. Yields: those that came, each with what submitit does upon it."""
    asked: dict[int, Callable[[], None] | None] = {}
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)}

    def interrupt(number: int, frame: Any) -> None:
        theirs = before[signal.Signals(number)]
        asked[number] = (lambda: theirs(number, frame)) if callable(theirs) and number != signal.SIGTERM else None
        raise KeyboardInterrupt

    for number, theirs in before.items():
        if number == signal.SIGTERM or callable(theirs):
            signal.signal(number, interrupt)
    try:
        yield asked
    finally:
        for number, theirs in before.items():
            signal.signal(number, theirs)


def answer(folder: Path, subject: str) -> Path:
    """Where the outcome of a participant is written."""
    return folder / f"sub-{subject}.json"


def write_answer(folder: Path, outcome: Outcome) -> None:
    """Write what became of a participant, for whoever waits. Raises: CannotCreate."""
    failure = outcome.failure
    content = {
        "subject": outcome.subject,
        "summary": outcome.summary,
        "report": None if outcome.report is None else str(outcome.report),
        "failure": None if failure is None else {"stage": failure.stage, "message": failure.message},
        "crash": None if outcome.crash is None else str(outcome.crash),
        "seconds": outcome.seconds,
    }
    write_json(answer(folder, outcome.subject), content)


def read_answer(folder: Path, subject: str) -> Outcome | None:
    """What became of a participant; None where nothing was written that can be read."""
    try:
        content = read_json(answer(folder, subject))
        failure = content["failure"]
        return Outcome(
            subject,
            summary=content["summary"],
            report=None if content["report"] is None else Path(content["report"]),
            failure=None if failure is None else SubjectFailure(subject, failure["stage"], failure["message"]),
            crash=None if content["crash"] is None else Path(content["crash"]),
            seconds=content["seconds"],
        )
    except (BidsAppError, KeyError, TypeError):
        return None
