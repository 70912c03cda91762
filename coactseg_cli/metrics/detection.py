"""Which lesions were found: how the lesions of two masks overlap, and the MSSEG detection test on that.

The test is that of the MSSEG challenges (Commowick et al. 2018, Sci Rep 8:13650; 2021 for new lesions); docs/metrics.md gives every
strict inequality and tie that decides it.

    reference lesion   |######--|     covered by more than alpha of itself ... and, going through the predicted lesions that
    predicted lesions  |###|  |######....|    cover it, largest overlap first, until gamma of the covered part was seen:
                                  outside     none of them lies with more than beta of itself outside every reference lesion
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from coactseg_cli.metrics.voxels import Components, components, shared, voxels_of

ALPHA = 0.10  # a lesion is looked at when more than this share of it is covered
BETA = 0.70  # share of a covering lesion that may lie outside
GAMMA = 0.65  # share of the covered part that is checked for beta


@dataclass(frozen=True, slots=True, eq=False)
class LesionOverlap:
    """The lesions of two masks and how many voxels each pair shares; lesions are counted from 0 in the order of `*_labels`."""

    reference_labels: np.ndarray  # (M,) component numbers of the reference lesions
    reference_sizes: np.ndarray  # (M,) voxels
    predicted_labels: np.ndarray  # (N,)
    predicted_sizes: np.ndarray  # (N,)
    reference_index: np.ndarray  # (K,) for each overlapping pair, sorted by reference, then predicted lesion
    predicted_index: np.ndarray  # (K,)
    voxels: np.ndarray  # (K,) shared voxels

    @property
    def n_reference(self) -> int:
        """M."""
        return len(self.reference_sizes)

    @property
    def n_predicted(self) -> int:
        """N."""
        return len(self.predicted_sizes)

    @property
    def reference_covered(self) -> np.ndarray:
        """Voxels of each reference lesion that lie in predicted lesions: (M,) int64."""
        return _sum_by(self.reference_index, self.voxels, self.n_reference)

    @property
    def predicted_covered(self) -> np.ndarray:
        """Voxels of each predicted lesion that lie in reference lesions: (N,) int64."""
        return _sum_by(self.predicted_index, self.voxels, self.n_predicted)

    def swapped(self) -> LesionOverlap:
        """Exchange the two masks."""
        order = np.lexsort((self.reference_index, self.predicted_index))
        return LesionOverlap(
            self.predicted_labels, self.predicted_sizes, self.reference_labels, self.reference_sizes,
            self.predicted_index[order], self.reference_index[order], self.voxels[order],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the detection test says about one lesion."""

    reason: str  # 'found', 'alpha' (too little of it is covered) or 'beta' (what covers it lies mostly outside)
    overlap_share: float  # share of it that is covered; compared with alpha
    outside_share: float  # largest share outside of the covering lesions that were looked at, NaN where none was; compared with beta

    @property
    def detected(self) -> bool:
        """Whether it was found."""
        return self.reason == "found"


@dataclass(frozen=True, slots=True)
class Detection:
    """The MSSEG test for both sides, in the order of the lesions of the overlap."""

    reference: tuple[Verdict, ...]
    predicted: tuple[Verdict, ...]

    @property
    def n_reference_detected(self) -> int:
        """Reference lesions that were found."""
        return sum(v.detected for v in self.reference)

    @property
    def n_predicted_confirmed(self) -> int:
        """Predicted lesions that the reference confirms."""
        return sum(v.detected for v in self.predicted)

    @property
    def sensitivity(self) -> float:
        """Detected reference lesions / reference lesions (SensL); NaN without a reference lesion."""
        return self.n_reference_detected / len(self.reference) if self.reference else math.nan

    @property
    def ppv(self) -> float:
        """Confirmed predicted lesions / predicted lesions (PPVL); NaN without a predicted lesion."""
        return self.n_predicted_confirmed / len(self.predicted) if self.predicted else math.nan


def harmonic_mean(a: float, b: float) -> float:
    """F1 of a sensitivity and a precision: 0 where both are 0, NaN where one is NaN."""
    return 2 * a * b / (a + b) if a + b else 0.0


