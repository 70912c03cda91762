"""Numbers to the text of a cell: rounded, a true minus, n/a for what is undefined."""

from __future__ import annotations

import math

from bids_app.report import format_cell

UNDEFINED = "n/a"


def number(value: float, digits: int) -> str:
    """Round to digits behind the point."""
    return format_cell(float(value), digits)


def significant(value: float, digits: int = 3) -> str:
    """Round to significant digits, as p values are read."""
    if not math.isfinite(value):
        return UNDEFINED
    return f"{value:.{digits}g}".replace("-", "\N{MINUS SIGN}")


def interval(low: float, high: float, digits: int) -> str:
    """Write an interval: 0.500 to 0.700."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return UNDEFINED
    return f"{number(low, digits)} to {number(high, digits)}"


def estimate(value: float, low: float, high: float, digits: int) -> str:
    """Write a value with its interval: 0.600 [0.500, 0.700]."""
    if not math.isfinite(value):
        return UNDEFINED
    ends = f"{number(low, digits)}, {number(high, digits)}" if math.isfinite(low) and math.isfinite(high) else UNDEFINED
    return f"{number(value, digits)} [{ends}]"


def quartiles(median: float, q25: float, q75: float, digits: int) -> str:
    """Write a median with its quartiles: 0.600 [0.500, 0.700]."""
    return estimate(median, q25, q75, digits)


def share(value: float, low: float, high: float) -> str:
    """Write a proportion with its interval."""
    return estimate(value, low, high, 3)
