"""Whole runs of `coactseg` in processes of their own: wall time, peak memory, seconds per step, growth, two participants at once."""

from __future__ import annotations

import json
import os
import re
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
        command = [sys.executable, "-m", "benchmarks.speed.steps", str(steps), *words]
        with (Path(folder) / "said").open("w") as said:
            process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True)
        used: dict[int, tuple[float, float]] = {}
        while process.poll() is None:
            used |= _used(process.pid)
            time.sleep(0.5)
        wall_s = time.perf_counter() - begun
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, words, stderr=(Path(folder) / "said").read_text())
        seconds = json.loads(steps.read_text(encoding="utf-8"))["seconds"]
    return Run(what, wall_s, sum(cpu_s for cpu_s, _ in used.values()), max(gib for _, gib in used.values()), seconds)


def _used(session: int) -> dict[int, tuple[float, float]]:
    """Seconds of processor time and peak memory in GiB of each process of a session (Linux): workers are nobody's children to wait for."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(stat[3]) == session:
                peak = re.search(r"VmHWM:\s*(\d+) kB", (folder / "status").read_text())
                if peak:  # else it has just ended, and gave its memory back
                    found[int(folder.name)] = (sum(map(int, stat[11:13])) / os.sysconf("SC_CLK_TCK"), int(peak[1]) / 2**20)
        except OSError:  # it has just ended
            continue
    return found


def segment(what: str, bids: Path, participants: Sequence[str], *options: str) -> Run:
    """`coactseg segment` of some participants into a new folder, which is removed."""
    out = Path(tempfile.mkdtemp())
    try:
        labels = [word for label in participants for word in ("--participant-label", label)]
        return coactseg(what, ["segment", str(bids), str(out), "participant", *labels, *options])
    finally:
        shutil.rmtree(out, ignore_errors=True)
