"""Thresholds and temperatures for a model, chosen by cross-validation over the sibling models' cases, and written into its file.

    python benchmarks/calibrate.py choose DIR...      DIR: results of the injection benchmark and of leave_one_out.py
    python benchmarks/calibrate.py write IN OUT

`choose` writes results/calibration.tsv, results/reliability.tsv and docs/reliability.svg: chosen on the other models' cases and tested
on each model's own, then chosen on all. `write` takes the last: thresholds go into the metadata of the model file, temperatures into its
weights (the last layers are divided by them, so that nothing else has to know) and into the metadata.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

if not __package__:  # started as a script
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.accuracy import calibration as cal
from benchmarks.accuracy.results import CaseResult, read_results
from benchmarks.accuracy.summary import Point, outcome
from bids_app.files import write_bytes
from bids_app.plots.canvas import Absent, encode
from bids_app.plots.lines import Line, Panel, curves
from bids_app.tables import Column, number, read_table, write_table
from coactseg_cli.network.checkpoint import load_model, save_model

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
PICTURE = HERE.parent / "docs" / "reliability.svg"
FINAL = "all"
CHOSEN = ("threshold_all", "threshold_new", "peak_new", "temperature_all", "temperature_new")
LAYERS = {"all": ("out_conv_1", "out_conv_2"), "new": ("out_conv_3",)}

COLUMNS = {
    "tested_on": Column("Model on whose cases the choice was tested; it was chosen on those of the others. 'all': chosen on every case"),
    "threshold_all": Column("All-lesion map: threshold with the best Dice"),
    "threshold_new": Column("New-lesion map: best lesion F1 and share of large lesions found, at 0.2 false ones per null pair at most"),
    "peak_new": Column("New-lesion map: probability that a lesion must reach somewhere; 0: none"),
    "temperature_all": Column("All-lesion map: log-odds are divided by it"),
    "temperature_new": Column("New-lesion map: log-odds are divided by it"),
    "dice_all": Column("Tested: mean Dice of the all-lesion map"),
    "f1_new": Column("Tested: mean MSSEG lesion F1 of the new-lesion map, made and real pairs"),
    "false_per_null": Column("Tested: false new lesions per null pair"),
    "error_all": Column("Tested: calibration error of the all-lesion map as it is"),
    "error_all_scaled": Column("Tested: the same after division by the temperature"),
    "error_new": Column("Tested: calibration error of the new-lesion map as it is"),
    "error_new_scaled": Column("Tested: the same after division by the temperature"),
    "loss_all": Column("Tested: mean log loss per voxel of the all-lesion map as it is"),
    "loss_all_scaled": Column("Tested: the same after division by the temperature"),
    "loss_new": Column("Tested: mean log loss per voxel of the new-lesion map as it is"),
    "loss_new_scaled": Column("Tested: the same after division by the temperature"),
}
RELIABILITY = {
    "map": Column("new or all"),
    "scaled": Column("Whether the log-odds were divided by the temperature that the other models' cases gave"),
    "low": Column("Lower end of the bin of probability"),
    "high": Column("Upper end of the bin"),
    "voxels": Column("Voxels of the brains in the bin"),
    "mean_probability": Column("Mean probability of them"),
    "share_of_lesion": Column("Share of them that is lesion"),
}


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    choosing = commands.add_parser("choose")
    choosing.add_argument("results", nargs="+", type=Path)
    choosing.add_argument("--tables", type=Path, default=RESULTS)
    choosing.add_argument("--picture", type=Path, default=PICTURE)
    writing = commands.add_parser("write")
    writing.add_argument("model", type=Path)
    writing.add_argument("out", type=Path)
    writing.add_argument("--tables", type=Path, default=RESULTS)
    args = parser.parse_args(words)
    if args.command == "choose":
        choose([case for folder in args.results for case in read_results(folder)], args.tables, args.picture)
    else:
        write(args.model, args.out, read_final(args.tables))


def choose(cases: Sequence[CaseResult], tables: Path, picture: Path) -> None:
    """Write the two tables and the picture."""
    parts = [(name, cal.choose(others), own) for name, others, own in cal.folds(cases)]
    rows = [tested(name, chosen, own) for name, chosen, own in parts]
    rows.append({"tested_on": FINAL, **thresholds(keep_what_helps(cal.choose(cases), rows))})
    write_table(tables / "calibration.tsv", rows, COLUMNS, dictionary=False)
    curve_rows = [row for which in ("new", "all") for scaled in (False, True) for row in held_out_curve(parts, which, scaled=scaled)]
    write_table(tables / "reliability.tsv", curve_rows, RELIABILITY, dictionary=False)
    draw(curve_rows, picture)
    print((tables / "calibration.tsv").read_text(encoding="utf-8"), end="")


def thresholds(chosen: cal.Calibration) -> dict[str, float]:
    """The columns of what was chosen."""
    return {name: getattr(chosen, name) for name in CHOSEN}


def tested(name: str, chosen: cal.Calibration, own: Sequence[CaseResult]) -> dict[str, object]:
    """What was chosen on other cases does on a model's own."""
    new, every = chosen.new, Point(chosen.threshold_all)
    row: dict[str, object] = {"tested_on": name, **thresholds(chosen)}
    row["dice_all"] = cal.mean(outcome(f, every).dice for case in own if (f := case.of("network, all")))
    row["f1_new"] = cal.mean(outcome(f, new).f1_msseg for case in own if case.kind in {"pair", "real"} and (f := case.of("network")))
    row["false_per_null"] = cal.mean(float(outcome(f, new).n_false) for case in own if case.kind == "null" and (f := case.of("network")))
    for which in ("all", "new"):
        counts, temperature = cal.pooled(own, which), getattr(chosen, f"temperature_{which}")
        row[f"error_{which}"] = cal.calibration_error(counts)
        row[f"error_{which}_scaled"] = cal.calibration_error(counts, temperature)
        row[f"loss_{which}"] = cal.log_loss(counts, 1.0)
        row[f"loss_{which}_scaled"] = cal.log_loss(counts, temperature)
    return row


