"""The commands that work on participants, `prep` and `segment`: options -> configuration -> runner."""

from __future__ import annotations

from pathlib import Path

import typer

from coactseg_cli import option_values as values
from coactseg_cli import options as o
from coactseg_cli.config import (
    AllLesionFrom,
    Anatomical,
    DatasetConfig,
    Executor,
    Inference,
    Normalize,
    Pairing,
    Precision,
    PrepConfig,
    RunConfig,
    SegmentConfig,
    SkullStrip,
)
from coactseg_cli.errors import InvalidConfig, UnknownLevel


def prep(
    bids_dir: o.BidsDir,
    out_dir: o.OutDir,
    level: o.PrepLevel,
    *,
    participant_label: o.ParticipantLabel = None,
    session_label: o.SessionLabel = None,
    bids_filter_file: o.BidsFilterFile = None,
    derivatives: o.Derivatives = None,
    bids_database_dir: o.BidsDatabaseDir = None,
    skip_bids_validation: o.SkipBidsValidation = False,
    skull_strip: o.SkullStripping = SkullStrip.AUTO,
    hd_bet_weights: o.HdBetWeights = None,
    n4: o.N4 = None,
    normalize: o.Normalization = None,
    spacing: o.Spacing = None,
    subject_anatomical_reference: o.AnatomicalReference = Anatomical.UNBIASED,
    preregistered: o.Preregistered = False,
    label_desc: o.LabelDesc = None,
    nprocs: o.Nprocs = None,
    omp_nthreads: o.OmpNthreads = None,
    mem: o.Mem = None,
    work_dir: o.WorkDir = None,
    _config_file: o.ConfigFile = None,
    dry_run: o.DryRun = False,
    json: o.AsJson = False,
    force: o.Force = False,
    stop_on_first_crash: o.StopOnFirstCrash = False,
    executor: o.ExecutorName = Executor.LOCAL,
    slurm: o.Slurm = None,
    slurm_array_parallelism: o.SlurmArrayParallelism = 20,
    wait: o.Wait = True,
    _notrack: o.Notrack = False,
    _output_layout: o.OutputLayout = o.Layout.BIDS,
    verbose: o.Verbose = 0,
) -> None:
    """Prepare participants."""
    from coactseg_cli.plan import Plan
    from coactseg_cli.runner import run_participants

    _check_level(level, "participant")
    total, each = values.cpus(nprocs, omp_nthreads)
    dataset = _dataset(
        bids_dir,
        out_dir,
        participants=participant_label,
        sessions=session_label,
        filter_file=bids_filter_file,
        derivatives=derivatives,
        database_dir=bids_database_dir,
        skip_validation=skip_bids_validation,
    )
    preparation = _prep(
        skull_strip=skull_strip,
        hd_bet_weights=hd_bet_weights,
        n4=n4,
        normalize=normalize,
        spacing=spacing,
        anatomical=subject_anatomical_reference,
        preregistered=preregistered,
        label_desc=label_desc,
        threads=each,
    )
    run = _run(
        nprocs=total,
        omp_threads=each,
        mem=mem,
        work_dir=work_dir,
        stop_on_first_crash=stop_on_first_crash,
        dry_run=dry_run,
        as_json=json,
        force=force,
        reports_only=False,
        verbose=verbose,
        executor=executor,
        slurm=slurm,
        slurm_array_parallelism=slurm_array_parallelism,
        wait=wait,
    )
    raise typer.Exit(run_participants(Plan(dataset, preparation, None, run)))


