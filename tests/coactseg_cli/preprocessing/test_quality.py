"""Flags appear above their limits and only there."""

import numpy as np

from coactseg_cli.preprocessing.quality import brain_flags, motion_flags
from coactseg_cli.preprocessing.transforms import translation

CENTRE = np.array([0.0, 10.0, 20.0])


def test_small_motion_is_not_flagged() -> None:
    assert motion_flags(translation((0, 0, 50)), CENTRE, 0.2, "02") == []


def test_motion_is_measured_at_the_brain() -> None:
    (flag,) = motion_flags(translation((0, 0, 100)), CENTRE, 0.2, "02")
    assert (flag.name, flag.session) == ("motion", "02")
    assert "100 mm and 0 degrees" in flag.message


def test_turns_and_disagreement() -> None:
    turned = np.eye(4)
    turned[:2, :2] = [[0, -1], [1, 0]]
    assert [f.name for f in motion_flags(turned, CENTRE, 2.5, "02")] == ["motion", "registration"]


def test_brain_volume_and_its_change() -> None:
    flags = brain_flags([1400.0, 1400.0, 1000.0, 500.0], ["01", "02", "03", None])
    assert [(f.name, f.session) for f in flags] == [("brain-volume", None), ("brain-change", "03"), ("brain-change", None)]
    assert "-29 %" in flags[1].message
