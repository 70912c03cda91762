"""The seven rows of Table 3 of Wu et al. 2023 on one's own prepared data, or single changes from the everyday defaults, as one table.

    python benchmarks/ablation.py OUT PREPARED... [--set table3|defaults] [--iterations 300] [--folds 2] [--rows NAME...]

Each row trains once per fold and is scored on the patients that it did not see, with the weights of its last iteration: nothing is
chosen on them. A row that is finished is not run again, one that was stopped goes on. OUT/<set>.tsv and .md have the table.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if not __package__:  # started as a script
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bids_app.files import write_text
from coactseg_cli.config import Precision, TrainConfig
from coactseg_cli.network.device import choose_device, choose_dtype
from coactseg_cli.train import train
from coactseg_cli.training_options import Ablation, Preset, recipe
from coactseg_cli.training_state import CHECKPOINT

COLUMNS = ("row", "new_dice", "new_f1", "new_hd95_mm", "all_dice", "all_f1", "all_hd95_mm", "score", "seconds")
CARD = "model-card.md"  # the last file that a training writes
BOTH = ("new", "all")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a recipe, and the kinds of maps that it is taught."""

    name: str
    preset: Preset = Preset.CPU
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    ablation: Ablation | None = None
    kinds: tuple[str, ...] = BOTH


TABLE_3 = tuple(
    Row(name.value, Preset.PAPER, ablation=name, kinds=kinds)
    for name, kinds in (
        (Ablation.PAIRS, ("new",)),
        (Ablation.SINGLES, ("all",)),
        (Ablation.BOTH, BOTH),
        (Ablation.PAIRS_RELATION, ("new",)),
        (Ablation.SINGLES_RELATION, ("all",)),
        (Ablation.BOTH_RELATION, BOTH),
        (Ablation.STAGED, BOTH),
    )
)
DEFAULTS = (
    Row("defaults"),
    Row("no-warm-up-or-decay", changes={"schedule": "constant"}),
    Row("rate-1e-2-constant", changes={"schedule": "constant", "learning_rate": 1e-2}),
    Row("rate-1e-2", changes={"learning_rate": 1e-2}),
    Row("no-cross-entropy", changes={"cross_entropy_weight": 0.0}),
    Row("no-clipping", changes={"clip_norm": 0.0}),
    Row("no-average", changes={"ema_decay": 0.0}),
    Row("dropout-0.5", changes={"dropout": 0.5}),
    Row("no-synthetic-change", changes={"synthetic_share": 0.0}),
    Row("no-augmentation", changes={"augment_strength": 0.0}),
    Row("no-null-new", changes={"null_new_on_singles": False}),
    Row("lesion-share-1", changes={"lesion_share": 1.0}),
)
FP32 = Row("fp32", changes={"precision": Precision.FP32})  # where the defaults mean bf16
PAPER = Row("paper", Preset.PAPER)


def rows_of(name: str) -> tuple[Row, ...]:
    """The rows of a set; the comparison of number formats only where the processor computes in bf16."""
    if name == "table3":
        return TABLE_3
    has_bf16 = choose_dtype(Precision.AUTO, choose_device("cpu")).itemsize == 2
    return (*DEFAULTS, *((FP32,) if has_bf16 else ()), PAPER)


def config_of(row: Row, fold: int, args: argparse.Namespace) -> TrainConfig:
    """The settings of one row on one fold: small enough for a processor, the same for all rows."""
    small = {
        "iterations": args.iterations,
        "base_filters": args.base_filters,
        "patch_size": (args.patch_size,) * 3,
        "pairs_per_batch": args.pairs_per_batch,
        "singles_per_batch": args.singles_per_batch,
        "seed": args.seed,
        "precision": Precision.AUTO,  # unless the row says otherwise
    }
    out_dir = args.out / args.set / row.name / f"fold-{fold}"
    running = {"validate_every": args.iterations, "threads": args.threads, "device": args.device, "name": row.name}
    return TrainConfig(
        prepared=tuple(args.prepared),
        out_dir=out_dir,
        cache_dir=args.out / "cache",
        fold=(fold, args.folds),
        **recipe(row.preset, {**small, **running, **row.changes}, row.ablation),
    )


def run(config: TrainConfig) -> None:
    """Train, go on with a training that was stopped, or do nothing where it is finished."""
    if (config.out_dir / CARD).is_file():
        require_same(config)
        return
    train(dataclasses.replace(config, resume=(config.out_dir / CHECKPOINT).is_file()), log)


def log(line: str) -> None:
    """Beside the table, not in it."""
    print(f"    {line}", file=sys.stderr, flush=True)


def require_same(config: TrainConfig) -> None:
    """Raises: SystemExit where the finished run was made with other settings."""
    path = config.out_dir / "config.json"
    then = json.loads(path.read_text(encoding="utf-8"))
    now = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    changed = [f"{k}: {then[k]} then, {v} now" for k, v in now.items() if k in then and then[k] != v and k not in {"resume", "threads"}]
    if changed:
        sys.exit(f"{path}: this row is finished with other settings ({'; '.join(changed)}). Use those, or another OUT.")


