from collections import Counter

import numpy as np
import pytest

from coactseg_cli.components import label
from coactseg_cli.sampling import synthesis
from coactseg_cli.sampling.fates import Fate
from coactseg_cli.sampling.lesion_library import Library, RealLesion, collect
from coactseg_cli.sampling.lesion_shapes import Look
from coactseg_cli.sampling.painted_lesions import PaintedLesion, put
from coactseg_cli.sampling.patches import Case, cut
from coactseg_cli.sampling.synthesis import describe, known_targets, make_pair, plausible_places
from coactseg_cli.targets import IGNORE
from tests.coactseg_cli.sampling.conftest import ball

SIZE = (30, 36, 42)
HERE, RIM = (22, 26, 30), (24, 26, 30)  # the middle of a painted lesion, and two voxels beside it
TARGETS = ("all_baseline", "all_followup", "new")


def look(radius, brightness):
    mask = ball((5, 5, 5), radius, (11, 11, 11))
    return Look(mask, mask.astype(np.float32), np.full(mask.shape, brightness, np.float32), real_texture=False)


def lesion(fate, centre=HERE):
    weaker = {Fate.GROWN: 1.5, Fate.FADED: 1.0}.get(fate)
    return PaintedLesion(np.array(centre), look(2, 2.0), None if weaker is None else look(1, weaker), fate)


