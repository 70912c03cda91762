"""What SLURM says of tasks: text of squeue and scontrol -> states; needs no accounting and starts nothing."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

ANSWER_WITHIN_S = 60
_FIELDS = ("ArrayJobID", "ArrayTaskID", "State", "exit_code")
_WIDTH = 32
_DEFAULT_MAX_ARRAY = 1001  # SLURM's own

# A job in one of these states will not run again; where it was put back into the queue it is PENDING.
ENDED = frozenset(
    {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"}
)


class NoAnswer(Exception):
    """SLURM's controller did not answer; it may the next time."""


@dataclass(frozen=True, slots=True)
class TaskState:
    """What SLURM says of one task."""

    name: str  # SLURM's word; GONE where it knows the task no longer
    exit_code: int = 0
    signal: int = 0

    @property
    def ended(self) -> bool:
        """Whether it will not run again."""
        return self.name in ENDED or self == GONE

    @property
    def exit(self) -> str:
        """Exit code and signal as SLURM writes them: 1:0, 0:9."""
        return "n/a" if self == GONE else f"{self.exit_code}:{self.signal}"


GONE = TaskState("GONE")


def look(job_ids: Iterable[str]) -> dict[str, TaskState]:
    """State of every task that SLURM still knows, by 'JOB_TASK', or by 'JOB' where it is no array.

    Raises: NoAnswer.
    """
    said = _ask(
        "squeue",
        "--noheader",
        "--array",
        "--states=all",
        f"--jobs={','.join(job_ids)}",
        "--Format=" + ",".join(f"{name}:{_WIDTH}" for name in _FIELDS),
    )
    return parse(said)


def parse(text: str) -> dict[str, TaskState]:
    """Columns of squeue -> states. exit_code is a wait status: signal in the low byte, exit code above it."""
    found = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) != len(_FIELDS) or not words[0].isdigit() or not words[3].isdigit():
            continue
        key = f"{words[0]}_{words[1]}" if words[1].isdigit() else words[0]
        found[key] = TaskState(words[2].split("+")[0], int(words[3]) >> 8, int(words[3]) & 127)
    return found


def max_array_size() -> int:
    """How many tasks an array may have here."""
    try:
        match = re.search(r"^MaxArraySize\s*=\s*(\d+)", _ask("scontrol", "show", "config"), re.MULTILINE)
    except NoAnswer:
        match = None
    return max(1, int(match[1]) if match is not None else _DEFAULT_MAX_ARRAY)


def cancel_waiting(job_ids: Iterable[str]) -> None:
    """Take the tasks that have not begun out of the queue. Raises: NoAnswer."""
    _ask("scancel", "--state=PENDING", *job_ids)


def _ask(*command: str) -> str:
    """What a program of SLURM prints; nothing for jobs that are forgotten."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=ANSWER_WITHIN_S)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoAnswer(f"{command[0]}: {error}") from error
    if done.returncode and "Invalid job id" not in done.stderr:
        raise NoAnswer(f"{command[0]}: {' '.join(done.stderr.split()) or f'exit code {done.returncode}'}")
    return done.stdout
