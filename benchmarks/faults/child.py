"""Commands of coactseg in children of a warm process: a fork has everything imported, so that hundreds of runs are affordable."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

KILLED = -signal.SIGKILL
HANGS = 999  # not ended in time
LIMIT_S = 300.0


def warm() -> None:
    """Import what the commands import."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"):
        os.environ[name] = "1"
    import bids.layout  # noqa: F401
    import torch

    import coactseg_cli.__main__
    import coactseg_cli.cli
    import coactseg_cli.cohort.page
    import coactseg_cli.cohort.statistics
    import coactseg_cli.group
    import coactseg_cli.participant_commands
    import coactseg_cli.prep
    import coactseg_cli.rereading
    import coactseg_cli.runner
    import coactseg_cli.segment  # noqa: F401

    torch.set_num_threads(1)


def start(words: Sequence[str], work: Path, said: Path, before: Callable[[], None] | None = None) -> int:
    """Start a command in a child. Returns: its process id.

    Args:
        words: of the command line.
        work: TMPDIR.
        said: takes stdout and stderr.
        before: called in the child, before the command.
    """
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.stdout = sys.__stdout__ = os.fdopen(1, "w", buffering=1, closefd=False)
        sys.stderr = sys.__stderr__ = os.fdopen(2, "w", buffering=1, closefd=False)
        os.environ["TMPDIR"] = str(work)
        os.environ.pop("COACTSEG_WORK_DIR", None)
        from coactseg_cli.__main__ import main

        if before is not None:
            before()
        code = main(list(words))
    except BaseException:
        with contextlib.suppress(OSError):
            traceback.print_exc()
    os._exit(code)


def ended(pid: int, limit_s: float = LIMIT_S) -> int:
    """Wait for a child. Returns: its exit code, minus the signal that killed it, or HANGS."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return HANGS


def run(words: Sequence[str], work: Path, said: Path, before: Callable[[], None] | None = None) -> int:
    """Start a command and wait. Returns: as `ended`."""
    return ended(start(words, work, said, before))


def light_pages() -> None:
    """Pages without pictures, which take most of the time and are written like all others: what is tested is how files are written."""
    from coactseg_cli import reading, subject_report

    def write_report(prepared, tree, pairs, research_line):  # type: ignore[no-untyped-def]
        from bids_app.files import write_text

        path = tree.root / f"sub-{prepared.subject}.html"
        folder = tree.root / f"sub-{prepared.subject}"
        tables = sorted({*folder.glob("*.tsv"), *(path for v in prepared.visits for path in tree.folder(v.entities).glob("*.tsv"))})
        text = "".join(f"<h2>{table.name}</h2><pre>{table.read_text()}</pre>\n" for table in tables)
        write_text(path, f"<html><p>{research_line} {len(pairs)} pairs</p>\n{text}</html>\n")
        return path

    subject_report.write_report = write_report
    reading.write_report = write_report


def write_in_place() -> None:
    """Take write-then-rename away: what the harness must notice."""
    from bids_app import files
    from coactseg_cli import volumes

    @contextlib.contextmanager
    def in_place(path: Path) -> Iterator[Path]:
        path.unlink(missing_ok=True)  # write_text opens with 'x'
        yield path

    files.replacing = in_place
    volumes.replacing = in_place
