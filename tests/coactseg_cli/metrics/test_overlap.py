from __future__ import annotations

import math

import numpy as np
import pytest

from coactseg_cli.metrics import overlap
from coactseg_cli.metrics.overlap import VoxelCounts, count_voxels


def test_counts_of_a_crop_refer_to_the_whole_image() -> None:
    predicted, reference = np.zeros((10, 20, 30), bool), np.zeros((10, 20, 30), bool)
    predicted[2:5, 4, 6] = True
    reference[3:8, 4, 6] = True
    assert count_voxels(predicted, reference) == VoxelCounts(2, 1, 3, 5994)
    box = np.s_[2:8, 4:5, 6:7]
    assert count_voxels(predicted[box], reference[box], 6000) == VoxelCounts(2, 1, 3, 5994)


def test_scores_on_paper() -> None:
    counts = VoxelCounts(true_positive=2, false_positive=1, false_negative=3, true_negative=94)
    assert overlap.dice(counts) == pytest.approx(4 / 8)
    assert overlap.jaccard(counts) == pytest.approx(2 / 6)
    assert overlap.precision(counts) == pytest.approx(2 / 3)
    assert overlap.sensitivity(counts) == pytest.approx(2 / 5)
    assert overlap.specificity(counts) == pytest.approx(94 / 95)


def test_normalised_dice_equals_dice_at_the_reference_load() -> None:
    at_load = VoxelCounts(true_positive=40, false_positive=30, false_negative=10, true_negative=50 * 999 - 30)
    assert overlap.normalised_dice(at_load, load=0.001) == pytest.approx(overlap.dice(at_load))
    assert overlap.normalised_dice(at_load, load=0.0001) < overlap.dice(at_load)


@pytest.mark.parametrize(
    ("counts", "dice", "jaccard", "precision", "sensitivity", "specificity", "ndsc"),
    [
        pytest.param(VoxelCounts(0, 0, 7, 93), 0, 0, math.nan, 0, 1, 0, id="nothing predicted"),
        pytest.param(VoxelCounts(0, 7, 0, 93), math.nan, math.nan, math.nan, math.nan, 0.93, math.nan, id="no reference"),
        pytest.param(VoxelCounts(0, 0, 0, 100), math.nan, math.nan, math.nan, math.nan, 1, math.nan, id="neither"),
        pytest.param(VoxelCounts(60, 0, 40, 0), 0.75, 0.6, 1, 0.6, math.nan, 0.75, id="the reference fills the image"),
        pytest.param(VoxelCounts(100, 0, 0, 0), 1, 1, 1, 1, math.nan, 1, id="both fill the image"),
    ],
)
def test_empty_and_full_masks(
    counts: VoxelCounts, dice: float, jaccard: float, precision: float, sensitivity: float, specificity: float, ndsc: float
) -> None:
    own = [getattr(overlap, name)(counts) for name in ("dice", "jaccard", "precision", "sensitivity", "specificity", "normalised_dice")]
    assert own == pytest.approx([dice, jaccard, precision, sensitivity, specificity, ndsc], nan_ok=True)
