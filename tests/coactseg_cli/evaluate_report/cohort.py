"""A made-up cohort with everything a page can show: methods, sites, raters, empty references, misses. Rows come from the real functions."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from coactseg_cli.components import label, sizes
from coactseg_cli.metrics.agreement import agreement
from coactseg_cli.metrics.cohort import activity, summarise
from coactseg_cli.metrics.columns import CaseScores, LesionRow
from coactseg_cli.metrics.comparison import compare
from coactseg_cli.metrics.raters import rater_rows
from coactseg_cli.metrics.results import EvaluatedCase, EvaluateResult, MethodResult, RaterResult
from coactseg_cli.metrics.rows import FrocRow, IsbiRow, NotScored, ThresholdRow
from coactseg_cli.metrics.strata import by_site, by_size
from coactseg_cli.volumes import Volume, save

SHAPE, SPACING = (24, 30, 20), (2.0, 1.5, 3.0)
VOXEL_MM3 = 9.0
SETTINGS = {
    "Rules": {
        "convention": "mm",
        "connectivity": 6,
        "min_lesion_mm3": 3.0,
        "min_lesion_voxels": None,
        "alpha": 0.1,
        "beta": 0.7,
        "gamma": 0.65,
    },
    "Definitions": {"hd95_mm": "larger of the two directed 95th percentiles, linear interpolation", "sd": "ddof 1"},
    "Cases": {"scored": 12, "failed": [], "missing": ["sub-99"]},
    "Versions": {"coactseg": "0.0", "numpy": "2.0"},
}
_FIELDS = {f.name: f.type for f in fields(CaseScores)}


def scores_of(case: str, kind: str, lesions: tuple[LesionRow, ...], rng: np.random.Generator) -> CaseScores:
    """Scores whose counts and volumes are those of the lesions; overlap and distances are drawn."""
    reference = [row for row in lesions if row.side == "reference"]
    predicted = [row for row in lesions if row.side == "predicted"]
    found, confirmed = (sum(row.detected == "yes" for row in side) for side in (reference, predicted))
    false = [row for row in predicted if row.detected == "no"]
    flags = [] if reference else ["empty_reference"]
    flags += [] if predicted else ["empty_prediction"]
    flags += ["missed"] if reference and not predicted else []
    sensitivity = found / len(reference) if reference else math.nan
    ppv = confirmed / len(predicted) if predicted and reference else math.nan
    both = bool(reference and predicted)
    drawn = {name: float(rng.uniform(0.2, 0.9)) if both else math.nan for name, kind_of in _FIELDS.items() if kind_of == "float"}
    counts = {name: 1 for name, kind_of in _FIELDS.items() if kind_of == "int"}
    values = drawn | counts | {
        "dice": float(rng.beta(5, 3)) if both else 0.0 if reference else math.nan,
        "hd95_mm": float(rng.lognormal(1.5, 1)) if both else math.nan,
        "specificity": 0.999,
        "lesions_ref": len(reference),
        "lesions_pred": len(predicted),
        "lesions_ref_detected": found,
        "lesions_pred_confirmed": confirmed,
        "false_lesions": len(false),
        "false_volume_mm3": sum(row.volume_mm3 for row in false),
        "volume_ref_mm3": sum(row.volume_mm3 for row in reference),
        "volume_pred_mm3": sum(row.volume_mm3 for row in predicted),
        "lesion_sensitivity": sensitivity,
        "lesion_ppv": ppv,
        "lesion_f1": 2 * sensitivity * ppv / (sensitivity + ppv) if both and found and confirmed else 0.0 if reference else math.nan,
        "voxel_mm3": VOXEL_MM3,
    }  # fmt: skip
    made = CaseScores(case=case, kind=kind, convention="mm", flags=",".join(flags), **{k: v for k, v in values.items() if k in _FIELDS})
    difference = made.volume_pred_mm3 - made.volume_ref_mm3
    percent = 100 * difference / made.volume_ref_mm3 if made.volume_ref_mm3 else math.nan
    return replace(made, volume_difference_mm3=difference, volume_difference_percent=percent)


def lesion_rows(case: str, kind: str, masks: dict[str, np.ndarray]) -> tuple[LesionRow, ...]:
    """A row per component, numbered as in per_lesion.tsv; detected where the other mask touches it."""
    rows = []
    for side, other in (("reference", "predicted"), ("predicted", "reference")):
        labels, n = label(masks[side], 6)
        voxels = sizes(labels, n)
        for place, component in enumerate(np.argsort(-voxels, kind="stable"), start=1):
            inside = labels == component + 1
            detected = bool((inside & masks[other]).any())
            rows.append(
                LesionRow(
                    case=case, kind=kind, side=side, label=place, volume_mm3=float(voxels[component]) * VOXEL_MM3,
                    detected="yes" if detected else "no", reason="found" if detected else "alpha",
                    **{f.name: 0.0 for f in fields(LesionRow) if f.type == "float" and f.name != "volume_mm3"},
                )
            )  # fmt: skip
    return tuple(rows)


def draw_masks(rng: np.random.Generator, n_lesions: int, skill: float) -> dict[str, np.ndarray]:
    """Boxes of random size; the prediction finds each with the chance `skill` and adds false ones."""
    reference, predicted = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    for _ in range(n_lesions):
        size = rng.integers(1, 5, 3)
        start = [int(rng.integers(1, n - s - 2)) for n, s in zip(SHAPE, size, strict=True)]
        box = tuple(slice(a, a + int(s)) for a, s in zip(start, size, strict=True))
        reference[box] = True
        if rng.random() < skill:
            predicted[tuple(slice(part.start, part.stop + 1) for part in box)] = True
    for _ in range(int(rng.poisson(2 * (1 - skill)))):
        i, j, k = (int(rng.integers(1, n - 2)) for n in SHAPE)
        predicted[i : i + 2, j : j + 2, k] = True
    return {"reference": reference, "predicted": predicted}


def make_method(folder: Path, name: str, kind: str, n_cases: int, skill: float, *, background: Path | None = None) -> MethodResult:
    """Every fourth patient has no reference lesion; masks of every case are written."""
    rng = np.random.default_rng(len(name) * 1000 + n_cases)
    cases, scores, lesions = [], [], []
    for i in range(n_cases):
        case = f"sub-{i + 1:03d}"
        masks = draw_masks(np.random.default_rng([i, len(kind)]), 0 if i % 4 == 3 else 1 + i % 9, skill if i != 1 else 0.0)
        rows = lesion_rows(case, kind, masks)
        paths = {side: folder / f"{name}_{kind}_{case}_{side}.nii.gz" for side in masks}
        for side, path in paths.items():
            save(Volume(masks[side].astype(np.uint8), np.diag([*SPACING, 1.0])), path, np.uint8)
        site = ("Lyon", "Rennes", None)[i % 3]
        cases.append(
            EvaluatedCase(
                case=case,
                kind=kind,
                patient=case,
                site=site,
                background=background,
                predicted=paths["predicted"],
                reference=paths["reference"],
            )
        )
        scores.append(scores_of(case, kind, rows, rng))
        lesions += rows
    patients = [c.patient for c in cases]
    return MethodResult(
        name=name,
        cases=tuple(cases),
        scores=tuple(scores),
        lesions=tuple(lesions),
        not_scored=(NotScored(case="sub-99", kind=kind, status="missing", reason="no prediction for ref/sub-99.nii.gz"),),
        summary=summarise(scores, patients),
        activity=activity(scores, patients),
        by_size=by_size(lesions, cases),
        by_site=by_site(scores, cases),
        agreement=agreement(scores),
        isbi=tuple(
            IsbiRow(kind=kind, connectivity=c, n=9, n_missed=1, dice=0.61, ppv=0.7, ltpr=0.65, lfpr=0.3, correlation=0.9, score=0.7264)
            for c in (18, 26)
        ),
        froc=tuple(
            FrocRow(kind=kind, score=score, threshold=t, sensitivity=skill * (1 - t**2), false_per_case=8 * (1 - t) ** 3,
                    n_reference=40, n_cases=n_cases, camelyon=0.5123)
            for score in ("max", "mean") for t in np.linspace(0.05, 1, 30).tolist()
        ),
        thresholds=tuple(
            ThresholdRow(kind=kind, threshold=t, n_cases=n_cases, dice=skill * (1 - (t - 0.5) ** 2), lesion_sensitivity=1 - t, lesion_ppv=t,
                         lesion_f1=2 * t * (1 - t), false_lesions=5 * (1 - t))
            for t in np.round(np.arange(0.05, 1, 0.05), 2).tolist()
        ),
    )  # fmt: skip


def make_result(
    folder: Path, n_cases: int = 12, names: tuple[str, ...] = ("predicted",), kinds: tuple[str, ...] = ("all",), *, raters: bool = False
) -> EvaluateResult:
    """One result of several methods and kinds; skills fall from method to method."""
    grey = np.random.default_rng(0).normal(100, 15, SHAPE).astype(np.float32)
    grey[:3] = 0
    background = folder / "flair.nii.gz"
    save(Volume(grey, np.diag([*SPACING, 1.0])), background)
    methods = []
    for i, name in enumerate(names):
        parts = [make_method(folder, name, kind, n_cases, 0.85 - 0.12 * i, background=background if i == 0 else None) for kind in kinds]
        methods.append(_joined(parts))
    rated = (
        [RaterResult(rater=f"rater {i + 1}", against="reference", cases=m.cases, scores=m.scores) for i, m in enumerate(methods)]
        if raters
        else []
    )
    return EvaluateResult(
        methods=tuple(methods),
        rater_results=tuple(rated),
        raters=rater_rows(rated),
        comparison=compare(methods) if len(methods) > 1 else (),
        settings=SETTINGS,
    )


def _joined(parts: list[MethodResult]) -> MethodResult:
    """The kinds of one method in one result."""
    merged = {f.name: sum((getattr(p, f.name) for p in parts), ()) for f in fields(MethodResult) if f.name != "name"}
    return MethodResult(name=parts[0].name, **merged)
