"""Labels and brain masks that come with the scans."""

import pytest

from bids_app.cases import LabelKind
from bids_app.dataset import read_timelines
from bids_app.files import write_text

from .conftest import make_raw, put_image


@pytest.fixture
def two_visits(tmp_path):
    return make_raw(tmp_path / "raw", ["sub-01_ses-01_FLAIR.nii.gz", "sub-01_ses-02_acq-3D_FLAIR.nii.gz", "sub-02_ses-01_FLAIR.nii.gz"])


def put(root, *names):
    for name in names:
        (put_image if name.endswith((".nii", ".nii.gz")) else lambda path: write_text(path, "x"))(root / name)
    return root


def read(raw, label_desc=None, **derivatives):
    index = read_timelines(raw, derivatives=derivatives, label_desc=label_desc or {})
    return {t.subject: t for t in index.timelines}, {f.subject: f.message for f in index.failures}


def kinds(timeline):
    return [(label.kind.value, label.session, label.space) for label in timeline.labels]


def test_kinds(tmp_path, two_visits):
    visit1, visit2 = "sub-01/ses-01/anat/sub-01_ses-01", "sub-01/ses-02/anat/sub-01_ses-02"
    labels = put(
        tmp_path / "labels",
        f"{visit1}_label-lesion_mask.nii.gz",
        f"{visit2}_space-orig_label-L_desc-all_mask.nii",
        f"{visit2}_acq-3D_label-L_desc-new_mask.nii.gz",
        f"{visit2}_acq-2D_label-L_desc-new_mask.nii.gz",  # of another scan
        f"{visit2}_label-L_desc-change_mask.nii.gz",
        f"{visit2}_label-WM_mask.nii.gz",
        f"{visit2}_label-L_probseg.nii.gz",
        f"{visit2}_desc-brain_mask.nii.gz",
    )
    found, failed = read(two_visits, labels=labels)
    assert not failed
    assert kinds(found["01"]) == [("all", "01", None), ("all", "02", None), ("new", "02", None)]
    assert [(mask.session, mask.space, mask.path.name) for mask in found["01"].brain_masks] == [
        ("02", None, "sub-01_ses-02_desc-brain_mask.nii.gz")
    ]
    assert kinds(found["02"]) == []
    mapped, _ = read(two_visits, {"change": LabelKind.IGNORE_NEW}, labels=labels)
    assert kinds(mapped["01"])[-1] == ("ignorenew", "02", None)


def test_spaces_and_transforms(tmp_path, two_visits):
    visit = "sub-01/ses-02/anat/sub-01_ses-02"
    labels = put(
        tmp_path / "labels",
        f"{visit}_space-common_label-L_desc-new_mask.nii.gz",
        f"{visit}_space-MNI_desc-brain_mask.nii.gz",
        f"{visit}_from-orig_to-common_mode-image_xfm.txt",
        f"{visit}_from-common_to-orig_mode-image_xfm.txt",
        f"{visit}_from-FLAIR_to-other_mode-image_xfm.txt",
        "sub-01/ses-01/anat/sub-01_ses-01_from-FLAIR_to-MNI_mode-image_xfm.txt",
    )
    timeline = read(two_visits, labels=labels)[0]["01"]
    label, mask = timeline.labels[0], timeline.brain_masks[0]
    assert (label.space, label.transform) == ("common", labels / f"{visit}_from-orig_to-common_mode-image_xfm.txt")
    assert (mask.space, mask.transform) == ("MNI", None)  # the transform of another visit does not count
    put(labels, f"{visit}_space-orig_label-L_desc-new_mask.nii.gz")
    assert read(two_visits, labels=labels)[0]["01"].labels[0].space is None  # the scan's own grid is preferred


def test_labels_without_a_session(tmp_path, two_visits):
    labels = put(tmp_path / "labels", "sub-02/anat/sub-02_label-L_mask.nii.gz", "sub-01/anat/sub-01_label-L_desc-new_mask.nii.gz")
    found, failed = read(two_visits, labels=labels)
    assert kinds(found["02"]) == [("all", "01", None)]
    assert kinds(found["01"]) == [("new", "02", None)]  # of two visits the follow-up
    put(labels, "sub-01/anat/sub-01_label-L_mask.nii.gz", "sub-01/anat/sub-01_desc-brain_mask.nii.gz")
    found, failed = read(two_visits, labels=labels)
    assert "names no session, but there are the visits 01, 02" in failed["01"]
    assert set(found) == {"02"}


def test_two_answers(tmp_path, two_visits):
    name = "sub-02/ses-01/anat/sub-02_ses-01"
    one = put(tmp_path / "one", f"{name}_label-L_mask.nii.gz", f"{name}_desc-brain_mask.nii.gz")
    two = put(tmp_path / "two", f"{name}_label-lesion_desc-all_mask.nii.gz", f"{name}_desc-brain_mask.nii.gz")
    found, failed = read(two_visits, one=one, two=two)
    assert "sub-02_ses-01 (all label): 2 files answer" in failed["02"]
    (two / f"{name}_label-lesion_desc-all_mask.nii.gz").unlink()
    found, failed = read(two_visits, two=two, one=one)
    assert [mask.path for mask in found["02"].brain_masks] == [two / f"{name}_desc-brain_mask.nii.gz"]  # the first that was named


def test_a_folder_named_like_a_mask(tmp_path, two_visits):
    (tmp_path / "labels/sub-02/ses-01/anat/sub-02_ses-01_label-L_mask.nii.gz").mkdir(parents=True)
    assert kinds(read(two_visits, labels=tmp_path / "labels")[0]["02"]) == []
