"""Thresholds, temperatures and how far a probability can be believed: chosen on the cases of one model, tested on those of another."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy import optimize

from benchmarks.accuracy.candidates import BINS, PROBABILITIES, SMALLEST_MM3, Histogram, logits
from benchmarks.accuracy.results import CaseResult
from benchmarks.accuracy.summary import MOST_FALSE, Point, large_found, outcome, points_of

TEMPERATURES = (0.2, 10.0)
MODERATE = (0.1, 0.9)  # thresholds of the all-lesion map: one labelled scan on each side cannot speak for an extreme one
RELIABILITY_BINS = 10
Key = TypeVar("Key", float, tuple[float, float])  # a threshold, or a threshold and a peak
FROM = 0.05  # expected calibration error: over voxels to which the map gives at least so much


@dataclass(frozen=True, slots=True)
class Calibration:
    """What is chosen for a model."""

    threshold_all: float
    threshold_new: float
    temperature_all: float
    temperature_new: float
    peak_new: float = 0.0  # of the map as the file gives it: new lesions that reach it nowhere are dropped; 0: none is

    @property
    def new(self) -> Point:
        """Where the new-lesion map is read."""
        return Point(self.threshold_new, peak=self.peak_new)


@dataclass(frozen=True, slots=True)
class Reliability:
    """The voxels of one bin of probability."""

    low: float
    high: float
    n: int
    mean_probability: float
    share_of_lesion: float


def choose(cases: Sequence[CaseResult]) -> Calibration:
    """Thresholds (of the map as the file gives it) and temperatures on these cases."""
    temperatures = [fit_temperature(pooled(cases, which)) for which in ("all", "new")]
    new = choose_new(cases)
    return Calibration(choose_all(cases), new.threshold, temperatures[0], temperatures[1], new.peak)


def choose_new(cases: Sequence[CaseResult]) -> Point:
    """The best threshold and peak at 0.2 false lesions per null pair at most: by the mean of three figures.

    Lesion F1 of made pairs, lesion F1 of real pairs, and the share of the made lesions of 50 mm3 or more that is found.

    Where no threshold keeps to that, the one with the fewest false lesions.
    """
    rows = []
    for point in points_of("network", PROBABILITIES, (SMALLEST_MM3,)):
        false = mean(float(outcome(f, point).n_false) for case in cases if case.kind == "null" and (f := case.of("network")))
        pairs, real = (
            [outcome(f, point) for case in cases if case.kind == kind and (f := case.of("network"))] for kind in ("pair", "real")
        )
        score = mean([mean(o.f1_msseg for o in pairs), mean(o.f1_msseg for o in real), large_found(pairs).value])
        rows.append(((point.threshold, point.peak), false, score))
    threshold, peak = best_allowed(rows)
    return Point(threshold, peak=peak)


def best_allowed(rows: Sequence[tuple[Key, float, float]]) -> Key:
    """Of (threshold, false lesions per null pair, score) the threshold with the best score that is allowed, the higher one of equals."""
    allowed = [row for row in rows if math.isnan(row[1]) or row[1] <= MOST_FALSE + 1e-9]
    if not allowed:
        return min(rows, key=lambda row: (row[1], -or_zero(row[2])))[0]
    return max(allowed, key=lambda row: (or_zero(row[2]), row[0]))[0]


def choose_all(cases: Sequence[CaseResult]) -> float:
    """The threshold from 0.1 to 0.9 with the best Dice of the all-lesion map, made and real scans weighing the same."""
    rows = []
    for t in [t for t in PROBABILITIES if MODERATE[0] <= t <= MODERATE[1]]:
        kinds = [
            mean(outcome(f, Point(t)).dice for case in cases if case.kind in kind and (f := case.of("network, all")))
            for kind in ({"pair", "null"}, {"real"})
        ]
        rows.append((t, 0.0, mean(kinds)))
    return best_allowed(rows)


def mean(values: Iterable[float]) -> float:
    """Of what is defined; NaN where nothing is."""
    defined = [v for v in values if not math.isnan(v)]
    return float(np.mean(defined)) if defined else math.nan


def or_zero(value: float) -> float:
    """0 for NaN."""
    return 0.0 if math.isnan(value) else value


def pooled(cases: Iterable[CaseResult], which: str) -> Histogram:
    """The voxels of all cases together; made and real ones weigh as many as they are."""
    every = [case.histograms[which] for case in cases if which in case.histograms]
    zero = np.zeros(BINS, np.int64)
    return Histogram(sum((np.array(h.voxels) for h in every), zero).tolist(), sum((np.array(h.lesion) for h in every), zero).tolist())


def fit_temperature(counts: Histogram) -> float:
    """The number that log-odds are divided by for the smallest mean log loss over the voxels; 1 where there is no lesion voxel.

    Reference: Guo et al. 2017, On calibration of modern neural networks.
    """
    if not sum(counts.lesion):
        return 1.0
    found = optimize.minimize_scalar(
        lambda log_t: log_loss(counts, math.exp(log_t)), bounds=tuple(math.log(t) for t in TEMPERATURES), method="bounded"
    )
    return float(math.exp(found.x))


def log_loss(counts: Histogram, temperature: float) -> float:
    """Mean negative log-likelihood of the voxels."""
    z, lesion, every = logits() / temperature, np.array(counts.lesion), np.array(counts.voxels)
    return float((lesion * np.logaddexp(0, -z) + (every - lesion) * np.logaddexp(0, z)).sum() / max(every.sum(), 1))


def reliability(counts: Histogram, temperature: float = 1.0) -> tuple[Reliability, ...]:
    """Share of lesion among the voxels of each tenth of probability; bins without voxels are left out."""
    p = 1 / (1 + np.exp(-logits() / temperature))
    lesion, every = np.array(counts.lesion), np.array(counts.voxels)
    place = np.minimum((p * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
    rows = []
    for k in range(RELIABILITY_BINS):
        here = place == k
        if n := int(every[here].sum()):
            share = float(lesion[here].sum() / n)
            rows.append(Reliability(k / RELIABILITY_BINS, (k + 1) / RELIABILITY_BINS, n, float((p * every)[here].sum() / n), share))
    return tuple(rows)


def calibration_error(counts: Histogram, temperature: float = 1.0) -> float:
    """Expected calibration error over the voxels with a probability of 0.05 or more: mean |share of lesion - probability| of tenths.

    The many voxels that nothing is said of would make it look perfect. The voxels stay the same whatever the temperature.
    """
    said = 1 / (1 + np.exp(-logits())) >= FROM
    part = Histogram(np.where(said, counts.voxels, 0).tolist(), np.where(said, counts.lesion, 0).tolist())
    rows = reliability(part, temperature)
    n = sum(row.n for row in rows)
    return sum(row.n * abs(row.share_of_lesion - row.mean_probability) for row in rows) / n if n else math.nan


def scaled(threshold: float, temperature: float) -> float:
    """Where a threshold lies once the log-odds are divided by the temperature: it marks the same voxels."""
    return 1 / (1 + math.exp(-math.log(threshold / (1 - threshold)) / temperature))


def folds(cases: Sequence[CaseResult]) -> list[tuple[str, list[CaseResult], list[CaseResult]]]:
    """For each model: its name, the cases of the other models (to choose on) and its own (to test on).

    Raises: SystemExit for one model only: nothing is left to choose on.
    """
    names = sorted({case.model for case in cases})
    if len(names) < 2:
        msg = f"cross-validation needs the cases of two models or more; found {', '.join(names) or 'none'}. Run the benchmarks with both."
        raise SystemExit(msg)
    return [(name, [c for c in cases if c.model != name], [c for c in cases if c.model == name]) for name in names]
