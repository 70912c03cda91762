"""The mean of rigid transforms: worked by hand for two visits, independent of order and origin for more."""

from itertools import permutations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from coactseg_cli.preprocessing.halfway import halfway, log_rigid, mean_rigid
from coactseg_cli.preprocessing.transforms import rotation_deg, translation


def turn(degrees: float, axis: tuple[float, float, float] = (0.0, 0.0, 1.0)) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.radians(degrees) * np.array(axis) / np.linalg.norm(axis)).as_matrix()
    return matrix


FIRST_TO = [np.eye(4), translation((12, -5, 50)) @ turn(20, (1, 2, 3)), translation((-3, 8, 1)) @ turn(35, (0, 1, -1))]


def test_two_visits_meet_in_the_middle() -> None:
    first, second = halfway([np.eye(4), translation((0, 0, 10)) @ turn(30)])
    assert first == pytest.approx(translation((0, 0, -5)) @ turn(-15))
    assert second == pytest.approx(translation((0, 0, 5)) @ turn(15))


def test_one_visit_stays() -> None:
    assert np.array_equal(halfway([np.eye(4)])[0], np.eye(4))


def test_visits_at_one_place_stay() -> None:
    for place in halfway([np.eye(4)] * 3):
        assert place == pytest.approx(np.eye(4))


def test_square_root_is_exact() -> None:
    first, second = halfway(FIRST_TO[:2])
    assert second @ np.linalg.inv(first) == pytest.approx(FIRST_TO[1], abs=1e-12)
    assert np.linalg.inv(first) == pytest.approx(second, abs=1e-12)


def test_no_visit_is_favoured() -> None:
    places = halfway(FIRST_TO)
    assert np.abs(sum(log_rigid(place) for place in places)).max() < 1e-9
    for place, visit in zip(places, FIRST_TO, strict=True):
        assert place @ np.linalg.inv(places[0]) == pytest.approx(visit, abs=1e-9)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_order_of_visits_does_not_matter(order: tuple[int, ...]) -> None:
    expected = halfway(FIRST_TO)
    first = np.linalg.inv(FIRST_TO[order[0]])
    found = halfway([FIRST_TO[i] @ first for i in order])
    for i, place in zip(order, found, strict=True):
        assert place == pytest.approx(expected[i], abs=1e-9)


def test_mean_of_rotations_about_one_axis() -> None:
    mean = mean_rigid([turn(0), turn(10), turn(50)])
    assert rotation_deg(mean) == pytest.approx(20.0)
    assert np.linalg.det(mean[:3, :3]) == pytest.approx(1.0)
