"""Z-scores by hand."""

import numpy as np
import pytest

from coactseg_cli.errors import BrainExtractionFailed
from coactseg_cli.preprocessing.intensity import zscore
from coactseg_cli.volumes import Volume

VOLUME = Volume(np.array([[[1.0, 3.0, 5.0, 7.0, 100.0]]], np.float32), np.eye(4))


def test_mean_zero_and_unit_variance_inside_zero_outside() -> None:
    found = zscore(VOLUME, VOLUME.data < 50)
    assert (found.mean, found.sd) == (4.0, pytest.approx(5**0.5))
    assert found.volume.data.ravel() == pytest.approx([-3 / 5**0.5, -1 / 5**0.5, 1 / 5**0.5, 3 / 5**0.5, 0.0])


def test_keep_is_wider_than_the_mask() -> None:
    mask = np.array([[[True, True, False, False, False]]])
    found = zscore(VOLUME, mask, keep=VOLUME.data < 6)
    assert found.volume.data.ravel().tolist() == [-1.0, 1.0, 3.0, 0.0, 0.0]


@pytest.mark.parametrize("mask", [np.zeros((1, 1, 5), bool), VOLUME.data == 3])
def test_nothing_to_scale_by(mask: np.ndarray) -> None:
    with pytest.raises(BrainExtractionFailed, match="constant"):
        zscore(VOLUME, mask)
