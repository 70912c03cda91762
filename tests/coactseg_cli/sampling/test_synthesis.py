import numpy as np
import pytest

from coactseg_cli.sampling.patches import cut
from coactseg_cli.sampling.synthesis import (
    NEW,
    RESOLVED,
    STABLE,
    PaintedLesion,
    draw_shape,
    ellipsoid,
    erase,
    make_pair,
    paint,
    place,
    plausible_places,
    shapes_of,
)
from coactseg_cli.targets import IGNORE
from tests.coactseg_cli.sampling.conftest import ball

SIZE = (30, 36, 42)


def lesion(fate, centre=(8, 9, 10), contrast=2.0):
    weights = np.zeros((5, 5, 5), np.float32)
    weights[1:4, 1:4, 1:4] = 1.0
    return PaintedLesion(centre, weights, contrast, np.ones((5, 5, 5), np.float32), fate)


@pytest.fixture
def patch(single):
    return cut(single, np.array(SIZE) // 2, SIZE)


def with_lesions(monkeypatch, patch, lesions, seed=0):
    monkeypatch.setattr("coactseg_cli.sampling.synthesis.draw_lesions", lambda *_: lesions)
    return make_pair(patch, [], np.random.default_rng(seed))


def test_paint_lifts_the_intensity_where_the_mask_says():
    image, brain = np.zeros((10, 12, 14), np.float32), np.ones((10, 12, 14), bool)
    out, mask = paint(image, brain, lesion(NEW, (4, 5, 6)))
    assert mask.sum() == 27
    assert (out[mask] == 2.0).all()
    assert not out[~mask].any()
    assert not image.any()


def test_paint_is_cut_at_the_border_and_at_the_brain():
    image, brain = np.zeros((10, 12, 14), np.float32), np.ones((10, 12, 14), bool)
    brain[:, 1:] = False
    out, mask = paint(image, brain, lesion(NEW, (0, 0, 0)))
    assert mask.sum() == 2 * 1 * 2
    assert not out[~mask].any()


def test_place_by_hand():
    into, out_of = place((10, 12, 14), lesion(NEW, (0, 5, 13)))
    assert into == (slice(0, 3), slice(3, 8), slice(11, 14))
    assert out_of == (slice(2, 5), slice(0, 5), slice(0, 3))


@pytest.mark.parametrize(("fate", "at_baseline", "at_followup", "new"), [(NEW, 0, 1, 1), (RESOLVED, 1, 0, 0), (STABLE, 1, 1, 0)])
def test_targets_follow_the_fate(monkeypatch, patch, fate, at_baseline, at_followup, new):
    monkeypatch.setattr("coactseg_cli.sampling.synthesis._erase_some", lambda base, at, y, *_: (base, at, y))
    out = with_lesions(monkeypatch, patch, [lesion(fate)])
    here = (8, 9, 10)
    assert (out.all_baseline[here], out.all_followup[here], out.new[here]) == (at_baseline, at_followup, new)
    assert (out.baseline[here] > 1.0, out.followup[here] > 1.0) == (bool(at_baseline), bool(at_followup))
    assert out.is_pair


def test_what_was_not_painted_did_not_change(monkeypatch, patch):
    monkeypatch.setattr("coactseg_cli.sampling.synthesis._erase_some", lambda base, at, y, *_: (base, at, y))
    out = with_lesions(monkeypatch, patch, [])
    assert np.array_equal(out.baseline, out.followup)
    assert not out.new.any()
    assert np.array_equal(out.all_baseline, patch.all_baseline)


def test_an_unlabelled_scan_knows_dark_tissue_and_painted_lesions_only(monkeypatch, patch):
    image = patch.baseline.copy()
    image[20, 20, 20] = 1.5
    out = with_lesions(monkeypatch, patch.with_(baseline=image, followup=image, all_baseline=None, all_followup=None), [lesion(NEW)])
    assert out.all_followup[8, 9, 10] == 1
    assert out.all_followup[20, 20, 20] == IGNORE
    assert out.all_followup[4, 4, 4] == 0
    assert set(np.unique(out.new)) == {0, 1}


def test_a_real_pair_keeps_its_own_change_and_gains_the_painted(monkeypatch, pair):
    patch = cut(pair, np.array(SIZE) // 2, SIZE)
    out = with_lesions(monkeypatch, patch, [lesion(NEW, (22, 26, 30))])
    assert out.new[10, 10, 10] == 1
    assert out.new[22, 26, 30] == 1
    assert out.new.sum() == 33 + 27


def test_a_pair_without_new_lesion_label_stays_unknown_elsewhere(monkeypatch, pair):
    patch = cut(pair, np.array(SIZE) // 2, SIZE).with_(new=None)
    out = with_lesions(monkeypatch, patch, [lesion(NEW, (22, 26, 30))])
    assert out.new[22, 26, 30] == 1
    assert out.new[10, 10, 10] == IGNORE


def test_erased_lesion_is_new_and_looks_like_tissue(monkeypatch, patch):
    for seed in range(20):
        out = with_lesions(monkeypatch, patch, [], seed)
        if out.new.any():
            break
    inner = ball((15, 18, 21), 2)
    assert out.new[inner].all()
    assert not out.all_baseline[inner].any()
    assert out.all_followup[inner].all()
    assert np.abs(out.baseline[inner]).mean() < 0.6
    assert out.followup[inner].mean() > 2.5


def test_erase_leaves_the_rest_alone(single):
    mask = single.all_baseline == 1
    out = erase(single.baseline, mask, single.brain, np.random.default_rng(0))
    far = ~ball((15, 18, 21), 9)
    np.testing.assert_allclose(out[far], single.baseline[far], atol=1e-4)


def test_shapes_keep_their_size():
    mask = ball((15, 18, 21), 4) | ball((5, 5, 5), 2)
    sizes = sorted((s.weights >= 0.5).sum() for s in shapes_of(mask))
    assert sizes == pytest.approx([33, 257], abs=7)


def test_shapes_outside_the_limits_are_left_out():
    assert len(shapes_of(ball((15, 18, 21), 4) | ball((5, 5, 5), 2), max_voxels=100)) == 1


def test_ellipsoid_volume_follows_its_radii():
    rng = np.random.default_rng(0)
    volume = np.mean([(ellipsoid(rng, np.array([3.0, 4.0, 5.0])).weights >= 0.5).sum() for _ in range(10)])
    assert volume == pytest.approx(4 / 3 * np.pi * 60, rel=0.3)


def test_drawn_shapes_come_from_both_sources():
    rng = np.random.default_rng(0)
    real = shapes_of(ball((15, 18, 21), 9))
    sizes = [draw_shape(rng, real).weights.shape for _ in range(100)]
    assert sum(max(s) > 17 for s in sizes) > 20
    assert sum(max(s) <= 17 for s in sizes) > 20


def test_places_avoid_border_dark_tissue_and_known_lesions(patch):
    image = patch.baseline.copy()
    image[8, 8, 8] = -2.0
    places = plausible_places(patch.with_(baseline=image))
    assert not places[8, 8, 8]
    assert not places[:6].any()
    assert not places[15, 18, 21]
    assert places[8, 9, 30]
