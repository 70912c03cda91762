"""A folder to the timelines of its participants; what is missing, ambiguous or odd becomes a failure of one participant."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bids_app.cases import LabelKind, Scan, SubjectFailure, Timeline
from bids_app.entities import Entities, strip_prefix, try_parse
from bids_app.errors import AmbiguousScan, BidsAppError, InvalidDataset, MissingScan, NoInput, NothingMatched
from bids_app.filters import Query, read_query
from bids_app.indexing import check_description, find_subjects, has_database, list_anat, list_in_database
from bids_app.maskpairs import read_mask_pairs
from bids_app.prepared import PreparedIndex, is_prepared, read_prepared
from bids_app.sessions import in_order
from bids_app.supplied import files_of, labels_for, masks_for

__all__ = ["Index", "PreparedIndex", "has_database", "is_prepared", "read_mask_pairs", "read_prepared", "read_timelines"]

_STAGE = "index"


@dataclass(frozen=True, slots=True)
class Index:
    """What was found in a raw data set."""

    timelines: tuple[Timeline, ...]
    failures: tuple[SubjectFailure, ...]  # participants that cannot be done, and why

    @property
    def subjects(self) -> frozenset[str]:
        """Labels of everybody who was asked for and found, without 'sub-'."""
        return frozenset({t.subject for t in self.timelines} | {f.subject for f in self.failures})


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is asked of every participant."""

    query: Query
    sessions: frozenset[str]
    derivatives: Mapping[str, Path]
    label_desc: Mapping[str, LabelKind]

    @property
    def narrowed(self) -> bool:
        """Whether the user left scans out."""
        return self.query.given or bool(self.sessions)


def read_timelines(
    bids_dir: Path,
    *,
    participant_labels: Sequence[str] = (),
    session_labels: Sequence[str] = (),
    bids_filter_file: Path | None = None,
    bids_database_dir: Path | None = None,
    derivatives: Mapping[str, Path] | None = None,
    label_desc: Mapping[str, LabelKind] | None = None,
    validate: bool = True,
) -> Index:
    """Find the FLAIR scans of every participant, in temporal order, with the labels and brain masks that go with them.

    Args:
        bids_dir: raw BIDS data set.
        participant_labels: with or without 'sub-'; empty: all. Only these are indexed.
        session_labels: with or without 'ses-'; empty: all.
        bids_filter_file: JSON of fMRIPrep's format, key 'flair'.
        bids_database_dir: PyBIDS database of the whole data set; made where it is missing.
        derivatives: name to folder with brain masks and lesion labels; a prepared data set named 'prep' is passed over here
            (see read_prepared).
        label_desc: desc of further lesion labels to what they show.
        validate: whether dataset_description.json is checked.

    Raises: NoInput, InvalidDataset, NothingMatched; what concerns one participant is a SubjectFailure instead.
    """
    supplied = {name: folder for name, folder in (derivatives or {}).items() if not (name == "prep" and is_prepared(folder))}
    _require_folders(bids_dir, supplied)
    sessions = frozenset(strip_prefix(label, "ses") for label in session_labels)
    wanted = _Wanted(read_query(bids_filter_file), sessions, supplied, label_desc or {})
    if validate:
        check_description(bids_dir)
    subjects, absent = find_subjects(bids_dir, participant_labels)
    files = {} if bids_database_dir is None else list_in_database(bids_dir, subjects, bids_database_dir)
    timelines: list[Timeline] = []
    failures = [SubjectFailure(label, _STAGE, f"{bids_dir} has no folder sub-{label}. Correct --participant-label.") for label in absent]
    for subject in subjects:
        try:
            if bids_database_dir is None:
                files[subject] = list_anat(bids_dir / f"sub-{subject}")
            timelines.append(_timeline(bids_dir, subject, files[subject], wanted))
        except BidsAppError as error:
            failures.append(SubjectFailure(subject, _STAGE, str(error)))
    if wanted.narrowed and not timelines and not any(_scans(paths, wanted) for paths in files.values()):
        msg = f"{bids_dir}: no FLAIR scan passes --session-label and --bids-filter-file. First: {failures[0].message}"
        raise NothingMatched(msg)
    return Index(tuple(timelines), tuple(failures))


def _require_folders(bids_dir: Path, derivatives: Mapping[str, Path]) -> None:
    for what, folder in (("BIDS data set", bids_dir), *((f"--derivatives {name}", path) for name, path in derivatives.items())):
        if not folder.is_dir():
            found = "is not a folder" if folder.exists() else "does not exist"
            msg = f"{what}: {folder} {found}. Correct the path; in a container it must be mounted."
            raise NoInput(msg)


