"""Jobs to outcomes, one after the other or several processes at once; a process that is killed fails its own job only.

    this process --- starts early ---> imports what the work needs, waits --- forked per worker ---> job, job ...
         looks around, checks the model, hands out jobs

On Linux, that is; elsewhere, and where it cannot be, each worker is a process of its own that imports for itself.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import signal
import stat
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path

from bids_app.errors import CannotCreate
from bids_app.locks import is_free, locked
from coactseg_cli.errors import OutOfMemory
from coactseg_cli.logs import RunLog, about, to_stderr
from coactseg_cli.participant import Job, Outcome, failed, work

_forks = False  # whether the process that workers are forked from is there
_LOCK = ".lock"  # ending of the lock beside a run's folder of temporary files, held while the run lives


@dataclass(frozen=True, slots=True)
class Crew:
    """How many work at once, and with how much memory each."""

    at_once: int = 1
    mem_mb: int | None = None  # per process; None: no limit
    stop_on_first_crash: bool = False

    @property
    def in_processes(self) -> bool:
        """Whether the work is done by other processes than this one."""
        return self.at_once > 1 or self.mem_mb is not None


def get_ready(modules: Iterable[str]) -> None:
    """Start the process that workers are forked from: it imports these while the caller goes on, and its workers share what it has.

    Environment variables count as they are now. Imports must start no thread.
    """
    global _forks  # noqa: PLW0603
    if sys.platform != "linux":
        return
    multiprocessing.set_forkserver_preload(list(modules))
    with suppress(OSError):  # no room for its socket, or a path too long for one
        forkserver.ensure_running()
        _forks = True


def run_jobs(jobs: Iterable[Job], crew: Crew, step: Callable[[str, str], None], done: Callable[[Outcome], None]) -> list[Outcome]:
    """Do every job; after a failure, with stop_on_first_crash, start no further one. Whom another run works on comes last.

    Args:
        jobs: participants.
        crew: with one at once and no limit on memory this process does the work itself.
        step: told the milestones of a participant, where this process does the work (message, subject).
        done: told each outcome as it comes.

    Returns: an outcome per job that was started.
    """
    outcomes: list[Outcome] = []
    every = {job.subject: job for job in jobs}
    held: deque[Job] = deque()

    def add(outcome: Outcome) -> None:
        if outcome.held:
            held.append(replace(every[outcome.subject], wait=True))
            return
        outcomes.append(outcome)
        done(outcome)

    def stopped() -> bool:
        return crew.stop_on_first_crash and any(outcome.failure for outcome in outcomes)

    for queue in (deque(every.values()), held):
        if not crew.in_processes:
            while queue and not stopped():
                job = queue.popleft()
                add(work(job, lambda message, subject=job.subject: step(message, subject)))  # type: ignore[misc]
        else:
            _in_processes(queue, crew, add, stopped)
    return outcomes


def _in_processes(queue: deque[Job], crew: Crew, add: Callable[[Outcome], None], stopped: Callable[[], bool]) -> None:
    """Pools until the queue is empty. Where a pool broke, those at work are suspects: each is done again alone."""
    while queue and not stopped():
        suspects = _drain(queue, crew, crew.at_once, add, stopped)
        for job in suspects:
            if len(suspects) == 1 or _drain(deque([job]), crew, 1, add, lambda: False):
                add(failed(job, "worker", _killed(crew)))


def _killed(crew: Crew) -> OutOfMemory:
    limit = f" of {crew.mem_mb} MB per participant" if crew.mem_mb is not None else ""
    return OutOfMemory(f"the process was killed, most likely for want of memory{limit}. Try --tile 128, more memory or fewer at once.")


def _drain(queue: deque[Job], crew: Crew, width: int, add: Callable[[Outcome], None], stopped: Callable[[], bool]) -> list[Job]:
    """Work on the queue in one pool. Returns: the jobs that were at work when the pool broke, none where it did not."""
    running: dict[Future[Outcome], Job] = {}
    context = multiprocessing.get_context("forkserver" if _forks else "spawn")
    settings = (crew.mem_mb, os.environ.get("TMPDIR"))
    with ProcessPoolExecutor(width, mp_context=context, initializer=_begin_worker, initargs=settings) as pool:
        try:
            while True:
                while queue and len(running) < width and not stopped():
                    running[pool.submit(_work, queue[0])] = queue[0]
                    queue.popleft()
                if not running:
                    return []
                _collect(running, add)
        except BrokenProcessPool:
            return list(running.values()) or [queue.popleft()]
        except BaseException:  # an interruption: nobody waits for results that nobody takes
            for child in multiprocessing.active_children():
                child.terminate()
            raise


def _collect(running: dict[Future[Outcome], Job], add: Callable[[Outcome], None]) -> None:
    """Wait for an outcome and take all that are there. Raises: BrokenProcessPool, leaving the suspects in `running`."""
    finished, _ = wait(running, return_when=FIRST_COMPLETED)
    broken: BrokenProcessPool | None = None
    for future in finished:
        error = future.exception()
        if isinstance(error, BrokenProcessPool):
            broken = error
            continue
        job = running.pop(future)
        add(future.result() if error is None else failed(job, "worker", error))
    if broken is not None:
        raise broken


def _begin_worker(mem_mb: int | None, tmpdir: str | None) -> None:
    """In a new worker: limit the memory, leave Ctrl-C to the parent, end when the parent ends, put temporary files where it says."""
    _set_tmpdir(tmpdir)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if (parent := multiprocessing.parent_process()) is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    if mem_mb is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limit = mem_mb * 1_000_000
        resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _end_with(parent: BaseProcess) -> None:
    """Wait until the parent ends, however it does, and end then: nobody takes the results."""
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _work(job: Job) -> Outcome:
    """Work in a worker process; the bar is the parent's, so steps are told where there is none."""
    return work(job, (lambda _: None) if sys.stderr.isatty() else (lambda message: to_stderr(about(message, job.subject))))


