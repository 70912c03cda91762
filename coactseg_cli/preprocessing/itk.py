"""Volumes to SimpleITK images and back; the only file that imports SimpleITK."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from coactseg_cli.preprocessing.transforms import ras_to_lps
from coactseg_cli.volumes import Volume

_RAS_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def simpleitk() -> Any:
    """Return the SimpleITK module, loaded when it is first needed (it has no types)."""
    import SimpleITK

    return SimpleITK


@contextmanager
def one_thread() -> Iterator[None]:
    """Let ITK work in one thread; what several threads add up differs in its last bits from run to run."""
    process = simpleitk().ProcessObject
    before = process.GetGlobalDefaultNumberOfThreads()
    process.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        process.SetGlobalDefaultNumberOfThreads(before)


def to_image(volume: Volume) -> Any:
    """A float32 SimpleITK image of the same voxels at the same place (ITK counts mm in LPS)."""
    sitk = simpleitk()
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.data.astype(np.float32, copy=False).transpose(2, 1, 0)))
    lps = _RAS_LPS @ volume.affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    return image


def to_volume(image: Any) -> Volume:
    """The Volume of a SimpleITK image."""
    sitk = simpleitk()
    lps = np.eye(4)
    lps[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    lps[:3, 3] = image.GetOrigin()
    return Volume(np.ascontiguousarray(sitk.GetArrayFromImage(image).transpose(2, 1, 0)), _RAS_LPS @ lps)


def to_transform(b_from_a: np.ndarray) -> Any:
    """The SimpleITK transform of a (4, 4) RAS matrix."""
    sitk = simpleitk()
    lps = ras_to_lps(b_from_a)
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(lps[:3, :3].ravel().tolist())
    transform.SetTranslation(lps[:3, 3].tolist())
    return transform


def to_matrix(transform: Any) -> np.ndarray:
    """The (4, 4) RAS matrix of a linear SimpleITK transform, from where it sends the origin and the unit points."""
    points = np.vstack([np.zeros(3), np.eye(3)])
    sent = np.array([transform.TransformPoint(p.tolist()) for p in points])
    lps = np.eye(4)
    lps[:3, :3] = (sent[1:] - sent[0]).T
    lps[:3, 3] = sent[0]
    return ras_to_lps(lps)