def segment(
    bids_dir: o.BidsDir,
    out_dir: o.OutDir,
    level: o.Level,
    *,
    participant_label: o.ParticipantLabel = None,
    session_label: o.SessionLabel = None,
    bids_filter_file: o.BidsFilterFile = None,
    derivatives: o.Derivatives = None,
    bids_database_dir: o.BidsDatabaseDir = None,
    skip_bids_validation: o.SkipBidsValidation = False,
    skull_strip: o.SkullStripping = SkullStrip.AUTO,
    hd_bet_weights: o.HdBetWeights = None,
    n4: o.N4 = None,
    normalize: o.Normalization = None,
    spacing: o.Spacing = None,
    subject_anatomical_reference: o.AnatomicalReference = Anatomical.UNBIASED,
    preregistered: o.Preregistered = False,
    label_desc: o.LabelDesc = None,
    model: o.ModelName = "default",
    inference: o.InferenceMode = Inference.FAST,
    patch_size: o.PatchSize = "80",
    stride: o.Stride = "20",
    tile: o.Tile = None,
    all_lesion_from: o.AllLesionSource = AllLesionFrom.SINGLE,
    pairs: o.Pairs = Pairing.CONSECUTIVE,
    threshold_all: o.ThresholdAll = None,
    threshold_new: o.ThresholdNew = None,
    min_lesion_mm3: o.MinLesionMm3 = 3.0,
    noise_mm3: o.NoiseMm3 = None,
    noise_share: o.NoiseShare = None,
    min_overlap: o.MinOverlap = None,
    self_check: o.SelfCheck = False,
    output_probabilities: o.OutputProbabilities = o.YesNo.YES,
    device: o.Device = "auto",
    precision: o.NumberFormat = Precision.AUTO,
    nprocs: o.Nprocs = None,
    omp_nthreads: o.OmpNthreads = None,
    mem: o.Mem = None,
    work_dir: o.WorkDir = None,
    _config_file: o.ConfigFile = None,
    dry_run: o.DryRun = False,
    json: o.AsJson = False,
    force: o.Force = False,
    reports_only: o.ReportsOnly = False,
    from_probabilities: o.FromProbabilities = False,
    from_masks: o.FromMasks = None,
    stop_on_first_crash: o.StopOnFirstCrash = False,
    executor: o.ExecutorName = Executor.LOCAL,
    slurm: o.Slurm = None,
    slurm_array_parallelism: o.SlurmArrayParallelism = 20,
    wait: o.Wait = True,
    _notrack: o.Notrack = False,
    _output_layout: o.OutputLayout = o.Layout.BIDS,
    verbose: o.Verbose = 0,
    merge: o.Merge = None,
) -> None:
    """Segment participants, or gather their tables."""
    _check_level(level, "participant", "group")
    if level == "group":
        from coactseg_cli.group import group

        result = group(out_dir, tuple(Path(folder) for folder in merge or ()), bids_dir)
        print(result.text)
        raise typer.Exit(result.exit_code)
    if merge:
        msg = "--merge goes with the level 'group'"
        raise InvalidConfig(msg)
    from coactseg_cli.plan import Plan
    from coactseg_cli.runner import run_participants

    total, each = values.cpus(nprocs, omp_nthreads)
    dataset = _dataset(
        bids_dir,
        out_dir,
        participants=participant_label,
        sessions=session_label,
        filter_file=bids_filter_file,
        derivatives=derivatives,
        database_dir=bids_database_dir,
        skip_validation=skip_bids_validation,
    )
    preparation = _prep(
        skull_strip=skull_strip,
        hd_bet_weights=hd_bet_weights,
        n4=n4,
        normalize=normalize,
        spacing=spacing,
        anatomical=subject_anatomical_reference,
        preregistered=preregistered,
        label_desc=label_desc,
        threads=each,
    )
    maps = SegmentConfig(
        model=model,
        inference=inference,
        patch_size=values.triple(patch_size, "--patch-size"),
        stride=values.triple(stride, "--stride"),
        tile=tile,
        all_lesion_from=all_lesion_from,
        pairs=pairs,
        threshold_all=threshold_all,
        threshold_new=threshold_new,
        min_lesion_mm3=min_lesion_mm3,
        noise_mm3=noise_mm3,
        noise_share=noise_share,
        min_overlap=min_overlap,
        self_check=self_check,
        precision=precision,
        device=values.device(device),
        output_probabilities=output_probabilities is o.YesNo.YES,
        threads=each,
    )
    run = _run(
        nprocs=total,
        omp_threads=each,
        mem=mem,
        work_dir=work_dir,
        stop_on_first_crash=stop_on_first_crash,
        dry_run=dry_run,
        as_json=json,
        force=force,
        reports_only=reports_only,
        from_probabilities=from_probabilities,
        from_masks=from_masks,
        verbose=verbose,
        executor=executor,
        slurm=slurm,
        slurm_array_parallelism=slurm_array_parallelism,
        wait=wait,
    )
    left = {"spacing_mm": spacing, "normalize": normalize, "n4": n4}
    raise typer.Exit(run_participants(Plan(dataset, preparation, maps, run, frozenset(key for key in left if left[key] is None))))


