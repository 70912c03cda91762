"""Words as BIDS Apps take them become words that Typer takes."""

from __future__ import annotations

import pytest

from coactseg_cli.argv import CommandForm, expand

FLAGS = frozenset({"-v", "--verbose", "--n4", "--no-n4", "--dry-run", "-h", "--help"})
FORMS = {"prep": CommandForm(3, FLAGS), "segment": CommandForm(3, FLAGS), "train": CommandForm(2, FLAGS), "evaluate": CommandForm(3, FLAGS)}

CASES = [
    # no command is segment
    ("B O participant", "segment B O participant"),
    ("segment B O participant", "segment B O participant"),
    ("prep B O participant", "prep B O participant"),
    ("-v segment B O participant", "segment -v B O participant"),
    # space lists, and what follows them
    (
        "B O participant --participant-label 01 02 03",
        "segment --participant-label 01 --participant-label 02 --participant-label 03 B O participant",
    ),
    (
        "B O participant --participant-label 01 02 --n4 --session-label a b -v",
        "segment --participant-label 01 --participant-label 02 --n4 --session-label a --session-label b -v B O participant",
    ),
    ("prep B O participant -d a=1 b=2 --tile 96", "prep -d a=1 -d b=2 --tile 96 B O participant"),
    ("prep B O participant --label-desc x=new y=all", "prep --label-desc x=new --label-desc y=all B O participant"),
    ("train P Q O --exclude 01 02", "train --exclude 01 --exclude 02 P Q O"),
    # a list before the arguments gives back what they need
    ("--participant-label 01 B O participant", "segment --participant-label 01 B O participant"),
    ("--participant-label 01 02 B O participant", "segment --participant-label 01 --participant-label 02 B O participant"),
    ("B --participant-label 01 02 O participant", "segment --participant-label 01 --participant-label 02 B O participant"),
    # underscores and synonyms
    ("B O participant --participant_label 01", "segment --participant-label 01 B O participant"),
    ("B O participant --subject_label 01", "segment --participant-label 01 B O participant"),
    ("B O participant --session-id a", "segment --session-label a B O participant"),
    ("B O participant --nthreads 4 --omp_nthreads 2", "segment --nprocs 4 --omp-nthreads 2 B O participant"),
    ("B O participant --n_cpus=4", "segment --nprocs=4 B O participant"),
    ("B O participant --mem_mb 400", "segment --mem 400 B O participant"),
    ("B_1 O_2 participant --work_dir W_3", "segment --work-dir W_3 B_1 O_2 participant"),
    # what is no list takes one word, also a negative number
    ("B --tile 96 O participant", "segment --tile 96 B O participant"),
    ("B O participant --threshold-all -1", "segment --threshold-all -1 B O participant"),
    ("B O participant -w W", "segment -w W B O participant"),
    ("B O participant -wW", "segment -wW B O participant"),
    ("B O participant --participant-label=01 --dry-run", "segment --participant-label=01 --dry-run B O participant"),
    # an option without its value stays so: Typer says what is missing
    ("B O participant --participant-label", "segment --participant-label B O participant"),
    ("B O participant --participant-label --n4", "segment --participant-label --n4 B O participant"),
    # after -- everything is an argument
    ("--n4 -- -B O participant", "segment --n4 -- -B O participant"),
    # help and version are left alone
    ("--help", "--help"),
    ("--version", "--version"),
    ("prep --help", "prep --help"),
    ("", ""),
]


@pytest.mark.parametrize(("given", "wanted"), CASES)
def test_expand(given: str, wanted: str) -> None:
    assert expand(given.split(), FORMS) == wanted.split()


def test_a_folder_with_a_space_stays_one_word() -> None:
    assert expand(["my data", "O", "participant"], FORMS) == ["segment", "my data", "O", "participant"]
