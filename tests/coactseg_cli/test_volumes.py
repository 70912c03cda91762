import itertools
import struct

import nibabel as nib
import numpy as np
import pytest

from bids_app.errors import UnreadableImage
from coactseg_cli.errors import ConflictingGeometry, GridMismatch
from coactseg_cli.volumes import Box, Volume, box_of, crop, load, require_same_grid, same_grid, save, to_ras, uncrop

SHAPE = (5, 6, 7)
AFFINE = np.array([[0.8, 0.1, 0.0, -3.0], [-0.1, 0.9, 0.0, 4.0], [0.0, 0.0, 3.0, 5.0], [0.0, 0.0, 0.0, 1.0]])
DATA = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)


def write(path, data=DATA, affine=AFFINE, sform=1, qform=1):
    image = nib.Nifti1Image(data, affine)
    image.set_sform(affine if sform else None, sform)
    image.set_qform(affine if qform else None, qform)
    nib.save(image, path)
    return path


def test_round_trip_keeps_numbers_and_place(tmp_path):
    save(Volume(DATA, AFFINE), tmp_path / "a.nii.gz")
    back = load(tmp_path / "a.nii.gz")
    assert np.array_equal(back.data, DATA)
    np.testing.assert_allclose(back.affine, AFFINE, atol=1e-6)
    header = nib.load(tmp_path / "a.nii.gz").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)
    assert header.get_xyzt_units()[0] == "mm"