def _check_level(level: str, *known: str) -> None:
    if level not in known:
        msg = f"the analysis level must be {' or '.join(repr(word) for word in known)}; got {level!r}"
        raise UnknownLevel(msg)


def _dataset(
    bids_dir: Path,
    out_dir: Path,
    *,
    participants: list[str] | None,
    sessions: list[str] | None,
    filter_file: Path | None,
    derivatives: list[str] | None,
    database_dir: Path | None,
    skip_validation: bool,
) -> DatasetConfig:
    return DatasetConfig(
        bids_dir=bids_dir,
        out_dir=out_dir,
        participant_labels=values.labels(participants, "sub-", "--participant-label"),
        session_labels=values.labels(sessions, "ses-", "--session-label"),
        bids_filter_file=None if filter_file is None else values.existing(filter_file, "--bids-filter-file"),
        bids_database_dir=database_dir,
        derivatives=values.derivatives(derivatives),
        skip_bids_validation=skip_validation,
    )


def _prep(
    *,
    skull_strip: SkullStrip,
    hd_bet_weights: Path | None,
    n4: bool | None,
    normalize: Normalize | None,
    spacing: str | None,
    anatomical: Anatomical,
    preregistered: bool,
    label_desc: list[str] | None,
    threads: int,
) -> PrepConfig:
    if hd_bet_weights is not None and skull_strip not in {SkullStrip.HD_BET, SkullStrip.AUTO}:
        msg = f"--hd-bet-weights does not go with --skull-strip {skull_strip.value}"
        raise InvalidConfig(msg)
    return PrepConfig(
        skull_strip=skull_strip,
        hd_bet_weights=None if hd_bet_weights is None else values.existing(hd_bet_weights, "--hd-bet-weights"),
        n4=normalize is not Normalize.NONE if n4 is None else n4,
        normalize=Normalize.ZSCORE if normalize is None else normalize,
        spacing_mm=values.spacing_mm("1" if spacing is None else spacing),
        anatomical=anatomical,
        preregistered=preregistered,
        label_desc=values.label_desc(label_desc),
        omp_threads=threads,
    )


def _run(
    *,
    nprocs: int,
    omp_threads: int,
    mem: str | None,
    work_dir: Path | None,
    stop_on_first_crash: bool,
    dry_run: bool,
    as_json: bool,
    force: bool,
    reports_only: bool,
    verbose: int,
    executor: Executor,
    slurm: list[str] | None,
    slurm_array_parallelism: int,
    wait: bool,
    from_probabilities: bool = False,
    from_masks: Path | None = None,
) -> RunConfig:
    from coactseg_cli.cluster.request import sbatch_options

    if executor is Executor.LOCAL and (slurm or not wait):
        msg = "--slurm and --no-wait go with --executor slurm. Add it, or leave them out."
        raise InvalidConfig(msg)
    return RunConfig(
        from_probabilities=from_probabilities,
        from_masks=None if from_masks is None else values.existing(from_masks, "--from-masks"),
        nprocs=nprocs,
        omp_threads=omp_threads,
        mem_mb=values.mem_mb(mem),
        work_dir=work_dir,
        stop_on_first_crash=stop_on_first_crash,
        dry_run=dry_run,
        as_json=as_json,
        force=force,
        reports_only=reports_only,
        verbose=verbose,
        executor=executor,
        slurm=sbatch_options(slurm),
        slurm_array_parallelism=slurm_array_parallelism,
        wait=wait,
    )
