"""The live view of a training on a terminal: progress, losses, the last and the best validation. Elsewhere it shows nothing."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from coactseg_cli.validation import Row, mean_of

if TYPE_CHECKING:
    from rich.console import RenderableType

RECENT = 20  # iterations that the shown losses are averaged over
SHOWN = ("dice_all_baseline", "dice_all_followup", "dice_new", "cross_entropy", "relation_agreement", "relation_absent", "relation_present")


class View:
    """Use as a context manager; `console` is for tests."""

    def __init__(self, total: int, done: int, *, shown: bool = True, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.shown = shown and self.console.is_terminal
        columns = (
            TextColumn("iteration"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self.progress = Progress(*columns, console=self.console)
        self.task = self.progress.add_task("training", total=total, completed=done)
        self.recent: deque[dict[str, float]] = deque(maxlen=RECENT)
        self.validation = "none yet"
        self.live = Live(self._picture(), console=self.console, refresh_per_second=2, transient=True)

    def __enter__(self) -> Self:
        """Start drawing, on a terminal only."""
        if self.shown:
            self.live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop drawing."""
        self.live.stop()

    def step(self, row: dict[str, float]) -> None:
        """An iteration is done; `row` is that of losses.tsv."""
        self.recent.append(row)
        self.progress.update(self.task, completed=row["iteration"])
        if self.shown:
            self.live.update(self._picture())

    def validated(self, rows: Sequence[Row], score: float, best: float, best_iteration: int) -> None:
        """A validation is done."""
        parts = [f"{kind}: Dice {mean_of(rows, kind, 'dice'):.3f}, F1 {mean_of(rows, kind, 'lesion_f1'):.3f}" for kind in ("new", "all")]
        self.validation = f"{'; '.join(parts)}; score {score:.3f} (best {best:.3f} at {best_iteration})".replace("nan", "n/a")

    def text(self) -> str:
        """The recent losses in a line."""
        losses = ", ".join(f"{name.replace('_', ' ')} {self.mean(name):.3f}" for name in ("total", *SHOWN[:3]))
        return f"{losses}; {self.mean('seconds'):.2f} s per iteration"

    def mean(self, name: str) -> float:
        """Mean of a column over the recent iterations; NaN before the first."""
        values = [row[name] for row in self.recent]
        return sum(values) / len(values) if values else math.nan

    def _picture(self) -> RenderableType:
        table = Table(show_header=False, box=None, padding=(0, 1))
        for name in ("total", *SHOWN):
            table.add_row(name.replace("_", " "), f"{self.mean(name):.4f}")
        table.add_row("learning rate", f"{self.mean('learning_rate'):.2e}")
        table.add_row("seconds per iteration", f"{self.mean('seconds'):.2f}")
        table.add_row("validation", self.validation)
        return Group(self.progress, table)
