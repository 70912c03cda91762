"""The results of `network` and `runs` as tables in docs/performance.md, and a picture of where the time of a run goes.

A marker is a line <!-- table: NAME --> and a line <!-- end --> after it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed.__main__ import HEADS, agreements
from benchmarks.speed.ways import FAST, PUBLISHED, WAYS
from bids_app.files import read_text, write_bytes, write_text
from coactseg_cli.config import SegmentConfig
from coactseg_cli.segment import load_model

DOCS = Path(__file__).resolve().parents[2] / "docs"
MARKER = re.compile(r"(<!-- table: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
HEAD_NAMES = {"all_baseline": "all lesions, baseline", "all_followup": "all lesions, follow-up", "new": "new lesions"}

Row = dict[str, Any]


def write(out: Path) -> None:
    """Fill the markers of docs/performance.md and draw docs/performance.svg."""
    timings, runs = _read(out, "*_*.json", "seconds"), _read(out, "run_*.json", "wall_s")
    made = {
        "ways": ways_table(timings),
        "agreement": agreement_table(out),
        "growth": growth_table(timings),
        "runs": runs_table(runs),
    }
    path = DOCS / "performance.md"
    text = MARKER.sub(lambda m: f"{m[1]}{made[m[2]]}\n{m[3]}" if m[2] in made else m[0], read_text(path))
    write_text(path, text)
    draw(runs, DOCS / "performance.svg")
    print("\n\n".join(made.values()))


def _read(out: Path, pattern: str, key: str) -> list[Row]:
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(out.glob(pattern))]
    return [row for row in found if key in row]


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join(["| " + " | ".join(header) + " |", "|" + "---|" * len(header), *("| " + " | ".join(row) + " |" for row in rows)])


def ways_table(timings: Sequence[Row]) -> str:
    """Seconds of every way for every pair, and the ratio to the published way."""
    cases = [row["case"] for row in timings if row["way"] == PUBLISHED]
    by = {(row["case"], row["way"]): row for row in timings}
    rows = []
    for way, words in WAYS.items():
        cells = []
        for case in cases:
            row = by.get((case, way))
            slow = by[case, PUBLISHED]["seconds"]
            cells.append("" if row is None else f"{row['seconds']:.2f} s, {row['peak_gib']:.2f} GiB, **{slow / row['seconds']:.3g}**")
        rows.append([words, *cells])
    return markdown(["way", *(f"{case}, {by[case, PUBLISHED]['voxels'] / 1e6:.1f} million voxels" for case in cases)], rows)


def agreement_table(out: Path) -> str:
    """Each way against the published maps at the model's thresholds, over all pairs."""
    info = load_model(SegmentConfig()).info
    threshold = {head: info.threshold_new if head == "new" else info.threshold_all for head in HEADS}
    rows = []
    for way in [way for way in WAYS if way != PUBLISHED]:
        for head, found in agreements(out, way, threshold).items():
            ours, theirs = found.dice_with_label
            labelled = f"{ours:.3f} and {theirs:.3f}" if found.labelled else ""
            lesions = f"{found.lesions}, {found.lost}, {found.gained}"
            rows.append([way, HEAD_NAMES[head], f"{found.dice:.3f}", lesions, f"{found.largest_difference:.1e}", labelled])
    header = [
        "way",
        "map",
        "Dice with the published map",
        "its lesions of 10 mm3 or more, lost, gained",
        "largest difference of a probability",
    ]
    return markdown([*header, "Dice with the label: this way and the published"], rows)


def growth_table(timings: Sequence[Row]) -> str:
    """Seconds per million voxels."""
    rows = sorted((row for row in timings if row["way"] == FAST and row["case"].startswith("example")), key=lambda row: row["voxels"])
    return markdown(
        ["million voxels", "seconds", "seconds per million", "peak"],
        [
            [f"{r['voxels'] / 1e6:.2f}", f"{r['seconds']:.2f}", f"{r['seconds'] / r['voxels'] * 1e6:.3f}", f"{r['peak_gib']:.2f} GiB"]
            for r in rows
        ],
    )


def runs_table(runs: Sequence[Row]) -> str:
    """Whole runs of segment."""
    return markdown(
        ["run", "wall", "processor", "peak of a process"],
        [[r["what"], f"{r['wall_s']:.1f} s", f"{r['cpu_s']:.1f} s", f"{r['peak_gib']:.2f} GiB"] for r in runs],
    )


def draw(runs: Sequence[Row], path: Path) -> None:
    """A bar per run of one pair: where its seconds go."""
    from matplotlib.figure import Figure

    from bids_app.plots.canvas import encode

    shown = [run for run in runs if run["what"].startswith("a pair")]
    if not shown:
        return
    steps = sorted({step for run in shown for step in run["steps"]}, key=lambda step: -max(run["steps"].get(step, 0.0) for run in shown))
    figure = Figure(figsize=(9, 1.9 + 0.7 * len(shown)), layout="constrained")
    axes = figure.subplots()
    colours = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999"]
    for y, run in enumerate(shown):
        left = 0.0
        for i, step in enumerate(steps):
            seconds = run["steps"].get(step, 0.0)
            hatch = "" if i < len(colours) else "///"
            axes.barh(
                y, seconds, left=left, color=colours[i % len(colours)], hatch=hatch, edgecolor="white", label=step if y == 0 else None
            )
            left += seconds
    axes.set_yticks(range(len(shown)), [run["what"] for run in shown])
    axes.set_xlabel("seconds")
    figure.legend(ncols=4, fontsize=8, loc="outside lower center", frameon=False)
    write_bytes(path, encode(figure, "performance", "Where the time goes", "Seconds of a run of segment, by step").svg)
