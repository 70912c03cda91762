import numpy as np
import pytest

from coactseg_cli.sampling.lesion_library import PAD, RealLesion, collect, harvest
from coactseg_cli.sampling.patches import Case

SHAPE = (30, 36, 42)


def ball(centre, radius, shape=SHAPE):
    grid = np.indices(shape).T - np.array(centre)
    return (np.linalg.norm(grid, axis=-1) <= radius).T


@pytest.fixture
def single():
    """One scan with one lesion of radius 3 at (15, 18, 21); tissue 0, lesion 3, zero outside the brain."""
    rng = np.random.default_rng(5)
    brain = np.zeros(SHAPE, bool)
    brain[2:-2, 2:-2, 2:-2] = True
    lesion = ball((15, 18, 21), 3)
    image = (rng.normal(0.0, 0.2, SHAPE) + 3.0 * lesion) * brain
    return Case("sub-1", image.astype(np.float32), brain, (1.0, 1.0, 1.0), all_baseline=lesion.astype(np.int8))


@pytest.fixture
def pair(single):
    """Two visits; a lesion of radius 2 at (10, 10, 10) is new at the second."""
    new = ball((10, 10, 10), 2)
    followup = single.baseline + 3.0 * new
    return Case("sub-2", single.baseline, single.brain, (1.0, 1.0, 1.0), followup=followup.astype(np.float32), new=new.astype(np.int8))


@pytest.fixture
def library(single):
    """Four lesions: the single scan's own, with texture; balls of radius 1 to 3 without a scan, at known places."""
    shapes = [np.pad(ball((r, r, r), r, (2 * r + 1,) * 3), PAD) for r in (1, 2, 3)]
    balls = [RealLesion(s, place=(0.3, 0.5, 0.2 * r)) for r, s in enumerate(shapes, start=1)]
    return collect([*harvest([single], []).lesions, *balls])
