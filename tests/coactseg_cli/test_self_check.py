"""The self-check with made-up networks whose answers are known."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import ndimage

from bids_app.cases import Pair
from bids_app.tables import read_table, write_table
from coactseg_cli import self_check as module
from coactseg_cli.lesions.injection import SIZES, draw_shape, place, truth
from coactseg_cli.metrics.proportions import wilson
from coactseg_cli.network.fast_vnet import Head
from coactseg_cli.self_check import COLUMNS, Check, CheckedVisit, KnownMaps, Row, SelfCheck, Thresholds, put, rescan, self_check
from coactseg_cli.volumes import Volume

LIMITS = Thresholds(all=0.5, new=0.5, min_lesion_mm3=3.0)
SHAPE = (50, 52, 48)


def visit(session: str | None, seed: int = 0, slice_mm: int = 1) -> CheckedVisit:
    """A ball of white matter with a little noise, one bright lesion of 4 x 4 x 4 mm, on slices of some thickness."""
    place_mm = np.stack(np.meshgrid(*[np.arange(n) - n / 2 for n in SHAPE], indexing="ij"))
    brain = np.linalg.norm(place_mm, axis=0) < 23
    image = np.where(brain, 0.2 + np.random.default_rng(seed).normal(0, 0.05, SHAPE), 0.0).astype(np.float32)
    image[24:28, 24:28, 22:26] += 2.0
    affine = np.diag([1.0, 1.0, float(slice_mm), 1.0])
    affine[2, 3] = (slice_mm - 1) / 2
    native = Volume(100 + 20 * ndimage.uniform_filter1d(image, slice_mm, axis=2)[:, :, slice_mm // 2 :: slice_mm], affine)
    return CheckedVisit(session, Volume(image, np.eye(4)), brain, native, brain[:, :, slice_mm // 2 :: slice_mm], np.eye(4))


class Difference:
    """A network that calls new what has become brighter by more than a limit, and lesion what is bright."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.passes = 0

    def run(self, baseline, followup, brain, heads):
        self.passes += 1
        smooth = [ndimage.gaussian_filter(v, 0.5) for v in (baseline, followup)]
        maps = {
            Head.NEW: np.where(smooth[1] - smooth[0] > self.limit, 0.9, 0.1),
            Head.ALL_FOLLOWUP: np.where(smooth[1] > 0.2 + self.limit, 0.9, 0.1),
        }
        return {h: (maps[h] * brain).astype(np.float32) for h in heads}


class Never:
    """A network that finds nothing."""

    def run(self, baseline, followup, brain, heads):
        return dict.fromkeys(heads, np.zeros(baseline.shape, np.float32))


@pytest.fixture(scope="module", autouse=True)
def few():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PER_CLASS", 4)
        patch.setattr(module, "PASSES", 2)
        yield


@pytest.fixture(scope="module")
def pair() -> tuple[CheckedVisit, CheckedVisit]:
    return visit("01", 0), visit("02", 1)


@pytest.fixture(scope="module")
def checked(pair) -> tuple[SelfCheck, int]:
    """The check of the pair by a network that sees differences, and its passes."""
    engine = Difference(0.3)
    return self_check(pair, engine, LIMITS, seed=1), engine.passes


def rows_of(check: Check, found: SelfCheck) -> list[Row]:
    return [r for r in found.rows if r.check is check]


def test_a_network_that_sees_every_difference_finds_what_was_put_in(checked):
    found, passes = checked
    sensitivity = rows_of(Check.NEW_SENSITIVITY, found)
    assert [r.size for r in sensitivity] == list(SIZES)
    assert all(r.found == r.injected > 0 for r in sensitivity[1:])
    assert [r.lesions for r in rows_of(Check.NULL_PAIR, found)] == [0, 0]
    assert passes == 2 + 2 + 2 + 2, "(x, x, 0) and a rescan of each visit, forward and reversed, two with lesions in"
    assert "from 10 mm3 on" in found.reading() or "from 3 mm3 on" in found.reading()
    assert found.reading().endswith("A floor, not a validation.")
    assert "\n" not in found.reading()


def test_a_network_that_finds_nothing_is_told_so(pair):
    found = self_check(pair, Never(), LIMITS, seed=1)
    assert all(r.found == 0 for r in rows_of(Check.NEW_SENSITIVITY, found))
    assert found.reading().startswith("No size of new lesions put into this scan is found 9 times in 10")


def test_another_seed_draws_otherwise(pair, checked):
    assert rescan(pair[0], np.random.default_rng(3)).tobytes() != rescan(pair[0], np.random.default_rng(4)).tobytes()
    assert checked[0].settings()["Seed"] == 1
    assert checked[0].settings()["Reading"] == checked[0].reading()


def test_maps_that_are_there_are_not_made_again_and_one_seed_gives_one_table(pair, checked):
    engine = Difference(0.3)
    known = module.maps_of(pair, [Pair(0, 1)], engine)
    engine.passes = 0
    assert self_check(pair, engine, LIMITS, 1, known=known) == checked[0]
    assert engine.passes == 2 + 2


def test_asymmetry_is_what_the_swapped_pair_shows_less(pair):
    """Two lesions of 27 mm3 new, one of 8 mm3 gone: one lesion and 46 mm3 more."""
    maps = {name: np.zeros(SHAPE, np.float32) for name in ("new", "gone", "none")}
    maps["new"][20:23, 16:19, 20:23] = maps["new"][30:33, 16:19, 20:23] = 0.8
    maps["gone"][20:22, 32:34, 30:32] = 0.8
    nothing = (maps["none"],) * 2
    known = KnownMaps(nothing, nothing, {Pair(0, 1): maps["new"]}, {Pair(0, 1): maps["gone"]})
    found = self_check(pair, Never(), LIMITS, known=known)
    for check, lesions, volume in ((Check.FORWARD, 2, 54.0), (Check.REVERSED, 1, 8.0), (Check.ASYMMETRY, 1, 46.0)):
        (row,) = rows_of(check, found)
        assert (row.lesions, row.volume_mm3, row.session, row.baseline) == (lesions, volume, "02", "01")


