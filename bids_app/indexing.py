"""The files of a raw BIDS data set, from the disk or a PyBIDS database; only the anat folders of the participants that are wanted."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_app.entities import strip_prefix
from bids_app.errors import CannotCreate, InvalidDataset, NoInput, NothingMatched
from bids_app.files import read_json
from bids_app.sessions import natural

if TYPE_CHECKING:
    from bids import BIDSLayout

_LABEL = re.compile(r"sub-[0-9a-zA-Z+]+")


def check_description(bids_dir: Path) -> None:
    """Check that a folder is a raw BIDS data set. Raises: InvalidDataset (exit code 16)."""
    path = bids_dir / "dataset_description.json"
    way_out = "Give the root of a raw BIDS data set, or pass --skip-bids-validation."
    if not path.exists():
        msg = f"{bids_dir}: no dataset_description.json. {way_out}"
        raise InvalidDataset(msg)
    content = read_json(path)
    if missing := [key for key in ("Name", "BIDSVersion") if key not in content]:
        msg = f"{path}: {' and '.join(missing)} missing. Add it, or pass --skip-bids-validation."
        raise InvalidDataset(msg)
    if content.get("DatasetType", "raw") == "derivative":
        msg = f"{path}: DatasetType is 'derivative'; expected raw scans. {way_out}"
        raise InvalidDataset(msg)


def find_subjects(bids_dir: Path, wanted: Sequence[str]) -> tuple[list[str], list[str]]:
    """Labels of the participants of a data set, in natural order, and those wanted that it lacks.

    Raises: NoInput; InvalidDataset without any sub- folder; NothingMatched where none of those wanted is there.
    """
    try:
        present = {folder.name[4:] for folder in bids_dir.iterdir() if _LABEL.fullmatch(folder.name) and folder.is_dir()}
    except OSError as error:
        msg = f"{bids_dir}: cannot be read as a folder ({error.strerror}). Give the root of a BIDS data set."
        raise NoInput(msg) from error
    if not present:
        msg = f"{bids_dir}: no participant (no folder sub-*). Give the root of a BIDS data set."
        raise InvalidDataset(msg)
    labels = list(dict.fromkeys(strip_prefix(label, "sub") for label in wanted))
    if labels and not present.intersection(labels):
        known = ", ".join(sorted(present, key=natural)[:10]) + (", ..." if len(present) > 10 else "")
        msg = f"{bids_dir}: no participant {', '.join(labels)}; there are {len(present)}: {known}. Correct --participant-label."
        raise NothingMatched(msg)
    chosen = present.intersection(labels) if labels else present
    return sorted(chosen, key=natural), [label for label in labels if label not in present]


def list_anat(subject_dir: Path) -> list[Path]:
    """Files in the anat folders of one participant, from the disk, sorted; links to nothing are files too, names that are no UTF-8 none.

    Raises: InvalidDataset where a folder cannot be read.
    """
    try:
        sessions = [name for name, is_folder in _entries(subject_dir) if is_folder and name.startswith("ses-")]
        folders = [subject_dir / name / "anat" for name in ("", *sessions)]
        return sorted(f / name for f in folders if f.is_dir() for name, is_folder in _entries(f) if not is_folder and name.isprintable())
    except OSError as error:
        msg = f"{error.filename}: cannot be read as a folder ({error.strerror}). Check its permissions and its links."
        raise InvalidDataset(msg) from error


def _entries(folder: Path) -> list[tuple[str, bool]]:
    """Name of everything in a folder, and whether it is a folder or a link to one; a link that leads in a circle is none."""
    with os.scandir(folder) as entries:
        return [(e.name, e.is_dir(follow_symlinks=False) or (e.is_symlink() and Path(e.path).is_dir())) for e in entries]


def has_database(database_dir: Path | None) -> bool:
    """Whether a PyBIDS database is there."""
    return database_dir is not None and (database_dir / "layout_index.sqlite").exists()


def list_in_database(bids_dir: Path, subjects: Sequence[str], database_dir: Path) -> dict[str, list[Path]]:
    """Files below the anat folders of the subjects, from a PyBIDS database, which is made where it is missing.

    Raises: InvalidDataset where PyBIDS cannot read the data set or the database; CannotCreate for a database.
    """
    _make_database(bids_dir, database_dir)
    layout = _guarded(bids_dir, database_path=database_dir, validate=False)
    found: dict[str, list[Path]] = {subject: [] for subject in subjects}
    for path in map(Path, layout.get_files(scope="self")):
        if path.parent.name == "anat" and (subject := _subject_of(path)) in found:
            found[subject].append(path)
    return {subject: sorted(paths) for subject, paths in found.items()}


def _subject_of(path: Path) -> str | None:
    """By the nearest folder sub-XX. PyBIDS takes the first in the whole path, which may lie above the data set, and asks once per file."""
    return next((part[4:] for part in reversed(path.parent.parts) if _LABEL.fullmatch(part)), None)


def _index(bids_dir: Path) -> BIDSLayout:
    """Index the anat folders of all participants, and nothing else: metadata is read where it is needed."""
    from bids.layout import BIDSLayoutIndexer

    # A file system may hold names that are no UTF-8: they reach Python as lone surrogates and would break the database.
    outside = re.compile(r"^/(?!sub-[0-9a-zA-Z+]+(/ses-[^/]+)?(/anat(/[^/]+)?)?$)|[\udc80-\udcff]")
    return _guarded(bids_dir, validate=False, indexer=BIDSLayoutIndexer(validate=False, index_metadata=False, ignore=[outside]))


def _guarded(bids_dir: Path, **options: Any) -> BIDSLayout:
    from bids import BIDSLayout

    try:
        return BIDSLayout(bids_dir, **options)
    except Exception as error:  # PyBIDS, its configuration files and its database fail in many ways
        place = options.get("database_path", bids_dir)
        msg = f"{place}: PyBIDS cannot read it ({type(error).__name__}: {error}). Repair it; a database can be deleted and is made again."
        raise InvalidDataset(msg) from error


def _make_database(bids_dir: Path, database_dir: Path) -> None:
    """Make a PyBIDS database of all participants where there is none; jobs that start together do not meet."""
    if has_database(database_dir):
        return
    try:
        database_dir.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".tmp-", dir=database_dir))
    except OSError as error:
        msg = f"{database_dir}: the PyBIDS database cannot be made ({error.strerror}). Choose another --bids-database-dir."
        raise CannotCreate(msg) from error
    try:
        _index(bids_dir).save(temporary)
        for file in sorted(temporary.iterdir(), key=lambda path: path.suffix == ".sqlite"):  # the index last: it says "done"
            os.replace(file, database_dir / file.name)  # noqa: PTH105
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
