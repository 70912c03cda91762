"""Stored masks and the answers of other programs; kept beside the project, not in it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).parents[4] / "shared" / "vectors" / "metrics"
CASE_NAMES = [
    "identical",
    "disjoint",
    "shift1",
    "touch_corner",
    "split",
    "merged",
    "tiny",
    "small_ref_under_big_pred",
    "empty_gt",
    "empty_pred",
    "both_empty",
    "only_tiny_gt",
    "only_tiny_pred",
    "random_iso",
    "random_coactseg_spacing",
    "random_aniso",
    "shift_aniso",
    "alpha_edge",
    "outside_edge",
    "greedy_stop",
    "tie_good_first",
    "single_voxels",
    "full_pred",
    "chain",
    "float_weight_edge",
    "empty_gt_tiny_pred",
]
EMPTY = {"empty_gt", "empty_gt_tiny_pred", "empty_pred", "both_empty"}
NOT_EMPTY = [name for name in CASE_NAMES if name not in EMPTY]
needs_vectors = pytest.mark.skipif(not FOLDER.is_dir(), reason="the metric vectors (../shared/vectors/metrics) are not here")


@dataclass(frozen=True)
class Case:
    name: str
    predicted: np.ndarray
    reference: np.ndarray
    affine: np.ndarray
    spacing: tuple[float, float, float]

    @property
    def voxel_mm3(self) -> float:
        return math.prod(self.spacing)


@cache
def case(name: str) -> Case:
    with np.load(FOLDER / "cases.npz") as arrays:
        predicted, reference, affine = (arrays[f"{name}__{part}"] for part in ("pred", "gt", "affine"))
    spacing = next(c["spacing_mm"] for c in json.loads((FOLDER / "cases.json").read_text()) if c["case"] == name)
    return Case(name, predicted > 0, reference > 0, affine, tuple(spacing))


@cache
def _peers() -> dict[str, Any]:
    peers: dict[str, Any] = json.loads((FOLDER / "peers.json").read_text())
    return peers


def peer(program: str, name: str) -> dict[str, float]:
    """What a program answered; NaN and infinities as numbers, errors left out."""
    answers = _peers()[program]["cases"][name]
    return {key: float(value) for key, value in answers.items() if not isinstance(value, dict) and key != "error" and value != "dbl_max"}
