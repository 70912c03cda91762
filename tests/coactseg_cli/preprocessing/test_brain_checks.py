"""Masks worked out on paper."""

import numpy as np
import pytest

from coactseg_cli.preprocessing.brain_checks import apart_percent, brain_checks, brain_ml, change_checks, cut_cm2, holes_percent
from coactseg_cli.volumes import Volume

SPACING = (2.0, 3.0, 5.0)


def block():
    mask = np.zeros((40, 30, 20), bool)
    mask[5:35, 5:25, 4:16] = True  # 30 x 20 x 12 = 7200 voxels
    return mask


def scan(mask, value=100.0):
    return Volume(np.full(mask.shape, value, np.float32), np.diag([*SPACING, 1.0]))


def test_volume():
    assert brain_ml(scan(block()), block()) == pytest.approx(7200 * 30 / 1000)


def test_pieces():
    mask = block()
    assert apart_percent(mask) == 0
    mask[0:2, 0:2, 0:2] = True
    assert apart_percent(mask) == pytest.approx(100 * 8 / 7208)
    mask[2:5, 2:5, 2:4] = True  # joined by corners
    assert apart_percent(mask) == 0


def test_holes_are_closed_on_all_sides():
    mask = block()
    mask[10:12, 10:12, 8] = False
    assert holes_percent(mask) == pytest.approx(100 * 4 / 7196)
    mask[10, 10, 8:] = False  # a shaft to the outside
    assert holes_percent(mask) == 0


@pytest.mark.parametrize(("axis", "area_cm2"), [(0, 20 * 12 * 15 / 100), (1, 30 * 12 * 10 / 100), (2, 30 * 20 * 6 / 100)])
@pytest.mark.parametrize("side", [0, -1])
def test_the_area_at_the_edge_of_the_image(axis, area_cm2, side):
    mask = block()
    assert cut_cm2(mask, SPACING) == 0
    start, stop = ((5, 5, 4), (35, 25, 16))
    cut = [slice(None)] * 3
    cut[axis] = slice(start[axis], None) if side == 0 else slice(None, stop[axis])
    assert cut_cm2(mask[tuple(cut)], SPACING) == pytest.approx(area_cm2)


def test_every_check_of_a_mask_is_listed_and_each_fault_flags_its_own():
    whole = {c.name: c for c in brain_checks(scan(block()), block(), "01")}
    assert list(whole) == ["brain-volume", "brain-pieces", "brain-holes", "field-of-view", "brain-empty"]
    assert [name for name, c in whole.items() if c.flagged] == ["brain-volume"]  # 216 ml
    empty = {c.name: c for c in brain_checks(scan(block(), value=0.0), block(), "01")}
    assert (empty["brain-empty"].value, empty["brain-empty"].flagged) == (100, True)


def test_an_empty_mask_is_a_volume_of_nothing():
    (check,) = brain_checks(scan(block()), block() & False, "01")
    assert (check.name, check.value, check.flagged) == ("brain-volume", 0, True)


def test_change_from_each_visit_to_the_next():
    checks = change_checks([1400.0, 1400.0, 1000.0, 1100.0], ["01", "02", "03", "04"])
    assert [(c.session, round(c.value, 2), c.flagged) for c in checks] == [("02", 0, False), ("03", -28.57, True), ("04", 10, False)]
    assert change_checks([0.0, 1400.0], ["01", "02"]) == ()
    assert change_checks([1400.0], [None]) == ()
