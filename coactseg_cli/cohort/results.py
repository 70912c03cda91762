"""What OUT says of one participant -> rows of visits and of pairs, and quality flags. Measures nothing but a brain mask without a table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bids_app.derivatives import resolve
from bids_app.errors import InvalidDataset
from bids_app.files import read_json
from bids_app.tables import Column, cell, number, read_table
from coactseg_cli.cohort.columns import BOTH, IDENTITY, NA, PAIR, VISIT, WORDS, Cells, RowType

SECONDS_PER_DAY, DAYS_PER_YEAR = 86400.0, 365.25
FALLBACK = "As in the table of the participant"
_ALL, _BRAIN, _IMAGE = "_space-orig_desc-all_dseg", "_space-orig_desc-brain_mask", "_space-individual_desc-preproc_FLAIR"


@dataclass(frozen=True, slots=True)
class Found:
    """Everything that is known of one participant; texts as they stand in a TSV."""

    rows: tuple[Cells, ...]  # visits in temporal order, then pairs
    flags: tuple[Cells, ...]  # those that are raised
    columns: Mapping[str, Column]  # columns of the participant's table that we do not know


@dataclass(frozen=True, slots=True)
class _Files:
    """The files of one folder."""

    folder: Path
    names: tuple[str, ...]

    def ending(self, ending: str) -> list[Path]:
        """Files whose names end so, sorted."""
        return [self.folder / name for name in self.names if name.endswith(ending)]

    def sidecar(self, stem: str) -> dict[str, Any]:
        """The JSON of a product; empty where there is none. Raises: InvalidDataset."""
        files = self.ending(f"{stem}.json")
        return read_json(files[0]) if files else {}


@dataclass(frozen=True, slots=True)
class _Visit:
    """One visit: its row of the sessions table, and its files."""

    cells: Cells
    maps: _Files  # of segment
    facts: dict[str, Any]  # sidecar of the map of all lesions
    prepared: _Files  # of prep: the same folder, or one of the linked data set that -d prep=PATH named

    @property
    def session(self) -> str:
        return self.cells.get("session_id", NA)

    @property
    def is_segmented(self) -> bool:
        return "all_lesions" in self.cells or bool(self.maps.ending(f"{_ALL}.tsv"))


def read(root: Path, subject: str, places: Mapping[str, Path]) -> Found:
    """Read one participant of an output folder; no rows where nothing was segmented.

    Args:
        root: the folder.
        subject: label without 'sub-'.
        places: data sets that the folder links to, name to folder (derivatives.dataset_places).

    Raises: InvalidDataset naming the file that is broken.
    """
    folder = root / f"sub-{subject}"
    visits = [visit for visit in _visits(folder, places) if visit.is_segmented]
    if not visits:
        return Found((), (), {})
    flags = _flags(folder, visits)
    days = _days(visits)
    rows = [_visit_row(visit, i, days[i], flags[visit.session]) for i, visit in enumerate(visits)]
    changes = _changes(folder / f"{folder.name}_desc-lesions_timeline.tsv")
    pairs = [_pair_row(pair, visits, rows, changes) for i in range(len(visits)) for pair in _pairs(visits, i)]
    raised = tuple(flag for visit in visits for flag in flags[visit.session] or ())
    return Found((*rows, *pairs), raised, _unknown_columns(folder, visits[0].cells))


def _visits(folder: Path, places: Mapping[str, Path]) -> list[_Visit]:
    """The visits of the sessions table; without a table, the folders of sessions, else the only visit."""
    path = folder / f"{folder.name}_sessions.tsv"
    if path.is_file():
        rows = read_table(path)
        _check_sessions(path, rows)
    else:
        rows = [{"session_id": place.name} for place in sorted(folder.glob("ses-*"))] or [{"session_id": NA}]
    return [_visit(folder, row, places) for row in rows]


def _visit(folder: Path, row: Cells, places: Mapping[str, Path]) -> _Visit:
    session = row["session_id"]
    maps = _files((folder if session == NA else folder / session) / "anat")
    facts = maps.sidecar(_ALL)
    uri = str(facts.get("SpatialReference", ""))
    scan = resolve(uri, places) if uri.startswith("bids:") else None
    elsewhere = scan is not None and scan.parent != maps.folder and not maps.ending(f"{_IMAGE}.json")
    return _Visit(row, maps, facts, _files(scan.parent) if elsewhere and scan is not None else maps)


def _files(folder: Path) -> _Files:
    return _Files(folder, tuple(sorted(path.name for path in folder.iterdir())) if folder.is_dir() else ())


def _check_sessions(path: Path, rows: list[Cells]) -> None:
    """Raises: InvalidDataset where sessions have no or the same name, or a number is none."""
    sessions = [row.get("session_id", "") for row in rows]
    if not rows or ("" in sessions or len(set(sessions)) != len(sessions)):
        msg = f"{path}: expected a row per session_id; found {', '.join(sessions) or 'none'}. Run segment again with --force."
        raise InvalidDataset(msg)
    known = {*IDENTITY, *VISIT, *PAIR, *BOTH} - WORDS
    for row in rows:
        for name in known & row.keys():
            _number(path, row, name)


def _number(path: Path, row: Cells, name: str) -> float:
    """A cell as a number. Raises: InvalidDataset with the place."""
    try:
        return number(row[name])
    except KeyError as error:
        msg = f"{path}: expected the column {name}; found {', '.join(row)}. Run segment again with --force."
        raise InvalidDataset(msg) from error
    except InvalidDataset as error:
        msg = f"{path}: column {name}: {error} Run segment again with --force."
        raise InvalidDataset(msg) from error


def _days(visits: list[_Visit]) -> list[str]:
    """Days since the first visit: the table's own, else from the times of acquisition."""
    times = [_time(visit.cells.get("acq_time", NA)) for visit in visits]
    found = []
    for visit, time in zip(visits, times, strict=True):
        own = visit.cells.get("days", NA)
        found.append(own if own != NA else _between(times[0], time))
    return found


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _between(first: datetime | None, later: datetime | None) -> str:
    if first is None or later is None or (first.tzinfo is None) != (later.tzinfo is None):
        return NA
    return cell(round((later - first).total_seconds() / SECONDS_PER_DAY, 3))


