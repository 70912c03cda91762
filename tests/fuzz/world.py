"""The sound data that every bad input is made from: a head of 5 mm voxels, a network of two filters, their results."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.spatial.transform import Rotation

SHAPE = (22, 26, 20)
VOXEL_MM = 5.0
AFFINE = np.array([[5.0, 0, 0, -53.0], [0, 5.0, 0, -66.0], [0, 0, 5.0, -42.0], [0, 0, 0, 1.0]])  # exact in single precision
OBLIQUE = AFFINE.copy()  # the same head, turned by some 25 degrees; rounded to single precision, as a header holds it
OBLIQUE[:3, :3] = 5.0 * Rotation.from_euler("xyz", (12, -8, 20), degrees=True).as_matrix()
OBLIQUE = OBLIQUE.astype(np.float32).astype(np.float64)
SCAN = "sub-01/anat/sub-01_FLAIR.nii.gz"
BRAIN = "sub-01/anat/sub-01_desc-brain_mask.nii.gz"
LABEL = "sub-01/anat/sub-01_label-L_desc-all_mask.nii.gz"


@dataclass(frozen=True, slots=True)
class World:
    """Where the sound data lies; nobody writes there."""

    root: Path
    threshold: str = "0.5"  # from which a voxel is lesion, so that a few are

    @property
    def model(self) -> Path:
        """A random network for voxels of 5 mm."""
        return self.root / "tiny.safetensors"

    @property
    def one(self) -> Path:
        """A BIDS data set of one participant with one visit."""
        return self.root / "one"

    @property
    def two(self) -> Path:
        """A BIDS data set of one participant with two visits."""
        return self.root / "two"

    @property
    def masks(self) -> Path:
        """Brain mask and lesion label of `one`."""
        return self.root / "masks"

    @property
    def out(self) -> Path:
        """What segment and group wrote of `one`."""
        return self.root / "out"

    @property
    def oblique(self) -> Path:
        """The data set `one` with an oblique scan."""
        return self.root / "oblique"

    @property
    def out_oblique(self) -> Path:
        """What segment wrote of it."""
        return self.root / "out_oblique"

    @property
    def out_two(self) -> Path:
        """What segment and group wrote of `two`."""
        return self.root / "out_two"

    def flags(self, masks: Path | None = None) -> tuple[str, ...]:
        """Options under which `out` was made."""
        return (*("-d", f"masks={masks or self.masks}"), *self.network_flags)

    @property
    def network_flags(self) -> tuple[str, ...]:
        """The same without the masks."""
        made = ("--threshold-all", self.threshold, "--threshold-new", self.threshold, "--min-lesion-mm3", "0", "--precision", "fp32")
        return ("--model", str(self.model), *made, "--nprocs", "1", "--omp-nthreads", "1")


def make_world(root: Path) -> World:
    """Write the sound inputs; their results are made by running the program (see running.make_results)."""
    world = World(root)
    write_raw(world.one, [SCAN])
    write_raw(world.two, [f"sub-01/ses-{s}/anat/sub-01_ses-{s}_FLAIR.nii.gz" for s in ("01", "02")])
    put(head(moved=1), AFFINE, world.two / "sub-01/ses-02/anat/sub-01_ses-02_FLAIR.nii.gz", np.int16)
    describe(world.masks, DatasetType="derivative")
    put(brain(), AFFINE, world.masks / BRAIN, np.uint8)
    put(lesions(), AFFINE, world.masks / LABEL, np.uint8)
    write_raw(world.oblique, [])
    put(head(), OBLIQUE, world.oblique / SCAN, np.int16)
    describe(root / "masks_oblique", DatasetType="derivative")
    put(brain(), OBLIQUE, root / "masks_oblique" / BRAIN, np.uint8)
    put(lesions(), OBLIQUE, root / "masks_oblique" / LABEL, np.uint8)
    for name, shift in (("reference", 0), ("predicted", 1)):
        put(lesions(shift), AFFINE, root / "masks_of" / name / "case-1.nii.gz", np.uint8)
    _write_model(world.model)
    return world


def write_raw(root: Path, scans: list[str]) -> None:
    """A raw data set of heads."""
    describe(root)
    (root / "participants.tsv").write_text("participant_id\tage\nsub-01\t40\n")
    (root / "FLAIR.json").write_text(json.dumps({"Manufacturer": "Siemens", "EchoTime": 0.1}))
    for scan in scans:
        put(head(), AFFINE, root / scan, np.int16)


def describe(root: Path, **more: object) -> None:
    """dataset_description.json."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset_description.json").write_text(json.dumps({"Name": "fuzz", "BIDSVersion": "1.9.0", **more}))


def put(data: np.ndarray, affine: np.ndarray, path: Path, dtype: type[np.generic]) -> Path:
    """Write an image with sform and qform."""
    image = nib.Nifti1Image(data.astype(dtype), affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def _distance(centre: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
    at = np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij")
    squares = [((a - c) / r) ** 2 for a, c, r in zip(at, centre, radii, strict=True)]
    return np.sqrt(np.sum(squares, axis=0))


def brain() -> np.ndarray:
    """(X, Y, Z) bool: an egg, no two sides alike."""
    x = np.arange(SHAPE[0])[:, None, None]
    return _distance((10.4, 12.6, 9.3), (8.0, 10.0, 7.0)) + 0.01 * (x - 10) <= 1


def lesions(shift: int = 0) -> np.ndarray:
    """(X, Y, Z) bool: two balls of different size."""
    return (_distance((7.0 + shift, 15.0, 11.0), (2.0,) * 3) <= 1) | (_distance((13.0, 8.0 + shift, 8.0), (1.5,) * 3) <= 1)


def head(moved: int = 0) -> np.ndarray:
    """(X, Y, Z) whole numbers from 0 to 120: skull, brain with a gradient, noise, lesions; `moved`: another visit."""
    rng = np.random.default_rng(3 + moved)
    x, y, z = np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij")
    inside = brain()
    data = np.where(inside, 60 + x - y / 2 + z / 3, np.where(_distance((10.4, 12.6, 9.3), (9.5, 11.5, 8.5)) <= 1, 30, 2))
    data = data + np.where(lesions(moved), 35, 0) + rng.integers(-3, 4, SHAPE)
    return np.clip(np.round(data), 0, 120)


def _write_model(path: Path) -> None:
    import torch

    from coactseg_cli.network.checkpoint import CheckpointInfo, save_model
    from coactseg_cli.network.model import VNet

    torch.manual_seed(0)
    save_model(VNet(2), CheckpointInfo(name="tiny", spacing_mm=(VOXEL_MM,) * 3, n_pairs=1, n_singles=2), path, half=False)