def test_what_is_called_new_on_a_rescan_is_counted(pair):
    found = self_check(pair, Difference(0.001), dataclasses.replace(LIMITS, min_lesion_mm3=0.0), seed=1)
    again = rows_of(Check.RESCAN, found)
    assert all(r.lesions > 0 for r in again)
    worst = max(again, key=lambda r: r.volume_mm3)
    assert f"copy {worst.lesions} false new lesion" in found.reading()
    assert f"({worst.volume_mm3:.0f} mm3)" in found.reading()


def test_one_visit_has_lesions_put_in_and_looked_for_among_all():
    found = self_check([visit(None)], Difference(0.3), LIMITS, seed=1)
    assert {r.check for r in found.rows} == {Check.NULL_PAIR, Check.RESCAN, Check.ALL_SENSITIVITY}
    assert all(r.found == r.injected for r in rows_of(Check.ALL_SENSITIVITY, found)[1:])


def test_a_rescan_differs_by_about_the_noise_of_two_scans(pair):
    copy = rescan(pair[0], np.random.default_rng(0))
    calm = ndimage.binary_erosion(pair[0].brain, iterations=8)
    calm[20:32, 20:32, 18:30] = False
    change = (copy - pair[0].image.data)[calm].std()
    assert 0.05 < change < 0.12, "sqrt(2) of 0.05 and what interpolation adds"
    assert not copy[~pair[0].brain].any()


@pytest.mark.parametrize("slice_mm", [1, 3])
def test_a_lesion_is_as_bright_as_drawn_and_as_long_as_the_slices(slice_mm):
    seen = visit("01", slice_mm=slice_mm)
    rng = np.random.default_rng(4)
    allowed = seen.brain.copy()
    allowed[:, :, :12] = allowed[:, :, 38:] = False
    placed = place(rng, [draw_shape(rng, SIZES[1], (1.0, 1.0, 1.0)) for _ in range(5)], allowed, (1.0, 1.0, 1.0))
    labels = truth(placed, SHAPE, 1.0)
    excess = put(seen, placed, labels) - seen.image.data
    for i, lesion in enumerate(placed, start=1):
        assert excess[labels == i].mean() == pytest.approx(lesion.shape.contrast_sd, rel=0.02)
    lengths = [np.flatnonzero((excess[lesion.box] > 0.05).any(axis=(0, 1))).size for lesion in placed]
    thin = [np.flatnonzero((lesion.shape.filled > 0.05).any(axis=(0, 1))).size for lesion in placed]
    assert np.mean(lengths) == pytest.approx(np.mean(thin), abs=0.6) if slice_mm == 1 else np.mean(lengths) > np.mean(thin) + 1


def test_the_table_says_shares_with_their_intervals(tmp_path):
    rows = (Row(Check.NEW_SENSITIVITY, "02", "01", SIZES[3], 20, 19), Row(Check.NULL_PAIR, None, lesions=2, volume_mm3=9.5))
    path = tmp_path / "table.tsv"
    write_table(path, SelfCheck(rows, 0).table(), COLUMNS)
    first, second = read_table(path)
    assert (first["sensitivity"], first["size_min_mm3"], first["session_id"], first["lesions"]) == ("0.95", "100", "ses-02", "n/a")
    assert float(first["sensitivity_low"]) == pytest.approx(wilson(19, 20).low)
    assert (second["lesions"], second["volume_mm3"], second["session_id"], second["sensitivity"]) == ("2", "9.5", "n/a", "n/a")


def sensitivity(*shares: tuple[int, int]) -> tuple[Row, ...]:
    floors = (Row(Check.NULL_PAIR, "02", lesions=0, volume_mm3=0.0), Row(Check.RESCAN, "02", lesions=1, volume_mm3=4.4))
    return (*floors, *(Row(Check.NEW_SENSITIVITY, "02", "01", s, n, k) for s, (k, n) in zip(SIZES, shares, strict=True)))


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        (((2, 20), (9, 20), (19, 20), (20, 20)), "found from 50 mm3 on (3-10 mm3 2 of 20, 10-50 mm3 9 of 20,"),
        (((20, 20), (9, 20), (19, 20), (20, 20)), "found from 50 mm3 on"),
        (((18, 20), (18, 20), (18, 20), (18, 20)), "found from 3 mm3 on"),
        (((20, 20), (20, 20), (20, 20), (17, 20)), "No size of new lesions"),
        (((20, 20), (20, 20), (20, 20), (0, 0)), "No size of new lesions"),
        (((0, 0), (0, 0), (0, 0), (0, 0)), "No place was found"),
    ],
)
def test_a_size_is_relied_on_if_it_and_every_larger_one_is_found(shares, words):
    reading = SelfCheck(sensitivity(*shares), 0).reading()
    assert words in reading
    assert "a moved and noised copy 1 false new lesion (4 mm3)" in reading


def test_pairs_are_taken_together():
    rows = sensitivity((0, 20), (0, 20), (17, 20), (20, 20)) + sensitivity((0, 20), (0, 20), (20, 20), (20, 20))
    assert "50-100 mm3 37 of 40" in SelfCheck(rows, 0).reading()
    assert math.isclose(SelfCheck(rows, 0).table()[4]["sensitivity"], 0.85)
