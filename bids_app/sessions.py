"""The visits of a participant in temporal order, from sessions.tsv or scans.tsv, else by label."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bids_app.cases import Scan
from bids_app.errors import InvalidDataset
from bids_app.tables import read_table


def in_order(scans: Sequence[Scan], subject_dir: Path) -> tuple[Scan, ...]:
    """Sort one scan per visit by acq_time of sessions.tsv where every visit has one, else of scans.tsv, else by label.

    Args:
        scans: one per visit.
        subject_dir: sub-XX of the raw data set.

    Returns: the scans with the time they were sorted by.
    Raises: InvalidDataset for a broken table or time: the order decides what is new.
    """
    for times in (_session_times(scans, subject_dir), _scan_times(scans, subject_dir)):
        if scans and all(time is not None for time in times):
            timed = [replace(scan, time=time) for scan, time in zip(scans, times, strict=True)]
            return tuple(sorted(timed, key=lambda scan: (scan.time or datetime.min, natural(scan.session or ""))))
    return tuple(sorted(scans, key=lambda scan: natural(scan.session or "")))


def natural(label: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which 'm2' precedes 'm10'."""
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", label) if part)


def parse_time(text: str, path: Path) -> datetime | None:
    """Read an acq_time, None for 'n/a'; an offset is converted to UTC and dropped. Raises: InvalidDataset."""
    if text in {"n/a", ""}:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        msg = f"{path}: acq_time {text!r} is not a time like 2020-01-31T12:00:00. Correct it, or write n/a to order the visits by label."
        raise InvalidDataset(msg) from error
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time


def _session_times(scans: Sequence[Scan], subject_dir: Path) -> list[datetime | None]:
    path = subject_dir / f"{subject_dir.name}_sessions.tsv"
    times = _times(path, "session_id")
    return [times.get(f"ses-{scan.session}") for scan in scans]


def _scan_times(scans: Sequence[Scan], subject_dir: Path) -> list[datetime | None]:
    found: list[datetime | None] = []
    for scan in scans:
        folder = subject_dir if scan.session is None else subject_dir / f"ses-{scan.session}"
        times = _times(folder / f"{scan.entities.visit()}_scans.tsv", "filename")
        found.append(times.get(f"{scan.path.parent.name}/{scan.path.name}"))
    return found


def _times(path: Path, key: str) -> dict[str, datetime | None]:
    """Value of the key column to acq_time; empty where the file or a column is missing."""
    if not path.is_file():
        return {}
    return {row[key]: parse_time(row["acq_time"], path) for row in read_table(path) if key in row and "acq_time" in row}
