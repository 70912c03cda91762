"""One frozen, checked configuration per command; nothing here reads a scan or starts work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from bids_app.cases import LabelKind
from coactseg_cli.errors import InvalidConfig


class SkullStrip(StrEnum):
    """Where the brain mask comes from."""

    AUTO = "auto"  # a mask that was given, else HD-BET where its weights are, else builtin
    HD_BET = "hd-bet"
    BUILTIN = "builtin"  # needs no download
    NONE = "none"  # already stripped: what is not zero is brain


class Normalize(StrEnum):
    """What happens to the intensities."""

    ZSCORE = "zscore"  # zero mean, unit variance inside the brain mask; zero outside
    NONE = "none"  # as they are


class Anatomical(StrEnum):
    """The space in which the visits of a participant meet (fMRIPrep's --subject-anatomical-reference)."""

    UNBIASED = "unbiased"  # halfway space of all visits (Reuter et al. 2012)
    FIRST_LEX = "first-lex"  # the first visit
    SESSIONWISE = "sessionwise"  # each visit alone: no comparison


class Inference(StrEnum):
    """How the network sees a volume."""

    FAST = "fast"  # the whole brain box at once
    WINDOWS = "windows"  # windows of --patch-size every --stride voxels, averaged, as published


class AllLesionFrom(StrEnum):
    """Which pass gives the all-lesion maps."""

    SINGLE = "single"  # (x, x, 0): does not depend on the partner
    PAIR = "pair"  # heads 1 and 2 of the pair's own pass (Eq. 1)


class Pairing(StrEnum):
    """Which visits are compared."""

    CONSECUTIVE = "consecutive"
    FIRST = "first"  # each with the first
    ALL = "all"


class Precision(StrEnum):
    """Number format of the network."""

    AUTO = "auto"  # bf16 where the processor has it, else fp32
    FP32 = "fp32"
    BF16 = "bf16"


class Executor(StrEnum):
    """Who does the participants."""

    LOCAL = "local"  # this machine
    SLURM = "slurm"  # one task per participant, through submitit


class Missing(StrEnum):
    """What a reference without a prediction counts as."""

    REPORT = "report"  # listed and counted, in no mean
    EMPTY = "empty"  # an empty mask


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetConfig:
    """Which participants and scans of a BIDS data set are used, and where results go."""

    bids_dir: Path  # raw BIDS data set
    out_dir: Path  # derivative data set that is written
    participant_labels: tuple[str, ...] = ()  # without 'sub-'; empty: all
    session_labels: tuple[str, ...] = ()  # without 'ses-'; empty: all
    bids_filter_file: Path | None = None  # JSON, fMRIPrep's format, key 'flair'
    bids_database_dir: Path | None = None  # PyBIDS database to reuse
    derivatives: Mapping[str, Path] = field(default_factory=dict)  # name to folder (-d NAME=PATH)
    skip_bids_validation: bool = False  # do not check the raw data set's description


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepConfig:
    """How scans become volumes on one grid per participant."""

    skull_strip: SkullStrip = SkullStrip.AUTO
    hd_bet_weights: Path | None = None  # folder with HD-BET's parameter files; None: HD-BET's own place
    n4: bool = True  # correct the bias field (N4, shrink 4, inside the mask)
    normalize: Normalize = Normalize.ZSCORE
    spacing_mm: tuple[float, float, float] | None = (1.0, 1.0, 1.0)  # of the reference grid; None: the scan's own ("native")
    anatomical: Anatomical = Anatomical.UNBIASED
    preregistered: bool = False  # the sessions share one grid already: no registration
    label_desc: Mapping[str, LabelKind] = field(default_factory=dict)  # desc of a label to what it supervises
    omp_threads: int = 1

    def __post_init__(self) -> None:
        """Raises: InvalidConfig where choices do not go together."""
        if self.spacing_mm is None and not self.preregistered:
            msg = "--spacing native needs --preregistered: scans on grids of their own meet on a common grid."
            raise InvalidConfig(msg)
        if self.spacing_mm is not None and not all(0.2 <= s <= 5.0 for s in self.spacing_mm):
            msg = f"--spacing must lie between 0.2 and 5 mm; got {self.spacing_mm}"
            raise InvalidConfig(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentConfig:
    """How lesion maps are made from prepared volumes."""

    model: str = "default"  # packaged name, file (.pth, .safetensors) or 'miccai2023'
    inference: Inference = Inference.FAST
    patch_size: tuple[int, int, int] = (80, 80, 80)  # voxels; windows only
    stride: tuple[int, int, int] = (20, 20, 20)  # voxels; windows only
    tile: int | None = None  # fast only: edge of the tiles in voxels, a multiple of 16; None: whole volume
    all_lesion_from: AllLesionFrom = AllLesionFrom.SINGLE
    pairs: Pairing = Pairing.CONSECUTIVE
    threshold_all: float | None = None  # None: the model's own
    threshold_new: float | None = None
    min_lesion_mm3: float = 3.0  # components not strictly larger are dropped, on the scan's own grid
    noise_mm3: float | None = None  # a change of volume up to this is no change; None: the tracking's own
    noise_share: float | None = None  # and so is one up to this share of the mean volume
    min_overlap: float | None = None  # share of the smaller lesion that two visits must have in common to be linked
    self_check: bool = False  # also check the network on the participant's own scans
    precision: Precision = Precision.AUTO
    device: str = "auto"  # auto, cpu, cuda, cuda:N
    output_probabilities: bool = True
    threads: int = 1

    def __post_init__(self) -> None:
        """Raises: InvalidConfig where a value is out of range."""
        for name, value in (("--threshold-all", self.threshold_all), ("--threshold-new", self.threshold_new)):
            if value is not None and not 0.0 < value < 1.0:
                msg = f"{name} must lie between 0 and 1; got {value}"
                raise InvalidConfig(msg)
        if self.tile is not None and (self.tile < 32 or self.tile % 16):
            msg = f"--tile must be a multiple of 16 from 32 on; got {self.tile}"
            raise InvalidConfig(msg)
        if any(p < 16 or p % 16 for p in self.patch_size):
            msg = f"--patch-size must be multiples of 16 (the network halves four times); got {self.patch_size}"
            raise InvalidConfig(msg)
        if any(s < 1 or s > p for s, p in zip(self.stride, self.patch_size, strict=True)):
            msg = f"--stride must lie between 1 and --patch-size; got {self.stride} and {self.patch_size}"
            raise InvalidConfig(msg)
        if self.min_lesion_mm3 < 0:
            msg = f"--min-lesion-mm3 must not be negative; got {self.min_lesion_mm3}"
            raise InvalidConfig(msg)
        limits = {"--noise-mm3": (self.noise_mm3, 1e9), "--noise-share": (self.noise_share, 2), "--min-overlap": (self.min_overlap, 1)}
        for name, (value, high) in limits.items():
            if value is not None and not 0 <= value <= high:
                msg = f"{name} must lie between 0 and {high:g}; got {value}"
                raise InvalidConfig(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """How the participants are worked through; never changes a map (`from_masks` brings masks that somebody else changed)."""

    nprocs: int = 1  # CPUs in total
    omp_threads: int = 1  # CPUs per participant
    mem_mb: int | None = None  # memory in total (--mem); None: no limit
    work_dir: Path | None = None  # None: $COACTSEG_WORK_DIR, $SLURM_TMPDIR, $TMPDIR, ./work
    stop_on_first_crash: bool = False
    dry_run: bool = False
    as_json: bool = False  # what --dry-run says
    force: bool = False  # recompute what is complete
    reports_only: bool = False  # write the pages again from what is there
    from_probabilities: bool = False  # apply thresholds, sizes and rules anew to the maps of OUT, without the network
    from_masks: Path | None = None  # folder of hand-corrected masks, named as in OUT: redo tables, tracking and pages from them
    executor: Executor = Executor.LOCAL
    slurm: Mapping[str, str] = field(default_factory=dict)  # options of sbatch, without '--', to value ('': none)
    slurm_array_parallelism: int = 20  # tasks at once
    wait: bool = True  # for the tasks; False: submit them and end
    verbose: int = 0

    def __post_init__(self) -> None:
        """Raises: InvalidConfig for --json where nothing is listed."""
        if self.as_json and not self.dry_run:
            msg = "--json is the form of what --dry-run lists; give --dry-run too"
            raise InvalidConfig(msg)

    @property
    def rereads(self) -> bool:
        """Whether an output is read again instead of running the network."""
        return self.from_probabilities or self.from_masks is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig:
    """How predicted masks are compared with reference masks."""

    predicted: Path | None  # BIDS tree, folder, file or table of pairs (.tsv); None: `methods` only
    reference: Path | None  # BIDS tree, folder or file; None: the table of pairs has it
    out_dir: Path
    kind: LabelKind | None = None  # ALL or NEW; None: every kind found
    participant_labels: tuple[str, ...] = ()
    methods: Mapping[str, Path] = field(default_factory=dict)  # further predictions, name to place as in `predicted`
    raters: Mapping[str, Path] = field(default_factory=dict)  # single raters' masks, name to place; `reference` is their consensus
    predicted_pattern: Mapping[str, str] = field(default_factory=dict)  # method ('': any other) to template of paths in its place
    reference_pattern: str | None = None  # of `reference` and the raters
    predicted_filter: Mapping[str, str] = field(default_factory=dict)  # BIDS entity to value; '': absent
    reference_filter: Mapping[str, str] = field(default_factory=dict)
    predicted_values: tuple[int, ...] = ()  # labels that are lesion; empty: every label above 0
    reference_values: tuple[int, ...] = ()
    threshold: float | None = None  # binarise probabilities; None: masks must hold integers
    missing: Missing = Missing.REPORT
    resample: bool = False  # bring predictions on another grid to the reference's, nearest neighbour
    convention: str = "mm"  # mm, anima or coactseg
    connectivity: int | None = None  # None: the convention's
    min_lesion_mm3: float | None = None  # None: the convention's
    min_lesion_voxels: int | None = None  # None: the convention's
    probabilities: Mapping[str, Path] = field(default_factory=dict)  # method ('': any other) to place of its maps; none: beside the masks
    probability_pattern: str | None = None  # template of paths there
    curves: bool = True  # FROC and threshold curves where there are probability maps
    site_column: str | None = None  # column of participants.tsv
    participants: Path | None = None  # None: participants.tsv of the reference's or the predicted data set
    background: Path | None = None  # BIDS tree or folder of scans for pictures; None: beside the masks
    report: bool = True  # write the page
    nprocs: int = 1  # cases in work at once; never changes a number


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """The training recipe; the defaults are for a few cores, --preset paper is Wu et al. 2023."""

    # data
    prepared: tuple[Path, ...]  # prepared data sets (coactseg prep -d labels=...)
    out_dir: Path
    exclude: tuple[str, ...] = ()  # participants left out: a test set that training never reads
    validation: tuple[str, ...] = ()  # participants to validate on
    validation_prepared: tuple[Path, ...] = ()  # prepared data sets to validate on
    fold: tuple[int, int] | None = None  # (k, n): part k of n, by patient, is validated on
    derive_new: bool = False  # where both visits of a pair have all-lesion labels and the pair has none of its own, derive one
    cache_dir: Path | None = None  # where volumes lie as the training reads them; None: OUT/cache
    # samples
    patch_size: tuple[int, int, int] = (64, 64, 64)  # voxels, multiples of 16
    pairs_per_batch: int = 2  # samples with two time points
    singles_per_batch: int = 2  # samples with one time point
    synthetic_share: float = 0.7  # share of pair samples with lesions painted into real scans (0 in the paper)
    transplant_share: float = 0.3  # of synthetic pairs and single scans that get all lesions of another patient (0 in the paper)
    lesion_shapes: Path | None = None  # folder of lesion masks whose shapes are painted too; None: those of the labels
    null_new_on_singles: bool = True  # teach that (x, x, 0) has no new lesion (False in the paper)
    lesion_share: float = 0.6  # of patches centred on a lesion where a case has one; others lie anywhere in the brain (1 in the paper)
    max_shift: int = 10  # voxels by which a patch centred on a lesion voxel is shifted
    augment_strength: float = 1.0  # of what each visit's own acquisition changes; 0: flips and rotations only, as in the paper
    seed: int = 1337
    # network and loss
    base_filters: int = 16
    dropout: float = 0.0  # 0.5 in the paper
    learning_rate: float = 2e-3
    schedule: str = "cosine"  # cosine (with warm-up) or constant
    cross_entropy_weight: float = 1.0  # 0 in the paper
    new_weight: float = 1.0  # lambda1 of Eq. 4
    relation_weight: float = 1.0  # lambda2 of Eq. 4
    relation_from: int | None = None  # iteration from which lambda2 counts; None: half of the iterations ("stage by stage")
    clip_norm: float = 5.0  # gradients longer than this are shortened; 0: never (the paper)
    ema_decay: float = 0.99  # of the average of the weights that is validated and shipped; 0: the weights themselves (the paper)
    # running
    iterations: int = 2500
    init: str | None = None  # model whose weights are the start: a packaged name or a file
    validate_every: int | None = None  # iterations between validations; None: a tenth of all
    checkpoint_every: int = 200
    resume: bool = False
    force: bool = False  # begin anew in an OUT that holds a training
    preview: bool = False  # write OUT/preview.png, what the network would see, and stop
    name: str = "coactseg"  # written into the model file
    precision: Precision = Precision.AUTO
    compile: bool = False  # torch.compile
    reproducible: bool = False  # fp32 and deterministic kernels: a resumed run ends with the same bits
    workers: int | None = None  # threads that draw samples; None: one for each processor that the network leaves, one at least
    device: str = "auto"
    threads: int = 1

    def __post_init__(self) -> None:
        """Raises: InvalidConfig where a value is out of range or choices do not go together."""
        if any(p < 16 or p % 16 for p in self.patch_size):
            msg = f"--patch-size must be multiples of 16 (the network halves four times); got {self.patch_size}"
            raise InvalidConfig(msg)
        if self.pairs_per_batch + self.singles_per_batch < 1:
            msg = "--pairs-per-batch and --singles-per-batch are both 0: there is nothing to learn from."
            raise InvalidConfig(msg)
        if self.fold is not None and (self.validation or self.validation_prepared):
            msg = "--fold chooses the participants to validate on; leave out --validation, or leave out --fold."
            raise InvalidConfig(msg)
        if both := sorted(set(self.validation) & set(self.exclude)):
            msg = f"sub-{both[0]} is named by --validation and by --exclude: a patient is on one side only. Take it out of one."
            raise InvalidConfig(msg)
        if not self.name.isprintable() or len(self.name) > 200:
            msg = f"--name must be a printable text of 200 characters at most; got {self.name[:50]!r}"
            raise InvalidConfig(msg)
        if not 0.0 <= self.ema_decay < 1.0:
            msg = f"--ema-decay must lie between 0 and 1, 1 excluded; got {self.ema_decay}"
            raise InvalidConfig(msg)
        if self.reproducible and self.precision is Precision.BF16:
            msg = "--reproducible means fp32; it does not go with --precision bf16."
            raise InvalidConfig(msg)

    @property
    def relation_start(self) -> int:
        """First iteration at which lambda2 counts: 'stage by stage' (Eq. 4)."""
        return self.iterations // 2 if self.relation_from is None else self.relation_from
