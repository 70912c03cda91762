"""The options of `train`, one type per option, and the recipes that --preset names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from coactseg_cli.config import Precision, TrainConfig

DATA = "Data"
SAMPLES = "Samples"
LOSS = "Network and loss"
RUN = "Running"


class Preset(StrEnum):
    """Recipes."""

    CPU = "cpu"  # TrainConfig's defaults
    PAPER = "paper"  # Wu et al. 2023


class Schedule(StrEnum):
    """How the learning rate goes."""

    COSINE = "cosine"
    CONSTANT = "constant"


class Ablation(StrEnum):
    """The seven settings of Table 3 of Wu et al. 2023: which data, and when the relation loss counts."""

    PAIRS = "pairs"
    SINGLES = "singles"
    BOTH = "both"
    PAIRS_RELATION = "pairs-relation"
    SINGLES_RELATION = "singles-relation"
    BOTH_RELATION = "both-relation"
    STAGED = "staged"  # CoactSeg


# What the paper's recipe sets otherwise than TrainConfig's defaults (Wu et al. 2023, section 3, and the published code).
PRESETS: Mapping[Preset, Mapping[str, Any]] = {
    Preset.CPU: {},
    Preset.PAPER: {
        "iterations": 20_000,
        "patch_size": (80, 80, 80),
        "pairs_per_batch": 4,
        "singles_per_batch": 4,
        "synthetic_share": 0.0,
        "transplant_share": 0.0,
        "null_new_on_singles": False,
        "learning_rate": 1e-2,
        "schedule": "constant",
        "cross_entropy_weight": 0.0,
        "new_weight": 1.0,
        "relation_weight": 1.0,
        "base_filters": 16,
        "dropout": 0.5,
        "lesion_share": 1.0,
        "max_shift": 10,
        "augment_strength": 0.0,
        "clip_norm": 0.0,
        "ema_decay": 0.0,
        "seed": 1337,
        "precision": Precision.FP32,
    },
}

_DEFAULTS = {item.name: item.default for item in fields(TrainConfig)}


def recipe(preset: Preset, chosen: Mapping[str, Any], ablation: Ablation | None = None) -> dict[str, Any]:
    """Fields of TrainConfig: the preset's, then what the user chose (None: nothing), then the row of Table 3."""
    fields_of_run = {**PRESETS[preset], **{name: value for name, value in chosen.items() if value is not None}}
    return fields_of_run if ablation is None else {**fields_of_run, **row_of_table_3(ablation, fields_of_run)}


