"""Patients to a raw BIDS data set with label derivatives; everything is made aside and put in its place at the end.

OUT/dataset_description.json  README.md  participants.tsv/.json      written last: their presence says that all is there
    sub-013/ses-01/anat/sub-013_ses-01_FLAIR.nii.gz
    derivatives/labels/sub-013/ses-02/anat/sub-013_ses-02_space-orig_label-L_desc-new_mask.nii.gz
    derivatives/labels-expert1/...                                   one data set per expert, same names
    derivatives/masks/sub-013/ses-01/anat/sub-013_ses-01_space-orig_desc-brain_mask.nii.gz
"""

from __future__ import annotations

import gzip
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bids_app.cases import SubjectFailure
from bids_app.derivatives import Derivatives, start
from bids_app.description import BIDS_VERSION, generated_by
from bids_app.entities import Entities
from bids_app.errors import AmbiguousScan, BidsAppError, CannotCreate, InvalidDataset
from bids_app.files import make_folder, write_json, write_text
from bids_app.sidecars import mask_sidecar
from bids_app.tables import Column, write_table
from coactseg_cli import __version__
from coactseg_cli.convert.patient import LesionMask, Patient, Source, Visit
from coactseg_cli.volumes import Volume, save

RESEARCH = "Research use only; not for diagnosis."
MASKS = "masks"  # derivative data set of the brain masks
Log = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class About:
    """What the output says of the data set that it was made from."""

    name: str
    authors: tuple[str, ...]
    references: tuple[str, ...]
    license: str
    readme: str


@dataclass(frozen=True, slots=True)
class Conversion:
    """What came of a conversion."""

    done: tuple[str, ...]  # labels of the participants that were written
    failures: tuple[SubjectFailure, ...]

    @property
    def exit_code(self) -> int:
        """1 where a patient failed, else 0."""
        return 1 if self.failures else 0


def convert(sources: Sequence[Source], read: Callable[[Source], Patient], out: Path, about: About, log: Log) -> Conversion:
    """Write a BIDS data set; one bad patient does not stop the others, and nothing of it is written.

    Args:
        sources: the patients.
        read: gives one patient, or raises what its user can mend.
        out: absent or empty folder.
        about: the data set.
        log: takes one line per patient.

    Raises: CannotCreate where `out` holds something; OSErrors (a full disk) as they are: then nothing is left behind.
    """
    done: list[tuple[str, str | None]] = []
    failures: list[SubjectFailure] = []
    with _aside(out) as raw:
        _describe(raw, about)
        trees = _Trees(raw, about)
        for number, source in enumerate(sources, start=1):
            outcome = _attempt(source, read, [label for label, _ in done])
            if isinstance(outcome, SubjectFailure):
                failures.append(outcome)
                log(f"[{number}/{len(sources)}] {source.label}: failed: {outcome.message}")
                continue
            _write(outcome, trees)
            done.append((outcome.label, outcome.split))
            log(f"[{number}/{len(sources)}] sub-{outcome.label}: {_summary(outcome)}")
        if done:
            _write_participants(raw, done)
            _publish(raw, out)
    return Conversion(tuple(label for label, _ in done), tuple(failures))


def _attempt(source: Source, read: Callable[[Source], Patient], taken: Sequence[str]) -> Patient | SubjectFailure:
    try:
        _require_label(source, taken)
        return read(source)
    except BidsAppError as error:
        return SubjectFailure(source.label, "convert", str(error))


@contextmanager
def _aside(out: Path) -> Iterator[Path]:
    """Give a folder inside `out` to write to; whatever is still in it at the end goes. Raises: CannotCreate."""
    _require_empty(out)
    make_folder(out)
    aside = out / f".tmp-{secrets.token_hex(6)}"
    make_folder(aside)
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _require_empty(out: Path) -> None:
    if out.exists() and not out.is_dir():
        msg = f"{out}: expected a folder; it is a file. Name another."
        raise CannotCreate(msg)
    there = sorted(entry.name for entry in out.iterdir()) if out.exists() else []
    if there:
        msg = f"{out}: expected an absent or empty folder; it holds {', '.join(there[:6])}. Remove them, or name another folder."
        raise CannotCreate(msg)


def _publish(raw: Path, out: Path) -> None:
    """Rename what was made into its place, the description last."""
    for entry in sorted(raw.iterdir(), key=lambda entry: entry.name == "dataset_description.json"):
        entry.rename(out / entry.name)


def _require_label(source: Source, taken: Sequence[str]) -> None:
    if not (source.label.isascii() and source.label.isalnum()):
        msg = f"{source.path}: {source.label!r} cannot be a participant's label (letters and digits only). Rename it."
        raise InvalidDataset(msg)
    if source.label in taken:
        msg = f"{source.path}: another one with the label {source.label} was taken already. Leave one, or convert them apart."
        raise AmbiguousScan(msg)


