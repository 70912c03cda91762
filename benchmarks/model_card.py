"""Tables of the benchmarks' results, and the same tables in the docs: no figure of docs/model-card.md and docs/accuracy.md is typed.

    python benchmarks/model_card.py tables DIR...      results of the injection benchmark and of leave_one_out.py -> results/*.tsv
    python benchmarks/model_card.py docs [--check]     results/*.tsv and the packaged model -> what lies between the docs' markers

A marker is a line <!-- table: NAME --> and a line <!-- end --> after it. `--check` writes nothing and fails where a doc is not up to date.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

if not __package__:  # started as a script
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.accuracy import tables as made
from benchmarks.accuracy.calibration import folds
from benchmarks.accuracy.contrast import SIZES_MM3, size_name
from benchmarks.accuracy.results import CaseResult, read_results
from benchmarks.accuracy.summary import MOST_FALSE
from benchmarks.calibrate import RESULTS, read_chosen, read_final
from bids_app.files import read_text, write_text
from bids_app.tables import Column, number, read_table, write_table
from coactseg_cli.network.checkpoint import load_model

PROJECT = Path(__file__).resolve().parents[1]
DOCS = (PROJECT / "docs" / "model-card.md", PROJECT / "docs" / "accuracy.md")
MODEL = PROJECT / "coactseg_cli" / "models" / "default.safetensors"
MARKER = re.compile(r"(<!-- table: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
TARGET = 0.95  # of the lesions of 50 mm3 or more, at 0.2 false new lesions per null pair

Cells = dict[str, str]


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    counting = commands.add_parser("tables")
    counting.add_argument("results", nargs="+", type=Path)
    counting.add_argument("--tables", type=Path, default=RESULTS)
    filling = commands.add_parser("docs")
    filling.add_argument("--tables", type=Path, default=RESULTS)
    filling.add_argument("--model", type=Path, default=MODEL)
    filling.add_argument("--check", action="store_true")
    args = parser.parse_args(words)
    if args.command == "tables":
        write_tables([case for folder in args.results for case in read_results(folder)], args.tables)
        return
    stale = [path for path in DOCS if fill(read_text(path), args.tables, args.model) != read_text(path)]
    if args.check and stale:
        sys.exit(f"{', '.join(map(str, stale))}: not what the tables say. Run python benchmarks/model_card.py docs.")
    for path in stale:
        write_text(path, fill(read_text(path), args.tables, args.model))
        print(path)


def write_tables(cases: Sequence[CaseResult], folder: Path) -> None:
    """Every table; results/calibration.tsv must be there. Raises: NoInput; SystemExit where a model has no row in it."""
    final, by_model = read_final(folder), {name: read_chosen(folder, name) for name, *_ in folds(cases)}
    written: dict[str, tuple[list[made.Row], dict[str, Column]]] = {
        "injection": (made.injection_rows(cases, final, by_model), made.INJECTION),
        "injection_by_scan": (made.by_scan_rows(cases, final), made.BY_SCAN),
        "injection_sweep": (made.sweep_rows(cases), made.SWEEP),
        "leave_one_out_new": (made.real_rows(cases, by_model), made.REAL),
        "leave_one_out_all": (made.all_rows(cases, by_model), made.ALL),
    }
    for name, (rows, columns) in written.items():
        write_table(folder / f"{name}.tsv", rows, columns)
        print(folder / f"{name}.tsv")


def fill(text: str, folder: Path, model: Path) -> str:
    """A doc with what its markers name. Raises: SystemExit for a marker that names no table; NoInput."""

    def replaced(found: re.Match[str]) -> str:
        name = found[2]
        if name not in TABLES:
            msg = f"<!-- table: {name} -->: no such table. There are {', '.join(TABLES)}."
            raise SystemExit(msg)
        return f"{found[1]}{TABLES[name](folder, model)}\n{found[3]}"

    return MARKER.sub(replaced, text)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join(["| " + " | ".join(header) + " |", "|" + "---|" * len(header), *("| " + " | ".join(row) + " |" for row in rows)])


def figure(text: str, digits: int = 2) -> str:
    """A cell with so many decimals; 'n/a' stays."""
    value = number(text)
    return "n/a" if value != value else f"{value:.{digits}f}"  # noqa: PLR0124 - NaN


def share(row: Cells, size: str) -> str:
    """'18 of 20: 90 % (70 to 97)'."""
    k, n = int(row[f"found {size}"]), int(row[f"of {size}"])
    if not n:
        return "none"
    low, high = (100 * number(row[f"{end} {size}"]) for end in ("low", "high"))
    return f"{k} of {n}: {100 * k / n:.0f} % ({low:.0f} to {high:.0f})"


def with_interval(row: Cells, name: str) -> str:
    """'0.14 (0.05 to 0.25)'."""
    return f"{figure(row[name])} ({figure(row[f'{name}_low'])} to {figure(row[f'{name}_high'])})"


def method_of(row: Cells) -> str:
    """'network, stored: 0.35'."""
    if row["threshold"] == "n/a":
        return f"{row['method']}, {row['reading']}"
    limit = number(row["limit_mm3"])
    peak = f", {number(row['peak']):g} somewhere" if number(row["peak"]) else ""
    return f"{row['method']}, {row['reading']}: from {number(row['threshold']):g} on{peak}, above {limit:g} mm3"


def injection(folder: Path, _: Path) -> str:
    """Every method and reading: sensitivity by size, false lesions, Dice."""
    sizes = [size_name(*s) for s in SIZES_MM3]
    rows = [
        [method_of(row), *(share(row, size) for size in (*sizes, ">= 50")), with_interval(row, "false_per_null"),
         figure(row["false_per_pair"]), f"{figure(row['false_on_stable'])}, {figure(row['false_on_resolved'])}",
         with_interval(row, "dice"), figure(row["f1"])]
        for row in read_table(folder / "injection.tsv")
    ]  # fmt: skip
    header = ["method, reading", *(f"found, {size} mm3" for size in (*sizes, ">= 50")), "false per null pair",
              "false per pair with lesions", "of which on stable, on resolved lesions", "Dice", "lesion F1"]  # fmt: skip
    return markdown(header, rows)


def verdict(folder: Path, _: Path) -> str:
    """Whether the target is met, in a sentence, from the table."""
    rows = read_table(folder / "injection.tsv")
    row = next(r for r in rows if (r["method"], r["reading"]) == ("network", made.ALLOWED))
    stored = next(r for r in rows if (r["method"], r["reading"]) == ("network", made.STORED))
    allowed = number(row["false_per_null"]) <= MOST_FALSE + 1e-9
    met = allowed and int(row["found >= 50"]) >= TARGET * int(row["of >= 50"])
    made_of = f"{row['pairs']} pairs with painted lesions and {row['nulls']} null pairs."
    target = f"at least {100 * TARGET:.0f} % of the new lesions of 50 mm3 or more at {MOST_FALSE} false new lesions per null pair or fewer"
    where = "where null pairs have" if allowed else "no threshold keeps to it; at the one with the fewest false lesions null pairs have"
    return "\n".join(
        (
            f"{made_of} The target was {target}.",
            f"It is **{'met' if met else 'not met'}**: {where} {figure(row['false_per_null'])},",
            f"{share(row, '>= 50')} are found.",
            f"At the stored threshold null pairs have {figure(stored['false_per_null'])}, and {share(stored, '>= 50')} are found.",
        )
    )


def by_scan(folder: Path, _: Path) -> str:
    """Each background by itself."""
    rows = [
        [row["scan"], row["model"], row["pairs"], share(row, ">= 50"), figure(row["false_per_null"]), figure(row["dice"])]
        for row in read_table(folder / "injection_by_scan.tsv")
    ]
    return markdown(["scan", "model", "pairs", "found, >= 50 mm3", "false per null pair", "Dice"], rows)


def sweep(folder: Path, _: Path) -> str:
    """The network at every threshold."""
    rows = [
        [row["threshold"], *(figure(row[name]) for name in ("found >= 50", "found", "false_per_null", "dice", "f1"))]
        for row in read_table(folder / "injection_sweep.tsv")
    ]
    return markdown(["threshold", "found, >= 50 mm3", "found, all", "false per null pair", "Dice", "lesion F1"], rows)


def real_pairs(folder: Path, _: Path) -> str:
    """The labelled pairs, by name."""
    rows = [
        [row["case"], method_of(row), f"{row['found']} of {row['of']}", figure(row["precision"]), figure(row["dice"]), figure(row["f1"]),
         f"{figure(row['volume_mm3'], 0)} ({figure(row['reference_mm3'], 0)})",
         "" if row["false_reversed"] == "n/a" else f"{row['false_reversed']}, {row['false_same']}"]
        for row in read_table(folder / "leave_one_out_new.tsv")
    ]  # fmt: skip
    header = ["case", "method, reading", "found, >= 10 mm3", "precision", "Dice", "lesion F1", "mm3 (label)", "false reversed, on (x, x)"]
    return markdown(header, rows)


def real_singles(folder: Path, _: Path) -> str:
    """The labelled single scans, by name."""
    rows = [
        [row["case"], figure(row["threshold"]), figure(row["dice"]), figure(row["f1"]), f"{row['found']} of {row['of']}", row["false"],
         f"{number(row['volume_mm3']) / 1000:.1f} ({number(row['reference_mm3']) / 1000:.1f})"]
        for row in read_table(folder / "leave_one_out_all.tsv")
    ]  # fmt: skip
    return markdown(["case", "threshold", "Dice", "lesion F1", "found", "false", "ml (label)"], rows)


def calibration(folder: Path, _: Path) -> str:
    """What was chosen on which cases, and what it did on the others."""
    names = ("temperature_all", "temperature_new", "dice_all", "f1_new", "false_per_null")
    pairs = ("error_all", "error_new")
    rows = [
        [
            row["tested_on"],
            row["threshold_all"],
            row["threshold_new"],
            row["peak_new"],
            *(figure(row[n]) for n in names),
            *(change(row, n) for n in pairs),
        ]
        for row in read_table(folder / "calibration.tsv")
    ]
    header = ["tested on", "threshold all", "threshold new", "peak new", "temperature all", "temperature new", "Dice all", "F1 new",
              "false per null pair", "calibration error all", "calibration error new"]  # fmt: skip
    return markdown(header, rows)


def change(row: Cells, name: str) -> str:
    """'0.182 -> 0.174': before and after the temperature."""
    return "n/a" if row[name] == "n/a" else f"{figure(row[name], 3)} -> {figure(row[f'{name}_scaled'], 3)}"


def contrast(folder: Path, _: Path) -> str:
    """How bright the real lesions are."""
    rows = [[row["size"], row["n"], row["q25"], row["median"], row["q75"]] for row in read_table(folder / "contrast.tsv")]
    return markdown(["mm3", "real lesions", "25 %", "median", "75 %"], rows)


def model_facts(_: Path, path: Path) -> str:
    """What the model file says of itself."""
    model = load_model(path)
    info, n = model.info, sum(p.numel() for p in model.network.parameters())
    spacing = " x ".join(f"{s:g}" for s in info.spacing_mm or ())
    facts = {
        "file": f"`{path.name}`, {path.stat().st_size / 1e6:.0f} MB",
        "SHA-256": f"`{hashlib.sha256(path.read_bytes()).hexdigest()}`",
        "network": f"V-Net of Wu et al. 2023, {info.base_filters} base filters, {n:,} parameters",
        "input": f"FLAIR of one or two visits, {spacing} mm, N4, zero mean and unit variance inside the brain mask",
        "trained on": f"{info.n_pairs} labelled pairs and {info.n_singles} labelled single scans; scans of {', '.join(info.training_data)}",
        "iterations": f"{info.iterations:,}" if info.iterations else "not recorded",
        "thresholds": f"all lesions {info.threshold_all:g}, new lesions {info.threshold_new:g}, reaching {info.peak_new:g} somewhere",
        "temperatures": f"all lesions {info.temperature_all:g}, new lesions {info.temperature_new:g} (in the weights already)",
    }
    return markdown(["", ""], [[name, value] for name, value in facts.items()])


TABLES: dict[str, Callable[[Path, Path], str]] = {
    "model": model_facts,
    "verdict": verdict,
    "injection": injection,
    "by-scan": by_scan,
    "sweep": sweep,
    "real-pairs": real_pairs,
    "real-singles": real_singles,
    "calibration": calibration,
    "contrast": contrast,
}


if __name__ == "__main__":
    main()