def row_of_table_3(ablation: Ablation, others: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that one row sets. With one data set alone it fills the whole batch, so that all rows see as many patches."""
    pairs, singles, iterations = (others.get(n, _DEFAULTS[n]) for n in ("pairs_per_batch", "singles_per_batch", "iterations"))
    data, _, relation = ablation.partition("-")
    shares = {"pairs": (pairs + singles, 0), "singles": (0, pairs + singles)}.get(data, (pairs, singles))
    weight = 1.0 if relation or ablation is Ablation.STAGED else 0.0
    start = others.get("relation_from") or iterations // 2
    return {
        "pairs_per_batch": shares[0],
        "singles_per_batch": shares[1],
        "relation_weight": weight,
        "relation_from": start if ablation is Ablation.STAGED else 0,
    }


def _help(text: str, field: str) -> str:
    """The sentence with the default of --preset cpu."""
    value = _DEFAULTS[field]
    if isinstance(value, bool):
        value = "yes" if value else "no"
    return f"{text} Default: {','.join(map(str, value)) if isinstance(value, tuple) else value}."


# ---- train

Prepared = Annotated[list[Path], typer.Argument(help="Data sets that `coactseg prep -d labels=PATH` wrote.", show_default=False)]
TrainOut = Annotated[Path, typer.Argument(help="Folder for the model, checkpoints and losses.", show_default=False)]
PresetName = Annotated[Preset, typer.Option("--preset", help="Recipe. cpu: for a few cores; paper: Wu et al. 2023. Other options win.")]
AblationName = Annotated[
    Ablation | None,
    typer.Option("--ablation", help="A row of Table 3 of the paper: the data used, and whether the relation loss counts (and from when)."),
]
Fold = Annotated[
    str | None,
    typer.Option("--fold", metavar="K/N", help="Validate on part K of N of the participants; train on the others.", rich_help_panel=DATA),
]
ValidationLabels = Annotated[
    list[str] | None,
    typer.Option("--validation", metavar="LABEL...", help="Participants to validate on instead of training on them.", rich_help_panel=DATA),
]
ValidationPrepared = Annotated[
    list[Path] | None,
    typer.Option(
        "--validation-prepared", metavar="DIR...", help="Prepared data sets to validate on, beside those to train on.", rich_help_panel=DATA
    ),
]
DeriveNew = Annotated[
    bool,
    typer.Option(
        "--derive-new",
        help="Where both visits of a pair have all-lesion labels, and it has no new-lesion label, take one from these.",
        rich_help_panel=DATA,
    ),
]
CacheDir = Annotated[
    Path | None,
    typer.Option(
        "--cache-dir", metavar="DIR", help="Where volumes are kept as training reads them. Default: OUT/cache.", rich_help_panel=DATA
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="LABEL...", help="Participants that are never read: a test set.", rich_help_panel=DATA),
]
TrainPatch = Annotated[
    str | None,
    typer.Option("--patch-size", metavar="N", help="Edge of a patch in voxels, or three; default: 64.", rich_help_panel=SAMPLES),
]
PairsPerBatch = Annotated[
    int | None,
    typer.Option("--pairs-per-batch", min=0, help=_help("Samples with two visits.", "pairs_per_batch"), rich_help_panel=SAMPLES),
]
SinglesPerBatch = Annotated[
    int | None,
    typer.Option("--singles-per-batch", min=0, help=_help("Samples with one visit.", "singles_per_batch"), rich_help_panel=SAMPLES),
]
SyntheticShare = Annotated[
    float | None,
    typer.Option(
        "--synthetic-share",
        min=0.0,
        max=1.0,
        help=_help("Share of the pair samples with lesions painted into real scans.", "synthetic_share"),
        rich_help_panel=SAMPLES,
    ),
]
TransplantShare = Annotated[
    float | None,
    typer.Option(
        "--transplant-share",
        min=0.0,
        max=1.0,
        help=_help(
            "Share of the synthetic pairs and single scans that get all lesions of another patient, each in its place.", "transplant_share"
        ),
        rich_help_panel=SAMPLES,
    ),
]
LesionShapes = Annotated[
    Path | None,
    typer.Option(
        "--lesion-shapes", metavar="DIR", help="Lesion masks whose shapes are painted too. Default: the labels'.", rich_help_panel=SAMPLES
    ),
]
LesionShare = Annotated[
    float | None,
    typer.Option(
        "--lesion-share",
        min=0.0,
        max=1.0,
        help=_help("Share of patches centred on a lesion; the others lie anywhere in the brain.", "lesion_share"),
        rich_help_panel=SAMPLES,
    ),
]
MaxShift = Annotated[
    int | None,
    typer.Option(
        "--max-shift", min=0, help=_help("Voxels by which a patch is moved off its lesion.", "max_shift"), rich_help_panel=SAMPLES
    ),
]
AugmentStrength = Annotated[
    float | None,
    typer.Option(
        "--augment-strength",
        min=0.0,
        help=_help("Strength of changes of intensity; 0: flips and rotations only.", "augment_strength"),
        rich_help_panel=SAMPLES,
    ),
]
Seed = Annotated[int | None, typer.Option("--seed", help=_help("Seed of all that is drawn.", "seed"), rich_help_panel=SAMPLES)]
BaseFilters = Annotated[
    int | None,
    typer.Option("--base-filters", min=1, help=_help("Filters of the first level.", "base_filters"), rich_help_panel=LOSS),
]
Dropout = Annotated[
    float | None,
    typer.Option("--dropout", min=0.0, max=0.99, help=_help("Share of features dropped.", "dropout"), rich_help_panel=LOSS),
]
LearningRate = Annotated[
    float | None,
    typer.Option("--learning-rate", min=0.0, help=_help("Largest step of Adam.", "learning_rate"), rich_help_panel=LOSS),
]
ScheduleName = Annotated[
    Schedule | None,
    typer.Option("--schedule", help=_help("Course of the learning rate.", "schedule"), rich_help_panel=LOSS),
]
CrossEntropyWeight = Annotated[
    float | None,
    typer.Option("--cross-entropy-weight", min=0.0, help=_help("Beside Dice.", "cross_entropy_weight"), rich_help_panel=LOSS),
]
NewWeight = Annotated[
    float | None,
    typer.Option("--new-weight", min=0.0, help=_help("Weight of the new-lesion loss (lambda 1).", "new_weight"), rich_help_panel=LOSS),
]
RelationWeight = Annotated[
    float | None,
    typer.Option(
        "--relation-weight", min=0.0, help=_help("Weight of the relation loss (lambda 2).", "relation_weight"), rich_help_panel=LOSS
    ),
]
RelationFrom = Annotated[
    int | None,
    typer.Option(
        "--relation-from",
        min=0,
        help="Iteration from which the relation loss counts. Default: half of the iterations.",
        rich_help_panel=LOSS,
    ),
]
NullNew = Annotated[
    bool | None,
    typer.Option(
        "--null-new-on-singles/--no-null-new-on-singles",
        help=_help("Teach that a visit beside itself has no new lesion.", "null_new_on_singles"),
        rich_help_panel=LOSS,
    ),
]
ClipNorm = Annotated[
    float | None,
    typer.Option("--clip-norm", min=0.0, help=_help("Longest gradient; 0: any.", "clip_norm"), rich_help_panel=LOSS),
]
EmaDecay = Annotated[
    float | None,
    typer.Option(
        "--ema-decay",
        min=0.0,
        max=0.999999,
        help=_help("Decay of the average of the weights that is validated and written; 0: no average.", "ema_decay"),
        rich_help_panel=LOSS,
    ),
]
Init = Annotated[
    str | None,
    typer.Option("--init", metavar="NAME|FILE", help="Model to start from: packaged, a file, or 'miccai2023'.", rich_help_panel=RUN),
]
ValidateEvery = Annotated[
    int | None,
    typer.Option(
        "--validate-every", min=1, help="Iterations between validations. Default: a tenth of the iterations.", rich_help_panel=RUN
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Begin anew in an OUT that holds a training.", rich_help_panel=RUN)]
Preview = Annotated[
    bool, typer.Option("--preview", help="Write OUT/preview.png, samples as the network would see them, and stop.", rich_help_panel=RUN)
]
Compile = Annotated[bool, typer.Option("--compile/--no-compile", help="Compile the network first (torch.compile).", rich_help_panel=RUN)]
Reproducible = Annotated[
    bool,
    typer.Option(
        "--reproducible", help="fp32 and deterministic kernels: the same run, resumed or not, ends with the same bits.", rich_help_panel=RUN
    ),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Threads that draw samples. Default: the processors but one.", rich_help_panel=RUN),
]
Iterations = Annotated[
    int | None, typer.Option("--iterations", min=1, help=_help("Steps of the optimiser.", "iterations"), rich_help_panel=RUN)
]
CheckpointEvery = Annotated[
    int | None,
    typer.Option("--checkpoint-every", min=1, help=_help("Iterations between checkpoints.", "checkpoint_every"), rich_help_panel=RUN),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in OUT.", rich_help_panel=RUN)]
ModelTitle = Annotated[str | None, typer.Option("--name", help=_help("Name in the model file.", "name"), rich_help_panel=RUN)]
TrainPrecision = Annotated[Precision | None, typer.Option("--precision", help=_help("Number format.", "precision"), rich_help_panel=RUN)]
