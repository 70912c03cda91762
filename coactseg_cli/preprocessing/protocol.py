"""Changes of scanner and protocol between visits, read from the sidecars of the raw scans. Looks at no voxel."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from coactseg_cli.preprocessing.quality import Check

TEXTS = ("Manufacturer", "ManufacturersModelName", "SoftwareVersions", "MRAcquisitionType", "ContrastBolusIngredient")
NUMBERS = {  # BIDS field to the largest usual change, per cent: rounding and the scanner's own adjustment stay below
    "MagneticFieldStrength": 5.0,  # 2.89 T is sold as 3 T
    "RepetitionTime": 10.0,
    "EchoTime": 10.0,
    "InversionTime": 5.0,
    "SliceThickness": 10.0,
}
_NOTHING = {"", "n/a", "none", "unknown"}
_MEANS = {
    "SoftwareVersions": "its images may differ a little.",
    "ContrastBolusIngredient": "contrast agent brightens lesions and vessels, so new and enlarging lesions may be its work.",
    "SliceThickness": "lesions thinner than a slice come and go, and volumes cannot be compared closely.",
}
_OTHERWISE = "contrast and noise differ, so read small new lesions with care."


def protocol_checks(sidecars: Sequence[Mapping[str, Any]], sessions: Sequence[str | None]) -> tuple[Check, ...]:
    """What changed from each visit to the next; a field that either visit lacks is not checked: unknown is no change.

    Args:
        sidecars: per visit the JSON of the raw scan, with what it inherits; empty where unknown.
        sessions: per visit.
    """
    checks: list[Check] = []
    for i in range(1, len(sidecars)):
        before, after = sidecars[i - 1], sidecars[i]
        checks += [c for field in TEXTS for c in _text_check(field, before.get(field), after.get(field), sessions[i])]
        checks += [c for field in NUMBERS for c in _number_check(field, before.get(field), after.get(field), sessions[i])]
    return tuple(checks)


def name_of(field: str) -> str:
    """'EchoTime' -> 'protocol-echo-time'."""
    return "protocol-" + "-".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]+", field)).lower()


def _text_check(field: str, before: Any, after: Any, session: str | None) -> list[Check]:
    if _plain(before) in _NOTHING or _plain(after) in _NOTHING:
        return []
    changed = _plain(before) != _plain(after)
    return [Check(name_of(field), session, float(changed), None, None, 0.0, changed, _reason(field, before, after, changed))]


def _plain(value: Any) -> str:
    return "" if value is None else " ".join(str(value).split()).casefold()


def _number_check(field: str, before: Any, after: Any, session: str | None) -> list[Check]:
    if not (_positive(before) and _positive(after)):
        return []
    percent, limit = 100.0 * (float(after) / float(before) - 1.0), NUMBERS[field]
    changed = abs(percent) > limit
    return [Check(name_of(field), session, percent, "%", -limit, limit, changed, _reason(field, before, after, changed))]


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def _reason(field: str, before: Any, after: Any, changed: bool) -> str:
    values = f"{before!s:.80} then, {after!s:.80} now"
    if not changed:
        return f"{field} is that of the visit before ({values}): nothing to do."
    return f"{field} changed since the visit before ({values}): {_MEANS.get(field, _OTHERWISE)}"
