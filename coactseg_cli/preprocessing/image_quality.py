"""Checks of the scan itself: voxels, noise, sharpness, contrast, and how these changed between visits. Changes no intensity.

Motion and ringing are not measured: the measures in use (entropy, ghosts) need the air around a head that is not defaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import ndimage

from coactseg_cli.preprocessing.quality import Check, Rule
from coactseg_cli.volumes import Volume, box_of, crop

THICKNESS = Rule(
    "slice-thickness", "mm", "Thick slices hide small lesions and blur volumes: do not read lesions thinner than a slice.", high=4.5
)
ANISOTROPY = Rule(
    "anisotropy", None, "Slices are many times thicker than a voxel is wide: shapes and volumes are uncertain across slices.", high=8.0
)
IN_PLANE = Rule(
    "in-plane-spacing", "mm", "Voxels are wide within the slice: small lesions are lost, so read few and small ones with care.", high=1.5
)
SNR = Rule(
    "snr", None, "The scan is noisy: faint lesions are missed and noise may be called a lesion, so look at small ones twice.", low=12.0
)
CNR = Rule("cnr", None, "Tissue and fluid differ little against the noise: borders of lesions near fluid are uncertain.", low=10.0)
SHARPNESS = Rule(
    "smoothness",
    "mm",
    "The scan is blurred within its slices, by motion or by filtering: small lesions are lost, so look at the scan.",
    high=3.5,
)
FLUID = Rule(
    "fluid-dark",
    None,
    "Fluid is not darker than tissue as it is on FLAIR: look whether this scan is a FLAIR.",
    low=1.2,
)
SCALE = Rule(
    "intensity-scale",
    None,
    "The scanner's intensity unit changed since the visit before: harmless here, since each visit is normalised by its own brain, "
    "but another scanner or protocol is likely.",
    low=1 / 4,
    high=4.0,
)
CONTRAST = Rule(
    "contrast-change",
    "SD",
    "Contrast within the brain changed since the visit before even after normalisation: new lesions may be the protocol's work, "
    "so look at each of them.",
    high=0.4,
)
EROSION = 3  # voxels in plane that are left out at the brain's edge, where a Laplacian sees the edge
LEAST_VOXELS = 500


@dataclass(frozen=True, slots=True)
class Signal:
    """Intensities and noise of one brain on the scan's own grid; NaN where it is too small."""

    fluid: float  # 2nd percentile
    tissue: float  # median
    bright: float  # 98th percentile
    noise_sd: float
    smoothness_mm: float


def image_checks(spacing_mm: Sequence[float], signal: Signal, session: str | None) -> tuple[Check, ...]:
    """The checks of one scan by itself; `spacing_mm`: of its own grid."""
    shortest, in_plane, thickest = sorted(spacing_mm)
    return (
        *THICKNESS.judge(thickest, session),
        *ANISOTROPY.judge(thickest / shortest, session),
        *IN_PLANE.judge(in_plane, session),
        *SNR.judge(_ratio(signal.tissue, signal.noise_sd), session),
        *CNR.judge(_ratio(signal.tissue - signal.fluid, signal.noise_sd), session),
        *SHARPNESS.judge(signal.smoothness_mm, session),
        *FLUID.judge(_ratio(signal.tissue - signal.fluid, signal.bright - signal.tissue), session),
    )


def _ratio(above: float, below: float) -> float:
    return above / below if below > 0 else float("nan")


def signal_of(scan: Volume, brain: np.ndarray) -> Signal:
    """Measure intensities and noise of a scan, (X, Y, Z) on its own grid, inside its brain, bool on the same grid."""
    if np.count_nonzero(brain) < LEAST_VOXELS:
        return Signal(*(float("nan"),) * 5)
    box = box_of(brain, 1)
    part, inside = crop(scan, box), brain[box.slices]
    fluid, tissue, bright = (float(p) for p in np.percentile(part.data[inside], (2.0, 50.0, 98.0)))
    return Signal(fluid, tissue, bright, noise_sd(part, inside), smoothness_mm(part, inside))


