from __future__ import annotations

import math

import numpy as np
import pytest

from coactseg_cli.metrics import matching
from coactseg_cli.metrics.detection import LesionOverlap, overlap_of_masks
from tests.coactseg_cli.metrics.test_detection import SHAPE, lines

NOTHING = np.zeros(SHAPE, bool)


def table(predicted: np.ndarray, reference: np.ndarray) -> LesionOverlap:
    return overlap_of_masks(predicted, reference, 26)


def test_any_overlap_counts_touched_lesions() -> None:
    overlap = table(lines((1, 1, 0, 5), (5, 5, 0, 5), (8, 8, 0, 5)), lines((1, 1, 4, 9), (5, 15, 0, 5)))
    assert matching.any_overlap_sensitivity(overlap) == pytest.approx(1 / 2)
    assert matching.any_overlap_false_rate(overlap) == pytest.approx(2 / 3)
    assert matching.any_overlap_f1(overlap) == pytest.approx(2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3))


def test_scores_of_pairs() -> None:
    overlap = table(lines((1, 1, 0, 6)), lines((1, 1, 2, 8)))
    assert matching.iou(overlap).tolist() == pytest.approx([4 / 10])
    assert matching.dice(overlap).tolist() == pytest.approx([8 / 14])
    assert matching.f1_at_iou(overlap, 0.4) == 1
    assert matching.f1_at_iou(overlap, 0.41) == 0


def test_a_lesion_is_matched_once_with_its_best_partner() -> None:
    overlap = table(lines((1, 1, 0, 4), (1, 1, 5, 5)), lines((1, 1, 0, 10)))
    result = matching.panoptic(overlap, matching.iou(overlap), 0.1)
    assert result.recognition == pytest.approx(2 / 3)
    assert result.segmentation == pytest.approx(5 / 10)
    assert result.quality == pytest.approx(1 / 3)
    assert matching.panoptic(overlap, matching.iou(overlap), 0.6).quality == 0


def test_empty_masks() -> None:
    miss, false, neither = (table(*masks) for masks in ((NOTHING, lines((1, 1, 0, 5))), (lines((1, 1, 0, 5)), NOTHING), (NOTHING, NOTHING)))
    scores = [
        (matching.any_overlap_sensitivity, 0),
        (matching.any_overlap_false_rate, math.nan),
        (matching.any_overlap_f1, 0),
        (matching.f1_at_iou, 0),
        (lambda overlap: matching.panoptic(overlap, matching.iou(overlap), 0.5).quality, 0),
    ]
    for score, of_miss in scores:
        assert score(miss) == pytest.approx(of_miss, nan_ok=True)
        assert math.isnan(score(false))
        assert math.isnan(score(neither))
