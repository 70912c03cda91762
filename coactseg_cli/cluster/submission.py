"""Jobs -> arrays of SLURM tasks, and the level 'group' after all; waits for nothing.

coactseg segment --executor slurm
  |-- array 12:  12_0 sub-01   12_1 sub-02   12_2 sub-03 ...    at most --slurm-array-parallelism at once
  |-- array 13:  the next participants, where the cluster's arrays are shorter than the cohort; begins after 12 (afterany)
  '-- job 14:    group, after the last array (afterany)
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from coactseg_cli.cluster.request import Request
from coactseg_cli.cluster.task import Setting, run_group, run_participant
from coactseg_cli.errors import SubmissionFailed
from coactseg_cli.participant import Job

GROUP_MINUTES = 60
WARNING_S = 90  # so long before the end of its time a task is told


@dataclass(frozen=True, slots=True)
class Task:
    """One task that was submitted."""

    name: str  # sub-01, or group
    id: str  # as squeue names it: JOB_TASK, or JOB
    log: Path

    @property
    def job(self) -> str:
        """Number of the whole array."""
        return self.id.split("_")[0]


def submit_participants(jobs: Sequence[Job], request: Request, setting: Setting, folder: Path, longest: int) -> list[Task]:
    """One task per job, in arrays of at most `longest` tasks; each array waits for the one before, so that the throttle holds.

    Args:
        jobs: participants.
        request: what each task gets.
        setting: what each task is told.
        folder: where scripts, logs and what travels to the tasks are written; shared with the nodes.
        longest: SLURM's MaxArraySize.

    Raises: SubmissionFailed where sbatch refuses; what was submitted before goes on.
    """
    tasks: list[Task] = []
    for begin in range(0, len(jobs), longest):
        part = jobs[begin : begin + longest]
        executor = _executor(folder, request, after=tasks[-1].job if tasks else None)
        tasks += _submitted(executor, [f"sub-{job.subject}" for job in part], run_participant, part, [setting] * len(part))
    return tasks


def submit_group(out_dir: Path, raw: Path, request: Request, setting: Setting, folder: Path, after: Sequence[Task]) -> Task:
    """The level 'group', after all tasks have ended in whatever way. Raises: SubmissionFailed."""
    executor = _executor(folder, replace(request, cpus=1, minutes=GROUP_MINUTES), after=after[-1].job if after else None)
    return _submitted(executor, ["group"], run_group, [out_dir], [raw], [setting])[0]


def _executor(folder: Path, request: Request, after: str | None) -> Any:
    """What submits, by submitit. Every value reaches sbatch as one quoted word; none a shell."""
    import submitit

    executor = submitit.SlurmExecutor(folder, python=f"{shlex.quote(sys.executable)} -P")  # -P: no module from the folder it starts in
    executor.update_parameters(
        job_name="coactseg",
        time=request.minutes,
        cpus_per_task=request.cpus,
        array_parallelism=request.at_once,
        signal_delay_s=WARNING_S,
        stderr_to_stdout=True,
        dependency=None if after is None else f"afterany:{after}",
        wckey=None,
        srun_args=[f"--cpus-per-task={request.cpus}"],  # srun takes it from sbatch no longer (SLURM 22.05)
        additional_parameters=dict(request.options),
    )
    return executor


def _submitted(executor: Any, names: Sequence[str], function: Any, *arguments: Sequence[Any]) -> list[Task]:
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        jobs = executor.map_array(function, *arguments)
    except (FailedJobError, FailedSubmissionError) as error:
        reason = " ".join(str(error).split())
        msg = f"sbatch refused the job: {reason}. Options for sbatch are given with --slurm NAME=VALUE."
        raise SubmissionFailed(msg) from error
    return [Task(name, job.job_id, job.paths.stdout) for name, job in zip(names, jobs, strict=True)]
