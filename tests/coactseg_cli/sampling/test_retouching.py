import numpy as np
import pytest

from coactseg_cli.sampling.fates import Fate
from coactseg_cli.sampling.painting import grow
from coactseg_cli.sampling.patches import cut
from coactseg_cli.sampling.retouching import Retouch, core, draw_retouches, take_out, unlearn
from coactseg_cli.sampling.synthesis import known_targets
from coactseg_cli.targets import IGNORE
from tests.coactseg_cli.sampling.conftest import ball

SIZE = (30, 36, 42)
BOX = (slice(12, 19), slice(15, 22), slice(18, 25))
LESION, CORE = ball((3, 3, 3), 3, (7, 7, 7)), ball((3, 3, 3), 1, (7, 7, 7))
INNER, RIM = ball((15, 18, 21), 1, SIZE), ball((15, 18, 21), 3, SIZE) & ~ball((15, 18, 21), 2, SIZE)
ROLLS = np.array([[5, -4, 3], [-3, 4, 5]])


@pytest.fixture
def patch(single):
    return cut(single, np.array(SIZE) // 2, SIZE)


def retouch(fate, dimmed=0.5):
    kept = CORE if fate in (Fate.GROWN, Fate.FADED) else np.zeros_like(LESION)
    return Retouch(BOX, LESION, kept, dimmed if fate is Fate.FADED else 0.0, fate)


@pytest.mark.parametrize(
    ("fate", "inner", "rim"),
    [(Fate.NEW, (0, 3), (0, 3)), (Fate.RESOLVED, (3, 0), (3, 0)), (Fate.GROWN, (3, 3), (0.3, 3)), (Fate.FADED, (3, 1.5), (3, 0.3))],
)
def test_each_fate_shows_what_it_says(patch, fate, inner, rim):
    """Mean intensities of the core and the rim at both visits; tissue is 0, the lesion 3."""
    images = take_out(patch, [retouch(fate)], (None, None), ROLLS)
    assert [i[INNER].mean() for i in images] == pytest.approx(list(inner), abs=0.7)
    assert [i[RIM].mean() for i in images] == pytest.approx(list(rim), abs=0.5)


@pytest.mark.parametrize(
    ("fate", "inner", "rim"),
    [
        (Fate.NEW, (0, 1, 1), (0, 1, 1)),
        (Fate.RESOLVED, (1, 0, 0), (1, 0, 0)),
        (Fate.GROWN, (1, 1, 0), (0, 1, IGNORE)),
        (Fate.FADED, (1, 1, 0), (1, 0, 0)),
    ],
)
def test_each_fate_teaches_what_it_shows(patch, fate, inner, rim):
    targets = known_targets(patch)
    unlearn(targets, retouch(fate), take_out(patch, [retouch(fate)], (None, None), ROLLS))
    assert [set(t[INNER].tolist()) for t in targets] == [{v} for v in inner]
    assert [set(t[RIM].tolist()) for t in targets] == [{v} for v in rim]
    assert not any(t[~ball((15, 18, 21), 3, SIZE)].any() for t in targets)


def test_the_visit_that_shows_more_stays_as_it_was(patch):
    images = take_out(patch, [retouch(Fate.NEW)], (None, None), ROLLS)
    assert np.array_equal(images[1], patch.followup)
    assert images[1] is not patch.followup


def test_a_neighbour_keeps_its_intensity(patch):
    """A labelled voxel three voxels beside the lesion is no halo of it."""
    target = patch.all_baseline.copy()
    target[20, 18, 21] = 1
    image = patch.baseline.copy()
    image[20, 18, 21] = 3.0
    labelled = patch.with_(baseline=image, followup=image, all_baseline=target, all_followup=target)
    assert take_out(labelled, [retouch(Fate.NEW)], (None, None), ROLLS)[0][20, 18, 21] > 2.0


def test_a_decoy_fills_in_healthy_tissue_at_its_visit_only(patch):
    decoy = ball((8, 9, 10), 2, SIZE)
    images = take_out(patch, [], (None, decoy), ROLLS)
    assert np.array_equal(images[0], patch.baseline)
    assert not np.array_equal(images[1][decoy], patch.followup[decoy])
    assert np.abs(images[1][decoy]).mean() < 0.4


def test_a_decoy_over_a_lesion_leaves_the_lesion(patch):
    images = take_out(patch, [], (ball((15, 18, 21), 5, SIZE), None), ROLLS)
    assert images[0][INNER].mean() == pytest.approx(3.0, abs=0.3)


def test_core_by_hand():
    """The ball of radius 3 without its outermost voxels; its middle alone; nothing of a sheet of one voxel."""
    outermost = LESION & grow(~np.pad(LESION, 1))[1:-1, 1:-1, 1:-1]
    assert np.array_equal(core(LESION, 0.0), LESION & ~outermost)
    assert core(LESION, 0.9).sum() == 1
    assert not core(np.ones((1, 5, 5), bool), 0.5).any()


def drawn(patch, **options):
    rng = np.random.default_rng(0)
    return [r for _ in range(60) for r in draw_retouches(rng, patch, changed=options.get("changed", True))]


def test_all_fates_but_stable_are_drawn(patch):
    assert {r.fate for r in drawn(patch)} == {Fate.NEW, Fate.RESOLVED, Fate.GROWN, Fate.FADED}


def test_a_large_lesion_is_never_taken_out_whole(patch, monkeypatch):
    monkeypatch.setattr("coactseg_cli.sampling.retouching.LARGEST_WHOLE", 100)
    assert {r.fate for r in drawn(patch)} == {Fate.GROWN, Fate.FADED}


def test_a_lesion_without_a_rim_is_taken_out_whole(patch):
    target = ball((15, 18, 21), 0, SIZE).astype(np.int8)
    assert {r.fate for r in drawn(patch.with_(all_baseline=target))} == {Fate.NEW, Fate.RESOLVED}


@pytest.mark.parametrize("changes", [{"is_pair": True}, {"all_baseline": None}])
def test_only_labelled_single_scans_are_retouched(patch, changes):
    assert drawn(patch)
    assert not drawn(patch.with_(**changes))


def test_a_null_pair_is_not_retouched(patch):
    assert not drawn(patch, changed=False)
