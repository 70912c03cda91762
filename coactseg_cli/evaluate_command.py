"""The command `evaluate`: options -> configuration -> stage."""

from __future__ import annotations

from pathlib import Path

import typer

from bids_app.cases import LabelKind
from bids_app.lesionmasks import stem
from coactseg_cli import evaluate_options as e
from coactseg_cli import option_values as values
from coactseg_cli import options as o
from coactseg_cli.config import EvaluateConfig, Missing


def evaluate(
    predicted: e.Predicted,
    reference: e.Reference,
    out_dir: e.EvaluateOut,
    *,
    kind: e.KindName = None,
    participant_label: o.ParticipantLabel = None,
    method: e.Methods = None,
    rater: e.Raters = None,
    predicted_pattern: e.PredictedPattern = None,
    reference_pattern: e.ReferencePattern = None,
    predicted_filter: e.PredictedFilter = None,
    reference_filter: e.ReferenceFilter = None,
    predicted_values: e.PredictedValues = None,
    reference_values: e.ReferenceValues = None,
    threshold: e.Threshold = None,
    missing: e.MissingName = Missing.REPORT,
    resample: e.Resample = False,
    convention: e.ConventionName = e.Convention.MM,
    connectivity: e.Connectivity = None,
    min_lesion_mm3: e.LimitMm3 = None,
    min_lesion_voxels: e.LimitVoxels = None,
    probabilities: e.Probabilities = None,
    probability_pattern: e.ProbabilityPattern = None,
    curves: e.Curves = True,
    site_column: e.SiteColumn = None,
    participants: e.Participants = None,
    background: e.Background = None,
    report: e.Report = True,
    nprocs: o.Nprocs = None,
    _config_file: o.ConfigFile = None,
) -> None:
    """Score masks."""
    methods = e.named_places(method, "--method")
    names = [*methods, stem(predicted.resolve())]  # PREDICTED goes by the name of its folder
    maps = e.for_methods(probabilities, names, "--probabilities")
    config = EvaluateConfig(
        predicted=e.place(predicted),
        reference=e.place(reference),
        out_dir=out_dir,
        kind=None if kind is None else LabelKind(kind.value),
        participant_labels=values.labels(participant_label, "sub-", "--participant-label"),
        methods=methods,
        raters=e.named_places(rater, "--rater"),
        predicted_pattern=e.for_methods(predicted_pattern, names, "--predicted-pattern"),
        reference_pattern=reference_pattern,
        predicted_filter=e.entities(predicted_filter, "--predicted-filter"),
        reference_filter=e.entities(reference_filter, "--reference-filter"),
        predicted_values=e.labels(predicted_values, "--predicted-values"),
        reference_values=e.labels(reference_values, "--reference-values"),
        threshold=threshold,
        missing=missing,
        resample=resample,
        convention=convention.value,
        connectivity=connectivity,
        min_lesion_mm3=min_lesion_mm3,
        min_lesion_voxels=min_lesion_voxels,
        probabilities={name: values.existing(Path(path), "--probabilities") for name, path in maps.items()},
        probability_pattern=probability_pattern,
        curves=curves,
        site_column=site_column,
        participants=None if participants is None else values.existing(participants, "--participants"),
        background=None if background is None else values.existing(background, "--background"),
        report=report,
        nprocs=values.cpus(nprocs, None)[0],
    )
    from coactseg_cli.evaluate import evaluate as run_evaluation
    from coactseg_cli.logs import to_stderr

    result = run_evaluation(config, to_stderr)
    counts = f"{len(result.scores)} scored, {len(result.failures)} failed, {len(result.missing)} missing"
    print(f"{counts}; tables in {out_dir}\nResearch use only; not for diagnosis.")
    raise typer.Exit(result.exit_code)
