"""Which model is scored on whom: `--model FILE=label,label`, refused where the file says that it was trained on one of them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coactseg_cli.config import Precision, SegmentConfig
from coactseg_cli.network.checkpoint import Model, load_model
from coactseg_cli.network.inference import Engine, make_engine


@dataclass(frozen=True, slots=True)
class Assignment:
    """A model file and subjects (labels without 'sub-') that it never saw."""

    name: str  # A, B, ... in the order given
    path: Path
    subjects: tuple[str, ...]


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """The flags that say which models, which data, and how they are run."""
    parser.add_argument("prepared", nargs="+", type=Path, help="data sets that coactseg prep wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results of each case; what is there is not computed again")
    parser.add_argument("--model", action="append", required=True, metavar="FILE=LABEL,LABEL", help="repeat for each sibling model")
    parser.add_argument("--trained-on-too", action="store_true", help="trial only: score a model on what it was trained on")
    parser.add_argument("--threads", type=int, default=1)


def parse_models(words: Sequence[str]) -> tuple[Assignment, ...]:
    """Raises: SystemExit for a word that is not FILE=LABEL,LABEL, or a subject that two models are scored on."""
    found = []
    for name, word in zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", words, strict=False):
        path, _, labels = word.rpartition("=")
        subjects = tuple(label.removeprefix("sub-") for label in labels.split(",") if label)
        if not path or not subjects:
            msg = f"--model {word}: expected FILE=LABEL,LABEL with subjects that the model never saw."
            raise SystemExit(msg)
        found.append(Assignment(name, Path(path), subjects))
    every = [s for a in found for s in a.subjects]
    if twice := sorted({s for s in every if every.count(s) > 1}):
        msg = f"--model: sub-{', sub-'.join(twice)} given to two models. Score each subject with one."
        raise SystemExit(msg)
    return tuple(found)


def load_unseen(assignment: Assignment, *, trained_on_too: bool = False) -> Model:
    """The model, if it never saw its subjects. Raises: SystemExit; MissingWeights, WrongWeights."""
    model = load_model(assignment.path)
    seen = {name.removeprefix("sub-") for name in model.info.training_data} & set(assignment.subjects)
    if seen and not trained_on_too:
        msg = (
            f"{assignment.path}: was trained on sub-{', sub-'.join(sorted(seen))}, so a figure on them would be worth nothing. "
            "Give a model that never saw them (coactseg train --exclude)."
        )
        raise SystemExit(msg)
    if not model.info.training_data and not trained_on_too:
        msg = f"{assignment.path}: does not say on whom it was trained. Give a model file that coactseg train wrote."
        raise SystemExit(msg)
    return model


def engine_of(model: Model, threads: int) -> Engine:
    """As segment runs it by default."""
    return make_engine(model.network, SegmentConfig(precision=Precision.AUTO, threads=threads))
