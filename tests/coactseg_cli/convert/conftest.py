"""Made-up copies of the two foreign layouts: small heads with numbers that are known."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

SHAPE = (18, 22, 20)
AFFINE = np.array([[-3.0, 0.0, 0.0, 30.0], [0.0, 2.9, -0.6, -40.0], [0.0, 0.6, 2.9, -25.0], [0.0, 0.0, 0.0, 1.0]])  # oblique, left first
NEW = (slice(8, 11), slice(9, 12), slice(9, 11))  # 18 voxels


def write(path: Path, data: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    image = nib.Nifti1Image(data, affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    image.header.set_xyzt_units("mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)


def head(seed: int, shape: tuple[int, ...] = SHAPE, bright: tuple[slice, ...] | None = None) -> np.ndarray:
    """A ball of about 100 with a lesion of 180, in the middle of zeros, int16."""
    rng = np.random.default_rng(seed)
    index = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    inside = (index**2).sum(axis=0) < 0.8
    data = np.where(inside, 100 + rng.normal(0, 8, shape), 0)
    if bright is not None:
        data[bright] = 180
    return data.astype(np.int16)


def mask_of(*places: tuple[slice, ...], shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    for place in places:
        mask[place] = 1
    return mask


def write_patient(folder: Path, seed: int = 0, experts: int = 4) -> Path:
    """One patient of MSSEG-2: expert N misses the first N - 1 layers of the lesion."""
    write(folder / "flair_time01_on_middle_space.nii.gz", head(seed))
    write(folder / "flair_time02_on_middle_space.nii.gz", head(seed, bright=NEW))
    write(folder / "ground_truth.nii.gz", mask_of(NEW))
    for expert in range(1, experts + 1):
        seen = (slice(7 + expert, 11), *NEW[1:])
        write(folder / f"ground_truth_expert{expert}.nii.gz", mask_of(seen) if expert < 4 else mask_of())
    return folder


@pytest.fixture
def msseg2(tmp_path: Path) -> Path:
    """Patients 013 (validation) and 015 (train) of the training set, 002 of the testing set."""
    src = tmp_path / "MSSEG-2"
    for number, place in enumerate(("training/013", "training/015", "testing/002")):
        write_patient(src / place, seed=number)
    return src


def zscored(scan: np.ndarray) -> np.ndarray:
    """As the published script does it: over the whole box, zeros included; (x, y, z) to (z, y, x)."""
    data = scan.astype(np.float32).transpose(2, 1, 0)
    return (data - data.mean()) / data.std()


@pytest.fixture
def h5_files(tmp_path: Path) -> Path:
    """A pair (013) and two single scans (ms23_001, ms23_031)."""
    import h5py

    src = tmp_path / "data"
    (src / "MSSEG2/h5").mkdir(parents=True)
    (src / "MS-23v1/h5").mkdir(parents=True)
    with h5py.File(src / "MSSEG2/h5/data013_norm.h5", "w") as file:
        file.create_dataset("image_1", data=zscored(head(3)), compression="gzip")
        file.create_dataset("image_2", data=zscored(head(3, bright=NEW)), compression="gzip")
        file.create_dataset("label", data=mask_of(NEW).transpose(2, 1, 0).astype(np.float32), compression="gzip")
    for number in (1, 31):
        with h5py.File(src / f"MS-23v1/h5/ms23_{number:03d}_norm.h5", "w") as file:
            file.create_dataset("image", data=zscored(head(number, bright=NEW)), compression="gzip")
            file.create_dataset("label", data=mask_of(NEW).transpose(2, 1, 0).astype(np.float32), compression="gzip")
    return src
