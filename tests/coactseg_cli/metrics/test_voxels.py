from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from coactseg_cli.metrics.voxels import at_border_only, centres, components, shared, subset, surface_places, voxels_of

SHAPE = (6, 9, 14)


def noise(seed: int, share: float = 0.2) -> np.ndarray:
    return np.random.default_rng(seed).random(SHAPE) < share


def test_positions_lead_back_to_the_grid() -> None:
    a, b = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    a[2, 3, 4] = a[1, 3, 5] = b[4, 8, 13] = True
    first, second = voxels_of(a, b)
    assert first.mask.shape == second.mask.shape == (4 + 2, 6 + 2, 10 + 2)
    assert first.start.tolist() == [0, 2, 3]
    assert first.indices(first.positions).tolist() == [[2, 3, 4], [1, 3, 5]]  # raster order, the first axis fastest
    assert second.indices(second.positions).tolist() == [[4, 8, 13]]
    assert first.flat[first.positions].all()
    assert first.flat.sum() == 2


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_order_in_memory_does_not_matter(order: str) -> None:
    mask = np.array(noise(1), order=order)
    (voxels,) = voxels_of(mask)
    assert {tuple(v) for v in voxels.indices(voxels.positions)} == {tuple(v) for v in np.argwhere(mask)}
    (strided,) = voxels_of(np.repeat(mask, 2, axis=1)[:, ::2])
    assert strided.positions.tolist() == voxels.positions.tolist()


def test_common_voxels_are_parallel() -> None:
    a, b = noise(2), noise(3)
    first, second = voxels_of(a, b)
    in_first, in_second = shared(first, second)
    assert first.positions[in_first].tolist() == second.positions[in_second].tolist()
    assert len(in_first) == np.count_nonzero(a & b)


@pytest.mark.parametrize(("connectivity", "structure"), [(6, 1), (18, 2), (26, 3)])
def test_components_and_centres(connectivity: int, structure: int) -> None:
    mask = noise(4)
    (voxels,) = voxels_of(mask)
    parts = components(voxels, connectivity)
    labels, n = ndimage.label(mask, ndimage.generate_binary_structure(3, structure))
    assert sorted(parts.sizes) == sorted(np.bincount(labels.ravel())[1:])
    expected = {tuple(np.round(c, 9)) for c in ndimage.center_of_mass(mask, labels, range(1, n + 1))}
    assert {tuple(np.round(c, 9)) for c in centres(voxels, parts)} == expected
    assert np.all(np.diff([np.flatnonzero(parts.of_voxel == k)[0] for k in range(n)]) > 0)  # numbered in raster order


def test_surface_voxels_equal_an_erosion() -> None:
    mask = noise(5, 0.7)
    (voxels,) = voxels_of(mask)
    surface = voxels.positions[surface_places(voxels)]
    assert {tuple(v) for v in voxels.indices(surface)} == {tuple(v) for v in np.argwhere(mask & ~ndimage.binary_erosion(mask))}
    inside = voxels.indices(surface[~at_border_only(voxels, surface, SHAPE)])
    assert {tuple(v) for v in inside} == {tuple(v) for v in np.argwhere(mask & ~ndimage.binary_erosion(mask, border_value=1))}


def test_a_subset_stays_in_its_box() -> None:
    (voxels,) = voxels_of(noise(6))
    part = subset(voxels, np.arange(len(voxels.positions)) % 3 == 0)
    assert part.mask.shape == voxels.mask.shape
    assert part.positions.tolist() == np.flatnonzero(part.flat).tolist() == voxels.positions[::3].tolist()


def test_empty_masks() -> None:
    (nothing,) = voxels_of(np.zeros(SHAPE, bool))
    assert nothing.positions.size == surface_places(nothing).size == components(nothing, 26).sizes.size == 0
    assert centres(nothing, components(nothing, 6)).shape == (0, 3)


def test_values_by_component() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[0, 0, :3] = mask[3, 3, 5] = True
    (voxels,) = voxels_of(mask)
    largest, mean = components(voxels, 6).largest_and_mean(np.array([0.2, 0.9, 0.1, 0.5]))
    assert largest.tolist() == [0.9, 0.5]
    assert mean.tolist() == pytest.approx([0.4, 0.5])
