"""An evaluation to its tables, each with a JSON column dictionary, and settings.json: how the numbers were made. Computes nothing."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bids_app.files import write_json
from bids_app.tables import Column, write_table
from coactseg_cli import __version__
from coactseg_cli.config import EvaluateConfig
from coactseg_cli.metrics.bootstrap import RESAMPLES, SEED
from coactseg_cli.metrics.case import NSD_TOLERANCE_MM
from coactseg_cli.metrics.columns import CaseScores, LesionRow, columns_of
from coactseg_cli.metrics.conventions import Rules
from coactseg_cli.metrics.paired import EXACT_UP_TO, ZeroMethod
from coactseg_cli.metrics.probabilities import CANDIDATE_PROBABILITY
from coactseg_cli.metrics.results import EvaluatedCase, EvaluateResult, MethodResult, RaterResult
from coactseg_cli.metrics.rows import (
    ActivityRow,
    AgreementRow,
    ComparisonRow,
    FrocRow,
    IsbiRow,
    NotScored,
    RaterIsbiRow,
    RaterRow,
    SiteRow,
    SizeRow,
    SummaryRow,
    ThresholdRow,
)
from coactseg_cli.metrics.strata import SIZE_EDGES_MM3

COMPARISON = (
    f"Wilcoxon signed-rank, two-sided, paired by patient (mean over the cases of a patient), zeros {ZeroMethod.PRATT}, exact up to "
    f"{EXACT_UP_TO} pairs without zeros and ties, else normal without continuity correction; "
    "Holm over the scores and pairs of methods of one kind and group"
)
METHOD = {"method": Column("Whose predictions: 'predicted', or the name of one of several methods")}
CASE_EXTRA = {
    "patient": Column("Whose case it is: the unit that is resampled"),
    "site": Column("Site of the patient (--site-column, or the table of pairs)"),
    **METHOD,
    "predicted": Column("Predicted mask; n/a: missing, scored as an empty mask"),
    "reference": Column("Reference mask"),
}
_OF_METHODS: tuple[tuple[str, type[Any], Callable[[MethodResult], Sequence[Any]], str], ...] = (
    ("per_lesion", LesionRow, lambda m: m.lesions, "Each lesion above the size limit, and whether the other mask has it."),
    ("summary", SummaryRow, lambda m: m.summary, "Scores over cases, with and without reference lesions apart."),
    ("activity", ActivityRow, lambda m: m.activity, "Agreement on whether a patient has any lesion."),
    ("by_size", SizeRow, lambda m: m.by_size, "Detected and false lesions by volume."),
    ("by_site", SiteRow, lambda m: m.by_site, "summary.tsv for each site."),
    ("agreement", AgreementRow, lambda m: m.agreement, "Agreement of volumes and counts over cases."),
    ("isbi", IsbiRow, lambda m: m.isbi, "Raw score of the ISBI 2015 longitudinal challenge."),
    ("froc", FrocRow, lambda m: m.froc, "Lesion sensitivity against false candidates per case (free-response ROC)."),
    ("thresholds", ThresholdRow, lambda m: m.thresholds, "Scores against the threshold on the probability map."),
)


def write_tables(result: EvaluateResult, out: Path) -> None:
    """Write every table and settings.json; one without rows has its header only. Raises: CannotCreate."""
    _write_cases(result.methods, out / "per_case.tsv")
    _write_not_scored(result, out / "not_scored.tsv")
    for name, kind, rows_of, description in _OF_METHODS:
        columns = METHOD | columns_of(kind)
        rows = [{"method": method.name, **_cells(row, kind)} for method in result.methods for row in rows_of(method)]
        write_table(out / f"{name}.tsv", rows, columns, description=description)
    _write_raters(out / "raters.tsv", result.raters, RaterRow, "Raters against the reference and against each other; methods against both.")
    _write_raters(out / "isbi_raters.tsv", result.isbi_raters, RaterIsbiRow, "isbi.tsv for raters, and for methods against each rater.")
    compared = [_cells(row, ComparisonRow) for row in result.comparison]
    write_table(out / "comparison.tsv", compared, columns_of(ComparisonRow), description="Methods against each other, paired by patient.")
    write_json(out / "settings.json", result.settings)


def _write_raters(path: Path, rows: Sequence[Any], kind: type[Any], description: str) -> None:
    columns = columns_of(kind)
    columns = {name: columns[name] for name in ("rater", "against")} | columns
    write_table(path, [_cells(row, kind) for row in rows], columns, description=description)


def _write_not_scored(result: EvaluateResult, path: Path) -> None:
    of_methods = [(method.name, row) for method in result.methods for row in method.not_scored]
    of_raters = [(f"{rated.rater} against {rated.against}", row) for rated in result.rater_results for row in rated.listed]
    rows = [{"method": name, **_cells(row, NotScored)} for name, row in (*of_methods, *of_raters)]
    write_table(path, rows, METHOD | columns_of(NotScored), description="Cases that were not compared, and why.")


def _write_cases(methods: Iterable[MethodResult], path: Path) -> None:
    rows = [
        {**_cells(scores, CaseScores), **_extra(case), "method": method.name}
        for method in methods
        for case, scores in zip(method.cases, method.scores, strict=True)
    ]
    write_table(path, rows, columns_of(CaseScores) | CASE_EXTRA, description="Scores of each case; settings.json says how they were made.")


def _cells(row: Any, kind: type[Any]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in columns_of(kind)}


def _extra(case: EvaluatedCase) -> dict[str, Any]:
    return {"patient": case.patient, "site": case.site, "predicted": case.predicted, "reference": case.reference}


def settings(config: EvaluateConfig, rules: Rules, methods: Sequence[MethodResult], raters: Sequence[RaterResult]) -> Mapping[str, Any]:
    """Everything that decides a number, as settings.json has it."""
    one = methods[0] if len(methods) == 1 else None
    return {
        "Predicted": None if config.predicted is None else str(config.predicted.resolve()),
        "Reference": None if config.reference is None else str(config.reference.resolve()),
        "Methods": {method.name: _where(config, method.name) for method in methods},
        "Raters": {name: str(path.resolve()) for name, path in config.raters.items()},
        "Options": _options(config),
        "Rules": {**dataclasses.asdict(rules), "threshold": config.threshold, "nsd_tolerance_mm": NSD_TOLERANCE_MM},
        "Definitions": {
            "surface": "mask voxels with a face neighbour outside the mask or the image; distances between voxel centres",
            "hd95_mm": "larger of the two directed 95th percentiles, linear interpolation",
            "hd95_pooled_mm": "95th percentile of both directions together, linear interpolation",
            "lesion_f1": "MSSEG: alpha, beta, gamma as in Rules; ties by overlap, then lesion size, then raster order",
            "sd": "ddof 1",
            "ci95": f"percentile bootstrap of the mean, {RESAMPLES} resamples of patients, seed {SEED}; proportions: Wilson",
            "by_size": f"lower ends of the ranges: {', '.join(f'{edge:g}' for edge in SIZE_EDGES_MM3)} mm3",
            "comparison": COMPARISON,
            "froc": f"candidates: components of probability >= {CANDIDATE_PROBABILITY:g}, limits as in Rules; a hit: any shared voxel",
            "missing": "in no mean" if config.missing == "report" else "scored as empty masks",
            "resampling": "nearest neighbour, onto the grid of the reference" if config.resample else "none",
        },
        "Cases": _cases(one) if one else {method.name: _cases(method) for method in methods},
        "RaterCases": {f"{result.rater} against {result.against}": len(result.scores) for result in raters},
        "Versions": {
            "coactseg": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "scipy", "connected-components-3d", "nibabel")},
        },
    }


def _where(config: EvaluateConfig, name: str) -> str:
    place = config.methods.get(name, config.predicted)
    return str(place.resolve()) if place is not None else ""


def _options(config: EvaluateConfig) -> dict[str, Any]:
    """What was chosen otherwise than by default, by the name of the field; places and the page are said elsewhere or change no number."""
    left_out = {"predicted", "reference", "out_dir", "methods", "raters", "nprocs", "report"}
    return {
        item.name: _plain(getattr(config, item.name))
        for item in dataclasses.fields(config)
        if item.name not in left_out and getattr(config, item.name) != _default(item)
    }


def _default(item: dataclasses.Field[Any]) -> Any:
    return item.default_factory() if item.default_factory is not dataclasses.MISSING else item.default


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.value if isinstance(value, Enum) else str(value) if isinstance(value, Path) else value


def _cases(method: MethodResult) -> dict[str, Any]:
    named = {status: [row.case for row in method.not_scored if row.status == status] for status in ("failed", "missing", "surplus")}
    return {"scored": len(method.scores), **named, "resampled": [case.case for case in method.cases if case.resampled]}
