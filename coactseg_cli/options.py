"""The options of `prep` and `segment`, one type per option: its names, its sentence in --help, its panel."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from coactseg_cli import config_file
from coactseg_cli.config import AllLesionFrom, Anatomical, Executor, Inference, Normalize, Pairing, Precision, SkullStrip

DATA = "Participants and scans"
PREP = "Preparation"
MAPS = "Lesion maps"
CPU = "Computing"
RUN = "Running"
CLUSTER = "Cluster"


class YesNo(StrEnum):
    """A choice that BIDS Apps spell out."""

    YES = "yes"
    NO = "no"


class Layout(StrEnum):
    """Output layouts; there is one."""

    BIDS = "bids"


def _apply_config_file(ctx: typer.Context, value: Path | None) -> Path | None:
    """The values of --config-file become the defaults of the other options."""
    if value is not None and not ctx.resilient_parsing:
        ctx.default_map = config_file.defaults(value, ctx.command.params)
    return value


# ---- arguments

BidsDir = Annotated[Path, typer.Argument(help="Raw BIDS data set with FLAIR scans.", show_default=False)]
OutDir = Annotated[Path, typer.Argument(help="BIDS derivative data set that is written; made where it does not exist.", show_default=False)]
Level = Annotated[str, typer.Argument(help="'participant', or 'group' for the table of a whole cohort.", show_default=False)]
PrepLevel = Annotated[str, typer.Argument(help="'participant', the one level of this command.", show_default=False)]

# ---- participants and scans

ParticipantLabel = Annotated[
    list[str] | None,
    typer.Option(
        "--participant-label",
        metavar="LABEL...",
        help="Participants to work on, with or without 'sub-'; others are not even looked at. Default: all.",
        rich_help_panel=DATA,
    ),
]
SessionLabel = Annotated[
    list[str] | None,
    typer.Option(
        "--session-label", metavar="LABEL...", help="Sessions to use, with or without 'ses-'. Default: all.", rich_help_panel=DATA
    ),
]
BidsFilterFile = Annotated[
    Path | None,
    typer.Option(
        "--bids-filter-file",
        metavar="FILE",
        help="JSON that chooses among scans by entity, under the key 'flair'; null means absent and '*' any value.",
        rich_help_panel=DATA,
    ),
]
Derivatives = Annotated[
    list[str] | None,
    typer.Option(
        "-d",
        "--derivatives",
        metavar="NAME=PATH...",
        help="Derivatives to take lesion labels, brain masks or prepared scans from, such as labels=PATH.",
        rich_help_panel=DATA,
    ),
]
BidsDatabaseDir = Annotated[
    Path | None,
    typer.Option("--bids-database-dir", metavar="DIR", help="PyBIDS database to use again instead of indexing.", rich_help_panel=DATA),
]
SkipBidsValidation = Annotated[
    bool, typer.Option("--skip-bids-validation", help="Do not check that the input is a BIDS data set.", rich_help_panel=DATA)
]

# ---- preparation

SkullStripping = Annotated[
    SkullStrip,
    typer.Option(
        "--skull-strip",
        help="Brain extraction. auto: a mask that was given, else HD-BET where its weights are, else builtin; "
        "none: the scans hold nothing but brain.",
        rich_help_panel=PREP,
    ),
]
HdBetWeights = Annotated[
    Path | None,
    typer.Option(
        "--hd-bet-weights",
        metavar="DIR",
        help="Folder with HD-BET's parameter files. Default: $COACTSEG_HD_BET_WEIGHTS, else HD-BET's own.",
        rich_help_panel=PREP,
    ),
]
N4 = Annotated[
    bool | None,
    typer.Option(
        "--n4/--no-n4",
        help="Correct the bias field (N4, inside the brain mask). Default: yes, but not with --normalize none.",
        show_default=False,
        rich_help_panel=PREP,
    ),
]
Normalization = Annotated[
    Normalize | None,
    typer.Option(
        "--normalize",
        help="zscore: zero mean and unit variance inside the brain mask. Default: what the model was trained with.",
        rich_help_panel=PREP,
    ),
]
Spacing = Annotated[
    str | None,
    typer.Option(
        "--spacing",
        metavar="MM",
        help="Voxel size on which the network works: one number, three with commas between them, or 'native'. Default: the model's.",
        rich_help_panel=PREP,
    ),
]
AnatomicalReference = Annotated[
    Anatomical,
    typer.Option(
        "--subject-anatomical-reference",
        help="Where the visits meet. unbiased: halfway between all; first-lex: at the first; sessionwise: each alone, nothing is compared.",
        rich_help_panel=PREP,
    ),
]
Preregistered = Annotated[
    bool, typer.Option("--preregistered", help="The sessions share one grid already: take them as they are.", rich_help_panel=PREP)
]
LabelDesc = Annotated[
    list[str] | None,
    typer.Option(
        "--label-desc",
        metavar="NAME=KIND...",
        help="What a label with desc-NAME shows: all, new, ignore-all or ignore-new. Known without this: desc-all, desc-new and no desc.",
        rich_help_panel=PREP,
    ),
]

# ---- lesion maps

ModelName = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="NAME|FILE",
        help="Packaged model, a file (.safetensors, .pth), or 'miccai2023' for the published weights, which are downloaded.",
        rich_help_panel=MAPS,
    ),
]
InferenceMode = Annotated[
    Inference,
    typer.Option("--inference", help="fast: the whole brain at once; windows: averaged windows, as published.", rich_help_panel=MAPS),
]
PatchSize = Annotated[
    str,
    typer.Option("--patch-size", metavar="N", help="Edge of a window in voxels, or three; multiples of 16.", rich_help_panel=MAPS),
]
Stride = Annotated[str, typer.Option("--stride", metavar="N", help="Step between windows in voxels, or three.", rich_help_panel=MAPS)]
Tile = Annotated[
    int | None,
    typer.Option("--tile", metavar="N", help="Edge of tiles in voxels, for less memory; a multiple of 16.", rich_help_panel=MAPS),
]
AllLesionSource = Annotated[
    AllLesionFrom,
    typer.Option(
        "--all-lesion-from",
        help="single: each visit's map from that visit alone; pair: from the pass that compares two visits.",
        rich_help_panel=MAPS,
    ),
]
Pairs = Annotated[
    Pairing,
    typer.Option("--pairs", help="Visits to compare: each with the one before, each with the first, or all.", rich_help_panel=MAPS),
]
ThresholdAll = Annotated[
    float | None,
    typer.Option(
        "--threshold-all", metavar="P", help="Probability from which a voxel is lesion. Default: the model's.", rich_help_panel=MAPS
    ),
]
ThresholdNew = Annotated[
    float | None,
    typer.Option(
        "--threshold-new",
        metavar="P",
        help="Probability from which a voxel is new lesion. Default: the model's, with the peak that it asks of a lesion.",
        rich_help_panel=MAPS,
    ),
]
MinLesionMm3 = Annotated[
    float, typer.Option("--min-lesion-mm3", metavar="MM3", help="Lesions not larger than this are dropped.", rich_help_panel=MAPS)
]
NoiseMm3 = Annotated[
    float | None,
    typer.Option(
        "--noise-mm3",
        metavar="MM3",
        help="A lesion whose volume changes by no more than this is stable. Default: what rescans change.",
        rich_help_panel=MAPS,
    ),
]
NoiseShare = Annotated[
    float | None,
    typer.Option(
        "--noise-share", metavar="SHARE", help="And so is one that changes by no more than this share of its volume.", rich_help_panel=MAPS
    ),
]
MinOverlap = Annotated[
    float | None,
    typer.Option(
        "--min-overlap",
        metavar="SHARE",
        help="Share of the smaller lesion that lesions of two visits must have in common to be one. Default: 0.1.",
        rich_help_panel=MAPS,
    ),
]
SelfCheck = Annotated[
    bool,
    typer.Option(
        "--self-check",
        help="Also check the network on these very scans: false new lesions, and which of those put in are found. Slower.",
        rich_help_panel=MAPS,
    ),
]
OutputProbabilities = Annotated[
    YesNo, typer.Option("--output-probabilities", help="Write the probability maps beside the masks.", rich_help_panel=MAPS)
]

# ---- computing

Device = Annotated[str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N.", rich_help_panel=CPU)]
NumberFormat = Annotated[
    Precision, typer.Option("--precision", help="Number format of the network; auto: bf16 where the processor has it.", rich_help_panel=CPU)
]
Nprocs = Annotated[int | None, typer.Option("--nprocs", min=1, help="CPUs in total. Default: those this job may use.", rich_help_panel=CPU)]
OmpNthreads = Annotated[
    int | None,
    typer.Option(
        "--omp-nthreads",
        min=1,
        help="CPUs per participant; nprocs / omp-nthreads participants are worked on at once. Default: all, 8 at most.",
        rich_help_panel=CPU,
    ),
]
Mem = Annotated[
    str | None,
    typer.Option(
        "--mem",
        metavar="MB",
        help="Memory in total, in MB or with the suffix K, M or G: fewer participants at once, and one that needs more fails.",
        rich_help_panel=CPU,
    ),
]

# ---- running

WorkDir = Annotated[
    Path | None,
    typer.Option(
        "-w",
        "--work-dir",
        metavar="DIR",
        help="For temporary files. Default: $COACTSEG_WORK_DIR, $SLURM_TMPDIR, $TMPDIR or ./work.",
        rich_help_panel=RUN,
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config-file",
        metavar="FILE",
        help="TOML file with options; the command line wins. Each run leaves such a file in OUT/logs.",
        callback=_apply_config_file,
        is_eager=True,
        rich_help_panel=RUN,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="List the scans and pairs that would be used, and who is complete, to do, changed or cannot be done; write nothing.",
        rich_help_panel=RUN,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="With --dry-run: the list as JSON (docs/dry-run.md).", rich_help_panel=RUN)]
Force = Annotated[
    bool, typer.Option("--force", help="Compute again what is complete, also where it was made with other choices.", rich_help_panel=RUN)
]
ReportsOnly = Annotated[
    bool, typer.Option("--reports-only", help="Write the pages again from what OUT holds; the network is not run.", rich_help_panel=RUN)
]
FromProbabilities = Annotated[
    bool,
    typer.Option(
        "--from-probabilities",
        help="Apply thresholds, sizes and rules anew to the probability maps of OUT; the network is not run.",
        rich_help_panel=RUN,
    ),
]
FromMasks = Annotated[
    Path | None,
    typer.Option(
        "--from-masks",
        metavar="DIR",
        help="Take hand-corrected masks from DIR, which has the names of OUT, and redo tables, tracking and pages; others stay.",
        rich_help_panel=RUN,
    ),
]
StopOnFirstCrash = Annotated[
    bool, typer.Option("--stop-on-first-crash", help="Start no further participant after one failed.", rich_help_panel=RUN)
]
ExecutorName = Annotated[
    Executor,
    typer.Option(
        "--executor",
        help="Who does the participants. local: this machine; slurm: one task each, and for segment the level 'group' after all.",
        rich_help_panel=CLUSTER,
    ),
]
Slurm = Annotated[
    list[str] | None,
    typer.Option(
        "--slurm",
        metavar="NAME=VALUE...",
        help="Options of sbatch for each task: partition=long account=neuro time=4:00:00. Default: two hours and --mem, or 8000 MB.",
        show_default=False,
        rich_help_panel=CLUSTER,
    ),
]
SlurmArrayParallelism = Annotated[
    int, typer.Option("--slurm-array-parallelism", min=1, metavar="N", help="Tasks at once.", rich_help_panel=CLUSTER)
]
Wait = Annotated[
    bool, typer.Option("--wait/--no-wait", help="Wait for the tasks of SLURM and say what became of each.", rich_help_panel=CLUSTER)
]
Merge = Annotated[
    list[Path] | None,
    typer.Option(
        "--merge",
        metavar="OUT...",
        help="With the level 'group': further output folders of the same cohort. They are only read; the tables go to OUT.",
        show_default=False,
        rich_help_panel=RUN,
    ),
]
Notrack = Annotated[
    bool, typer.Option("--notrack", help="Accepted for scripts of other BIDS Apps: nothing is ever sent.", rich_help_panel=RUN)
]
OutputLayout = Annotated[
    Layout, typer.Option("--output-layout", help="Accepted for scripts of other BIDS Apps: the layout is BIDS.", rich_help_panel=RUN)
]
Verbose = Annotated[
    int,
    typer.Option(
        "-v",
        "--verbose",
        count=True,
        metavar="",
        show_default=False,
        help="Say more: every step, and where a crash happened.",
        rich_help_panel=RUN,
    ),
]
