"""Results of cases to the small tables that are kept in the repository; every figure of the docs is read from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from benchmarks.accuracy.calibration import Calibration
from benchmarks.accuracy.candidates import SMALLEST_MM3, SMOOTHING_MM
from benchmarks.accuracy.contrast import SIZES_MM3, size_name
from benchmarks.accuracy.results import CaseResult
from benchmarks.accuracy.summary import (
    LIMITS_MM3,
    Figures,
    Outcome,
    Point,
    Read,
    Share,
    Sweep,
    best_f1,
    figures,
    operating_point,
    outcome,
    points_of,
    read_at,
    sweep,
)
from bids_app.tables import Column

Row = dict[str, object]
Score = Callable[[Outcome], tuple[float, ...]]
METHODS = {  # each with its variants and the size limits that it may choose from: the network keeps to that of segment
    "network": (("network",), (SMALLEST_MM3,)),
    "subtraction": (("subtraction",), LIMITS_MM3),
    "difference": (tuple(f"difference, {mm:g} mm" for mm in SMOOTHING_MM), LIMITS_MM3),
}
COUNTED_MM3 = 10.0  # lesions of real pairs are counted from here on

STORED, CROSSED, ALLOWED, BEST = "stored", "cross-validated", "at most 0.2 false", "best F1"
READINGS = {
    STORED: "At the threshold that the shipped file has, chosen on all of these cases; pieces above 3 mm3",
    CROSSED: "Each model's cases at the threshold chosen on the other models' cases; pieces above 3 mm3",
    ALLOWED: "Threshold (of a baseline also size limit) with the most lesions of 50 mm3 or more found "
    "at 0.2 false new lesions per null pair at most, chosen on these very cases",
    BEST: "Threshold (of a baseline also size limit) with the best mean F1, chosen on these very cases",
}


def _columns(sizes: Sequence[str]) -> dict[str, Column]:
    columns = {}
    for size in sizes:
        columns[f"found {size}"] = Column(f"New lesions of {size} mm3 that were found (more than a tenth of them covered)")
        columns[f"of {size}"] = Column(f"New lesions of {size} mm3")
        columns[f"low {size}"] = Column("Lower end of Wilson's 95 % interval of the share")
        columns[f"high {size}"] = Column("Upper end of it")
    return columns


SIZES = (*(size_name(*s) for s in SIZES_MM3), ">= 50")
INJECTION = {
    "method": Column("network, subtraction (of single-visit maps) or difference (image)"),
    "reading": Column("How threshold and size limit were chosen", levels=READINGS),
    "threshold": Column("Probability, or robust SD of the difference image"),
    "peak": Column("Probability that a piece must reach somewhere; 0: none"),
    "limit_mm3": Column("Pieces must be larger", "mm3"),
    "pairs": Column("Pairs with lesions"),
    "nulls": Column("Null pairs"),
    **_columns(SIZES),
    "false_per_null": Column("False new lesions per null pair"),
    "false_per_null_low": Column("Lower end of the 95 % interval, pairs drawn again"),
    "false_per_null_high": Column("Upper end of it"),
    "false_per_pair": Column("False new lesions per pair with lesions"),
    "false_on_stable": Column("of which on lesions that are there at both visits"),
    "false_on_resolved": Column("of which on lesions that are there at the baseline only"),
    "dice": Column("Mean Dice of the new-lesion map over pairs with lesions"),
    "dice_low": Column("Lower end of the 95 % interval"),
    "dice_high": Column("Upper end of it"),
    "f1": Column("Mean lesion F1 (MSSEG test) over pairs with lesions"),
}


def injection_rows(cases: Sequence[CaseResult], final: Calibration, by_model: Mapping[str, Calibration]) -> list[Row]:
    """The network at three readings, each baseline at its own best."""
    made = [case for case in cases if case.kind in {"pair", "null"}]
    rows = [injection_row("network", STORED, final.new, read_at(made, "network", final.new))]
    crossed = [pair for case in made for pair in read_at([case], "network", by_model[case.model].new) if case.model in by_model]
    rows.append(injection_row("network", CROSSED, None, crossed))
    for method, (names, limits_mm3) in METHODS.items():
        swept = [row for name in names for row in sweep(made, name, limits_mm3)]
        for reading, choose in ((ALLOWED, operating_point), (BEST, best_f1)):
            chosen: Sweep = choose(swept)
            rows.append(injection_row(method, reading, chosen.point, read_at(made, chosen.method, chosen.point)))
    return rows


def injection_row(method: str, reading: str, point: Point | None, read: Read) -> Row:
    """One line of the table. `point`: None where it differs between cases."""
    found: Figures = figures(read)
    row: Row = {
        "method": method,
        "reading": reading,
        "threshold": math.nan if point is None else point.threshold,
        "peak": math.nan if point is None else point.peak,
        "limit_mm3": math.nan if point is None else point.limit_mm3,
        "pairs": sum(case.kind == "pair" for case, _ in read),
        "nulls": sum(case.kind == "null" for case, _ in read),
    }
    for size, share in zip(SIZES, (*found.by_size, found.large), strict=True):
        row |= share_cells(size, share)
    return row | {
        "false_per_null": found.false_per_null.value,
        "false_per_null_low": found.false_per_null.interval.low,
        "false_per_null_high": found.false_per_null.interval.high,
        "false_per_pair": found.false_per_pair.value,
        "false_on_stable": found.false_on_stable,
        "false_on_resolved": found.false_on_resolved,
        "dice": found.dice.value,
        "dice_low": found.dice.interval.low,
        "dice_high": found.dice.interval.high,
        "f1": found.f1.value,
    }


def share_cells(size: str, share: Share) -> Row:
    """k, n and the interval of one size."""
    return {
        f"found {size}": share.k,
        f"of {size}": share.n,
        f"low {size}": share.interval.low,
        f"high {size}": share.interval.high,
    }


BY_SCAN = {
    "scan": Column("Scan that the pairs were made from"),
    "model": Column("Model that was scored on it"),
    "pairs": Column("Pairs with lesions, and as many null pairs"),
    **_columns((">= 50",)),
    "false_per_null": Column("False new lesions per null pair"),
    "dice": Column("Mean Dice over pairs with lesions"),
}


def by_scan_rows(cases: Sequence[CaseResult], final: Calibration) -> list[Row]:
    """The network at the stored threshold, for each background by itself."""
    made = [case for case in cases if case.kind in {"pair", "null"}]
    scans = sorted({scan_of(case) for case in made})
    rows: list[Row] = []
    for scan in scans:
        own = [case for case in made if scan_of(case) == scan]
        found = figures(read_at(own, "network", final.new))
        n = sum(case.kind == "pair" for case in own)
        row: Row = {"scan": scan, "model": own[0].model, "pairs": n, **share_cells(">= 50", found.large)}
        rows.append(row | {"false_per_null": found.false_per_null.value, "dice": found.dice.value})
    return rows


def scan_of(case: CaseResult) -> str:
    """'sub-cs07' of 'pair-002_sub-cs07'."""
    return case.name.split("_", 1)[1]


SWEEP = {
    "threshold": Column("Probability"),
    "found >= 50": Column("Share of the new lesions of 50 mm3 or more that were found"),
    "found": Column("Share of all new lesions that were found"),
    "false_per_null": Column("False new lesions per null pair"),
    "dice": Column("Mean Dice over pairs with lesions"),
    "f1": Column("Mean lesion F1 over pairs with lesions"),
}


def sweep_rows(cases: Sequence[CaseResult]) -> list[Row]:
    """The network at every threshold, pieces above 3 mm3."""
    return [
        {
            "threshold": r.point.threshold,
            "found >= 50": r.large,
            "found": r.every,
            "false_per_null": r.false_per_null,
            "dice": r.dice,
            "f1": r.f1,
        }
        for r in sweep(cases, "network")
        if not r.point.peak
    ]


REAL = {
    "case": Column("Participant and follow-up"),
    "model": Column("Model that never saw the participant"),
    "method": Column("network, subtraction (of single-visit maps) or difference (image)"),
    "reading": Column("How threshold and size limit were chosen; 'best F1': on this very case", levels=READINGS),
    "threshold": Column("Probability, or robust SD of the difference image"),
    "peak": Column("Probability that a piece must reach somewhere; 0: none"),
    "limit_mm3": Column("Pieces must be larger", "mm3"),
    "found": Column("Brighter components of 10 mm3 or more that were found"),
    "of": Column("Brighter components of 10 mm3 or more"),
    "precision": Column("Share of the marked pieces that touch brighter change; those that touch other change only are ignored"),
    "dice": Column("Dice for brighter change, the rest of the change ignored"),
    "f1": Column("Lesion F1 (MSSEG test), the rest of the change ignored"),
    "volume_mm3": Column("Marked volume", "mm3"),
    "reference_mm3": Column("Volume of the brighter change", "mm3"),
    "false_reversed": Column("New lesions marked in the pair read backwards that touch no darker change; network only"),
    "false_same": Column("New lesions marked where a scan meets itself, both visits together; network only"),
}
ALL = {
    "case": Column("Participant"),
    "model": Column("Model that never saw the participant"),
    "reading": Column("How the threshold was chosen", levels=READINGS),
    "threshold": Column("Probability"),
    "dice": Column("Dice of the all-lesion map"),
    "f1": Column("Lesion F1 (MSSEG test)"),
    "found": Column("Lesions above 3 mm3 that were found"),
    "of": Column("Lesions above 3 mm3"),
    "false": Column("Marked pieces that touch no lesion"),
    "volume_mm3": Column("Marked volume", "mm3"),
    "reference_mm3": Column("Volume of the label", "mm3"),
}


def real_rows(cases: Sequence[CaseResult], by_model: Mapping[str, Calibration]) -> list[Row]:
    """The labelled pairs: the network at the threshold of the other models' cases and at its best, each baseline at its best."""
    rows: list[Row] = []
    for case in [c for c in cases if c.kind == "real" and c.of("network")]:
        point = by_model[case.model].new
        rows.append(real_row(case, "network", "network", CROSSED, point) | false_alarms(cases, case, point))
        for method, (names, limits_mm3) in METHODS.items():
            name, best = best_of(case, names, limits_mm3, lambda o: (or_zero(o.f1_msseg), or_zero(o.dice)))
            more = false_alarms(cases, case, best) if method == "network" else {}
            rows.append(real_row(case, method, name, BEST, best) | more)
    return rows


