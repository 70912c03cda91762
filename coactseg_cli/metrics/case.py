"""All scores of one case, from two boolean masks on one grid and, where there is one, a probability map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bids_app.cases import LabelKind
from coactseg_cli.metrics import case_columns
from coactseg_cli.metrics import detection as found
from coactseg_cli.metrics.columns import CaseScores, LesionRow
from coactseg_cli.metrics.conventions import Rules
from coactseg_cli.metrics.overlap import VoxelCounts, count_voxels
from coactseg_cli.metrics.probabilities import candidates_of, points_of
from coactseg_cli.metrics.results import Candidate, ThresholdPoint
from coactseg_cli.metrics.surface import NSD_TOLERANCE_MM
from coactseg_cli.metrics.voxels import Components, MaskVoxels, centres, components, shared, voxels_of
from coactseg_cli.volumes import Volume

__all__ = ["NSD_TOLERANCE_MM", "CasePair", "CaseResult", "score_case"]

ANY_CONNECTIVITY = 26  # of the scores of WMH and panoptica
ISBI_CONNECTIVITY = 18
SHIFTS_CONNECTIVITY = 6


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What score_case found."""

    scores: CaseScores
    lesions: tuple[LesionRow, ...]
    candidates: tuple[Candidate, ...] = ()  # empty without a probability map
    points: tuple[ThresholdPoint, ...] = ()