@contextmanager
def temporary_files(work_dir: Path | None, log: RunLog, part: str = "") -> Iterator[None]:
    """Let this process and its workers put temporary files into a folder of the run, or of a part of it; it is removed at the end.

    Without a work_dir it lies in $COACTSEG_WORK_DIR, $SLURM_TMPDIR, $TMPDIR or ./work; where that cannot be written, nothing changes.
    Folders of runs that were killed are removed.

    Raises: CannotCreate where work_dir cannot be written.
    """
    before = os.environ.get("TMPDIR")
    given = (os.environ.get("COACTSEG_WORK_DIR"), os.environ.get("SLURM_TMPDIR"), before)
    place = work_dir or Path(next((value for value in given if value), "work"))
    folder = (place / f"coactseg-{log.run_id}{part}").absolute()
    ours = work_dir is None and not any(given) and not place.exists()  # ./work: nobody asked for it
    lock = place.absolute() / f"{folder.name}{_LOCK}"
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(lock, {"run": log.run_id}))
            folder.mkdir(mode=0o700, parents=True)  # scans lie in it, and the place may be everybody's
        except (OSError, CannotCreate) as error:
            if work_dir is not None:
                msg = f"--work-dir {place} cannot be written ({error})"
                raise CannotCreate(msg) from error
            log.write(f"{place} cannot be written ({error}): temporary files go where the system puts them; -w DIR names a place")
            yield
            return
        try:
            _remove_dead(place, but=lock)
            _set_tmpdir(str(folder))
            yield
        finally:
            _set_tmpdir(before)
            _remove(folder, lock)
            if ours:
                with suppress(OSError):  # another run may be at work in it
                    place.rmdir()


def _remove_dead(place: Path, but: Path) -> None:
    """Remove what killed runs of ours left; a folder without a lock beside it is nobody's that is known here."""
    with suppress(OSError):
        for lock in place.absolute().glob(f"coactseg-*{_LOCK}"):
            status = lock.lstat()
            if lock != but and stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and is_free(lock):
                _remove(lock.with_name(lock.name.removesuffix(_LOCK)), lock)


def _remove(folder: Path, lock: Path) -> None:
    """The folder first: as long as any of it is there, the lock says whose it is, and the next run tries again."""
    shutil.rmtree(folder, ignore_errors=True)
    if not folder.exists():
        with suppress(OSError):
            lock.unlink(missing_ok=True)


def _set_tmpdir(value: str | None) -> None:
    if value is None:
        os.environ.pop("TMPDIR", None)
    else:
        os.environ["TMPDIR"] = value
    tempfile.tempdir = None  # looked up anew
