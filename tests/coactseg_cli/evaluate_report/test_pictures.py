"""Worst, median and best case: which they are, and that each lesion has the colour of its verdict."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bids_app.evaluation_page import PictureBlock, Words
from bids_app.tiles import Colour, Picture
from coactseg_cli.evaluate_report.pictures import FALSE, FOUND, MISSED, by_verdict, draw, examples, picture_blocks
from coactseg_cli.metrics.results import EvaluatedCase, MethodResult
from coactseg_cli.volumes import Volume, save
from tests.coactseg_cli.evaluate_report.cohort import lesion_rows, make_method

SHAPE, SPACING = (24, 30, 20), (2.0, 1.5, 3.0)


def method_with(tmp_path: Path, dice: list[float]) -> MethodResult:
    """One case per value, NaN for a case without a reference lesion."""
    made = make_method(tmp_path, "m", "all", len(dice) * 2, 0.9)
    kept = [(c, s) for c, s in zip(made.cases, made.scores, strict=True) if s.lesions_ref][: len(dice)]
    scores = tuple(replace(s, dice=value) for (_, s), value in zip(kept, dice, strict=True))
    return replace(made, cases=tuple(c for c, _ in kept), scores=scores)


@pytest.mark.parametrize(
    ("dice", "expected"),
    [
        ([0.5, 0.1, 0.9, 0.3, 0.7], [("Worst", 0.1), ("Median", 0.5), ("Best", 0.9)]),
        ([0.5, 0.1, 0.9, 0.3], [("Worst", 0.1), ("Median", 0.3), ("Best", 0.9)]),  # even: the lower of the middle two
        ([0.5, 0.2], [("Worst", 0.2), ("Best", 0.5)]),
        ([0.5], [("Only", 0.5)]),
        ([float("nan"), 0.4], [("Only", 0.4)]),
    ],
)
def test_the_rule(tmp_path: Path, dice: list[float], expected: list[tuple[str, float]]) -> None:
    assert [(e.rank, e.scores.dice) for e in examples(method_with(tmp_path, dice), "all")] == expected


def test_cases_without_reference_lesions_and_other_kinds_are_not_examples(tmp_path: Path) -> None:
    made = make_method(tmp_path, "m", "all", 4, 0.9)
    assert all(e.scores.lesions_ref for e in examples(made, "all"))
    assert examples(made, "new") == ()


@pytest.fixture
def scene(tmp_path: Path) -> EvaluatedCase:
    """On the patient's right a found lesion, in the middle a missed one, on the left a false one."""
    reference, predicted = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    reference[18:21, 10:15, 9:12] = predicted[18:22, 10:15, 9:12] = True
    reference[11:13, 10:15, 9:12] = True
    predicted[3:6, 10:15, 9:12] = True
    paths = {}
    for name, mask in (("reference", reference), ("predicted", predicted)):
        paths[name] = tmp_path / f"{name}.nii.gz"
        save(Volume(mask.astype(np.uint8), np.diag([*SPACING, 1.0])), paths[name], np.uint8)
    return EvaluatedCase(case="sub-01", kind="all", patient="sub-01", predicted=paths["predicted"], reference=paths["reference"])


def masks_of(case: EvaluatedCase) -> dict[str, np.ndarray]:
    import nibabel as nib

    return {side: np.asarray(nib.load(getattr(case, side)).dataobj) > 0 for side in ("reference", "predicted")}


def columns_of(picture: Picture, colour: Colour) -> np.ndarray:
    """Where a colour stands, as shares of the width of its tile of three: the lesions fill three slices."""
    pixels = np.asarray(Image.open(io.BytesIO(picture.data)).convert("RGB")).astype(int)
    tile = pixels.shape[1] / 3
    near = (abs(pixels - np.array(colour)) < 60).all(axis=-1)
    return (np.flatnonzero(near.any(axis=0)) % tile) / tile


