"""Whole volumes through the network in training, scored as `evaluate` scores; chooses the checkpoint, and never looks at a test set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from bids_app.cases import LabelKind
from coactseg_cli.components import remove_small
from coactseg_cli.config import Precision, SegmentConfig, TrainConfig
from coactseg_cli.metrics.case import CasePair, score_case
from coactseg_cli.metrics.columns import CaseScores
from coactseg_cli.metrics.conventions import Convention, rules_of
from coactseg_cli.network.fast_vnet import Head
from coactseg_cli.network.inference import Engine, make_engine
from coactseg_cli.network.model import VNet
from coactseg_cli.network.ranks import Ranks
from coactseg_cli.sampling.patches import Case
from coactseg_cli.targets import IGNORE
from coactseg_cli.volumes import Volume

THRESHOLD = 0.5
MIN_LESION_MM3 = 3.0  # as in segment


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One case at one validation; undefined scores are NaN."""

    iteration: int
    case: str
    kind: str  # all or new
    dice: float
    lesion_sensitivity: float
    lesion_ppv: float
    lesion_f1: float
    lesions_ref: int
    lesions_pred: int
    false_lesions: int
    volume_ref_mm3: float
    volume_pred_mm3: float
    hd95_mm: float

    @property
    def score(self) -> float:
        """What the checkpoint is chosen by: Dice; in a case without a lesion 1 for an empty map and 0 for any lesion."""
        if self.lesions_ref == 0 and math.isnan(self.dice):
            return float(self.lesions_pred == 0)
        return self.dice


COLUMNS = tuple(item.name for item in fields(Row))


def validate(network: VNet, cases: Sequence[Case], config: TrainConfig, ranks: Ranks, iteration: int) -> list[Row]:
    """Score every labelled case: the new-lesion map of a pair, the all-lesion map of a single scan; the processes share the cases.

    Voxels that the label ignores count neither in the map nor in the label. Returns: rows in the order of the cases, in every process.
    """
    plain = VNet(network.base_filters)  # without what sharing with other processes put into it
    plain.load_state_dict({name: value.detach().cpu() for name, value in network.state_dict().items()})
    engine = make_engine(
        plain.eval(),
        SegmentConfig(
            precision=Precision.FP32 if config.reproducible else config.precision, device=str(ranks.device), threads=config.threads
        ),
    )
    jobs = [case for case in cases if (case.new if case.is_pair else case.all_baseline) is not None]
    mine = [(number, _row(case, engine, iteration)) for number, case in enumerate(jobs) if number % ranks.world == ranks.rank]
    return [row for _, row in sorted(ranks.gather(mine), key=lambda item: item[0])]


def _row(case: Case, engine: Engine, iteration: int) -> Row:
    head = Head.NEW if case.is_pair else Head.ALL_FOLLOWUP
    target = case.new if case.is_pair else case.all_baseline
    followup = case.baseline if case.followup is None else case.followup
    probability = engine.run(np.array(case.baseline), np.array(followup), np.array(case.brain), [head])[head]
    assert target is not None
    scores = score(probability, np.asarray(target), np.asarray(case.brain), case)
    names = [name for name in COLUMNS if name not in {"iteration"}]
    return Row(iteration=iteration, **{name: getattr(scores, name) for name in names})


def score(probability: np.ndarray, target: np.ndarray, brain: np.ndarray, case: Case) -> CaseScores:
    """The scores of one map against one label (int8 with IGNORE), arrays (X, Y, Z)."""
    known = target != IGNORE
    x, y, z = case.spacing_mm
    predicted = remove_small((probability >= THRESHOLD) & brain & known, x * y * z, MIN_LESION_MM3)
    affine = np.diag([x, y, z, 1.0])
    kind = LabelKind.NEW if case.is_pair else LabelKind.ALL
    pair = CasePair(case.name, kind, Volume(predicted, affine), Volume(target == 1, affine), case.spacing_mm)
    return score_case(pair, rules_of(Convention.MM)).scores


def summary_score(rows: Sequence[Row]) -> float:
    """One number for a validation: the mean over the kinds of maps of the mean over cases; NaN without a case.

    A kind with many cases does not outweigh the other.
    """
    kinds = [[row.score for row in rows if row.kind == kind] for kind in sorted({row.kind for row in rows})]
    means = [sum(scores) / len(scores) for scores in kinds]
    return sum(means) / len(means) if means else math.nan


def mean_of(rows: Sequence[Row], kind: str, name: str) -> float:
    """Mean of a column over the cases of a kind in which it is defined; NaN where there is none."""
    values = [float(getattr(row, name)) for row in rows if row.kind == kind]
    defined = [v for v in values if not math.isnan(v)]
    return sum(defined) / len(defined) if defined else math.nan
