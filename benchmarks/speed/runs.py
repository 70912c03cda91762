"""Whole runs of `coactseg` in processes of their own: wall time, peak memory, seconds per step, growth, two participants at once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Run:
    """One whole run."""

    what: str
    wall_s: float
    cpu_s: float
    peak_gib: float  # of the largest process
    steps: dict[str, float]


def coactseg(what: str, words: Sequence[str]) -> Run:
    """Time one command line. Raises: CalledProcessError where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        steps = Path(folder) / "steps.json"
        begun = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.speed.steps", str(steps), *words], cwd=PROJECT, stderr=subprocess.PIPE, text=True
        )
        said = process.stderr.read() if process.stderr else ""
        _, status, used = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, words, stderr=said)
        seconds = json.loads(steps.read_text(encoding="utf-8"))["seconds"]
    return Run(what, wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20, seconds)


def segment(what: str, bids: Path, participants: Sequence[str], *options: str) -> Run:
    """`coactseg segment` of some participants into a new folder, which is removed."""
    out = Path(tempfile.mkdtemp())
    try:
        labels = [word for label in participants for word in ("--participant-label", label)]
        return coactseg(what, ["segment", str(bids), str(out), "participant", *labels, *options])
    finally:
        shutil.rmtree(out, ignore_errors=True)
