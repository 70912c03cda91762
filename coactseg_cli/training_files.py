"""What a training writes beside its checkpoint while it runs: curves as tables and for TensorBoard, settings. Computes nothing.

OUT/losses.tsv .json        a row per iteration
    validation.tsv .json    a row per case and validation
    events/                 the same for TensorBoard
    config.json             the settings
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from bids_app.files import write_bytes, write_json
from bids_app.tables import Column, cell, columns_json
from coactseg_cli.config import TrainConfig
from coactseg_cli.network.losses import LossTerms
from coactseg_cli.validation import COLUMNS, Row

LOSSES = {
    "iteration": Column("Updates of the weights so far"),
    "dice_all_baseline": Column("1 - Dice of the all-lesion head at the baseline (Eq. 2)"),
    "dice_all_followup": Column("1 - Dice of the all-lesion head at the follow-up (Eq. 2)"),
    "dice_new": Column("1 - Dice of the new-lesion head (Eq. 2)"),
    "cross_entropy": Column("Mean cross-entropy of the labelled voxels, summed over the heads"),
    "relation_agreement": Column("Single scans: mean square of the difference of the two all-lesion heads (Eq. 3)"),
    "relation_absent": Column("Pairs, inside new lesions: mean square of the baseline head (Eq. 3)"),
    "relation_present": Column("Pairs, inside new lesions: mean square of what the follow-up head lacks to 1 (Eq. 3)"),
    "total": Column("What is minimised (Eq. 4)"),
    "learning_rate": Column("Step of Adam"),
    "seconds": Column("Time of the iteration, waiting for the batch included", "s"),
}
VALIDATION = {
    "iteration": Column("Updates of the weights so far"),
    "case": Column("Participant and session; _pair: with the visit before"),
    "kind": Column("all: all lesions of a single scan; new: new lesions of a pair"),
    "dice": Column("Dice; n/a without a lesion in the label"),
    "lesion_sensitivity": Column("Share of the lesions of the label that are found (MSSEG)"),
    "lesion_ppv": Column("Share of the lesions of the map that are in the label (MSSEG)"),
    "lesion_f1": Column("Lesion F1 (MSSEG)"),
    "lesions_ref": Column("Lesions of the label"),
    "lesions_pred": Column("Lesions of the map"),
    "false_lesions": Column("Lesions of the map that are not in the label"),
    "volume_ref_mm3": Column("Volume of the label", "mm3"),
    "volume_pred_mm3": Column("Volume of the map", "mm3"),
    "hd95_mm": Column("95 % Hausdorff distance; n/a where the map or the label is empty", "mm"),
}


class Curve:
    """A table that grows: rows are remembered, then appended; rows after the resumed iteration are dropped at the start."""

    def __init__(self, path: Path, columns: Mapping[str, Column], iteration: int) -> None:
        self.path, self.columns = path, columns
        self.waiting: list[Mapping[str, object]] = []
        write_json(path.with_suffix(".json"), columns_json(columns))
        kept = [line for line in _lines(path) if int(line.split("\t")[0]) <= iteration] if iteration else []
        write_bytes(path, ("\n".join(["\t".join(columns), *kept]) + "\n").encode())

    def add(self, row: Mapping[str, object]) -> None:
        """Remember one row."""
        self.waiting.append(row)

    def flush(self) -> None:
        """Append the remembered rows."""
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines("\t".join(_short(row[name]) for name in self.columns) + "\n" for row in self.waiting)
        self.waiting = []

    def read(self) -> list[dict[str, str]]:
        """All rows that are in the file."""
        return [dict(zip(self.columns, line.split("\t"), strict=True)) for line in _lines(self.path)]


def _lines(path: Path) -> list[str]:
    """Whole rows below the header; a row that was cut off by a kill is passed over."""
    if not path.exists():
        return []
    header, *lines = path.read_text(encoding="utf-8").split("\n")
    return [line for line in lines[:-1] if line.count("\t") == header.count("\t")]


def _short(value: object) -> str:
    return cell(float(f"{value:.6g}")) if isinstance(value, float) and math.isfinite(value) else cell(value)


class Board:
    """The curves for TensorBoard, in OUT/events."""

    def __init__(self, folder: Path, iteration: int) -> None:
        from tensorboardX import SummaryWriter

        self.writer = SummaryWriter(str(folder), purge_step=iteration + 1 if iteration else None)

    def add(self, group: str, values: Mapping[str, object], iteration: int) -> None:
        """One point per curve; what is undefined is left out."""
        for name, value in values.items():
            if isinstance(value, int | float) and name != "iteration" and not math.isnan(value):
                self.writer.add_scalar(f"{group}/{name}", value, iteration)

    def flush(self) -> None:
        """To the disk."""
        self.writer.flush()

    def close(self) -> None:
        """To the disk, for good."""
        self.writer.close()


class Notebook:
    """The curves of a run, in every form in which they are written."""

    def __init__(self, config: TrainConfig, iteration: int) -> None:
        write_config(config)
        self.losses = Curve(config.out_dir / "losses.tsv", LOSSES, iteration)
        self.validation = Curve(config.out_dir / "validation.tsv", VALIDATION, iteration)
        self.board = Board(config.out_dir / "events", iteration)

    def add_losses(self, iteration: int, terms: LossTerms, learning_rate: float, seconds: float) -> dict[str, float]:
        """One iteration. Returns: its row of losses.tsv."""
        values = {name: float(value) for name, value in terms._asdict().items()}
        row = {"iteration": iteration, **values, "learning_rate": learning_rate, "seconds": seconds}
        self.losses.add(row)
        self.board.add("train", row, iteration)
        return row

    def add_validation(self, rows: Sequence[Row], score: float, iteration: int) -> None:
        """One validation."""
        for row in rows:
            values = {name: getattr(row, name) for name in COLUMNS}
            self.validation.add(values)
            self.board.add(f"validation {row.kind} {row.case}", values, iteration)
        self.board.add("validation", {"score": score}, iteration)

    def flush(self) -> None:
        """To the disk."""
        self.losses.flush()
        self.validation.flush()
        self.board.flush()


def write_config(config: TrainConfig) -> None:
    """OUT/config.json: every setting, as text where JSON has no such type."""
    content = json.loads(json.dumps(asdict(config), default=str))
    write_json(config.out_dir / "config.json", content)


def clean_up(out_dir: Path) -> None:
    """Remove what a killed run left half-written: temporary names in OUT and its cache."""
    for path in [*out_dir.glob(".tmp-*"), *(out_dir / "cache").glob(".tmp-*")]:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
