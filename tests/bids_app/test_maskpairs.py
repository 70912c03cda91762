"""Predicted and reference masks meet by case."""

import pytest

from bids_app.cases import LabelKind, MaskPair
from bids_app.dataset import read_mask_pairs
from bids_app.errors import AmbiguousScan, InvalidDataset, NoInput

ALL, NEW = LabelKind.ALL, LabelKind.NEW


def put(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    root.mkdir(exist_ok=True)
    return root


def named(pairs):
    return [(p.case, p.kind.value, p.predicted and p.predicted.name, p.reference and p.reference.name) for p in pairs]


def test_two_files(tmp_path):
    put(tmp_path, "case7.nii.gz", "truth.nii", "sub-01_label-lesion_mask.nii.gz")
    pair = MaskPair("case7", NEW, tmp_path / "case7.nii.gz", tmp_path / "truth.nii")
    assert read_mask_pairs(tmp_path / "case7.nii.gz", tmp_path / "truth.nii") == (pair,)
    assert read_mask_pairs(tmp_path / "case7.nii.gz", tmp_path / "truth.nii", ALL)[0].kind == ALL
    assert read_mask_pairs(tmp_path / "sub-01_label-lesion_mask.nii.gz", tmp_path / "truth.nii")[0].kind == ALL


def test_two_folders(tmp_path):
    mine = put(tmp_path / "mine", "a.nii.gz", "b.nii", "notes.txt", "c10.nii", "c2.nii")
    theirs = put(tmp_path / "theirs", "a.nii.gz", "b.nii.gz", "d.nii", "c2.nii", "c10.nii")
    assert named(read_mask_pairs(mine, theirs, ALL)) == [
        ("a", "all", "a.nii.gz", "a.nii.gz"),
        ("b", "all", "b.nii", "b.nii.gz"),
        ("c2", "all", "c2.nii", "c2.nii"),
        ("c10", "all", "c10.nii", "c10.nii"),
        ("d", "all", None, "d.nii"),
    ]


def test_kinds_in_a_plain_folder_with_bids_names(tmp_path):
    names = ["sub-01_label-L_desc-all_mask.nii.gz", "sub-01_label-L_desc-new_mask.nii.gz"]
    mine, theirs = put(tmp_path / "mine", *names), put(tmp_path / "theirs", *names)
    assert [pair.kind for pair in read_mask_pairs(mine, theirs)] == [ALL, NEW]
    assert [pair.case for pair in read_mask_pairs(mine, theirs, NEW)] == ["sub-01_label-L_desc-new_mask"]


def test_two_trees(tmp_path):
    visit = "sub-01/ses-02/anat/sub-01_ses-02"
    mine = put(
        tmp_path / "mine",
        f"{visit}_space-orig_label-L_desc-new_mask.nii.gz",
        f"{visit}_space-individual_label-L_desc-new_mask.nii.gz",
        f"{visit}_space-orig_label-L_desc-all_mask.nii.gz",
        f"{visit}_space-orig_label-L_desc-resolved_mask.nii.gz",
        f"{visit}_space-orig_label-L_desc-new_probseg.nii.gz",
        "sub-02/anat/sub-02_space-orig_label-L_desc-all_mask.nii.gz",
        "sub-03/ses-01/anat/sub-03_ses-01_space-individual_label-L_desc-all_mask.nii.gz",
    )
    theirs = put(
        tmp_path / "theirs",
        f"{visit}_space-individual_label-lesion_desc-new_mask.nii.gz",
        "sub-02/anat/sub-02_label-lesion_mask.nii.gz",
        "sub-03/anat/sub-03_label-lesion_mask.nii.gz",
        "sub-10/anat/sub-10_label-L_mask.nii",
    )
    everything = [
        ("sub-01_ses-02", "all", "sub-01_ses-02_space-orig_label-L_desc-all_mask.nii.gz", None),
        (
            "sub-01_ses-02",
            "new",
            "sub-01_ses-02_space-individual_label-L_desc-new_mask.nii.gz",
            "sub-01_ses-02_space-individual_label-lesion_desc-new_mask.nii.gz",
        ),
        ("sub-02", "all", "sub-02_space-orig_label-L_desc-all_mask.nii.gz", "sub-02_label-lesion_mask.nii.gz"),
        ("sub-03_ses-01", "all", "sub-03_ses-01_space-individual_label-L_desc-all_mask.nii.gz", "sub-03_label-lesion_mask.nii.gz"),
        ("sub-10", "all", None, "sub-10_label-L_mask.nii"),
    ]
    assert named(read_mask_pairs(mine, theirs)) == everything
    assert named(read_mask_pairs(mine, theirs, NEW)) == [everything[1]]
    assert named(read_mask_pairs(mine, theirs, participant_labels=["sub-02", "10"])) == [everything[2], everything[4]]


def test_native_is_preferred(tmp_path):
    names = [f"sub-01/anat/sub-01_{space}label-L_mask.nii.gz" for space in ("", "space-common_")]
    mine, theirs = put(tmp_path / "mine", *names), put(tmp_path / "theirs", *names)
    assert named(read_mask_pairs(mine, theirs)) == [("sub-01", "all", "sub-01_label-L_mask.nii.gz", "sub-01_label-L_mask.nii.gz")]


def test_two_masks_of_one_visit(tmp_path):
    mine = put(tmp_path / "mine", "sub-01/anat/sub-01_label-L_mask.nii.gz", "sub-01/anat/sub-01_space-orig_label-L_desc-all_mask.nii.gz")
    with pytest.raises(AmbiguousScan, match="both the all mask of one visit"):
        read_mask_pairs(mine, mine)


def test_what_does_not_go_together(tmp_path):
    tree, plain = put(tmp_path / "tree", "sub-01/anat/sub-01_label-L_mask.nii.gz"), put(tmp_path / "plain", "a.nii.gz")
    with pytest.raises(InvalidDataset, match="one of each"):
        read_mask_pairs(tree, plain)
    with pytest.raises(InvalidDataset, match="two files or two folders"):
        read_mask_pairs(plain / "a.nii.gz", plain)
    with pytest.raises(NoInput, match="no such file"):
        read_mask_pairs(plain, tmp_path / "none")
    assert read_mask_pairs(put(tmp_path / "empty"), put(tmp_path / "empty2")) == ()
