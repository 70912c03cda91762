"""Results of cases to figures: sensitivity by size, false lesions, Dice and F1 at a threshold and size limit; the best of these."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.accuracy.candidates import PEAKS, PEAKS_AT, SMALLEST_MM3, Piece
from benchmarks.accuracy.contrast import SIZES_MM3
from benchmarks.accuracy.results import CaseResult, Found, Target
from coactseg_cli.metrics.bootstrap import bootstrap_means
from coactseg_cli.metrics.detection import ALPHA, LesionOverlap, detect, harmonic_mean, keep_large
from coactseg_cli.metrics.proportions import UNDEFINED, Interval, wilson

LIMITS_MM3 = (3.0, 5.0, 10.0, 20.0, 30.0, 50.0, 100.0)  # size limits that the baselines choose from
MOST_FALSE = 0.2  # false new lesions per null pair at the operating point
LARGE_MM3 = 50.0  # lesions from here on are those that must be found


@dataclass(frozen=True, slots=True)
class Point:
    """Where a method is read: probability or SD from the threshold on, pieces above the limit that reach the peak somewhere."""

    threshold: float
    limit_mm3: float = SMALLEST_MM3
    peak: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """One method at one point in one case."""

    wanted: tuple[Target, ...]  # the lesions that it should mark, those above 3 mm3
    detected: frozenset[int]  # numbers of those of which more than a tenth is covered
    false_on_stable: int  # pieces that touch no wanted lesion, but one that was there before
    false_on_resolved: int  # ... but one that went away
    false_elsewhere: int
    true_pieces: int
    dice: float  # NaN without a wanted lesion
    predicted_mm3: float
    reference_mm3: float
    sensitivity_msseg: float
    ppv_msseg: float

    @property
    def n_false(self) -> int:
        """All false pieces."""
        return self.false_on_stable + self.false_on_resolved + self.false_elsewhere

    @property
    def f1_msseg(self) -> float:
        """Of the MSSEG detection test; NaN without a wanted lesion, 0 where nothing is marked."""
        if math.isnan(self.sensitivity_msseg):
            return math.nan
        return 0.0 if math.isnan(self.ppv_msseg) else harmonic_mean(self.sensitivity_msseg, self.ppv_msseg)

    @property
    def precision(self) -> float:
        """Pieces that touch a wanted lesion, of those that touch one or are false; NaN where there is none."""
        n = self.true_pieces + self.n_false
        return self.true_pieces / n if n else math.nan


def outcome(found: Found, point: Point) -> Outcome:
    """Read a method at a point."""
    wanted = {t.number: t for t in found.targets if t.fate == found.wanted and t.volume_mm3 > SMALLEST_MM3}
    fates = {t.number: t.fate for t in found.targets}
    pieces = [
        p
        for p in found.pieces
        if p.threshold == point.threshold and p.volume_mm3 + p.unknown_mm3 > point.limit_mm3 and p.peak >= point.peak
    ]
    covered: dict[int, float] = {}
    false = {"stable": 0, "resolved": 0, "elsewhere": 0}
    n_true = 0
    for piece in pieces:
        for number, shared_mm3 in piece.hits.items():
            covered[number] = covered.get(number, 0.0) + shared_mm3
        touched = {fates[number] for number in piece.hits}
        if found.wanted in touched:
            n_true += 1
        elif not piece.unknown_mm3:
            false["stable" if "stable" in touched else "resolved" if "resolved" in touched else "elsewhere"] += 1
    detected = frozenset(n for n, t in wanted.items() if covered.get(n, 0.0) > ALPHA * t.volume_mm3)
    reference_mm3 = sum(t.volume_mm3 for t in found.targets if t.fate == found.wanted)
    inside_mm3 = sum(mm3 for n, mm3 in covered.items() if fates[n] == found.wanted)
    predicted_mm3 = sum(p.volume_mm3 for p in pieces)
    test = detect(overlap_of(pieces, list(wanted.values())))
    return Outcome(
        tuple(wanted.values()), detected, false["stable"], false["resolved"], false["elsewhere"], n_true,
        2 * inside_mm3 / (predicted_mm3 + reference_mm3) if reference_mm3 else math.nan,
        predicted_mm3, reference_mm3, test.sensitivity, test.ppv,
    )  # fmt: skip


def overlap_of(pieces: Sequence[Piece], wanted: Sequence[Target]) -> LesionOverlap:
    """Pieces and wanted lesions as the MSSEG test takes them, in mm3; what nobody knows of a piece is no part of it."""
    known = [p for p in pieces if p.volume_mm3 > 0]
    place = {t.number: i for i, t in enumerate(wanted)}
    pairs = sorted((place[n], j, mm3) for j, p in enumerate(known) for n, mm3 in p.hits.items() if n in place)
    columns = np.array(pairs).reshape(-1, 3)
    table = LesionOverlap(
        np.arange(1, len(wanted) + 1), np.array([t.volume_mm3 for t in wanted]),
        np.arange(1, len(known) + 1), np.array([p.volume_mm3 for p in known]),
        columns[:, 0].astype(np.int64), columns[:, 1].astype(np.int64), columns[:, 2],
    )  # fmt: skip
    return keep_large(table, 0)


@dataclass(frozen=True, slots=True)
class Share:
    """k of n with Wilson's interval."""

    k: int
    n: int

    @property
    def value(self) -> float:
        """NaN for n = 0."""
        return self.k / self.n if self.n else math.nan

    @property
    def interval(self) -> Interval:
        """95 %."""
        return wilson(self.k, self.n)


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over cases with its bootstrap interval."""

    value: float
    interval: Interval


def mean_of(values: Sequence[float]) -> Mean:
    """Over the cases that have a value; drawn again as whole cases."""
    defined = [v for v in values if not math.isnan(v)]
    if not defined:
        return Mean(math.nan, UNDEFINED)
    names = [str(i) for i in range(len(defined))]
    return Mean(float(np.mean(defined)), bootstrap_means(np.array(defined)[:, None], names)[0])


@dataclass(frozen=True, slots=True)
class Figures:
    """A method at its point over all cases."""

    by_size: tuple[Share, ...]  # of SIZES_MM3
    large: Share  # lesions of 50 mm3 or more
    false_per_null: Mean
    false_per_pair: Mean
    false_on_stable: float  # mean per pair with lesions
    false_on_resolved: float
    dice: Mean
    f1: Mean  # MSSEG


Read = Sequence[tuple[CaseResult, Outcome]]


def figures(read: Read) -> Figures:
    """Count over cases that were read, pairs with lesions and null pairs."""
    pairs = [o for case, o in read if case.kind == "pair"]
    nulls = [o for case, o in read if case.kind == "null"]
    return Figures(
        tuple(share_found(pairs, low, high) for low, high in SIZES_MM3),
        large_found(pairs),
        mean_of([float(o.n_false) for o in nulls]),
        mean_of([float(o.n_false) for o in pairs]),
        mean_of([float(o.false_on_stable) for o in pairs]).value,
        mean_of([float(o.false_on_resolved) for o in pairs]).value,
        mean_of([o.dice for o in pairs]),
        mean_of([o.f1_msseg for o in pairs]),
    )


def share_found(outcomes: Iterable[Outcome], low_mm3: float, high_mm3: float) -> Share:
    """Lesions above the first volume, up to the second, that were found."""
    lesions = [t.number in o.detected for o in outcomes for t in o.wanted if low_mm3 < t.volume_mm3 <= high_mm3]
    return Share(sum(lesions), len(lesions))


def large_found(outcomes: Iterable[Outcome]) -> Share:
    """Lesions of 50 mm3 or more that were found."""
    lesions = [t.number in o.detected for o in outcomes for t in o.wanted if t.volume_mm3 >= LARGE_MM3]
    return Share(sum(lesions), len(lesions))


def read_at(cases: Iterable[CaseResult], method: str, point: Point) -> list[tuple[CaseResult, Outcome]]:
    """Every case that the method was run on, read at one point."""
    found = ((case, case.of(method)) for case in cases)
    return [(case, outcome(f, point)) for case, f in found if f is not None]


@dataclass(frozen=True, slots=True)
class Sweep:
    """What decides between points: the plain numbers, without intervals."""

    method: str
    point: Point
    large: float  # sensitivity
    every: float
    false_per_null: float
    dice: float
    f1: float

    @property
    def allowed(self) -> bool:
        """At most 0.2 false new lesions per null pair."""
        return self.false_per_null <= MOST_FALSE + 1e-9


def points_of(method: str, thresholds: Sequence[float], limits_mm3: Sequence[float]) -> list[Point]:
    """Where a method may be read. The new-lesion map of the network also with a peak, as segment reads it."""
    points = [Point(t, mm3) for t in thresholds for mm3 in limits_mm3]
    if method == "network":
        points += [Point(t, mm3, peak) for t in thresholds if t in PEAKS_AT for mm3 in limits_mm3 for peak in PEAKS if peak > t]
    return points


def sweep(cases: Sequence[CaseResult], method: str, limits_mm3: Sequence[float] = (SMALLEST_MM3,)) -> list[Sweep]:
    """A method at all of its thresholds (and peaks) and these size limits, over made pairs."""
    made = [case for case in cases if case.kind in {"pair", "null"} and case.of(method)]
    thresholds = sorted({t for case in made for found in case.found if found.method == method for t in found.thresholds})
    rows = []
    for point in points_of(method, thresholds, limits_mm3):
        read = read_at(made, method, point)
        pairs = [o for case, o in read if case.kind == "pair"]
        nulls = [float(o.n_false) for case, o in read if case.kind == "null"]
        rows.append(
            Sweep(
                method, point, large_found(pairs).value, share_found(pairs, 0, math.inf).value, _mean(nulls),
                _mean([o.dice for o in pairs]), _mean([o.f1_msseg for o in pairs]),
            )
        )  # fmt: skip
    return rows


def _mean(values: Sequence[float]) -> float:
    defined = [v for v in values if not math.isnan(v)]
    return float(np.mean(defined)) if defined else math.nan


def operating_point(rows: Sequence[Sweep]) -> Sweep:
    """Most lesions of 50 mm3 or more, then most of all, at 0.2 false ones per null pair at most; else the fewest false ones."""
    allowed = [row for row in rows if row.allowed]
    if allowed:
        return max(allowed, key=lambda r: (_or_zero(r.large), _or_zero(r.every), _or_zero(r.dice)))
    return min(rows, key=lambda r: (r.false_per_null, -_or_zero(r.large)))


def best_f1(rows: Sequence[Sweep]) -> Sweep:
    """The highest mean F1, whatever null pairs say."""
    return max(rows, key=lambda r: (_or_zero(r.f1), _or_zero(r.dice)))


def _or_zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value
