"""The builtin brain extraction on made-up heads, whose true brain is known."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from coactseg_cli.errors import BrainExtractionFailed
from coactseg_cli.preprocessing.builtin_brain import close, dilate, find_brain, largest, otsu
from coactseg_cli.volumes import Volume, load
from examples.cohort import COHORT, scan

VISITS = ("sub-01/ses-01/anat/sub-01_ses-01", "sub-01/ses-02/anat/sub-01_ses-02", "sub-02/ses-01/anat/sub-02_ses-01", "sub-03/anat/sub-03")


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2.0 * float((a & b).sum()) / float(a.sum() + b.sum())


@pytest.fixture(scope="module")
def head() -> tuple[Volume, np.ndarray]:
    """A made-up head at 1.6 x 1.6 x 2.4 mm, and its brain."""
    rendering = scan(COHORT[0], 1, 1.6)
    return Volume(np.asarray(rendering.flair, np.float32), rendering.grid.affine), np.asarray(rendering.brain, bool)


@pytest.mark.parametrize("stem", VISITS)
def test_finds_the_brain_of_a_coarse_head(tiny_bids: Path, tiny_labels: Path, stem: str) -> None:
    truth = load(tiny_labels / f"{stem}_space-orig_desc-brain_mask.nii.gz").data > 0.5
    found = find_brain(load(tiny_bids / f"{stem}_FLAIR.nii.gz")).data
    assert found.dtype == bool
    assert dice(found, truth) > 0.93


def test_finds_the_brain_of_a_finer_head(head: tuple[Volume, np.ndarray]) -> None:
    native, truth = head
    assert dice(find_brain(native).data, truth) > 0.96


def test_gives_the_same_mask_twice(head: tuple[Volume, np.ndarray]) -> None:
    assert (find_brain(head[0]).data == find_brain(head[0]).data).all()


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "SRA", "PIR"])
def test_orientation_of_the_array_does_not_matter(head: tuple[Volume, np.ndarray], orientation: str) -> None:
    native = head[0]
    turn = nib.orientations.ornt_transform(nib.orientations.io_orientation(native.affine), nib.orientations.axcodes2ornt(orientation))
    affine = native.affine @ nib.orientations.inv_ornt_aff(turn, native.shape)
    turned = Volume(np.ascontiguousarray(nib.orientations.apply_orientation(native.data, turn)), affine)
    expected = nib.orientations.apply_orientation(find_brain(native).data, turn)
    assert dice(find_brain(turned).data, expected) > 0.9999  # the last bit of the resampling may differ


def test_finds_the_brain_under_a_strong_bias_field(head: tuple[Volume, np.ndarray]) -> None:
    native, truth = head
    ramp = np.linspace(0.7, 1.3, native.shape[1], dtype=np.float32)[None, :, None]
    assert dice(find_brain(native.like(native.data * ramp)).data, truth) > 0.94


def test_scale_of_the_intensities_does_not_matter(head: tuple[Volume, np.ndarray]) -> None:
    native = head[0]
    assert dice(find_brain(native.like(native.data * 0.01)).data, find_brain(native).data) > 0.999


def test_stripped_scan_keeps_its_brain(head: tuple[Volume, np.ndarray]) -> None:
    native, truth = head
    found = find_brain(native.like(np.where(truth, native.data, 0))).data
    assert dice(found, truth) > 0.96


def test_cut_face_and_neck_do_not_matter(head: tuple[Volume, np.ndarray]) -> None:
    native, truth = head
    at = np.moveaxis(np.indices(native.shape), 0, -1) @ native.affine[:3, :3].T + native.affine[:3, 3]
    brain = at[truth]
    face = (at[..., 1] > brain[:, 1].max() - 25) & (at[..., 2] < np.median(brain[:, 2]) - 20)
    defaced = np.where((face | (at[..., 2] < brain[:, 2].min())) & ~truth, 0, native.data)
    assert dice(find_brain(native.like(defaced)).data, truth) > 0.96


@pytest.mark.parametrize("value", [0.0, 7.0, -3.0])
def test_constant_scan_is_refused(value: float) -> None:
    with pytest.raises(BrainExtractionFailed, match=r"without contrast.*--derivatives"):
        find_brain(Volume(np.full((30, 40, 20), value, np.float32), np.diag([4.0, 4.0, 7.0, 1.0])))


@pytest.mark.parametrize(("shape", "spacing"), [((80, 90, 40), (2, 2, 4)), ((60, 60, 30), (2, 2, 4)), ((20, 25, 10), (2, 2, 4))])
def test_noise_is_refused(shape: tuple[int, int, int], spacing: tuple[int, int, int]) -> None:
    noise = np.random.default_rng(1).uniform(0, 100, shape).astype(np.float32)
    with pytest.raises(BrainExtractionFailed, match="builtin brain extraction found"):
        find_brain(Volume(noise, np.diag([*spacing, 1.0])))


def test_background_noise_without_head_is_refused() -> None:
    noise = np.abs(np.random.default_rng(2).normal(0, 5, (70, 80, 35))).astype(np.float32)
    with pytest.raises(BrainExtractionFailed):
        find_brain(Volume(noise, np.diag([3.0, 3.0, 5.0, 1.0])))


def test_otsu_lies_between_two_classes() -> None:
    assert 10 < otsu(np.repeat([9.0, 10.0, 50.0, 51.0], [40, 60, 20, 30])) < 50


def test_morphology_on_the_working_grid() -> None:
    bar = np.zeros((9, 11, 13), bool)
    bar[4, 5, 2:5] = bar[4, 5, 7:10] = True
    assert largest(np.pad(bar, 1)).sum() == 3
    assert not largest(np.zeros((3, 4, 5), bool)).any()
    assert dilate(bar[:, :, :4], 2.5).sum() == 11  # two voxels, their 8 sides, one end; the other end is cut off
    assert not dilate(np.zeros((3, 4, 5), bool), 5.0).any()


def test_closing_fills_a_narrow_gap_and_leaves_a_wide_one() -> None:
    plates = np.zeros((15, 17, 30), bool)
    plates[:, :, [2, 5, 20]] = True  # gaps of 2 and of 14 voxels: 5 and 35 mm
    closed = close(plates, 8.0)
    assert closed[7, 8, 2:6].all()
    assert not closed[7, 8, 6:20].any()
    assert not closed[7, 8, 21:].any()
