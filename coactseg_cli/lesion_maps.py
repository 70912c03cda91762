"""The lesion maps of one participant before they are read: probabilities, masks that were given, and what each was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bids_app.cases import Pair, PreparedScan
from coactseg_cli.components import keep_confident
from coactseg_cli.preprocessing.transforms import read_itk
from coactseg_cli.volumes import Volume, load, require_same_grid

STEP = 2.0**-17  # of a stored probability: what is finer than 1e-5 says nothing, and would not compress (docs/performance.md)
ALL, NULL_PAIR = "all", "nullpair"  # desc- labels; those of pairs come from bids_app.cases


@dataclass(frozen=True, slots=True, eq=False)
class Grids:
    """One visit as arrays and grids."""

    scan: PreparedScan
    image: Volume  # reference grid
    brain: np.ndarray  # bool, reference grid
    native_brain: Volume  # bool, the scan's own grid
    individual_from_orig: np.ndarray  # (4, 4), RAS mm: points of the scan to points of space-individual

    @property
    def name(self) -> str:
        """'ses-01', or 'the only visit' where there are no session labels."""
        return f"ses-{self.scan.session}" if self.scan.session else "the only visit"


def read_grids(scan: PreparedScan) -> Grids:
    """Read a prepared visit. Raises: UnreadableImage, UnreadableTransform, GridMismatch."""
    image, brain = load(scan.image), load(scan.brain_mask)
    require_same_grid(image, brain, str(scan.image), str(scan.brain_mask))
    native = load(scan.native_brain_mask)
    return Grids(scan, image, brain.data > 0.5, native.like(native.data > 0.5), read_itk(scan.to_native))


def rounded(probability: np.ndarray) -> np.ndarray:
    """Probabilities as they are stored, in steps of STEP. Thresholds look at these, so that the same masks come from the files."""
    steps: np.ndarray = np.rint(probability / np.float32(STEP)) * np.float32(STEP)
    return steps


@dataclass(frozen=True, slots=True, eq=False)
class LesionMap:
    """One kind of map of one visit."""

    desc: str  # all, new, newFrom01, resolved, resolvedFrom01, nullpair
    probability: np.ndarray | None  # (X, Y, Z) float32 on the reference grid; None where there is only a mask
    threshold: float | None  # from which a voxel is lesion; None: not known, of masks that are taken as they are
    facts: Mapping[str, Any]  # what decided it, for the sidecar
    peak: float | None = None  # a lesion that reaches it nowhere is dropped; None: none is
    stored: Path | None = None  # where the probability was read; None: the network just gave it
    given: Mapping[str, Volume] = field(default_factory=dict)  # space ('individual', 'orig') to a mask that is taken as it is
    given_from: tuple[Path, ...] = ()  # files of masks that somebody corrected by hand

    def believed(self) -> np.ndarray:
        """The probabilities that become a mask: (X, Y, Z), zero in every lesion that does not reach the peak."""
        assert self.probability is not None
        return self.probability if self.threshold is None else keep_confident(self.probability, self.threshold, self.peak)


@dataclass(frozen=True, slots=True, eq=False)
class ParticipantMaps:
    """Every map of a participant."""

    all: tuple[LesionMap, ...]  # per visit
    new: Mapping[Pair, LesionMap]
    resolved: Mapping[Pair, LesionMap]  # lesions of the baseline that are gone at the follow-up
    null: tuple[LesionMap | None, ...]  # per visit: the new-lesion head on the visit and itself
