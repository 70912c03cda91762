"""The HDF5 layout of the published CoactSeg code: a file per case to a Patient. Nothing is written here.

    data013_norm.h5     image_1, image_2, label     a pair; label: new lesions; voxels of 0.5 x 0.75 x 0.75 mm
    ms23_001_norm.h5    image, label                a single scan; label: all lesions; voxels of 0.8 mm

Arrays are (z, y, x). An image is z-scored over its whole box after all but brain was set to 0, so that the background is one
negative number: -mean / SD. Subtracting it gives back the scan, divided by its SD, with a background of 0. Both images of
a pair were masked with the brain of the baseline. The affine was not stored: orientation and place in the scanner are lost.

Source: data/*/h5/pre_processing.py and code/dataloaders/dataset.py of github.com/ycwu1997/CoactSeg (commits 1e4fcea, ef29e64).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bids_app.errors import InvalidDataset, NoInput, UnreadableImage
from coactseg_cli.convert.masks import require_binary
from coactseg_cli.convert.patient import CONSENSUS, LesionMask, Patient, Source, Visit
from coactseg_cli.convert.splits import TRAIN, VALIDATION, published
from coactseg_cli.errors import InvalidConfig
from coactseg_cli.volumes import Volume

Triple = tuple[float, float, float]
PAIR_KEYS = ("image_1", "image_2", "label")
SINGLE_KEYS = ("image", "label")
_LISTS = (("train.list", TRAIN), ("val.list", VALIDATION))


@dataclass(frozen=True, slots=True, kw_only=True)
class H5Options:
    """What the files do not say."""

    pair_spacing_mm: Triple = (0.5, 0.75, 0.75)  # along x, y, z: the last, middle and first array axis
    single_spacing_mm: Triple = (0.8, 0.8, 0.8)
    orientation: str = "RAS"  # where x, y and z point


def find(src: Path) -> list[Source]:
    """The HDF5 files below a folder, by name; parts of the split from train.list and val.list in the folder, else as published.

    Raises: NoInput; InvalidDataset where there is none.
    """
    if not src.is_dir():
        msg = f"{src}: no such folder. Give the folder that holds the .h5 files, for instance CoactSeg/data."
        raise NoInput(msg)
    files = sorted(src.rglob("*.h5"))
    if not files:
        there = ", ".join(sorted(entry.name for entry in src.iterdir())[:8]) or "nothing"
        msg = f"{src}: no .h5 file in it or below. Found: {there}. Wanted, for instance: data013_norm.h5."
        raise InvalidDataset(msg)
    listed = _listed(src)
    sources = []
    for path in files:
        label = label_of(path)
        sources.append(Source(path, label, listed.get(path.name) if listed else published(label)))
    return sources


def label_of(path: Path) -> str:
    """'data013_norm.h5' -> '013', 'ms23_001_norm.h5' -> 'ms23001'."""
    stem = re.sub(r"^data(?=\d)", "", path.stem.removesuffix("_norm"))
    return re.sub(r"[^0-9A-Za-z]", "", stem)


def read(source: Source, options: H5Options) -> Patient:
    """Read and check one case.

    Raises: UnreadableImage; InvalidConfig where h5py is not installed.
    """
    arrays = _arrays(source.path)
    if "image" in arrays:
        visits: tuple[Visit, ...] = (_single(arrays, source, options),)
    else:
        visits = _pair(arrays, source, options)
    return Patient(source.label, source.split, visits)


def check(options: H5Options) -> None:
    """Look at what every file needs before the first is read. Raises: InvalidConfig."""
    _h5py()
    affine_of((2, 2, 2), options.pair_spacing_mm, options.orientation)


def affine_of(shape: tuple[int, ...], spacing_mm: Triple, orientation: str) -> np.ndarray:
    """(4, 4): axes along the scanner's, the middle of the volume at 0.

    Raises: InvalidConfig for an orientation that is not three letters such as RAS, LPS, ASR.
    """
    pairs = ("RL", "AP", "SI")
    rows = [next((row for row, pair in enumerate(pairs) if letter in pair), -1) for letter in orientation]
    if len(orientation) != 3 or sorted(rows) != [0, 1, 2]:
        msg = f"--orientation takes three letters out of R/L, A/P, S/I, where x, y and z point, such as RAS; got {orientation!r}"
        raise InvalidConfig(msg)
    direction = np.zeros((3, 3))
    for column, (row, letter) in enumerate(zip(rows, orientation, strict=True)):
        direction[row, column] = 1.0 if letter in "RAS" else -1.0
    affine = np.eye(4)
    affine[:3, :3] = direction * np.asarray(spacing_mm)
    affine[:3, 3] = -affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return affine


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """What a file holds, (z, y, x) each. Raises: UnreadableImage, InvalidConfig."""
    h5py = _h5py()
    try:
        with h5py.File(path, "r") as file:
            keys = sorted(file)
            wanted = next((names for names in (PAIR_KEYS, SINGLE_KEYS) if set(names) <= set(keys)), None)
            if wanted is None:
                msg = (
                    f"{path}: expected the data sets {', '.join(PAIR_KEYS)} of a pair or {', '.join(SINGLE_KEYS)} of a single scan; "
                    f"found {', '.join(keys) or 'none'}. Is it a file of the published CoactSeg code?"
                )
                raise UnreadableImage(msg)
            arrays = {name: np.asarray(file[name]) for name in wanted}
    except OSError as error:
        msg = f"{path}: cannot be read as HDF5 ({error}). It may be truncated: copy it again."
        raise UnreadableImage(msg) from error
    _check(arrays, path)
    return arrays


def _h5py() -> Any:
    """Raises: InvalidConfig where the package is not there."""
    try:
        import h5py
    except ImportError as error:
        msg = "reading .h5 files needs the package h5py, which is not installed: pip install 'coactseg-cli[h5]'"
        raise InvalidConfig(msg) from error
    return h5py


def _check(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 3 or min(shape) < 2 for shape in shapes.values()):
        msg = f"{path}: expected arrays (z, y, x) of one shape; got {', '.join(f'{name} {shape}' for name, shape in shapes.items())}."
        raise UnreadableImage(msg)
    for name, array in arrays.items():
        if array.dtype.kind not in "iufb" or not np.isfinite(array).all():
            msg = f"{path}: {name} is {array.dtype} and must hold finite real numbers. Make the file again."
            raise UnreadableImage(msg)
    require_binary(arrays["label"], f"{path}, label")


def _pair(arrays: Mapping[str, np.ndarray], source: Source, options: H5Options) -> tuple[Visit, ...]:
    label = _xyz(arrays["label"] > 0, options.pair_spacing_mm, options)
    new = LesionMask(
        CONSENSUS, "new", label, "New lesions: present at the follow-up and absent at the baseline; the consensus of the experts"
    )
    return (
        _visit("01", arrays, "image_1", source, options.pair_spacing_mm, options, ()),
        _visit("02", arrays, "image_2", source, options.pair_spacing_mm, options, (new,)),
    )


def _single(arrays: Mapping[str, np.ndarray], source: Source, options: H5Options) -> Visit:
    label = _xyz(arrays["label"] > 0, options.single_spacing_mm, options)
    every = LesionMask(CONSENSUS, "all", label, "Every lesion of this visit")
    return _visit(None, arrays, "image", source, options.single_spacing_mm, options, (every,))


def _visit(
    session: str | None,
    arrays: Mapping[str, np.ndarray],
    name: str,
    source: Source,
    spacing_mm: Triple,
    options: H5Options,
    lesions: tuple[LesionMask, ...],
) -> Visit:
    data = arrays[name].astype(np.float32, copy=False)
    background = _background(data, f"{source.path}, {name}")
    sidecar = {
        "SourceFile": f"{source.path.name}:{name}",
        "SkullStripped": True,
        "Description": "FLAIR in multiples of its standard deviation, 0 outside the brain, cropped. Orientation and place in the "
        f"scanner were not stored: the axes are taken as {options.orientation}, so that left and right may be swapped, and the middle "
        "of the volume is 0.",
        "Background": float(background),
    }
    flair = _xyz(data - background, spacing_mm, options)
    return Visit(session, flair, sidecar, _xyz(data != background, spacing_mm, options), lesions)


def _background(data: np.ndarray, name: str) -> np.float32:
    """The value outside the brain. Raises: UnreadableImage where the eight corners do not share one."""
    corners = data[:: data.shape[0] - 1, :: data.shape[1] - 1, :: data.shape[2] - 1]
    background = np.float32(corners.flat[0])
    if not (corners == background).all() or (data == background).all():
        found = ", ".join(f"{value:g}" for value in np.unique(corners)[:4])
        msg = f"{name}: expected a skull-stripped image with one value outside the brain, at all eight corners; found {found}."
        raise UnreadableImage(msg)
    return background


def _xyz(zyx: np.ndarray, spacing_mm: Triple, options: H5Options) -> Volume:
    """(z, y, x) to a volume (x, y, z)."""
    data = np.ascontiguousarray(zyx.transpose(2, 1, 0))
    return Volume(data, affine_of(data.shape, spacing_mm, options.orientation))


def _listed(src: Path) -> dict[str, str]:
    """File name to part of the split, from the lists beside the data; empty where there are none."""
    parts: dict[str, str] = {}
    for name, part in _LISTS:
        if (src / name).is_file():
            parts |= {line.strip().rpartition("/")[2]: part for line in (src / name).read_text().splitlines() if line.strip()}
    return parts
