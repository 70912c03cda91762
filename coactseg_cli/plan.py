"""What a run does: the choices of all its parts, checked together, and what follows from them before any participant is worked on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bids_app.errors import NoInput, NothingMatched
from bids_app.locks import locked
from coactseg_cli import __version__, config_file
from coactseg_cli.config import (
    AllLesionFrom,
    Anatomical,
    DatasetConfig,
    Executor,
    Normalize,
    Pairing,
    PrepConfig,
    RunConfig,
    SegmentConfig,
    SkullStrip,
)
from coactseg_cli.errors import InvalidConfig
from coactseg_cli.running import tree_lock
from coactseg_cli.workers import Crew

if TYPE_CHECKING:
    from bids_app.dataset import Index, PreparedIndex
    from bids_app.derivatives import Derivatives
    from coactseg_cli.network.model_file import ModelFile

MEM_AT_LEAST_MB = 1000  # below it the libraries cannot even be loaded
MEM_PER_PARTICIPANT_MB = 4000  # registration, then the whole brain at once: 2300 were seen; the limit counts what is reserved too


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does: one configuration per concern."""

    dataset: DatasetConfig
    prep: PrepConfig
    segment: SegmentConfig | None  # None: prepare only
    run: RunConfig
    model_decides: frozenset[str] = frozenset()  # fields of prep that the user left to the model


def check(plan: Plan) -> None:
    """Raises: NoInput without a data set, MissingWeights without HD-BET's, InvalidConfig for choices that do not go together."""
    dataset, segment = plan.dataset, plan.segment
    if not dataset.bids_dir.is_dir():
        msg = f"{dataset.bids_dir}: no such folder; expected a BIDS data set"
        raise NoInput(msg)
    if segment is not None and segment.all_lesion_from is AllLesionFrom.PAIR and plan.prep.anatomical is Anatomical.SESSIONWISE:
        msg = "--all-lesion-from pair needs visits that meet; it does not go with --subject-anatomical-reference sessionwise"
        raise InvalidConfig(msg)
    if segment is not None and plan.run.rereads:
        _check_rereading(plan, segment)
    if plan.run.executor is Executor.SLURM and not plan.run.dry_run:
        from coactseg_cli.cluster import request

        request.check(plan.run, dataset.out_dir)
    if plan.run.mem_mb is not None and plan.run.mem_mb < MEM_AT_LEAST_MB:
        msg = f"--mem {plan.run.mem_mb} MB does not hold the program itself; give at least {MEM_AT_LEAST_MB} MB"
        raise InvalidConfig(msg)
    if plan.prep.skull_strip is SkullStrip.HD_BET and not (is_prepared(plan) or plan.run.rereads):
        from coactseg_cli.preprocessing import hd_bet

        hd_bet.require_weights(hd_bet.weights_folder(plan.prep.hd_bet_weights))
    if plan.run.work_dir is not None and plan.run.work_dir.resolve().is_relative_to(dataset.bids_dir.resolve()):
        msg = f"--work-dir {plan.run.work_dir} lies in the raw data set {dataset.bids_dir}, which is only read. Choose another."
        raise InvalidConfig(msg)


def _check_rereading(plan: Plan, segment: SegmentConfig) -> None:
    """Raises: InvalidConfig for what does not go with reading an output again."""
    option = "--from-probabilities" if plan.run.from_probabilities else "--from-masks"
    others = {
        "--from-masks": plan.run.from_probabilities and plan.run.from_masks is not None,
        "--reports-only": plan.run.reports_only,
        "--self-check": segment.self_check,
        "--model": segment.model != "default",
    }
    if other := next((name for name, given in others.items() if given), None):
        msg = f"{other} does not go with {option}: the network is not run, and an output is read in one way. Leave one of them out."
        raise InvalidConfig(msg)
    masks, out = plan.run.from_masks, plan.dataset.out_dir
    if masks is not None and (masks.resolve() == out.resolve() or masks.resolve().is_relative_to(out.resolve())):
        msg = f"--from-masks {masks} lies in {out}, which is written. Put the corrected masks into a folder of their own."
        raise InvalidConfig(msg)


def read_index(plan: Plan) -> Index | PreparedIndex:
    """Participants of the raw data set, of the prepared one that was given with -d prep=PATH, or of OUT where it is read again.

    Raises: NoInput, InvalidDataset, NothingMatched.
    """
    from bids_app.dataset import has_database, read_prepared, read_timelines

    dataset = plan.dataset
    if is_prepared(plan):
        return _of_sessions(read_prepared(dataset.derivatives["prep"], dataset.participant_labels), dataset.session_labels)
    if plan.run.rereads:
        return _of_sessions(read_prepared(dataset.out_dir, dataset.participant_labels), dataset.session_labels)
    if plan.run.reports_only:
        return read_prepared(dataset.out_dir, dataset.participant_labels)
    return read_timelines(
        dataset.bids_dir,
        participant_labels=dataset.participant_labels,
        session_labels=dataset.session_labels,
        bids_filter_file=dataset.bids_filter_file,
        bids_database_dir=None if plan.run.dry_run and not has_database(dataset.bids_database_dir) else dataset.bids_database_dir,
        derivatives=dataset.derivatives,
        label_desc=plan.prep.label_desc,
        validate=not dataset.skip_bids_validation,
    )


