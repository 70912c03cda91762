"""A scan in numbers, the ranges over several, and both through JSON."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from coactseg_cli.preprocessing.seen_checks import seen_checks
from coactseg_cli.seen import PERCENTILES, ScanProfile, SeenRanges, parse_profile, parse_ranges, profile_of, ranges_of
from coactseg_cli.volumes import Volume

A = ScanProfile(0.7, 3.0, (130.0, 160.0, 125.0), 1200.0, (-2.0, -0.3, 0.2, 0.6, 1.0, 1.5))
B = ScanProfile(0.9, 4.0, (140.0, 170.0, 120.0), 1500.0, (-2.4, -0.2, 0.3, 0.6, 1.2, 1.4))


def test_numbers_of_a_scan_in_any_orientation_and_unit():
    brain = np.zeros((30, 20, 40), bool)
    brain[2:12, 3:8, 5:35] = True
    data = np.random.default_rng(0).normal(size=brain.shape)
    affine = np.zeros((4, 4))
    affine[1, 0], affine[0, 1], affine[2, 2], affine[3, 3] = -2.0, 3.0, 1.0, 1.0  # array axes: front to back, left to right, up
    found = profile_of((0.8, 4.0, 0.9), 1234.0, Volume(1000 * data + 50, affine), brain)
    assert (found.in_plane_mm, found.slice_mm, found.brain_ml) == (0.9, 4.0, 1234.0)
    assert found.extent_mm == (15.0, 20.0, 30.0)
    values = data[brain]
    assert found.intensities == pytest.approx(np.percentile((values - values.mean()) / values.std(), PERCENTILES))


def test_a_brain_of_nothing_has_no_numbers():
    with pytest.raises(ValueError, match="got 0 voxels"):
        profile_of((1, 1, 1), 0.0, Volume(np.ones((4, 5, 6)), np.eye(4)), np.zeros((4, 5, 6), bool))


def test_ranges_and_rendered_slices():
    seen = ranges_of([A, B])
    assert (seen.n_scans, seen.in_plane_mm, seen.slice_mm, seen.brain_ml) == (2, (0.7, 0.9), (3.0, 4.0), (1200.0, 1500.0))
    assert seen.extent_mm == ((130.0, 140.0), (160.0, 170.0), (120.0, 125.0))
    assert seen.intensities[0] == (-2.4, -2.0)
    assert ranges_of([A, B], rendered_slice_mm=5.0).slice_mm == (3.0, 5.0)
    assert ranges_of([]) is None


def test_both_come_back_from_json():
    assert parse_profile(json.loads(json.dumps(asdict(A)))) == A
    seen = ranges_of([A, B])
    assert parse_ranges(json.loads(json.dumps(asdict(seen)))) == seen


@pytest.mark.parametrize(
    "change",
    [
        {"slice_mm": [4.0, 3.0]},
        {"brain_ml": [1.0]},
        {"extent_mm": "abc"},
        {"intensities": [[0, 1]]},
        {"in_plane_mm": [0.1, float("nan")]},
        {"n_scans": None},
    ],
)
def test_ranges_that_are_none_are_refused(change):
    with pytest.raises((ValueError, TypeError)):
        parse_ranges(asdict(ranges_of([A, B])) | change)


def flags(**changes):
    seen: SeenRanges = ranges_of([A, B], rendered_slice_mm=5.0)
    checks = seen_checks(ScanProfile(**asdict(A) | changes), seen, "01")
    assert len(checks) == 7
    return {c.name: c.value for c in checks if c.flagged}


def test_what_was_seen_passes_and_each_number_flags_itself():
    assert flags() == {}
    assert flags(in_plane_mm=1.2) == {"seen-in-plane-spacing": 1.2}  # 0.9 + 25 % = 1.125
    assert flags(in_plane_mm=1.1) == {}
    assert flags(slice_mm=6.5) == {"seen-slice-thickness": 6.5}  # 5 + 25 % = 6.25
    assert flags(brain_ml=1000.0) == {"seen-brain-volume": 1000.0}  # 1200 - 15 % = 1020
    assert flags(extent_mm=(130.0, 160.0, 100.0)) == {"seen-extent-bottom-top": 100.0}  # 120 - 10 % = 108


def test_intensities_are_judged_by_the_percentile_that_is_furthest_out():
    assert flags(intensities=(-2.7, -0.3, 0.2, 0.6, 1.0, 1.5)) == {}  # 0.3 below -2.4
    assert flags(intensities=(-2.7, -0.3, 0.2, 0.6, 1.0, 2.0)) == {"seen-intensities": pytest.approx(0.5)}
