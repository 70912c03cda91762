"""`python -m tests.fuzz`: N inputs from a seed through the program, a table of what came of them; exit code 1 for any failure.

--seed S --only I     one input again, with what it said
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.fuzz import images, outputs, same, texts, trees
from tests.fuzz.cases import Case, Kind
from tests.fuzz.judging import failures
from tests.fuzz.running import Ran, make_results, run, warm_further, warm_up
from tests.fuzz.world import World, make_world


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one input."""

    number: int
    kind: str
    ran: Ran
    what: str
    failures: tuple[str, ...]


def main(argv: Sequence[str] | None = None) -> int:
    """Run. Returns: the exit code."""
    options = _options(argv)
    root = Path(tempfile.mkdtemp(prefix="fuzz-", dir=options.tmp))
    try:
        warm_up()
        world = make_results(make_world(root / "world"), _say, two=not options.quick)
        warm_further(world)
        numbers = options.only or range(options.first, options.first + options.n)
        results = list(_results(options, numbers, root, world))
    finally:
        if not options.keep:
            shutil.rmtree(root, ignore_errors=True)
    for one in results if options.only else ():
        _say(f"{one.kind} ({one.what}), exit code {one.ran.code}\n{one.ran.stdout}\n{one.ran.stderr}")
    print(table(results))
    if len(results) < len(numbers):
        print(f"stopped after {options.budget} s: {len(results)} of {len(numbers)} inputs")
    bad = [result for result in results if result.failures]
    again = f"--seed {options.seed}{' --quick' if options.quick else ''}{f' --kind {options.kind!r}' if options.kind else ''} --only"
    for result in bad:
        print(f"{again} {result.number}  {result.kind} ({result.what}): {'; '.join(result.failures)}")
    return 1 if bad else 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=2000, help="inputs")
    parser.add_argument("--first", type=int, default=0, help="number of the first input, to share a run out")
    parser.add_argument("--budget", type=float, default=3600, help="seconds after which no further input is begun")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="without results of two visits and 10,000 participants")
    parser.add_argument("--only", type=int, nargs="+", help="numbers of single inputs")
    parser.add_argument("--kind", default="", help="kinds whose name holds this text only")
    parser.add_argument("--tmp", default=None, help="where the inputs lie")
    parser.add_argument("--keep", action="store_true", help="leave them there")
    return parser.parse_args(argv)


def all_kinds() -> list[Kind]:
    """Every kind, as often as its weight says, in a fixed order."""
    every = [*images.kinds(), *same.kinds(), *trees.kinds(), *texts.kinds(), *outputs.kinds()]
    return [kind for kind in every for _ in range(kind.weight)]


def _results(options: argparse.Namespace, numbers: Sequence[int], root: Path, world: World) -> Iterator[Result]:
    kinds = [kind for kind in all_kinds() if not (options.quick and kind.name == trees.MANY)]
    Random(options.seed).shuffle(kinds)
    chosen = [kind for kind in kinds if options.kind in kind.name]
    begun = time.monotonic()
    for number in numbers:
        if time.monotonic() - begun > options.budget:
            return
        kind = chosen[number % len(chosen)]
        yield one(kind, options.seed, number, root / f"case-{number}", world, keep=options.keep)


def one(kind: Kind, seed: int, number: int, folder: Path, world: World, *, keep: bool = False) -> Result:
    """Make, run and judge one input."""
    folder.mkdir(parents=True)
    case: Case = kind.build(Random(f"{seed}-{number}"), folder, world)
    ran = run(case.argv, folder, case.hang_s)
    found = tuple(failures(case, ran))
    if found:
        _say(f"{number}: {kind.name} ({case.what}): {'; '.join(found)}")
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
    return Result(number, kind.name, ran, case.what, found)


def table(results: Sequence[Result]) -> str:
    """A line per kind: inputs, refused, right, failures, the longest run and the largest peak."""
    by_kind: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        by_kind[result.kind].append(result)
    rows = [("kind", "n", "refused", "right", "failures", "s", "MB")]
    rows += [_row(kind, found) for kind, found in sorted(by_kind.items())]
    rows.append(_row("all", results))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def _row(name: str, results: Sequence[Result]) -> tuple[str, ...]:
    ends = Counter("failures" if r.failures else "right" if r.ran.code == 0 else "refused" for r in results)
    longest = max((r.ran.seconds for r in results), default=0)
    largest = max((r.ran.peak_bytes for r in results), default=0)
    counts = [str(ends[end]) for end in ("refused", "right", "failures")]
    return (name, str(len(results)), *counts, f"{longest:.1f}", f"{largest / 1e6:.0f}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
