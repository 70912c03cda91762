from __future__ import annotations

import math

import pytest

from coactseg_cli.metrics.conventions import Convention, LesionScores, Rules, lesion_scores, rules_of
from coactseg_cli.metrics.detection import Detection, Verdict

FOUND, LOST = Verdict("found", 1.0, 0.0), Verdict("alpha", 0.0, math.nan)
COACTSEG_VOXEL = 0.5 * 0.75 * 0.75


def test_three_mm3_are_eleven_voxels_on_the_coactseg_grid_only() -> None:
    assert rules_of(Convention.MM).smallest(COACTSEG_VOXEL) == rules_of(Convention.COACTSEG).smallest(COACTSEG_VOXEL) == 11
    assert rules_of(Convention.MM).smallest(1.0) == 4
    assert rules_of(Convention.COACTSEG).smallest(1.0) == 11


def test_conventions_choose_the_connectivity() -> None:
    assert [rules_of(c).connectivity for c in Convention] == [6, 6, 26]
    assert rules_of(Convention.COACTSEG, connectivity=18).connectivity == 18


def test_a_limit_of_the_user_replaces_the_convention() -> None:
    assert rules_of(Convention.MM, min_lesion_mm3=10.5).smallest(1.0) == 11
    assert rules_of(Convention.MM, min_lesion_voxels=2).smallest(1.0) == 2
    assert rules_of(Convention.COACTSEG, min_lesion_mm3=0).smallest(1.0) == 1
    assert Rules(min_lesion_mm3=3, min_lesion_voxels=20).smallest(1.0) == 20


def test_anima_keeps_to_three_mm3_without_a_reference() -> None:
    assert rules_of(Convention.ANIMA, min_lesion_mm3=10.5).smallest_false(1.0) == 4
    assert rules_of(Convention.MM, min_lesion_mm3=10.5).smallest_false(1.0) == 11


@pytest.mark.parametrize(
    ("detection", "has_reference", "has_prediction", "default", "anima"),
    [
        pytest.param(Detection((FOUND, LOST), (FOUND,)), True, True, (0.5, 1, 2 / 3), (0.5, 1, 2 / 3), id="both"),
        pytest.param(Detection((LOST,), ()), True, False, (0, math.nan, 0), (0, 0, 0), id="nothing predicted"),
        pytest.param(Detection((LOST,), ()), True, True, (0, 0, 0), (0, 0, 0), id="prediction below the limit"),
        pytest.param(Detection((), (LOST,)), True, True, (math.nan, 0, math.nan), (math.nan, 0, 0), id="reference below the limit"),
        pytest.param(Detection((), ()), True, True, (math.nan, 0, math.nan), (math.nan, 0, 0), id="both below the limit"),
        pytest.param(Detection((), (LOST,)), False, True, (math.nan,) * 3, (math.nan,) * 3, id="no reference"),
        pytest.param(Detection((), ()), False, False, (math.nan,) * 3, (math.nan,) * 3, id="neither"),
    ],
)
def test_scores_that_are_undefined(
    detection: Detection, has_reference: bool, has_prediction: bool, default: tuple[float, ...], anima: tuple[float, ...]
) -> None:
    for convention, expected in ((Convention.MM, default), (Convention.ANIMA, anima), (Convention.COACTSEG, default)):
        own = lesion_scores(detection, has_reference=has_reference, has_prediction=has_prediction, convention=convention)
        assert isinstance(own, LesionScores)
        assert (own.sensitivity, own.ppv, own.f1) == pytest.approx(expected, nan_ok=True)
