"""Seeded faults against coactseg: `python -m benchmarks.faults --n 200 --seed 1`. A table; exit code 1 unless every fault ends well."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.faults import cases, child, scene
from benchmarks.faults.place import Place, baselines
from benchmarks.faults.verdict import Finding, Verdict


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--n", type=int, default=200, help="number of faults (default 200)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="cases at once, each in a folder of its own (default 1)")
    parser.add_argument("--in-place", action="store_true", help="take write-then-rename away: the harness must turn red")
    parser.add_argument("--only", default="", help="only faults whose kind contains this")
    parser.add_argument("--points", default="", help="only faults at calls of one kind, stage and action: write:maps:kill-half")
    parser.add_argument("--scenarios", nargs="*", default=list(cases.SCENARIOS), help=f"of {', '.join(cases.SCENARIOS)}")
    parser.add_argument("--no-workers", action="store_true", help="kill no processes of a pool (each starts Python anew: slow)")
    args = parser.parse_args(argv)
    child.warm()
    folder = Path(tempfile.mkdtemp(prefix="coactseg-faults-"))
    try:
        results = _all(folder, args)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(table(results))
    for case, finding in results:
        if finding["verdict"] != Verdict.OK:
            print(f"{finding['verdict']}: {case['kind']} [{case['scenario']}, {case['what']}]: {finding['why']}")
    return 0 if all(finding["verdict"] == Verdict.OK for _, finding in results) else 1


def _all(folder: Path, args: argparse.Namespace) -> list[tuple[dict, dict]]:
    """Every case; --jobs processes share them."""
    pids = []
    for job in range(args.jobs):
        if args.jobs == 1 or not (pid := os.fork()):
            _share(folder / str(job), args, job)
            if args.jobs > 1:
                os._exit(0)
        else:
            pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)
    files = [folder / str(job) / "results.jsonl" for job in range(args.jobs)]
    return [tuple(json.loads(line)) for file in files for line in file.read_text().splitlines()]  # type: ignore[misc]


def _share(folder: Path, args: argparse.Namespace, job: int) -> None:
    """The cases of one process."""
    folder.mkdir(parents=True)
    here = scene.make(folder / "scene")
    everything = baselines(folder / "case", here, tuple(dict.fromkeys(("fresh", "other", "prep", *args.scenarios))), folder / "starts")
    cases.OTHER[:] = [everything["other"]]
    made = {name: everything[name] for name in args.scenarios}
    if args.points:
        every = cases.points_of(args.points, args.n, args.seed, made)
    else:
        every = cases.plan(args.n, args.seed, made, disks=cases.can_mount(folder), workers=not args.no_workers)
    mine = [case for case in every[job :: args.jobs] if args.only in case.kind]
    with (folder / "results.jsonl").open("w") as results:
        for number, case in enumerate(mine, start=1):
            begun = time.monotonic()
            finding = one(Place(folder / "case", here, made[case.scenario], args.in_place), case)
            said = f"{number}/{len(mine)} {finding.verdict} {case.kind} [{case.stage}, {case.scenario}, {case.what}] {finding.why}"
            print(f"{said} ({time.monotonic() - begun:.1f} s)", file=sys.stderr, flush=True)
            about = {"kind": case.kind, "stage": case.stage, "scenario": case.scenario, "what": case.what}
            results.write(json.dumps([about, {"verdict": finding.verdict, "why": finding.why}]) + "\n")
            results.flush()


def one(place: Place, case: cases.Case) -> Finding:
    """Let one fault happen."""
    place.lay_out()
    inputs = _inputs(place.raw)
    try:
        finding = case.do(place)
    except Exception:
        return Finding(Verdict.WRONG, f"the harness failed: {traceback.format_exc()}")
    if _inputs(place.raw) != inputs:
        return Finding(Verdict.WRONG, "the raw data were changed")
    return finding


def _inputs(raw: Path) -> dict[str, bytes]:
    return {path.relative_to(raw).as_posix(): path.read_bytes() for path in raw.rglob("*") if path.is_file()}


def table(results: Sequence[tuple[dict, dict]]) -> str:
    """Kind by stage: how many, and how they ended."""
    rows = Counter((case["kind"], case["stage"], finding["verdict"]) for case, finding in results)
    lines = [f"{'kind':44} {'stage':8} {'n':>4} {'ok':>4} {'lost':>5} {'half-written':>13} {'wrong':>6}"]
    keys = sorted({(kind, stage) for kind, stage, _ in rows})
    for kind, stage in [*keys, ("all", "")]:
        counts = [
            sum(n for (k, s, v), n in rows.items() if v == verdict and (kind == "all" or (k, s) == (kind, stage))) for verdict in Verdict
        ]
        ok, lost, half, wrong = counts
        lines.append(f"{kind:44} {stage:8} {sum(counts):4} {ok:4} {lost:5} {half:13} {wrong:6}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
