"""Rows of the cohort to the plots of its page, each with the finding in words. Computes no statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from bids_app.evaluation_page import PlotBlock
from bids_app.plots.agreement import Cloud, points_over, scatter
from bids_app.plots.canvas import Absent, encode
from bids_app.plots.spread import Group, boxes
from bids_app.report import format_cell
from bids_app.tables import number
from coactseg_cli.cohort.columns import Cells, RowType
from coactseg_cli.cohort.gathering import Cohort
from coactseg_cli.cohort.statistics import QUANTITIES, Quantity, rows_of
from coactseg_cli.cohort.words import folder

BOX_CAPTION = "Box: 25th to 75th percentile; line: median; whiskers: the furthest value within 1.5 box lengths; a point per visit or pair."
MOST_GROUPS = 6  # rows of a plot: visits from here on share one
PLOTTED = (
    "all_volume_mm3",
    "lesion_load_percent",
    "new_lesions",
    "resolved_lesions",
    "volume_change_mm3",
    "volume_change_mm3_per_year",
    "brain_mask_change_percent",
)


@dataclass(frozen=True, slots=True)
class _Chart:
    """A figure, or why there is none, with its words."""

    name: str
    title: str
    drawn: Figure | Absent
    alt: str


def charts(cohort: Cohort, summary: Sequence[Cells]) -> PlotBlock:
    """Every plot of the page, those left out that no row has a value for."""
    drawn = [*_distributions(cohort, summary), *_clouds(cohort)]
    plots = tuple(encode(c.drawn, c.name, c.title, c.alt) for c in drawn if not isinstance(c.drawn, Absent))
    return PlotBlock(plots, tuple(f"{c.title}: {c.drawn.reason}" for c in drawn if isinstance(c.drawn, Absent)))


def _distributions(cohort: Cohort, summary: Sequence[Cells]) -> Iterator[_Chart]:
    found = {row["quantity"]: row for row in summary}
    for quantity in (q for name in PLOTTED for q in QUANTITIES if q.name == name):
        if quantity.name in found:
            yield _boxes(cohort, quantity, found[quantity.name], "by_visit", _visit)
            if len(cohort.outputs) > 1 and quantity.name in {"lesion_load_percent", "new_lesions"}:
                yield _boxes(cohort, quantity, found[quantity.name], "by_output", lambda row: folder(row["output"]))


def _boxes(cohort: Cohort, quantity: Quantity, summed: Cells, suffix: str, group_of: Callable[[Cells], str]) -> _Chart:
    groups: dict[str, list[float]] = {}
    for row in rows_of(cohort, quantity):
        groups.setdefault(group_of(row), []).append(number(row[quantity.name]))
    kept = [Group(name, values) for name, values in sorted(groups.items())]
    median, q25, q75 = (format_cell(number(summed[name]), quantity.statistic_digits) for name in ("median", "q25", "q75"))
    what = "visits" if quantity.row_type is RowType.VISIT else "pairs"
    alt = f"Box plot of {quantity.label}. All {summed['n']} {what}: median {median}, middle half {q25} to {q75}."
    title = f"{quantity.title}, {suffix.replace('_', ' ').replace('output', 'output folder')}"
    return _Chart(f"{quantity.name}_{suffix}", title, boxes(kept, quantity.label, may_log=quantity.skewed), alt)


def _visit(row: Cells) -> str:
    """The visit's place in time; late ones together, so that the plot stays a plot."""
    place = int(number(row["visit_number"]))
    late = place >= MOST_GROUPS
    against = f" against {place - 1}" if row["row_type"] == RowType.PAIR and not late else ""
    return f"Visit {MOST_GROUPS} or later" if late else f"Visit {place}{against}"


def _clouds(cohort: Cohort) -> Iterator[_Chart]:
    """Lesion volume at follow-up over baseline, and over the brain mask."""
    visits = cohort.visits
    volume = {_key(row, row["session_id"]): number(row["all_volume_mm3"]) for row in visits}
    pairs = [row for row in cohort.pairs if row["consecutive"] == "1"]
    if pairs:
        before = [volume[_key(row, row["baseline_session_id"])] for row in pairs]
        after = [volume[_key(row, row["session_id"])] for row in pairs]
        alt = f"Lesion volume at the follow-up over that at the baseline, {len(pairs)} consecutive pairs, with the line of no change."
        drawn = scatter([Cloud("pairs", before, after)], "Lesion volume, baseline (mm³)", "Lesion volume, follow-up (mm³)")
        yield _Chart("volume_follow_up_over_baseline", "Lesion volume, follow-up over baseline", drawn, alt)
    if visits:
        brain = [number(row["brain_mask_volume_mm3"]) / 1000.0 for row in visits]
        load = [number(row["all_volume_mm3"]) for row in visits]
        alt = f"Lesion volume over the volume of the brain mask, {len(visits)} visits."
        drawn = points_over([Cloud("visits", brain, load)], "Brain mask (ml)", "Lesion volume (mm³)")
        yield _Chart("volume_over_brain_mask", "Lesion volume over brain mask", drawn, alt)


def _key(row: Cells, session: str) -> tuple[str, str, str]:
    return row["participant_id"], row["output"], session
