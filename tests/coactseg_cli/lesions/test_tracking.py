"""A drawing for every fate, with numbers worked out by hand; a voxel is 1 mm3."""

import math

import numpy as np
import pytest

from coactseg_cli.errors import CoactSegError, GridMismatch
from coactseg_cli.lesions import tracking as module
from coactseg_cli.lesions.fates import Fate, Rules
from coactseg_cli.lesions.history import History, count_fates, fate_volume_mm3, latest_wins
from coactseg_cli.lesions.tracking import VisitMaps, track, tracking_masks
from tests.coactseg_cli.lesions.made import BRIDGE, FAR, SPACING_MM, A, B, maps, mask

RULES = Rules(noise_mm3=5, noise_share=0.1)
A_GROWN = (slice(1, 4), slice(1, 4), slice(1, 6))  # 45 voxels
JOINED = (A, BRIDGE, B)  # 72 voxels, one lesion


def follow(*masks: np.ndarray, rules: Rules = RULES) -> History:
    return track(maps(*masks), SPACING_MM, rules)


def fates(history: History) -> dict[int, list[str]]:
    """Id to fates, '-' for a visit at which nothing is known."""
    visits = range(len(history.labels))
    return {t.id: [str(s.fate) if (s := t.at(v)) else "-" for v in visits] for t in history.tracks}


def test_one_visit_is_the_baseline_numbered_by_decreasing_volume() -> None:
    history = follow(mask(FAR, A))
    assert fates(history) == {1: ["baseline"], 2: ["baseline"]}
    assert history.labels[0][A].tolist() == np.ones((3, 3, 3)).tolist()
    assert history.labels[0].dtype == np.uint16
    assert math.isnan(history.tracks[0].sightings[0].change_mm3)
    assert history.tracks[0].sightings[0].centroid_voxel == (2, 2, 2)


def test_new_and_resolved() -> None:
    history = follow(mask(A), mask(FAR))
    assert fates(history) == {1: ["baseline", "resolved"], 2: ["-", "new"]}
    gone, new = history.tracks[0].sightings[1], history.tracks[1].sightings[0]
    assert (gone.volume_mm3, gone.before_mm3, gone.change_mm3) == (0, 27, -27)
    assert (new.volume_mm3, new.before_mm3, new.change_mm3) == (20, 0, 20)
    assert gone.centroid_voxel == (2, 2, 2)
    assert not gone.present
    assert history.tracks[0].present == history.tracks[0].sightings[:1]


@pytest.mark.parametrize(
    ("before", "after", "fate", "change_mm3"),
    [(A, A_GROWN, "enlarging", 18), (A_GROWN, A, "shrinking", -18), (A, A, "stable", 0)],
)
def test_change_of_one_lesion(before, after, fate: str, change_mm3: float) -> None:
    history = follow(mask(before), mask(after))
    assert fates(history) == {1: ["baseline", fate]}
    assert history.tracks[0].sightings[1].change_mm3 == change_mm3


def test_a_change_within_the_noise_is_stable() -> None:
    assert fates(follow(mask(A), mask(A_GROWN), rules=Rules(noise_mm3=18, noise_share=0))) == {1: ["baseline", "stable"]}
    assert fates(follow(mask(A), mask(A_GROWN), rules=Rules(noise_mm3=0, noise_share=0.5))) == {
        1: ["baseline", "stable"]
    }  # 18 is half of 36
    assert fates(follow(mask(A), mask(A_GROWN), rules=Rules(noise_mm3=17, noise_share=0.49))) == {1: ["baseline", "enlarging"]}


def test_a_merge_keeps_the_id_of_the_greatest_overlap_and_counts_nothing_twice() -> None:
    history = follow(mask(A_GROWN, B), mask(A_GROWN, BRIDGE, B))
    assert fates(history) == {1: ["baseline", "enlarging"], 2: ["baseline", "merged"]}
    kept, gone = history.tracks[0].sightings[1], history.tracks[1].sightings[1]
    assert (kept.volume_mm3, kept.before_mm3, kept.change_mm3) == (90, 45, 18)  # 90 from 45 + 27
    assert (gone.volume_mm3, gone.before_mm3, gone.merged_into) == (0, 27, 1)
    assert math.isnan(gone.change_mm3)
    assert set(np.unique(history.labels[1])) == {0, 1}


