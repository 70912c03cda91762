"""File names to values and back."""

import pytest

from bids_app.entities import KEYS, Entities, parse, strip_prefix, try_parse, xfm_name

NAMES = [
    "sub-01_FLAIR.nii.gz",
    "sub-01_ses-02_FLAIR.nii",
    "sub-long01_ses-2020_acq-3D_ce-gad_rec-norm_run-02_echo-1_part-mag_FLAIR.nii.gz",
    "sub-01_ses-02_acq-3D_run-1_space-orig_label-L_desc-all_mask.nii.gz",
    "sub-01_ses-02_space-individual_res-1mm_label-L_desc-new_probseg.json",
    "sub-01_ses-02_from-orig_to-individual_mode-image_xfm.txt",
    "sub-01_sessions.tsv",
    "dataset.json",
]


@pytest.mark.parametrize("name", NAMES)
def test_round_trip(name):
    assert parse(name).name() == name


def test_values():
    got = parse("ses-02/anat/sub-01_ses-02_run-1_space-orig_desc-brain_mask.nii.gz")
    assert got == Entities(
        subject="01", session="02", run="1", space="orig", desc="brain", suffix="mask", extension=".nii.gz", datatype="anat"
    )
    assert got.asdict()["run"] == "1"
    assert got.source() == Entities(subject="01", session="02", run="1", suffix="mask", extension=".nii.gz", datatype="anat")
    assert got.visit() == "sub-01_ses-02"
    assert got.with_(session=None).visit() == "sub-01"


def test_order_is_that_of_bids():
    shuffled = "sub-01_desc-all_label-L_space-orig_run-1_acq-3D_ses-02_mask.nii.gz"
    assert parse(shuffled).name() == "sub-01_ses-02_acq-3D_run-1_space-orig_label-L_desc-all_mask.nii.gz"


def test_order_agrees_with_the_schema():
    schema = pytest.importorskip("bidsschematools.schema").load_schema()
    order = [schema.objects.entities[name].name for name in schema.rules.entities]
    ours = [key for key in KEYS.values() if key in order and key != "cohort"]  # cohort belongs to space here
    assert ours == [key for key in order if key in ours]


def test_source_entities_stand_before_space():
    raw = parse("sub-01_ses-02_acq-3D_run-2_FLAIR.nii")
    assert (
        raw.with_(space="orig", desc="preproc", extension=".nii.gz").name()
        == "sub-01_ses-02_acq-3D_run-2_space-orig_desc-preproc_FLAIR.nii.gz"
    )


def test_transform():
    raw = parse("sub-01_ses-02_acq-3D_space-orig_desc-preproc_FLAIR.nii.gz")
    assert xfm_name(raw, "orig", "individual") == "sub-01_ses-02_acq-3D_from-orig_to-individual_mode-image_xfm.txt"


@pytest.mark.parametrize(
    "name",
    [
        "sub-01_sub-02_FLAIR.nii.gz",
        "sub-_FLAIR.nii",
        "sub-01_foo_FLAIR.nii",
        "sub-01_bar-2_FLAIR.nii",
        "sub-ä_FLAIR.nii",
        "",
        "sub-01_.nii",
    ],
)
def test_what_is_no_bids_name(name):
    with pytest.raises(ValueError, match="is not a BIDS"):
        parse(name)
    assert try_parse(name) is None


def test_values_that_no_name_can_hold():
    with pytest.raises(ValueError, match="ses-a_b"):
        Entities(subject="01", session="a_b", suffix="mask").name()
    with pytest.raises(ValueError, match="suffix"):
        Entities(subject="01").name()


def test_strip_prefix():
    assert [strip_prefix(x, "sub") for x in ("sub-01", "01", "subject")] == ["01", "01", "subject"]
