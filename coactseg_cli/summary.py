"""What a run says of its participants at its end, as plain text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from bids_app.cases import SubjectFailure
from coactseg_cli import completion
from coactseg_cli.logs import RunLog
from coactseg_cli.participant import Outcome


@dataclass(frozen=True, slots=True)
class Result:
    """What became of every participant of a run."""

    complete: tuple[completion.Record, ...]  # done by an earlier run
    outcomes: tuple[Outcome, ...]
    index_failures: tuple[SubjectFailure, ...]
    not_started: int

    @property
    def failures(self) -> tuple[tuple[SubjectFailure, Path | None], ...]:
        """Each failure and the file with its traceback."""
        worked = [(outcome.failure, outcome.crash) for outcome in self.outcomes if outcome.failure]
        return tuple(sorted([*worked, *((failure, None) for failure in self.index_failures)], key=lambda item: item[0].subject))

    def text(self, root: Path, log: RunLog) -> str:
        """What was found per participant and where the page lies; then failures with reasons, and how many of each."""
        good = [(r.subject, completion.summary_of(r), root / r.report if r.report else None) for r in self.complete]
        good += [(o.subject, o.summary, o.report) for o in self.outcomes if o.failure is None]
        lines = [f"sub-{subject}: {what}" + (f"; report {page}" if page else "") for subject, what, page in sorted(good, key=itemgetter(0))]
        for failure, crash in self.failures:
            lines.append(f"sub-{failure.subject}: FAILED in {failure.stage}: {failure.message}" + (f" Traceback: {crash}" if crash else ""))
        counts = {"done": len(good) - len(self.complete), "complete before": len(self.complete), "failed": len(self.failures)}
        counts["not done"] = self.not_started
        said = ", ".join(f"{n} {what}" for what, n in counts.items() if n)
        return "\n".join([*lines, f"participants: {said or 'none'}. Log: {log.folder}"])


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as aligned plain text; the first row is the header."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
