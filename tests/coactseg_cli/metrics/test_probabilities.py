from __future__ import annotations

import math

import numpy as np
import pytest

from bids_app.cases import LabelKind
from coactseg_cli.metrics.case import CasePair, CaseResult, score_case
from coactseg_cli.metrics.conventions import Convention, Rules, rules_of
from coactseg_cli.metrics.froc import froc, threshold_curve
from coactseg_cli.metrics.probabilities import CANDIDATE_PROBABILITY, candidates_of, points_of
from coactseg_cli.volumes import Volume
from tests.coactseg_cli.metrics.test_detection import SHAPE, lines

NAME = ("sub-01", "new")
VOXEL_MM3 = 1.5
RULES = Rules()  # lesions of 3 voxels and more at 1.5 mm3


def ramp(*spans: tuple[int, int, int, list[float]]) -> np.ndarray:
    """Lines along the last axis with these probabilities: (x, y, first, values)."""
    values = np.zeros(SHAPE, np.float32)
    for x, y, first, line in spans:
        values[x, y, first : first + len(line)] = line
    return values


PROBABILITY = ramp((1, 1, 0, [0.2, 0.9, 0.7, 0.05]), (5, 5, 0, [0.5, 0.3, 0.4, 0.4]), (8, 8, 0, [0.9, 0.9]))
REFERENCE = lines((1, 1, 1, 4), (1, 1, 9, 3), (5, 9, 0, 4))


def test_candidates_on_paper() -> None:
    found, false = sorted(candidates_of(NAME, PROBABILITY, REFERENCE, RULES, VOXEL_MM3), key=lambda c: -c.max_probability)
    assert (found.case, found.kind, found.volume_mm3) == ("sub-01", "new", 4.5)  # 0.05 is below the limit of a candidate
    assert (found.max_probability, found.mean_probability) == pytest.approx((0.9, 0.6))
    assert found.hits == (2,)  # of two lesions of four voxels the later in raster order: z is the slowest
    assert (false.volume_mm3, false.max_probability, false.mean_probability, false.hits) == (6, 0.5, pytest.approx(0.4), ())


def test_the_limit_of_a_candidate_changes_candidates() -> None:
    assert CANDIDATE_PROBABILITY == 0.1
    assert [c.volume_mm3 for c in candidates_of(NAME, PROBABILITY, REFERENCE, RULES, VOXEL_MM3, threshold=0.35)] == []
    assert len(candidates_of(NAME, PROBABILITY, REFERENCE, rules_of(Convention.MM, min_lesion_voxels=1), VOXEL_MM3)) == 3


def test_the_limit_of_a_lesion_holds_where_there_is_a_reference() -> None:
    rules = rules_of(Convention.ANIMA, min_lesion_mm3=5)  # 4 voxels; without a reference Anima keeps to 3 mm3
    assert [c.volume_mm3 for c in candidates_of(NAME, PROBABILITY, REFERENCE, rules, VOXEL_MM3)] == [6]
    assert [c.volume_mm3 for c in candidates_of(NAME, PROBABILITY, np.zeros(SHAPE, bool), rules, VOXEL_MM3)] == [6, 4.5]
    counts = [points_of(NAME, PROBABILITY, truth, rules, VOXEL_MM3, [0.2])[0].false_lesions for truth in (REFERENCE, REFERENCE & False)]
    assert counts == [1, 2]
    assert points_of(NAME, PROBABILITY, REFERENCE, rules, VOXEL_MM3, [0.2])[0].lesion_ppv == 0


def test_one_candidate_may_touch_several_lesions() -> None:
    bridge = ramp((1, 1, 0, [0.6] * 12))
    (only,) = candidates_of(NAME, bridge, REFERENCE, RULES, VOXEL_MM3)
    assert only.hits == (2, 3)