def best_of(
    case: CaseResult, names: Sequence[str], limits_mm3: Sequence[float], score: Callable[[Outcome], tuple[float, ...]]
) -> tuple[str, Point]:
    """The method's name and point with the highest score in one case."""
    tried = [
        (score(outcome(found, point)), name, point)
        for name in names
        if (found := case.of(name)) is not None
        for point in points_of(name, found.thresholds, limits_mm3)
    ]
    _, name, point = max(tried, key=lambda item: item[0])
    return name, point


def or_zero(value: float) -> float:
    """0 for NaN."""
    return 0.0 if math.isnan(value) else value


def real_row(case: CaseResult, method: str, name: str, reading: str, point: Point) -> Row:
    """One method on one labelled pair."""
    found = case.of(name)
    assert found is not None
    seen = outcome(found, point)
    counted = [t for t in seen.wanted if t.volume_mm3 >= COUNTED_MM3]
    return {
        "case": case.name.removeprefix("new-"),
        "model": case.model,
        "method": method,
        "reading": reading,
        "threshold": point.threshold,
        "peak": point.peak,
        "limit_mm3": point.limit_mm3,
        "found": sum(t.number in seen.detected for t in counted),
        "of": len(counted),
        "precision": seen.precision,
        "dice": seen.dice,
        "f1": seen.f1_msseg,
        "volume_mm3": seen.predicted_mm3,
        "reference_mm3": seen.reference_mm3,
    }


