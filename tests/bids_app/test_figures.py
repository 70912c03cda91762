"""Pictures of arrays whose content is known, with three sizes and spacings."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from bids_app import figures
from bids_app.fates import LesionMap, look_of
from bids_app.figures import all_lesions, brain_outline, flicker, grey_window, mosaic, new_lesions, triptych
from bids_app.slices import brain_region, choose_slices, field_around, nearest_slice, spread, usual_views
from bids_app.tiles import GAP, Overlay, Picture, Plane, Scene, View, contour, cut, draw_tile, fit, plane_mm

SHAPE = (10, 20, 30)
SPACING = (3.0, 2.0, 1.0)
WHOLE = (slice(0, 10), slice(0, 20), slice(0, 30))


def decode(picture: Picture) -> np.ndarray:
    image = Image.open(io.BytesIO(picture.data))
    image.load()
    assert image.size == (picture.width, picture.height)
    assert picture.media_type == Image.MIME[image.format]
    return np.asarray(image.convert("RGB")).astype(int)


def near(pixels: np.ndarray, colour: tuple[int, int, int], tolerance: int = 60) -> np.ndarray:
    return (abs(pixels - np.array(colour)) <= tolerance).all(axis=-1)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).normal(50, 5, SHAPE)


# --- which slices -----------------------------------------------------------------------------------------------------------


def test_slices_cut_as_many_lesions_as_possible() -> None:
    lesions = np.zeros(SHAPE, bool)
    lesions[1, 1, 2:6] = True  # slices 2 to 5
    lesions[5, 5, 4:9] = True  # slices 4 to 8
    lesions[8, 15, 20] = True
    lesions[3, 15, 28] = True
    chosen, shown, total = choose_slices(lesions, None, 2)
    assert (shown, total) == (3, 4)
    assert chosen[0] in (4, 5)
    assert chosen[1] in (20, 28)
    chosen, shown, total = choose_slices(lesions, None, 6)
    assert (shown, total) == (4, 4)
    assert len(chosen) == len(set(chosen)) == 6
    assert {20, 28} <= set(chosen)


def test_among_slices_that_cut_as_many_lesions_the_largest_area_wins() -> None:
    lesions = np.zeros(SHAPE, bool)
    lesions[5, 5, 4:9] = True
    lesions[4:7, 4:7, 7] = True
    assert choose_slices(lesions, None, 1) == ((7,), 1, 1)


def test_without_lesions_the_slices_spread_through_the_brain() -> None:
    brain = np.zeros(SHAPE, bool)
    brain[2:8, 2:18, 6:18] = True
    chosen, shown, total = choose_slices(np.zeros(SHAPE, bool), brain, 4)
    assert (shown, total) == (0, 0)
    assert chosen == (6, 10, 13, 17)
    assert choose_slices(np.zeros(SHAPE, bool), np.zeros(SHAPE, bool), 2)[0] == (2, 27)


def test_more_slices_than_there_are_gives_each_once() -> None:
    assert choose_slices(np.zeros((4, 4, 3), bool), None, 12)[0] == (0, 1, 2)


def test_spread_leaves_the_ends_out_and_knows_empty_masks() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[:, 5:14, :] = True
    assert spread(mask, Plane.CORONAL, 3) == [7, 9, 11]
    assert spread(np.zeros(SHAPE, bool), Plane.AXIAL, 1) == [14]
    assert len(usual_views(np.zeros(SHAPE, bool))) == 6


def test_brain_region_adds_a_margin_in_mm_inside_the_array() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[4:6, 9:11, 10:20] = True
    assert brain_region(mask, mask, SPACING) == (slice(2, 8), slice(6, 14), slice(4, 26))
    assert brain_region(mask, None, SPACING) == WHOLE


def test_the_field_moves_inwards_at_the_border() -> None:
    assert field_around(SHAPE, (0, 19, 15), SPACING, 12.0) == (slice(0, 4), slice(14, 20), slice(9, 21))
    assert field_around(SHAPE, (5, 10, 15), SPACING, 1000.0) == WHOLE


def test_the_nearest_slice_with_lesion_in_the_field_is_taken() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[5, 10, [3, 25]] = True
    box = field_around(SHAPE, (5, 10, 15), SPACING, 12.0)
    assert nearest_slice(mask, box, 12.0) == 3
    assert nearest_slice(mask, box, 16.0) == 25
    assert nearest_slice(np.zeros(SHAPE, bool), box, 99.0) == 29


# --- one tile ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plane", "voxel", "row", "column"),
    [
        (Plane.AXIAL, (9, 19, 15), 0, 0),  # right and front: top left
        (Plane.AXIAL, (0, 0, 15), 19, 9),
        (Plane.CORONAL, (9, 10, 29), 0, 0),  # right and head: top left
        (Plane.SAGITTAL, (5, 19, 29), 0, 0),  # front and head: top left
        (Plane.SAGITTAL, (5, 0, 29), 0, 19),
    ],
)
def test_slices_are_shown_in_radiological_convention(plane: Plane, voxel: tuple[int, int, int], row: int, column: int) -> None:
    volume = np.zeros(SHAPE)
    volume[voxel] = 1
    shown = cut(volume, View(plane, voxel[plane]), WHOLE)
    assert np.argwhere(shown).tolist() == [[row, column]]


def test_a_tile_has_the_aspect_of_the_voxels(image: np.ndarray) -> None:
    scene = Scene(image, SPACING, (0, 100), WHOLE, 4.0)
    assert draw_tile(scene, View(Plane.AXIAL, 3)).size == (120, 160)  # 30 mm x 40 mm
    assert draw_tile(scene, View(Plane.CORONAL, 3)).size == (120, 120)  # 30 mm x 30 mm
    assert draw_tile(scene, View(Plane.SAGITTAL, 3)).size == (160, 120)  # 40 mm x 30 mm
    assert plane_mm(Plane.SAGITTAL, WHOLE, SPACING) == (40.0, 30.0)
    assert fit([Plane.AXIAL, Plane.AXIAL], WHOLE, SPACING, 120 + GAP) == pytest.approx(2.0)


def test_a_contour_runs_just_outside_the_voxels() -> None:
    mask = np.zeros((4, 5), bool)
    mask[1, 2] = True
    line = contour(mask, (50, 40), 1)  # 10 pixels per voxel
    inside = np.zeros((40, 50), bool)
    inside[10:20, 20:30] = True
    around = np.zeros((40, 50), bool)
    around[9:21, 19:31] = True
    np.testing.assert_array_equal(line, around & ~inside)
    np.testing.assert_array_equal(contour(mask, (50, 40), 3).nonzero()[0].min(), 7)
    assert not contour(np.zeros((4, 5), bool), (50, 40), 1).any()


def test_the_contour_lies_where_the_mask_is() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[7:9, 15:18, 4] = True
    scene = Scene(np.full(SHAPE, 50.0), (1.0, 1.0, 1.0), (0, 100), WHOLE, 20.0, (Overlay(mask, (255, 0, 0), "x"),))
    pixels = np.asarray(draw_tile(scene, View(Plane.AXIAL, 4))).astype(int)
    rows, columns = np.nonzero(near(pixels, (255, 0, 0), 5))
    assert (columns.min(), columns.max()) == (1 * 20 - 1, 3 * 20)  # x 7 and 8 are columns 1 and 2
    assert (rows.min(), rows.max()) == (2 * 20 - 1, 5 * 20)  # y 15 to 17 are rows 2 to 4
    assert tuple(pixels[70, 40]) == (128, 128, 128)  # the lesion itself is not painted over
    empty = np.asarray(draw_tile(scene, View(Plane.AXIAL, 5))).astype(int)
    assert not near(empty, (255, 0, 0), 5).any()


def test_the_window_maps_to_black_and_white_and_nan_does_not_break_it() -> None:
    volume = np.full(SHAPE, 20.0)
    volume[:5] = 80.0
    volume[0, 0, 0] = np.nan
    pixels = np.asarray(draw_tile(Scene(volume, (1.0, 1.0, 1.0), (20, 80), WHOLE, 10.0), View(Plane.AXIAL, 0)))
    assert tuple(pixels[30, 30]) == (0, 0, 0)  # x above 5: the left half
    assert tuple(pixels[30, 80]) == (255, 255, 255)


def test_both_sides_and_the_slice_are_written() -> None:
    blank = Scene(np.zeros(SHAPE), (1.0, 1.0, 1.0), (0, 1), WHOLE, 20.0, (), (0.0, 0.0, -7.0))
    pixels = np.asarray(draw_tile(blank, View(Plane.AXIAL, 4)).convert("L"))
    middle = slice(180, 220)
    assert pixels[middle, :25].max() == 255
    assert pixels[middle, -25:].max() == 255
    assert pixels[-25:, :60].max() == 255
    other = np.asarray(draw_tile(blank, View(Plane.AXIAL, 5)).convert("L"))
    assert (other != pixels).any()  # z -3 mm, z -2 mm


# --- whole pictures ---------------------------------------------------------------------------------------------------------


def test_grey_window_is_one_for_all_scans_and_ignores_what_lies_outside() -> None:
    a, b = np.zeros(SHAPE), np.full((5, 6, 7), 1000.0)
    inside = np.zeros(SHAPE, bool)
    inside[2:8] = True
    a[inside] = np.linspace(100, 200, inside.sum())
    mask_b = np.zeros((5, 6, 7), bool)
    lo, hi = grey_window([a, b], [inside, None])
    assert 100 < lo < 110
    assert hi == 1000
    lo, hi = grey_window([a, b], [inside, mask_b])  # an empty mask counts as none
    assert hi == 1000


@pytest.mark.parametrize("volume", [np.zeros(SHAPE), np.full(SHAPE, 7.0), np.full(SHAPE, np.nan)])
def test_grey_window_is_never_empty(volume: np.ndarray) -> None:
    lo, hi = grey_window([volume], [np.zeros(SHAPE, bool)])
    assert lo < hi
    assert grey_window([], []) == (0.0, 1.0)


def test_mosaic_shows_the_lesions_in_their_colours(image: np.ndarray) -> None:
    old, new = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    old[2:4, 4:8, 10:13] = True
    new[6:8, 12:15, 20:22] = True
    picture = mosaic(image, SPACING, (0, 200), [all_lesions(old), new_lesions(new)], width=800)
    pixels = decode(picture)
    assert near(pixels, figures.NEW_COLOUR).any()
    assert "1 of 1 new lesions" in picture.note
    assert [label for _, label in picture.legend] == ["lesions", "new lesions"]
    assert picture.legend[1][0] == "#d7263d"
    assert "patient's right on the left" in picture.alt
    assert abs(picture.width - 800) <= 4
    assert mosaic(image, SPACING, (0, 200), [all_lesions(old), new_lesions(new)], width=800).data == picture.data


def test_mosaic_without_lesions_says_so_by_silence(image: np.ndarray) -> None:
    picture = mosaic(image, SPACING, (0, 200), [all_lesions(np.zeros(SHAPE, bool))], width=400)
    assert picture.note == ""
    assert not near(decode(picture), figures.ALL_COLOUR).any()
    assert not mosaic(image, SPACING, (0, 200), width=400).legend


def test_mosaic_blackens_and_crops_outside_the_brain_and_can_outline_it(image: np.ndarray) -> None:
    brain = np.zeros(SHAPE, bool)
    brain[4:7, 8:12, 5:25] = True
    plain = decode(mosaic(image, SPACING, (0, 60), brain=brain, slices=[10], columns=1, width=210))
    # 6 mm of margin on every side: x from 2 to 8 (21 mm), y from 5 to 14 (20 mm)
    assert plain.shape[:2] == (200, 210)
    assert plain[30, 30].max() < 20
    assert plain[100, 105].min() > 150
    outlined = decode(mosaic(image, SPACING, (0, 60), brain=brain, outline=True, slices=[10], columns=1, width=210))
    assert near(outlined, figures.BRAIN_COLOUR).sum() > 100


@pytest.mark.parametrize("shape", [(10, 20, 30), (3, 2, 2), (30, 8, 3)])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 0.5, 6.0)])
def test_every_picture_survives_small_and_anisotropic_arrays(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> None:
    volume, empty = np.ones(shape), np.zeros(shape, bool)
    window = grey_window([volume], [empty])
    both = flicker(volume, volume, spacing, window, width=300)
    for picture in (
        mosaic(volume, spacing, window, [all_lesions(empty)], brain=empty, width=300),
        brain_outline(volume, empty, spacing, width=300),
        both.baseline,
        both.followup,
        triptych(volume, volume, new_lesions(empty), centre=(0, 0, 0), spacing_mm=spacing, window=window, width=300),
    ):
        assert decode(picture).size


def test_brain_outline_draws_three_planes_and_names_an_empty_mask(image: np.ndarray) -> None:
    mask = np.zeros(SHAPE, bool)
    mask[2:8, 4:16, 6:24] = True
    picture = brain_outline(image, mask, SPACING, columns=3, width=600)
    found = near(decode(picture), figures.BRAIN_COLOUR)
    for third in np.array_split(found, 3):
        assert third.any()
    assert picture.note == ""
    assert "empty" in brain_outline(image, np.zeros(SHAPE, bool), SPACING, width=300).note


def test_flicker_gives_two_pictures_of_one_size_that_differ_only_where_the_scans_do(image: np.ndarray) -> None:
    followup = image.copy()
    followup[4:6, 8:12, 12:18] += 100
    pair = flicker(image, followup, SPACING, (0, 200), [View(Plane.AXIAL, 15)], width=400)
    a, b = decode(pair.baseline), decode(pair.followup)
    assert a.shape == b.shape
    changed = abs(a - b).max(axis=-1) > 25
    rows = np.flatnonzero(changed[40:].any(axis=1)) + 40  # below the name in the corner
    assert 0.35 * a.shape[0] < rows.min() < rows.max() < 0.65 * a.shape[0]
    assert pair.baseline.alt.startswith("Baseline")
    assert pair.followup.alt.startswith("Follow-up")


def test_triptych_contours_the_follow_up_only_and_marks_the_place() -> None:
    shape = (60, 70, 40)
    baseline, new, old = np.full(shape, 50.0), np.zeros(shape, bool), np.zeros(shape, bool)
    new[28:32, 30:34, 10:12] = True
    old[40:44, 30:34, 10:12] = True
    followup = baseline + 100 * new
    place = {"centre": (29.5, 31.5, 11), "spacing_mm": (1.0,) * 3, "window": (0, 200), "width": 812, "name": "new-1"}
    picture = triptych(baseline, followup, new_lesions(new), (all_lesions(old),), **place)
    pixels = decode(picture)
    edge = (812 - 3 * GAP) // 4
    panels = [pixels[:, i * (edge + GAP) : i * (edge + GAP) + edge] for i in range(4)]
    reds = [near(panel, figures.NEW_COLOUR).sum() for panel in panels]
    assert reds[0] == reds[1] == 0
    assert reds[2] > 50
    assert reds[3] > 50
    assert near(panels[2], figures.ALL_COLOUR).sum() > 20
    middle = slice(edge // 2 - 3, edge // 2 + 3)
    assert panels[0][middle, middle].mean() < 80 < 180 < panels[1][middle, middle].mean()
    assert picture.alt.startswith("new-1: ")
    gone = decode(triptych(followup, baseline, figures.of_fate(new, "resolved"), on_baseline=True, **place))
    middle_panel = gone[:, 2 * (edge + GAP) : 2 * (edge + GAP) + edge]
    assert middle_panel[edge // 2, edge // 2].mean() > 180  # the baseline, where it was bright
    assert near(middle_panel, look_of("resolved").rgb).any()


def test_contours_by_fate_draw_what_matters_last_and_differ_without_colour() -> None:
    labels = np.zeros(SHAPE, int)
    labels[1, 1, 1], labels[4, 4, 4], labels[8, 8, 8], labels[9, 9, 9] = 1, 2, 3, 4
    overlays = figures.by_fate(LesionMap(labels, {1: "new", 2: "stable", 3: "resolved"}))  # 4 has no fate: not drawn
    assert [o.label for o in overlays] == ["stable lesions", "resolved lesions", "new lesions"]
    assert [int(o.mask.sum()) for o in overlays] == [1, 1, 1]
    assert len({(o.width, o.dotted) for o in overlays}) == 3


def test_the_guide_chooses_the_slices(image: np.ndarray) -> None:
    low, high = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    low[4, 4, 5], high[4, 4, 25] = True, True
    note = mosaic(image, SPACING, (0, 1), [new_lesions(high)], guide=Overlay(low | high, (1, 2, 3), "marks"), width=300).note
    assert note == "These slices cut 2 of 2 marks."


def test_arrays_of_different_shapes_are_refused(image: np.ndarray) -> None:
    other = np.zeros((10, 20, 31), bool)
    calls = [
        lambda: mosaic(image, SPACING, (0, 1), [all_lesions(other)]),
        lambda: mosaic(image, SPACING, (0, 1), brain=other),
        lambda: brain_outline(image, other, SPACING),
        lambda: flicker(image, other, SPACING, (0, 1)),
        lambda: triptych(image, image, new_lesions(other), centre=(0, 0, 0), spacing_mm=SPACING, window=(0, 1)),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"shape \(10, 20, 30\); got \(10, 20, 31\)"):
            call()


def test_a_dotted_contour_keeps_half_of_its_line_and_the_rest_shows_the_image() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[2:8, 5:15, 10:20] = True
    scene = Scene(np.zeros(SHAPE), SPACING, (0.0, 1.0), WHOLE, 8.0, (Overlay(mask, (255, 0, 0), "x", 2),))
    view = View(Plane.AXIAL, 15)
    red = [
        int((np.asarray(draw_tile(replace(scene, overlays=(replace(scene.overlays[0], dotted=dotted),)), view))[..., 0] == 255).sum())
        for dotted in (False, True)
    ]
    written = int((np.asarray(draw_tile(replace(scene, overlays=()), view))[..., 0] == 255).sum())  # R, L and the place
    assert 0.4 < (red[1] - written) / (red[0] - written) < 0.6