def test_a_reference_lesion_below_the_limit_is_not_hit() -> None:
    (only,) = candidates_of(NAME, ramp((1, 1, 0, [0.6] * 5)), lines((1, 1, 0, 2)), RULES, VOXEL_MM3)
    assert only.hits == ()


def test_points_on_paper() -> None:
    low, middle, high = points_of(NAME, PROBABILITY, REFERENCE, RULES, VOXEL_MM3, [0.2, 0.6, 0.95])
    assert (low.threshold, low.has_reference) == (0.2, True)
    assert low.dice == pytest.approx(2 * 2 / (9 + 11))
    assert (low.lesion_sensitivity, low.lesion_ppv, low.lesion_f1) == pytest.approx((1 / 3, 1 / 2, 0.4))
    assert low.false_lesions == 1
    assert (middle.dice, middle.lesion_sensitivity, middle.lesion_ppv, middle.false_lesions) == pytest.approx((4 / 15, 0, 0, 0))
    assert (high.dice, high.lesion_f1) == (0, 0)
    assert math.isnan(high.lesion_ppv)


def test_points_equal_the_scores_of_the_mask() -> None:
    rng = np.random.default_rng(5)
    probability, reference = rng.random(SHAPE).astype(np.float32), rng.random(SHAPE) < 0.3
    thresholds = [0.8, 0.3, 0.55]
    for point in points_of(NAME, probability, reference, RULES, VOXEL_MM3, thresholds):
        own = score(probability >= point.threshold, reference).scores
        assert (point.dice, point.lesion_sensitivity, point.lesion_ppv, point.lesion_f1, point.false_lesions) == (
            own.dice, own.lesion_sensitivity, own.lesion_ppv, own.lesion_f1, own.false_lesions,
        )  # fmt: skip
    assert points_of(NAME, probability, reference, RULES, VOXEL_MM3, []) == ()


def test_nothing_to_find() -> None:
    nothing = np.zeros(SHAPE, bool)
    (point,) = points_of(NAME, PROBABILITY, nothing, RULES, VOXEL_MM3, [0.3])
    assert (point.has_reference, point.false_lesions) == (False, 1)
    assert math.isnan(point.dice)
    assert [c.hits for c in candidates_of(NAME, PROBABILITY, nothing, RULES, VOXEL_MM3)] == [(), ()]
    assert candidates_of(NAME, np.zeros(SHAPE), REFERENCE, RULES, VOXEL_MM3) == ()


def score(predicted: np.ndarray, reference: np.ndarray, probability: np.ndarray | None = None, thresholds: tuple = ()) -> CaseResult:
    affine = np.diag([0.5, 1, 3, 1.0])
    maps = None if probability is None else Volume(probability, affine)
    pair = CasePair("sub-01", LabelKind.NEW, Volume(predicted, affine), Volume(reference, affine), (0.5, 1.0, 3.0), maps)
    return score_case(pair, RULES, thresholds)


def test_a_map_fills_candidates_points_and_lesion_rows() -> None:
    result = score(PROBABILITY >= 0.3, REFERENCE, PROBABILITY, (0.2, 0.6))
    assert (len(result.candidates), [p.threshold for p in result.points]) == (2, [0.2, 0.6])
    rows = {(row.side, row.label): (row.max_probability, row.mean_probability) for row in result.lesions}
    assert rows["reference", 2] == pytest.approx((0.9, 1.65 / 4))
    assert rows["reference", 1] == (0, 0)
    assert rows["predicted", 1] == pytest.approx((0.5, 0.4))
    assert froc(result.candidates, [result.scores])[0].n_reference == 3
    assert [row.threshold for row in threshold_curve(result.points)] == [0.2, 0.6]


def test_without_a_map_there_is_neither() -> None:
    result = score(PROBABILITY >= 0.3, REFERENCE, None, (0.2, 0.6))
    assert (result.candidates, result.points) == ((), ())
    assert math.isnan(result.lesions[0].max_probability)
