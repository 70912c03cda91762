"""What a header may promise, and that one scan is the same scan in any order of axes, number format, byte order and packing."""

from __future__ import annotations

import gzip
import itertools
import os
import resource
from pathlib import Path

import numpy as np
import pytest

from bids_app.errors import UnreadableImage
from coactseg_cli import nifti
from coactseg_cli.errors import OutOfMemory
from coactseg_cli.nearest import carry
from coactseg_cli.nifti import memory_limit, read_image
from coactseg_cli.preprocessing.resampling import Interpolation, grid_of, resample
from coactseg_cli.volumes import Volume, from_ras, load, to_ras
from tests.fuzz.nifti_bytes import encode, pack, patch
from tests.fuzz.same import DTYPES, FORMS, ORDERS, SCALINGS, turned
from tests.fuzz.world import AFFINE

DATA = np.arange(4 * 5 * 6).reshape(4, 5, 6)  # 0 to 119
SOUND = encode(DATA, AFFINE)


def put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_there_are_48_orders_of_axes() -> None:
    assert len(set(ORDERS)) == 48


@pytest.mark.parametrize("order", ORDERS)
def test_every_order_of_axes_is_the_same_scan(tmp_path: Path, order: str) -> None:
    data, affine = turned(DATA, order)
    for endian, name in itertools.product("<>", FORMS):
        content = encode(data, affine, order=endian, forms=FORMS[name])
        stored = load(put(tmp_path / "a.nii", content))
        ras = to_ras(stored)
        assert np.array_equal(ras.data, DATA)
        assert ras.affine == pytest.approx(AFFINE, abs=1e-5 if name == "qform alone" else 0)
        assert np.array_equal(from_ras(ras.data, stored).data, stored.data)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("version", [1, 2])
def test_every_number_format_is_the_same_scan(tmp_path: Path, dtype: type, version: int) -> None:
    for endian in "<>":
        found = load(put(tmp_path / "a.nii", encode(DATA, AFFINE, dtype=dtype, order=endian, version=version)))
        assert np.array_equal(found.data, DATA)
        assert np.array_equal(found.affine, AFFINE)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_every_scaling_is_the_same_scan(tmp_path: Path, scaling: tuple[float, float]) -> None:
    assert np.array_equal(load(put(tmp_path / "a.nii", encode(DATA, AFFINE, scaling=scaling))).data, DATA)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_content_decides_what_is_packed(tmp_path: Path, name: str) -> None:
    for content in (SOUND, pack(SOUND)):
        assert np.array_equal(load(put(tmp_path / name, content)).data, DATA)


def test_what_is_carried_does_not_depend_on_the_order_of_axes() -> None:
    """Half a voxel away, where rounding decides."""
    rng = np.random.default_rng(1)
    source = Volume(rng.integers(0, 3, DATA.shape).astype(np.float32), AFFINE)
    moved = AFFINE.copy()
    moved[:3, 3] += 2.5
    usual = carry(source, Volume(DATA, moved), np.eye(4)).data
    smooth = resample(source, grid_of(Volume(DATA, moved)), np.eye(4), Interpolation.LINEAR).data
    for order in ORDERS:
        data, affine = turned(source.data, order)
        grid = from_ras(DATA, Volume(turned(DATA, order)[0], turned_affine(moved, order)))
        assert np.array_equal(to_ras(carry(Volume(data, affine), grid, np.eye(4))).data, usual)
        assert np.array_equal(to_ras(resample(Volume(data, affine), grid_of(grid), np.eye(4), Interpolation.LINEAR)).data, smooth)


def turned_affine(affine: np.ndarray, order: str) -> np.ndarray:
    moved = turned(DATA, order)[1].copy()
    moved[:3, 3] += affine[:3, 3] - AFFINE[:3, 3]
    return moved


# ---- what is refused


def test_a_promise_that_the_file_cannot_hold_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    huge = patch(SOUND, "dim", 3, 800, 800, 800, 1, 1, 1, 1)
    for content in (huge, pack(huge)):
        with pytest.raises(UnreadableImage, match=r"promises 1,024,000,352 bytes, the file has"):
            load(put(tmp_path / "a.nii", content))


