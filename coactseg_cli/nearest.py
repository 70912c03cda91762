"""Labels and masks carried to another grid by nearest neighbour: every voxel gets a value that is there, none is mixed."""

from __future__ import annotations

import numpy as np

from coactseg_cli.volumes import Volume, from_ras, to_ras


def carry(labels: Volume, grid: Volume, labels_from_grid: np.ndarray) -> Volume:
    """Give each voxel of a grid the label of the voxel in which its centre lies; 0 outside the field of view.

    The order of the axes of either file does not matter, not even where a centre lies between two voxels.

    Args:
        labels: (X, Y, Z) of any type.
        grid: volume whose shape and affine are the target's.
        labels_from_grid: (4, 4), RAS mm, points of the grid's space to points of the labels' space.
    """
    return from_ras(_carry(to_ras(labels), to_ras(grid), labels_from_grid), grid)


def _carry(labels: Volume, grid: Volume, labels_from_grid: np.ndarray) -> np.ndarray:
    index_from_index = np.linalg.inv(labels.affine) @ labels_from_grid @ grid.affine
    if labels.shape == grid.shape and np.allclose(index_from_index, np.eye(4), atol=1e-6):
        return labels.data.copy()
    carried = np.zeros(grid.shape, labels.data.dtype)
    for i in range(grid.shape[0]):
        carried[i] = _plane(labels.data, index_from_index, i, grid.shape[1:])
    return carried


def _plane(data: np.ndarray, index_from_index: np.ndarray, i: int, shape: tuple[int, ...]) -> np.ndarray:
    """(Y, Z) values of the plane i of the target."""
    j, k = np.ogrid[: shape[0], : shape[1]]
    found = np.zeros(shape, data.dtype)
    at = [np.floor(row[0] * i + row[1] * j + row[2] * k + row[3] + 0.5 + 1e-6).astype(np.int64) for row in index_from_index[:3]]
    inside = np.logical_and.reduce([(a >= 0) & (a < n) for a, n in zip(at, data.shape, strict=True)])
    found[inside] = data[at[0][inside], at[1][inside], at[2][inside]]
    return found
