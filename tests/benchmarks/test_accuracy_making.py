"""Shapes, contrast, scanner and pairs of the injection benchmark: volumes, places and fates are what was asked for."""

import ast
from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy import scanner as sc
from benchmarks.accuracy.backgrounds import require_1_mm, slices_of
from benchmarks.accuracy.contrast import Range, contrasts, draw_contrast, read_ranges, write_ranges
from benchmarks.accuracy.injection import Fate, grown, make_pair
from benchmarks.accuracy.shapes import Family, draw_shape, level_set
from coactseg_cli.components import label
from coactseg_cli.volumes import Volume
from tests.benchmarks.conftest import background


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("volume_mm3", [5.0, 40.0, 200.0])
def test_a_shape_has_its_volume_in_one_piece(family, volume_mm3):
    shape = draw_shape(np.random.default_rng(3), volume_mm3, family)
    assert shape.share.sum() == pytest.approx(volume_mm3, rel=0.05)
    assert label(shape.share > 0, 26)[1] == 1
    assert 0 <= shape.share.min() <= shape.share.max() <= 1
    again = draw_shape(np.random.default_rng(3), volume_mm3, family)
    assert np.array_equal(shape.share, again.share)


def test_a_finger_is_longest_along_its_axis():
    shape = draw_shape(np.random.default_rng(1), 200.0, Family.FINGER, np.array([0.0, 2.0, 0.0]))
    voxels = np.argwhere(shape.share > 0.5)
    spread = voxels.std(axis=0)
    assert spread[1] > 1.5 * max(spread[0], spread[2])


def test_a_level_set_holds_as_many_points_as_wanted():
    line = np.arange(11.0) - 5
    values = -np.abs(line[:, None, None]) + np.zeros((11, 1, 1))
    assert np.flatnonzero(level_set(values, 5)).tolist() == [3, 4, 5, 6, 7]


def test_contrast_is_inside_minus_the_tissue_around():
    image = np.full((20, 20, 20), 0.2)
    lesion = np.zeros(image.shape, bool)
    lesion[8:10, 8:11, 8:12] = True
    image[lesion] = 1.5
    (row,) = contrasts(image, lesion, ~lesion)
    assert row == (24, pytest.approx(1.3))
    assert list(contrasts(image, lesion, np.zeros_like(lesion))) == []


def test_ranges_survive_the_file_and_bound_what_is_drawn(tmp_path, ranges):
    write_ranges(tmp_path / "contrast.tsv", ranges)
    assert read_ranges(tmp_path / "contrast.tsv") == ranges
    rng = np.random.default_rng(0)
    two = (Range(3, 10, 1, 0.5, 0.6, 0.7), Range(10, 50, 1, 0.8, 0.9, 1.0))
    drawn = [draw_contrast(rng, two, 12.0) for _ in range(50)]
    assert 0.8 <= min(drawn) <= max(drawn) <= 1.0


def test_slices_average_their_voxels():
    assert sc.averaging(4, 2.0, 0.0).tolist() == [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]]
    moved = sc.averaging(4, 2.0, 0.5)  # the first slice reaches one voxel out of the volume
    assert moved.tolist() == [[1, 0, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0, 1]]


def plain(**changes):
    facts = {
        "shift_mm": np.zeros(3), "rotation_deg": np.zeros(3), "blur_mm": 0.0, "slice_axis": None, "thickness_mm": 1.0, "phase": 0.0,
        "bias": np.zeros((3, 3)), "noise": 0.0, "gamma": 1.0, "gain": 1.0, "seed": 0,
    }  # fmt: skip
    return sc.Scanner(**{**facts, **changes})


def test_thick_slices_of_a_ramp_come_back_as_the_ramp():
    ramp = np.broadcast_to(np.arange(40.0, dtype=np.float32)[:, None, None], (40, 3, 2))
    scanner = plain(slice_axis=0, thickness_mm=3.3, phase=0.4)
    back = sc.from_slices(sc.to_slices(ramp, scanner), scanner, ramp.shape)
    assert back.shape == ramp.shape
    assert np.abs(back - ramp)[6:-6].max() < 0.15


def test_a_shift_moves_by_millimetres_and_a_quarter_turn_turns():
    volume = np.zeros((9, 9, 9), np.float32)
    volume[4, 6, 4] = 1
    assert np.argwhere(sc.move(volume, plain(shift_mm=np.array([1.0, 0, 0])), order=1) > 0.5).tolist() == [[5, 6, 4]]
    assert np.abs(sc.rotation(np.array([0, 0, 90.0])) - [[0, -1, 0], [1, 0, 0], [0, 0, 1]]).max() < 1e-12


def test_a_plain_scanner_gives_the_z_score_and_gain_changes_nothing(made_head):
    image, brain = sc.render(made_head.image, made_head.brain, plain())
    values = made_head.image[made_head.brain]
    assert np.array_equal(brain, made_head.brain)
    assert np.abs(image[brain] - (values - values.mean()) / values.std()).max() < 1e-4
    assert np.abs(sc.render(made_head.image, made_head.brain, plain(gain=7.0))[0] - image).max() < 1e-4