def test_more_voxels_than_any_scan_has_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match=r"\(32767, 32767, 32767\) voxels, more than 536,870,912"):
        load(put(tmp_path / "a.nii", patch(SOUND, "dim", 3, 32767, 32767, 32767, 1, 1, 1, 1)))


def test_an_image_larger_than_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nifti, "memory_limit", lambda: 719)  # 120 voxels of int16, and of float32: 720 bytes
    with pytest.raises(OutOfMemory, match=r"a\.nii: \(4, 5, 6\) voxels of int16 need .*--mem"):
        load(put(tmp_path / "a.nii", SOUND))
    monkeypatch.setattr(nifti, "memory_limit", lambda: 720)
    load(tmp_path / "a.nii")


def test_the_limit_of_the_process_counts() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = 10**12 if hard == resource.RLIM_INFINITY else hard
    before = memory_limit()
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (min(limit, before - 1), hard))
        assert memory_limit() == before - 1
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def test_the_checksum_of_gzip_is_compared(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(SOUND, 0))  # stored, not packed: any byte of it is a byte of the image
    content[600] ^= 1
    with pytest.raises(UnreadableImage, match="CRC check failed"):
        load(put(tmp_path / "a.nii.gz", bytes(content)))


@pytest.mark.parametrize("packed", [False, True])
def test_a_shape_that_leaves_much_of_the_file_is_refused(tmp_path: Path, packed: bool) -> None:
    load(put(tmp_path / "a.nii", SOUND + bytes(512)))  # padding
    content = SOUND + bytes(70_000)
    with pytest.raises(UnreadableImage, match="more than 65,536 bytes follow"):
        load(put(tmp_path / "a.nii", pack(content) if packed else content))


@pytest.mark.parametrize("offset", [-1.0, 100.0, 352.5, 1e9, float("nan"), float("inf")])
def test_voxels_begin_behind_the_header(tmp_path: Path, offset: float) -> None:
    with pytest.raises(UnreadableImage, match=r"the voxels begin at byte|vox offset"):
        load(put(tmp_path / "a.nii", patch(SOUND, "vox_offset", offset)))


def test_zero_voxel_edges_without_an_sform_are_refused(tmp_path: Path) -> None:
    """nibabel takes them for 1 mm, and every volume would be wrong."""
    content = patch(SOUND, "pixdim", 1, 5, 0, 5, 1, 1, 1, 1)
    with pytest.raises(UnreadableImage, match=r"pixdim are \[5.0, 0.0, 5.0\] mm, and there is no sform"):
        load(put(tmp_path / "a.nii", patch(content, "sform_code", 0)))
    assert np.array_equal(load(put(tmp_path / "b.nii", patch(content, "qform_code", 0))).affine, AFFINE)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.nii")
    (tmp_path / "folder.nii").mkdir()
    for name in ("pipe.nii", "folder.nii"):
        with pytest.raises(UnreadableImage, match="expected a file"):
            read_image(tmp_path / name)
    (tmp_path / "loop.nii").symlink_to("loop.nii")
    with pytest.raises(UnreadableImage, match=r"loop\.nii: cannot be read"):
        read_image(tmp_path / "loop.nii")


@pytest.mark.parametrize(
    ("matrix", "word"),
    [
        (np.diag([5.0, 5.0, 0.0, 1.0]), "not usable"),
        (np.array([[5, 5, 0, 0], [0, 0, 0, 0], [0, 0, 5, 0], [0, 0, 0, 1.0]]), "one plane"),
        (np.diag([5e5, 5.0, 5.0, 1.0]), "mm wide"),
        (np.array([[5, 0, 0, 1e6], [0, 5, 0, 0], [0, 0, 5, 0], [0, 0, 0, 1.0]]), "from the origin"),
    ],
)
def test_affines_that_no_head_scan_has_are_refused(tmp_path: Path, matrix: np.ndarray, word: str) -> None:
    content = patch(patch(SOUND, "qform_code", 0), "srow", *matrix[:3].ravel().tolist())
    with pytest.raises(UnreadableImage, match=word):
        load(put(tmp_path / "a.nii", content))