def overlap_of(reference: Components, predicted: Components, in_both: tuple[np.ndarray, np.ndarray]) -> LesionOverlap:
    """Tabulate the components of two masks. `in_both`: places of the common voxels in the lists of the two (voxels.shared)."""
    n_reference, n_predicted = len(reference.sizes), len(predicted.sizes)
    code = reference.of_voxel[in_both[0]].astype(np.int64) * max(n_predicted, 1) + predicted.of_voxel[in_both[1]]
    pairs, voxels = np.unique(code, return_counts=True)
    return LesionOverlap(
        np.arange(1, n_reference + 1), reference.sizes,
        np.arange(1, n_predicted + 1), predicted.sizes,
        pairs // max(n_predicted, 1), pairs % max(n_predicted, 1), voxels,
    )  # fmt: skip


def overlap_of_masks(predicted: np.ndarray, reference: np.ndarray, connectivity: int) -> LesionOverlap:
    """Tabulate the components of two boolean (X, Y, Z) arrays, of every size."""
    first, second = voxels_of(reference, predicted)
    return overlap_of(components(first, connectivity), components(second, connectivity), shared(first, second))


def keep_large(overlap: LesionOverlap, min_voxels: int) -> LesionOverlap:
    """Drop lesions of fewer voxels on both sides and order the others by decreasing size (ties: raster order).

    A dropped lesion is background from then on: what covered it lies outside.
    """
    reference = _large_first(overlap.reference_sizes, min_voxels)
    predicted = _large_first(overlap.predicted_sizes, min_voxels)
    reference_rank = _ranks(reference, overlap.n_reference)[overlap.reference_index]
    predicted_rank = _ranks(predicted, overlap.n_predicted)[overlap.predicted_index]
    kept = (reference_rank >= 0) & (predicted_rank >= 0)
    order = np.lexsort((predicted_rank[kept], reference_rank[kept]))
    return LesionOverlap(
        overlap.reference_labels[reference], overlap.reference_sizes[reference],
        overlap.predicted_labels[predicted], overlap.predicted_sizes[predicted],
        reference_rank[kept][order], predicted_rank[kept][order], overlap.voxels[kept][order],
    )  # fmt: skip


def detect(overlap: LesionOverlap, alpha: float = ALPHA, beta: float = BETA, gamma: float = GAMMA) -> Detection:
    """Apply the MSSEG test to both sides of an overlap that keep_large has ordered."""
    return Detection(_verdicts(overlap, alpha, beta, gamma), _verdicts(overlap.swapped(), alpha, beta, gamma))


def _verdicts(overlap: LesionOverlap, alpha: float, beta: float, gamma: float) -> tuple[Verdict, ...]:
    """Test each reference lesion of an overlap: (M,)."""
    outside = overlap.predicted_sizes - overlap.predicted_covered
    covered = overlap.reference_covered
    order = np.lexsort((overlap.predicted_index, -overlap.voxels, overlap.reference_index))  # largest overlap, then largest lesion
    first = np.searchsorted(overlap.reference_index, np.arange(overlap.n_reference + 1))
    verdicts = []
    for i in range(overlap.n_reference):
        share = float(covered[i] / overlap.reference_sizes[i])
        if not share > alpha:
            verdicts.append(Verdict("alpha", share, math.nan))
            continue
        pairs = order[first[i] : first[i + 1]]
        j = overlap.predicted_index[pairs]
        worst = _worst_outside(overlap.voxels[pairs] / covered[i], outside[j] / overlap.predicted_sizes[j], beta, gamma)
        verdicts.append(Verdict("beta" if worst > beta else "found", share, worst))
    return tuple(verdicts)


def _worst_outside(weights: np.ndarray, outside: np.ndarray, beta: float, gamma: float) -> float:
    """Largest outside share of the covering lesions, in order, until one is above beta or the weights reach gamma.

    The weights are summed one by one in double precision, as the challenge's program does: 0.35 + 0.30 is below 0.65.
    """
    seen, worst = 0.0, 0.0
    for weight, share in zip(weights.tolist(), outside.tolist(), strict=True):
        if not seen < gamma or worst > beta:
            break
        worst = max(worst, share)
        seen += weight
    return worst


def _sum_by(index: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    return np.bincount(index, weights=values, minlength=n).astype(np.int64)


def _large_first(voxels: np.ndarray, min_voxels: int) -> np.ndarray:
    """Positions of what is large enough, by decreasing size, ties in their old order."""
    order = np.argsort(-voxels, kind="stable")
    return order[voxels[order] >= min_voxels]


def _ranks(kept: np.ndarray, n: int) -> np.ndarray:
    """Give the new position of each old one, -1 for what was dropped: (n,)."""
    ranks = np.full(n, -1, np.int64)
    ranks[kept] = np.arange(len(kept))
    return ranks