def _describe(raw: Path, about: About) -> None:
    description = {
        "Name": about.name,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "raw",
        "License": about.license,
        "Authors": list(about.authors),
        "ReferencesAndLinks": list(about.references),
        "GeneratedBy": [generated_by("coactseg", __version__)],
        "SourceDatasets": [{"URL": about.references[0]}],
    }
    write_json(raw / "dataset_description.json", description)
    write_text(raw / "README.md", f"# {about.name}\n\n{about.readme.strip()}\n\n{RESEARCH}\n")


class _Trees:
    """The derivative data sets of a raw one, each begun when its first file comes."""

    def __init__(self, raw: Path, about: About) -> None:
        self.raw = raw
        self.about = about
        self.begun: dict[str, Derivatives] = {}

    def get(self, name: str) -> Derivatives:
        """The data set derivatives/NAME."""
        if name not in self.begun:
            title = f"{self.about.name}: {name}"
            readme = f"# {title}\n\n{self.about.readme.strip()}\n\nThe sidecar of each mask says what it holds.\n\n{RESEARCH}"
            self.begun[name] = start(self.raw / "derivatives" / name, self.raw, version=__version__, readme=readme, title=title)
        return self.begun[name]


def _write(patient: Patient, trees: _Trees) -> None:
    for visit in patient.visits:
        scan = Entities(subject=patient.label, session=visit.session, suffix="FLAIR", extension=".nii.gz", datatype="anat")
        _write_scan(visit, Derivatives(trees.raw).path(scan))
        if visit.brain is not None:
            _write_brain(visit.brain, scan, trees.get(MASKS))
    for visit in patient.visits:
        for lesion in visit.lesions:
            _write_lesions(lesion, patient, visit, trees.get(lesion.dataset))


def _write_scan(visit: Visit, path: Path) -> None:
    make_folder(path.parent)
    if isinstance(visit.flair, Volume):
        save(visit.flair, path)
    elif visit.flair.name.endswith(".gz"):
        shutil.copyfile(visit.flair, path)
    else:
        path.write_bytes(gzip.compress(visit.flair.read_bytes(), mtime=0))
    if visit.sidecar:
        write_json(path.with_name(path.name.removesuffix(".nii.gz") + ".json"), visit.sidecar)


def _write_brain(brain: Volume, scan: Entities, tree: Derivatives) -> None:
    path = tree.path(scan.with_(space="orig", desc="brain", suffix="mask"))
    save(brain, path, np.uint8)
    uri = _uri(tree, scan)
    tree.sidecar(path, mask_sidecar(description="Brain", type_="Brain", sources=[uri], spatial_reference=uri))


def _write_lesions(lesion: LesionMask, patient: Patient, visit: Visit, tree: Derivatives) -> None:
    scans = [
        Entities(subject=patient.label, session=v.session, suffix="FLAIR", extension=".nii.gz", datatype="anat") for v in patient.visits
    ]
    mine = scans[patient.visits.index(visit)]
    path = tree.path(mine.with_(space="orig", label="L", desc=lesion.desc, suffix="mask"))
    save(lesion.volume, path, np.uint8)
    compared = scans if lesion.desc == "new" else [mine]
    sidecar = mask_sidecar(
        description=lesion.description,
        type_="Lesion",
        sources=[_uri(tree, scan) for scan in compared],
        spatial_reference=_uri(tree, mine),
    )
    tree.sidecar(path, sidecar)


def _uri(tree: Derivatives, scan: Entities) -> str:
    """BIDS URI of a scan of the raw data set."""
    assert tree.raw is not None
    return tree.uri(Derivatives(tree.raw).path(scan))


def _write_participants(raw: Path, done: Sequence[tuple[str, str | None]]) -> None:
    rows = [{"participant_id": f"sub-{label}", "split": split} for label, split in done]
    levels = {
        "train": "trained on in the published experiments",
        "validation": "validated on in the published experiments: chose the checkpoint, and is what their tables report",
        "test": "in neither list of the published experiments",
    }
    columns = {"participant_id": Column("Participant."), "split": Column("Part of the published split (Wu et al. 2023).", levels=levels)}
    write_table(raw / "participants.tsv", rows, columns, description="Participants and the part of the split that each belongs to.")


def _summary(patient: Patient) -> str:
    voxels = [f"{lesion.dataset} {int(lesion.volume.data.sum())} voxels" for visit in patient.visits for lesion in visit.lesions]
    return f"{len(patient.visits)} visit(s), {', '.join(voxels) or 'no labels'}"