def test_a_merge_that_adds_nothing_is_stable() -> None:
    assert fates(follow(mask(A, B), mask(*JOINED), rules=Rules(noise_mm3=18)))[1] == ["baseline", "stable"]


def test_a_split_keeps_the_id_of_the_greatest_overlap() -> None:
    history = follow(mask(A_GROWN, BRIDGE, B), mask(A_GROWN, B))
    assert fates(history) == {1: ["baseline", "shrinking"], 2: ["-", "split"]}
    kept, piece = history.tracks[0].sightings[1], history.tracks[1].sightings[0]
    assert (kept.volume_mm3, kept.before_mm3, kept.change_mm3) == (45, 90, -18)
    assert (piece.volume_mm3, piece.before_mm3, piece.split_from) == (27, 0, 1)
    assert math.isnan(piece.change_mm3)


def test_a_chain_of_merge_and_split_gives_the_piece_a_new_id() -> None:
    history = follow(mask(A_GROWN, B), mask(A_GROWN, BRIDGE, B), mask(A_GROWN, B), mask(A_GROWN, BRIDGE, B))
    assert fates(history) == {
        1: ["baseline", "enlarging", "shrinking", "enlarging"],
        2: ["baseline", "merged", "-", "-"],
        3: ["-", "-", "split", "merged"],
    }
    assert history.tracks[2].sightings[0].split_from == history.tracks[2].sightings[1].merged_into == 1
    assert history.tracks[1].fate is Fate.MERGED


def test_lesions_that_exchange_parts_are_paired_by_overlap() -> None:
    #  before:  [--- a1 20 ---]     [-- a2 12 --]      along the last axis
    #  after :  [- b1 10 -]   [------- b2 20 -----]
    def bar(start: int, stop: int):
        return (slice(5, 6), slice(5, 6), slice(start, stop))

    history = follow(mask(bar(0, 16), bar(18, 28)), mask(bar(0, 9), bar(11, 28)), rules=Rules(noise_mm3=3, noise_share=0))
    assert fates(history) == {1: ["baseline", "shrinking"], 2: ["baseline", "enlarging"]}
    assert [t.sightings[1].change_mm3 for t in history.tracks] == [-7, 7]


def test_a_lesion_that_is_missing_at_one_visit_comes_back_under_its_id() -> None:
    history = follow(mask(A, FAR), mask(FAR), mask(A, FAR))
    assert fates(history) == {1: ["baseline", "resolved", "new"], 2: ["baseline", "stable", "stable"]}


def test_of_two_lesions_that_resolved_at_a_place_the_one_seen_last_comes_back() -> None:
    wide = (slice(1, 4), slice(1, 4), slice(6, 10))  # 36 voxels
    narrow = (slice(1, 4), slice(1, 4), slice(3, 5))  # 18 voxels
    across = (slice(1, 4), slice(1, 4), slice(3, 10))  # over both
    history = follow(mask(wide, narrow), mask(narrow), mask(), mask(across))
    assert fates(history) == {1: ["baseline", "resolved", "-", "-"], 2: ["baseline", "stable", "resolved", "new"]}


def test_a_lesion_beside_one_that_resolved_is_another() -> None:
    history = follow(mask(A), mask(), mask(B))
    assert fates(history) == {1: ["baseline", "resolved", "-"], 2: ["-", "-", "new"]}


def test_a_visit_without_lesions_and_a_participant_without() -> None:
    assert fates(follow(mask(), mask(A), mask())) == {1: ["-", "new", "resolved"]}
    empty = follow(mask(), mask(), mask())
    assert empty.tracks == ()
    assert not any(labels.any() for labels in empty.labels)
    assert count_fates(empty, 1) == dict.fromkeys(Fate, 0)


def test_the_same_mask_at_every_visit_changes_nothing() -> None:
    history = follow(*[mask(A, B, FAR)] * 4, rules=Rules(noise_mm3=0, noise_share=0))
    assert all(row == ["baseline", "stable", "stable", "stable"] for row in fates(history).values())