@pytest.fixture
def patch(single):
    return cut(single, np.array(SIZE) // 2, SIZE)


@pytest.fixture
def painted(monkeypatch, library):
    """make_pair with these lesions and nothing else."""

    def make(patch, *lesions):
        monkeypatch.setattr(synthesis, "draw_lesions", lambda *_, **__: list(lesions))
        monkeypatch.setattr(synthesis, "draw_retouches", lambda *_, **__: [])
        monkeypatch.setattr(synthesis, "DECOY_SHARE", 0.0)
        return make_pair(patch, library, np.random.default_rng(0))

    return make


@pytest.mark.parametrize(
    ("fate", "middle", "rim"),
    [
        (Fate.NEW, (0, 1, 1), (0, 1, 1)),
        (Fate.RESOLVED, (1, 0, 0), (1, 0, 0)),
        (Fate.STABLE, (1, 1, 0), (1, 1, 0)),
        (Fate.GROWN, (1, 1, 0), (0, 1, IGNORE)),
        (Fate.FADED, (1, 1, 0), (1, 0, 0)),
    ],
)
def test_targets_and_images_follow_the_fate(painted, patch, fate, middle, rim):
    out = painted(patch, lesion(fate))
    assert tuple(getattr(out, t)[HERE] for t in TARGETS) == middle
    assert tuple(getattr(out, t)[RIM] for t in TARGETS) == rim
    for image, before, at_middle, at_rim in zip(
        (out.baseline, out.followup), (patch.baseline, patch.followup), middle[:2], rim[:2], strict=True
    ):
        assert (image[HERE] - before[HERE] > 0.9) == bool(at_middle)
        assert (image[RIM] - before[RIM] > 0.9) == bool(at_rim)
    assert out.is_pair


def test_a_grown_lesion_is_brighter_and_a_faded_one_weaker_at_the_follow_up(painted, patch):
    for fate, lift in ((Fate.GROWN, (1.5, 2.0)), (Fate.FADED, (2.0, 1.0))):
        out = painted(patch, lesion(fate))
        assert (out.baseline[HERE] - patch.baseline[HERE], out.followup[HERE] - patch.baseline[HERE]) == pytest.approx(lift, abs=1e-5)


def test_what_was_not_painted_did_not_change(painted, patch):
    out = painted(patch)
    assert np.array_equal(out.baseline, out.followup)
    assert np.array_equal(out.baseline, patch.baseline)
    assert not out.new.any()
    assert np.array_equal(out.all_baseline, patch.all_baseline)
    assert out.note == "nothing painted"


def test_a_labelled_single_scan_gives_complete_targets(patch, library):
    rng = np.random.default_rng(0)
    for _ in range(20):
        out = make_pair(patch, library, rng)
        assert not (out.all_baseline == IGNORE).any()
        assert not (out.all_followup == IGNORE).any()
        assert set(np.unique(out.new)) <= {0, 1, IGNORE}
        grown = out.note.count("grown")
        assert grown or not (out.new == IGNORE).any()


def test_an_unlabelled_scan_knows_dark_tissue_and_painted_lesions_only(painted, patch):
    image = patch.baseline.copy()
    image[20, 20, 20], image[21, 20, 20] = 1.5, 0.3
    out = painted(patch.with_(baseline=image, followup=image, all_baseline=None, all_followup=None), lesion(Fate.NEW))
    assert out.all_followup[HERE] == 1
    assert out.all_followup[20, 20, 20] == IGNORE
    assert out.all_followup[21, 20, 20] == 0
    assert set(np.unique(out.new)) == {0, 1}


def test_a_real_pair_keeps_its_own_change_and_gains_the_painted(painted, pair):
    out = painted(cut(pair, np.array(SIZE) // 2, SIZE), lesion(Fate.NEW))
    assert out.new[10, 10, 10] == 1
    assert out.new[HERE] == 1
    assert out.new.sum() == 33 + 33


def test_a_pair_without_new_lesion_label_knows_what_is_dark_at_the_follow_up(painted, pair):
    out = painted(cut(pair, np.array(SIZE) // 2, SIZE).with_(new=None), lesion(Fate.NEW))
    assert out.new[HERE] == 1
    assert out.new[10, 10, 10] == IGNORE
    assert out.new[5, 5, 30] == 0


def test_labels_outside_the_volume_stay_unknown(single, library):
    patch = cut(single, np.array([0, 18, 21]), SIZE)
    rng = np.random.default_rng(0)
    for _ in range(10):
        out = make_pair(patch, library, rng)
        assert (out.all_baseline[:15] == IGNORE).all()
        assert (out.all_followup[:15] == IGNORE).all()


def test_a_lesion_over_the_border_of_the_patch_is_cut(patch):
    images = [patch.baseline.copy(), patch.followup.copy()]
    targets = known_targets(patch)
    put(lesion(Fate.NEW, (29, 18, 21)), images, targets, np.ones(SIZE, bool))
    assert targets[2].sum() == ball((29, 18, 21), 2, SIZE).sum()


def test_equal_generators_make_equal_pairs_and_the_input_is_left_alone(patch, library):
    before = patch.baseline.copy()
    first, again, other = (make_pair(patch, library, np.random.default_rng(s)) for s in (7, 7, 8))
    for name in ("baseline", "followup", *TARGETS):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    assert first.note == again.note
    assert not np.array_equal(first.followup, other.followup)
    assert np.array_equal(patch.baseline, before)


def test_nothing_is_painted_outside_the_brain(patch, library):
    rng = np.random.default_rng(0)
    for _ in range(20):
        out = make_pair(patch, library, rng)
        for name in ("baseline", "followup", *TARGETS):
            assert not getattr(out, name)[~patch.brain].any()


def test_null_pairs_are_as_frequent_as_stated(patch, library):
    rng = np.random.default_rng(0)
    notes = [make_pair(patch, library, rng).note for _ in range(100)]
    null = [not any(f in n for f in ("new", "resolved", "grown", "faded")) for n in notes]
    assert 0.1 < np.mean(null) < 0.4  # NULL_SHARE, and pairs whose few lesions all happened to be stable


def test_every_fate_occurs_in_words(patch, library):
    rng = np.random.default_rng(0)
    notes = " ".join(make_pair(patch, library, rng).note for _ in range(60))
    assert all(f.value in notes for f in Fate)
    assert describe([Fate.NEW, Fate.FADED, Fate.NEW]) == "2 new, 1 faded"


def test_without_a_library_made_up_lesions_are_painted(patch):
    rng = np.random.default_rng(0)
    assert sum((make_pair(patch, Library(), rng).new == 1).any() for _ in range(20)) > 5


def test_an_empty_brain_gives_an_unchanged_pair(library):
    nothing = np.zeros((12, 14, 16), np.float32)
    patch = cut(Case("sub-0", nothing, nothing > 0, (1.0, 1.0, 1.0)), np.array([6, 7, 8]), (12, 14, 16))
    out = make_pair(patch, library, np.random.default_rng(0))
    assert not out.baseline.any()
    assert not out.new.any()
    assert out.note == "nothing painted"


def test_a_patch_outside_the_volume_gives_an_unchanged_pair(single, library):
    out = make_pair(cut(single, np.array([99, 99, 99]), (12, 14, 16)), library, np.random.default_rng(0))
    assert not out.new.any()
    assert (out.all_baseline == IGNORE).all()


def test_places_avoid_border_fluid_cortex_and_known_lesions(patch):
    image = patch.baseline.copy()
    image[10:13, 9:12, 9:12], image[10:13, 25:28, 25:28] = -2.5, 1.5
    places = plausible_places(patch.with_(baseline=image))
    assert not places[11, 10, 10]
    assert not places[11, 26, 26]
    assert not places[:8].any()
    assert not places[15, 18, 21]
    assert places[11, 18, 15]


def test_the_distance_from_the_border_is_in_millimetres(patch):
    thick = plausible_places(patch.with_(spacing_mm=(1.0, 1.0, 3.0)))
    assert not thick[:8].any()
    assert thick[..., 4:].any(axis=(0, 1))[0]
    assert not plausible_places(patch)[..., :8].any()


def test_lesions_are_painted_where_real_ones_lie(patch):
    """All lesions of the library lie low in the head; so do the painted ones, though tissue is plausible everywhere."""
    library = collect([RealLesion(np.pad(ball((1, 1, 1), 1, (3, 3, 3)), 3), (0.5, 0.5, 0.3))])
    rng = np.random.default_rng(0)
    lesions = synthesis.draw_lesions
    places = np.flatnonzero(plausible_places(patch))
    drawn = [le for _ in range(60) for le in lesions(rng, patch, library, places, changed=True)]
    free = [le for _ in range(60) for le in lesions(rng, patch.with_(place=None), library, places, changed=True)]
    assert np.mean([le.centre[2] for le in drawn]) == pytest.approx(2 + 0.3 * 38, abs=2.5)
    assert np.mean([le.centre[2] for le in free]) == pytest.approx(20.5, abs=2.5)


def test_the_number_of_lesions_is_limited(monkeypatch, patch, library):
    monkeypatch.setattr(synthesis, "MEAN_EXTRA", 50.0)
    places = np.flatnonzero(plausible_places(patch))
    assert len(synthesis.draw_lesions(np.random.default_rng(0), patch, library, places, changed=True)) == synthesis.MOST


def test_a_pair_with_change_has_at_least_one_lesion(monkeypatch, patch, library):
    monkeypatch.setattr(synthesis, "MEAN_EXTRA", 0.0)
    places = np.flatnonzero(plausible_places(patch))
    counts = Counter(
        len(synthesis.draw_lesions(np.random.default_rng(s), patch, library, places, changed=c)) for s in range(9) for c in (True,)
    )
    assert counts == {1: 9}
    assert not synthesis.draw_lesions(np.random.default_rng(0), patch, library, places, changed=False)


def test_decoys_change_an_image_and_no_target(monkeypatch, patch, library):
    monkeypatch.setattr(synthesis, "draw_lesions", lambda *_, **__: [])
    monkeypatch.setattr(synthesis, "draw_retouches", lambda *_, **__: [])
    monkeypatch.setattr(synthesis, "DECOY_SHARE", 1.0)
    pairs = [make_pair(patch, library, np.random.default_rng(s)) for s in range(8)]
    assert all(not np.array_equal(p.baseline, p.followup) for p in pairs)
    assert {np.array_equal(p.baseline, patch.baseline) for p in pairs} == {True, False}
    assert not any(p.new.any() for p in pairs)


def test_new_components_are_the_painted_ones(painted, patch):
    out = painted(patch, lesion(Fate.NEW), lesion(Fate.NEW, (8, 9, 10)), lesion(Fate.STABLE, (22, 9, 10)))
    assert label(out.new == 1)[1] == 2
    assert out.note == "2 new, 1 stable"
