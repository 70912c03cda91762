"""Train the network on prepared pairs and single scans: read from top to bottom.

    prepared data sets -> cases in memory -> batch of an iteration -> heads -> loss terms -> checkpoint

Writes OUT/checkpoint.pt (to resume), OUT/losses.tsv, OUT/config.json and, at the end, OUT/model.safetensors.
Reference: Wu et al. 2023; docs/training.md says where the defaults differ.
"""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress

from bids_app.dataset import read_prepared
from bids_app.files import write_bytes
from coactseg_cli.config import TrainConfig
from coactseg_cli.errors import InvalidConfig, MissingWeights, WrongWeights
from coactseg_cli.network.checkpoint import CheckpointInfo, save_model
from coactseg_cli.network.device import choose_device, choose_dtype, keep_large_allocations
from coactseg_cli.network.inputs import stack
from coactseg_cli.network.losses import LossTerms, coactseg_loss
from coactseg_cli.network.model import VNet
from coactseg_cli.sampling.batches import Batch, Pool, draw_batch, make_pool
from coactseg_cli.sampling.loading import common_spacing, load_cases, load_masks
from coactseg_cli.sampling.patches import Case
from coactseg_cli.sampling.synthesis import Shape, shapes_of
from coactseg_cli.targets import Targets

WARM_UP = 100  # iterations
# between a run and its resumption
MAY_CHANGE = {"resume", "name", "iterations", "out_dir", "prepared", "device", "threads", "checkpoint_every", "lesion_shapes"}


@dataclass(slots=True)
class State:
    """What changes during training."""

    network: VNet
    optimiser: torch.optim.Optimizer
    iteration: int = 0  # done so far


def train(config: TrainConfig, log: Callable[[str], None]) -> Path:
    """Run the training to its last iteration and write the model. Returns: the model file.

    Raises: InvalidConfig (no labelled data, other settings than the run that is resumed), GridMismatch, UnreadableImage.
    """
    torch.set_num_threads(config.threads)
    keep_large_allocations()
    cases = read_cases(config, log)
    spacing_mm = common_spacing(cases)
    pool = make_pool(cases, read_shapes(cases, config), config)
    config.out_dir.mkdir(parents=True, exist_ok=True)
    state = start(config)
    if config.resume:
        resume(state, config, log)
    write_bytes(config.out_dir / "config.json", json.dumps(asdict(config), indent=2, default=str).encode())
    run(state, pool, config, log)
    path = config.out_dir / "model.safetensors"
    save_model(state.network, describe(cases, spacing_mm, config), path)
    log(f"model written to {path}")
    return path


def read_cases(config: TrainConfig, log: Callable[[str], None]) -> list[Case]:
    """Load every prepared participant that is not excluded."""
    cases: list[Case] = []
    for root in config.prepared:
        for timeline in read_prepared(root).timelines:
            if timeline.subject not in config.exclude:
                cases += load_cases(timeline)
    if not cases:
        folders = ", ".join(map(str, config.prepared))
        msg = f"no prepared participant in {folders}. Run coactseg prep BIDS OUT participant -d labels=PATH first."
        raise InvalidConfig(msg)
    pairs, singles = count_labelled(cases)
    log(f"{len(cases)} cases: {pairs} labelled pairs, {singles} labelled single scans")
    return cases


def count_labelled(cases: list[Case]) -> tuple[int, int]:
    """Real pairs and real single scans that carry a label."""
    pairs = sum(c.is_pair and any(y is not None for y in (c.new, c.all_baseline, c.all_followup)) for c in cases)
    singles = sum(not c.is_pair and c.all_baseline is not None for c in cases)
    return pairs, singles


def read_shapes(cases: list[Case], config: TrainConfig) -> list[Shape]:
    """Lesion shapes for synthesis: those of the labels and of --lesion-shapes."""
    if config.synthetic_share == 0:
        return []
    masks = [y == 1 for c in cases for y in (c.all_baseline, c.new) if y is not None]
    if config.lesion_shapes is not None:
        masks += load_masks(config.lesion_shapes)
    return [shape for mask in masks for shape in shapes_of(mask)]


def start(config: TrainConfig) -> State:
    """A fresh network and optimiser; the same seed gives the same weights."""
    torch.manual_seed(config.seed)
    network = VNet(config.base_filters, dropout=config.dropout)
    network.to(choose_device(config.device), memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return State(network, torch.optim.Adam(network.parameters(), lr=config.learning_rate))


def run(state: State, pool: Pool, config: TrainConfig, log: Callable[[str], None]) -> None:
    """Iterate; the next batch is drawn while the network works on this one."""
    state.network.train()
    table = LossTable(config.out_dir / "losses.tsv", state.iteration)
    console = Console(stderr=True)
    with ThreadPoolExecutor(1) as drawer, Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("training", total=config.iterations, completed=state.iteration)
        upcoming = drawer.submit(draw_batch, pool, config, state.iteration)
        while state.iteration < config.iterations:
            begun = time.monotonic()
            batch = upcoming.result()
            upcoming = drawer.submit(draw_batch, pool, config, state.iteration + 1)
            terms = step(state, batch, config)
            state.iteration += 1
            table.add(state.iteration, terms, time.monotonic() - begun)
            bar.update(task, completed=state.iteration, description=f"loss {float(terms.total):.3f}")
            if state.iteration % config.checkpoint_every == 0 or state.iteration == config.iterations:
                save_checkpoint(state, config)
                table.flush()
                log(f"iteration {state.iteration} of {config.iterations}: {table.recent()}")


def step(state: State, batch: Batch, config: TrainConfig) -> LossTerms:
    """One update of the weights. Returns: the loss terms, detached."""
    device = next(state.network.parameters()).device
    dtype = choose_dtype(config.precision, device)
    for group in state.optimiser.param_groups:
        group["lr"] = learning_rate(state.iteration, config)
    x = stack(batch.baseline.to(device), batch.followup.to(device)).contiguous(memory_format=torch.channels_last_3d)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype is torch.bfloat16):
        heads = state.network(x)
    terms = coactseg_loss(
        heads,
        Targets(*(y.to(device) for y in batch.targets)),
        batch.is_pair.to(device),
        new_weight=config.new_weight,
        relation_weight=config.relation_weight if state.iteration >= relation_start(config) else 0.0,
        cross_entropy_weight=config.cross_entropy_weight,
    )
    state.optimiser.zero_grad(set_to_none=True)
    terms.total.backward()  # type: ignore[no-untyped-call]
    if config.clip_norm > 0:
        torch.nn.utils.clip_grad_norm_(state.network.parameters(), config.clip_norm)
    state.optimiser.step()
    return LossTerms(*(t.detach() for t in terms))


