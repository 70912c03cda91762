import numpy as np
import pytest

from coactseg_cli.sampling.patches import BrainBox, Case, box_of, cut, cut_array, draw_centre, foreground
from coactseg_cli.targets import IGNORE

RAMP = np.arange(10 * 20 * 30, dtype=np.float32).reshape(10, 20, 30)


def test_box_inside_is_a_plain_slice():
    assert np.array_equal(cut_array(RAMP, np.array([5, 10, 15]), (4, 6, 8)), RAMP[3:7, 7:13, 11:19])


@pytest.mark.parametrize(
    ("centre", "part", "source"), [((0, 10, 15), np.s_[2:], np.s_[0:2, 7:13, 11:19]), ((9, 10, 15), np.s_[:3], np.s_[7:10, 7:13, 11:19])]
)
def test_what_lies_outside_is_filled(centre, part, source):
    out = cut_array(RAMP, np.array(centre), (4, 6, 8), fill=-7)
    assert np.array_equal(out[part], RAMP[source])
    assert (out == -7).sum() == out.size - out[part].size


def test_a_box_that_misses_the_volume_is_all_fill():
    assert (cut_array(RAMP, np.array([100, 0, 0]), (4, 4, 4), 9) == 9).all()


def test_labels_outside_the_volume_are_unknown_and_absent_labels_stay_absent(single):
    patch = cut(single, np.array([0, 18, 21]), (16, 16, 16))
    assert (patch.all_baseline[:8] == IGNORE).all()
    assert patch.new is None
    assert patch.followup is patch.baseline


def test_a_single_scan_teaches_both_all_lesion_heads(single):
    patch = cut(single, np.array([15, 18, 21]), (16, 16, 16))
    assert np.array_equal(patch.all_baseline, patch.all_followup)
    assert not patch.is_pair


def test_a_pair_without_all_lesion_labels_teaches_new_lesions_only(pair):
    patch = cut(pair, np.array([10, 10, 10]), (16, 16, 16))
    assert patch.all_baseline is None
    assert patch.all_followup is None
    assert patch.new.sum() == 33
    assert patch.is_pair


def test_new_lesions_lead_where_there_are_any(pair, single):
    assert len(foreground(pair)) == 33
    assert len(foreground(single)) == single.all_baseline.sum()


def test_centres_lie_within_the_shift_of_a_lesion(single):
    rng, lesion = np.random.default_rng(0), np.array([[15, 18, 21]])
    centres = np.array([draw_centre(rng, lesion, np.empty((0, 3)), 10) for _ in range(300)])
    assert np.abs(centres - lesion).max() == 10
    assert len(np.unique(centres, axis=0)) > 200


def test_without_lesions_centres_are_brain_voxels():
    brain = np.array([[1, 2, 3]])
    assert draw_centre(np.random.default_rng(0), np.empty((0, 3), int), brain, 10).tolist() == [1, 2, 3]


def test_box_of_a_brain_by_hand():
    mask = np.zeros((10, 20, 30), bool)
    mask[2:5, 7, 11:29] = True
    assert box_of(mask) == BrainBox((2, 7, 11), (3, 1, 18))


def test_an_empty_brain_fills_its_volume():
    assert box_of(np.zeros((4, 5, 6), bool)) == BrainBox((0, 0, 0), (4, 5, 6))


def test_place_is_a_fraction_of_the_brain_box(single):
    """The brain is 2 to 28, 2 to 34, 2 to 40: 26 x 32 x 38 voxels; a patch of 13 x 16 x 19 that begins at its middle."""
    place = cut(single, np.array([15 + 6, 18 + 8, 21 + 9]), (13, 16, 19)).place
    assert place.origin == pytest.approx((0.5, 0.5, 0.5))
    assert place.extent == pytest.approx((0.5, 0.5, 0.5))


def test_a_patch_at_the_border_lies_outside_the_box(single):
    place = cut(single, np.array([2, 18, 21]), (26, 32, 38)).place
    assert place.origin == pytest.approx((-0.5, 0.0, 0.0))


def test_memory_mapped_cases_give_the_same_patch(tmp_path, single):
    def mapped(name, array):
        np.save(tmp_path / name, array)
        return np.load(tmp_path / name, mmap_mode="r")

    case = Case(
        single.name,
        mapped("image.npy", single.baseline),
        mapped("brain.npy", single.brain),
        (1.0, 1.0, 1.0),
        all_baseline=mapped("all.npy", single.all_baseline),
    )
    here, there = (cut(c, np.array([3, 18, 21]), (16, 16, 16)) for c in (single, case))
    assert not isinstance(there.baseline, np.memmap)
    assert np.array_equal(here.baseline, there.baseline)
    assert np.array_equal(here.all_baseline, there.all_baseline)
    assert here.place == there.place
    assert len(foreground(case)) == len(foreground(single))
