"""Pairs through the network and the plain baselines: what each of them marks, written case by case. Draws no conclusion."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.accuracy.backgrounds import Background, read_backgrounds
from benchmarks.accuracy.candidates import SMOOTHING_MM, Histogram, by_difference, by_network, by_subtraction, histogram
from benchmarks.accuracy.contrast import Range
from benchmarks.accuracy.injection import Fate, Pair, make_pair
from benchmarks.accuracy.models import Assignment, engine_of, load_unseen
from benchmarks.accuracy.results import CaseResult, Found, Target, found_by, is_done, write_result
from coactseg_cli.components import label, sizes
from coactseg_cli.network.fast_vnet import Head
from coactseg_cli.network.inference import Engine
from coactseg_cli.targets import IGNORE

Maps = dict[str, np.ndarray]  # new, all_baseline, all_followup: probabilities (X, Y, Z)


def jobs(
    assignments: Sequence[Assignment], roots: Sequence[Path], n_pairs: int
) -> Iterator[tuple[Assignment, list[tuple[Background, int, bool]]]]:
    """Per model its pairs: the backgrounds of all models take turns, so that every number of pairs is spread evenly over them."""
    backgrounds = [(a, b) for a in assignments for b in read_backgrounds(roots, a.subjects)]
    for assignment in assignments:
        turns = [(k, b) for k, (a, b) in enumerate(backgrounds) if a is assignment]
        yield (
            assignment,
            [
                (background, index, with_lesions)
                for k, background in turns
                for index in range(k, n_pairs, len(backgrounds))
                for with_lesions in (True, False)
            ],
        )


def run(
    assignments: Sequence[Assignment],
    roots: Sequence[Path],
    ranges: Sequence[Range],
    n_pairs: int,
    out: Path,
    *,
    only: str | None = None,
    threads: int = 1,
    trained_on_too: bool = False,
) -> None:
    """Score `n_pairs` pairs with lesions and as many null pairs, together over all models; what is done is not done again.

    `only`: the name of one model (A, B, ...), whose cases alone are done here; another process may do the others.
    """
    for assignment, cases in jobs(assignments, roots, n_pairs):
        if only not in {None, assignment.name}:
            continue
        model = load_unseen(assignment, trained_on_too=trained_on_too)
        engine = engine_of(model, threads)
        for background, index, with_lesions in cases:
            path = out / f"{'pair' if with_lesions else 'null'}-{index:03d}_{background.name}.json"
            if is_done(path, model.sha256):
                continue
            begun = time.perf_counter()
            pair = make_pair(background, ranges, index, with_lesions=with_lesions)
            drawn = time.perf_counter()
            maps = infer(engine, pair.baseline, pair.followup, (pair.baseline_brain, pair.followup_brain))
            inferred = time.perf_counter()
            write_result(path, score_pair(pair, maps, assignment.name, model.sha256))
            took = (drawn - begun, inferred - drawn, time.perf_counter() - inferred)
            say(f"{path.stem}: {len(pair.lesions)} lesions; made, network, counted: {', '.join(f'{t:.1f}' for t in took)} s")


def say(line: str) -> None:
    """Progress, beside what is printed as the result."""
    print(line, file=sys.stderr, flush=True)


def infer(engine: Engine, baseline: np.ndarray, followup: np.ndarray, brains: tuple[np.ndarray, np.ndarray]) -> Maps:
    """The three maps that segment makes of a pair: new lesions, and all lesions of each visit from its own pass (x, x, 0)."""
    new = engine.run(baseline, followup, brains[0] | brains[1], [Head.NEW])[Head.NEW]
    every = [engine.run(x, x, brain, [Head.ALL_FOLLOWUP])[Head.ALL_FOLLOWUP] for x, brain in zip((baseline, followup), brains, strict=True)]
    return {"new": new, "all_baseline": every[0], "all_followup": every[1]}


def score_pair(pair: Pair, maps: Maps, model: str, sha256: str) -> CaseResult:
    """What the network and the baselines mark in one made pair."""
    targets = [Target(le.number, str(le.fate), le.volume_mm3, le.contrast, None if math.isnan(le.seen) else le.seen) for le in pair.lesions]
    found = new_lesions_found(pair.baseline, pair.followup, pair.brain, maps, pair.reference, targets)
    numbers = [le.number for le in pair.lesions if le.fate is Fate.NEW]
    histograms = {"new": histogram(maps["new"], np.isin(pair.reference, numbers), pair.brain)}
    if pair.all_followup is not None:
        every, counts = all_lesions_found(maps["all_followup"], pair.all_followup, pair.followup_brain)
        found, histograms = [*found, every], {**histograms, "all": counts}
    kind = "pair" if pair.lesions else "null"
    return CaseResult(pair.name, kind, model, sha256, pair.background.subject, tuple(found), histograms)


def new_lesions_found(
    baseline: np.ndarray, followup: np.ndarray, brain: np.ndarray, maps: Maps, reference: np.ndarray, targets: Sequence[Target]
) -> list[Found]:
    """The new-lesion map, the subtraction of the single-visit maps and the difference images, each at all thresholds."""
    methods = [
        by_network("network", maps["new"], brain),
        by_subtraction(maps["all_baseline"], maps["all_followup"], brain),
        *(by_difference(baseline, followup, brain, mm) for mm in SMOOTHING_MM),
    ]
    return [found_by(method, "new", reference, targets) for method in methods]


def all_lesions_found(probability: np.ndarray, truth: np.ndarray, brain: np.ndarray) -> tuple[Found, Histogram]:
    """The all-lesion map of a visit against its label, (X, Y, Z) bool."""
    reference, targets = components_of(truth, "all")
    method = by_network("network, all", probability, brain)
    return found_by(method, "all", reference, targets), histogram(probability, truth, brain)


def components_of(truth: np.ndarray, fate: str, unknown: np.ndarray | None = None) -> tuple[np.ndarray, list[Target]]:
    """Number the lesions of a label (6-connected) on a grid of 1 mm; `unknown` voxels that are no lesion become IGNORE."""
    labels, n = label(truth)
    reference = labels.astype(np.int32)
    if unknown is not None:
        reference[unknown & ~truth] = IGNORE
    return reference, [Target(i + 1, fate, float(v)) for i, v in enumerate(sizes(labels, n))]
