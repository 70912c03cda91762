"""What a run says of its participants as plain text: before it (--dry-run) and at its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from bids_app.cases import PreparedScan, Scan, SubjectFailure, pairs_of
from coactseg_cli import completion
from coactseg_cli.config import Pairing
from coactseg_cli.logs import RunLog
from coactseg_cli.participant import Outcome

if TYPE_CHECKING:
    from bids_app.dataset import Index, PreparedIndex


def listing(index: Index | PreparedIndex, root: Path, how: Pairing | None) -> str:
    """Plain text for --dry-run: a row per scan, the pairs, and who cannot be done.

    Args:
        index: participants.
        root: raw data set; scans are named below it.
        how: which visits are compared; None: none are.
    """
    rows = [("participant", "session", "time", "scan")]
    pairs: list[str] = []
    for timeline in index.timelines:
        visits: Sequence[Scan | PreparedScan] = timeline.visits
        names = [f"ses-{visit.session}" if visit.session else "n/a" for visit in visits]
        for name, visit in zip(names, visits, strict=True):
            path, time = _scan(visit, root)
            rows.append((f"sub-{timeline.subject}", name, time, path))
        if how is not None:
            found = pairs_of(len(names), how)
            pairs += [f"pair: sub-{timeline.subject} {names[p.baseline]} -> {names[p.followup]}" for p in found]
    failures = [f"cannot be done: sub-{failure.subject}: {failure.message}" for failure in index.failures]
    return "\n".join([table(rows), *pairs, *failures])


def _scan(visit: Scan | PreparedScan, root: Path) -> tuple[str, str]:
    """File of a visit, below the data set where it lies in it, and its time."""
    if isinstance(visit, PreparedScan):
        return str(visit.image), "n/a"
    return completion.below(visit.path, root), visit.time.isoformat() if visit.time else "n/a"


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
