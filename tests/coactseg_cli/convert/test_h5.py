"""The published HDF5 layout becomes BIDS: axes, voxel sizes, background and brain as the published script left them."""

from __future__ import annotations

import builtins
import json

import h5py
import nibabel as nib
import numpy as np
import pytest

from bids_app.cases import LabelKind
from bids_app.dataset import read_timelines
from bids_app.tables import read_table
from coactseg_cli.convert.__main__ import main
from coactseg_cli.convert.h5 import affine_of, label_of
from tests.coactseg_cli.convert.conftest import NEW, SHAPE, head, mask_of

PAIR = "sub-013/ses-02/anat/sub-013_ses-02"
SINGLE = "sub-ms23001/anat/sub-ms23001"


def _convert(src, out, *more):
    return main(["h5", str(src), str(out), *more])


def _load(path):
    image = nib.load(path)
    return image, np.asarray(image.dataobj)


def test_axes_and_voxel_sizes_are_the_published_ones(h5_files, tmp_path):
    out = tmp_path / "bids"
    assert _convert(h5_files, out) == 0
    pair, data = _load(out / f"{PAIR}_FLAIR.nii.gz")
    assert data.shape == SHAPE
    assert np.allclose(pair.header.get_zooms(), (0.5, 0.75, 0.75))
    single, _ = _load(out / f"{SINGLE}_FLAIR.nii.gz")
    assert np.allclose(single.header.get_zooms(), (0.8, 0.8, 0.8))
    assert np.allclose(single.affine @ [*(np.array(SHAPE) - 1) / 2, 1], [0, 0, 0, 1], atol=1e-5)


def test_the_background_is_zero_again_and_the_rest_the_scan_over_its_sd(h5_files, tmp_path):
    out = tmp_path / "bids"
    _convert(h5_files, out)
    scan = head(3, bright=NEW).astype(np.float64)
    _, data = _load(out / f"{PAIR}_FLAIR.nii.gz")
    assert np.allclose(data, scan / scan.std(), atol=1e-4)
    assert (data[scan == 0] == 0).all()
    _, brain = _load(out / "derivatives/masks" / f"{PAIR}_space-orig_desc-brain_mask.nii.gz")
    assert np.array_equal(brain, scan != 0)


def test_a_pair_has_new_lesions_a_single_scan_all(h5_files, tmp_path):
    out = tmp_path / "bids"
    _convert(h5_files, out)
    index = read_timelines(out, derivatives={"labels": out / "derivatives/labels", "masks": out / "derivatives/masks"})
    found = {t.subject: [(label.kind, label.session) for label in t.labels] for t in index.timelines}
    assert found == {"013": [(LabelKind.NEW, "02")], "ms23001": [(LabelKind.ALL, None)], "ms23031": [(LabelKind.ALL, None)]}
    assert [len(t.brain_masks) for t in index.timelines] == [2, 1, 1]
    for timeline in index.timelines:
        assert np.array_equal(_load(timeline.labels[0].path)[1], mask_of(NEW))


def test_the_sidecar_says_what_is_lost(h5_files, tmp_path):
    out = tmp_path / "bids"
    _convert(h5_files, out)
    sidecar = json.loads((out / f"{SINGLE}_FLAIR.json").read_text())
    assert "left and right may be swapped" in sidecar["Description"]
    assert sidecar["SkullStripped"] is True
    scan = head(1, bright=NEW).astype(np.float64)
    assert sidecar["Background"] == pytest.approx(-scan.mean() / scan.std(), rel=1e-4)


def test_the_split_is_the_published_one_unless_lists_lie_beside_the_data(h5_files, tmp_path):
    _convert(h5_files, tmp_path / "published")
    rows = {r["participant_id"]: r["split"] for r in read_table(tmp_path / "published/participants.tsv")}
    assert rows == {"sub-013": "validation", "sub-ms23001": "train", "sub-ms23031": "validation"}
    (h5_files / "train.list").write_text("./data/MSSEG2/h5/data013_norm.h5\n./data/MS-23v1/h5/ms23_031_norm.h5\n")
    (h5_files / "val.list").write_text("./data/MS-23v1/h5/ms23_001_norm.h5\n")
    _convert(h5_files, tmp_path / "listed")
    rows = {r["participant_id"]: r["split"] for r in read_table(tmp_path / "listed/participants.tsv")}
    assert rows == {"sub-013": "train", "sub-ms23001": "validation", "sub-ms23031": "train"}