def test_two_acquisitions_differ_and_one_is_repeatable(made_head):
    rng = np.random.default_rng(5)
    a, b = sc.draw_scanner(rng, None), sc.draw_scanner(rng, None)
    first, _ = sc.render(made_head.image, made_head.brain, a)
    assert np.array_equal(first, sc.render(made_head.image, made_head.brain, a)[0])
    assert np.abs(first - sc.render(made_head.image, made_head.brain, b)[0])[made_head.brain].mean() > 0.02
    assert {sc.draw_scanner(rng, 2).slice_axis for _ in range(30)} == {None, 2}


def test_a_moved_lesion_keeps_its_volume_in_one_piece():
    amount = np.zeros((3, 4, 5), np.float32)
    amount[1, 1, 1:4] = 0.5, 0.9, 0.3
    amount[2, 2, 2] = 0.8  # touches by an edge only
    assert np.argwhere(grown(amount, 2)).tolist() == [[1, 1, 1], [1, 1, 2]]
    assert grown(amount, 9).sum() == 3


@pytest.fixture(scope="module")
def pair(made_head, ranges):
    return make_pair(made_head, ranges, 4, with_lesions=True)


def test_each_fate_is_bright_where_it_should_be(pair):
    bright = {Fate.NEW: (False, True), Fate.STABLE: (True, True), Fate.RESOLVED: (True, False)}
    counted = 0
    for lesion in pair.lesions:
        if lesion.volume_mm3 < 30:
            continue
        here = pair.reference == lesion.number
        for image, wanted in zip((pair.baseline, pair.followup), bright[lesion.fate], strict=True):
            others = image[(pair.reference == 0) & pair.brain & (np.abs(image - np.median(image[pair.brain])) < 0.5)]
            assert bool(image[here].mean() - others.mean() > 0.4) is wanted, lesion
            counted += 1
    assert counted >= 8


def test_lesions_are_of_every_size_and_known_in_the_all_lesion_masks(pair):
    new = [lesion for lesion in pair.lesions if lesion.fate is Fate.NEW]
    assert len(new) == 8
    assert min(lesion.volume_mm3 for lesion in new) >= 3
    assert max(lesion.volume_mm3 for lesion in new) > 100
    for lesion in pair.lesions:
        here = pair.reference == lesion.number
        assert here.sum() == lesion.volume_mm3
        assert pair.all_baseline[here].any() == (lesion.fate is not Fate.NEW) or lesion.fate is Fate.NEW
        assert pair.all_followup[here].all() == (lesion.fate is not Fate.RESOLVED)
    assert not pair.all_baseline[np.isin(pair.reference, [lesion.number for lesion in new])].any()


def test_the_drawn_contrast_is_seen_in_the_finished_scan(pair, ranges):
    sd = pair.background.image[pair.background.brain].std()  # the finished scan is in units of it
    large = [lesion for lesion in pair.lesions if lesion.volume_mm3 >= 50]
    assert all(1.0 <= lesion.contrast <= 1.2 for lesion in pair.lesions)
    assert np.median([lesion.seen * sd / lesion.contrast for lesion in large]) == pytest.approx(1.0, abs=0.25)


@pytest.mark.slow
def test_the_same_number_is_the_same_pair_and_a_null_pair_has_no_lesion(made_head, ranges, pair):
    again = make_pair(made_head, ranges, 4, with_lesions=True)
    assert np.array_equal(again.followup, pair.followup)
    assert again.lesions == pair.lesions
    null = make_pair(made_head, ranges, 4, with_lesions=False)
    assert null.lesions == ()
    assert not null.reference.any()
    assert np.abs(null.followup - null.baseline)[null.brain].mean() > 0.02


@pytest.mark.slow
def test_nothing_is_painted_on_what_a_label_names(ranges):
    known = np.zeros((92, 88, 84), bool)
    known[:, :30] = True
    pair = make_pair(background(known=known), ranges, 1, with_lesions=True)
    assert pair.lesions
    assert not (pair.reference[:, :30] > 0).any()


def test_thick_slices_are_found_in_the_affine():
    reference = np.diag([1.0, 1.0, 1.0, 1.0])
    sagittal = np.array([[0, 0, 3.0, 0], [1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 0, 1]])  # the third array axis runs left to right
    assert slices_of(sagittal, reference) == (0, 3.0)
    assert slices_of(np.diag([1.0, 1.2, 1.0, 1.0]), reference) == (None, 1.2)
    with pytest.raises(SystemExit, match="expected voxels of 1 mm"):
        require_1_mm(Volume(np.zeros((4, 5, 6)), np.diag([2.0, 1, 1, 1])), Path("scan.nii.gz"))


def test_the_benchmark_shares_no_code_with_the_synthesis_of_training(project_root):
    for path in (project_root / "benchmarks" / "accuracy").glob("*.py"):
        imported = [n.module or "" for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom)]
        assert not [name for name in imported if name.startswith("coactseg_cli.sampling")], path