def keep_what_helps(chosen: cal.Calibration, rows: Sequence[Mapping[str, object]]) -> cal.Calibration:
    """A temperature stays only where temperatures lowered log loss and calibration error on the cases that they were not fitted on."""
    for which in ("all", "new"):
        helps = all(
            cal.mean(float(str(row[f"{name}_{which}_scaled"])) for row in rows)
            < cal.mean(float(str(row[f"{name}_{which}"])) for row in rows)
            for name in ("error", "loss")
        )
        if not helps:
            chosen = replace(chosen, **{f"temperature_{which}": 1.0})
    return chosen


def held_out_curve(
    parts: Sequence[tuple[str, cal.Calibration, Sequence[CaseResult]]], which: str, *, scaled: bool
) -> list[dict[str, object]]:
    """The reliability of all models' cases together, each with the temperature that the others gave."""
    sums: dict[tuple[float, float], np.ndarray] = {}
    for _, chosen, own in parts:
        temperature = getattr(chosen, f"temperature_{which}") if scaled else 1.0
        for bin_ in cal.reliability(cal.pooled(own, which), temperature):
            total = np.array([bin_.n, bin_.n * bin_.mean_probability, bin_.n * bin_.share_of_lesion])
            sums[bin_.low, bin_.high] = sums.get((bin_.low, bin_.high), np.zeros(3)) + total
    return [
        {
            "map": which,
            "scaled": scaled,
            "low": low,
            "high": high,
            "voxels": int(n),
            "mean_probability": p / n,
            "share_of_lesion": share / n,
        }
        for (low, high), (n, p, share) in sorted(sums.items())
    ]


def draw(rows: Sequence[Mapping[str, object]], path: Path) -> None:
    """The reliability curves, a panel per map, as SVG."""
    panels = []
    for which, title in (("new", "new lesions"), ("all", "all lesions")):
        lines = [Line("perfect", [0.0, 1.0], [0.0, 1.0], colour=3)]
        for scaled, label in ((False, "as it is"), (True, "with temperature")):
            points = [row for row in rows if row["map"] == which and row["scaled"] is scaled]
            x, y = ([float(str(p[name])) for p in points] for name in ("mean_probability", "share_of_lesion"))
            lines.append(Line(label, x, y, colour=int(scaled)))
        panels.append(Panel(lines, f"{title}: share of lesion", (0.0, 1.0)))
    figure = curves(panels, "mean probability of the voxels", x_limits=(0.0, 1.0))
    if not isinstance(figure, Absent):
        write_bytes(path, encode(figure, "reliability", "Reliability", "Share of lesion against probability").svg)


def read_final(tables: Path) -> cal.Calibration:
    """What was chosen on all cases. Raises: NoInput; SystemExit where the table has no such row."""
    return read_chosen(tables, FINAL)


def read_chosen(tables: Path, name: str) -> cal.Calibration:
    """The choice that was tested on the cases of a model, or the final one."""
    path = tables / "calibration.tsv"
    for row in read_table(path):
        if row["tested_on"] == name:
            return cal.Calibration(**{name: number(row[name]) for name in CHOSEN})
    msg = f"{path}: has no row '{name}'. Run `calibrate.py choose` with the cases of that model."
    raise SystemExit(msg)


def write(model_path: Path, out: Path, chosen: cal.Calibration) -> None:
    """The model with thresholds and temperatures. Raises: SystemExit for a file that has temperatures already; as load_model."""
    model = load_model(model_path)
    if (model.info.temperature_all, model.info.temperature_new) != (1.0, 1.0):
        found = f"{model.info.temperature_all} and {model.info.temperature_new}"
        msg = f"{model_path}: has temperatures already ({found}). Give the file of the training."
        raise SystemExit(msg)
    for which, layers in LAYERS.items():
        for layer in layers:
            for parameter in getattr(model.network.decoder, layer).parameters():
                parameter.data /= getattr(chosen, f"temperature_{which}")
    info = replace(
        model.info,
        threshold_all=round(cal.scaled(chosen.threshold_all, chosen.temperature_all), 6),
        threshold_new=round(cal.scaled(chosen.threshold_new, chosen.temperature_new), 6),
        peak_new=round(cal.scaled(chosen.peak_new, chosen.temperature_new), 6) if chosen.peak_new else 0.0,
        temperature_all=round(chosen.temperature_all, 4),
        temperature_new=round(chosen.temperature_new, 4),
    )
    save_model(model.network, info, out)
    print(f"{hashlib.sha256(out.read_bytes()).hexdigest()}  {out.name}")


if __name__ == "__main__":
    main()
