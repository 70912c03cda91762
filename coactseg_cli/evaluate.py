"""Stage: pairs of predicted and reference masks to tables of scores. Loads neither torch nor ants; segments and resamples nothing."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from bids_app.cases import LabelKind, MaskPair
from bids_app.errors import BidsAppError, NothingMatched, UnreadableImage
from bids_app.files import write_json
from bids_app.maskpairs import read_mask_pairs
from bids_app.tables import write_table
from coactseg_cli import __version__
from coactseg_cli.config import EvaluateConfig
from coactseg_cli.errors import InvalidConfig
from coactseg_cli.metrics.bootstrap import RESAMPLES, SEED
from coactseg_cli.metrics.case import NSD_TOLERANCE_MM, CasePair, CaseResult, score_case
from coactseg_cli.metrics.cohort import activity, patient_of, summarise
from coactseg_cli.metrics.columns import CaseScores, LesionRow, columns_of
from coactseg_cli.metrics.conventions import Convention, Rules, rules_of
from coactseg_cli.metrics.results import ONLY_METHOD, EvaluatedCase, EvaluateResult, MethodResult
from coactseg_cli.metrics.rows import ActivityRow, NotScored, SummaryRow
from coactseg_cli.volumes import Volume, load, require_same_grid

Log = Callable[[str], None]
INTEGER_TOLERANCE = 1e-5  # a value this close to an integer is one: scaled files are not exact


def evaluate(config: EvaluateConfig, log: Log) -> EvaluateResult:
    """Score every pair of masks and write the tables to `config.out_dir`. One bad case does not stop the others.

    Raises: InvalidConfig; NoInput, InvalidDataset, AmbiguousScan and NothingMatched where the inputs make no pairs; CannotCreate.
    """
    rules = checked_rules(config)
    pairs = mask_pairs(config)
    results: list[CaseResult] = []
    not_scored: list[NotScored] = []
    for number, pair in enumerate(pairs, start=1):
        outcome = _score(pair, rules, config.threshold)
        if isinstance(outcome, NotScored):
            not_scored.append(outcome)
            log(f"[{number}/{len(pairs)}] {pair.case} {pair.kind}: {outcome.status}: {outcome.reason}")
        else:
            results.append(outcome)
            log(f"[{number}/{len(pairs)}] {pair.case} {pair.kind}: {_headline(outcome.scores)}")
    scores = tuple(result.scores for result in results)
    method = MethodResult(
        name=ONLY_METHOD,
        cases=tuple(
            EvaluatedCase(case=p.case, kind=str(p.kind), patient=patient_of(p.case), predicted=p.predicted, reference=p.reference)
            for p in pairs
            if p.reference and (p.case, str(p.kind)) in {(s.case, s.kind) for s in scores}
        ),
        scores=scores,
        lesions=tuple(lesion for result in results for lesion in result.lesions),
        summary=summarise(scores, [patient_of(s.case) for s in scores]),
        activity=activity(scores, [patient_of(s.case) for s in scores]),
        not_scored=tuple(not_scored),
    )
    result = EvaluateResult(methods=(method,))
    _write(result, config, rules)
    log(
        f"{len(scores)} scored, {len(result.failures)} failed, {len(result.missing)} missing, {len(result.surplus)} surplus; "
        f"tables in {config.out_dir}"
    )
    return result


def checked_rules(config: EvaluateConfig) -> Rules:
    """Take the rules that the configuration names. Raises: InvalidConfig."""
    if config.convention not in set(Convention):
        msg = f"--convention must be one of {', '.join(Convention)}; got {config.convention!r}"
        raise InvalidConfig(msg)
    if config.connectivity not in {None, 6, 18, 26}:
        msg = f"--connectivity must be 6, 18 or 26; got {config.connectivity}"
        raise InvalidConfig(msg)
    if config.threshold is not None and not 0 < config.threshold < 1:
        msg = f"--threshold must lie between 0 and 1; got {config.threshold}"
        raise InvalidConfig(msg)
    for name, limit in (("--min-lesion-mm3", config.min_lesion_mm3), ("--min-lesion-voxels", config.min_lesion_voxels)):
        if limit is not None and not limit >= 0:
            msg = f"{name} must not be negative; got {limit}"
            raise InvalidConfig(msg)
    return rules_of(Convention(config.convention), config.connectivity, config.min_lesion_mm3, config.min_lesion_voxels)


def mask_pairs(config: EvaluateConfig) -> tuple[MaskPair, ...]:
    """Find the pairs: of two files, two folders or two data sets.

    Raises: NoInput, InvalidDataset, AmbiguousScan; NothingMatched where no prediction has a reference.
    """
    pairs = read_mask_pairs(config.predicted, config.reference, config.kind, config.participant_labels)
    if not any(pair.predicted and pair.reference for pair in pairs):
        only_predicted = sum(pair.predicted is not None for pair in pairs)
        only_reference = sum(pair.reference is not None for pair in pairs)
        msg = (
            f"no mask of {config.predicted} ({only_predicted} masks) has a counterpart in {config.reference} ({only_reference} masks), "
            f"kind {config.kind or 'all or new'}. Compare the file names, or choose another --kind or --participant-label."
        )
        raise NothingMatched(msg)
    return pairs


def _score(pair: MaskPair, rules: Rules, threshold: float | None) -> CaseResult | NotScored:
    if pair.predicted is None:
        return _not_scored(pair, "missing", f"no prediction for {pair.reference}")
    if pair.reference is None:
        return _not_scored(pair, "surplus", f"no reference for {pair.predicted}")
    try:
        return score_case(load_pair(pair.case, pair.kind, pair.predicted, pair.reference, threshold), rules)
    except (BidsAppError, OSError, MemoryError) as error:
        return _not_scored(pair, "failed", str(error) or type(error).__name__)


def _not_scored(pair: MaskPair, status: str, reason: str) -> NotScored:
    return NotScored(case=pair.case, kind=str(pair.kind), status=status, reason=reason)


def load_pair(case: str, kind: LabelKind, predicted: Path, reference: Path, threshold: float | None = None) -> CasePair:
    """Read two masks of one grid. Raises: UnreadableImage, ConflictingGeometry, GridMismatch."""
    first, second = load(predicted), load(reference)
    require_same_grid(first, second, str(predicted), str(reference))
    return CasePair(
        case, kind, binarise(first, predicted, threshold), binarise(second, reference, threshold), _as_written(second.spacing_mm)
    )


def _as_written(spacing_mm: tuple[float, float, float]) -> tuple[float, float, float]:
    """The shortest decimals that the header's single precision can mean: 0.9, not 0.8999999761581421."""
    x, y, z = (float(str(np.float32(edge))) for edge in spacing_mm)
    return x, y, z


