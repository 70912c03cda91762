"""What is asked of SLURM for each task: text of --slurm -> checked sbatch options; submits nothing."""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from coactseg_cli.config import RunConfig
from coactseg_cli.errors import InvalidConfig

DEFAULT_MINUTES = 120  # a participant of three visits takes a few minutes; HD-BET on a CPU takes longest
DEFAULT_MEM_MB = 8000
_PROGRAMS = ("sbatch", "srun", "squeue", "scontrol", "scancel")
_NAME = re.compile(r"[a-z][a-z0-9-]*")
_TIME = re.compile(r"(?:(?P<days>\d+)-(?P<dhours>\d+)(?::(?P<dminutes>\d+)(?::\d+)?)?|(?P<first>\d+)(?::(?P<second>\d+)(?P<third>:\d+)?)?)")

# Options of sbatch that follow from what is done, with the way to what a user may want of them.
_OURS = {
    "array": "one task per participant; --slurm-array-parallelism says how many at once",
    "cpus-per-task": "say it with --omp-nthreads",
    "job-name": "the jobs are called coactseg",
    **dict.fromkeys(("nodes", "ntasks", "ntasks-per-node"), "a participant is one task on one node"),
    **dict.fromkeys(("output", "error", "open-mode"), "logs go to OUT/logs"),
    **dict.fromkeys(("dependency", "kill-on-invalid-dep"), "the level 'group' comes after all participants"),
    **dict.fromkeys(("chdir", "parsable", "quiet", "signal", "test-only", "wait", "wrap"), "the submission needs its own"),
}


@dataclass(frozen=True, slots=True)
class Request:
    """What one task gets, and how many may run at once."""

    cpus: int
    minutes: int  # limit of the running time
    at_once: int
    options: dict[str, str | bool] = field(default_factory=dict)  # further options of sbatch, without '--'; True: no value


def request_of(run: RunConfig) -> Request:
    """The request that a run's configuration makes. Raises: InvalidConfig."""
    options: dict[str, str | bool] = {"requeue": True, "mem": f"{run.mem_mb or DEFAULT_MEM_MB}M"}
    given = dict(run.slurm)
    time = given.pop("time", None)
    if {"mem-per-cpu", "mem-per-gpu"} & set(given):  # sbatch takes one of the three
        del options["mem"]
    if "no-requeue" in given:
        del options["requeue"]
    options |= {name: value or True for name, value in given.items()}
    return Request(run.omp_threads, DEFAULT_MINUTES if time is None else minutes(time), run.slurm_array_parallelism, options)


def sbatch_options(values: Iterable[str] | None) -> dict[str, str]:
    """['partition=long', 'exclusive'] -> {'partition': 'long', 'exclusive': ''}.

    Raises: InvalidConfig for what is no option, is given twice, or is decided here.
    """
    found: dict[str, str] = {}
    for text in values or ():
        name, _, value = text.partition("=")
        name = name.strip().removeprefix("--").replace("_", "-")
        if not _NAME.fullmatch(name) or not value.isprintable():
            msg = f"--slurm takes NAME=VALUE, an option of sbatch in its long form, such as partition=long; got {text!r}"
            raise InvalidConfig(msg)
        if name in _OURS:
            msg = f"--slurm {name}: {_OURS[name]}. Leave it out."
            raise InvalidConfig(msg)
        if name in found:
            msg = f"--slurm gives {name} twice: {found[name]!r} and {value!r}"
            raise InvalidConfig(msg)
        found[name] = value
    if "time" in found:
        minutes(found["time"])
    return found


def minutes(text: str) -> int:
    """SLURM's notation of a time limit -> whole minutes, rounded up to one: '90', '90:00', '1:30:00', '1-2', '1-02:30'.

    Raises: InvalidConfig for other text and for nothing.
    """
    match = _TIME.fullmatch(text.strip())
    total = 0
    if match is not None and match["days"] is not None:
        total = int(match["days"]) * 1440 + int(match["dhours"]) * 60 + int(match["dminutes"] or 0)
    elif match is not None and match["third"] is not None:
        total = int(match["first"]) * 60 + int(match["second"])
    elif match is not None:
        total = max(1, int(match["first"]))
    if total < 1:
        msg = f"--slurm time takes minutes, hours:minutes:seconds or days-hours:minutes, one minute at least; got {text!r}"
        raise InvalidConfig(msg)
    return total


def check(run: RunConfig, out_dir: Path) -> None:
    """Whether tasks can be submitted from here.

    Raises: InvalidConfig without submitit or SLURM's programs, for an OUT that SLURM cannot name, for what needs somebody who waits.
    """
    if importlib.util.find_spec("submitit") is None:
        msg = "--executor slurm needs the package submitit: pip install 'coactseg-cli[slurm]'"
        raise InvalidConfig(msg)
    if missing := [program for program in _PROGRAMS if shutil.which(program) is None]:
        msg = (
            f"--executor slurm: {', '.join(missing)} not found. Run this where jobs are submitted (a login node), not in a container, "
            "for which there is hpc/slurm_submit.sh; or leave --executor out."
        )
        raise InvalidConfig(msg)
    if not str(out_dir.absolute()).isprintable() or set(str(out_dir.absolute())) & set("%\\"):
        msg = f"--executor slurm: {str(out_dir)!r} has a character that SLURM reads as its own (%, \\ or a control character). Rename it."
        raise InvalidConfig(msg)
    if run.stop_on_first_crash and not run.wait:
        msg = "--stop-on-first-crash does not go with --no-wait: nobody would see the crash"
        raise InvalidConfig(msg)
    request_of(run)


def described(options: Mapping[str, str | bool]) -> str:
    """The options as they stand on sbatch's command line."""
    return " ".join(f"--{name}" if value is True else f"--{name}={value}" for name, value in sorted(options.items()))
