"""Tables of mask pairs."""

import pytest

from bids_app.cases import LabelKind, MaskPair
from bids_app.errors import InvalidDataset, NoInput, NothingMatched
from bids_app.pairtable import read_pair_table

ALL, NEW = LabelKind.ALL, LabelKind.NEW


def table(folder, *lines):
    path = folder / "pairs.tsv"
    path.write_text("\n".join(line.replace(" ", "\t") for line in lines) + "\n")
    return path


def test_paths_are_relative_to_the_table(tmp_path):
    path = table(tmp_path, "predicted reference", "p/a.nii.gz r/x.nii", "/abs/b.nii n/a", "n/a r/c_label-L_mask.nii.gz")
    assert read_pair_table(path) == {
        None: (
            MaskPair("a", NEW, tmp_path / "p/a.nii.gz", tmp_path / "r/x.nii"),
            MaskPair("b", NEW, tmp_path / "/abs/b.nii", None),
            MaskPair("c_label-L_mask", NEW, None, tmp_path / "r/c_label-L_mask.nii.gz"),
        )
    }


def test_what_a_row_may_say(tmp_path):
    header = "predicted reference case subject session kind site probability background method"
    path = table(
        tmp_path,
        header,
        "a b c 01 n/a all Rennes q.nii f.nii one",
        "a b n/a sub-01 ses-02 n/a n/a n/a n/a one",
        "a b n/a 02 n/a new n/a n/a n/a two",
    )
    one = MaskPair("c", ALL, tmp_path / "a", tmp_path / "b", "sub-01", "Rennes", tmp_path / "q.nii", tmp_path / "f.nii")
    two = MaskPair("sub-01_ses-02", NEW, tmp_path / "a", tmp_path / "b", "sub-01")
    three = MaskPair("sub-02", NEW, tmp_path / "a", tmp_path / "b", "sub-02")
    assert read_pair_table(path) == {"one": (one, two), "two": (three,)}
    assert read_pair_table(path, NEW) == {"one": (two,), "two": (three,)}
    assert read_pair_table(path, participant_labels=frozenset({"02"})) == {"two": (three,)}


def test_the_kind_option_fills_rows_without_one(tmp_path):
    path = table(tmp_path, "predicted reference", "a b")
    assert read_pair_table(path, ALL)[None][0].kind is ALL


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["predicted truth", "a b"], ["'reference' is missing", "truth"]),
        (["predicted reference age", "a b 3"], ["unknown columns", "age"]),
        (["predicted reference", "x/a b", "y/a b"], ["row 3", "second row of the case a"]),
        (["predicted reference kind", "a b old"], ["row 2", "'old'"]),
        (["predicted reference", "n/a n/a"], ["row 2", "neither"]),
    ],
)
def test_a_faulty_table_is_named(tmp_path, lines, words):
    with pytest.raises(InvalidDataset) as error:
        read_pair_table(table(tmp_path, *lines))
    assert all(word in str(error.value) for word in ["pairs.tsv", *words]), error.value


def test_no_row_and_no_file(tmp_path):
    with pytest.raises(NothingMatched, match="no row"):
        read_pair_table(table(tmp_path, "predicted reference"))
    with pytest.raises(NoInput):
        read_pair_table(tmp_path / "absent.tsv")
