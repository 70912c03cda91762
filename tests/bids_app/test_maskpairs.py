"""Predicted and reference masks meet by case."""

import pytest

from bids_app import dataset
from bids_app.cases import LabelKind, MaskPair
from bids_app.errors import AmbiguousScan, InvalidDataset, NoInput
from bids_app.lesionmasks import MaskSource

ALL, NEW = LabelKind.ALL, LabelKind.NEW


def source(place):
    return place if isinstance(place, MaskSource) else MaskSource(path=place)


def read_mask_pairs(predicted, reference, *args, **options):
    return dataset.read_mask_pairs(source(predicted), source(reference), *args, **options)


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


def test_two_formats_of_one_mask(tmp_path):
    mine = put(tmp_path / "mine", "a.nii.gz", "a.nii")
    with pytest.raises(AmbiguousScan, match="both the mask of a"):
        read_mask_pairs(mine, mine)


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
    plain = put(tmp_path / "plain", "a.nii.gz")
    with pytest.raises(InvalidDataset, match="two files or two folders"):
        read_mask_pairs(plain / "a.nii.gz", plain)
    with pytest.raises(NoInput, match="no such file"):
        read_mask_pairs(plain, tmp_path / "none")
    assert read_mask_pairs(put(tmp_path / "empty"), put(tmp_path / "empty2")) == ()


VISIT = "sub-01/ses-02/anat/sub-01_ses-02"


def test_a_tree_meets_a_plain_folder_by_the_visits_in_the_names(tmp_path):
    tree = put(tmp_path / "tree", f"{VISIT}_label-L_desc-new_mask.nii.gz", "sub-02/anat/sub-02_label-L_mask.nii.gz")
    plain = put(tmp_path / "plain", "sub-01_ses-02.nii.gz", "sub-02_pred.nii.gz", "other.nii.gz")
    assert named(read_mask_pairs(plain, tree)) == [  # the kind is that of the counterpart
        ("other", "new", "other.nii.gz", None),
        ("sub-01_ses-02", "new", "sub-01_ses-02.nii.gz", "sub-01_ses-02_label-L_desc-new_mask.nii.gz"),
        ("sub-02", "all", "sub-02_pred.nii.gz", "sub-02_label-L_mask.nii.gz"),
    ]


def test_a_name_without_a_kind_needs_one_where_its_counterparts_show_both(tmp_path):
    tree = put(tmp_path / "tree", f"{VISIT}_label-L_desc-new_mask.nii.gz", f"{VISIT}_label-L_desc-all_mask.nii.gz")
    plain = put(tmp_path / "plain", "sub-01_ses-02.nii.gz")
    with pytest.raises(InvalidDataset, match="--kind"):
        read_mask_pairs(plain, tree)
    assert named(read_mask_pairs(plain, tree, ALL))[0][1:] == ("all", "sub-01_ses-02.nii.gz", "sub-01_ses-02_label-L_desc-all_mask.nii.gz")


PATTERNS = {  # how other tools leave their masks: path of a mask, template
    "nnU-Net": ("predictions/sub-01_ses-02.nii.gz", "predictions/{case}.nii.gz"),
    "LST": ("sub-01/ses-02/ples_lpa_mFLAIR.nii", "{subject}/{session}/ples_lpa_m*.nii"),
    "samseg": ("sub-01_ses-02/samseg/seg.mgz", "{subject}_{session}/samseg/seg.mgz"),
    "LST-AI": ("derivatives/sub-01/ses-02/space-flair_seg-lst.nii.gz", "**/sub-{subject}/ses-{session}/space-flair_seg-lst.nii.gz"),
    "a glob": ("out/sub-01/ses-02/lesions.nii.gz", "out/*/*/lesions.nii.gz"),
    "no prefixes": ("01/02.nii", "{subject}/{session}.nii"),
    "twice": ("sub-01/01_ses-02_mask.nii.gz", "sub-{subject}/{subject}_{session}_mask.nii.gz"),
}


@pytest.mark.parametrize("tool", PATTERNS)
def test_masks_of_other_tools(tmp_path, tool):
    path, pattern = PATTERNS[tool]
    mine = put(tmp_path / "mine", path, "sub-01/notes.txt", "01/notes.nii.txt")
    theirs = put(tmp_path / "theirs", f"{VISIT}_label-L_desc-new_mask.nii.gz")
    pairs = read_mask_pairs(MaskSource(path=mine, pattern=pattern), theirs)
    assert pairs == (MaskPair("sub-01_ses-02", NEW, mine / path, theirs / f"{VISIT}_label-L_desc-new_mask.nii.gz"),)


def test_templates_on_both_sides(tmp_path):
    both = put(tmp_path, "P1_auto.nii.gz", "P1_manual.nii", "P2_auto.nii.gz", "P10_manual.nii.gz")
    pairs = read_mask_pairs(MaskSource(path=both, pattern="{case}_auto.nii.gz"), MaskSource(path=both, pattern="*_manual.nii*"))
    assert [pair[0] for pair in named(pairs)] == ["P1", "P2", "P10"]
    assert named(pairs)[0] == ("P1", "new", "P1_auto.nii.gz", "P1_manual.nii")


def test_two_files_of_one_template_and_case(tmp_path):
    mine = put(tmp_path, "a/sub-01.nii.gz", "b/sub-01.nii.gz")
    with pytest.raises(AmbiguousScan, match="sub-01"):
        read_mask_pairs(MaskSource(path=mine, pattern="*/{subject}.nii.gz"), mine / "a")


@pytest.mark.parametrize(
    ("filters", "name"),
    [
        ({"desc": "lst"}, "sub-01_space-orig_desc-lst_mask.nii.gz"),
        ({"label": "WMH"}, "sub-01_label-WMH_mask.nii.gz"),
        ({"suffix": "dseg", "desc": ""}, "sub-01_dseg.nii.gz"),
        ({"seg": "samseg"}, "sub-01_seg-samseg_mask.nii.gz"),
    ],
)
def test_filters_choose_by_entity(tmp_path, filters, name):
    names = ["space-orig_desc-lst_mask", "label-WMH_mask", "dseg", "desc-lst_dseg", "seg-samseg_mask", "desc-all_label-L_mask"]
    mine = put(tmp_path / "mine", *(f"sub-01/anat/sub-01_{tail}.nii.gz" for tail in names))
    theirs = put(tmp_path / "theirs", "sub-01/anat/sub-01_label-lesion_mask.nii.gz")
    pair = ("sub-01", "all", name, "sub-01_label-lesion_mask.nii.gz")
    assert named(read_mask_pairs(MaskSource(path=mine, filters=filters), theirs)) == [pair]


def test_a_filter_by_what_is_no_entity(tmp_path):
    tree = put(tmp_path / "tree", "sub-01/anat/sub-01_label-L_mask.nii.gz")
    with pytest.raises(InvalidDataset, match="'description' is no BIDS entity"):
        read_mask_pairs(MaskSource(path=tree, filters={"description": "x"}), tree)


def test_participants_of_a_plain_folder(tmp_path):
    mine = put(tmp_path / "mine", "sub-01.nii.gz", "sub-02_ses-1.nii.gz", "x.nii.gz")
    assert [pair.case for pair in read_mask_pairs(mine, mine, participant_labels=["02", "x"])] == ["sub-02_ses-1", "x"]
