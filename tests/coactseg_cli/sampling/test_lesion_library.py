import numpy as np
import pytest

from coactseg_cli.sampling.lesion_library import (
    GRID,
    MASKS_FOR_PLACE,
    PAD,
    Library,
    RealLesion,
    collect,
    density_at,
    density_of,
    harvest,
    middle,
)
from coactseg_cli.sampling.patches import Case
from coactseg_cli.targets import IGNORE
from tests.coactseg_cli.sampling.conftest import ball

SHAPE = (30, 36, 42)


def test_a_labelled_scan_gives_shape_place_and_texture(single):
    """The lesion: radius 3 at (15, 18, 21), 3 above tissue of 0; the brain: 26 x 32 x 38 voxels from 2."""
    (lesion,) = harvest([single], []).lesions
    assert lesion.mask.shape == (7 + 2 * PAD,) * 3
    assert np.array_equal(lesion.mask, ball((6, 6, 6), 3, (13, 13, 13)))
    assert lesion.place == pytest.approx((13.5 / 26, 16.5 / 32, 19.5 / 38))
    assert lesion.excess[lesion.mask].mean() == pytest.approx(3.0, abs=0.1)
    assert lesion.excess[:2].mean() == pytest.approx(0.0, abs=0.1)


def test_the_excess_holds_the_scans_own_voxels(single):
    (lesion,) = harvest([single], []).lesions
    real = single.baseline[9:22, 12:25, 15:28]
    assert np.ptp(real - lesion.excess) < 1e-5


def test_a_pair_gives_its_new_lesions_as_the_follow_up_shows_them(pair):
    (lesion,) = harvest([pair], []).lesions
    assert lesion.voxels == 33
    assert lesion.excess[lesion.mask].mean() == pytest.approx(3.0, abs=0.2)


def test_a_pair_with_all_lesion_labels_gives_each_visit(pair):
    early, late = ball((20, 25, 30), 1), ball((20, 25, 30), 2)
    image = pair.baseline + 2.0 * early
    case = Case("sub-3", image, pair.brain, (1.0, 1.0, 1.0), pair.followup + 2.0 * late, early.astype(np.int8), late.astype(np.int8))
    assert sorted(le.voxels for le in harvest([case], []).lesions) == [7, 33]


def test_a_visit_that_comes_alone_and_in_a_pair_counts_once(single):
    twice = Case("sub-1_pair", single.baseline, single.brain, (1.0, 1.0, 1.0), single.baseline, all_baseline=single.all_baseline)
    assert len(harvest([single, twice], []).lesions) == 1


def test_a_lesion_no_brighter_than_its_surroundings_has_no_texture(single):
    dark = Case("sub-1", single.baseline * 0.0, single.brain, (1.0, 1.0, 1.0), all_baseline=single.all_baseline)
    (lesion,) = harvest([dark], []).lesions
    assert lesion.excess is None
    assert lesion.voxels == 123


def test_ignored_voxels_are_no_tissue_and_no_lesion(single):
    """What surrounds the lesion is not labelled: its contrast is unknown."""
    target = np.where(single.all_baseline == 1, 1, IGNORE).astype(np.int8)
    (lesion,) = harvest([Case("sub-1", single.baseline, single.brain, (1.0, 1.0, 1.0), all_baseline=target)], []).lesions
    assert lesion.excess is None


def test_tiny_and_huge_components_are_left_out():
    masks = [ball((15, 18, 21), 0), ball((15, 18, 21), 13), ball((15, 18, 21), 2)]
    assert [le.voxels for le in harvest([], masks).lesions] == [33]


def test_a_lesion_at_the_border_of_the_volume_keeps_its_box():
    (lesion,) = harvest([], [ball((0, 18, 41), 2)]).lesions
    assert lesion.mask.shape == (3 + 2 * PAD, 5 + 2 * PAD, 3 + 2 * PAD)
    assert not lesion.mask[:PAD].any()


def test_few_masks_know_no_place():
    assert harvest([], [ball((15, 18, 21), 2)]).lesions[0].place is None
    assert harvest([], [ball((15, 18, 21), 2)]).density is None


def test_many_masks_on_one_grid_lie_in_their_common_box():
    """Lesions of radius 1 at the corners (2, 2, 2) and (22, 32, 38) span 23 x 33 x 39 voxels from 1."""
    masks = [ball((2, 2, 2), 1)] * (MASKS_FOR_PLACE - 1) + [ball((22, 32, 38), 1)]
    places = {tuple(np.round(le.place, 4)) for le in harvest([], masks).lesions}
    assert places == {tuple(np.round((1.5 / 23, 1.5 / 33, 1.5 / 39), 4)), tuple(np.round((21.5 / 23, 31.5 / 33, 37.5 / 39), 4))}


def test_masks_on_several_grids_know_no_place():
    masks = [ball((15, 18, 21), 2)] * MASKS_FOR_PLACE + [ball((5, 5, 5), 2, (12, 12, 12))]
    assert harvest([], masks).density is None


def test_masks_are_resampled_to_the_spacing_of_the_cases(single):
    """A ball of radius 4 at 1 mm has 257 voxels; in voxels of 2 mm an eighth of that."""
    coarse = Case("sub-1", single.baseline, single.brain, (2.0, 2.0, 2.0))
    (lesion,) = harvest([coarse], [ball((15, 18, 21), 4)]).lesions
    assert lesion.voxels == pytest.approx(257 / 8, rel=0.25)


def test_a_lesion_smaller_than_a_coarse_voxel_is_kept_as_one(single):
    coarse = Case("sub-1", single.baseline, single.brain, (4.0, 4.0, 4.0))
    assert [le.voxels for le in harvest([coarse], [ball((15, 18, 21), 1)]).lesions] == [1]


def test_nothing_gives_an_empty_library():
    assert harvest([], []).lesions == ()
    assert density_at(Library(), np.zeros((3, 3))).tolist() == [1, 1, 1]


def test_the_middle_of_a_ring_lies_in_the_ring():
    ring = ball((10, 10, 10), 6, (21, 21, 21)) & ~ball((10, 10, 10), 4, (21, 21, 21))
    assert ring[tuple(middle(ring))]
    assert middle(ball((4, 5, 6), 2, (12, 12, 12))).tolist() == [4, 5, 6]


def test_density_is_high_where_lesions_lie_on_either_side_and_low_elsewhere():
    library = collect([RealLesion(np.ones((2, 2, 2), bool), (0.2, 0.6, 0.7))] * 3)
    here, mirrored, elsewhere = density_at(library, np.array([[0.2, 0.6, 0.7], [0.8, 0.6, 0.7], [0.2, 0.1, 0.2]]))
    assert here == pytest.approx(mirrored, rel=1e-5)
    assert here > 100 * elsewhere > 0


def test_density_has_a_mean_of_about_one_and_takes_places_outside():
    density = density_of(np.random.default_rng(0).random((5000, 3)))
    assert density.shape == (GRID,) * 3
    assert density.mean() == pytest.approx(1.05, abs=0.01)
    assert np.isfinite(density_at(collect([RealLesion(np.ones((2, 2, 2), bool), (1.0, 0.0, 1.2))]), np.array([[-1.0, 2.0, 0.5]]))).all()
