from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from coactseg_cli.metrics.detection import Detection, detect, harmonic_mean, keep_large, overlap_of_masks

SHAPE = (10, 20, 30)


def lines(*spans: tuple[int, int, int, int]) -> np.ndarray:
    """Lesions that are lines along the last axis: (x, y, first, length)."""
    mask = np.zeros(SHAPE, bool)
    for x, y, first, length in spans:
        mask[x, y, first : first + length] = True
    return mask


def detection_of(predicted: np.ndarray, reference: np.ndarray, min_voxels: int = 4, connectivity: int = 6) -> Detection:
    return detect(keep_large(overlap_of_masks(predicted, reference, connectivity), min_voxels))


@pytest.mark.parametrize(("covered", "reason"), [(2, "alpha"), (3, "found")])
def test_alpha_is_strict(covered: int, reason: str) -> None:
    detection = detection_of(lines((1, 1, 0, covered)), lines((1, 1, 0, 20)), min_voxels=1)
    assert detection.reference[0].reason == reason
    assert detection.reference[0].overlap_share == pytest.approx(covered / 20)


@pytest.mark.parametrize(("length", "reason"), [(20, "found"), (21, "beta")])
def test_beta_is_strict(length: int, reason: str) -> None:
    detection = detection_of(lines((1, 1, 0, length)), lines((1, 1, 0, 6)))  # 14 / 20 = 0.70 lies outside
    assert detection.reference[0].reason == reason
    assert detection.reference[0].outside_share == pytest.approx((length - 6) / length)


def test_one_prediction_over_two_lesions_finds_both() -> None:
    detection = detection_of(lines((1, 1, 0, 15)), lines((1, 1, 0, 5), (1, 1, 10, 5)))
    assert detection.sensitivity == 1
    assert detection.reference[0].outside_share == pytest.approx(5 / 15)


def test_a_lesion_below_the_limit_is_background() -> None:
    predicted, reference = lines((1, 1, 0, 20)), lines((1, 1, 0, 6), (1, 1, 17, 3))
    assert detection_of(predicted, reference, min_voxels=3).reference[0].reason == "found"
    detection = detection_of(predicted, reference, min_voxels=4)
    assert len(detection.reference) == 1
    assert detection.reference[0].reason == "found"  # 14 / 20
    assert detection_of(lines((1, 1, 0, 21)), lines((1, 1, 0, 6), (1, 1, 17, 4)), min_voxels=5).reference[0].reason == "beta"


def test_connectivity_joins_lesions() -> None:
    mask = lines((1, 1, 0, 5), (2, 2, 5, 5))
    assert len(detection_of(mask, mask, connectivity=6).reference) == 2
    assert len(detection_of(mask, mask, connectivity=18).reference) == 2
    assert len(detection_of(mask, mask, connectivity=26).reference) == 1


def test_lesions_are_ranked_by_size_then_raster_order() -> None:
    mask = lines((1, 1, 0, 5), (3, 1, 0, 7), (5, 1, 0, 5), (0, 3, 0, 5), (9, 9, 0, 2))
    kept = keep_large(overlap_of_masks(mask, mask, 6), 4)
    assert kept.reference_sizes.tolist() == [7, 5, 5, 5]
    assert kept.reference_labels.tolist() == [2, 1, 3, 4]  # x runs fastest
    assert kept.reference_index.tolist() == kept.predicted_index.tolist() == [0, 1, 2, 3]


def test_nothing_on_one_side() -> None:
    detection = detection_of(np.zeros(SHAPE, bool), lines((1, 1, 0, 5)))
    assert detection.sensitivity == 0
    assert math.isnan(detection.ppv)
    assert detection_of(np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)) == Detection((), ())


def test_harmonic_mean() -> None:
    assert harmonic_mean(0.5, 1.0) == pytest.approx(2 / 3)
    assert harmonic_mean(0.0, 0.0) == 0
    assert math.isnan(harmonic_mean(math.nan, 1.0))


def plain_test(table: list[list[int]]) -> list[bool]:
    """The text of the definition as a plain loop over the full table, background first: (M + 1, N + 1)."""
    found = []
    for i in range(1, len(table)):
        covered = sum(table[i][1:])
        ok = covered / sum(table[i]) > 0.10
        weight = 0.0
        for j in sorted(range(1, len(table[i])), key=lambda j: (-table[i][j], j)):
            if not ok or not weight < 0.65:
                break
            ok = not table[0][j] / sum(row[j] for row in table) > 0.70
            weight += table[i][j] / covered
        found.append(ok)
    return found


def ranked(mask: np.ndarray, min_voxels: int) -> tuple[np.ndarray, int]:
    labels, n = ndimage.label(mask.T)
    labels = labels.T  # raster order with x fastest
    sizes = ndimage.sum_labels(mask, labels, range(1, n + 1))
    order = [i + 1 for i in sorted(range(n), key=lambda i: (-sizes[i], i)) if sizes[i] >= min_voxels]
    ranks = np.zeros(n + 1, int)
    ranks[order] = range(1, len(order) + 1)
    return ranks[labels], len(order)


@pytest.mark.parametrize("seed", range(40))
def test_random_masks_equal_the_plain_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    base = ndimage.gaussian_filter(rng.normal(size=SHAPE), 0.8)
    masks = [base + ndimage.gaussian_filter(rng.normal(size=SHAPE), 0.8) * 0.8 > rng.uniform(0.35, 0.55) for _ in range(2)]
    (reference, m), (predicted, n) = ranked(masks[1], 4), ranked(masks[0], 4)
    table = np.zeros((m + 1, n + 1), int)
    np.add.at(table, (reference, predicted), 1)
    own = detection_of(*masks)
    assert m > 3
    assert [v.detected for v in own.reference] == plain_test(table.tolist())
    assert [v.detected for v in own.predicted] == plain_test(table.T.tolist())
