"""Many small participants in one process: `python benchmarks/long_cohort.py --n 200`. Memory, open files and time stay flat.

One participant in ten has a broken scan: the exit code is 1, and every other one is complete. What is measured is the process of
`coactseg segment` after each participant; a slope is per 100 participants with its 95 % interval (least squares, after the first tenth).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.faults import child, scene

BROKEN_EVERY = 10
MB_PER_100 = 20.0  # limits: what may hide in noise
FILES_PER_100 = 1.0
SHARE_PER_100 = 0.15  # of the mean time


@dataclass(frozen=True)
class Slope:
    """Change per 100 participants, with a 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.3g} [{self.low:+.3g}, {self.high:+.3g}]"


def slope_per_100(values: Sequence[float]) -> Slope:
    """Least squares over 0, 1, 2, ..."""
    y = np.asarray(values, float)
    x = np.arange(len(y)) / 100
    x, n = x - x.mean(), len(y)
    slope = float((x * (y - y.mean())).sum() / (x**2).sum())
    residual = y - y.mean() - slope * x
    error = float(np.sqrt((residual**2).sum() / (n - 2) / (x**2).sum()))
    return Slope(slope, slope - 1.96 * error, slope + 1.96 * error)


@dataclass(frozen=True)
class Measured:
    """What the process was like after each participant."""

    code: int
    complete: int
    failed: int
    rss_mb: tuple[float, ...]
    files: tuple[float, ...]
    seconds: tuple[float, ...]  # of the good ones, from one to the next

    @property
    def slopes(self) -> dict[str, Slope]:
        skip = max(len(self.rss_mb) // 10, 5)  # caches fill
        return {
            "memory, MB": slope_per_100(self.rss_mb[skip:]),
            "open files": slope_per_100(self.files[skip:]),
            "time, s": slope_per_100(self.seconds[skip:]),
        }

    def problems(self, n: int) -> list[str]:
        """What is not as it should be: a slope counts where its interval excludes the limit."""
        broken = n // BROKEN_EVERY
        found = [] if self.code == 1 else [f"exit code {self.code}, expected 1"]
        found += [] if (self.complete, self.failed) == (n - broken, broken) else [f"{self.complete} complete and {self.failed} failed"]
        limits = {"memory, MB": MB_PER_100, "open files": FILES_PER_100, "time, s": SHARE_PER_100 * float(np.mean(self.seconds))}
        return found + [
            f"{what} grows: {s} per 100" for what, s in self.slopes.items() if s.low > limits[what] or s.value > 3 * limits[what]
        ]


def make(raw: Path, n: int) -> None:
    """n participants of one visit each; every tenth is broken."""
    labels = raw / "derivatives" / "labels"
    for number in range(1, n + 1):
        subject = f"{number:04d}"
        path = scene.write_scan(raw, subject, "1", ((9, 12, 9), (14, 15, 10)))
        scene.write_brain(labels, subject, "1")
        if number % BROKEN_EVERY == 0:
            path.write_bytes(path.read_bytes()[:2000])


def measure(folder: Path, n: int, *, light: bool = True) -> Measured:
    """Run the cohort in one process."""
    here = scene.make(folder / "scene")
    raw, out, notes = folder / "raw", folder / "out", folder / "notes.jsonl"
    shutil.copytree(here.raw, raw)
    for subject in scene.LESIONS:
        shutil.rmtree(raw / f"sub-{subject}")
    make(raw, n)
    words = scene.SCENARIOS["fresh"].words(here, out)
    code = child.ended(child.start(words, folder, folder / "said.txt", lambda: _note_each(notes, light=light)), limit_s=24 * 3600)
    lines = [json.loads(line) for line in notes.read_text().splitlines()]
    good = [line for line in lines if line["good"]]
    return Measured(
        code,
        len(list((out / "logs" / "complete").glob("sub-*.json"))),
        sum(not line["good"] for line in lines),
        tuple(line["rss_mb"] for line in lines),
        tuple(line["files"] for line in lines),
        tuple(line["seconds"] for line in good),
    )


def _note_each(notes: Path, *, light: bool) -> None:
    """In the child: measure after each participant."""
    from coactseg_cli import workers

    if light:
        child.light_pages()
    right = workers.work

    def work(job, step):  # type: ignore[no-untyped-def]
        begun = time.monotonic()
        outcome = right(job, step)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        about = {
            "good": outcome.failure is None,
            "seconds": time.monotonic() - begun,
            "rss_mb": pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
            "files": len(list(Path("/proc/self/fd").iterdir())),
        }
        with notes.open("a") as file:
            file.write(json.dumps(about) + "\n")
        return outcome

    workers.work = work


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=200, help="participants (default 200)")
    parser.add_argument("--pages", action="store_true", help="write real pages, with pictures: slower")
    args = parser.parse_args(argv)
    child.warm()
    folder = Path(tempfile.mkdtemp(prefix="coactseg-cohort-"))
    try:
        found = measure(folder, args.n, light=not args.pages)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{args.n} participants: exit code {found.code}, {found.complete} complete, {found.failed} failed")
    for what, values in (("memory, MB", found.rss_mb), ("open files", found.files), ("time, s", found.seconds)):
        print(f"{what:12} first {values[0]:.4g}, last {values[-1]:.4g}, mean {np.mean(values):.4g}; per 100: {found.slopes[what]}")
    problems = found.problems(args.n)
    print("\n".join(problems) or "flat")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
