"""N4 takes out a field that was put in, and repeats itself."""

import numpy as np
import pytest

from coactseg_cli.preprocessing.bias import correct_bias, shrink_factor
from coactseg_cli.volumes import Volume


def shaded() -> tuple[Volume, np.ndarray]:
    """Two tissues in a ball of 36 mm radius at 2 x 2 x 3 mm under a field that doubles from left to right, and the ball."""
    i, j, k = np.meshgrid(*[np.linspace(-1, 1, n) for n in (40, 42, 28)], indexing="ij")
    mask = i**2 + j**2 + k**2 < 0.8
    tissue = np.where(np.sin(9 * i) + np.sin(8 * j) + np.sin(7 * k) > 0, 100.0, 60.0)
    noise = np.random.default_rng(0).normal(0, 2, mask.shape)
    return Volume((np.where(mask, tissue + noise, 5) * (1 + 0.35 * i)).astype(np.float32), np.diag([2.0, 2.0, 3.0, 1.0])), mask


def variation(data: np.ndarray, mask: np.ndarray) -> float:
    """Standard deviation over mean of the brighter tissue."""
    bright = data[mask & (data > np.median(data[mask]))]
    return float(bright.std() / bright.mean())


def test_takes_out_the_field_and_keeps_the_unit() -> None:
    volume, mask = shaded()
    corrected = correct_bias(volume, mask)
    assert variation(corrected.data, mask) < 0.5 * variation(volume.data, mask)
    assert corrected.data[mask].mean() == pytest.approx(volume.data[mask].mean(), rel=0.1)
    assert corrected.data.dtype == np.float32


def test_repeats_itself_exactly() -> None:
    volume, mask = shaded()
    assert np.array_equal(correct_bias(volume, mask).data, correct_bias(volume, mask).data)


def test_shrinks_to_about_four_mm_and_leaves_eight_voxels() -> None:
    assert [shrink_factor(mm, n) for mm, n in ((0.7, 320), (1.0, 200), (3.0, 40), (1.0, 20), (5.0, 30))] == [6, 4, 1, 2, 1]
