from dataclasses import replace

import numpy as np
import pytest

from coactseg_cli.sampling.lesion_library import PAD, Library, RealLesion, collect
from coactseg_cli.sampling.lesion_shapes import (
    CONTRAST_RANGE,
    TEXTURE_SD,
    TEXTURED_BONUS,
    Look,
    draw_look,
    ellipsoid,
    lesser,
    made_up_texture,
    soften,
    vary,
    zoom,
)
from tests.coactseg_cli.sampling.conftest import ball


def padded(radius):
    edge = 2 * (radius + PAD) + 1
    return ball((radius + PAD,) * 3, radius, (edge, edge, edge))


def test_ellipsoid_volume_follows_its_radii():
    rng = np.random.default_rng(0)
    volume = np.mean([ellipsoid(rng, np.array([3.0, 4.0, 5.0])).sum() for _ in range(10)])
    assert volume == pytest.approx(4 / 3 * np.pi * 60, rel=0.3)


def test_the_smallest_ellipsoid_is_one_voxel():
    assert ellipsoid(np.random.default_rng(0), np.full(3, 0.1)).sum() >= 1


def test_softening_is_half_at_a_flat_border():
    half = np.zeros((11, 11, 11), bool)
    half[:5] = True
    weights = soften(half, 0.5)[:, 5, 5]
    assert weights[4] + weights[5] == pytest.approx(1.0, abs=1e-3)
    assert weights[5] == pytest.approx(np.exp(-2.0) / (1 + 2 * np.exp(-2.0) + 2 * np.exp(-8.0)), abs=1e-3)


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.5])
def test_zoom_scales_the_volume_by_the_cube(factor):
    assert zoom(padded(6), factor).sum() == pytest.approx(padded(6).sum() * factor**3, rel=0.15)


def test_zoom_never_loses_a_lesion():
    assert zoom(padded(0), 0.3).any()


def test_a_lesser_look_is_smaller_weaker_and_in_the_same_place():
    look = Look(padded(5), soften(padded(5), 0.5), np.full(padded(5).shape, 2.0, np.float32), real_texture=False)
    less = lesser(look, 0.6, 0.5)
    assert less.mask.sum() == pytest.approx(look.mask.sum() * 0.6**3, rel=0.25)
    np.testing.assert_allclose(np.argwhere(less.mask).mean(axis=0), np.argwhere(look.mask).mean(axis=0), atol=0.2)
    assert (look.mask | ~less.mask).all()
    assert less.excess.max() == pytest.approx(1.0)


def test_the_lesser_look_of_one_voxel_is_that_voxel():
    look = Look(padded(0), soften(padded(0), 0.5), np.ones(padded(0).shape, np.float32), real_texture=False)
    assert np.array_equal(lesser(look, 0.5, 1.0).mask, padded(0))


def contrasts(radius):
    looks = [made_up_texture(np.random.default_rng(s), padded(radius)) for s in range(200)]
    return [float((le.excess * le.weights)[le.mask].mean()) for le in looks]


def test_made_up_contrast_grows_with_size_and_stays_in_range():
    """What is painted counts, border included: 0.44 * voxels ** 0.19 for balls of 7 and 925 voxels."""
    small, large = contrasts(1), contrasts(6)
    assert np.median(small) == pytest.approx(0.44 * 7**0.19, rel=0.12)
    assert np.median(large) == pytest.approx(0.44 * 925**0.19, rel=0.12)
    assert CONTRAST_RANGE[0] * 0.9 < min(small) < max(large) < CONTRAST_RANGE[1] * 1.1


def test_made_up_texture_varies_within_the_lesion():
    look = made_up_texture(np.random.default_rng(0), padded(5))
    assert look.excess.std() / look.excess[look.mask].mean() == pytest.approx(TEXTURE_SD, rel=0.1)
    assert not look.real_texture


def test_real_texture_is_kept():
    """A lesion whose excess is a ramp stays one, in whatever direction it is turned."""
    ramp = np.broadcast_to(np.linspace(1, 2, padded(4).shape[0], dtype=np.float32)[:, None, None], padded(4).shape)
    look = vary(np.random.default_rng(0), RealLesion(padded(4), (0.2, 0.5, 0.5), ramp.copy()), mirrored=False)
    assert look.real_texture
    assert look.excess.shape == look.mask.shape == look.weights.shape
    assert look.excess.max() / look.excess.min() == pytest.approx(2.0, rel=0.1)


def test_the_mirror_image_runs_the_other_way(monkeypatch):
    monkeypatch.setattr("coactseg_cli.sampling.lesion_shapes.FREE_TURN_SHARE", 0.0)
    mask = padded(4) & (np.arange(padded(4).shape[0]) >= 7)[:, None, None]
    here, there = (vary(np.random.default_rng(0), RealLesion(mask), mirrored=m).mask for m in (False, True))
    assert np.array_equal(here, there[::-1])
    assert not np.array_equal(here, there)


def test_an_empty_library_gives_ellipsoids():
    assert draw_look(np.random.default_rng(0), Library(), None).mask.any()


def test_lesions_of_about_the_same_place_are_taken(monkeypatch):
    monkeypatch.setattr("coactseg_cli.sampling.lesion_shapes.MADE_UP_SHARE", 0.0)
    library = collect([RealLesion(padded(2), (0.3, 0.5, 0.5)), RealLesion(padded(5), (0.3, 0.9, 0.2))])
    rng = np.random.default_rng(0)
    near, mirrored = ([draw_look(rng, library, np.array(p)).mask.sum() for _ in range(40)] for p in ((0.3, 0.5, 0.5), (0.7, 0.9, 0.2)))
    assert np.median(near) < 80
    assert np.median(mirrored) > 250


def test_larger_lesions_are_drawn_more_often(monkeypatch):
    monkeypatch.setattr("coactseg_cli.sampling.lesion_shapes.MADE_UP_SHARE", 0.0)
    library = collect([RealLesion(padded(1)), RealLesion(padded(5))])
    rng = np.random.default_rng(0)
    large = np.mean([draw_look(rng, library, None).mask.sum() > 100 for _ in range(300)])
    assert large == pytest.approx(515**0.25 / (515**0.25 + 7**0.25), abs=0.08)


def test_lesions_with_a_texture_are_drawn_more_often(monkeypatch):
    monkeypatch.setattr("coactseg_cli.sampling.lesion_shapes.MADE_UP_SHARE", 0.0)
    library = collect([RealLesion(padded(2)), RealLesion(padded(2), excess=np.ones(padded(2).shape, np.float32))])
    rng = np.random.default_rng(0)
    textured = np.mean([draw_look(rng, library, None).real_texture for _ in range(300)])
    assert textured == pytest.approx(TEXTURED_BONUS / (TEXTURED_BONUS + 1), abs=0.06)


def test_equal_generators_draw_equal_looks(library):
    first, again = (draw_look(np.random.default_rng(5), library, np.array([0.5, 0.5, 0.5])) for _ in range(2))
    assert np.array_equal(first.excess, again.excess)
    assert np.array_equal(replace(first).mask, again.mask)
