"""Templates of paths; the table is the documentation."""

import pytest

from bids_app.errors import InvalidDataset
from bids_app.patterns import find

FILES = ["sub-01/ses-a/les.nii.gz", "02/b/les.nii.gz", "x_[1].nii", "deep/er/sub-03/les.nii.gz", "les.nii.gz"]
CASES = [  # template -> (file, subject, session, case)
    ("{subject}/{session}/les.nii.gz", [("02/b/les.nii.gz", "02", "b", None), ("sub-01/ses-a/les.nii.gz", "01", "a", None)]),
    ("sub-{subject}/ses-{session}/*.nii.gz", [("sub-01/ses-a/les.nii.gz", "01", "a", None)]),
    ("{case}.nii", [("x_[1].nii", None, None, "x_[1]")]),
    ("x_[1].nii", [("x_[1].nii", None, None, "")]),
    ("x_[?].nii", [("x_[1].nii", None, None, "1")]),
    ("*/*/les.nii.gz", [("02/b/les.nii.gz", None, None, "02_b"), ("sub-01/ses-a/les.nii.gz", None, None, "sub-01_ses-a")]),
    ("**/sub-{subject}/les.nii.gz", [("deep/er/sub-03/les.nii.gz", "03", None, None)]),
    ("**/les.nii.gz", [
        ("02/b/les.nii.gz", None, None, "02_b"), ("deep/er/sub-03/les.nii.gz", None, None, "deep_er_sub-03"),
        ("les.nii.gz", None, None, ""), ("sub-01/ses-a/les.nii.gz", None, None, "sub-01_ses-a"),
    ]),
    ("{subject}/{subject}.nii", []),
]  # fmt: skip


@pytest.mark.parametrize(("template", "expected"), CASES)
def test_templates(tmp_path, template, expected):
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [(m.path.relative_to(tmp_path).as_posix(), m.subject, m.session, m.case) for m in find(tmp_path, template)]
    assert found == expected


@pytest.mark.parametrize(
    "template", ["{patient}/x.nii", "/abs/{case}.nii", "../{case}.nii", " ", "{}/x.nii", "a**/x.nii", "{case}/***/x.nii"]
)
def test_templates_that_cannot_be(tmp_path, template):
    with pytest.raises(InvalidDataset, match="pattern"):
        find(tmp_path, template)
