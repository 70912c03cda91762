"""What the cohort's page says in sentences. Numbers are counts of rows of the tables, or their cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from bids_app.report import Finding, format_cell
from bids_app.tables import number
from coactseg_cli.cohort.columns import COLUMNS, MADE_WITH, NA, Cells, Status
from coactseg_cli.cohort.gathering import Cohort
from coactseg_cli.cohort.statistics import FEWEST, LIMIT_SD

RESEARCH_LINE = "Research use only; not for diagnosis."
NAMES = {
    "model_name": "Model",
    "model_sha256": "Model, SHA-256",
    "coactseg_version": "CoactSeg",
    "threshold_all": "Threshold, all lesions",
    "threshold_new": "Threshold, new lesions",
    "threshold_resolved": "Threshold, resolved lesions",
    "min_lesion_mm3": "Lesions dropped up to (mm³)",
    "inference": "Inference",
    "precision": "Precision",
    "brain_extraction": "Brain extraction",
    "normalization": "Intensities",
}
STATUS_WORDS = {status.value: status.value.replace("_", " ") for status in Status}
OUTLIER_RULE = (
    f"A value is named where it is further from the median than {LIMIT_SD} robust standard deviations (1.4826 times the median absolute "
    "deviation; where that is 0, 1.2533 times the mean absolute deviation; Iglewicz and Hoaglin 1993). Counts and volumes, which are "
    "skewed, are compared as ln(1 + value), and of them only large values are named. Small distances from the median are never named. "
    f"Of fewer than {FEWEST} values none is. An outlier is a reason to look at the participant's page, not to leave the participant out."
)
METHODS = (
    "group_lesions.tsv gathers what the tables and sidecars of each participant say. Nothing is measured anew, but for the brain mask of a "
    "scan without a session label. Lesion load is the volume of all lesions of the visit as a share of the volume of the brain mask, which "
    "holds cerebrospinal fluid too. The change of volume is the difference of the volumes of all lesions at the two visits, each on "
    "the scan's own grid; per year means per 365.25 days. It holds the noise of both maps, so that small changes mean nothing.",
    "Distributions and outliers of pairs are those of consecutive visits. A row of a pair stands for one comparison; no number of a pair "
    "stands in the row of a visit, so that sums over rows count nothing twice.",
    "A brain mask that changes by several percent between visits is a fault of brain extraction, not atrophy.",
)
FILES = (
    ("group_lesions.tsv, .json", "A row per visit (row_type visit), per pair (pair) and per participant without results (participant)."),
    ("group_summary.tsv, .json", "Distributions and limits of this page."),
    ("group_outliers.tsv, .json", "Values outside the limits."),
    ("group_flags.tsv, .json", "Quality flags that were raised."),
    ("participants.tsv, .json", "Participants that the first folder holds."),
    ("R", 'd <- read.delim("group_lesions.tsv", na.strings = "n/a"); pairs <- subset(d, row_type == "pair" & consecutive == 1)'),
    (
        "pandas",
        'd = pd.read_csv("group_lesions.tsv", sep="\\t", na_values="n/a"); pairs = d.query("row_type == \'pair\' and consecutive == 1")',
    ),
)


def research_line(cohort: Cohort) -> str:
    """What the models say of themselves where they agree."""
    found = {row["intended_use"] for row in cohort.visits} - {NA}
    return found.pop() if len(found) == 1 else RESEARCH_LINE


def lead(cohort: Cohort) -> str:
    """What the page is about, in a sentence."""
    folders = f" from {len(cohort.outputs)} output folders" if len(cohort.outputs) > 1 else ""
    return f"Multiple sclerosis lesions on FLAIR MRI: {_n(participants(cohort.rows), 'participant')}{folders}."


def folder(output: str) -> str:
    """An output folder as the page names it."""
    return "here" if output == "." else output


def participants(rows: Iterable[Cells]) -> int:
    """How many participants the rows are about."""
    return len({row["participant_id"] for row in rows})


def headline(cohort: Cohort) -> tuple[Finding, ...]:
    """Who is done, who is not, how many visits and pairs, and in how many something is new."""
    done = participants(cohort.visits)
    missing = participants(cohort.rows) - done
    findings = [
        Finding("Participants done", done, note=f"of {participants(cohort.rows)} known"),
        Finding("Not done", missing, note="see Not done" if missing else "nobody is missing"),
        Finding("Visits", len(cohort.visits)),
        Finding("Pairs", len(cohort.pairs)),
    ]
    new = [number(row["new_lesions"]) for row in cohort.pairs if row["consecutive"] == "1" and row["new_lesions"] != NA]
    if new:
        findings.append(Finding("Pairs with new lesions", sum(n > 0 for n in new), note=f"of {len(new)} pairs of consecutive visits"))
    flagged = sum(number(row["n_flags"]) > 0 for row in cohort.visits)
    return (*findings, Finding("Visits with quality flags", flagged, note=f"of {len(cohort.visits)}"))


def warnings(cohort: Cohort) -> list[str]:
    """What a reader must know before using the numbers."""
    return [*_missing(cohort), *_mixtures(cohort), *_places(cohort), *_floor(cohort), *_corrected(cohort)]


def _missing(cohort: Cohort) -> list[str]:
    counts = Counter(row["status"] for row in cohort.not_done)
    said = [f"{n} {STATUS_WORDS[status]}" for status, n in sorted(counts.items())]
    lost = [f"Participants without results: {', '.join(said)}. They are in no number below."] if said else []
    return lost + [f"Broken file: {problem}" for problem in cohort.problems]


def _mixtures(cohort: Cohort) -> list[str]:
    """A sentence for each choice that differs within the cohort."""
    found = []
    for name in MADE_WITH:
        values = made_with(cohort, name)
        if len(values) > 1:
            said = "; ".join(f"{_shown(name, value)} in {_n(n, 'participant')}" for value, n in values)
            found.append(f"{NAMES[name]} differs within this cohort: {said}. Numbers made differently must not be pooled without a reason.")
    return found


def made_with(cohort: Cohort, name: str) -> list[tuple[str, int]]:
    """The values of a column that decides maps, each with its number of participants, the most frequent first."""
    rows = [row for row in (*cohort.visits, *cohort.pairs) if row[name] != NA]
    values = sorted({row[name] for row in rows})
    counted = [(value, participants(row for row in rows if row[name] == value)) for value in values]
    return sorted(counted, key=lambda item: -item[1])


def _shown(name: str, value: str) -> str:
    return value[:12] if name == "model_sha256" else value


def _places(cohort: Cohort) -> list[str]:
    found = []
    if cohort.without_raw:
        names = ", ".join(folder(output) for output in cohort.without_raw)
        found.append(f"The raw data set of {names} cannot be reached from here, so that participants whom no run has begun are not listed.")
    several = [name for name, n in _outputs_of(cohort.visits).items() if n > 1]
    if several:
        found.append(f"In several output folders, so that the visits were not compared with each other: {_listed(several)}.")
    return found


def _outputs_of(rows: Sequence[Cells]) -> dict[str, int]:
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row["participant_id"], set()).add(row["output"])
    return {name: len(outputs) for name, outputs in found.items()}


def _listed(names: Sequence[str], most: int = 10) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _floor(cohort: Cohort) -> list[str]:
    """The false-positive floor, where null pairs were read."""
    values = [number(row["nullpair_lesions"]) for row in cohort.visits if row["nullpair_lesions"] != NA]
    wrong = sum(n > 0 for n in values)
    if not wrong:
        return []
    return [f"In {wrong} of {len(values)} visits the network calls something new where the visit is compared with itself."]


def _corrected(cohort: Cohort) -> list[str]:
    n = sum(row["hand_corrected"] == "1" for row in cohort.visits)
    return [f"Masks of {n} of {len(cohort.visits)} visits were corrected by hand."] if n else []


def versions(cohort: Cohort) -> tuple[tuple[str, str], ...]:
    """What decided the maps, with the number of participants of each value where there are several."""
    rows = []
    for name in MADE_WITH:
        values = made_with(cohort, name)
        said = values[0][0] if len(values) == 1 else "; ".join(f"{value} ({_n(n, 'participant')})" for value, n in values)
        rows.append((NAMES[name], said or NA))
    return (*rows, ("Output folders", ", ".join(folder(output) for output in cohort.outputs)))


def definitions(names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Columns and what they mean."""
    found = []
    for name in names:
        column = COLUMNS[name]
        found.append((name, column.description + (f" ({column.units})" if column.units else "")))
    return tuple(found)


def _n(n: int, what: str) -> str:
    return f"{format_cell(n)} {what}{'' if n == 1 else 's'}"
