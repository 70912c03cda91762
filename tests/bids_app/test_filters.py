"""fMRIPrep's filter file, key 'flair'."""

import json

import pytest

from bids_app.entities import parse
from bids_app.errors import InvalidDataset, NoInput
from bids_app.filters import read_query

PLAIN, THICK, RUN1, RUN2, ZIPPED = (
    f"anat/sub-01_ses-02_{rest}"
    for rest in ("FLAIR.nii", "acq-2D_FLAIR.nii.gz", "run-01_FLAIR.nii.gz", "run-2_FLAIR.nii.gz", "FLAIR.nii.gz")
)
PHASE, MAGNITUDE, T1W, BOLD = (
    "anat/sub-01_part-phase_FLAIR.nii.gz",
    "anat/sub-01_part-mag_FLAIR.nii.gz",
    "anat/sub-01_T1w.nii.gz",
    "func/sub-01_FLAIR.nii.gz",
)
EVERY = (PLAIN, THICK, RUN1, RUN2, ZIPPED, PHASE, MAGNITUDE, T1W, BOLD)


def passing(tmp_path, chosen):
    path = tmp_path / "filter.json"
    path.write_text(json.dumps({"flair": chosen}))
    return [name for name in EVERY if read_query(path).matches(parse(name))]


def test_default():
    assert [name for name in EVERY if read_query(None).matches(parse(name))] == [PLAIN, THICK, RUN1, RUN2, ZIPPED, MAGNITUDE]
    assert not read_query(None).given


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, [PLAIN, THICK, RUN1, RUN2, ZIPPED, MAGNITUDE]),
        ({"acquisition": "2D"}, [THICK]),
        ({"acquisition": "acq-2D"}, [THICK]),
        ({"acq": "2D"}, [THICK]),
        ({"acquisition": None, "run": None, "session": "ses-02"}, [PLAIN, ZIPPED]),
        ({"run": "*"}, [RUN1, RUN2]),
        ({"run": 1}, [RUN1]),
        ({"run": "1"}, [RUN1]),
        ({"run": [None, "02"], "acquisition": None}, [PLAIN, RUN2, ZIPPED, MAGNITUDE]),
        ({"extension": "nii"}, [PLAIN]),
        ({"part": "phase"}, [PHASE]),
        ({"suffix": "T1w"}, [T1W]),
        ({"subject": "02"}, []),
    ],
)
def test_choices(tmp_path, chosen, expected):
    assert passing(tmp_path, chosen) == expected


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "broken JSON"),
        ("[]", "expected a JSON object"),
        ('{"FLAIR": {}}', "unknown key 'FLAIR'; expected 'flair'"),
        ('{"flair": []}', "must be an object"),
        ('{"flair": {"acquisiton": "3D"}}', "'acquisiton', which is no BIDS entity"),
        ('{"flair": {"run": true}}', "must be text"),
        ('{"flair": {"run": []}}', "must be text"),
        ('{"flair": {"run": {"a": 1}}}', "must be text"),
    ],
)
def test_what_is_refused(tmp_path, text, match):
    (tmp_path / "filter.json").write_text(text)
    with pytest.raises(InvalidDataset, match=match):
        read_query(tmp_path / "filter.json")


def test_other_keys_of_fmriprep_and_a_missing_file(tmp_path):
    (tmp_path / "filter.json").write_text('{"t1w": {"acquisition": "3D"}}')
    assert not read_query(tmp_path / "filter.json").given
    with pytest.raises(NoInput):
        read_query(tmp_path / "none.json")
