"""A ball of even tissue with spots whose label is known by the rules."""

import numpy as np

from benchmarks.rough_labels import rough_label


def test_surely_lesion_unknown_and_lesion_free() -> None:
    at = np.indices((90, 92, 94)) - np.array([45, 46, 47])[:, None, None, None]
    radius = np.sqrt((at**2).sum(axis=0))
    brain = radius < 40

    def ball(x: int, y: int, z: int, size: float) -> np.ndarray:
        return np.asarray(np.sqrt((at[0] - x) ** 2 + (at[1] - y) ** 2 + (at[2] - z) ** 2) < size)

    ventricle, bright, faint = ball(0, 0, 0, 7), ball(22, 0, 0, 4), ball(-22, 0, 0, 4)
    cortex, plexus = (radius > 36) & brain & (at[2] > 20), ball(0, 0, 0, 3)
    image = np.zeros(brain.shape, np.float32)
    image[ventricle] = -3.0
    image[bright], image[faint], image[cortex], image[plexus] = 3.0, 1.4, 3.0, 3.0
    lesion, unknown = rough_label(image, brain)
    assert lesion[bright].mean() > 0.7
    assert not lesion[~ball(22, 0, 0, 6)].any()
    assert unknown[faint].mean() > 0.5
    assert not unknown[cortex & (radius > 37)].any()
    assert not (lesion & unknown).any()
    assert not lesion[plexus].any()