def noise_sd(scan: Volume, brain: np.ndarray) -> float:
    """Standard deviation of the noise inside a brain, NaN where the brain is too small.

    Each slice is filtered with the difference of two Laplacians, to which locally flat anatomy gives 0 and white noise of SD s
    gives 6 s; the median of its magnitude, over 0.6745 of a normal distribution, is robust against edges and lesions. Images that were
    interpolated or smoothed have less of it than was acquired.

    Reference: Immerkaer, Computer Vision and Image Understanding 1996, 64(2):300-302, with a median for the mean.
    """
    axis = through_plane(scan.spacing_mm)
    image, inside = np.moveaxis(scan.data, axis, 2), np.moveaxis(brain, axis, 2)
    deep = ndimage.binary_erosion(inside, np.ones((3, 3, 1)), iterations=EROSION)[1:-1, 1:-1]
    if np.count_nonzero(deep) < LEAST_VOXELS:
        return float("nan")
    rows = image[:-2] - 2.0 * image[1:-1] + image[2:]
    response = rows[:, :-2] - 2.0 * rows[:, 1:-1] + rows[:, 2:]
    return float(np.median(np.abs(response[deep]))) / 0.6745 / 6.0


def through_plane(spacing_mm: Sequence[float]) -> int:
    """The axis of the longest voxel edges; the last one where no edge is a fifth longer than the shortest."""
    return int(np.argmax(spacing_mm)) if max(spacing_mm) > 1.2 * min(spacing_mm) else 2


def smoothness_mm(scan: Volume, brain: np.ndarray) -> float:
    """Full width at half maximum, mm, of the Gaussian that makes neighbours within a slice as alike as they are; the wider of two axes.

    Anatomy counts as smoothness too, so that a sharp FLAIR has about 2 mm and noise makes it less. NaN where no neighbours differ or
    they differ as strangers do.

    Reference: Forman et al., Magnetic Resonance in Medicine 1995, 33(5):636-647, as in AFNI's 3dFWHMx and MRIQC.
    """
    across = through_plane(scan.spacing_mm)
    variance = float(scan.data[brain].var(dtype=np.float64))
    widths = [_width_mm(scan, brain, axis, variance) for axis in range(3) if axis != across]
    return float(max(widths))


def _width_mm(scan: Volume, brain: np.ndarray, axis: int, variance: float) -> float:
    image, inside = np.moveaxis(scan.data, axis, 0), np.moveaxis(brain, axis, 0)
    differences = (image[1:] - image[:-1])[inside[1:] & inside[:-1]]
    if differences.size == 0 or variance == 0:
        return float("nan")
    alike = 1.0 - float(np.square(differences, dtype=np.float64).mean()) / (2.0 * variance)  # correlation of neighbours
    return scan.spacing_mm[axis] * float(np.sqrt(-2.0 * np.log(2.0) / np.log(alike))) if 0 < alike < 1 else float("nan")


def scale_checks(signals: Sequence[Signal], sessions: Sequence[str | None]) -> tuple[Check, ...]:
    """The median of the brain relative to that of the visit before, in the scanner's own unit."""
    ratios = [_ratio(after.tissue, before.tissue) for before, after in pairwise(signals)]
    return tuple(c for ratio, session in zip(ratios, sessions[1:], strict=True) for c in SCALE.judge(ratio, session))


def contrast_checks(scores: Sequence[Sequence[float]], sessions: Sequence[str | None]) -> tuple[Check, ...]:
    """The largest difference of a percentile of the z-scored brain from that of the visit before.

    Args:
        scores: per visit z-scores at seen.PERCENTILES; empty where there are none, and nothing is compared.
        sessions: per visit.
    """
    changes = [max(abs(x - y) for x, y in zip(b, a, strict=True)) if b and a else float("nan") for b, a in pairwise(scores)]
    return tuple(c for change, session in zip(changes, sessions[1:], strict=True) for c in CONTRAST.judge(change, session))
