"""The worst, the median and the best case as slices with found, missed and false lesions. Reads masks and scans again; scores nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bids_app import figures
from bids_app.errors import BidsAppError
from bids_app.evaluation_page import Block, PictureBlock, Words
from bids_app.slices import choose_slices
from bids_app.tiles import Colour, Overlay, Picture
from coactseg_cli.components import label, sizes
from coactseg_cli.evaluate_files import masks_of, nearest
from coactseg_cli.evaluate_report.cells import number
from coactseg_cli.metrics.columns import CaseScores, LesionRow
from coactseg_cli.metrics.results import EvaluatedCase, MethodResult
from coactseg_cli.volumes import Volume, box_of, load_stored, to_ras

FOUND: Colour = (90, 200, 255)  # blue, yellow and red differ in brightness too
MISSED: Colour = (255, 225, 60)
FALSE: Colour = (255, 80, 50)
GROUND, SILHOUETTE = 0.08, 0.45  # greys around and in the reference's lesions where there is no scan
RULE = "Cases are ranked by Dice among those with reference lesions; of an even number, the lower of the two in the middle is the median."


@dataclass(frozen=True, slots=True, eq=False)
class LesionMasks:
    """Where lesions above the size limit lie, by verdict: (X, Y, Z) bool each."""

    found: np.ndarray  # detected reference lesions and confirmed predictions
    missed: np.ndarray
    false: np.ndarray


@dataclass(frozen=True, slots=True)
class Example:
    """A case worth a picture."""

    rank: str  # worst, median, best
    case: EvaluatedCase
    scores: CaseScores


def examples(method: MethodResult, kind: str) -> tuple[Example, ...]:
    """Choose the worst, the median and the best case by Dice; fewer where there are fewer. Ties: by name."""
    ranked = sorted(
        (
            (s.dice, s.case, c, s)
            for c, s in zip(method.cases, method.scores, strict=True)
            if s.kind == kind and s.volume_ref_mm3 > 0 and math.isfinite(s.dice)
        ),
        key=lambda item: item[:2],
    )
    places = {0: "Worst", len(ranked) - 1: "Best"} if len(ranked) > 1 else {0: "Only"}
    if len(ranked) > 2:
        places[(len(ranked) - 1) // 2] = "Median"
    return tuple(Example(places[i], ranked[i][2], ranked[i][3]) for i in sorted(places)) if ranked else ()


def picture_blocks(method: MethodResult, kind: str, connectivity: int, *, named: bool, rows: int = 2) -> tuple[Block, ...]:
    """A picture per example; a sentence for each that could not be drawn. `rows` of four slices each."""
    blocks: list[Block] = []
    for example in examples(method, kind):
        s = example.scores
        of = f", {method.name}" if named else ""
        title = f"{example.rank} case{of}: {s.case}."
        words = (
            f"Dice {number(s.dice, 3)}, lesion F1 {number(s.lesion_f1, 3)}: {s.lesions_ref_detected} of {s.lesions_ref} reference lesions "
            f"found, {s.false_lesions} of {s.lesions_pred} predicted lesions false."
        )
        lesions = [row for row in method.lesions if (row.case, row.kind) == (s.case, s.kind)]
        try:
            picture = draw(example.case, lesions, connectivity, title, words, 4 * rows)
        except (BidsAppError, OSError, MemoryError) as error:
            blocks.append(Words(f"{title} No picture: {error}", "key"))
        else:
            blocks.append(PictureBlock(picture, title, words))
    return tuple(blocks)


def draw(case: EvaluatedCase, lesions: Sequence[LesionRow], connectivity: int, title: str, words: str, count: int) -> Picture:
    """Draw axial slices of one case with contours by verdict, over its scan or, without one, the silhouette of the reference.

    Raises: UnreadableImage, ConflictingGeometry where a file has changed since it was scored.
    """
    predicted, reference = masks_of(case)
    masks = by_verdict(reference.data, predicted.data, lesions, connectivity)
    scene = {name: to_ras(reference.like(getattr(masks, name))) for name in ("found", "missed", "false")}
    ras = to_ras(reference)
    image, brain, note = _image(case, reference)
    overlays = (
        Overlay(scene["found"].data, FOUND, "found", 1),
        Overlay(scene["missed"].data, MISSED, "missed (thick)", 2),
        Overlay(scene["false"].data, FALSE, "false (thick, dotted)", 2, dotted=True),
    )
    either = scene["found"].data | scene["missed"].data | scene["false"].data
    brain = _field(either, ras.data) if note else brain
    chosen, shown, total = choose_slices(either, brain, count)
    x, y, z = ras.affine[:3, 3]
    picture = figures.mosaic(
        image,
        ras.spacing_mm,
        (0.0, 1.0) if note else figures.grey_window([image], [brain]),
        overlays,
        brain=brain,
        slices=chosen,
        width=960,
        origin_mm=(float(x), float(y), float(z)),
    )
    cover = f"These slices cut {shown} of {total} lesions, touching ones taken as one." if total else "No lesion is above the size limit."
    return replace(picture, alt=f"{title} {words} {picture.alt}", note=f"{cover}{note}")


def by_verdict(reference: np.ndarray, predicted: np.ndarray, lesions: Sequence[LesionRow], connectivity: int) -> LesionMasks:
    """Split two masks by what per_lesion.tsv says: its label numbers the components of a side by decreasing size, then raster order."""
    verdict: dict[tuple[str, bool], np.ndarray] = {}
    for side, mask in (("reference", reference), ("predicted", predicted)):
        labels, n = label(mask, connectivity)
        order = np.argsort(-sizes(labels, n), kind="stable")
        for detected in (True, False):
            wanted = [row.label for row in lesions if row.side == side and (row.detected == "yes") == detected]
            keep = np.zeros(n + 1, bool)
            keep[order[np.array(wanted, int) - 1] + 1] = True
            verdict[side, detected] = keep[labels]
    found = verdict["reference", True] | verdict["predicted", True]
    return LesionMasks(found, verdict["reference", False], verdict["predicted", False])


def _image(case: EvaluatedCase, reference: Volume) -> tuple[np.ndarray, np.ndarray | None, str]:
    """What the contours are drawn on, the part that is shown, and a sentence where it is not the scan. All in RAS order."""
    mask = to_ras(reference).data
    if case.background is not None:
        image = to_ras(nearest(load_stored(case.background), reference)).data
        return image, image > 0 if (image > 0).any() else None, ""
    return np.where(mask, SILHOUETTE, GROUND), None, " There is no scan: grey is the reference."


def _field(*masks: np.ndarray) -> np.ndarray | None:
    """The box around what is drawn, filled, so that a picture without a scan is not mostly empty; None where nothing is drawn."""
    either = np.logical_or.reduce(masks)
    if not either.any():
        return None
    filled = np.zeros(either.shape, bool)
    filled[box_of(either).slices] = True
    return filled
