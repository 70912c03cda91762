"""Links and pairs drawn by hand, and their symmetry on random masks."""

import numpy as np
import pytest

from coactseg_cli.lesions.links import Link, components_of, find_links, pair_up
from tests.coactseg_cli.lesions.made import EMPTY, FAR, A, B, blobs, mask

PLATE = (slice(2, 4), slice(5, 7), slice(9, 10))  # 4 voxels, one thick
SHIFTED = (slice(2, 4), slice(5, 7), slice(10, 11))


def links_of(before, after, min_overlap=0.1, touching=True):
    return find_links(components_of(before, 6), components_of(after, 6), min_overlap, touching=touching)


def ends(links):
    return [(link.before, link.after) for link in links]


def test_overlap_is_counted_in_voxels_and_the_strongest_is_first() -> None:
    links = links_of(mask(A, FAR), mask(A, FAR))
    assert [(link.overlap, link.contact) for link in links] == [(27, 0), (20, 0)]


@pytest.mark.parametrize(("min_overlap", "linked"), [(0.1, True), (0.11, False)])
def test_the_share_is_of_the_smaller_lesion(min_overlap: float, linked: bool) -> None:
    brushes = (slice(3, 4), slice(3, 4), slice(3, 13))  # 10 voxels, one of them in A
    assert bool(links_of(mask(A), mask(brushes), min_overlap, touching=False)) is linked


def test_lesions_that_only_touch_are_linked() -> None:
    (link,) = links_of(mask(PLATE), mask(SHIFTED))
    assert (link.before, link.after, link.overlap, link.contact) == (1, 1, 0, 4)
    assert links_of(mask(PLATE), mask(SHIFTED), touching=False) == ()


def test_touching_counts_only_where_neither_lesion_has_another_link() -> None:
    whole, rest, beside = (
        (slice(2, 3), slice(5, 6), slice(3, 13)),
        (slice(2, 3), slice(5, 6), slice(3, 6)),
        (slice(2, 3), slice(6, 7), slice(9, 12)),
    )
    assert ends(links_of(mask(whole), mask(beside))) == [(1, 1)]
    assert ends(links_of(mask(whole), mask(rest, beside))) == [(1, 1)]
    assert ends(links_of(mask(rest, beside), mask(whole))) == [(1, 1)]


def test_corners_do_not_touch() -> None:
    corner = (slice(4, 6), slice(7, 9), slice(10, 11))
    assert links_of(mask(PLATE), mask(corner)) == ()


def test_lesions_at_opposite_borders_of_the_array_do_not_touch() -> None:
    first, last = mask(), mask()
    first[0, 5, 5] = last[-1, 5, 5] = True
    assert links_of(first, last) == ()


def test_a_weak_overlap_links_where_nothing_else_does() -> None:
    brushes = (slice(3, 4), slice(3, 4), slice(3, 13))
    links = links_of(mask(A), mask(brushes), min_overlap=0.5)
    assert [(link.overlap, link.contact) for link in links] == [(1, 0)]


def test_without_lesions_there_is_no_link() -> None:
    assert links_of(mask(*EMPTY), mask(A)) == links_of(mask(A), mask()) == links_of(mask(), mask()) == ()


def test_the_strongest_link_keeps_the_id_and_the_others_merge_or_split() -> None:
    #  a1 a2 a3      a1-b1 9 voxels, a2-b1 5, a2-b2 4, a3-b2 3, a3-b3 2
    links = [Link(1, 1, 9, 0, 0), Link(2, 1, 5, 0, 1), Link(2, 2, 4, 0, 2), Link(3, 2, 3, 0, 3), Link(3, 3, 2, 0, 4)]
    assert pair_up(links).kept == {1: 1, 2: 2, 3: 3}
    fewer = pair_up(links[:4])
    assert (fewer.kept, fewer.merged, fewer.split) == ({1: 1, 2: 2}, {3: 2}, {})
    mirrored = pair_up([Link(link.after, link.before, link.overlap, 0, link.place) for link in links[:4]])
    assert (mirrored.kept, mirrored.merged, mirrored.split) == ({1: 1, 2: 2}, {}, {3: 2})


def test_ties_are_settled_by_place_whatever_the_order_of_the_visits() -> None:
    both, whole = mask(A, B), mask((slice(1, 4), slice(1, 9), slice(1, 4)))
    forward, backward = pair_up(links_of(both, whole)), pair_up(links_of(whole, both))
    assert forward.kept == {1: 1}
    assert forward.merged == backward.split == {2: 1}


@pytest.mark.parametrize("seed", range(20))
def test_exchanging_the_visits_exchanges_the_ends(seed: int) -> None:
    before, after = blobs(np.random.default_rng(seed), 2)
    forward, backward = links_of(before, after, 0.3), links_of(after, before, 0.3)
    assert [(link.after, link.before, link.overlap, link.contact, link.place) for link in forward] == [
        (link.before, link.after, link.overlap, link.contact, link.place) for link in backward
    ]
    there, back = pair_up(forward), pair_up(backward)
    assert {b: a for a, b in there.kept.items()} == back.kept
    assert (there.merged, there.split) == (back.split, back.merged)
    assert set(there.merged.values()) <= set(there.kept.values())