def test_the_same_volume_gives_the_same_bytes_and_leaves_no_other_file(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        save(Volume(DATA, AFFINE), tmp_path / name)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.nii.gz", "b.nii.gz"]


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.nii.gz"
    save(Volume(DATA, AFFINE), path)
    before = path.read_bytes()

    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nib, "save", fails)
    with pytest.raises(OSError, match="No space"):
        save(Volume(DATA + 1, AFFINE), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii.gz"]


@pytest.mark.parametrize(("sform", "qform"), [(1, 0), (0, 1), (1, 1), (4, 2)])
def test_either_form_is_enough(tmp_path, sform, qform):
    affine = AFFINE if sform else np.diag([0.8, 0.9, 3.0, 1.0])
    np.testing.assert_allclose(load(write(tmp_path / "a.nii", affine=affine, sform=sform, qform=qform)).affine, affine, atol=1e-5)


def test_no_form_at_all_is_refused(tmp_path):
    with pytest.raises(UnreadableImage, match="neither sform nor qform"):
        load(write(tmp_path / "a.nii", sform=0, qform=0))


def test_forms_that_disagree_are_both_named(tmp_path):
    image = nib.load(write(tmp_path / "a.nii", affine=np.diag([1.0, 1.0, 1.0, 1.0])))
    image.set_qform(np.diag([-1.0, 1.0, 1.0, 1.0]), 1)
    nib.save(image, tmp_path / "b.nii")
    with pytest.raises(ConflictingGeometry, match=r"sform \[\[1\.0.*qform \[\[-1\.0.*Left and right"):
        load(tmp_path / "b.nii")


def test_forms_that_differ_by_rounding_are_fine(tmp_path):
    image = nib.load(write(tmp_path / "a.nii", affine=np.diag([1.0, 1.0, 1.0, 1.0])))
    moved = np.eye(4)
    moved[0, 3] = 0.004
    image.set_qform(moved, 1)
    nib.save(image, tmp_path / "b.nii")
    load(tmp_path / "b.nii")


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_every_number_format_is_read(tmp_path, dtype):
    assert np.array_equal(load(write(tmp_path / "a.nii", DATA.astype(dtype))).data, DATA.astype(dtype).astype(np.float32))


def test_scaling_and_byte_order_are_applied(tmp_path):
    image = nib.Nifti1Image(DATA.astype(np.int16), AFFINE, header=nib.Nifti1Header(endianness=">"))
    image.header.set_slope_inter(0.5, 10.0)
    nib.save(image, tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    assert struct.unpack(">i", content[:4])[0] == 348
    np.testing.assert_allclose(load(tmp_path / "a.nii").data, DATA * 0.5 + 10.0)


@pytest.mark.parametrize("shape", [(5, 6, 7, 2), (5, 6), (5, 6, 1)])
def test_other_than_three_dimensions_is_refused_with_the_shape(tmp_path, shape):
    path = write(tmp_path / "a.nii", np.zeros(shape, np.float32))
    with pytest.raises(UnreadableImage, match="3D"):
        load(path)


def test_a_fourth_dimension_of_one_is_fine(tmp_path):
    assert load(write(tmp_path / "a.nii", DATA[..., None])).shape == SHAPE


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_counted(tmp_path, value):
    data = DATA.copy()
    data[1, 2, 3] = value
    with pytest.raises(UnreadableImage, match="1 voxels are NaN or infinite"):
        load(write(tmp_path / "a.nii", data))


def test_complex_numbers_are_refused(tmp_path):
    with pytest.raises(UnreadableImage, match="complex"):
        load(write(tmp_path / "a.nii", DATA.astype(np.complex64)))


@pytest.mark.parametrize("keep", [0, 100, 400])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_truncated_files_are_named(tmp_path, name, keep):
    path = write(tmp_path / name)
    path.write_bytes(path.read_bytes()[: min(keep, path.stat().st_size - 20)])
    with pytest.raises(UnreadableImage, match=name):
        load(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UnreadableImage, match=r"none\.nii"):
        load(tmp_path / "none.nii")


def test_all_orientations_become_ras_and_keep_every_voxels_place():
    place = {float(DATA[i]): AFFINE @ np.array([*i, 1]) for i in np.ndindex(SHAPE)}
    for axes in itertools.permutations(range(3)):
        for flips in itertools.product((1, -1), repeat=3):
            ornt = np.array([[a, f] for a, f in zip(axes, flips, strict=True)])
            data = nib.orientations.apply_orientation(DATA, ornt)
            affine = AFFINE @ nib.orientations.inv_ornt_aff(ornt, SHAPE)
            ras = to_ras(Volume(data, affine))
            assert nib.aff2axcodes(ras.affine) == ("R", "A", "S")
            for i in ((0, 0, 0), (4, 5, 6), (1, 2, 3)):
                np.testing.assert_allclose(ras.affine @ np.array([*i, 1]), place[float(ras.data[i])], atol=1e-9)


def test_spacing_and_voxel_volume_of_an_oblique_grid():
    volume = Volume(DATA, AFFINE)
    assert volume.spacing_mm == pytest.approx((np.hypot(0.8, 0.1), np.hypot(0.1, 0.9), 3.0))
    assert volume.voxel_mm3 == pytest.approx((0.8 * 0.9 + 0.1 * 0.1) * 3.0)


def test_box_crop_and_undo():
    mask = np.zeros(SHAPE, bool)
    mask[1:3, 4, 2:6] = True
    box = box_of(mask)
    assert box == Box((1, 4, 2), (3, 5, 6))
    assert box_of(mask, 1) == Box((0, 3, 1), (4, 6, 7))
    part = crop(Volume(DATA, AFFINE), box)
    np.testing.assert_allclose(part.affine[:3, 3], (AFFINE @ np.array([1, 4, 2, 1]))[:3])
    assert np.array_equal(uncrop(part.data, box, SHAPE)[mask], DATA[mask])
    assert uncrop(part.data, box, SHAPE)[~mask].sum() == 0


def test_the_box_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="empty"):
        box_of(np.zeros(SHAPE, bool))


def test_grids_differ_by_shape_shift_or_spacing():
    volume = Volume(DATA, AFFINE)
    shifted = AFFINE.copy()
    shifted[0, 3] += 0.02
    assert same_grid(volume, Volume(DATA * 2, AFFINE + 1e-9))
    assert not same_grid(volume, Volume(DATA[:-1], AFFINE))
    assert not same_grid(volume, Volume(DATA, shifted))
    assert not same_grid(volume, Volume(DATA, AFFINE @ np.diag([1.01, 1, 1, 1])))
    with pytest.raises(GridMismatch, match=r"mine and yours.*-3\.0.*-2\.98"):
        require_same_grid(volume, Volume(DATA, shifted), "mine", "yours")


def test_like_wants_the_same_shape():
    with pytest.raises(GridMismatch, match=r"\(5, 6, 7\).*\(4, 6, 7\)"):
        Volume(DATA, AFFINE).like(DATA[:-1])