def test_names_become_labels(tmp_path):
    names = ("data013_norm.h5", "ms23_001_norm.h5", "database.h5", "a-b.h5")
    assert [label_of(tmp_path / name) for name in names] == ["013", "ms23001", "database", "ab"]


# --- options


def test_spacing_and_orientation_are_what_is_asked_for(h5_files, tmp_path):
    flags = ["--pair-spacing", "1,2,3", "--single-spacing", "4,5,6", "--orientation", "LPS"]
    assert _convert(h5_files, tmp_path / "bids", *flags) == 0
    pair, _ = _load(tmp_path / "bids" / f"{PAIR}_FLAIR.nii.gz")
    single, _ = _load(tmp_path / "bids" / f"{SINGLE}_FLAIR.nii.gz")
    assert np.allclose(pair.header.get_zooms(), (1, 2, 3))
    assert np.allclose(single.header.get_zooms(), (4, 5, 6))
    assert nib.aff2axcodes(pair.affine) == ("L", "P", "S")


def test_an_affine_by_hand():
    wanted = [[0, 0, 2, -3], [-3, 0, 0, 1.5], [0, 0.5, 0, -0.5], [0, 0, 0, 1]]
    assert np.allclose(affine_of((2, 3, 4), (3, 0.5, 2), "PSR"), wanted)


@pytest.mark.parametrize("orientation", ["RAR", "RA", "xyz", "RASL"])
def test_an_orientation_that_is_none_is_refused(h5_files, tmp_path, capsys, orientation):
    assert _convert(h5_files, tmp_path / "bids", "--orientation", orientation) == 2
    assert repr(orientation) in capsys.readouterr().err
    assert not (tmp_path / "bids").exists()


# --- what is wrong


def _rewrite(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, data in arrays.items():
            file.create_dataset(name, data=data)


def _good():
    return {"image": np.pad(np.ones((4, 5, 6)), 1), "label": np.zeros((6, 7, 8))}


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"image": np.zeros((3, 4, 5)), "mask": np.zeros((3, 4, 5))}, "found image, mask"),
        ({}, "found none"),
        (_good() | {"label": np.zeros((6, 7, 9))}, "image (6, 7, 8), label (6, 7, 9)"),
        (_good() | {"label": np.full((6, 7, 8), 3.0)}, "for instance 3"),
        (_good() | {"image": np.full((6, 7, 8), np.nan)}, "finite real numbers"),
        (_good() | {"image": np.arange(336.0).reshape(6, 7, 8)}, "all eight corners"),
        (_good() | {"image": np.zeros((6, 7, 8))}, "all eight corners"),
        ({"image": np.zeros((6, 7)), "label": np.zeros((6, 7))}, "(z, y, x)"),
    ],
    ids=["keys", "empty", "shapes", "values", "nan", "not stripped", "constant", "2D"],
)
def test_a_bad_file_is_named_and_the_others_are_done(h5_files, tmp_path, capsys, arrays, says):
    bad = h5_files / "MS-23v1/h5/ms23_001_norm.h5"
    _rewrite(bad, **arrays)
    assert _convert(h5_files, tmp_path / "bids") == 1
    said = capsys.readouterr()
    assert str(bad) in said.err
    assert says in said.err
    assert sorted(p.name for p in (tmp_path / "bids").glob("sub-*")) == ["sub-013", "sub-ms23031"]


def test_the_good_file_of_the_test_above_is_good(h5_files, tmp_path):
    _rewrite(h5_files / "MS-23v1/h5/ms23_001_norm.h5", **_good())
    assert _convert(h5_files, tmp_path / "bids") == 0


def test_a_file_that_is_no_hdf5_is_named(h5_files, tmp_path, capsys):
    (h5_files / "broken.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"0" * 100)
    assert _convert(h5_files, tmp_path / "bids") == 1
    assert "broken.h5: cannot be read as HDF5" in capsys.readouterr().err


def test_without_h5py_the_message_says_how_to_get_it(h5_files, tmp_path, capsys, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "h5py":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    assert _convert(h5_files, tmp_path / "bids") == 2
    assert "coactseg-cli[h5]" in capsys.readouterr().err


def test_a_folder_without_files_says_what_it_holds(tmp_path, capsys):
    (tmp_path / "src").mkdir()
    (tmp_path / "src/readme.txt").touch()
    assert _convert(tmp_path / "src", tmp_path / "bids") == 16
    assert "readme.txt" in capsys.readouterr().err
    assert _convert(tmp_path / "absent", tmp_path / "bids") == 66
