"""A brain made of boxes and ellipsoids in which the ventricles are known; and two real ones in MNI space."""

from pathlib import Path

import numpy as np
import pytest

from coactseg_cli.lesions import location
from coactseg_cli.lesions.location import MEANINGS, Anatomy, Location, find_ventricles, locate, near_ventricles
from coactseg_cli.lesions.tracking import VisitMaps, track
from coactseg_cli.volumes import load

SPACING_MM = (2.0, 1.5, 2.5)
SHAPE = (75, 124, 56)
AFFINE = np.array([[2.0, 0, 0, -74], [0, 1.5, 0, -110], [0, 0, 2.5, -60], [0, 0, 0, 1]])
X, Y, Z = (AFFINE[i, i] * np.arange(SHAPE[i]).reshape([-1 if i == j else 1 for j in range(3)]) + AFFINE[i, 3] for i in range(3))
BRAIN = (X / 68) ** 2 + ((Y + 17) / 86) ** 2 + ((Z - 8) / 62) ** 2 < 1
BODIES = (abs(abs(X) - 12) <= 5) & (abs(Y + 14) <= 28) & (abs(Z - 20) <= 8)
FISSURE = (abs(X) <= 1) & (Z > 30) & BRAIN
CISTERN = (abs(X) <= 8) & (abs(Y + 50) <= 8) & (abs(Z + 4) <= 8)
SULCI = (abs(abs(X) - 44) <= 4) & (abs(Y + 10) <= 30) & (abs(Z - 10) <= 8)


def anatomy(*fluid: np.ndarray) -> Anatomy:
    flair = np.where(BRAIN, 0.2, 0).astype(np.float32)
    for region in fluid:
        flair[region] = -2.5
    return Anatomy(flair, BRAIN)


def ball(x: float, y: float, z: float, radius_mm: float = 4) -> np.ndarray:
    return (X - x) ** 2 + (Y - y) ** 2 + (Z - z) ** 2 <= radius_mm**2


def test_the_ventricles_are_found_and_other_fluid_is_not() -> None:
    found = find_ventricles(anatomy(BODIES, FISSURE, CISTERN, SULCI), AFFINE)
    assert not (found & ~BODIES).any()
    assert found.sum() > 0.95 * BODIES.sum()


def test_looking_only_near_where_ventricles_can_be_changes_nothing(monkeypatch) -> None:
    deep = (abs(X) <= 40) & (abs(Y + 14) <= 60) & (Z > 46) & BRAIN  # reaches the zone, and ends beyond it
    scan = anatomy(BODIES, FISSURE, deep)
    found = find_ventricles(scan, AFFINE)
    monkeypatch.setattr(location, "_around", lambda *_: (slice(None),) * 3)
    np.testing.assert_array_equal(find_ventricles(scan, AFFINE), found)
    assert found.any()


@pytest.mark.parametrize("fluid", [(), (FISSURE, CISTERN, SULCI), (BODIES & (X > 0),)], ids=["none", "elsewhere", "on one side"])
def test_without_a_pair_of_ventricles_none_is_found(fluid) -> None:
    assert not find_ventricles(anatomy(*fluid), AFFINE).any()


def test_an_empty_brain_has_none() -> None:
    assert not find_ventricles(Anatomy(np.zeros(SHAPE, np.float32), np.zeros(SHAPE, bool)), AFFINE).any()


def test_axes_that_are_flipped_or_exchanged_change_nothing() -> None:
    scan = anatomy(BODIES, FISSURE, CISTERN, SULCI)
    found = find_ventricles(scan, AFFINE)
    flipped = AFFINE.copy()
    flipped[0, 0], flipped[0, 3] = -2.0, -74 + 2.0 * (SHAPE[0] - 1)
    np.testing.assert_array_equal(find_ventricles(Anatomy(scan.flair[::-1], BRAIN[::-1]), flipped), found[::-1])
    turned = Anatomy(scan.flair.transpose(2, 0, 1), BRAIN.transpose(2, 0, 1))
    np.testing.assert_array_equal(find_ventricles(turned, AFFINE[:, [2, 0, 1, 3]]), found.transpose(2, 0, 1))


def test_a_hole_of_the_brain_mask_above_the_ventricles_hides_nothing() -> None:
    hole = (abs(X) <= 4) & (abs(Y + 14) <= 30) & (Z > 34)
    found = find_ventricles(Anatomy(anatomy(BODIES).flair, BRAIN & ~hole), AFFINE)
    assert found.sum() > 0.95 * BODIES.sum()


def test_near_is_three_millimetres_from_voxel_centre_to_voxel_centre() -> None:
    ventricles, labels = np.zeros((2, 20, 20, 20), np.uint16)
    ventricles[10, 10, 10] = 1
    labels[13, 10, 10], labels[10, 14, 10], labels[10, 10, 12] = 1, 2, 3
    assert near_ventricles(labels, ventricles > 0, (1, 1, 1.5)) == {1, 3}
    assert near_ventricles(labels, ventricles > 5, (1, 1, 1.5)) == set()


def test_each_lesion_is_located_at_the_last_visit_that_shows_it() -> None:
    beside, apart, fades = ball(21, -14, 20), ball(34, 30, 10), ball(-21, -14, 20)
    history = track([VisitMaps(beside | apart | fades), VisitMaps(beside | apart)], SPACING_MM)
    scans = [anatomy(BODIES), anatomy(BODIES)]
    found = locate(history, scans, AFFINE)
    by_x = {round(t.sightings[0].centroid_voxel[0] * 2 - 74): found[t.id] for t in history.tracks}
    assert by_x == {21: Location.PERIVENTRICULAR, 34: Location.UNCLASSIFIED, -21: Location.PERIVENTRICULAR}
    blind = locate(history, [anatomy(), anatomy(BODIES)], AFFINE)
    assert sorted(blind.values()) == [
        "periventricular",
        "unclassified",
        "unclassified",
    ]  # the one that fades is seen at the first visit only


def test_only_what_was_checked_has_a_meaning() -> None:
    assert set(MEANINGS) == {Location.PERIVENTRICULAR, Location.UNCLASSIFIED}


@pytest.mark.shared
@pytest.mark.parametrize("subject", ["sub-cs07", "sub-cs19"])
def test_real_ventricles_lie_where_mni_coordinates_have_them(shared_dir: Path, subject: str) -> None:
    scan = load(next((shared_dir / "data" / "open-ms-single").glob(f"{subject}/**/*FLAIR.nii.gz")))
    brain = scan.data > 0
    flair = np.where(brain, (scan.data - scan.data[brain].mean()) / scan.data[brain].std(), 0)
    found = np.stack(np.nonzero(find_ventricles(Anatomy(flair, brain), scan.affine)))
    x, y, z = scan.affine[:3, :3] @ found + scan.affine[:3, 3:]
    assert min((x < 0).sum(), (x > 0).sum()) > 1000
    assert abs(x).max() < 45
    assert -65 < y.min() < y.max() < 40
    assert -15 < z.min() < z.max() < 40
