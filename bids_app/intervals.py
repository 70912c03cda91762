"""Days between the visits of a participant: from acquisition times, else from a column of the raw sessions table. Reads no image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from bids_app.errors import InvalidDataset
from bids_app.tables import number, read_table

DAY_COLUMNS = ("days", "days_since_baseline", "delta_days")  # days since the first visit (or any fixed day), the first that is there counts
SECONDS_PER_DAY = 86400.0


def days_since_first(
    sessions: Sequence[str | None], times: Sequence[datetime | None], raw: Path | None, subject: str
) -> list[float | None]:
    """Days from the first visit to each; None where unknown.

    Every visit has an acquisition time, or else a number in one of DAY_COLUMNS of raw/sub-XX/sub-XX_sessions.tsv that increases from
    visit to visit; otherwise nothing is known.

    Args:
        sessions: labels without 'ses-', in temporal order.
        times: acquisition times of the same visits.
        raw: the raw data set; None where it is not at hand.
        subject: label without 'sub-'.

    Raises: InvalidDataset for a broken table, NoInput where it cannot be read.
    """
    known = [time for time in times if time is not None]
    if len(known) == len(times) and known:
        return [(time - known[0]).total_seconds() / SECONDS_PER_DAY for time in known]
    days = _column(sessions, raw, subject)
    if any(math.isnan(day) for day in days) or any(b <= a for a, b in pairwise(days)):
        return [0.0, *[None] * (len(sessions) - 1)] if sessions else []
    return [day - days[0] for day in days]


def _column(sessions: Sequence[str | None], raw: Path | None, subject: str) -> list[float]:
    """The column of days, NaN where there is none."""
    path = None if raw is None else raw / f"sub-{subject}" / f"sub-{subject}_sessions.tsv"
    rows = {row.get("session_id", ""): row for row in read_table(path)} if path is not None and path.is_file() else {}
    found = [rows.get(f"ses-{session}", {}) for session in sessions]
    name = next((column for column in DAY_COLUMNS if found and all(column in row for row in found)), None)
    if name is None:
        return [math.nan] * len(sessions)
    try:
        return [number(row[name]) for row in found]
    except InvalidDataset as error:
        msg = f"{path}: column {name}: {error} Give days as numbers."
        raise InvalidDataset(msg) from error
