"""The output tree of `coactseg prep` to prepared timelines, by file names alone: fast, and exact where we named the files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bids_app.cases import Label, LabelKind, PreparedScan, PreparedTimeline, Scan, SubjectFailure
from bids_app.derivatives import Derivatives, dataset_places, resolve
from bids_app.entities import Entities
from bids_app.errors import BidsAppError, InvalidDataset, MissingScan, NoInput, NothingMatched
from bids_app.files import read_json
from bids_app.indexing import find_subjects
from bids_app.sessions import in_order, natural, parse_time
from bids_app.supplied import KINDS, Found, files_of
from bids_app.tables import read_table

_IMAGE = "*_space-individual_desc-preproc_FLAIR.nii.gz"
SESSIONWISE = "sessionwise"  # value of SubjectAnatomicalReference in the sidecar of a visit that was prepared alone


@dataclass(frozen=True, slots=True)
class PreparedIndex:
    """What was found in a prepared data set."""

    timelines: tuple[PreparedTimeline, ...]
    failures: tuple[SubjectFailure, ...]

    @property
    def subjects(self) -> frozenset[str]:
        """Labels of everybody who was asked for and found, without 'sub-'."""
        return frozenset({t.subject for t in self.timelines} | {f.subject for f in self.failures})


def is_prepared(root: Path) -> bool:
    """Whether a folder holds prepared scans."""
    return any(next(root.glob(f"sub-*/{between}{_IMAGE}"), None) is not None for between in ("anat/", "ses-*/anat/"))


def read_prepared(root: Path, participant_labels: Sequence[str] = ()) -> PreparedIndex:
    """Find the prepared visits of every participant with the labels that prep carried along.

    A lesion mask that a network made (its sidecar names a model or a threshold) is no label.

    Raises: NoInput, InvalidDataset, NothingMatched; a participant of whom files are missing is a SubjectFailure instead.
    """
    if not root.is_dir():
        msg = f"{root}: no such folder. Give the output folder of coactseg prep."
        raise NoInput(msg)
    subjects, absent = find_subjects(root, participant_labels)
    places = _places(root)
    timelines: list[PreparedTimeline] = []
    failures = [SubjectFailure(label, "index", f"{root} has no folder sub-{label}. Run coactseg prep for it.") for label in absent]
    for subject in subjects:
        try:
            timelines.append(_timeline(root, subject, places))
        except BidsAppError as error:
            failures.append(SubjectFailure(subject, "index", str(error)))
    if not timelines and not is_prepared(root):
        msg = f"{root}: no prepared scan ({_IMAGE}). Give the output folder of coactseg prep."
        raise NothingMatched(msg) if participant_labels else InvalidDataset(msg)
    return PreparedIndex(tuple(timelines), tuple(failures))


def _timeline(root: Path, subject: str, places: Mapping[str, Path]) -> PreparedTimeline:
    files = files_of(root, subject)
    images = [file for file in files if _is_image(file.entities)]
    if not images:
        msg = f"sub-{subject}: no prepared scan ({_IMAGE}) in {root}. Run coactseg prep for it."
        raise MissingScan(msg)
    tree = Derivatives(root)
    visits = _in_order([_visit(tree, file, places) for file in images], root, subject)
    reference = tree.path(_reference(Entities(subject=subject)))
    alone = not reference.is_file() or any(_sidecar(visit.image).get("SubjectAnatomicalReference") == SESSIONWISE for visit in visits)
    labels = tuple(_label(file) for file in files if _is_label(file))
    own = tree.path(_reference(visits[0].entities))
    grid = reference if not alone else own if own.is_file() else visits[0].image
    return PreparedTimeline(subject, grid, visits, labels, comparable=not alone)


def _reference(entities: Entities) -> Entities:
    return entities.with_(desc="reference", suffix="FLAIR", extension=".nii.gz")


def _visit(tree: Derivatives, file: Found, places: Mapping[str, Path]) -> PreparedScan:
    """Raise: MissingScan where a file that belongs to the visit is not there."""
    image = file.entities
    brain = image.with_(desc="brain", suffix="mask")
    native = tree.path(image.with_(space="orig"))
    visit = PreparedScan(
        entities=image.source(),
        raw=_raw(native, places),
        native=native,
        native_brain_mask=tree.path(brain.with_(space="orig")),
        image=file.path,
        brain_mask=tree.path(brain),
        to_individual=tree.xfm_path(image, "orig", "individual"),
        to_native=tree.xfm_path(image, "individual", "orig"),
    )
    needed = (visit.native, visit.native_brain_mask, visit.brain_mask, visit.to_individual, visit.to_native)
    if missing := [path.name for path in needed if not path.is_file()]:
        msg = f"{image.visit()}: {', '.join(missing)} missing beside {file.path}. Run coactseg prep again for it."
        raise MissingScan(msg)
    return visit


def _in_order(visits: Sequence[PreparedScan], root: Path, subject: str) -> tuple[PreparedScan, ...]:
    """Order of the rows of sub-XX_sessions.tsv where it has every visit, else of the raw scans if they are at hand, else by label."""
    path = root / f"sub-{subject}" / f"sub-{subject}_sessions.tsv"
    times = {row.get("session_id", ""): row.get("acq_time", "") for row in read_table(path)} if path.is_file() else {}
    if all(f"ses-{visit.session}" in times for visit in visits):
        rows = list(times)
        timed = [replace(visit, time=parse_time(times[f"ses-{visit.session}"], path)) for visit in visits]
        return tuple(sorted(timed, key=lambda visit: rows.index(f"ses-{visit.session}")))
    raw = [Scan(visit.raw, visit.entities) for visit in visits if visit.raw is not None]
    folder = next((part for scan in raw for part in scan.path.parents if part.name == f"sub-{subject}"), None)
    if folder is not None and len(raw) == len(visits):
        ordered = [scan.session for scan in in_order(raw, folder)]
        return tuple(sorted(visits, key=lambda visit: ordered.index(visit.session)))
    return tuple(sorted(visits, key=lambda visit: natural(visit.session or "")))


def _is_image(entities: Entities) -> bool:
    found = (entities.space, entities.desc, entities.suffix, entities.extension, entities.label)
    return found == ("individual", "preproc", "FLAIR", ".nii.gz", None)


def _is_label(file: Found) -> bool:
    entities = file.entities
    found = (entities.space, entities.label, entities.suffix, entities.extension)
    if found != ("individual", "L", "mask", ".nii.gz") or entities.desc is None or entities.desc not in KINDS:
        return False
    return not any(key.startswith(("Model", "Threshold")) for key in _sidecar(file.path))


def _label(file: Found) -> Label:
    return Label(file.path, LabelKind(str(file.entities.desc)), file.entities.session, "individual")


def _sidecar(image: Path) -> dict[str, Any]:
    path = image.with_name(image.name.partition(".")[0] + ".json")
    return read_json(path) if path.is_file() else {}


def _places(root: Path) -> dict[str, Path]:
    return dataset_places(root) if (root / "dataset_description.json").is_file() else {}


def _raw(native: Path, places: Mapping[str, Path]) -> Path | None:
    """The raw scan that the sidecar of the native image names, None where it is not at hand."""
    sources = _sidecar(native).get("Sources", [])
    uris = [uri for uri in sources if isinstance(uri, str) and uri.startswith("bids:raw:")]
    path = resolve(uris[0], places) if len(uris) == 1 else None
    return path if path is not None and path.is_file() else None
