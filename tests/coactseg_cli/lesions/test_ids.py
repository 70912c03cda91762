"""Ids of an existing table, by hand."""

import numpy as np
import pytest

from coactseg_cli.errors import CoactSegError, GridMismatch
from coactseg_cli.lesions import ids as module
from coactseg_cli.lesions.fates import Rules
from coactseg_cli.lesions.tracking import keep_ids, track
from tests.coactseg_cli.lesions.made import BRIDGE, FAR, SPACING_MM, A, B, maps, mask


def follow(*masks):
    return track(maps(*masks), SPACING_MM, Rules(noise_mm3=0, noise_share=0))


def test_an_id_that_was_ever_used_is_not_given_again() -> None:
    now = keep_ids(follow(mask(A), mask(A, FAR)), [_painted((A, 4), (B, 9)), None], retired=[12])
    assert [t.id for t in now.tracks] == [4, 13]
    assert now.retired == (9, 12)
    assert now.used_ids == (4, 9, 12, 13)
    again = keep_ids(follow(mask(B), mask(B, A)), now.labels, retired=now.used_ids)
    assert [t.id for t in again.tracks] == [4, 14]  # A is at the second visit now; B's old 9 is gone for good
    assert again.retired == (9, 12, 13)


def _painted(*regions):
    labels = np.zeros(mask().shape, np.uint16)
    for box, number in regions:
        labels[box] = number
    return labels


def test_the_greatest_overlap_over_all_visits_decides() -> None:
    history = follow(mask(A, B), mask(A, B))
    previous = _painted((A, 7), (B, 3))
    previous[1, 6:9, 1:4] = 7  # a third of B was 7's
    now = keep_ids(history, [previous, previous])
    assert now.labels[0][2, 2, 2] == 7
    assert now.labels[1][2, 7, 2] == 3


def test_of_two_lesions_at_the_place_of_one_only_one_takes_its_id() -> None:
    now = keep_ids(follow(mask(A, B)), [_painted((A, 2), (BRIDGE, 2), (B, 2))])
    assert sorted(t.id for t in now.tracks) == [2, 3]


def test_a_brush_is_no_match() -> None:
    brushes = (slice(3, 4), slice(3, 4), slice(3, 14))  # one of 11 voxels is in A
    now = keep_ids(follow(mask(A)), [_painted((brushes, 5))])
    assert [t.id for t in now.tracks] == [6]
    assert now.retired == (5,)


def test_references_between_lesions_follow_the_ids() -> None:
    history = follow(mask(A, B), mask(A, BRIDGE, B), mask(A, B))
    now = keep_ids(history, [_painted((A, 30), (B, 20)), None, None])
    by_id = {t.id: t for t in now.tracks}
    assert list(by_id) == [20, 30, 31]
    assert by_id[20].sightings[1].merged_into == 30
    assert by_id[31].sightings[0].split_from == 30


def test_the_result_itself_changes_nothing_and_neither_does_an_empty_one() -> None:
    history = follow(mask(A, B), mask(FAR))
    assert repr(keep_ids(history, history.labels).tracks) == repr(history.tracks)
    assert repr(keep_ids(history, [None, None]).tracks) == repr(history.tracks)
    empty = keep_ids(follow(mask()), [_painted((A, 8))])
    assert empty.tracks == ()
    assert empty.used_ids == (8,)


def test_another_grid_and_too_many_ids_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GridMismatch, match=r"earlier ids of shape \(10, 20, 30\); got \(1, 2, 3\)"):
        keep_ids(follow(mask(A)), [np.zeros((1, 2, 3), np.uint16)])
    monkeypatch.setattr(module, "MAX_LESIONS", 9)
    with pytest.raises(CoactSegError, match="more than 9 lesions"):
        keep_ids(follow(mask(A)), [None], retired=[9])