def relation_start(config: TrainConfig) -> int:
    """First iteration at which lambda2 counts: 'stage by stage' (Eq. 4)."""
    return config.iterations // 2 if config.relation_from is None else config.relation_from


def learning_rate(iteration: int, config: TrainConfig) -> float:
    """Constant, or warm-up and a cosine to 1 % of the start."""
    if config.schedule == "constant":
        return config.learning_rate
    warm = min(1.0, (iteration + 1) / WARM_UP)
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(iteration / config.iterations, 1.0)))
    return config.learning_rate * warm * (0.01 + 0.99 * cosine)


class LossTable:
    """losses.tsv: one row per iteration, appended; rows after the resumed iteration are dropped first."""

    def __init__(self, path: Path, iteration: int) -> None:
        self.path = path
        self.columns = ("iteration", *LossTerms._fields, "seconds")
        self.rows: list[tuple[float, ...]] = []
        self.last = ""
        kept = []
        if iteration and path.exists():
            kept = [line for line in path.read_text().splitlines()[1:] if int(line.split("\t")[0]) <= iteration]
        write_bytes(path, ("\n".join(["\t".join(self.columns), *kept]) + "\n").encode())

    def add(self, iteration: int, terms: LossTerms, seconds: float) -> None:
        """Remember one row."""
        self.rows.append((iteration, *(float(t) for t in terms), seconds))

    def flush(self) -> None:
        """Append the remembered rows."""
        with self.path.open("a") as file:
            file.writelines(f"{row[0]:.0f}\t" + "\t".join(f"{v:.5g}" for v in row[1:]) + "\n" for row in self.rows)
        n = len(self.rows)
        means = [sum(row[i] for row in self.rows) / n for i in range(1, len(self.columns))] if n else []
        self.last = ", ".join(f"{name} {value:.3f}" for name, value in zip(self.columns[1:], means, strict=False))
        self.rows = []

    def recent(self) -> str:
        """Means since the last flush, as text."""
        return self.last


def save_checkpoint(state: State, config: TrainConfig) -> None:
    """Weights, optimiser and iteration, written then renamed: a kill leaves the last good one."""
    buffer = io.BytesIO()
    content = {
        "network": state.network.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "iteration": state.iteration,
        "config": json.dumps(asdict(config), default=str),
    }
    torch.save(content, buffer)
    write_bytes(config.out_dir / "checkpoint.pt", buffer.getvalue())


def resume(state: State, config: TrainConfig, log: Callable[[str], None]) -> None:
    """Continue from OUT/checkpoint.pt. Raises: MissingWeights, WrongWeights, InvalidConfig where the settings differ."""
    path = config.out_dir / "checkpoint.pt"
    if not path.exists():
        msg = f"{path}: nothing to resume. Leave out --resume to start."
        raise MissingWeights(msg)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        then = json.loads(content["config"])
    except Exception as error:
        msg = f"{path}: not a readable checkpoint ({error}). Start anew without --resume, or restore the file."
        raise WrongWeights(msg) from error
    now = json.loads(json.dumps(asdict(config), default=str))
    changed = [f"{k}: {then.get(k)} then, {v} now" for k, v in now.items() if k not in MAY_CHANGE and k in then and then[k] != v]
    if changed:
        msg = f"{path}: the run to resume was made otherwise ({'; '.join(changed)}). Use its settings, or another OUT."
        raise InvalidConfig(msg)
    state.network.load_state_dict(content["network"])
    state.optimiser.load_state_dict(content["optimiser"])
    state.iteration = int(content["iteration"])
    log(f"resumed at iteration {state.iteration}")


def describe(cases: list[Case], spacing_mm: tuple[float, float, float], config: TrainConfig) -> CheckpointInfo:
    """What the model file says of itself."""
    pairs, singles = count_labelled(cases)
    return CheckpointInfo(
        name=config.name,
        base_filters=config.base_filters,
        patch_size=config.patch_size,
        spacing_mm=spacing_mm,
        normalisation="zscore",
        n_pairs=pairs,
        n_singles=singles,
        training_data=tuple(sorted({c.name.split("_")[0] for c in cases})),
        iterations=config.iterations,
    )
