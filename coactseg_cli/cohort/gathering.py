"""One or several output folders of segment -> all rows of the cohort. A participant that cannot be read is a row with the reason."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bids_app.derivatives import dataset_places
from bids_app.errors import BidsAppError
from bids_app.tables import Column
from coactseg_cli.cohort import results
from coactseg_cli.cohort.columns import COLUMNS, NA, Cells, RowType, Status
from coactseg_cli.cohort.folder import Folder, State, look, states_without_record
from coactseg_cli.errors import InvalidConfig

_NOT_COMPARED = frozenset({"output", "report"})  # differ between two copies of the same results
MOST_NAMED = 3  # conflicts that an error spells out


@dataclass(frozen=True, slots=True)
class Cohort:
    """Everything that group_lesions and its page are made of."""

    rows: tuple[Cells, ...]  # by participant; visits in temporal order, then pairs
    flags: tuple[Cells, ...]
    columns: Mapping[str, Column]
    problems: tuple[str, ...]  # files that are broken: exit code 1
    outputs: tuple[str, ...]  # folders, as the column `output` names them
    without_raw: tuple[str, ...]  # those of them whose raw data set cannot be reached

    @property
    def visits(self) -> tuple[Cells, ...]:
        """Rows of visits."""
        return tuple(row for row in self.rows if row["row_type"] == RowType.VISIT)

    @property
    def pairs(self) -> tuple[Cells, ...]:
        """Rows of pairs."""
        return tuple(row for row in self.rows if row["row_type"] == RowType.PAIR)

    @property
    def not_done(self) -> tuple[Cells, ...]:
        """Rows of participants without results."""
        return tuple(row for row in self.rows if row["row_type"] == RowType.PARTICIPANT)


@dataclass(frozen=True, slots=True)
class _Part:
    """What one output folder gives."""

    folder: Folder
    name: str  # as the column `output` says it
    rows: tuple[Cells, ...]
    flags: tuple[Cells, ...]
    columns: Mapping[str, Column]
    problems: tuple[str, ...]


def gather(out_dir: Path, others: Sequence[Path] = (), raw: Path | None = None) -> Cohort:
    """Read every participant of the output folders.

    Args:
        out_dir: where the tables will lie; pages are named as seen from there.
        others: further output folders.
        raw: the raw data set of out_dir, where its link leads nowhere.

    Raises: NoInput for a folder that is not there; InvalidConfig where two folders say different things of one visit.
    """
    roots = {root.resolve(): root for root in (out_dir, *others)}  # a folder that is named twice is read once
    parts = [_read(look(root, raw if i == 0 else None), out_dir) for i, root in enumerate(roots.values())]
    rows = _without_repetition(_merge(parts))
    kept = {(row["participant_id"], row["output"]) for row in rows}
    columns = dict(COLUMNS)
    for part in parts:
        columns |= {name: column for name, column in part.columns.items() if name not in columns}
    flags = [flag for part in parts for flag in part.flags if (flag["participant_id"], flag["output"]) in kept]
    return Cohort(
        tuple({name: row.get(name, NA) for name in columns} for row in rows),
        tuple(sorted(flags, key=_by_participant)),
        columns,
        tuple(problem for part in parts for problem in part.problems),
        tuple(part.name for part in parts),
        tuple(part.name for part in parts if part.folder.raw_subjects is None),
    )


def _by_participant(row: Cells) -> str:
    return row["participant_id"]


# ---- one folder


def _read(folder: Folder, base: Path) -> _Part:
    name = Path(os.path.relpath(folder.root, base)).as_posix()
    places, problems = _places(folder.root), list(folder.problems)
    found: dict[str, results.Found] = {}
    states: dict[str, State] = {}
    for subject in folder.subjects:
        try:
            found[subject] = results.read(folder.root, subject, places)
        except (BidsAppError, OSError) as error:
            states[subject] = State(Status.UNREADABLE, " ".join(str(error).split()))
            problems.append(f"sub-{subject}: {states[subject].reason}")
    segmented = {subject for subject, one in found.items() if one.rows}
    states |= _unfinished(folder, found.keys() - states.keys(), segmented)
    states |= {s: State(Status.NOT_STARTED, "no run has begun it") for s in set(folder.raw_subjects or ()) - set(folder.subjects)}
    rows: list[Cells] = []
    flags: list[Cells] = []
    for subject in sorted({*found, *states}):
        about = {"participant_id": f"sub-{subject}", "output": name, "report": _page(folder.root, subject, base)}
        if (state := states.get(subject)) is not None:
            rows.append(about | {"row_type": RowType.PARTICIPANT.value, "status": state.status.value, "reason": state.reason or NA})
        else:
            rows += [row | about | {"status": Status.DONE.value, "reason": NA} for row in found[subject].rows]
            flags += [flag | {"participant_id": about["participant_id"], "output": name} for flag in found[subject].flags]
    columns = {name: column for one in found.values() for name, column in one.columns.items()}
    return _Part(folder, name, tuple(rows), tuple(flags), columns, tuple(problems))


def _places(root: Path) -> dict[str, Path]:
    """The data sets that the folder links to; none where its description is missing or broken, which folder.look has said."""
    try:
        return dataset_places(root)
    except (BidsAppError, AttributeError):
        return {"": root}


def _unfinished(folder: Folder, subjects: set[str], segmented: set[str]) -> dict[str, State]:
    """The states of those who are not done."""
    complete = folder.complete or frozenset()
    prepared = {s: State(Status.NOT_STARTED, "prepared, and not segmented yet") for s in (subjects & complete) - segmented}
    return prepared | states_without_record(folder, subjects - complete, segmented)


def _page(root: Path, subject: str, base: Path) -> str:
    page = root / f"sub-{subject}.html"
    return Path(os.path.relpath(page, base)).as_posix() if page.is_file() else NA


# ---- several folders


def _merge(parts: Sequence[_Part]) -> list[Cells]:
    """The rows of all folders, by participant; of the same results in two folders the first are kept.

    Raises: InvalidConfig where two folders have different results of one visit or pair.
    """
    seen: dict[tuple[str, ...], tuple[Cells, _Part]] = {}
    merged: list[Cells] = []
    conflicts: list[str] = []
    for part in parts:
        for row in part.rows:
            key = tuple(row.get(name, NA) for name in ("participant_id", "row_type", "session_id", "baseline_session_id"))
            if row["row_type"] == RowType.PARTICIPANT or key not in seen:
                seen[key] = (row, part)
                merged.append(row)
            elif (differing := _first_difference(seen[key][0], row)) is not None:
                conflicts.append(_conflict(key, differing, (seen[key], (row, part))))
    if conflicts:
        more = f", and {len(conflicts) - MOST_NAMED} more" if len(conflicts) > MOST_NAMED else ""
        msg = f"{'; '.join(conflicts[:MOST_NAMED])}{more}. Merge folders that do not share visits, or leave one of them out."
        raise InvalidConfig(msg)
    return sorted(merged, key=_by_participant)


def _first_difference(one: Cells, other: Cells) -> str | None:
    names = [name for name in {**one, **other} if name not in _NOT_COMPARED]
    return next((name for name in names if one.get(name, NA) != other.get(name, NA)), None)


def _conflict(key: tuple[str, ...], column: str, both: tuple[tuple[Cells, _Part], tuple[Cells, _Part]]) -> str:
    said = " and ".join(f"{part.folder.root} ({column} {row.get(column, NA)})" for row, part in both)
    visit = f" {key[2]}" if key[2] != NA else ""
    return f"{key[0]}{visit} is in {said} with different results"


def _without_repetition(rows: list[Cells]) -> list[Cells]:
    """Leave out that a participant was not started in one folder where another folder knows more of it, or says the same."""
    known = {row["participant_id"] for row in rows if row["status"] != Status.NOT_STARTED}
    kept: list[Cells] = []
    for row in rows:
        if row["status"] == Status.NOT_STARTED:
            if row["participant_id"] in known:
                continue
            known.add(row["participant_id"])
        kept.append(row)
    return kept
