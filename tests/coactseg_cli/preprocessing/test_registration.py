"""Known rigid motions of made-up heads are found; swapping the scans inverts the answer; the same bytes every time."""

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from coactseg_cli.preprocessing.registration import rigid
from coactseg_cli.preprocessing.resampling import Grid, Interpolation, resample
from coactseg_cli.preprocessing.transforms import apply, translation
from coactseg_cli.volumes import Volume

FIXED = Grid((44, 50, 30), np.array([[-2.0, 0, 0, 44], [0, -2.0, 0, 50], [0, 0, 3.0, -45], [0, 0, 0, 1]]))
MOVING = Grid((50, 46, 36), np.array([[2.2, 0, 0, -35], [0, 2.2, 0, -40], [0, 0, 2.8, 0], [0, 0, 0, 1]]))


def motion() -> np.ndarray:
    """Ten degrees about an oblique axis and 55 mm, as between two fields of view."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.radians(10) * np.array([2, -1, 2]) / 3).as_matrix()
    return translation((20, 5, 50)) @ matrix


@pytest.fixture(scope="module")
def scans() -> tuple[Volume, np.ndarray, Volume, np.ndarray]:
    """One textured ellipsoid in a rim, sampled on two grids with different noise and contrast."""
    rng = np.random.default_rng(1)
    shape = (100, 110, 96)
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    inside = (x / 0.62) ** 2 + (y / 0.75) ** 2 + (z / 0.7) ** 2 < 1
    texture = gaussian_filter(rng.normal(size=shape), 3)
    data = np.where(inside, 100 + 600 * texture, 0) + 60 * ((x / 0.8) ** 2 + (y / 0.9) ** 2 + (z / 0.88) ** 2 < 1)
    head = Volume(np.maximum(data, 0).astype(np.float32), translation((-50, -55, -48)))
    brain = head.like(inside.astype(np.float32))

    def see(grid: Grid, head_from_grid: np.ndarray, gamma: float) -> tuple[Volume, np.ndarray]:
        seen = resample(head, grid, head_from_grid, Interpolation.LINEAR)
        noisy = np.maximum(seen.data + rng.normal(0, 3, grid.shape), 0) ** gamma
        return seen.like(noisy.astype(np.float32)), resample(brain, grid, head_from_grid, Interpolation.MASK).data

    return *see(FIXED, np.eye(4), 1.0), *see(MOVING, np.linalg.inv(motion()), 1.2)


def test_finds_a_known_motion_on_another_grid(scans: tuple[Volume, np.ndarray, Volume, np.ndarray]) -> None:
    fixed, fixed_mask, moving, moving_mask = scans
    found = rigid(fixed, moving, fixed_mask, moving_mask)
    points = apply(fixed.affine, np.argwhere(fixed_mask))
    errors = np.linalg.norm(apply(found.matrix, points) - apply(motion(), points), axis=1)
    assert np.median(errors) < 0.15
    assert found.asymmetry_mm < 0.5
    assert found.rotation_deg == pytest.approx(10, abs=0.3)


def test_swapping_inverts_and_repeating_changes_nothing(scans: tuple[Volume, np.ndarray, Volume, np.ndarray]) -> None:
    fixed, fixed_mask, moving, moving_mask = scans
    there = rigid(fixed, moving, fixed_mask, moving_mask)
    back = rigid(moving, fixed, moving_mask, fixed_mask)
    again = rigid(fixed, moving, fixed_mask, moving_mask)
    assert there.matrix @ back.matrix == pytest.approx(np.eye(4), abs=1e-9)
    assert there.matrix.tobytes() == again.matrix.tobytes()


def test_a_scan_registers_to_itself(scans: tuple[Volume, np.ndarray, Volume, np.ndarray]) -> None:
    fixed, mask = scans[:2]
    assert rigid(fixed, fixed, mask, mask).matrix == pytest.approx(np.eye(4), abs=2e-2)


@pytest.mark.shared
def test_real_scans_come_within_a_tenth_of_a_mm() -> None:
    data = Path("../shared/data/open-ms-longitudinal")
    if not data.exists():
        pytest.skip("../shared/data is not there")
    from benchmarks.registration import make_cases, register_ours

    case = make_cases(data, 1)[0]
    assert np.median(case.errors_mm(register_ours(case))) < 0.15
