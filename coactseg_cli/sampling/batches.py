"""Samples put together into batches; every draw depends on the seed and the iteration alone, so a resumed run sees the same data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from coactseg_cli.config import TrainConfig
from coactseg_cli.errors import InvalidConfig
from coactseg_cli.sampling import augment, synthesis
from coactseg_cli.sampling.patches import Case, Patch, cut, draw_centre, foreground
from coactseg_cli.targets import IGNORE, Targets

BRAIN_VOXELS_KEPT = 20_000  # random centres are drawn among these


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What one iteration works on."""

    baseline: Tensor  # (B, 1, X, Y, Z) float32
    followup: Tensor
    targets: Targets  # (B, X, Y, Z) int8 each; IGNORE everywhere where a sample lacks the label
    is_pair: Tensor  # (B,) bool


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A case with the places that patches are centred at."""

    case: Case
    lesion_voxels: np.ndarray  # (n, 3)
    brain_voxels: np.ndarray  # (m, 3)


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Everything that samples are drawn from."""

    pairs: tuple[Source, ...]  # two visits with a new-lesion or all-lesion label
    singles: tuple[Source, ...]  # one visit with an all-lesion label
    backgrounds: tuple[Source, ...]  # any case: synthetic change is painted into it
    shapes: list[synthesis.Shape] = field(default_factory=list)


def make_pool(cases: Sequence[Case], shapes: list[synthesis.Shape], config: TrainConfig) -> Pool:
    """Sort cases by what their labels supervise. Raises: InvalidConfig where a part of the batch has nothing to draw from."""
    sources = [_source(c) for c in cases]
    labelled = [s for s in sources if any(y is not None for y in (s.case.new, s.case.all_baseline, s.case.all_followup))]
    pool = Pool(
        pairs=tuple(s for s in labelled if s.case.is_pair),
        singles=tuple(s for s in labelled if not s.case.is_pair),
        backgrounds=tuple(sources) if config.synthetic_share > 0 else (),
        shapes=shapes,
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


def draw_batch(pool: Pool, config: TrainConfig, iteration: int) -> Batch:
    """The batch of one iteration: pairs (real or synthetic) first, then single scans."""
    rng = np.random.default_rng([config.seed, iteration])
    patches = [_draw_pair(pool, config, rng) for _ in range(config.pairs_per_batch)]
    patches += [_draw_single(pool, config, rng) for _ in range(config.singles_per_batch)]
    return collate(patches)


def _draw_pair(pool: Pool, config: TrainConfig, rng: np.random.Generator) -> Patch:
    synthetic = not pool.pairs or rng.random() < config.synthetic_share
    sources = pool.backgrounds if synthetic and pool.backgrounds else pool.pairs
    patch = _draw_patch(sources[rng.integers(len(sources))], config, rng)
    if synthetic and pool.backgrounds:
        patch = synthesis.make_pair(patch, pool.shapes, rng)
    return _augment(patch, config, rng)


def _draw_single(pool: Pool, config: TrainConfig, rng: np.random.Generator) -> Patch:
    patch = _draw_patch(pool.singles[rng.integers(len(pool.singles))], config, rng)
    if config.null_new_on_singles:
        patch = patch.with_(new=np.zeros(patch.baseline.shape, np.int8))
    return _augment(patch, config, rng)


def _draw_patch(source: Source, config: TrainConfig, rng: np.random.Generator) -> Patch:
    lesions = source.lesion_voxels if rng.random() < config.lesion_share else source.lesion_voxels[:0]
    return cut(source.case, draw_centre(rng, lesions, source.brain_voxels, config.max_shift), config.patch_size)


def _augment(patch: Patch, config: TrainConfig, rng: np.random.Generator) -> Patch:
    orientation = augment.draw_orientation(rng)
    first, second = (augment.draw_acquisition(rng, config.augment_strength) for _ in range(2))
    if config.augment_strength > 0:
        patch = augment.acquire(patch, first, second)
    return augment.orient(patch, orientation)


def collate(patches: Sequence[Patch]) -> Batch:
    """Stack patches; a missing label becomes IGNORE."""

    def images(name: str) -> Tensor:
        return torch.from_numpy(np.stack([getattr(p, name) for p in patches])[:, None].astype(np.float32))

    def targets(name: str) -> Tensor:
        empty = np.full(patches[0].baseline.shape, IGNORE, np.int8)
        return torch.from_numpy(np.stack([empty if getattr(p, name) is None else getattr(p, name) for p in patches]))

    return Batch(
        baseline=images("baseline"),
        followup=images("followup"),
        targets=Targets(targets("all_baseline"), targets("all_followup"), targets("new")),
        is_pair=torch.tensor([p.is_pair for p in patches]),
    )
