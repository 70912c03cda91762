"""`coactseg` with a clock on its steps: a process of its own whose seconds are dealt out to the functions that took them.

    python -m benchmarks.speed.steps OUT.json segment BIDS OUT participant ...

A step's seconds are its own: what a step within it took is not counted twice. The clock starts with the process.
"""

from __future__ import annotations

import functools
import importlib
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

PACKAGES = ("coactseg_cli", "bids_app")
OTHER = "everything else"
START = "start, imports"
STEPS = {
    "find the scans": ("coactseg_cli.runner:read_index",),
    "read images": ("coactseg_cli.volumes:load", "coactseg_cli.volumes:load_stored"),
    "write images": ("coactseg_cli.volumes:save",),
    "brain": ("coactseg_cli.preprocessing.brain_extraction:extract",),
    "register": ("coactseg_cli.preprocessing.meeting:meet",),
    "bias field (N4)": ("coactseg_cli.preprocessing.bias:correct_bias",),
    "resample": ("coactseg_cli.preprocessing.resampling:resample",),
    "load the model": ("coactseg_cli.segment:load_model", "coactseg_cli.network.inference:make_engine"),
    "network": ("coactseg_cli.network.inference:Engine.run",),
    "check quality": ("coactseg_cli.quality_files:check_participant",),
    "follow lesions": ("coactseg_cli.lesions.tracking:track",),
    "tables and page": ("coactseg_cli.reading:read",),
    "pages": ("coactseg_cli.subject_report.report:write_report",),
}
HEAVY = (
    "coactseg_cli.prep",
    "coactseg_cli.segment",
    "coactseg_cli.reading",
    "coactseg_cli.participant",
    "coactseg_cli.runner",
    "coactseg_cli.cli",
)


class Clock:
    """Seconds per step, each second once."""

    def __init__(self, since: float) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.stack = [OTHER]
        self.since = since

    def switch(self, step: str | None) -> None:
        """Enter a step; None: leave the one that was entered last."""
        now = time.perf_counter()
        self.seconds[self.stack[-1]] += now - self.since
        self.since = now
        self.stack.pop() if step is None else self.stack.append(step)

    def watch(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, timed."""

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self.switch(step)
            try:
                return function(*args, **kwargs)
            finally:
                self.switch(None)

        return timed


def install(clock: Clock) -> None:
    """Put the clock on every step, under every name by which a module knows it. Raises: AttributeError for a step that is gone."""
    for name in HEAVY:
        importlib.import_module(name)
    for step, places in STEPS.items():
        for place in places:
            module, _, path = place.partition(":")
            owner: Any = importlib.import_module(module)
            *parents, name = path.split(".")
            for parent in parents:
                owner = getattr(owner, parent)
            original = getattr(owner, name)
            timed = clock.watch(step, original)
            setattr(owner, name, timed)
            for other in [m for n, m in sys.modules.items() if n.split(".")[0] in PACKAGES]:
                for known, value in list(vars(other).items()):
                    if value is original:
                        setattr(other, known, timed)


def main(words: list[str]) -> int:
    """Run coactseg; write the seconds per step."""
    began = time.perf_counter() - _process_age()
    out, *argv = words
    from coactseg_cli.__main__ import main as coactseg

    clock = Clock(began)
    clock.stack = [START]
    install(clock)
    clock.switch(OTHER)
    code = coactseg(argv)
    clock.switch(None)
    Path(out).write_text(json.dumps({"code": code, "seconds": dict(clock.seconds)}), encoding="utf-8")
    return code


def _process_age() -> float:
    """Seconds since this process was started (Linux); 0 elsewhere."""
    try:
        started = int(Path("/proc/self/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started / 100
    except (OSError, AttributeError):
        return 0.0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
