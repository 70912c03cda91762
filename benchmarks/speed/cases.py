"""The pairs that inference is timed on: the example's phantom, and prepared real pairs. Times nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from bids_app.dataset import read_prepared
from coactseg_cli.preprocessing.bias import correct_bias
from coactseg_cli.preprocessing.intensity import zscore
from coactseg_cli.sampling.loading import load_cases
from coactseg_cli.targets import IGNORE
from coactseg_cli.volumes import Volume, box_of
from examples.anatomy import draw_anatomy
from examples.cohort import COHORT
from examples.phantom import Fate, Rendering, Scanning, centred_grid, render, rigid

EXAMPLE = "example"
SHAPE = (180, 220, 180)  # 288 windows of 80^3 every 20 voxels
FIELD_MM = (180.0, 220.0, 190.0)


@dataclass(frozen=True, slots=True, eq=False)
class PairCase:
    """Two visits on one grid of about 1 mm, cropped to the brain as the published code wants them; (X, Y, Z) each."""

    name: str
    baseline: np.ndarray  # float32, z-scored in the brain, 0 outside
    followup: np.ndarray
    brain: np.ndarray  # bool
    new: np.ndarray | None = None  # int8: 1 new lesion, 0 none, IGNORE nobody knows; None: no label

    def save(self, path: Path) -> None:
        """Write it for a process of its own."""
        label = {} if self.new is None else {"new": self.new}
        np.savez(path, name=self.name, baseline=self.baseline, followup=self.followup, brain=self.brain, **label)


def read_case(path: Path) -> PairCase:
    """What `save` wrote."""
    with np.load(path) as stored:
        new = stored["new"] if "new" in stored.files else None
        return PairCase(str(stored["name"]), stored["baseline"], stored["followup"], stored["brain"], new)


def example_case(shape: tuple[int, int, int] = SHAPE) -> PairCase:
    """The example's first pair on one grid, corrected for bias as prep does, stretched to fill `shape`: no way gains by cropping."""
    participant = COHORT[0]
    anatomy = draw_anatomy(np.random.default_rng(participant.seed), participant.ventricles, participant.size)
    how = Scanning(centred_grid(FIELD_MM, (1.0, 1.0, 1.0)), rigid((0, 0, 0), (0, 0, 0)))
    visits = [render(anatomy, participant.lesions, visit, how, (participant.seed, visit)) for visit in (0, 1)]
    brain = visits[0].brain
    numbers = [i for i, lesion in enumerate(participant.lesions, start=1) if lesion.fate(0, 1) is Fate.NEW]
    box = box_of(brain).slices
    factor = np.array(shape) / np.array(brain[box].shape)
    stretched = _stretch(brain[box].astype(np.float32), factor) > 0.5
    images = [_prepared(visit, factor, stretched) for visit in visits]
    new = _stretch(np.isin(visits[1].lesions[box], numbers).astype(np.float32), factor) > 0.5
    return PairCase(EXAMPLE, images[0], images[1], np.ones(shape, bool), new.astype(np.int8))


def _stretch(array: np.ndarray, factor: np.ndarray) -> np.ndarray:
    stretched: np.ndarray = ndimage.zoom(array, factor, order=1, grid_mode=True, mode="nearest")
    return stretched


def _prepared(visit: Rendering, factor: np.ndarray, stretched: np.ndarray) -> np.ndarray:
    corrected = correct_bias(Volume(visit.flair.astype(np.float32), visit.grid.affine), visit.brain)
    image = _stretch(corrected.data[box_of(visit.brain).slices], factor)
    return zscore(Volume(image, np.eye(4)), stretched).volume.data


def real_cases(roots: Sequence[Path], subjects: Sequence[str]) -> list[PairCase]:
    """The pairs of these participants, as prep wrote them."""
    found = []
    for root in roots:
        for timeline in read_prepared(root, ()).timelines:
            if timeline.subject not in subjects:
                continue
            for case in load_cases(timeline):
                if case.followup is not None:
                    box = box_of(np.asarray(case.brain)).slices
                    label = None if case.new is None else np.array(case.new[box])
                    found.append(PairCase(case.name, *(np.array(a[box]) for a in (case.baseline, case.followup, case.brain)), label))
    return found


def known(case: PairCase) -> np.ndarray | None:
    """Where the label says something: (X, Y, Z) bool."""
    return None if case.new is None else case.new != IGNORE
