"""What a run says: a folder of its own under OUT/logs, milestones or a progress bar on stderr. Decides nothing."""

from __future__ import annotations

import shlex
import sys
import traceback
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from bids_app.files import make_folder, write_text

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

CITATION = """# What to cite

Results of CoactSeg rest on this work. Cite what the sidecars of your results name.

- Method: Wu Y., Wu Z., Shi H., Picker B., Chong W., Cai J. CoactSeg: Learning from Heterogeneous Data for New Multiple
  Sclerosis Lesion Segmentation. MICCAI 2023, LNCS 14227, 3-13.
- Halfway space of the visits: Reuter M., Schmansky N.J., Rosas H.D., Fischl B. Within-subject template estimation for
  unbiased longitudinal image analysis. NeuroImage 61 (2012), 1402-1418.
- Bias field (N4): Tustison N.J. et al. N4ITK: improved N3 bias correction. IEEE Transactions on Medical Imaging 29
  (2010), 1310-1320.
- Brain extraction, where a sidecar names hd-bet: Isensee F. et al. Automated brain extraction of multisequence MRI using
  artificial neural networks. Human Brain Mapping 40 (2019), 4952-4964.
- Data layout: Gorgolewski K.J. et al. The brain imaging data structure. Scientific Data 3 (2016), 160044; and BIDS Apps.
  PLoS Computational Biology 13 (2017), e1005209.

Research use only; not for diagnosis.
"""


@dataclass(frozen=True, slots=True)
class RunLog:
    """The folder of one run; may be used by several processes at once."""

    folder: Path  # OUT/logs/<run_uuid>

    @property
    def run_id(self) -> str:
        """Name of the run: its time and a random part."""
        return self.folder.name

    def write(self, message: str, subject: str = "") -> None:
        """Append to coactseg.log; each call is one write, so that lines of two processes do not mix."""
        lines = "".join(f"{datetime.now().astimezone():%Y-%m-%dT%H:%M:%S%z} {line}\n" for line in about(message, subject).splitlines())
        try:
            with (self.folder / "coactseg.log").open("a", encoding="utf-8") as file:
                file.write(lines)
        except OSError as error:  # a full disk: what matters will fail with its own reason, and stderr still takes lines
            to_stderr(f"the log cannot be written ({error.strerror}): {message}")

    def crash(self, subject: str, stage: str, error: BaseException) -> Path:
        """Write the traceback of a participant's failure to a file of its own."""
        path = self.folder / f"crash-{datetime.now().astimezone():%Y%m%d-%H%M%S}-sub-{subject}-{stage}.txt"
        head = f"participant: sub-{subject}\nstage: {stage}\ncommand: {shlex.join(sys.argv)}\n\n"
        write_text(path, head + "".join(traceback.format_exception(error)))
        return path


def open_log(out_dir: Path, effective: str) -> RunLog:
    """Make OUT/logs/<run_uuid> with the options in effect, and OUT/logs/CITATION.md.

    Raises: CannotCreate.
    """
    logs = out_dir / "logs"
    log = RunLog(logs / f"{datetime.now().astimezone():%Y%m%d-%H%M%S}_{uuid.uuid4()}")
    make_folder(log.folder)
    write_text(log.folder / "coactseg.toml", effective)
    if not (logs / "CITATION.md").exists():
        write_text(logs / "CITATION.md", CITATION)
    return log


@dataclass(slots=True)
class Reporter:
    """Milestones on stderr: a bar where it is a terminal, else one line each. Use as a context manager."""

    total: int
    verbose: int = 0
    _bar: Progress | None = field(default=None, init=False)
    _task: TaskID | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        """Start the bar, on a terminal only."""
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._bar.start()
            self._task = self._bar.add_task("participants", total=self.total)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop the bar."""
        if self._bar is not None:
            self._bar.stop()

    def step(self, message: str, subject: str = "") -> None:
        """One step of a participant: the bar's text, or a line."""
        text = about(message, subject)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=text)
        if self._bar is None or self.verbose:
            self.say(text)

    def done(self, message: str, subject: str) -> None:
        """A participant is finished, one way or the other."""
        self.say(about(message, subject))
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task)

    def say(self, text: str) -> None:
        """A line that stays on the screen."""
        if self._bar is None:
            to_stderr(text)
        else:
            self._bar.console.print(text, markup=False, highlight=False)


def to_stderr(text: str) -> None:
    """One line with the time of day on stderr."""
    print(f"{datetime.now().astimezone():%H:%M:%S} {printable(text)}", file=sys.stderr, flush=True)


def about(message: str, subject: str) -> str:
    """The message with the participant's name before it, once; only what a terminal shows as text."""
    text = printable(message)
    return text if not subject or text.startswith(f"sub-{subject}") else f"sub-{subject}: {text}"


def printable(text: str) -> str:
    """The text with a question mark for each control character but line ends: text from data must not steer a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