def _of_sessions(index: PreparedIndex, sessions: tuple[str, ...]) -> PreparedIndex:
    """The index with the visits that --session-label names. Raises: NothingMatched."""
    if not sessions:
        return index
    narrowed = [replace(t, visits=tuple(v for v in t.visits if v.session in sessions)) for t in index.timelines]
    kept = tuple(timeline for timeline in narrowed if timeline.visits)
    if not kept:
        msg = f"no prepared visit is of --session-label {', '.join(sessions)}"
        raise NothingMatched(msg)
    return replace(index, timelines=kept)


def follow_model(plan: Plan, model: ModelFile | None) -> Plan:
    """The plan with the grid and the intensities that the model was trained with, where the user named none."""
    prep = plan.prep
    if model is not None and "spacing_mm" in plan.model_decides and model.spacing_mm is not None:
        prep = replace(prep, spacing_mm=model.spacing_mm)
    if model is not None and "normalize" in plan.model_decides and model.normalisation in set(Normalize):
        prep = replace(prep, normalize=Normalize(model.normalisation))
    if model is not None and "n4" in plan.model_decides:
        prep = replace(prep, n4=prep.normalize is not Normalize.NONE)
    return replace(plan, prep=prep)


def check_model_grid(model: ModelFile, spacing_mm: tuple[float, float, float] | None) -> str | None:
    """A sentence where the prepared grid is not the one that the model was trained on, else None."""
    trained_mm = model.spacing_mm
    if trained_mm is None or spacing_mm is None or max(abs(a - b) for a, b in zip(trained_mm, spacing_mm, strict=True)) <= 0.01:
        return None
    found = ", ".join(f"{s:.2f}" for s in spacing_mm)
    return f"the model was trained on voxels of {trained_mm} mm; these are {found} mm. Leave out --spacing."


def effective(plan: Plan, model: ModelFile | None) -> str:
    """The options in effect as a file for --config-file."""
    command = "prep" if plan.segment is None else "segment"
    comments = [
        f"coactseg {__version__}",
        f"coactseg {command} {plan.dataset.bids_dir} {plan.dataset.out_dir} participant --config-file THIS",
    ]
    if model is not None:
        comments.append(f"model {model.info.name}, sha256 {model.sha256}")
    configs = (plan.dataset, None if is_prepared(plan) else plan.prep, plan.segment, plan.run)
    return config_file.dumps(config_file.settings(*(config for config in configs if config is not None)), comments)


def start_tree(plan: Plan, research_line: str) -> Derivatives:
    """Make OUT a derivative data set. Raises: CannotCreate."""
    from bids_app.derivatives import refuse_foreign, start

    out, raw = plan.dataset.out_dir, plan.dataset.bids_dir
    refuse_foreign(out, raw)
    links = dict(plan.dataset.derivatives) | ({} if plan.run.from_masks is None else {"corrected": plan.run.from_masks})
    readme = f"# CoactSeg\n\n{research_line}\n\nMultiple sclerosis lesions on FLAIR MRI, made by coactseg {__version__}.\n\
descriptions.tsv says what each desc- label marks; logs/CITATION.md what to cite; sub-*.html are the reports.\n"
    with locked(tree_lock(out)):
        return start(out, raw, version=__version__, readme=readme, links=links)


def pairing(plan: Plan) -> Pairing | None:
    """Which visits are compared; None where none are."""
    return None if plan.segment is None or plan.prep.anatomical is Anatomical.SESSIONWISE else plan.segment.pairs


def is_prepared(plan: Plan) -> bool:
    """Whether -d prep=PATH gives scans that `coactseg prep` wrote, so that nothing is prepared here."""
    from bids_app import dataset

    folder = plan.dataset.derivatives.get("prep")
    return plan.segment is not None and folder is not None and dataset.is_prepared(folder)


def crew_of(run: RunConfig, n_jobs: int) -> Crew:
    """Participants at once: as many as the CPUs and the memory allow, and as there are."""
    if run.executor is Executor.SLURM:
        return Crew(min(run.slurm_array_parallelism, max(n_jobs, 1)), None, run.stop_on_first_crash)
    at_once = min(run.nprocs // run.omp_threads, max(n_jobs, 1))
    if run.mem_mb is None:
        return Crew(at_once, None, run.stop_on_first_crash)
    at_once = max(1, min(at_once, run.mem_mb // MEM_PER_PARTICIPANT_MB))
    return Crew(at_once, run.mem_mb // at_once, run.stop_on_first_crash)
