"""A check as a value: what was measured, its limits, and what to do; rows for a table. Measures nothing and stops nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bids_app.tables import Column


@dataclass(frozen=True, slots=True)
class Check:
    """One check that was made, passed or not."""

    name: str  # slice-thickness, registration-residual, ...
    session: str | None  # the visit; for a comparison the later one
    value: float
    units: str | None  # mm, ml, %, ...; None: a ratio, a score or a count
    low: float | None  # limits of what is usual; None: no limit on that side
    high: float | None
    flagged: bool  # the value lies outside the limits
    reason: str  # one sentence: what it means, and what to do

    @property
    def message(self) -> str:
        """A line for a log or a page: name, value, limits, reason."""
        units = f" {self.units}" if self.units else ""
        bounds = [f"{words} {limit:g}" for words, limit in (("at least", self.low), ("at most", self.high)) if limit is not None]
        return f"{self.name}: {self.value:.3g}{units} (usual: {' and '.join(bounds) or 'anything'}). {self.reason}"


@dataclass(frozen=True, slots=True)
class Rule:
    """What is usual of one measured value."""

    name: str
    units: str | None
    reason: str
    low: float | None = None
    high: float | None = None

    def judge(self, value: float, session: str | None) -> tuple[Check, ...]:
        """The check of one value; none where the value is undefined (NaN): what could not be measured was not checked."""
        if math.isnan(value):
            return ()
        outside = (self.low is not None and value < self.low) or (self.high is not None and value > self.high)
        return (Check(self.name, session, value, self.units, self.low, self.high, outside, self.reason),)


COLUMNS = {
    "session_id": Column("Session; for a comparison of two visits the later one"),
    "name": Column("Name of the check (docs/quality-flags.md)"),
    "value": Column("What was measured"),
    "units": Column("Unit of value, low and high; n/a for ratios, scores and counts"),
    "low": Column("Lowest usual value; n/a where there is no limit below"),
    "high": Column("Highest usual value; n/a where there is no limit above"),
    "flagged": Column("Whether the value lies outside the limits", levels={"0": "within the limits", "1": "look at it"}),
    "reason": Column("What the check means, and what to do where it is flagged"),
}


def rows(checks: Iterable[Check]) -> list[Mapping[str, object]]:
    """One row per check, by the names of COLUMNS."""
    return [
        {
            "session_id": None if c.session is None else f"ses-{c.session}",
            "name": c.name,
            "value": c.value,
            "units": c.units,
            "low": c.low,
            "high": c.high,
            "flagged": int(c.flagged),
            "reason": c.reason,
        }
        for c in checks
    ]


def flagged(checks: Iterable[Check]) -> tuple[Check, ...]:
    """Those outside their limits."""
    return tuple(c for c in checks if c.flagged)


def flag_names(checks: Sequence[Check], session: str | None) -> tuple[str, ...]:
    """Names of the flags of one visit, each once, in order."""
    return tuple(dict.fromkeys(c.name for c in checks if c.flagged and c.session == session))
