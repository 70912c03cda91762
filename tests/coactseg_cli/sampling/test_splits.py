import dataclasses

import pytest

from coactseg_cli.errors import InvalidConfig
from coactseg_cli.sampling.splits import Split, patient_of, require_apart, split_by_fold, split_by_label


def named(case, name, **changes):
    return dataclasses.replace(case, name=name, **changes)


@pytest.fixture
def cohort(single, pair):
    """Six patients with a labelled pair, four with a labelled single scan, one without any label."""
    pairs = [named(pair, f"sub-p{i}_ses-02_pair") for i in range(6)] + [
        named(pair, f"sub-p{i}_ses-01", followup=None, new=None) for i in range(6)
    ]
    singles = [named(single, f"sub-s{i}") for i in range(4)]
    return [*pairs, *singles, named(single, "sub-bare", all_baseline=None)]


def patients(cases):
    return {patient_of(c) for c in cases}


def test_each_patient_is_validated_once_and_never_on_both_sides(cohort):
    folds = [split_by_fold(cohort, (k, 3), 1337) for k in (1, 2, 3)]
    validated = [patients(s.validation) for s in folds]
    assert set.union(*validated) == patients(cohort) - {"sub-bare"}
    assert sum(map(len, validated)) == 10
    for split in folds:
        assert not patients(split.training) & patients(split.validation)
        assert len(split.training) + len(split.validation) == len(cohort)
        assert "sub-bare" in patients(split.training)


def test_each_fold_has_both_kinds(cohort):
    for k in (1, 2):
        split = split_by_fold(cohort, (k, 2), 7)
        assert sum(p.startswith("sub-p") for p in patients(split.validation)) == 3
        assert sum(p.startswith("sub-s") for p in patients(split.validation)) == 2


def test_the_seed_decides_the_folds(cohort):
    assert patients(split_by_fold(cohort, (1, 2), 1).validation) == patients(split_by_fold(cohort, (1, 2), 1).validation)
    assert len({frozenset(patients(split_by_fold(cohort, (1, 2), seed).validation)) for seed in range(8)}) > 1


def test_more_folds_than_patients_are_refused(single):
    with pytest.raises(InvalidConfig, match="needs at least 2 patients with labels; there are 1"):
        split_by_fold([single], (1, 2), 0)


def test_named_participants_are_validated_on(cohort):
    split = split_by_label(cohort, ["p1", "sub-s2"])
    assert patients(split.validation) == {"sub-p1", "sub-s2"}
    assert len(split.validation) == 3


def test_a_name_that_is_not_there_is_said(cohort):
    with pytest.raises(InvalidConfig, match="--validation names sub-ghost; prepared are sub-bare, sub-p0"):
        split_by_label(cohort, ["ghost"])


def test_a_patient_on_both_sides_is_refused(single):
    one, other = named(single, "sub-1_ses-01"), named(single, "sub-1_ses-02")
    with pytest.raises(InvalidConfig, match="sub-1 would be trained on and validated on"):
        require_apart(Split((one,), (other,)))
    require_apart(Split((one,), (named(single, "sub-2"),)))


def test_the_same_scan_under_two_names_is_refused(single):
    one, other = named(single, "sub-1", marks=("aa", "bb")), named(single, "sub-2_ses-02_pair", marks=("cc", "bb"))
    with pytest.raises(InvalidConfig, match="sub-2_ses-02_pair of the validation side is the same scan as sub-1"):
        require_apart(Split((one,), (other,)))
