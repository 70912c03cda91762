"""What a trained model says of itself: the metadata in its file, and OUT/model-card.md."""

from __future__ import annotations

import math
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bids_app.files import write_text
from coactseg_cli import __version__
from coactseg_cli.config import TrainConfig
from coactseg_cli.network.checkpoint import CheckpointInfo
from coactseg_cli.sampling.patches import Case
from coactseg_cli.sampling.splits import patient_of
from coactseg_cli.training_data import Data, count_labelled, counted, seen_in
from coactseg_cli.validation import Row


def describe(data: Data, config: TrainConfig, iteration: int, known: Sequence[str] = ()) -> CheckpointInfo:
    """The metadata of the model file; `iteration`: that of the weights; `known`: participants that the weights of --init had seen."""
    pairs, singles = count_labelled(data.split.training)
    return CheckpointInfo(
        name=config.name,
        base_filters=config.base_filters,
        patch_size=config.patch_size,
        spacing_mm=data.spacing_mm,
        normalisation="zscore",
        n_pairs=pairs,
        n_singles=singles,
        training_data=tuple(sorted({patient_of(c) for c in data.split.training} | set(known))),
        iterations=iteration,
        seen=seen_in(data.split.training, config.augment_strength),
    )


def write_card(data: Data, config: TrainConfig, iteration: int, rows: Sequence[Row], known: Sequence[str] = ()) -> Path:
    """OUT/model-card.md. `rows`: the validation that chose the weights; none where nothing was validated. `known`: as in describe."""
    path = config.out_dir / "model-card.md"
    write_text(path, card(config, facts(data, config, iteration, known), rows, shlex.join(["coactseg", *sys.argv[1:]])))
    return path


def facts(data: Data, config: TrainConfig, iteration: int, known: Sequence[str] = ()) -> dict[str, object]:
    """What the card says first."""
    chosen = "the best on the validation cases" if data.split.validation else "the last"
    held_out = ", ".join(f"sub-{label}" for label in config.exclude)
    return {
        "intended use": "research; not for diagnosis",
        "network": f"V-Net of CoactSeg (Wu et al. 2023), {config.base_filters} base filters",
        "input": f"FLAIR of one or two visits, voxels of {data.spacing_mm} mm, normalised inside the brain mask",
        "trained on": f"{counted(data.split.training)}: {_names(data.split.training)}",
        **({"began as": f"weights trained on {', '.join(known)} before"} if known else {}),
        "validated on": f"{counted(data.split.validation)}: {_names(data.split.validation)}" if data.split.validation else "nothing",
        "never read": held_out or "no prepared participant was left out",
        "weights": f"{'average of the weights' if config.ema_decay else 'weights'} at iteration {iteration}, {chosen}",
        "versions": ", ".join(f"{name} {number}" for name, number in versions().items()),
    }


def _names(cases: Sequence[Case]) -> str:
    return ", ".join(sorted({patient_of(c) for c in cases}))


def versions() -> dict[str, str]:
    """What computed this."""
    return {"coactseg": __version__, "python": platform.python_version(), **{n: version(n) for n in ("torch", "numpy", "scipy")}}


def card(config: TrainConfig, about: Mapping[str, object], rows: Sequence[Row], command: str) -> str:
    """The card as Markdown."""
    lines = [
        f"# Model card: {config.name}",
        "",
        "> **Research use only; not for diagnosis.** Look at every map, and measure on cases that had no part in training.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {_escaped(name)} | {_escaped(value)} |" for name, value in about.items()),
        "",
        "## Validation",
        "",
        *_validation_lines(rows),
        "",
        "## Made by",
        "",
        f"    {command}",
        "",
        "| setting | value |",
        "|---|---|",
        *(f"| {_escaped(item.name)} | {_escaped(getattr(config, item.name))} |" for item in fields(config)),
        "",
    ]
    return "\n".join(lines)


def _validation_lines(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return ["No case was kept for validation (`--fold`, `--validation`): nothing is known of how well this model does."]
    names = ("case", "kind", "dice", "lesion_f1", "lesion_sensitivity", "lesion_ppv", "lesions_ref", "false_lesions")
    return [
        f"At iteration {rows[0].iteration}, which these very cases chose: the figures are optimistic.",
        "Definitions: docs/metrics.md, convention mm.",
        "",
        "| " + " | ".join(names) + " |",
        "|" + "---|" * len(names),
        *("| " + " | ".join(_figure(getattr(row, name)) for name in names) + " |" for row in rows),
    ]


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return "n/a" if math.isnan(value) else f"{value:.3f}"
    return _escaped(value)


def _escaped(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text.replace("|", "\\|").replace("\n", " ") or "none"
