"""How scores are called, rounded and drawn on the page. Their definitions are those of the columns of per_case.tsv."""

from __future__ import annotations

from dataclasses import dataclass

from coactseg_cli.metrics.columns import CaseScores, columns_of
from coactseg_cli.metrics.conventions import Convention

UNITS = {"mm3": "mm³", "percent": "%"}
KINDS = {"all": "All lesions", "new": "New lesions"}


@dataclass(frozen=True, slots=True)
class Shown:
    """One score on the page."""

    metric: str  # column of per_case.tsv
    title: str
    digits: int
    limits: tuple[float, float] | None = None  # of its axis
    may_log: bool = False  # a logarithmic axis where the values need it

    @property
    def unit(self) -> str:
        """As readers know it; empty: none."""
        units = columns_of(CaseScores)[self.metric].units
        return UNITS.get(units, units) if units else ""

    @property
    def description(self) -> str:
        """What the column of per_case.tsv means."""
        return columns_of(CaseScores)[self.metric].description

    @property
    def axis(self) -> str:
        """Title with the unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


_SHARE = (0.0, 1.0)
_ALL = (
    Shown("dice", "Dice", 3, _SHARE),
    Shown("lesion_f1", "Lesion F1", 3, _SHARE),
    Shown("lesion_sensitivity", "Lesion sensitivity", 3, _SHARE),
    Shown("lesion_ppv", "Lesion PPV", 3, _SHARE),
    Shown("precision", "Precision (voxels)", 3, _SHARE),
    Shown("sensitivity", "Sensitivity (voxels)", 3, _SHARE),
    Shown("hd95_mm", "HD95", 2, may_log=True),
    Shown("hd95_pooled_voxel", "HD95 pooled", 2, may_log=True),
    Shown("assd_mm", "ASSD", 2, may_log=True),
    Shown("asd_pred_to_ref_voxel", "ASD predicted to reference", 2, may_log=True),
    Shown("nsd_1mm", "NSD at 1 mm", 3, _SHARE),
    Shown("volume_difference_mm3", "Volume difference", 1),
    Shown("volume_difference_percent", "Volume difference", 1),
    Shown("volume_error_percent", "Volume error without sign", 1),
    Shown("false_lesions", "False lesions", 2),
    Shown("false_volume_mm3", "Volume of false lesions", 1, may_log=True),
    Shown("lesions_ref", "Reference lesions", 2),
    Shown("lesions_pred", "Predicted lesions", 2),
    Shown("volume_ref_mm3", "Reference volume", 1, may_log=True),
    Shown("volume_pred_mm3", "Predicted volume", 1, may_log=True),
    Shown("specificity", "Specificity (voxels)", 5),
    Shown("lesion_tpr_any", "Lesion TPR, any overlap", 3, _SHARE),
    Shown("lesion_fdr_any", "Lesion FDR, any overlap", 3, _SHARE),
    Shown("panoptic_pq", "Panoptic quality", 3, _SHARE),
)
SHOWN = {one.metric: one for one in _ALL}

_IN_MM = ("hd95_mm", "assd_mm", "nsd_1mm")
_IN_VOXELS = ("hd95_pooled_voxel", "asd_pred_to_ref_voxel")
WITHOUT_REFERENCE = ("false_lesions", "false_volume_mm3", "specificity")
BY_SITE = ("dice", "lesion_f1", "lesion_sensitivity", "lesion_ppv", "false_lesions")
SITE_PLOTS = ("dice", "lesion_f1")


def distances(convention: str) -> tuple[str, ...]:
    """The distances that the convention reports."""
    return _IN_VOXELS if convention == Convention.COACTSEG else _IN_MM


def main_metrics(convention: str) -> tuple[Shown, ...]:
    """Scores of the main table, in its order."""
    lesions = ("lesion_f1", "lesion_sensitivity", "lesion_ppv", "false_lesions")
    names = ("dice", *lesions, "precision", "sensitivity", *distances(convention), "volume_difference_mm3", "volume_difference_percent")
    return tuple(SHOWN[name] for name in names)


def plotted_metrics(convention: str) -> tuple[Shown, ...]:
    """Scores that get a box plot."""
    names = ("dice", "lesion_f1", "lesion_sensitivity", "lesion_ppv", *distances(convention), "volume_difference_percent", "false_lesions")
    return tuple(SHOWN[name] for name in names)


def case_metrics(convention: str) -> tuple[Shown, ...]:
    """Scores of the table of single cases."""
    counts = ("lesions_ref", "lesions_pred", "false_lesions", "volume_ref_mm3", "volume_pred_mm3")
    names = ("dice", "lesion_f1", "lesion_sensitivity", "lesion_ppv", *distances(convention)[:2], *counts)
    return tuple(SHOWN[name] for name in names)


def kind_title(kind: str) -> str:
    """All lesions or New lesions."""
    return KINDS.get(kind, kind)


def shown(metric: str) -> Shown:
    """How a score is shown; one that has no entry is shown by its column's name."""
    return SHOWN.get(metric) or Shown(metric, metric, 3)
