"""Samples put together into batches; every draw depends on the seed, the iteration and the place in the batch alone.

So a resumed run sees the same data, and so do several processes that share a batch, each drawing its own places:

    place in the batch    0     1     2       3          pairs first, then single scans
                          pair  pair  single  single
    one process           0     0     0       0
    two processes         0     1     0       1          each has both kinds
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from math import floor

import numpy as np
import torch
from torch import Tensor

from coactseg_cli.config import TrainConfig
from coactseg_cli.errors import InvalidConfig
from coactseg_cli.sampling import augment, synthesis, transplants
from coactseg_cli.sampling.lesion_library import Library
from coactseg_cli.sampling.patches import Case, Patch, cut, draw_centre, foreground
from coactseg_cli.targets import IGNORE, Targets

BRAIN_VOXELS_KEPT = 20_000  # random centres are drawn among these
AHEAD = 3  # batches that are drawn before they are asked for


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One patch, and how each of its visits is to be rendered."""

    patch: Patch
    kind: str  # real pair, synthetic pair or single scan, for captions
    baseline: augment.Acquisition
    followup: augment.Acquisition


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What one iteration works on, before the visits are rendered."""

    baseline: Tensor  # (B, 1, X, Y, Z) float32
    followup: Tensor
    brain: Tensor  # (B, X, Y, Z) bool; for rendering, True everywhere where nothing is rendered
    targets: Targets  # (B, X, Y, Z) int8 each; IGNORE everywhere where a sample lacks the label
    is_pair: Tensor  # (B,) bool
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A case with the places that patches are centred at."""

    case: Case
    lesion_voxels: np.ndarray  # (n, 3)
    brain_voxels: np.ndarray  # (m, 3)


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Everything that samples are drawn from."""

    pairs: tuple[tuple[Source, ...], ...]  # per kind of label (new lesions; all lesions only), the pairs that have it
    singles: tuple[Source, ...]  # one visit with an all-lesion label
    backgrounds: tuple[Source, ...]  # any case: synthetic change is painted into it
    library: Library = field(default_factory=Library)


def make_pool(cases: Sequence[Case], library: Library, config: TrainConfig) -> Pool:
    """Sort cases by what their labels supervise. Raises: InvalidConfig where a part of the batch has nothing to draw from."""
    sources = [_source(c) for c in cases]
    pairs = [s for s in sources if s.case.is_pair and s.case.labelled]
    kinds = ([s for s in pairs if s.case.new is not None], [s for s in pairs if s.case.new is None])
    pool = Pool(
        pairs=tuple(tuple(kind) for kind in kinds if kind),
        singles=tuple(s for s in sources if not s.case.is_pair and s.case.labelled),
        backgrounds=tuple(sources) if config.synthetic_share > 0 else (),
        library=library,
    )
    if config.singles_per_batch and not pool.singles:
        msg = "no single scan has an all-lesion label (desc-all). Prepare some: coactseg prep -d labels=PATH, or pass --singles-per-batch 0"
        raise InvalidConfig(msg)
    if config.pairs_per_batch and not pool.pairs and not pool.backgrounds:
        msg = "no pair has a label (desc-new or desc-all). Prepare some: coactseg prep -d labels=PATH, or pass --pairs-per-batch 0"
        raise InvalidConfig(msg)
    return pool


def _source(case: Case) -> Source:
    brain = np.argwhere(case.brain)
    step = max(len(brain) // BRAIN_VOXELS_KEPT, 1)
    return Source(case, foreground(case), brain[::step])


def places(config: TrainConfig, rank: int = 0, world: int = 1) -> range:
    """Places of the batch that a process draws.

    Raises: InvalidConfig where the processes would not all get as many pairs, and as many single scans.
    """
    if config.pairs_per_batch % world or config.singles_per_batch % world:
        msg = (
            f"{world} processes share a batch of {config.pairs_per_batch} pairs and {config.singles_per_batch} single scans: both must be "
            "multiples of the number of processes. Change --pairs-per-batch and --singles-per-batch, or start fewer processes."
        )
        raise InvalidConfig(msg)
    return range(rank, config.pairs_per_batch + config.singles_per_batch, world)


def draw_batch(pool: Pool, config: TrainConfig, iteration: int, where: range | None = None) -> Batch:
    """The batch of one iteration, or the part at the places `where`: pairs (real or synthetic) first, then single scans."""
    return collate([draw_sample(pool, config, iteration, place) for place in (places(config) if where is None else where)])


def stream(pool: Pool, config: TrainConfig, first: int, where: range, workers: int) -> Generator[Batch]:
    """The batches from iteration `first` on, drawn ahead by `workers` threads; their order and content do not depend on them."""
    with ThreadPoolExecutor(workers, thread_name_prefix="draw") as threads:
        upcoming: deque[list[Future[Sample]]] = deque()
        iteration = first
        try:
            while True:
                while len(upcoming) < AHEAD:
                    upcoming.append([threads.submit(draw_sample, pool, config, iteration, place) for place in where])
                    iteration += 1
                yield collate([future.result() for future in upcoming.popleft()])
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


def draw_sample(pool: Pool, config: TrainConfig, iteration: int, place: int) -> Sample:
    """The sample at one place of the batch of one iteration."""
    rng = np.random.default_rng([config.seed, iteration, place])
    if place < config.pairs_per_batch:
        patch, kind = _draw_pair(pool, config, iteration * config.pairs_per_batch + place, rng)
    else:
        patch, kind = _draw_single(pool, config, rng), "single scan"
    if config.augment_strength == 0:  # nothing is rendered, so nobody asks where the brain is
        patch = patch.with_(brain=np.broadcast_to(np.True_, patch.brain.shape))
    patch = augment.orient(patch, augment.draw_orientation(rng))
    first, second = (augment.draw_acquisition(rng, config.augment_strength, patch.spacing_mm) for _ in range(2))
    return Sample(patch, kind, first, second)


def _draw_pair(pool: Pool, config: TrainConfig, number: int, rng: np.random.Generator) -> tuple[Patch, str]:
    """The pair sample with this number in the run: synthetic ones in a set share, kinds of labels in turn."""
    share = config.synthetic_share if pool.pairs else 1.0
    if pool.backgrounds and floor((number + 1) * share) > floor(number * share):
        patch = _draw_patch(pool.backgrounds[rng.integers(len(pool.backgrounds))], config, rng)
        return synthesis.make_pair(_packed(patch), pool.library, rng, transplant=_transplants(config, rng)), "synthetic pair"
    real_number = number - floor(number * share)
    sources = pool.pairs[real_number % len(pool.pairs)]
    return _draw_patch(sources[rng.integers(len(sources))], config, rng), "real pair"


def _packed(patch: Patch) -> Patch:
    """The same patch in memory of its own: synthesis goes over it many times."""
    names = ("baseline", "followup", "brain", *(n for n in ("all_baseline", "all_followup", "new") if getattr(patch, n) is not None))
    return patch.with_(**{name: np.array(getattr(patch, name)) for name in names})


def _draw_single(pool: Pool, config: TrainConfig, rng: np.random.Generator) -> Patch:
    patch = _draw_patch(pool.singles[rng.integers(len(pool.singles))], config, rng)
    if config.null_new_on_singles:
        patch = patch.with_(new=np.zeros(patch.baseline.shape, np.int8))
    return transplants.load_single(_packed(patch), pool.library.patients, rng) if _transplants(config, rng) else patch


def _transplants(config: TrainConfig, rng: np.random.Generator) -> bool:
    """Whether this sample gets all lesions of another patient; without such samples no number is drawn."""
    return config.transplant_share > 0 and bool(rng.random() < config.transplant_share)


def _draw_patch(source: Source, config: TrainConfig, rng: np.random.Generator) -> Patch:
    lesions = source.lesion_voxels if rng.random() < config.lesion_share else source.lesion_voxels[:0]
    return cut(source.case, draw_centre(rng, lesions, source.brain_voxels, config.max_shift), config.patch_size)


def collate(samples: Sequence[Sample]) -> Batch:
    """Write samples into one batch; a missing label becomes IGNORE.

    The batch lies in memory of torch's own: products of matrices round by where their numbers lie, and NumPy's lie anywhere.
    """
    patches = [s.patch for s in samples]
    shape = (len(patches), *patches[0].baseline.shape)
    baseline, followup = torch.empty(shape), torch.empty(shape)
    brain = torch.empty(shape, dtype=torch.bool)
    targets = Targets(*(torch.full(shape, IGNORE, dtype=torch.int8) for _ in Targets._fields))
    for i, patch in enumerate(patches):
        _write(baseline[i], patch.baseline)
        _write(followup[i], patch.followup) if patch.is_pair else followup[i].copy_(baseline[i])
        _write(brain[i], patch.brain)
        for name, target in targets._asdict().items():
            label = getattr(patch, name)
            if label is None:
                continue
            if name == "all_followup" and not patch.is_pair and patch.all_baseline is not None:
                target[i].copy_(targets.all_baseline[i])  # one visit, one label
            else:
                _write(target[i], label)
    is_pair = torch.tensor([p.is_pair for p in patches])
    return Batch(baseline[:, None], followup[:, None], brain, targets, is_pair, tuple(samples))


def _write(place: Tensor, array: np.ndarray) -> None:
    np.copyto(place.numpy(), array)


def render(batch: Batch, device: torch.device, strength: float) -> tuple[Tensor, Tensor]:
    """The two visits of a batch as the network gets them, on its device: each visit as an acquisition of its own.

    Returns: baseline and follow-up (B, 1, X, Y, Z); a single scan is rendered once and stays (x, x).
    """
    baseline, followup = batch.baseline.to(device, non_blocking=True), batch.followup.to(device, non_blocking=True)
    if strength <= 0:
        return baseline, followup
    brain = batch.brain.to(device, non_blocking=True)
    first = augment.render(baseline, brain, [s.baseline for s in batch.samples])
    pairs = [i for i, s in enumerate(batch.samples) if s.patch.is_pair]
    second = first.clone()
    if pairs:
        second[pairs] = augment.render(followup[pairs], brain[pairs], [batch.samples[i].followup for i in pairs])
    return first, second
