"""What prep wrote is found again, whole."""

import numpy as np
import pytest

from bids_app.cases import LabelKind
from bids_app.dataset import read_prepared, read_timelines
from bids_app.derivatives import start
from bids_app.errors import InvalidDataset, NoInput, NothingMatched
from bids_app.files import read_json, write_json, write_text
from bids_app.sidecars import mask_sidecar

from .conftest import make_raw, put_image, write_subject


@pytest.fixture
def prepared(tmp_path, raw):
    out = start(tmp_path / "prep", raw, version="0.1.0", readme="x")
    for subject in ("01", "02", "03"):
        write_subject(out, sorted(raw.glob(f"sub-{subject}/**/*.nii*")), prep_only=True)
    return out


def put_label(out, name, **extra):
    path = put_image(out.root / name, np.uint8)
    out.sidecar(path, mask_sidecar(description="Lesions.", type_="Lesion", sources=[], spatial_reference="orig", **extra))


def test_timelines(prepared, raw):
    index = read_prepared(prepared.root)
    assert index.failures == ()
    assert [(t.subject, [v.session for v in t.visits], t.comparable) for t in index.timelines] == [
        ("01", ["01", "02"], True),
        ("02", [None], True),
        ("03", ["02"], True),
    ]
    first = index.timelines[0]
    assert first.reference == prepared.root / "sub-01/anat/sub-01_desc-reference_FLAIR.nii.gz"
    visit = first.visits[0]
    folder = prepared.root / "sub-01/ses-01/anat"
    assert visit.raw == raw / "sub-01/ses-01/anat/sub-01_ses-01_acq-3D_FLAIR.nii.gz"
    assert visit.native == folder / "sub-01_ses-01_acq-3D_space-orig_desc-preproc_FLAIR.nii.gz"
    assert visit.native_brain_mask == folder / "sub-01_ses-01_acq-3D_space-orig_desc-brain_mask.nii.gz"
    assert visit.image == folder / "sub-01_ses-01_acq-3D_space-individual_desc-preproc_FLAIR.nii.gz"
    assert visit.brain_mask == folder / "sub-01_ses-01_acq-3D_space-individual_desc-brain_mask.nii.gz"
    assert visit.to_individual == folder / "sub-01_ses-01_acq-3D_from-orig_to-individual_mode-image_xfm.txt"
    assert visit.to_native == folder / "sub-01_ses-01_acq-3D_from-individual_to-orig_mode-image_xfm.txt"
    assert visit.entities.name() == "sub-01_ses-01_acq-3D_FLAIR.nii.gz"


def test_labels_but_no_predictions(prepared):
    name = "sub-01/ses-02/anat/sub-01_ses-02_space-individual_label-L_desc"
    put_label(prepared, f"{name}-new_mask.nii.gz")
    put_label(prepared, f"{name}-ignorenew_mask.nii.gz")
    put_label(prepared, f"{name}-all_mask.nii.gz", Threshold=0.5)  # made by a network
    put_label(prepared, f"{name}-other_mask.nii.gz")
    put_label(prepared, "sub-02/anat/sub-02_space-individual_label-L_desc-all_mask.nii.gz")
    labels = {t.subject: [(x.kind, x.session, x.space) for x in t.labels] for t in read_prepared(prepared.root).timelines}
    assert labels == {
        "01": [(LabelKind.IGNORE_NEW, "02", "individual"), (LabelKind.NEW, "02", "individual")],
        "02": [(LabelKind.ALL, None, "individual")],
        "03": [],
    }


def test_order_is_that_of_the_sessions_table(prepared):
    write_text(prepared.root / "sub-01/sub-01_sessions.tsv", "session_id\nses-02\nses-01\n")
    assert [v.session for v in read_prepared(prepared.root).timelines[0].visits] == ["02", "01"]


def test_else_that_of_the_raw_scans(prepared, raw):
    write_text(raw / "sub-01/sub-01_sessions.tsv", "session_id\tacq_time\nses-01\t2021-01-01\nses-02\t2020-01-01\n")
    assert [v.session for v in read_prepared(prepared.root).timelines[0].visits] == ["02", "01"]


def test_visits_prepared_alone(prepared):
    sidecar = next(prepared.root.rglob("sub-01_ses-02_space-individual_desc-preproc_FLAIR.json"))
    write_json(sidecar, read_json(sidecar) | {"SubjectAnatomicalReference": "sessionwise"})
    (prepared.root / "sub-02/anat/sub-02_desc-reference_FLAIR.nii.gz").unlink()
    one, two, three = read_prepared(prepared.root).timelines
    assert (one.comparable, two.comparable, three.comparable) == (False, False, True)
    assert one.reference == one.visits[0].image
    own = put_image(prepared.root / "sub-01/ses-01/anat/sub-01_ses-01_acq-3D_desc-reference_FLAIR.nii.gz")
    assert read_prepared(prepared.root).timelines[0].reference == own


def test_half_prepared(prepared):
    next(prepared.root.rglob("sub-03*space-individual_desc-brain_mask.nii.gz")).unlink()
    (prepared.root / "sub-04").mkdir()
    index = read_prepared(prepared.root, ["01", "sub-03", "04", "05"])
    assert [t.subject for t in index.timelines] == ["01"]
    messages = {f.subject: f.message for f in index.failures}
    assert "sub-03_ses-02_run-1_space-individual_desc-brain_mask.nii.gz missing" in messages["03"]
    assert "no prepared scan" in messages["04"]
    assert "no folder sub-05" in messages["05"]


def test_raw_scans_elsewhere(prepared, raw):
    raw.rename(raw.parent / "moved")
    assert read_prepared(prepared.root).timelines[0].visits[0].raw is None


def test_other_folders(tmp_path, raw):
    with pytest.raises(InvalidDataset, match="no prepared scan"):
        read_prepared(raw)
    with pytest.raises(NoInput, match="no such folder"):
        read_prepared(tmp_path / "none")
    with pytest.raises(NothingMatched, match="no participant 77"):
        read_prepared(raw, ["77"])


def test_a_prepared_data_set_named_prep_gives_no_labels(tmp_path, prepared, raw):
    put_label(prepared, "sub-02/anat/sub-02_space-individual_label-L_desc-all_mask.nii.gz")
    as_prep = read_timelines(raw, derivatives={"prep": prepared.root}).timelines[1]
    as_labels = read_timelines(raw, derivatives={"other": prepared.root}).timelines[1]
    assert (as_prep.labels, as_prep.brain_masks) == ((), ())
    assert as_labels.labels[0].space == "individual"
    assert as_labels.brain_masks[0].space is None
    plain = make_raw(tmp_path / "plain", ["sub-02_desc-brain_mask.nii.gz"])
    assert len(read_timelines(raw, derivatives={"prep": plain}).timelines[1].brain_masks) == 1
