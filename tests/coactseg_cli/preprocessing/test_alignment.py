"""Known motions are measured in mm; no motion is 0."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from coactseg_cli.preprocessing.alignment import align, block_mean
from coactseg_cli.preprocessing.transforms import translation
from tests.coactseg_cli.preprocessing.heads import RADII_MM, SPACING, head


def measure(matrix, noise=0.0):
    (a, brain), (b, other) = head(), head(matrix)
    b = b + np.random.default_rng(0).normal(0, noise, b.shape).astype(np.float32)
    return align(a, 0.3 * b + 7, brain, other, SPACING)


def test_the_same_scan_lies_on_itself_in_any_unit():
    found = measure(np.eye(4))
    assert found.residual_mm == pytest.approx(0, abs=1e-6)
    assert found.similarity == pytest.approx(1)
    assert found.overlap == 1


@pytest.mark.parametrize("direction", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, -1, 1)])
@pytest.mark.parametrize("mm", [1.0, 3.0, 5.0])
def test_shifts(direction, mm):
    found = measure(translation(mm * np.array(direction) / np.linalg.norm(direction)), noise=2.0)
    assert found.residual_mm == pytest.approx(mm, rel=0.1, abs=0.1)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_turns(axis):
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec(np.radians(3.0) * np.eye(3)[axis]).as_matrix()
    found = measure(turn, noise=5.0)
    inner = np.delete(RADII_MM - 6.0, axis)  # of an ellipsoid, the mean squared coordinate is a fifth of the squared radius
    assert found.residual_mm == pytest.approx(2 * np.sin(np.radians(1.5)) * np.sqrt((inner**2).sum() / 5), rel=0.15)


def test_a_large_lesion_that_came_moves_nothing():
    (a, brain), (b, _) = head(), head()
    b[30:36, 40:46, 20:26] += 60
    assert align(a, b, brain, brain, SPACING).residual_mm < 0.1


def test_brains_that_do_not_meet_have_an_overlap_and_nothing_else():
    image, brain = head()
    other = np.zeros_like(brain)
    other[0, 0, 0] = True
    found = align(image, image, brain, other, SPACING)
    assert found.overlap == 0
    assert np.isnan([found.similarity, found.residual_mm]).all()


def test_two_empty_brains_have_not_even_that():
    image, brain = head()
    assert np.isnan(align(image, image, brain & False, brain & False, SPACING).overlap)


def test_block_means():
    data = np.arange(2 * 3 * 5).reshape(2, 3, 5)
    assert block_mean(data, (2, 1, 2)).tolist() == [[[8.0, 10.0], [13.0, 15.0], [18.0, 20.0]]]