def _timeline(bids_dir: Path, subject: str, paths: Sequence[Path], wanted: _Wanted) -> Timeline:
    """Raise: MissingScan, AmbiguousScan, InvalidDataset."""
    scans = _scans(paths, wanted)
    if not scans:
        raise MissingScan(_nothing(subject, paths, wanted))
    _require_own_names(scans, subject)
    by_session: dict[str | None, list[Scan]] = {}
    for scan in scans:
        by_session.setdefault(scan.session, []).append(scan)
    if None in by_session and len(by_session) > 1:
        msg = (
            f"sub-{subject} has FLAIR scans with and without a session: {_names(scans)}. Move them, or choose with "
            '--bids-filter-file FILE, where FILE holds {"flair": {"session": "*"}} or {"flair": {"session": null}}.'
        )
        raise AmbiguousScan(msg)
    for candidates in by_session.values():
        if len(candidates) > 1:
            raise AmbiguousScan(_choice(candidates, scans))
    visits = in_order(scans, bids_dir / f"sub-{subject}")
    _require_content(visits)
    beside = [files_of(root, subject) for root in wanted.derivatives.values()]
    labels = labels_for(visits, [file for files in beside for file in files], wanted.label_desc)
    return Timeline(subject, visits, labels, masks_for(visits, beside))


def _scans(paths: Sequence[Path], wanted: _Wanted) -> list[Scan]:
    """Scans that the query and the session labels let pass."""
    parsed = ((path, try_parse(f"{path.parent.name}/{path.name}")) for path in paths)
    found = [Scan(path, entities) for path, entities in parsed if entities is not None and wanted.query.matches(entities)]
    return [scan for scan in found if not wanted.sessions or scan.session in wanted.sessions]


def _require_own_names(scans: Sequence[Scan], subject: str) -> None:
    """A scan whose name says another participant or session than its folder may be somebody else's. Raise: InvalidDataset."""
    for scan in scans:
        visit = scan.path.parent.parent.name
        folder = f"sub-{subject}_{visit}" if visit.startswith("ses-") else f"sub-{subject}"
        if scan.entities.visit() != folder:
            msg = f"{scan.path}: the name says {scan.entities.visit()}, the folder {folder}: whose scan is it? Rename or move the file."
            raise InvalidDataset(msg)


def _require_content(visits: Sequence[Scan]) -> None:
    for visit in visits:
        if not visit.path.is_file():
            why = "a broken link, a folder or an old database"
            msg = f"{visit.path}: listed, but not a file ({why}). Fetch it, for instance with datalad get."
            raise MissingScan(msg)


def _nothing(subject: str, paths: Sequence[Path], wanted: _Wanted) -> str:
    """What a participant without a scan has instead."""
    images = [path for path in paths if path.name.endswith((".nii", ".nii.gz"))]
    left_out = [path for path in images if path.name.partition(".")[0].endswith("_FLAIR")]
    where = f" in ses-{', ses-'.join(sorted(wanted.sessions))}" if wanted.sessions else ""
    suffixes = sorted({path.name.partition(".")[0].rpartition("_")[2] for path in images})
    found = f"left out: {', '.join(path.name for path in left_out)}" if left_out else f"found {', '.join(suffixes) or 'no image'}"
    return (
        f"sub-{subject} has no FLAIR scan{where}; {found}. Expected sub-{subject}[_ses-..]_FLAIR.nii.gz under anat. "
        "Change --bids-filter-file or --session-label, or leave the participant out with --participant-label."
    )


def _choice(candidates: Sequence[Scan], scans: Sequence[Scan]) -> str:
    """Message for several scans of one visit, with a filter file that would choose the first."""
    first = candidates[0].entities
    differing = [
        key for key in first.asdict() | candidates[1].entities.asdict() if len({_value(scan.entities, key) for scan in candidates}) > 1
    ]
    chosen = {
        key: _suggestion(_value(first, key), [_value(scan.entities, key) for scan in scans if scan not in candidates]) for key in differing
    }
    return (
        f"{first.visit()} has {len(candidates)} FLAIR scans: {_names(candidates)}. Choose one with --bids-filter-file FILE, where FILE "
        f'holds, for instance, {json.dumps({"flair": chosen})} (null: absent, "*": any, a list: one of).'
    )


def _suggestion(value: str | None, elsewhere: Sequence[str | None]) -> object:
    """A value that chooses here and still lets the scans of other visits, which may lack the entity, pass."""
    return [None, value] if value is not None and None in elsewhere else value


def _value(entities: Entities, field: str) -> str | None:
    return entities.asdict().get(field)


def _names(scans: Sequence[Scan]) -> str:
    return ", ".join(scan.path.name for scan in scans)
