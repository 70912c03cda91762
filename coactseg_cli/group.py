"""Stage: the participants' tables in OUT -> tables and a page of the cohort. Reads tables and sidecars only; runs no network.

OUT, OUT2 -> (gathering) Cohort -> (statistics) group_{lesions,summary,outliers,flags}.tsv -> (page) group_lesions.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bids_app.derivatives import Derivatives, write_participants
from bids_app.errors import NothingMatched
from bids_app.files import remove_leftovers, write_text
from bids_app.locks import locked
from bids_app.tables import write_table
from coactseg_cli.cohort.columns import FLAG_COLUMNS, OUTLIER_COLUMNS, SUMMARY_COLUMNS, Status
from coactseg_cli.cohort.gathering import Cohort, gather

DESCRIPTIONS = {
    "group_lesions": "A row per visit and per pair of visits of the cohort, and a row per participant without results.",
    "group_summary": "Distributions of the columns of group_lesions.tsv.",
    "group_outliers": "Values of group_lesions.tsv that lie outside the limits of group_summary.tsv.",
    "group_flags": "Quality flags that were raised, one per row.",
}


@dataclass(frozen=True, slots=True)
class GroupResult:
    """What was written, in words, and the exit code."""

    text: str
    exit_code: int  # 1 where a table is broken


def group(out_dir: Path, merge: Sequence[Path] = (), raw: Path | None = None) -> GroupResult:
    """Write group_lesions.tsv, .json and .html, group_summary, group_outliers, group_flags and participants.tsv in out_dir.

    Args:
        out_dir: output folder of segment.
        merge: further ones; they are only read.
        raw: raw data set of out_dir, for the names of participants that were never started, where the link in OUT leads nowhere.

    Raises: NoInput for a folder that is not there, NothingMatched without any participant, CannotCreate, InvalidConfig where two folders
        differ in the results of one visit.
    """
    cohort = gather(out_dir, merge, raw)
    if not any(row["status"] != Status.NOT_STARTED for row in cohort.rows):
        msg = f"{out_dir} holds no segmented participant; run 'coactseg segment BIDS {out_dir} participant' first"
        raise NothingMatched(msg)
    here = tuple(path.name.removeprefix("sub-") for path in sorted(out_dir.glob("sub-*")) if path.is_dir())
    with locked(out_dir / "logs" / "locks" / "group"):
        for name in (*DESCRIPTIONS, "participants"):
            for extension in (".tsv", ".json", ".html"):
                remove_leftovers(out_dir / f"{name}{extension}")
        _write(cohort, out_dir)
        write_participants(Derivatives(out_dir), here)
    return GroupResult(_said(cohort, out_dir), 1 if cohort.problems else 0)


def _write(cohort: Cohort, out_dir: Path) -> None:
    from coactseg_cli.cohort.page import page_of, render
    from coactseg_cli.cohort.statistics import outliers, summarise

    summary, found = summarise(cohort), outliers(cohort)
    tables = {
        "group_lesions": (cohort.rows, cohort.columns),
        "group_summary": (summary, SUMMARY_COLUMNS),
        "group_outliers": ([one.cells() for one in found], OUTLIER_COLUMNS),
        "group_flags": (cohort.flags, FLAG_COLUMNS),
    }
    for name, (rows, columns) in tables.items():
        write_table(out_dir / f"{name}.tsv", rows, columns, description=DESCRIPTIONS[name])
    write_text(out_dir / "group_lesions.html", render(page_of(cohort, summary, found)))


def _said(cohort: Cohort, out_dir: Path) -> str:
    """Counts of rows, who is missing, what is broken, where the page lies."""
    done = len({row["participant_id"] for row in cohort.visits})
    counts = [f"{done} participants, {len(cohort.visits)} visits, {len(cohort.pairs)} pairs"]
    for status in Status:
        n = sum(row["status"] == status for row in cohort.not_done)
        counts += [f"{n} {status.value.replace('_', ' ')}"] if n else []
    broken = [f"broken: {problem}" for problem in cohort.problems]
    return "\n".join([*broken, f"{', '.join(counts)}: {out_dir / 'group_lesions.tsv'}; page {out_dir / 'group_lesions.html'}"])