def binarise(volume: Volume, path: Path, threshold: float | None = None) -> Volume:
    """Turn a mask into booleans: a label above 0 is lesion; values between integers need a threshold, from which on they are lesion.

    Raises: UnreadableImage for negative values, and for values between integers without a threshold.
    """
    data = volume.data
    if data.min() < -INTEGER_TOLERANCE:
        msg = f"{path}: expected a mask or probabilities; the smallest value is {data.min():g}. Give the lesion mask, not the scan."
        raise UnreadableImage(msg)
    between = np.abs(data - np.round(data)) > INTEGER_TOLERANCE
    if not between.any():
        return volume.like(data > 0.5)
    if threshold is None:
        msg = (
            f"{path}: expected a mask of integers; {int(between.sum())} voxels lie between, for instance {data[between][0]:g}. "
            "Give --threshold to binarise probabilities."
        )
        raise UnreadableImage(msg)
    if data.max() > 1 + INTEGER_TOLERANCE:
        msg = f"{path}: --threshold needs probabilities from 0 to 1; the largest value is {data.max():g}. Scale the map or give a mask."
        raise UnreadableImage(msg)
    return volume.like(data >= threshold)


def _headline(scores: CaseScores) -> str:
    if scores.lesions_ref == 0:
        return f"no reference lesion, {scores.false_lesions} false lesions"
    return f"Dice {scores.dice:.3f}, {scores.lesions_ref_detected} of {scores.lesions_ref} lesions found, {scores.false_lesions} false"


def _write(result: EvaluateResult, config: EvaluateConfig, rules: Rules) -> None:
    out = config.out_dir
    _write_rows(out / "per_case.tsv", result.scores, CaseScores, "Scores of each case; settings.json says how they were made.")
    _write_rows(
        out / "per_lesion.tsv", result.methods[0].lesions, LesionRow, "Each lesion above the size limit, and whether the other mask has it."
    )
    _write_rows(out / "summary.tsv", result.methods[0].summary, SummaryRow, "Scores over cases, with and without reference lesions apart.")
    _write_rows(out / "activity.tsv", result.methods[0].activity, ActivityRow, "Agreement on whether a patient has any lesion.")
    _write_rows(out / "not_scored.tsv", result.not_scored, NotScored, "Cases that have no row in per_case.tsv, and why.")
    write_json(out / "settings.json", _settings(result, config, rules))


def _write_rows(path: Path, rows: Sequence[Any], kind: type[Any], description: str) -> None:
    columns = columns_of(kind)
    write_table(path, [{name: getattr(row, name) for name in columns} for row in rows], columns, description=description)


def _settings(result: EvaluateResult, config: EvaluateConfig, rules: Rules) -> Mapping[str, Any]:
    return {
        "Predicted": str(config.predicted.resolve()),
        "Reference": str(config.reference.resolve()),
        "Rules": {**dataclasses.asdict(rules), "threshold": config.threshold, "nsd_tolerance_mm": NSD_TOLERANCE_MM},
        "Definitions": {
            "surface": "mask voxels with a face neighbour outside the mask or the image; distances between voxel centres",
            "hd95_mm": "larger of the two directed 95th percentiles, linear interpolation",
            "hd95_pooled_mm": "95th percentile of both directions together, linear interpolation",
            "lesion_f1": "MSSEG: alpha, beta, gamma as in Rules; ties by overlap, then lesion size, then raster order",
            "sd": "ddof 1",
            "ci95": f"percentile bootstrap of the mean, {RESAMPLES} resamples of patients, seed {SEED}; proportions: Wilson",
        },
        "Cases": {
            "scored": len(result.scores),
            "failed": [row.case for row in result.failures],
            "missing": [row.case for row in result.missing],
            "surplus": [row.case for row in result.surplus],
        },
        "Versions": {
            "coactseg": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "scipy", "connected-components-3d", "nibabel")},
        },
    }
