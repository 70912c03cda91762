"""Jobs -> outcomes, by tasks of SLURM: submit, wait, say what became of each. Does no participant's work itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bids_app.files import make_folder, write_text
from coactseg_cli.cluster import states
from coactseg_cli.cluster.request import DEFAULT_MEM_MB, described, request_of
from coactseg_cli.cluster.states import GONE, TaskState
from coactseg_cli.cluster.submission import Task, submit_group, submit_participants
from coactseg_cli.cluster.task import Setting, read_answer
from coactseg_cli.config import RunConfig
from coactseg_cli.errors import TaskLost
from coactseg_cli.logs import RunLog, to_stderr
from coactseg_cli.participant import Job, Outcome, failed
from coactseg_cli.summary import table

FIRST_LOOK_S = 1.0
LOOK_EVERY_S = 10.0  # at the longest: a controller has other users
SEEN_TWICE = 2  # a task that goes back into the queue may look ended for a moment
_ANSWERING = frozenset({"COMPLETED", "FAILED", GONE.name})  # a task that ended by itself wrote what became of its participant
ANSWERS_COME_WITHIN = 6  # looks; a file server may show a file of another machine late


@dataclass(frozen=True, slots=True)
class Places:
    """Where the tasks of a run read and write."""

    out_dir: Path
    raw: Path
    log: RunLog

    @property
    def folder(self) -> Path:
        """Logs of the tasks, and what travels to them."""
        return self.log.folder.absolute() / "slurm"


@dataclass(slots=True)
class _Watch:
    """What is known of the tasks while they run."""

    tasks: Sequence[Task]
    states: dict[str, TaskState] = field(default_factory=dict)  # by the task's id
    looks: dict[str, int] = field(default_factory=dict)  # at the same ended state, one after the other
    silent: bool = False  # whether SLURM did not answer the last time

    def look(self) -> None:
        """Ask SLURM once."""
        open_tasks = [task for task in self.tasks if not self.over(task)]
        try:
            said = states.look(sorted({task.job for task in open_tasks}))
        except states.NoAnswer as error:
            if not self.silent:
                to_stderr(f"SLURM does not answer, asking again: {error}")
            self.silent = True
            return
        self.silent = False
        for task in open_tasks:
            self._note(task, said.get(task.id, GONE))

    def _note(self, task: Task, state: TaskState) -> None:
        before = self.states.get(task.id)
        if state == GONE and before is not None and before.ended:
            state = before  # SLURM forgets what ended a while ago
        times = self.looks.get(task.id, 0) + 1 if state == before else 1
        self.looks[task.id] = SEEN_TWICE if state.name == "COMPLETED" else times if state.ended else 0
        self.states[task.id] = state

    def may_answer(self, task: Task) -> bool:
        """Whether the answer of a task that is over may still come: it ended by itself, not long ago."""
        state = self.states[task.id]
        self.looks[task.id] += 1
        return state.signal == 0 and state.name in _ANSWERING and self.looks[task.id] < ANSWERS_COME_WITHIN

    def over(self, task: Task) -> bool:
        """Whether it will not run again."""
        return self.looks.get(task.id, 0) >= SEEN_TWICE


def run_on_slurm(
    jobs: Sequence[Job],
    run: RunConfig,
    places: Places,
    say: Callable[[str], None],
    done: Callable[[Outcome], None],
    *,
    group: bool,
) -> int:
    """Submit every job and, unless the run does not wait, tell each outcome as it comes.

    Args:
        jobs: participants.
        run: how.
        places: where.
        say: told what a user wants to know: numbers of the jobs, the table at the end.
        done: told each outcome; a task that was cancelled before it began has none.
        group: whether the level 'group' follows.

    Returns: 0, or 1 where the level 'group' failed.

    Raises: SubmissionFailed.
    """
    make_folder(places.folder)
    request = request_of(run)
    setting = Setting(Path.cwd(), places.folder, request.cpus, run.work_dir, run.mem_mb)
    tasks = submit_participants(jobs, request, setting, places.folder, states.max_array_size()) if jobs else []
    numbers = sorted({task.job for task in tasks}, key=int)
    if tasks:
        say(f"SLURM: job {' '.join(numbers)}, {len(tasks)} tasks with {described(request.options)}; logs in {places.folder}")
    after = submit_group(places.out_dir, places.raw, request, setting, places.folder, tasks) if group else None
    if after is not None:
        numbers.append(after.job)
        say(f"SLURM: job {after.job}, the level 'group'" + (", after all" if tasks else ""))
    if not run.wait:
        say(f"Not waiting. squeue --jobs={','.join(numbers)} shows them; the same command with --dry-run what is left; scancel stops them.")
        return 0
    try:
        return _wait({task.id: job for task, job in zip(tasks, jobs, strict=True)}, tasks, after, run, places, say, done)
    except KeyboardInterrupt:
        say(f"The tasks go on without us: scancel {' '.join(numbers)} stops them.")
        raise


def _wait(
    jobs: dict[str, Job],
    tasks: Sequence[Task],
    after: Task | None,
    run: RunConfig,
    places: Places,
    say: Callable[[str], None],
    done: Callable[[Outcome], None],
) -> int:
    """Look until all tasks are over; then say what became of each."""
    watch = _Watch([*tasks, *([after] if after else [])])
    told: set[str] = set()
    pause_s = FIRST_LOOK_S
    while not all(watch.over(task) for task in watch.tasks) or len(told) < len(tasks):
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.3, LOOK_EVERY_S)
        watch.look()
        for task in tasks:
            if task.id in told or not watch.over(task):
                continue
            found = read_answer(places.folder, jobs[task.id].subject)
            if found is None and watch.may_answer(task):
                continue
            told.add(task.id)
            outcome = _outcome(jobs[task.id], task, watch.states[task.id], found, run)
            if outcome is not None:
                done(outcome)
                if outcome.failure is not None and run.stop_on_first_crash:
                    _stop(tasks)
    said = status(watch.tasks, watch.states)
    write_text(places.folder / "status.tsv", "\n".join("\t".join(row) for row in said) + "\n")
    for file in places.folder.glob("*.pkl"):  # they travelled to tasks that are over
        file.unlink(missing_ok=True)
    say(table(said))
    return 0 if after is None or watch.states[after.id] == TaskState("COMPLETED") else 1


def _outcome(job: Job, task: Task, state: TaskState, found: Outcome | None, run: RunConfig) -> Outcome | None:
    """The outcome of a task that is over: what it wrote, else what SLURM says of it; None where it never began."""
    if found is not None and state.name in _ANSWERING:
        return found
    if state.name == "CANCELLED" and found is None and not task.log.exists():
        return None
    return failed(job, "slurm", TaskLost(_reason(task, state, run, found)))


def _reason(task: Task, state: TaskState, run: RunConfig, found: Outcome | None) -> str:
    """Why a task ended without an outcome, and the way out."""
    ways = {
        "OUT_OF_MEMORY": f"It needed more memory than it was given; give more than --mem {run.mem_mb or DEFAULT_MEM_MB}.",
        "TIMEOUT": "Its time was over; give more with --slurm time=HOURS:MINUTES:SECONDS.",
        "CANCELLED": "Somebody cancelled it.",
    }
    way = ways.get(state.name, "The same command does again what is left.")
    said = f" {found.failure.message}." if found is not None and found.failure is not None else ""
    return f"SLURM says {state.name}, exit {state.exit}, of task {task.id}.{said} {way} Log: {task.log}"


def _stop(tasks: Sequence[Task]) -> None:
    try:
        states.cancel_waiting(sorted({task.job for task in tasks}))
    except states.NoAnswer as error:
        to_stderr(f"The other tasks could not be cancelled: {error}")


def status(tasks: Sequence[Task], known: dict[str, TaskState]) -> list[tuple[str, str, str, str, str]]:
    """Rows of the table of all tasks, the header first."""
    rows = [("participant", "task", "state", "exit", "log")]
    for task in tasks:
        state = known.get(task.id, GONE)
        rows.append((task.name, task.id, state.name, state.exit, str(task.log)))
    return rows
