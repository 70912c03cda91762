"""Inference and whole runs against the published way, in one go: `make bench`.

    python -m benchmarks.speed network OUT [PREPARED...] [--subjects long01 long03] [--model default] [--threads 2] [--skip-published]
    python -m benchmarks.speed runs OUT BIDS --subjects long01 long03 --single long04 [--masks DIR]
    python -m benchmarks.speed tables OUT

`network` times each way in a process of its own over the example's pair (180 x 220 x 180) and the prepared pairs, and compares
the maps. `runs` times `coactseg segment`. Both write JSON into OUT; what is there already is not done again. `tables` puts them
into docs/performance.md and draws docs/performance.svg. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed import published
from benchmarks.speed.agreement import Agreement, compare
from benchmarks.speed.cases import PairCase, example_case, read_case, real_cases
from benchmarks.speed.ways import PUBLISHED, WAYS, timed

HEADS = published.HEADS
GROWTH = ((90, 110, 90), (128, 160, 128))  # beside the 180 x 220 x 180 of every way


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    network = commands.add_parser("network", help="every way of inference")
    network.add_argument("out", type=Path)
    network.add_argument("prepared", nargs="*", type=Path)
    network.add_argument("--subjects", nargs="+", default=["long01", "long03"])
    network.add_argument("--model", default="default")
    network.add_argument("--threads", type=int, default=2)
    network.add_argument("--skip-published", action="store_true", help="minutes for each pair")
    whole = commands.add_parser("runs", help="whole runs of segment")
    whole.add_argument("out", type=Path)
    whole.add_argument("bids", type=Path)
    whole.add_argument("--subjects", nargs=2, default=["long01", "long03"])
    whole.add_argument("--single", default="long04", help="a participant with one visit")
    whole.add_argument("--masks", type=Path, help="derivatives with brain masks")
    tables = commands.add_parser("tables", help="docs/performance.md")
    tables.add_argument("out", type=Path)
    args = parser.parse_args(words)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.command == "network":
        time_network(args)
    elif args.command == "runs":
        time_runs(args)
    else:
        from benchmarks.speed.tables import write

        write(args.out)


def time_network(args: argparse.Namespace) -> None:
    """Every way over every pair, then growth with the number of voxels."""
    print(published.check(), flush=True)
    cases = [example_case(), *real_cases(args.prepared, args.subjects)]
    ways = [way for way in WAYS if way != PUBLISHED or not args.skip_published]
    for case in cases:
        for way in ways:
            _time(args, case, way)
    for shape in GROWTH:
        _time(args, example_case(shape), "fast", f"example-{'x'.join(map(str, shape))}")


def _time(args: argparse.Namespace, case: PairCase, way: str, name: str | None = None) -> None:
    name = name or case.name
    result, maps, stored = (args.out / f"{name}_{way}.json", args.out / f"{name}_{way}.npz", args.out / f"{name}.npz")
    if result.exists():
        return
    case.save(stored)
    timing = timed(way, stored, args.model, maps, args.threads)
    result.write_text(json.dumps(asdict(timing) | {"case": name, "threads": args.threads}, indent=1), encoding="utf-8")
    print(f"{name}, {way}: {timing.seconds:.2f} s, peak {timing.peak_gib:.2f} GiB", flush=True)


def agreements(out: Path, way: str, threshold: dict[str, float]) -> dict[str, Agreement]:
    """Each head of a way against the published maps, over every pair that both have."""
    pairs: list[tuple[PairCase, Any, Any]] = []
    for theirs in sorted(out.glob(f"*_{PUBLISHED}.npz")):
        ours = theirs.with_name(theirs.name.replace(f"_{PUBLISHED}.", f"_{way}."))
        if ours.exists():
            case = read_case(out / theirs.name.replace(f"_{PUBLISHED}.", "."))
            pairs.append((case, np.load(ours), np.load(theirs)))
    return {head: compare(pairs, head, threshold[head]) for head in HEADS}


def time_runs(args: argparse.Namespace) -> None:
    """One pair, with masks and with builtin extraction; one visit; another pair; two and three participants; two at once."""
    from benchmarks.speed.runs import segment

    first, second = args.subjects
    given = [] if args.masks is None else ["-d", f"masks={args.masks}"]
    plans = {
        "a pair, masks given": ([first], [*given]),
        "a pair, builtin brain extraction": ([first], ["--skull-strip", "builtin"]),
        "one visit, masks given": ([args.single], [*given]),
        "another pair, masks given": ([second], [*given]),
        "two pairs, one after the other": ([first, second], [*given, "--nprocs", "2", "--omp-nthreads", "2"]),
        "two pairs at once": ([first, second], [*given, "--nprocs", "2", "--omp-nthreads", "1"]),
        "these three participants, one after the other": ([first, second, args.single], [*given, "--nprocs", "2", "--omp-nthreads", "2"]),
    }
    for what, (labels, options) in plans.items():
        path = args.out / f"run_{what.replace(' ', '-').replace(',', '')}.json"
        if path.exists():
            continue
        run = segment(what, args.bids, labels, *options)
        path.write_text(json.dumps(asdict(run), indent=1), encoding="utf-8")
        print(f"{what}: {run.wall_s:.1f} s ({run.cpu_s:.1f} s of processor time), peak {run.peak_gib:.2f} GiB", flush=True)


if __name__ == "__main__":
    main()
