"""A small made-up head at 1 mm: a ball of white matter around a ventricle, with a rim of cortex."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.accuracy.backgrounds import Background
from benchmarks.accuracy.contrast import SIZES_MM3, Range


def head(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Image (z-score by design, not by computing) and brain, (92, 88, 84)."""
    rng = np.random.default_rng(seed)
    shape = (92, 88, 84)
    radius = np.linalg.norm(np.indices(shape) - (np.array(shape) / 2 - 0.5).reshape(3, 1, 1, 1), axis=0)
    brain = radius < 34
    image = np.where(radius < 6, -2.5, np.where(radius > 31, 0.9, 0.25)) + rng.normal(0, 0.05, shape)
    return np.where(brain, image, 0.0).astype(np.float32), brain


def background(slice_axis: int | None = None, slice_mm: float = 1.0, known: np.ndarray | None = None) -> Background:
    image, brain = head()
    nothing = np.zeros(brain.shape, bool)
    return Background("sub-made", "made", image, brain, nothing, nothing if known is None else known, slice_axis, slice_mm)


@pytest.fixture(scope="session")
def made_head() -> Background:
    return background()


@pytest.fixture(scope="session")
def ranges() -> tuple[Range, ...]:
    return tuple(Range(low, high, 10, 1.0, 1.1, 1.2) for low, high in SIZES_MM3)
