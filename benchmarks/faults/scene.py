"""What faults happen to: a tiny data set, a random network, and the commands with the state of OUT that each starts from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

SHAPE = (22, 26, 18)
SPACING_MM = (3.0, 2.5, 4.0)  # three different edges: swapped axes would show
LESIONS = {"01": {"1": ((9, 12, 9), (16, 15, 10)), "2": ((9, 12, 9), (16, 15, 10), (12, 20, 13))}, "02": {"1": ((10, 11, 9), (15, 18, 12))}}


_MAPS = ("--min-lesion-mm3", "31", "--precision", "fp32")


@dataclass(frozen=True)
class Scene:
    """Where everything lies; `raw` and `model` are only read."""

    root: Path

    @property
    def raw(self) -> Path:
        return self.root / "raw"

    @property
    def labels(self) -> Path:
        return self.raw / "derivatives" / "labels"

    @property
    def model(self) -> Path:
        return self.root / "model.safetensors"


def make(root: Path) -> Scene:
    """Write the data set and the network."""
    scene = Scene(root)
    _json(scene.raw / "dataset_description.json", {"Name": "faults", "BIDSVersion": "1.8.0", "DatasetType": "raw", "License": "CC0"})
    _json(scene.raw / "FLAIR.json", {"MagneticFieldStrength": 3, "EchoTime": 0.09})
    made_by = {"Name": "faults", "BIDSVersion": "1.8.0", "DatasetType": "derivative", "GeneratedBy": [{"Name": "formula"}]}
    _json(scene.labels / "dataset_description.json", made_by)
    for subject, visits in LESIONS.items():
        for session in visits:
            write_scan(scene.raw, subject, session, visits[session])
            write_brain(scene.labels, subject, session)
    write_model(scene.model)
    return scene


def write_scan(raw: Path, subject: str, session: str, lesions: tuple[tuple[int, int, int], ...]) -> Path:
    """A head with lesions at voxels."""
    noise = np.random.default_rng([int(subject), int(session), len(lesions)]).normal(0, 4, SHAPE)
    data = np.where(_head(1.0), 100.0, 0.0) + noise
    for corner in lesions:
        data[tuple(slice(c, c + 3) for c in corner)] += 90
    path = raw / f"sub-{subject}" / f"ses-{session}" / "anat" / f"sub-{subject}_ses-{session}_FLAIR.nii.gz"
    _image(path, np.clip(data, 0, None).astype(np.float32))
    return path


def write_brain(labels: Path, subject: str, session: str) -> None:
    """Its brain mask, as a label derivative gives it."""
    name = f"sub-{subject}_ses-{session}_space-orig_desc-brain_mask"
    path = labels / f"sub-{subject}" / f"ses-{session}" / "anat" / f"{name}.nii.gz"
    _image(path, _head(0.85).astype(np.uint8))
    _json(path.with_name(f"{name}.json"), {"Type": "Brain"})


def _head(scale: float) -> np.ndarray:
    axes = np.meshgrid(*[(np.arange(n) - (n - 1) / 2) / (n / 2 * scale * 0.9) for n in SHAPE], indexing="ij")
    return sum(axis**2 for axis in axes) < 1


def _image(path: Path, data: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(data, np.diag([*SPACING_MM, 1.0]))
    image.set_sform(image.affine, code=1)
    image.set_qform(image.affine, code=1)
    nib.save(image, path)


def _json(path: Path, content: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_model(path: Path) -> None:
    import torch

    from coactseg_cli.network.checkpoint import CheckpointInfo, save_model
    from coactseg_cli.network.model import VNet

    torch.manual_seed(0)
    save_model(VNet(2), CheckpointInfo(name="random", n_pairs=1), path, half=False)


@dataclass(frozen=True)
class Scenario:
    """A command, and what lies in OUT before it."""

    name: str
    words: Callable[[Scene, Path], list[str]]
    before: tuple[str, ...] = ()  # scenarios that have made OUT, in order
    change: Callable[[Path], None] | None = None  # to the raw data, between `before` and the command
    masks: bool = False  # a corrected mask is given


def _segment(scene: Scene, out: Path, *more: str) -> list[str]:
    return [*_prep(scene, out), "--model", str(scene.model), "--threshold-all", "0.72", "--threshold-new", "0.46", *_MAPS, *more][1:]


def _prep(_scene: Scene, out: Path) -> list[str]:
    raw = out.parent / "raw"
    common = ["-d", f"labels={raw / 'derivatives' / 'labels'}", "--preregistered", "--spacing", "native", "--no-n4", "--nprocs", "1"]
    return ["prep", str(raw), str(out), "participant", *common]


def _change_scan(raw: Path) -> None:
    """The second visit was wrong: another scan comes in its place."""
    write_scan(raw, "01", "2", ((9, 12, 9), (12, 20, 13), (14, 9, 8)))


def _drop_visit(raw: Path) -> None:
    shutil.rmtree(raw / "sub-01" / "ses-2")


SCENARIOS = {
    s.name: s
    for s in (
        Scenario("fresh", _segment),
        Scenario("other", lambda scene, out: [*_segment(scene, out), "--min-lesion-mm3", "61"]),
        Scenario("prep", _prep),
        Scenario("changed", _segment, ("fresh",), _change_scan),
        Scenario("visit-gone", _segment, ("fresh",), _drop_visit),
        Scenario(
            "force",
            lambda scene, out: [*_segment(scene, out), "--force", "--output-probabilities", "no", "--min-lesion-mm3", "61"],
            ("fresh",),
        ),
        Scenario(
            "reread",
            lambda _, out: [str(out.parent / "raw"), str(out), "participant", "--from-probabilities", "--threshold-all", "0.8"],
            ("fresh",),
        ),
        Scenario(
            "masks",
            lambda _, out: [str(out.parent / "raw"), str(out), "participant", "--from-masks", str(out.parent / "corrected")],
            ("fresh",),
            masks=True,
        ),
        Scenario("group", lambda _, out: [str(out.parent / "raw"), str(out), "group"], ("fresh",)),
    )
}


def correct_masks(out: Path, corrected: Path) -> None:
    """A mask that somebody corrected: one lesion more."""
    name = "sub-01/ses-2/anat/sub-01_ses-2_space-orig_label-L_desc-all_mask.nii.gz"
    image = nib.load(out / name)
    data = np.asarray(image.dataobj).astype(np.uint8)
    data[10:13, 8:11, 8:10] = 1
    path = corrected / name
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, image.affine, image.header), path)