def test_each_lesion_has_the_colour_of_its_verdict_with_the_right_on_the_left(scene: EvaluatedCase) -> None:
    rows = lesion_rows("sub-01", "all", masks_of(scene))
    assert [(r.side, r.detected) for r in rows] == [("reference", "yes"), ("reference", "no"), ("predicted", "yes"), ("predicted", "no")]
    picture = draw(scene, rows, 6, "Worst case: sub-01.", "Dice 0.5.", 4)
    found, missed, false = (columns_of(picture, colour) for colour in (FOUND, MISSED, FALSE))
    assert found.size
    assert missed.size
    assert false.size
    assert found.mean() < missed.mean() < false.mean()  # the patient's right is on the viewer's left
    assert [label for _, label in picture.legend] == ["found", "missed (thick)", "false (thick, dotted)"]
    assert picture.alt.startswith("Worst case: sub-01. Dice 0.5. 3 axial slices")
    assert "There is no scan: grey is the reference." in picture.note
    assert "cut 3 of 3 lesions" in picture.note


def test_lesions_below_the_limit_have_no_row_and_no_colour(scene: EvaluatedCase) -> None:
    rows = [row for row in lesion_rows("sub-01", "all", masks_of(scene)) if row.detected == "yes"]
    picture = draw(scene, rows, 6, "t", "w", 4)
    assert columns_of(picture, FOUND).size
    assert not columns_of(picture, MISSED).size
    assert not columns_of(picture, FALSE).size
    nothing = draw(scene, [], 6, "t", "w", 4)
    assert "No lesion is above the size limit." in nothing.note


def test_labels_count_by_size_then_raster_order() -> None:
    reference = np.zeros((9, 5, 4), bool)
    reference[0, 0, 0] = reference[2, 0, 0] = True  # two of one voxel: raster order decides
    reference[4:7, 0, 0] = True  # the largest is number 1
    rows = lesion_rows("c", "all", {"reference": reference, "predicted": np.zeros_like(reference)})
    assert [r.label for r in rows] == [1, 2, 3]
    only_third = by_verdict(reference, np.zeros_like(reference), rows[2:], 6)
    assert np.argwhere(only_third.missed).tolist() == [[2, 0, 0]]
    assert not only_third.found.any()


def test_the_scan_is_shown_where_there_is_one_and_on_its_own_grid_too(scene: EvaluatedCase, tmp_path: Path) -> None:
    scan = np.full((12, 15, 10), 80.0, np.float32)  # half as fine as the masks
    scan[:6] = 20.0
    affine = np.diag([4.0, 3.0, 6.0, 1.0])
    save(Volume(scan, affine), tmp_path / "flair.nii.gz")
    picture = draw(replace(scene, background=tmp_path / "flair.nii.gz"), [], 6, "t", "w", 4)
    pixels = np.asarray(Image.open(io.BytesIO(picture.data)).convert("L")).astype(int)
    assert "no scan" not in picture.note
    width = pixels.shape[1] // 4
    assert (
        pixels[:, width // 8 : width // 4].mean() > 2 * pixels[:, 3 * width // 4 : 7 * width // 8].mean() + 20
    )  # right side bright, left dark


def test_a_file_that_is_gone_gives_a_sentence_instead_of_a_picture(tmp_path: Path) -> None:
    method = method_with(tmp_path, [0.2, 0.8])
    blocks = picture_blocks(method, "all", 6, named=True)
    assert [type(b) for b in blocks] == [PictureBlock, PictureBlock]
    assert isinstance(blocks[0], PictureBlock)
    assert blocks[0].title == f"Worst case, m: {method.cases[0].case}."
    method.cases[0].reference.unlink()
    broken = picture_blocks(method, "all", 6, named=False)
    assert isinstance(broken[0], Words)
    assert broken[0].text.startswith(f"Worst case: {method.cases[0].case}. No picture: ")
    assert isinstance(broken[1], PictureBlock)
