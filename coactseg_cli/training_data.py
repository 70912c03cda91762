"""What a training learns from: prepared data sets -> cases -> training and validation sides -> the pool that samples are drawn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bids_app.dataset import read_prepared
from coactseg_cli.config import TrainConfig
from coactseg_cli.errors import InvalidConfig
from coactseg_cli.network.ranks import Ranks
from coactseg_cli.sampling.augment import SLICE_MM
from coactseg_cli.sampling.batches import Pool, draw_batch, make_pool, render
from coactseg_cli.sampling.lesion_library import Library, harvest
from coactseg_cli.sampling.loading import common_spacing, derive_new, load_cases, load_masks
from coactseg_cli.sampling.patches import Case
from coactseg_cli.sampling.preview import write_sheet
from coactseg_cli.sampling.splits import Split, patient_of, require_apart, split_by_fold, split_by_label
from coactseg_cli.seen import SeenRanges, ranges_of

PREVIEWED = 12  # samples on the sheet


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """Everything that is learned from and validated on."""

    split: Split
    pool: Pool
    spacing_mm: tuple[float, float, float]


def read_data(config: TrainConfig, ranks: Ranks, log: Callable[[str], None]) -> Data:
    """Load every prepared participant that is not excluded; the first process fills the cache, the others read it."""
    if not ranks.leads:
        ranks.wait()
    training = read_cases(config.prepared, config)
    held_out = read_cases(config.validation_prepared, config)
    if ranks.leads:
        ranks.wait()
    split = Split(tuple(training), tuple(held_out))
    if config.fold is not None:
        split = split_by_fold(training, config.fold, config.seed)
    elif config.validation:
        inside = split_by_label(training, config.validation)
        split = Split(inside.training, (*inside.validation, *held_out))
    require_apart(split)
    spacing_mm = common_spacing([*split.training, *split.validation])
    log(f"training: {counted(split.training)}; validation: {counted(split.validation)}")
    return Data(split, make_pool(split.training, read_library(split, config), config), spacing_mm)


def read_cases(roots: Sequence[Path], config: TrainConfig) -> list[Case]:
    """The cases of prepared data sets. Raises: InvalidConfig where there is none, or a participant cannot be read."""
    cases: list[Case] = []
    for root in roots:
        index = read_prepared(root)
        for failure in index.failures:
            if failure.subject not in config.exclude:
                msg = f"{root}: sub-{failure.subject} cannot be read: {failure.message} Or leave it out with --exclude {failure.subject}."
                raise InvalidConfig(msg)
        for timeline in index.timelines:
            if timeline.subject not in config.exclude:
                cases += load_cases(timeline, config.cache_dir or config.out_dir / "cache")
    if roots and not cases:
        folders = ", ".join(map(str, roots))
        msg = f"no prepared participant in {folders}. Run coactseg prep BIDS OUT participant -d labels=PATH first."
        raise InvalidConfig(msg)
    return [derive_new(case) for case in cases] if config.derive_new else cases


def counted(cases: Sequence[Case]) -> str:
    """'4 participants, 2 labelled pairs, 3 labelled single scans'."""
    pairs, singles = count_labelled(cases)
    return f"{len({patient_of(c) for c in cases})} participants, {pairs} labelled pairs, {singles} labelled single scans"


def count_labelled(cases: Sequence[Case]) -> tuple[int, int]:
    """Real pairs and real single scans that carry a label."""
    return sum(bool(c.is_pair and c.labelled) for c in cases), sum(bool(not c.is_pair and c.labelled) for c in cases)


def seen_in(cases: Sequence[Case], augment_strength: float) -> SeenRanges | None:
    """What the scans of the training side look like, each scan once, with the slices that augmentation renders; None: no scan is known."""
    profiles = [profile for case in cases if not case.is_pair for profile in case.scans]
    return ranges_of(profiles, SLICE_MM[1] * min(augment_strength, 1.0))


def read_library(split: Split, config: TrainConfig) -> Library:
    """Lesions for synthesis: those of the labels of the training side, and the shapes of --lesion-shapes.

    A mask whose file is named after a participant that is validated on or left out is not used: its lesions are unknown to training.
    """
    if config.transplant_share == 0 and (config.synthetic_share == 0 or not config.pairs_per_batch):
        return Library()
    unknown = {patient_of(case) for case in split.validation} | {f"sub-{label}" for label in config.exclude}
    masks, spacing_mm = ([], (1.0, 1.0, 1.0)) if config.lesion_shapes is None else load_masks(config.lesion_shapes, unknown)
    return harvest(split.training, masks, spacing_mm)


def preview(pool: Pool, config: TrainConfig) -> Path:
    """OUT/preview.png: the first samples as the network sees them."""
    each = config.pairs_per_batch + config.singles_per_batch
    batches = [draw_batch(pool, config, i) for i in range(max(PREVIEWED // each, 1))]
    images = [render(batch, torch.device("cpu"), config.augment_strength) for batch in batches]
    baseline, followup = (np.concatenate([pair[i][:, 0].numpy() for pair in images]) for i in (0, 1))
    targets = [np.concatenate([y.numpy() for y in column]) for column in zip(*(b.targets for b in batches), strict=True)]
    titles = [f"{s.kind}: {s.patch.note}" if s.patch.note else s.kind for b in batches for s in b.samples]
    path = config.out_dir / "preview.png"
    write_sheet(path, baseline, followup, targets, titles)
    return path