def _visit_row(visit: _Visit, place: int, days: str, flags: list[Cells] | None) -> Cells:
    known = {name: value for name, value in visit.cells.items() if name not in PAIR}
    row = {**known, "row_type": RowType.VISIT.value, "visit_number": str(place + 1), "days": days}
    if "all_lesions" not in row:
        row |= _counted(visit.maps.ending(f"{_ALL}.tsv")[0], "all")
    if row.get("brain_mask_volume_mm3", NA) == NA:
        row["brain_mask_volume_mm3"] = _brain_volume(visit)
    load, brain = number(row.get("all_volume_mm3", NA)), number(row["brain_mask_volume_mm3"])
    row["lesion_load_percent"] = cell(100.0 * load / brain if brain > 0 else math.nan)
    if flags is not None and (row.get("n_flags", NA) == NA or (flags and row.get("flags", NA) == NA)):
        row |= {"n_flags": str(len(flags)), "flags": ";".join(flag["name"] for flag in flags) or NA}
    return row | _made_with(visit)


def _counted(table: Path, kind: str) -> Cells:
    """Number and volume of the lesions of a table with a row per lesion."""
    lesions = read_table(table)
    volume = sum(_number(table, lesion, "volume_mm3") for lesion in lesions)
    return {f"{kind}_lesions": str(len(lesions)), f"{kind}_volume_mm3": cell(float(volume))}


def _brain_volume(visit: _Visit) -> str:
    """Volume of the brain mask on the scan's own grid, for a visit that no table describes."""
    files = visit.prepared.ending(f"{_BRAIN}.nii.gz")
    if not files:
        return NA
    from coactseg_cli.volumes import load

    mask = load(files[0])
    return cell(float((mask.data > 0.5).sum()) * mask.voxel_mm3)


def _made_with(visit: _Visit) -> Cells:
    """What decided the visit's maps, as its sidecars record it."""
    facts, brain, image = visit.facts, visit.prepared.sidecar(_BRAIN), visit.prepared.sidecar(_IMAGE)
    model = facts.get("Model")
    model = model if isinstance(model, dict) else {}
    return {
        "hand_corrected": str(int(bool(facts.get("HandCorrected")))) if facts else NA,
        "model_name": cell(model.get("Name")),
        "model_sha256": cell(model.get("SHA256")),
        "coactseg_version": cell(facts.get("CoactSegVersion")),
        "threshold_all": cell(facts.get("Threshold")),
        "min_lesion_mm3": cell(facts.get("MinLesionVolume")),
        "all_lesion_pass": cell(facts.get("Pass")),
        "inference": cell(facts.get("Inference")),
        "precision": cell(facts.get("Precision")),
        "brain_extraction": cell(brain.get("BrainExtraction", image.get("BrainExtraction"))),
        "normalization": cell(image.get("Normalization")),
        "intended_use": cell(facts.get("IntendedUse")),
    }


# ---- pairs


@dataclass(frozen=True, slots=True)
class _Pair:
    """A comparison: indices of its visits, and what is known of it."""

    baseline: int
    followup: int
    cells: Cells


def _pairs(visits: list[_Visit], followup: int) -> Iterator[_Pair]:
    """The comparisons of a follow-up: that of the sessions table, then further ones that have maps (--pairs all)."""
    place = {visit.session: i for i, visit in enumerate(visits) if visit.session != NA}
    visit = visits[followup]
    in_table = visit.cells.get("baseline_session_id", NA)
    known = {name: value for name, value in visit.cells.items() if name in PAIR and name != "baseline_session_id"}
    maps = _maps(visit)
    for session, cells in maps.items():
        if session in place:
            yield _Pair(place[session], followup, cells | known if session == in_table else cells)
    if in_table in place and in_table not in maps:
        yield _Pair(place[in_table], followup, known)