@dataclass(frozen=True, slots=True)
class CasePair:
    """Two boolean volumes on one grid, with the voxel edges in mm that the scores use."""

    case: str
    kind: LabelKind
    predicted: Volume
    reference: Volume
    spacing_mm: tuple[float, float, float]
    probability: Volume | None = None  # on the same grid, 0 to 1

    @property
    def voxel_mm3(self) -> float:
        """Volume of one voxel."""
        return math.prod(self.spacing_mm)


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One mask of a case: its voxels and its components for each connectivity that a score asks for."""

    voxels: MaskVoxels
    parts: dict[int, Components]


def score_case(pair: CasePair, rules: Rules, thresholds: Sequence[float] = ()) -> CaseResult:
    """Compute every score of one case. Only the box around both masks is looked at.

    `thresholds`: of the probability map, for CaseResult.points. Candidates and points need a map.
    """
    reference, predicted = _sides(pair, rules)
    counts = count_voxels(predicted.voxels.mask, reference.voxels.mask, pair.reference.data.size)
    in_both = shared(reference.voxels, predicted.voxels)
    tables = {c: found.overlap_of(reference.parts[c], predicted.parts[c], in_both) for c in reference.parts}
    smallest = rules.smallest(pair.voxel_mm3) if counts.reference else rules.smallest_false(pair.voxel_mm3)
    lesions = found.keep_large(tables[rules.connectivity], smallest)
    detection = found.detect(lesions, rules.alpha, rules.beta, rules.gamma)
    scores = _scores(pair, rules, (reference, predicted), counts, tables, (lesions, detection), smallest)
    rows = (
        *_lesion_rows(pair, "reference", reference, rules.connectivity, lesions.reference_labels, detection.reference),
        *_lesion_rows(pair, "predicted", predicted, rules.connectivity, lesions.predicted_labels, detection.predicted),
    )
    if pair.probability is None:
        return CaseResult(scores, rows)
    name = (pair.case, str(pair.kind))
    return CaseResult(
        scores,
        rows,
        candidates_of(name, pair.probability.data, pair.reference.data, rules, pair.voxel_mm3),
        points_of(name, pair.probability.data, pair.reference.data, rules, pair.voxel_mm3, thresholds),
    )


def _sides(pair: CasePair, rules: Rules) -> tuple[Side, Side]:
    """Reference and prediction, each labelled once per connectivity."""
    wanted = sorted({rules.connectivity, ANY_CONNECTIVITY, ISBI_CONNECTIVITY, SHIFTS_CONNECTIVITY})
    reference, predicted = voxels_of(pair.reference.data, pair.predicted.data)
    return (
        Side(reference, {c: components(reference, c) for c in wanted}),
        Side(predicted, {c: components(predicted, c) for c in wanted}),
    )


def _scores(
    pair: CasePair,
    rules: Rules,
    sides: tuple[Side, Side],
    counts: VoxelCounts,
    tables: dict[int, found.LesionOverlap],
    tested: tuple[found.LesionOverlap, found.Detection],
    smallest: int,
) -> CaseScores:
    reference, predicted = sides
    lesions, detection = tested
    voxel = case_columns.voxel_scores(counts, pair.voxel_mm3)
    touched = case_columns.touch_scores(tables[ANY_CONNECTIVITY], tables[ISBI_CONNECTIVITY])
    surfaces = case_columns.Surfaces.of(reference.voxels, predicted.voxels, pair.reference.shape, pair.spacing_mm)
    instances = case_columns.InstancePairs(
        tables[ANY_CONNECTIVITY], reference.parts[ANY_CONNECTIVITY], predicted.parts[ANY_CONNECTIVITY], surfaces
    )
    diagonal_mm = math.hypot(*(n * edge for n, edge in zip(pair.reference.shape, pair.spacing_mm, strict=True)))
    return CaseScores(
        case=pair.case,
        kind=str(pair.kind),
        convention=str(rules.convention),
        **voxel,
        **case_columns.distance_scores(surfaces, diagonal_mm),
        **case_columns.detection_scores(counts, lesions, detection, rules, pair.voxel_mm3),
        **touched,
        **case_columns.isbi_scores(voxel, touched),
        **case_columns.panoptic_scores(instances),
        **case_columns.iou_scores(tables[SHIFTS_CONNECTIVITY]),
        flags=case_columns.flags(counts, lesions),
        smallest_lesion_voxel=smallest,
        voxel_mm3=pair.voxel_mm3,
        spacing_i_mm=pair.spacing_mm[0],
        spacing_j_mm=pair.spacing_mm[1],
        spacing_k_mm=pair.spacing_mm[2],
    )


def _lesion_rows(
    pair: CasePair, name: str, side: Side, connectivity: int, labels: np.ndarray, verdicts: tuple[found.Verdict, ...]
) -> tuple[LesionRow, ...]:
    parts = side.parts[connectivity]
    indices = centres(side.voxels, parts)[labels - 1]
    places = indices @ pair.reference.affine[:3, :3].T + pair.reference.affine[:3, 3]
    largest, mean = _probabilities(pair, side.voxels, parts)
    return tuple(
        LesionRow(
            case=pair.case,
            kind=str(pair.kind),
            side=name,
            label=n + 1,
            x_mm=float(places[n, 0]),
            y_mm=float(places[n, 1]),
            z_mm=float(places[n, 2]),
            i=float(indices[n, 0]),
            j=float(indices[n, 1]),
            k=float(indices[n, 2]),
            volume_mm3=float(parts.sizes[label - 1]) * pair.voxel_mm3,
            overlap_share=verdict.overlap_share,
            outside_share=verdict.outside_share,
            detected="yes" if verdict.detected else "no",
            reason=verdict.reason,
            max_probability=float(largest[label - 1]),
            mean_probability=float(mean[label - 1]),
        )
        for n, (label, verdict) in enumerate(zip(labels, verdicts, strict=True))
    )


def _probabilities(pair: CasePair, voxels: MaskVoxels, parts: Components) -> tuple[np.ndarray, np.ndarray]:
    """Largest and mean value of the map in each component: (M,) and (M,), NaN without a map."""
    if pair.probability is None:
        return np.full(len(parts.sizes), np.nan), np.full(len(parts.sizes), np.nan)
    return parts.largest_and_mean(pair.probability.data[tuple(voxels.indices(voxels.positions).T)])