def test_fates_are_counted_with_their_volumes() -> None:
    history = follow(mask(A, B), mask(A_GROWN, FAR))
    assert {f: n for f, n in count_fates(history, 1).items() if n} == {Fate.ENLARGING: 1, Fate.RESOLVED: 1, Fate.NEW: 1}
    assert fate_volume_mm3(history, 1, Fate.RESOLVED) == 27
    assert fate_volume_mm3(history, 1, Fate.NEW) == 20
    assert fate_volume_mm3(history, 1, Fate.ENLARGING) == 45
    assert fate_volume_mm3(history, 1, Fate.SPLIT) == 0


def test_the_latest_visit_wins_in_the_combined_image() -> None:
    history = follow(mask(A, FAR), mask(BRIDGE, B), mask(A_GROWN), rules=Rules(link_touching=False))
    combined = latest_wins(history.labels)
    assert combined.dtype == np.uint16
    assert combined[2, 2, 5] == history.labels[2][2, 2, 5] > 0
    assert combined[2, 7, 2] == history.labels[1][2, 7, 2] > 0
    assert set(np.unique(combined)) == {0, *(t.id for t in history.tracks)}


def test_new_and_resolved_masks_join_the_visits_that_they_speak_of() -> None:
    visits = [VisitMaps(mask(A)), VisitMaps(mask(A), new_mask=mask(FAR), resolved_mask=mask(B))]
    first, second = tracking_masks(visits)
    np.testing.assert_array_equal(first, mask(A, B))
    np.testing.assert_array_equal(second, mask(A, FAR))
    history = track(visits, SPACING_MM, RULES)
    assert fates(history) == {1: ["baseline", "stable"], 2: ["baseline", "resolved"], 3: ["-", "new"]}
    shares = [(t.sightings[-1].overlap_with_new, t.sightings[-1].overlap_with_resolved) for t in history.tracks]
    np.testing.assert_array_equal(shares, [(0, 0), (np.nan, 1), (1, np.nan)])


def test_what_is_new_beside_an_old_lesion_enlarges_it() -> None:
    rim = (slice(1, 4), slice(1, 4), slice(4, 10))  # 54 voxels that touch A
    history = track([VisitMaps(mask(A)), VisitMaps(mask(A), new_mask=mask(rim))], SPACING_MM, RULES)
    assert fates(history) == {1: ["baseline", "enlarging"]}
    assert history.tracks[0].sightings[1].overlap_with_new == pytest.approx(54 / 81)


def test_what_the_baseline_shows_already_is_not_new() -> None:
    history = track([VisitMaps(mask(A)), VisitMaps(mask(), new_mask=mask(A))], SPACING_MM, RULES)
    assert fates(history) == {1: ["baseline", "stable"]}
    assert history.tracks[0].sightings[1].overlap_with_new == 1


def test_probabilities_are_read_inside_the_lesion_of_that_visit() -> None:
    p = np.full(mask().shape, 0.9, np.float32)
    p[A] = 0.25
    p[1, 1, 1] = 0.52
    history = track([VisitMaps(mask(A), all_probability=p), VisitMaps(mask(A, FAR), new_probability=p)], SPACING_MM, RULES)
    first, second = history.tracks[0].sightings
    assert first.mean_probability == pytest.approx(0.26)
    assert first.max_probability == pytest.approx(0.52)
    assert math.isnan(first.new_probability_max)
    assert math.isnan(second.max_probability)
    assert second.new_probability_max == pytest.approx(0.52)
    assert history.tracks[1].sightings[0].new_probability_max == pytest.approx(0.9)


def test_shapes_that_differ_and_no_visit_are_refused() -> None:
    with pytest.raises(GridMismatch, match=r"visit 1: expected mask of shape \(10, 20, 30\); got \(2, 3, 4\)"):
        track([VisitMaps(mask()), VisitMaps(np.zeros((2, 3, 4), bool))], SPACING_MM)
    with pytest.raises(ValueError, match="at least one visit"):
        track([], SPACING_MM)


def test_more_lesions_than_a_dseg_can_number_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LESIONS", 2)
    with pytest.raises(CoactSegError, match="more than 2 lesions"):
        follow(mask(A, B), mask(FAR))
