import numpy as np
import pytest

from coactseg_cli.components import label
from coactseg_cli.sampling.fates import Fate
from coactseg_cli.sampling.lesion_library import Library, PatientLesions, harvest
from coactseg_cli.sampling.patches import BrainBox, Place, cut
from coactseg_cli.sampling.synthesis import make_pair
from coactseg_cli.sampling.transplants import carry, components, draw_transplant, load_single, room
from tests.coactseg_cli.sampling.conftest import SHAPE, ball

STILL = np.zeros(3)


def patient(mask):
    """A patient whose brain is the whole of the mask's grid."""
    x, y, z = mask.shape
    return PatientLesions(mask, BrainBox((0, 0, 0), (x, y, z)))


@pytest.fixture
def patch(single):
    """The whole scan; its brain begins at voxel 2 and its lesion lies at (15, 18, 21)."""
    return cut(single, np.array(SHAPE) // 2, SHAPE)


@pytest.fixture
def other():
    """Balls of radius 3 and 2 in a brain of 26 x 32 x 38 voxels, which is the size of the brain of `single`."""
    size = (26, 32, 38)
    return patient(ball((6, 8, 10), 3, size) | ball((6, 24, 30), 2, size))


def test_a_lesion_keeps_its_fraction_of_the_box():
    mask = np.zeros((10, 20, 40), bool)
    mask[2, 5, 30] = True  # fractions 0.25, 0.275, 0.7625
    whole = Place((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert np.argwhere(carry(patient(mask), whole, (10, 20, 40), move=STILL, mirrored=False)).tolist() == [[2, 5, 30]]
    assert np.argwhere(carry(patient(mask), whole, (10, 20, 40), move=STILL, mirrored=True)).tolist() == [[7, 5, 30]]
    moved = carry(patient(mask), whole, (10, 20, 40), move=np.array((0.1, -0.05, 0.025)), mirrored=False)
    assert np.argwhere(moved).tolist() == [[3, 4, 31]]
    part = Place((0.0, 0.25, 0.5), (0.5, 0.5, 0.5))  # voxels 0-4, 5-14, 20-39
    assert np.argwhere(carry(patient(mask), part, (5, 10, 20), move=STILL, mirrored=False)).tolist() == [[2, 0, 10]]


def test_another_brain_size_scales_the_lesion():
    mask = np.zeros((10, 10, 10), bool)
    mask[4:6, 4:6, 4:6] = True
    found = carry(patient(mask), Place((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), (20, 20, 20), move=STILL, mirrored=False)
    assert found.sum() == 4**3 - 8, "the eight corners are rounded off: 0.75 ** 3 is below a half"
    assert found[8:12, 9:11, 9:11].all()


def test_the_largest_parts_come_first_and_specks_do_not():
    mask = np.zeros((20, 22, 24), bool)
    mask[2, 2, 2:6], mask[10:13, 10:13, 10:13], mask[18, 20, 22] = True, True, True
    found = list(components(mask))
    assert [int(part.sum()) for _, part in found] == [27, 4]
    assert [tuple(corner) for corner, _ in found] == [(7, 7, 7), (-1, -1, -1)]


def test_there_is_no_room_in_a_lesion_in_fluid_or_at_the_border(patch):
    baseline = patch.baseline.copy()
    baseline[5:9, 5:9, 5:9] = -3.0
    free = room(patch.with_(baseline=baseline))
    assert not free[15, 18, 21]
    assert not free[6, 6, 6]
    assert not free[3].any()
    assert free[22, 26, 30]


def test_a_single_scan_shows_what_its_label_says(patch, other):
    out = load_single(patch, (other,), np.random.default_rng(1))
    added = (out.all_baseline == 1) & (patch.all_baseline != 1)
    assert added.sum() > 60
    assert (out.baseline - patch.baseline)[added].mean() > 0.3
    assert np.array_equal(out.baseline, out.followup)
    assert np.array_equal(out.all_baseline, out.all_followup)
    assert (patch.all_baseline == 1).sum() == ball((15, 18, 21), 3).sum(), "the patch given stays as it is"
    assert np.array_equal(out.baseline[~added & (patch.brain == 0)], patch.baseline[~added & (patch.brain == 0)])


def test_carried_lesions_are_stable_unless_the_pair_changes(patch, other):
    fates = [le.fate for seed in range(30) for le in draw_transplant(np.random.default_rng(seed), patch, (other,), changed=False)]
    assert len(fates) > 30
    assert set(fates) == {Fate.STABLE}
    fates = [le.fate for seed in range(60) for le in draw_transplant(np.random.default_rng(seed), patch, (other,), changed=True)]
    assert 0.5 < fates.count(Fate.STABLE) / len(fates) < 1.0


def test_all_lesions_of_a_patient_are_about_equally_bright(patch, other):
    """The balls have 123 and 33 voxels: the line for single lesions would make the larger one 1.3 times as bright on average."""
    found = [draw_transplant(np.random.default_rng(seed), patch, (other,), changed=False) for seed in range(200)]
    pairs = [[float((le.look.excess * le.look.weights)[le.look.mask].mean()) for le in lesions] for lesions in found if len(lesions) == 2]
    assert len(pairs) > 50
    large, small = np.log(np.array(pairs)).T
    assert abs((large - small).mean()) < 0.1
    assert np.corrcoef(large, small)[0, 1] > 0.5
    assert 0.8 < np.exp(large.mean()) < 1.3


def test_a_pair_shows_them_at_both_visits(patch, other):
    def painted(transplant):
        rng = np.random.default_rng(11)
        return make_pair(patch, Library(patients=(other,)), rng, transplant=transplant)

    plain, loaded = painted(False), painted(True)
    for name in ("all_baseline", "all_followup"):
        assert (getattr(loaded, name) == 1).sum() > (getattr(plain, name) == 1).sum() + 30


def test_without_a_known_place_nothing_is_carried(patch, other):
    assert draw_transplant(np.random.default_rng(0), patch.with_(place=None), (other,), changed=True) == []
    assert draw_transplant(np.random.default_rng(0), patch, (), changed=True) == []


def test_labelled_single_scans_and_masks_on_one_grid_are_patients(single, pair):
    masks = [ball((5 + i, 10, 12), 2, (20, 22, 24)) for i in range(10)]
    library = harvest([single, pair], masks)
    assert len(library.patients) == 11
    first, second = library.patients[:2]
    assert first.mask.shape == (7, 7, 7)
    assert np.array_equal(first.mask, ball((3, 3, 3), 3, (7, 7, 7)))
    assert first.box == BrainBox((2 - 12, 2 - 15, 2 - 18), (26, 32, 38))
    assert second.box == BrainBox((0, 0, 0), (14, 5, 5)), "the union of all masks stands for the brain"
    assert label(second.mask)[1] == 1
    assert harvest([], masks[:9]).patients == ()
