"""OUT/training.html: what a training was made from and how it went, on one offline page. Trains nothing, chooses nothing.

    losses.tsv, validation.tsv, preview.png, settings -> validation_means.tsv, labels.tsv -> training.html

Every score and count on the page is in one of the tables beside it.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from bids_app.evaluation_page import Block, Cards, Chapter, EvaluationPage, Facts, PictureBlock, TableBlock, Title, Words, render
from bids_app.files import write_text
from bids_app.report import Finding, Heading, Table
from bids_app.tables import Column, number, read_table, write_table
from bids_app.tiles import Picture
from coactseg_cli.config import TrainConfig
from coactseg_cli.sampling.patches import Case
from coactseg_cli.sampling.splits import Split, patient_of
from coactseg_cli.training_charts import Columns, loss_plots, validation_plots
from coactseg_cli.training_words import methods, settings, warnings

PAGE_NAME = "training.html"
RESEARCH_LINE = "Research use only; not for diagnosis."
MEANS = {
    "iteration": Column("Updates of the weights so far"),
    "kind": Column("all: all lesions of single scans; new: new lesions of pairs"),
    "cases": Column("Validation cases of this kind"),
    "dice": Column("Mean Dice over the cases in which it is defined"),
    "lesion_f1": Column("Mean lesion F1 over the cases in which it is defined"),
    "false_lesions": Column("Mean number of false lesions per case"),
    "kind_score": Column("Mean over the cases of Dice, or without a lesion in the label 1 for an empty map and 0 for any lesion"),
    "score": Column("Mean of kind_score over the kinds; the checkpoint with the largest is chosen"),
}
LABELS = {
    "label": Column("What the label shows"),
    "training": Column("Cases with it that were trained on"),
    "validation": Column("Cases with it on the validation side"),
}
CASE_HEADINGS = {
    "case": Heading("Case", words=True),
    "kind": Heading("Lesions", words=True),
    "dice": Heading("Dice", digits=3),
    "lesion_f1": Heading("F1", digits=3, description="lesion F1"),
    "lesion_sensitivity": Heading("Sensitivity", digits=3, description="share of the label's lesions that are found"),
    "lesion_ppv": Heading("PPV", digits=3, description="share of the map's lesions that are in the label"),
    "lesions_ref": Heading("In label", description="lesions"),
    "lesions_pred": Heading("In map", description="lesions"),
    "false_lesions": Heading("False", description="lesions of the map that are not in the label"),
    "volume_ref_mm3": Heading("Volume, label", "mm³", 0),
    "volume_pred_mm3": Heading("Volume, map", "mm³", 0),
}
COUNTS = ("lesions_ref", "lesions_pred", "false_lesions")
GOOD = (
    "A row per sample. Amber: lesion; red: new lesion; blue: not taught there. Good: outlines follow what is bright, red lies on what is "
    "there at follow-up and not at baseline, the difference shows red places as bright, both visits look like scans of one person. Bad: "
    "outlines beside the lesions (labels on another grid), most of a map blue, lesions painted into fluid or outside the brain."
)


def write_page(out_dir: Path, config: TrainConfig, split: Split, chosen: int, versions: Mapping[str, str]) -> Path:
    """Write training.html, validation_means.tsv and labels.tsv from what the training left in OUT.

    Args:
        out_dir: folder with losses.tsv and validation.tsv.
        config: the settings of the run.
        split: cases that were trained on and validated on.
        chosen: iteration of the weights in the model file; without validation the last.
        versions: name to version of what computed, 'coactseg' among them.

    Returns: the page. Raises: NoInput, InvalidDataset where a table is missing or broken; CannotCreate.
    """
    losses = _columns(read_table(out_dir / "losses.tsv"))
    validation = read_table(out_dir / "validation.tsv")
    means, labels = validation_means(validation), label_counts(split)
    write_table(out_dir / "validation_means.tsv", means, MEANS, description="Means of validation.tsv per validation and kind of map.")
    write_table(out_dir / "labels.tsv", labels, LABELS, description="What the training learned from.")
    at_chosen = [row for row in validation if int(row["iteration"]) == chosen]
    chapters = (
        _summary(config, split, losses, [m for m in means if m["iteration"] == chosen], chosen),
        _curves(config, losses, means, chosen),
        _cases(at_chosen, chosen),
        _sources(split, config, labels),
        _preview(out_dir),
        _settings(config, versions),
        _methods(config, split, versions, chosen, validated=bool(at_chosen)),
    )
    lead = f"{config.name}: what it was made from, and how its training went."
    page = EvaluationPage(f"Training of {config.name}", lead, RESEARCH_LINE, versions["coactseg"], chapters)
    write_text(out_dir / PAGE_NAME, render(page))
    return out_dir / PAGE_NAME


def _columns(rows: Sequence[Mapping[str, str]]) -> Columns:
    """Column name to numbers, (rows,)."""
    names = rows[0] if rows else ()
    return {name: np.array([number(row[name]) for row in rows]) for name in names}


def validation_means(rows: Sequence[Mapping[str, str]]) -> list[dict[str, float | int | str]]:
    """A row per validation and kind. `rows`: validation.tsv; what is undefined is in no mean."""
    keys = sorted({(int(row["iteration"]), row["kind"]) for row in rows})
    made: list[dict[str, float | int | str]] = []
    for iteration, kind in keys:
        some = [row for row in rows if (int(row["iteration"]), row["kind"]) == (iteration, kind)]
        means = {name: _mean([number(row[name]) for row in some]) for name in ("dice", "lesion_f1", "false_lesions")}
        made.append({"iteration": iteration, "kind": kind, "cases": len(some), **means, "kind_score": _mean([_score(row) for row in some])})
    for row in made:
        row["score"] = _mean([float(other["kind_score"]) for other in made if other["iteration"] == row["iteration"]])
    return made


def _score(row: Mapping[str, str]) -> float:
    """As validation.Row.score."""
    dice = number(row["dice"])
    return float(number(row["lesions_pred"]) == 0) if math.isnan(dice) and number(row["lesions_ref"]) == 0 else dice


def _mean(values: Sequence[float]) -> float:
    known = [v for v in values if not math.isnan(v)]
    return sum(known) / len(known) if known else math.nan


def label_counts(split: Split) -> list[dict[str, str | int]]:
    """Cases per kind of label on either side."""

    def count(cases: Sequence[Case], *, pair: bool, name: str) -> int:
        return sum(c.is_pair is pair and (name in c.labelled if name else not c.labelled) for c in cases)

    kinds = (
        ("new lesions of a pair", True, "new"),
        ("all lesions at the baseline of a pair", True, "all_baseline"),
        ("all lesions at the follow-up of a pair", True, "all_followup"),
        ("all lesions of a single scan", False, "all_baseline"),
        ("none, pair of visits", True, ""),
        ("none, single scan", False, ""),
    )
    return [
        {"label": title, **{side: count(getattr(split, side), pair=pair, name=name) for side in ("training", "validation")}}
        for title, pair, name in kinds
    ]


def _names(cases: Sequence[Case]) -> str:
    return ", ".join(sorted({patient_of(c) for c in cases}))


def _patients(cases: Sequence[Case]) -> int:
    return len({patient_of(c) for c in cases})


def _summary(config: TrainConfig, split: Split, losses: Columns, best: Sequence[Mapping[str, float | int | str]], chosen: int) -> Chapter:
    iterations, total = (losses.get(name, np.zeros(0)) for name in ("iteration", "total"))
    done = int(iterations[-1]) if len(iterations) else 0
    why = "best score on the validation cases" if best else "the last; nothing was validated"
    cards = (
        Finding("Iterations", done, note=f"of {config.iterations}"),
        Finding("Chosen iteration", chosen, note=why),
        Finding("Best score", float(best[0]["score"]) if best else None, digits=3, note="mean Dice per kind of map, averaged; 1 is best"),
        Finding("Trained on", _patients(split.training), "participants"),
        Finding("Validated on", _patients(split.validation), "participants", note="" if split.validation else "none was held out"),
        Finding("Never read", len(set(config.exclude)), "participants", note="--exclude"),
        Finding("Time per iteration", _median(losses), "s", 2, "median of the column seconds of losses.tsv"),
    )
    said = [Words(text, "warning") for text in warnings(config, iterations, total, validated=bool(best))]
    return Chapter("summary", "Summary", "Summary", (*said, Cards(cards)))


def _median(losses: Columns) -> float | None:
    seconds = losses.get("seconds", np.zeros(0))
    known = seconds[np.isfinite(seconds)]
    return float(np.median(known)) if len(known) else None


def _curves(config: TrainConfig, losses: Columns, means: Sequence[Mapping[str, float | int | str]], chosen: int) -> Chapter:
    start = config.relation_start + 1 if config.relation_weight else None  # the row of the first iteration at which it counts
    blocks: list[Block] = [loss_plots(losses, start)] if losses else [Words("No iteration was made.")]
    blocks.append(validation_plots(means, chosen) if means else Words("Nothing was validated, so that there is no curve of scores."))
    return Chapter("curves", "Curves", "Curves", tuple(blocks))


def _cases(rows: Sequence[Mapping[str, str]], chosen: int) -> Chapter:
    title = "Validation cases"
    if not rows:
        return Chapter("cases", title, "Cases", (Words("None was scored."),))
    cells = tuple(tuple(_cell(row, name) for name in CASE_HEADINGS) for row in rows)
    key = "n/a: undefined, for instance Dice of a case without a lesion in the label. Definitions: docs/metrics.md, convention mm."
    table = Table(f"Validation cases at iteration {chosen}", tuple(CASE_HEADINGS.values()), cells)
    return Chapter("cases", title, "Cases", (TableBlock(table), Words(key, "key")))


def _cell(row: Mapping[str, str], name: str) -> str | int | float:
    if name in {"case", "kind"}:
        return row[name]
    value = number(row[name])
    return int(value) if name in COUNTS and math.isfinite(value) else value


def _sources(split: Split, config: TrainConfig, labels: Sequence[Mapping[str, str | int]]) -> Chapter:
    headings = (Heading("Label", words=True), Heading("Training", "cases"), Heading("Validation", "cases"))
    table = Table("Cases per kind of label; a pair may have several", headings, tuple(tuple(row[n] for n in LABELS) for row in labels))
    people = (
        ("Trained on", _names(split.training) or "none"),
        ("Validated on", _names(split.validation) or "none"),
        ("Never read", ", ".join(f"sub-{label}" for label in config.exclude) or "no participant was left out"),
    )
    return Chapter("sources", "What was learned from", "Data", (TableBlock(table), Facts("Participants", people, ("Side", "Participants"))))


def _preview(out_dir: Path) -> Chapter:
    path = out_dir / "preview.png"
    if not path.exists():
        return Chapter("samples", "What the network saw", "Samples", (Words("There is no preview.png in OUT."),))
    data = path.read_bytes()
    width, height = Image.open(io.BytesIO(data)).size
    alt = "Sheet of samples. Columns: baseline, follow-up, difference, all lesions at baseline, all and new lesions at follow-up."
    return Chapter(
        "samples",
        "What the network saw",
        "Samples",
        (PictureBlock(Picture(data, "image/png", width, height, alt), "First samples.", GOOD),),
    )


def _settings(config: TrainConfig, versions: Mapping[str, str]) -> Chapter:
    headings = (Heading("Setting", words=True), Heading("Value", words=True), Heading("Against --preset cpu", words=True))
    table = Table("All settings", headings, settings(config))
    return Chapter(
        "settings", "Settings and versions", "Settings", (TableBlock(table), Facts("Versions", tuple(versions.items()), ("Of", "Version")))
    )


def _methods(config: TrainConfig, split: Split, versions: Mapping[str, str], chosen: int, *, validated: bool) -> Chapter:
    trained = f"{_patients(split.training)} participants ({len(split.training)} cases)"
    held_out = f"{_patients(split.validation)} participants ({len(split.validation)} cases)" if validated else ""
    files = (
        ("losses.tsv", "The loss terms, learning rate and seconds of every iteration."),
        ("validation.tsv", "The scores of every case at every validation."),
        ("validation_means.tsv", "Their means per kind of map, and the score that chooses."),
        ("labels.tsv", "Cases per kind of label."),
        ("config.json", "The settings."),
    )
    words = [Words(text) for text in methods(config, versions["coactseg"], trained, held_out, chosen)]
    return Chapter(
        "methods",
        "Methods",
        "Methods",
        (Title("To paste into a paper"), *words, Facts("Files beside this page", files, ("File", "Content"))),
    )