def false_alarms(cases: Sequence[CaseResult], pair: CaseResult, point: Point) -> Row:
    """False new lesions of the pair backwards, and of its scans against themselves."""
    own = [case for case in cases if case.subject == pair.subject]
    counts = {kind: [o.n_false for _, o in read_at([c for c in own if c.kind == kind], "network", point)] for kind in ("reversed", "same")}
    return {f"false_{kind}": sum(values) if values else math.nan for kind, values in counts.items()}


def all_rows(cases: Sequence[CaseResult], by_model: Mapping[str, Calibration]) -> list[Row]:
    """The labelled single scans, at the threshold that the other models' cases gave."""
    rows: list[Row] = []
    for case in cases:
        found = case.of("network, all")
        if case.kind != "real" or found is None:
            continue
        threshold = by_model[case.model].threshold_all
        seen = outcome(found, Point(threshold))
        rows.append(
            {
                "case": case.name.removeprefix("all-"), "model": case.model, "reading": CROSSED, "threshold": threshold,
                "dice": seen.dice, "f1": seen.f1_msseg, "found": len(seen.detected), "of": len(seen.wanted), "false": seen.n_false,
                "volume_mm3": seen.predicted_mm3, "reference_mm3": seen.reference_mm3,
            }
        )  # fmt: skip
    return rows
