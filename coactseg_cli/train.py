"""Train the network on prepared pairs and single scans: read from top to bottom.

    prepared data sets -> cases -> training and validation sides -> batch of an iteration -> heads -> loss terms -> checkpoint

One process, or several that torchrun starts: they share each batch and end with the same weights. OUT is written by the first.
Reference: Wu et al. 2023; docs/training.md says where the defaults differ.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from coactseg_cli import training_state
from coactseg_cli.config import TrainConfig
from coactseg_cli.errors import InvalidConfig
from coactseg_cli.network.checkpoint import save_model
from coactseg_cli.network.device import keep_large_allocations
from coactseg_cli.network.ranks import Ranks, join, leave
from coactseg_cli.sampling.batches import places, stream
from coactseg_cli.sampling.splits import patient_of
from coactseg_cli.stopping import StopFlag, stop_signals
from coactseg_cli.training_card import describe, versions, write_card
from coactseg_cli.training_data import Data, preview, read_data
from coactseg_cli.training_files import Notebook, clean_up
from coactseg_cli.training_page import write_page
from coactseg_cli.training_state import CHECKPOINT, State, keep_best
from coactseg_cli.training_step import learning_rate, step
from coactseg_cli.training_view import View
from coactseg_cli.validation import Row, summary_score, validate

MODEL = "model.safetensors"
Log = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What a training works with; only `state` changes."""

    config: TrainConfig
    ranks: Ranks
    data: Data
    state: State
    log: Log


def train(config: TrainConfig, log: Log) -> Path:
    """Run the training to its last iteration and write the model. Returns: the model file, or the sheet of --preview.

    Raises: InvalidConfig (no labelled data, a patient on both sides, other settings than the run that is resumed, OUT in use),
        GridMismatch, UnreadableImage, MissingWeights, WrongWeights; Stopped after a signal, when the checkpoint is written.
    """
    ranks = join(config.device)
    try:
        return _train(replace(config, device=str(ranks.device)), ranks, log if ranks.leads else _silent)
    finally:
        leave()


def _silent(_: str) -> None:
    """Only the first process speaks."""


def _train(config: TrainConfig, ranks: Ranks, log: Log) -> Path:
    require_free(config)
    prepare_machine(config)
    where = places(config, ranks.rank, ranks.world)
    data = read_data(config, ranks, log)
    if ranks.leads and (config.preview or not config.resume):
        sheet = preview(data.pool, config)
    if config.preview:
        return sheet if ranks.leads else config.out_dir
    if ranks.leads:
        clean_up(config.out_dir)
    state = training_state.start(config, ranks)
    if config.resume:
        training_state.resume(state, config)
        log(f"resumed at iteration {state.iteration}")
    if both := sorted({patient_of(case) for case in data.split.validation} & set(state.known)):
        log(f"warning: --init was trained on {', '.join(both)}, so validation figures will be too good")
    run = Run(config, ranks, data, state, log)
    with stop_signals() as stop:
        iterate(run, where, stop)
    if ranks.leads:
        finish(run)
    ranks.wait()
    return config.out_dir / MODEL


def require_free(config: TrainConfig) -> None:
    """Raises: InvalidConfig where OUT holds a training that would be lost."""
    path = config.out_dir / CHECKPOINT
    if path.exists() and not (config.resume or config.force or config.preview):
        msg = f"{path}: OUT holds a training already. Go on with --resume, begin it anew with --force, or choose another OUT."
        raise InvalidConfig(msg)


def prepare_machine(config: TrainConfig) -> None:
    """Threads, memory and kernels of this process."""
    torch.set_num_threads(config.threads)
    keep_large_allocations()
    torch.backends.cudnn.benchmark = not config.reproducible
    torch.backends.cudnn.deterministic = config.reproducible


def iterate(run: Run, where: range, stop: StopFlag) -> None:
    """Work until the last iteration; the next batches are drawn while the network works on this one.

    Raises: Stopped after a signal, when the checkpoint is written.
    """
    config, state, ranks = run.config, run.state, run.ranks
    notes = Notebook(config, state.iteration) if ranks.leads else None
    every = config.validate_every or max(config.iterations // 10, 1)
    batches = stream(run.data.pool, config, state.iteration, where, config.workers or max(config.threads - 1, 1))
    state.network.train()
    with closing(batches), View(config.iterations, state.iteration, shown=ranks.leads) as view:
        while state.iteration < config.iterations:
            begun = time.monotonic()
            rate = learning_rate(state.iteration, config)
            terms = step(state, next(batches), config, ranks)
            state.iteration += 1
            if state.average is not None:
                state.average.update(state.network, state.iteration)
            if notes is not None:
                view.step(notes.add_losses(state.iteration, terms, rate, time.monotonic() - begun))
            last = state.iteration == config.iterations
            if run.data.split.validation and (last or state.iteration % every == 0):
                check(run, notes, view)
            stopped = ranks.any(stop.name is not None)
            if notes is not None and (last or stopped or state.iteration % config.checkpoint_every == 0):
                notes.flush()
                training_state.save(state, config)
                run.log(f"iteration {state.iteration} of {config.iterations}: {view.text()}")
            if stopped:
                if notes is not None:
                    write_page(config.out_dir, config, run.data.split, chosen_iteration(state), versions())
                ranks.wait()
                stop.end(f"stopped after iteration {state.iteration}; the checkpoint is written. Go on with --resume.")


def check(run: Run, notes: Notebook | None, view: View) -> None:
    """Validate, and keep the weights where they are the best so far."""
    config, state = run.config, run.state
    rows = validate(state.shipped, run.data.split.validation, config, run.ranks, state.iteration)
    score = summary_score(rows)
    better = keep_best(state, score)
    if notes is None or state.best is None:
        return
    notes.add_validation(rows, score, state.iteration)
    view.validated(rows, score, state.best.score, state.best.iteration)
    run.log(f"validation at {state.iteration}: {view.validation}")
    if better:
        save_model(state.shipped, describe(run.data, config, state.iteration, state.known), config.out_dir / MODEL)


def finish(run: Run) -> None:
    """The model file with the best weights, its card, and the page."""
    config, state = run.config, run.state
    chosen = chosen_iteration(state)
    rows: list[Row] = []
    if state.best is not None:
        state.shipped.load_state_dict(state.best.weights)
        rows = validate(state.shipped, run.data.split.validation, config, run.ranks.alone, chosen)
    save_model(state.shipped, describe(run.data, config, chosen, state.known), config.out_dir / MODEL)
    write_card(run.data, config, chosen, rows, state.known)
    write_page(config.out_dir, config, run.data.split, chosen, versions())
    run.log(f"model written to {config.out_dir / MODEL}")


def chosen_iteration(state: State) -> int:
    """That of the weights in the model file: the best on the validation cases, else the last."""
    return state.iteration if state.best is None else state.best.iteration
