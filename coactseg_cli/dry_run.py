"""What a run would do: who, with which scans and pairs, and who is done or cannot be done; as text or JSON. Writes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_app.cases import PreparedScan, PreparedTimeline, Scan, Timeline, pairs_of
from bids_app.errors import MadeDifferently
from coactseg_cli import __version__, completion
from coactseg_cli.config import Pairing
from coactseg_cli.logs import printable
from coactseg_cli.summary import table

if TYPE_CHECKING:
    from bids_app.dataset import Index, PreparedIndex

SCHEMA_VERSION = 1  # of the JSON: a number that changes when a key changes its meaning or goes


class State(StrEnum):
    """Where a participant stands; the words of the JSON, with spaces in the text."""

    COMPLETE = "complete"
    TO_DO = "to_do"
    CHANGED = "changed"  # has results, of other inputs or choices, or files are missing: done again
    IMPOSSIBLE = "cannot_be_done"

    @property
    def words(self) -> str:
        """For readers."""
        return self.value.replace("_", " ")


@dataclass(frozen=True, slots=True)
class Visit:
    """One scan that would be used."""

    session: str | None  # 'ses-01'; None for a data set without sessions
    path: str  # below the data set that is read
    time: str | None  # acq_time, ISO 8601


@dataclass(frozen=True, slots=True)
class Entry:
    """One participant."""

    participant: str  # 'sub-01'
    state: State
    reason: str = ""
    visits: tuple[Visit, ...] = ()  # in temporal order
    pairs: tuple[tuple[str, str], ...] = ()  # sessions of baseline and follow-up


@dataclass(frozen=True, slots=True)
class Question:
    """What a run is asked to do, as far as it decides who stands where."""

    out_dir: Path
    raw: Path  # data set whose scans give the fingerprints
    read: Path  # data set that is read: scans are named below it
    pairing: Pairing | None  # None: nothing is compared
    wanted: Mapping[str, str] | None  # choices of this run; None: everybody is done again
    again: str = ""  # the option that does everybody again
    self_check: bool = False
    force: bool = False
    segments: bool = True  # False: prep


@dataclass(frozen=True, slots=True)
class Listing:
    """Everybody, and why no run would start at all."""

    question: Question
    entries: tuple[Entry, ...]
    refused: str = ""  # OUT holds results made with other choices

    @property
    def exit_code(self) -> int:
        """0 where something is complete or can be done; 1 where a run could do nothing for anybody."""
        return 0 if any(entry.state is not State.IMPOSSIBLE for entry in self.entries) else 1

    @property
    def counts(self) -> dict[State, int]:
        """Participants in each state."""
        return {state: sum(entry.state is state for entry in self.entries) for state in State}

    def text(self) -> str:
        """A row per scan, a line per pair, a line per participant, how many of each."""
        rows = [("participant", "session", "time", "scan")]
        rows += [(e.participant, v.session or "n/a", v.time or "n/a", v.path) for e in self.entries for v in e.visits]
        pairs = [f"pair: {e.participant} {baseline} -> {followup}" for e in self.entries for baseline, followup in e.pairs]
        states = [f"{e.state.words}: {e.participant}" + (f": {e.reason}" if e.reason else "") for e in self.entries]
        counts = ", ".join(f"{n} {state.words}" for state, n in self.counts.items() if n)
        refused = [f"refused: {self.refused}"] if self.refused else []
        return printable("\n".join([table(rows), *pairs, *states, *refused, f"participants: {counts or 'none'}"]))

    def json(self) -> str:
        """The same as one JSON object (docs/dry-run.md)."""
        content: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "coactseg_version": __version__,
            "dataset": str(self.question.read),
            "out_dir": str(self.question.out_dir),
            "refused": self.refused or None,
            "counts": {state.value: n for state, n in self.counts.items()},
            "participants": [_plain(entry) for entry in self.entries],
        }
        return json.dumps(content, indent=1)


def _plain(entry: Entry) -> dict[str, Any]:
    return {
        "participant": entry.participant,
        "state": entry.state.value,
        "reason": entry.reason or None,
        "visits": [{"session": visit.session, "path": visit.path, "time": visit.time} for visit in entry.visits],
        "pairs": [{"baseline": baseline, "followup": followup} for baseline, followup in entry.pairs],
    }


def list_run(index: Index | PreparedIndex, question: Question) -> Listing:
    """Look at everybody of an index, and at what OUT records; reads no image."""
    entries = [_entry(timeline, question) for timeline in index.timelines]
    entries += [Entry(f"sub-{f.subject}", State.IMPOSSIBLE, f.message) for f in index.failures]
    return Listing(question, tuple(entries), _refusal(question, index))


def _refusal(question: Question, index: Index | PreparedIndex) -> str:
    if question.force or question.wanted is None:
        return ""
    try:
        again = completion.made_again(question.out_dir, index.subjects, question.wanted, segments=question.segments)
        completion.refuse_other_choices(question.out_dir, question.wanted, but=again)
    except MadeDifferently as error:
        return str(error)
    return ""


def _entry(timeline: Timeline | PreparedTimeline, question: Question) -> Entry:
    state, reason = _standing(timeline, question)
    scans: Sequence[Scan | PreparedScan] = timeline.visits
    visits = tuple(_visit(scan, question.read) for scan in scans)
    compared = question.pairing is not None and (isinstance(timeline, Timeline) or timeline.comparable)
    pairs = pairs_of(len(visits), question.pairing) if compared and question.pairing is not None else ()
    names = [visit.session or "n/a" for visit in visits]
    return Entry(f"sub-{timeline.subject}", state, reason, visits, tuple((names[p.baseline], names[p.followup]) for p in pairs))


def _visit(scan: Scan | PreparedScan, root: Path) -> Visit:
    path = scan.image if isinstance(scan, PreparedScan) else scan.path
    session = None if scan.session is None else f"ses-{scan.session}"
    return Visit(session, completion.below(path, root), None if scan.time is None else scan.time.isoformat())


def _standing(timeline: Timeline | PreparedTimeline, question: Question) -> tuple[State, str]:
    if question.wanted is None:
        return State.TO_DO, question.again
    record = completion.read(question.out_dir, timeline.subject)
    if record is None:
        begun = (question.out_dir / f"sub-{timeline.subject}").exists()
        return State.TO_DO, "begun, not completed" if begun else ""
    return (State.TO_DO, "--force") if question.force else _standing_of(record, timeline, question, question.wanted)


def _standing_of(
    record: completion.Record, timeline: Timeline | PreparedTimeline, question: Question, wanted: Mapping[str, str]
) -> tuple[State, str]:
    """State of somebody who has results."""
    try:
        inputs = completion.fingerprint(timeline, question.raw)
    except OSError:  # a file that cannot be looked at: the stage that reads it says so
        inputs = ""
    complete = completion.is_complete(question.out_dir, record, inputs, wanted, contents=False)
    if complete and not (question.self_check and not completion.has_self_check(record)):
        return State.COMPLETE, f"since {record.finished}"
    if record.corrected:
        return State.IMPOSSIBLE, "its masks were corrected by hand, and computing again would lose them; --force does it"
    return (
        (State.TO_DO, "the self-check is not made") if complete else (State.CHANGED, _difference(record, inputs, question.out_dir, wanted))
    )


def _difference(record: completion.Record, inputs: str, out_dir: Path, wanted: Mapping[str, str]) -> str:
    """What makes a record one of other results."""
    reasons = ["scans, labels or masks are others than they were"] if record.inputs != inputs else []
    reasons += [f"{key} was {record.choices.get(key)}, now {value}" for key, value in wanted.items() if record.choices.get(key) != value]
    missing = [name for name in record.outputs if not (out_dir / name).is_file()]
    reasons += [f"{len(missing)} of its files are missing, first {missing[0]}"] if missing else []
    return "; ".join(reasons)
