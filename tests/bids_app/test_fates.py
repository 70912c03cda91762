"""Fates: one palette, and maps that know them."""

import numpy as np
import pytest

from bids_app.fates import FATES, LesionMap, look_of, rank_of


def test_the_palette_is_the_one_that_every_page_uses() -> None:
    assert {look.word: look.colour for look in FATES} == {
        "new": "#d7263d",
        "enlarging": "#f4a259",
        "resolved": "#2a9d5c",
        "shrinking": "#3d9be9",
        "merged": "#8e5bd0",
        "split": "#c95fa8",
        "stable": "#9aa5b1",
        "baseline": "#9aa5b1",
    }
    assert look_of("new").rgb == (215, 38, 61)
    assert len({look.sign for look in FATES}) == len(FATES)


def contrast(a: tuple[int, ...], b: tuple[int, ...]) -> float:
    """WCAG 2, relative luminance of sRGB."""

    def luminance(rgb: tuple[int, ...]) -> float:
        parts = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb]
        return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), parts, strict=True))

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("look", FATES, ids=lambda look: look.word)
def test_letters_on_a_fate_can_be_read(look: object) -> None:
    ink = tuple(int(look.ink[i : i + 2], 16) for i in (1, 3, 5))
    assert contrast(look.rgb, ink) > 4.5


def test_an_unknown_word_is_shown_as_it_is_and_comes_last() -> None:
    assert look_of("odd").word == "odd"
    assert rank_of("odd") == len(FATES)
    assert rank_of("new") == 0


def test_a_map_gives_masks_ranks_and_the_fates_that_are_there() -> None:
    labels = np.zeros((3, 4, 5), int)
    labels[0, 0, 0], labels[1, 1, 1], labels[2, 2, 2] = 1, 7, 9
    lesions = LesionMap(labels, {1: "stable", 7: "new", 200: "resolved"})  # 9 has no fate, 200 no voxel
    assert lesions.of("new").nonzero() == (1, 1, 1)
    assert lesions.of("resolved").sum() == 0
    assert [look.word for look in lesions.present] == ["new", "stable"]
    assert (lesions.ranks[0, 0, 0], lesions.ranks[1, 1, 1], lesions.ranks[2, 2, 2]) == (7, 1, 0)
    assert LesionMap(np.zeros((2, 2, 2), int), {}).ranks.sum() == 0