def table_of(path: Path) -> list[dict[str, str]]:
    """The rows of a .tsv."""
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def summary(row: Row, configs: Sequence[TrainConfig]) -> dict[str, Any]:
    """One line of the table: the validation cases of all folds pooled; NaN where a kind is not taught or has no defined value."""
    cases = [case for config in configs for case in table_of(config.out_dir / "validation.tsv")]
    cases = [case for case in cases if case["kind"] in row.kinds and int(case["iteration"]) == configs[0].iterations]
    line: dict[str, Any] = {"row": row.name}
    for kind in BOTH:
        mine = [case for case in cases if case["kind"] == kind]
        line |= {f"{kind}_{short}": mean([number(c[name]) for c in mine]) for short, name in SCORES.items()}
    line["score"] = mean([mean([score(c) for c in cases if c["kind"] == kind]) for kind in row.kinds])
    line["seconds"] = sum(number(i["seconds"]) for config in configs for i in table_of(config.out_dir / "losses.tsv"))
    return line


SCORES = {"dice": "dice", "f1": "lesion_f1", "hd95_mm": "hd95_mm"}


def score(case: Mapping[str, str]) -> float:
    """As `validation.Row.score`: Dice; in a case without a lesion 1 for an empty map and 0 for any lesion."""
    if case["lesions_ref"] == "0" and math.isnan(number(case["dice"])):
        return float(case["lesions_pred"] == "0")
    return number(case["dice"])


def number(text: str) -> float:
    """NaN for n/a."""
    return math.nan if text == "n/a" else float(text)


def mean(values: Sequence[float]) -> float:
    """Mean of the values that are defined; NaN without any."""
    defined = [v for v in values if not math.isnan(v)]
    return statistics.fmean(defined) if defined else math.nan


def shown(value: object) -> str:
    """A cell."""
    if not isinstance(value, float):
        return str(value)
    return "n/a" if math.isnan(value) else f"{value:.0f}" if value >= 100 else f"{value:.3f}"


def as_tsv(lines: Sequence[Mapping[str, Any]]) -> str:
    """The table with tabs."""
    return "\n".join("\t".join(row) for row in [COLUMNS, *([shown(line[c]) for c in COLUMNS] for line in lines)]) + "\n"


def as_markdown(lines: Sequence[Mapping[str, Any]], note: str) -> str:
    """The table for a page, with what it stands on."""
    rows = [COLUMNS, ["---"] * len(COLUMNS), *([shown(line[c]) for c in COLUMNS] for line in lines)]
    return "\n".join(["| " + " | ".join(row) + " |" for row in rows]) + f"\n\n{note}\n"


def note_of(configs: Sequence[TrainConfig]) -> str:
    """What the figures stand on, so that nobody reads more into them."""
    first = configs[0]
    cases = {(c["case"], c["kind"]) for config in configs for c in table_of(config.out_dir / "validation.tsv")}
    pairs = sum(kind == "new" for _, kind in cases)
    size = "x".join(map(str, first.patch_size))
    return (
        f"{pairs} pairs and {len(cases) - pairs} single scans in {len(configs)} folds, each scored by a network that did not see its "
        f"patient; one seed ({first.seed}), so nothing is known of chance: do not read small differences. {first.iterations} iterations "
        f"of {first.pairs_per_batch + first.singles_per_batch} patches of {size}, {first.base_filters} base filters: small networks, "
        f"not those of the paper. F1: lesions (MSSEG). seconds: training, all folds, {first.threads} thread(s)."
    )


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("prepared", nargs="+", type=Path)
    parser.add_argument("--set", choices=("table3", "defaults"), default="table3")
    parser.add_argument("--rows", nargs="+", help="only these rows of the set")
    for name, value in {"folds": 2, "iterations": 300, "base-filters": 8, "patch-size": 48, "threads": 1, "seed": 1337}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--pairs-per-batch", type=int, default=2)
    parser.add_argument("--singles-per-batch", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args(words)
    if unknown := set(args.rows or ()) - {row.name for row in rows_of(args.set)}:
        parser.error(f"--rows {' '.join(sorted(unknown))}: not in the set; it has {', '.join(row.name for row in rows_of(args.set))}")
    return args


def main(words: Sequence[str] | None = None) -> None:
    """Run what is not finished, and print the table."""
    args = arguments(words)
    lines, note = [], ""
    for row in rows_of(args.set):
        if args.rows and row.name not in args.rows:
            continue
        configs = [config_of(row, fold, args) for fold in range(1, args.folds + 1)]
        for config in configs:
            print(f"{row.name}, fold {config.fold[0]} of {args.folds}" if config.fold else row.name, file=sys.stderr, flush=True)
            run(config)
        lines.append(summary(row, configs))
        note = note or note_of(configs)
        write_text(args.out / f"{args.set}.tsv", as_tsv(lines))
        write_text(args.out / f"{args.set}.md", as_markdown(lines, note))
    print(as_tsv(lines))
    print(as_markdown(lines, note))


if __name__ == "__main__":
    main()
