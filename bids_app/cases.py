"""The values that travel between stages; frozen, built at the edges, never changed.

Images are named by path here: voxels are read where they are needed (see coactseg_cli.volumes).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from bids_app.entities import Entities


class LabelKind(StrEnum):
    """What a lesion label shows."""

    ALL = "all"  # every lesion of one visit
    NEW = "new"  # lesions present at the follow-up and not at the baseline of a pair
    IGNORE_ALL = "ignoreall"  # voxels where the all-lesion label says nothing
    IGNORE_NEW = "ignorenew"  # voxels where the new-lesion label says nothing


@dataclass(frozen=True, slots=True)
class Scan:
    """One FLAIR scan of one visit."""

    path: Path
    entities: Entities
    time: datetime | None = None  # acq_time of sessions.tsv or scans.tsv, None where unknown

    @property
    def session(self) -> str | None:
        """Session label without 'ses-', None for a data set without sessions."""
        return self.entities.session


@dataclass(frozen=True, slots=True)
class Label:
    """One lesion label file, on the grid of its space."""

    path: Path
    kind: LabelKind
    session: str | None  # the visit it belongs to; for NEW the follow-up
    space: str | None = None  # None or 'orig': the scan's own grid; 'individual': the prepared grid; else a common space
    transform: Path | None = None  # ITK text transform from the visit's scan to `space`, where space is a common one


@dataclass(frozen=True, slots=True)
class Mask:
    """A brain mask that the user supplied, on the grid of its space."""

    path: Path
    session: str | None
    space: str | None = None  # as in Label
    transform: Path | None = None  # as in Label


@dataclass(frozen=True, slots=True)
class Pair:
    """Two visits that are compared; indices into the visits of a timeline."""

    baseline: int
    followup: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """All visits of one participant in temporal order, with what the user supplied beside them."""

    subject: str  # label without 'sub-'
    visits: tuple[Scan, ...]
    labels: tuple[Label, ...] = ()
    brain_masks: tuple[Mask, ...] = ()


@dataclass(frozen=True, slots=True)
class PreparedScan:
    """One visit after prep: everything on the participant's reference grid, and the way back."""

    entities: Entities  # of the raw FLAIR
    raw: Path | None  # the raw scan, None where only the prepared tree is at hand
    native: Path  # space-orig_desc-preproc_FLAIR: the scan's own grid
    native_brain_mask: Path  # space-orig_desc-brain_mask
    image: Path  # space-individual_desc-preproc_FLAIR: normalised, resampled once
    brain_mask: Path  # space-individual_desc-brain_mask
    to_individual: Path  # from-orig_to-individual xfm, ITK text
    to_native: Path  # from-individual_to-orig xfm
    time: datetime | None = None  # of acquisition, None where unknown

    @property
    def session(self) -> str | None:
        """Session label without 'ses-'."""
        return self.entities.session


@dataclass(frozen=True, slots=True)
class PreparedTimeline:
    """One participant after prep."""

    subject: str
    reference: Path  # sub-XX_desc-reference_FLAIR: the grid of space-individual
    visits: tuple[PreparedScan, ...]
    labels: tuple[Label, ...] = ()  # all on the reference grid
    comparable: bool = True  # False where each visit was prepared alone (sessionwise)


@dataclass(frozen=True, slots=True)
class MaskPair:
    """A predicted and a reference mask of one case."""

    case: str  # for instance sub-01_ses-02
    kind: LabelKind
    predicted: Path | None  # None: the prediction is missing
    reference: Path | None  # None: a surplus prediction
    patient: str | None = None  # whose case it is; None: what `case` begins with (sub-01)
    site: str | None = None  # None: not known
    probability: Path | None = None  # map that the prediction was made from
    background: Path | None = None  # scan behind the masks, for pictures


@dataclass(frozen=True, slots=True)
class SubjectFailure:
    """Why a participant was not done."""

    subject: str
    stage: str  # index, prep, segment, ...
    message: str


def consecutive_pairs(n_visits: int) -> tuple[Pair, ...]:
    """(0, 1), (1, 2), ...: the pairs that are compared by default."""
    return tuple(Pair(i, i + 1) for i in range(n_visits - 1))


def pairs_of(n_visits: int, how: str) -> tuple[Pair, ...]:
    """Pairs of visits for --pairs: consecutive, first (each with the first visit) or all.

    Raises: ValueError for another word.
    """
    if how == "consecutive":
        return consecutive_pairs(n_visits)
    if how == "first":
        return tuple(Pair(0, i) for i in range(1, n_visits))
    if how == "all":
        return tuple(Pair(i, j) for j in range(n_visits) for i in range(j))
    msg = f"pairs must be 'consecutive', 'first' or 'all'; got {how!r}"
    raise ValueError(msg)


def desc_of(pair: Pair, baseline_session: str | None, kind: str = "new") -> str:
    """Desc label of a pair's products: 'new' (or 'resolved') for consecutive visits, 'newFrom01' for others."""
    return kind if pair.followup - pair.baseline == 1 else f"{kind}From{baseline_session}"
