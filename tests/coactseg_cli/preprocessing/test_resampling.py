"""Carrying images between grids: places worked out by hand, three sizes and three spacings."""

import numpy as np
import pytest

from coactseg_cli.preprocessing.itk import to_image, to_volume
from coactseg_cli.preprocessing.resampling import Grid, Interpolation, grid_of, inside_field, reference_grid, resample
from coactseg_cli.preprocessing.transforms import translation
from coactseg_cli.volumes import Volume, to_ras

LPS = np.array([[-1.0, 0, 0, 40], [0, -1.5, 0, 60], [0, 0, 3, -20], [0, 0, 0, 1]])
SHAPE = (20, 24, 30)


def ramp(affine: np.ndarray, shape: tuple[int, int, int] = SHAPE) -> Volume:
    """A volume whose value is x + 10 y + 100 z in mm, shifted to be positive."""
    i, j, k = np.indices(shape)
    x, y, z = (affine[a, 0] * i + affine[a, 1] * j + affine[a, 2] * k + affine[a, 3] for a in range(3))
    return Volume((x + 10 * y + 100 * z + 5000).astype(np.float32), affine)


def blob(shape: tuple[int, int, int] = SHAPE) -> Volume:
    data = np.zeros(shape, np.float32)
    data[5:15, 6:18, 8:20] = 100.0
    return Volume(data, LPS)


def test_itk_and_back() -> None:
    volume = ramp(LPS, (3, 4, 5))
    back = to_volume(to_image(volume))
    assert np.array_equal(back.data, volume.data)
    assert back.affine == pytest.approx(volume.affine)


@pytest.mark.parametrize("how", [Interpolation.LINEAR, Interpolation.CUBIC])
def test_values_stay_at_their_place(how: Interpolation) -> None:
    affine = np.diag([1.3, 1.1, 1.7, 1.0])
    affine[:3, 3] = [26.0, 33.0, 5.0]
    found = resample(ramp(LPS), Grid((7, 11, 13), affine), translation((1.0, -2.0, 3.0)), how)
    expected = ramp(affine, (7, 11, 13)).data + 1 - 20 + 300
    assert found.data.shape == (7, 11, 13)
    assert found.data[1:-1, 1:-1, 1:-1] == pytest.approx(expected[1:-1, 1:-1, 1:-1], rel=5e-3 if how is Interpolation.CUBIC else 1e-5)


def test_the_own_grid_gives_the_same_voxels() -> None:
    volume = blob()
    assert resample(volume, grid_of(volume), np.eye(4), Interpolation.CUBIC).data == pytest.approx(volume.data, abs=1e-3)
    assert np.array_equal(resample(volume, grid_of(volume), np.eye(4), Interpolation.LINEAR).data, volume.data)


def test_cubic_does_not_ring_below_zero_or_above_the_top() -> None:
    found = resample(
        blob(), Grid((40, 40, 60), np.diag([0.7, 0.7, 0.9, 1.0]) + translation((20, 24, -10)) - np.eye(4)), np.eye(4), Interpolation.CUBIC
    )
    assert found.data.max() > 95.0
    assert found.data.min() >= 0.0
    assert found.data.max() <= 100.0


def test_masks_are_cut_at_one_half() -> None:
    mask = Volume(np.zeros((4, 4, 4), np.float32), np.eye(4))
    mask.data[1:3, 1:3, 1:3] = 1.0
    near = resample(mask, grid_of(mask), translation((0.4, 0, 0)), Interpolation.MASK)
    far = resample(mask, grid_of(mask), translation((0.6, 0, 0)), Interpolation.MASK)
    assert near.data.dtype == bool
    assert np.array_equal(near.data, mask.data > 0)
    assert np.array_equal(far.data, np.roll(mask.data > 0, -1, axis=0))


def test_grids_that_do_not_meet_give_zeros() -> None:
    away = translation((0, 0, 1e4))
    assert not resample(blob(), Grid((3, 4, 5), np.eye(4)), away, Interpolation.MASK).data.any()
    assert not resample(blob(), Grid((3, 4, 5), np.eye(4)), away, Interpolation.CUBIC).data.any()


def test_repeats_itself_exactly() -> None:
    grid = Grid((15, 16, 17), np.diag([1.0, 1.0, 1.0, 1.0]) + translation((22, 26, -5)) - np.eye(4))
    first, second = (resample(ramp(LPS), grid, translation((0.3, 0.2, 0.1)), Interpolation.CUBIC).data for _ in range(2))
    assert np.array_equal(first, second)


def test_inside_field_ends_at_the_outermost_voxels() -> None:
    source = Grid((3, 4, 5), np.diag([2.0, 2.0, 2.0, 1.0]))
    inside = inside_field(Grid((10, 10, 10), np.eye(4)), source, translation((-1, 0, 0)))
    assert np.flatnonzero(inside[:, 0, 0]).tolist() == [1, 2, 3, 4, 5]  # 0 to 4 mm, seen from 1 mm to the left
    assert np.flatnonzero(inside[1, :, 0]).tolist() == list(range(7))
    assert np.flatnonzero(inside[1, 0, :]).tolist() == list(range(9))


def test_reference_grid_covers_every_brain_and_the_margin() -> None:
    mask = blob().like(blob().data > 0)
    grid = reference_grid([mask, mask], [np.eye(4), translation((30, 0, 0))], (1.0, 2.0, 1.5), margin_mm=8.0)
    last = grid.affine[:3, :3] @ (np.array(grid.shape) - 1) + grid.affine[:3, 3]
    # The first brain: x 40-14 to 40-5, y 60-25.5 to 60-9, z 4 to 37; the second lies 30 mm to the left in the reference space.
    assert (grid.affine[:3, 3] <= [26 - 30 - 8, 34.5 - 8, 4 - 8]).all()
    assert (grid.affine[:3, 3] > [26 - 30 - 9.1, 34.5 - 10.1, 4 - 9.6]).all()
    assert (last >= [35 + 8, 51 + 8, 37 + 8]).all()
    assert (last < [35 + 9.1, 51 + 10.1, 37 + 9.6]).all()
    assert np.diag(grid.affine).tolist() == [1.0, 2.0, 1.5, 1.0]


def test_a_scan_with_this_spacing_already_is_not_interpolated() -> None:
    affine = np.diag([-1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = [10.25, -7.5, 3.125]
    rng = np.random.default_rng(0)
    volume = Volume(np.pad(rng.uniform(1, 2, (8, 9, 10)), 12).astype(np.float32), affine)
    grid = reference_grid([volume.like(volume.data > 0)], [np.eye(4)], (1.0, 1.0, 1.0))
    found = resample(volume, grid, np.eye(4), Interpolation.LINEAR)
    ras = to_ras(volume)
    offset = np.round(found.affine[:3, 3] - ras.affine[:3, 3]).astype(int)
    x, y, z = (slice(o, o + n) for o, n in zip(offset, found.shape, strict=True))
    assert np.array_equal(found.data, ras.data[x, y, z])
