"""Command-line options -> configuration -> runner or stage -> exit code; computes nothing and imports no stage until it runs."""

from __future__ import annotations

import json
import os
from typing import Annotated, Any

import typer

from coactseg_cli import __version__
from coactseg_cli import option_values as values
from coactseg_cli import options as o
from coactseg_cli import training_options as t
from coactseg_cli.argv import CommandForm
from coactseg_cli.config import TrainConfig
from coactseg_cli.evaluate_command import evaluate
from coactseg_cli.participant_commands import prep, segment

RESEARCH = "Research use only; not for diagnosis."

app = typer.Typer(
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        print(f"coactseg {__version__}")
        raise typer.Exit


EXIT_CODES = (
    (1, "a participant failed"),
    (2, "usage"),
    (16, "input is not BIDS"),
    (17, "unknown level"),
    (18, "nothing matched"),
    (66, "no input"),
    (73, "cannot create"),
    (74, "I/O error"),
    (75, "temporary"),
    (130, "interrupted"),
)


def _bids_exec_spec(value: bool) -> None:
    if value:
        print(bids_exec_spec(), end="")
        raise typer.Exit


def bids_exec_spec() -> str:
    """The Boutiques descriptor of `segment` as JSON text."""
    from coactseg_cli.descriptor import descriptor

    return json.dumps(descriptor(segment, __version__, EXIT_CODES, leave_out=(o.CLUSTER,)), indent=2) + "\n"


@app.callback(
    help="Find multiple sclerosis lesions on FLAIR MRI: all lesions of each visit, and those that are new since the visit before.\n\n"
    f"`coactseg BIDS OUT participant` is short for `coactseg segment BIDS OUT participant`.\n\n{RESEARCH}",
    epilog=f"Exit codes: 0 done, {', '.join(f'{code} {meaning}' for code, meaning in EXIT_CODES)}.",
)
def root(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")] = False,
    __: Annotated[
        bool,
        typer.Option(
            "--bids-exec-spec", callback=_bids_exec_spec, is_eager=True, help="Print the Boutiques descriptor of 'segment' and stop."
        ),
    ] = False,
) -> None:
    """Hold the options before a command; does nothing."""


app.command("prep", help=f"Bring the FLAIR scans of each participant onto one grid, with brain masks and labels, for `train`. {RESEARCH}")(
    prep
)
app.command(
    "segment",
    help="Segment the lesions of each participant: prepare, run the network, write masks, tables and a page. "
    f"With the level 'group': one table of all participants in OUT. {RESEARCH}",
)(segment)


@app.command(help=f"Train the network on prepared scans with labels. {RESEARCH}")
def train(
    prepared: t.Prepared,
    out_dir: t.TrainOut,
    *,
    preset: t.PresetName = t.Preset.CPU,
    ablation: t.AblationName = None,
    fold: t.Fold = None,
    validation: t.ValidationLabels = None,
    validation_prepared: t.ValidationPrepared = None,
    exclude: t.Exclude = None,
    derive_new: t.DeriveNew = False,
    cache_dir: t.CacheDir = None,
    patch_size: t.TrainPatch = None,
    pairs_per_batch: t.PairsPerBatch = None,
    singles_per_batch: t.SinglesPerBatch = None,
    synthetic_share: t.SyntheticShare = None,
    transplant_share: t.TransplantShare = None,
    lesion_shapes: t.LesionShapes = None,
    lesion_share: t.LesionShare = None,
    max_shift: t.MaxShift = None,
    augment_strength: t.AugmentStrength = None,
    seed: t.Seed = None,
    base_filters: t.BaseFilters = None,
    dropout: t.Dropout = None,
    learning_rate: t.LearningRate = None,
    schedule: t.ScheduleName = None,
    cross_entropy_weight: t.CrossEntropyWeight = None,
    new_weight: t.NewWeight = None,
    relation_weight: t.RelationWeight = None,
    relation_from: t.RelationFrom = None,
    null_new_on_singles: t.NullNew = None,
    clip_norm: t.ClipNorm = None,
    ema_decay: t.EmaDecay = None,
    iterations: t.Iterations = None,
    init: t.Init = None,
    validate_every: t.ValidateEvery = None,
    checkpoint_every: t.CheckpointEvery = None,
    resume: t.Resume = False,
    force: t.Force = False,
    preview: t.Preview = False,
    name: t.ModelTitle = None,
    precision: t.TrainPrecision = None,
    compile_network: t.Compile = False,
    reproducible: t.Reproducible = False,
    workers: t.Workers = None,
    device: o.Device = "auto",
    nprocs: o.Nprocs = None,
    _config_file: o.ConfigFile = None,
) -> None:
    """Train a model."""
    threads = values.cpus_of_this_process(nprocs)
    chosen = {
        "patch_size": None if patch_size is None else values.triple(patch_size, "--patch-size"),
        "pairs_per_batch": pairs_per_batch,
        "singles_per_batch": singles_per_batch,
        "synthetic_share": synthetic_share,
        "transplant_share": transplant_share,
        "lesion_shapes": None if lesion_shapes is None else values.existing(lesion_shapes, "--lesion-shapes"),
        "lesion_share": lesion_share,
        "max_shift": max_shift,
        "augment_strength": augment_strength,
        "seed": seed,
        "base_filters": base_filters,
        "dropout": dropout,
        "learning_rate": learning_rate,
        "schedule": None if schedule is None else schedule.value,
        "cross_entropy_weight": cross_entropy_weight,
        "new_weight": new_weight,
        "relation_weight": relation_weight,
        "relation_from": relation_from,
        "null_new_on_singles": null_new_on_singles,
        "clip_norm": clip_norm,
        "ema_decay": ema_decay,
        "iterations": iterations,
        "validate_every": validate_every,
        "checkpoint_every": checkpoint_every,
        "name": name,
        "precision": precision,
    }
    config = TrainConfig(
        prepared=tuple(values.existing(path, "PREPARED") for path in prepared),
        out_dir=out_dir,
        exclude=values.labels(exclude, "sub-", "--exclude"),
        validation=values.labels(validation, "sub-", "--validation"),
        validation_prepared=tuple(values.existing(path, "--validation-prepared") for path in validation_prepared or ()),
        fold=values.fold(fold),
        derive_new=derive_new,
        cache_dir=cache_dir,
        init=init,
        resume=resume,
        force=force,
        preview=preview,
        compile=compile_network,
        reproducible=reproducible,
        workers=workers,
        device=values.device(device),
        threads=threads,
        **t.recipe(preset, chosen, ablation),
    )
    from coactseg_cli.participant import set_threads

    set_threads(threads)
    from coactseg_cli.logs import to_stderr
    from coactseg_cli.train import train as run_training

    written = run_training(config, to_stderr)
    if int(os.environ.get("RANK", "0")) == 0:
        print(f"{'Sheet' if preview else 'Model'}: {written}\n{RESEARCH}")


app.command("evaluate", help=f"Compare predicted lesion masks with reference masks: scores, tables, one page. {RESEARCH}")(evaluate)


def command() -> Any:
    """The program as Typer builds it."""
    return typer.main.get_command(app)


def forms(program: Any) -> dict[str, CommandForm]:
    """Per command, what taking its words apart needs: how many arguments, and which options take no value."""
    return {name: _form(sub.params) for name, sub in program.commands.items()}


def _form(params: Any) -> CommandForm:
    flags = {"-h", "--help"}
    for param in params:
        if param.param_type_name == "option" and (param.is_flag or param.count):
            flags |= {*param.opts, *param.secondary_opts}
    return CommandForm(sum(param.param_type_name == "argument" for param in params), frozenset(flags))