def _maps(visit: _Visit) -> dict[str, Cells]:
    """Baseline session -> counts and thresholds of the visit's maps of new and of resolved lesions."""
    found: dict[str, Cells] = {}
    for kind in ("new", "resolved"):
        for path in visit.maps.ending("_dseg.json"):
            if f"_space-orig_desc-{kind}_" in path.name or f"_space-orig_desc-{kind}From" in path.name:
                facts = read_json(path)
                baseline, table = facts.get("BaselineSession"), path.with_suffix(".tsv")
                if baseline is not None and table.is_file():
                    cells = found.setdefault(f"ses-{str(baseline).removeprefix('ses-')}", {})
                    cells |= _counted(table, kind) | {f"threshold_{kind}": cell(facts.get("Threshold"))}
                    if facts.get("HandCorrected"):
                        cells["hand_corrected"] = "1"
    return found


def _pair_row(pair: _Pair, visits: list[_Visit], rows: list[Cells], changes: Mapping[str, Cells]) -> Cells:
    """A comparison with what its follow-up shares with it, and the change of what was measured at both visits."""
    before, after = rows[pair.baseline], rows[pair.followup]
    consecutive = pair.followup - pair.baseline == 1
    row = {name: after.get(name, NA) for name in (*IDENTITY, *BOTH)} | pair.cells
    row |= {"row_type": RowType.PAIR.value, "baseline_session_id": visits[pair.baseline].session, "consecutive": str(int(consecutive))}
    if before["hand_corrected"] == "1":
        row["hand_corrected"] = "1"
    if consecutive:
        row |= changes.get(after["session_id"], {})
    days, volume, brain = (_difference(before, after, name) for name in ("days", "all_volume_mm3", "brain_mask_volume_mm3"))
    brain_before = number(before["brain_mask_volume_mm3"])
    return row | {
        "days_between": cell(days),
        "volume_change_mm3": cell(volume),
        "volume_change_mm3_per_year": cell(volume / days * DAYS_PER_YEAR if days > 0 else math.nan),
        "brain_mask_change_percent": cell(100.0 * brain / brain_before if brain_before > 0 else math.nan),
    }


def _difference(before: Cells, after: Cells, name: str) -> float:
    """The change of a cell; exact decimals of the table stay exact ones."""
    return round(number(after.get(name, NA)) - number(before.get(name, NA)), 6)


def _changes(timeline: Path) -> dict[str, Cells]:
    """Session -> change of volume of its enlarging and its shrinking lesions, from the table of lesions over time."""
    if not timeline.is_file():
        return {}
    sums: dict[str, dict[str, float]] = {}
    for row in read_table(timeline):
        session = sums.setdefault(row.get("session_id", NA), {"enlarging_change_mm3": 0.0, "shrinking_change_mm3": 0.0})
        if (name := f"{row.get('fate')}_change_mm3") in session:
            session[name] += _number(timeline, row, "change_mm3")
    return {session: {name: cell(round(value, 6)) for name, value in both.items()} for session, both in sums.items()}


# ---- flags

_OF_A_FLAG = ("name", "value", "units", "low", "high", "reason")


def _flags(folder: Path, visits: list[_Visit]) -> dict[str, list[Cells] | None]:
    """Session -> the flags that are raised; None where nobody looked."""
    table = folder / f"{folder.name}_desc-quality_flags.tsv"
    if not table.is_file():
        return {visit.session: _noted_flags(visit) for visit in visits}
    raised: dict[str, list[Cells]] = {visit.session: [] for visit in visits}
    for row in read_table(table):
        if _number(table, row, "flagged") > 0:
            session = row.get("session_id", NA)
            session = session if session in raised else visits[-1].session  # of no visit: the last one has it
            raised[session].append({name: row.get(name, NA) for name in _OF_A_FLAG} | {"session_id": session})
    return dict(raised)


def _noted_flags(visit: _Visit) -> list[Cells] | None:
    """The flags that a sidecar lists, else those that the sessions table names."""
    noted = visit.prepared.sidecar(_IMAGE).get("Flags")
    if isinstance(noted, list):
        flags = [flag for flag in noted if isinstance(flag, dict)]
        return [{"session_id": visit.session, "name": cell(f.get("Name")), "reason": cell(f.get("Message"))} for f in flags]
    names = visit.cells.get("flags", NA)
    if names != NA:
        return [{"session_id": visit.session, "name": name} for name in names.split(";")]
    return None if visit.cells.get("n_flags", NA) == NA else []


def _unknown_columns(folder: Path, row: Cells) -> dict[str, Column]:
    """Columns of the participant's table that are not ours, with what its dictionary says of them."""
    names = [name for name in row if name not in {**IDENTITY, **VISIT, **PAIR, **BOTH}]
    path = folder / f"{folder.name}_sessions.json"
    dictionary = read_json(path) if names and path.is_file() else {}
    return {name: _column(dictionary.get(name)) for name in names}


def _column(entry: object) -> Column:
    entry = entry if isinstance(entry, dict) else {}
    return Column(str(entry.get("Description", FALLBACK)), str(entry["Units"]) if "Units" in entry else None)
