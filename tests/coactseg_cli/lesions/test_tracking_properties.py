"""What holds for any masks: a further visit changes no id, and reversed visits mirror every fate exactly."""

import math
from collections import Counter

import numpy as np
import pytest

from coactseg_cli.lesions.fates import MIRRORED, Rules
from coactseg_cli.lesions.history import History
from coactseg_cli.lesions.tracking import VisitMaps, keep_ids, track
from tests.coactseg_cli.lesions.made import blobs, maps

SPACING_MM = (1.0, 1.0, 1.5)
SEEDS = range(20)


def drawn(seed: int) -> tuple[list[np.ndarray], Rules]:
    rng = np.random.default_rng(seed)
    masks = blobs(rng, int(rng.integers(2, 6)))
    return masks, Rules(min_overlap=float(rng.choice([0, 0.1, 0.5])), link_touching=bool(rng.integers(2)), noise_mm3=3)


def told(history: History, visit: int) -> Counter:
    rows = [
        (s.fate, s.before_mm3, s.volume_mm3, s.change_mm3, s.overlap_with_resolved, s.overlap_with_new) for _, s in history.seen_at(visit)
    ]
    return Counter(tuple(_plain(x) for x in row) for row in rows)


def mirrored(history: History, visit: int) -> Counter:
    rows = [
        (MIRRORED[s.fate], s.volume_mm3, s.before_mm3, -s.change_mm3, s.overlap_with_new, s.overlap_with_resolved)
        for _, s in history.seen_at(visit)
    ]
    return Counter(tuple(_plain(x) for x in row) for row in rows)


def _plain(x):
    return None if isinstance(x, float) and math.isnan(x) else x


@pytest.mark.parametrize("seed", SEEDS)
def test_reversed_visits_mirror_every_fate_with_equal_volumes(seed: int) -> None:
    masks, rules = drawn(seed)
    forward, backward = track(maps(*masks), SPACING_MM, rules), track(maps(*masks[::-1]), SPACING_MM, rules)
    for visit in range(1, len(masks)):
        assert told(backward, len(masks) - visit) == mirrored(forward, visit)


@pytest.mark.parametrize("seed", SEEDS)
def test_swapped_visits_with_swapped_new_and_resolved_masks_mirror_every_fate(seed: int) -> None:
    rng = np.random.default_rng(seed)
    baseline, followup, new, resolved = blobs(rng, 4)
    forward = track([VisitMaps(baseline), VisitMaps(followup, new_mask=new, resolved_mask=resolved)], SPACING_MM)
    backward = track([VisitMaps(followup), VisitMaps(baseline, new_mask=resolved, resolved_mask=new)], SPACING_MM)
    assert told(backward, 1) == mirrored(forward, 1)


def test_the_random_masks_show_every_fate() -> None:
    seen = Counter(s.fate for seed in SEEDS for t in track(maps(*drawn(seed)[0]), SPACING_MM).tracks for s in t.sightings)
    assert min(seen[fate] for fate in MIRRORED) > 30


@pytest.mark.parametrize("seed", SEEDS)
def test_a_later_visit_changes_nothing_that_was_said(seed: int) -> None:
    masks, rules = drawn(seed)
    whole, before = track(maps(*masks), SPACING_MM, rules), track(maps(*masks[:-1]), SPACING_MM, rules)
    np.testing.assert_array_equal(whole.labels[:-1], before.labels)
    for visit in range(len(masks) - 1):
        assert repr(whole.seen_at(visit)) == repr(before.seen_at(visit))


@pytest.mark.parametrize("seed", SEEDS)
def test_an_earlier_visit_changes_no_id_of_an_existing_table(seed: int) -> None:
    masks, rules = drawn(seed)
    existing = track(maps(*masks[1:]), SPACING_MM, rules)
    whole = keep_ids(track(maps(*masks), SPACING_MM, rules), [None, *existing.labels], existing.used_ids)
    np.testing.assert_array_equal(whole.labels[1:], existing.labels)
    assert set(existing.used_ids) <= set(whole.used_ids)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_visit_in_the_middle_that_shows_what_the_next_shows_changes_no_id(seed: int) -> None:
    masks, rules = drawn(seed)
    existing = track(maps(*masks), SPACING_MM, rules)
    whole = track(maps(masks[0], masks[1], *masks[1:]), SPACING_MM, rules)
    kept = keep_ids(whole, [existing.labels[0], None, *existing.labels[1:]], existing.used_ids)
    np.testing.assert_array_equal([kept.labels[0], *kept.labels[2:]], existing.labels)
    np.testing.assert_array_equal(kept.labels[1], existing.labels[1])


@pytest.mark.parametrize("seed", SEEDS)
def test_any_visit_in_the_middle_reuses_no_id(seed: int) -> None:
    masks, rules = drawn(seed)
    masks = [*masks, *blobs(np.random.default_rng(seed + 1000), 1)]
    existing = track(maps(masks[0], *masks[2:]), SPACING_MM, rules)
    kept = keep_ids(track(maps(*masks), SPACING_MM, rules), [existing.labels[0], None, *existing.labels[1:]], existing.used_ids)
    shown = [kept.labels[0], *kept.labels[2:]]
    for number in (t.id for t in kept.tracks):
        if number in existing.used_ids:
            assert any(((now == number) & (old == number)).any() for now, old in zip(shown, existing.labels, strict=True))
    assert set(existing.used_ids) <= set(kept.used_ids)
    assert len({t.id for t in kept.tracks}) == len(kept.tracks)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_numbers_add_up_to_the_masks(seed: int) -> None:
    masks, rules = drawn(seed)
    history = track(maps(*masks), SPACING_MM, rules)
    for visit, drawn_mask in enumerate(masks):
        np.testing.assert_array_equal(history.labels[visit] > 0, drawn_mask)
        assert sum(s.volume_mm3 for _, s in history.seen_at(visit)) == pytest.approx(drawn_mask.sum() * 1.5)
        if visit:
            changes = [s.change_mm3 for _, s in history.seen_at(visit)]
            assert np.nansum(changes) == pytest.approx((drawn_mask.sum() - masks[visit - 1].sum()) * 1.5)
