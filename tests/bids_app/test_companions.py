"""Probability maps and scans beside masks."""

import pytest

from bids_app.cases import LabelKind, MaskPair
from bids_app.companions import with_companions
from bids_app.errors import InvalidDataset, NoInput
from bids_app.participants import find_table, read_column

VISIT = "sub-01/ses-02/anat/sub-01_ses-02"
MASK = f"{VISIT}_space-orig_label-L_desc-new_mask.nii.gz"


def put(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def companions(pair, backgrounds=None):
    (found,) = with_companions([pair], backgrounds)
    return found.probability, found.background


def test_beside_our_own_masks(tmp_path):
    root = put(
        tmp_path, MASK, MASK.replace("_mask", "_probseg"), f"{VISIT}_space-orig_desc-preproc_FLAIR.nii.gz",
        f"{VISIT}_space-individual_desc-preproc_FLAIR.nii.gz", f"{VISIT}_space-orig_label-L_desc-all_probseg.nii.gz",
    )  # fmt: skip
    pair = MaskPair("sub-01_ses-02", LabelKind.NEW, root / MASK, root / "x.nii")
    assert companions(pair) == (root / MASK.replace("_mask", "_probseg"), root / f"{VISIT}_space-orig_desc-preproc_FLAIR.nii.gz")
    individual = root / MASK.replace("orig", "individual")
    assert companions(MaskPair("c", LabelKind.NEW, individual, None)) == (
        None,
        root / f"{VISIT}_space-individual_desc-preproc_FLAIR.nii.gz",
    )


def test_a_raw_scan_in_another_tree(tmp_path):
    root, raw = (
        put(tmp_path / "masks", MASK),
        put(tmp_path / "raw", f"{VISIT}_FLAIR.nii.gz", "sub-01/ses-01/anat/sub-01_ses-01_FLAIR.nii.gz"),
    )
    assert companions(MaskPair("sub-01_ses-02", LabelKind.NEW, root / MASK, None), raw) == (None, raw / f"{VISIT}_FLAIR.nii.gz")


@pytest.mark.parametrize("name", ["P1_0000.nii.gz", "P1.nii", "P1_FLAIR.nii.gz"])
def test_scans_in_a_plain_folder(tmp_path, name):
    put(tmp_path, "masks/P1.nii.gz", f"images/{name}")
    assert (
        companions(MaskPair("P1", LabelKind.ALL, tmp_path / "masks/P1.nii.gz", None), tmp_path / "images")[1] == tmp_path / "images" / name
    )


def test_what_was_given_stays(tmp_path):
    root = put(tmp_path, MASK, MASK.replace("_mask", "_probseg"))
    pair = MaskPair("c", LabelKind.NEW, root / MASK, None, probability=root / "p.nii", background=root / "f.nii")
    assert companions(pair) == (root / "p.nii", root / "f.nii")


def test_a_column_of_participants(tmp_path):
    (tmp_path / "participants.tsv").write_text("participant_id\tsite\nsub-01\tRennes\n02\tn/a\n03\tLyon\n")
    assert read_column(tmp_path / "participants.tsv", "site") == {"sub-01": "Rennes", "sub-03": "Lyon"}
    with pytest.raises(InvalidDataset, match="no column 'scanner'; found participant_id, site"):
        read_column(tmp_path / "participants.tsv", "scanner")


def test_the_table_of_the_data_set_around_derivatives(tmp_path):
    derived = tmp_path / "derivatives" / "labels"
    derived.mkdir(parents=True)
    with pytest.raises(NoInput, match=r"participants\.tsv"):
        find_table([derived], "site")
    (tmp_path / "participants.tsv").write_text("participant_id\tsite\nsub-01\tA\n")
    assert find_table([tmp_path / "elsewhere", derived], "site") == tmp_path / "participants.tsv"
    with pytest.raises(InvalidDataset, match="no column 'scanner'"):
        find_table([derived], "scanner")
