"""The distribution of MSSEG-2 (MICCAI 2021): a folder per patient to a Patient. Nothing is written here.

    [training|testing]/013/flair_time01_on_middle_space.nii.gz     both visits and all labels on one grid, halfway between the visits
                           flair_time02_on_middle_space.nii.gz
                           ground_truth.nii.gz                     new lesions, consensus
                           ground_truth_expert1.nii.gz ... 4       new lesions, each expert
                           flair_time0N_on_middle_space_bet_mask.nii.gz, brain_mask.nii.gz     not distributed; taken where they are

Source: DATASET.md of github.com/Inria-Empenn/lesion-segmentation-challenge-miccai21.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from bids_app.errors import AmbiguousScan, InvalidDataset, MissingScan, NoInput
from coactseg_cli.convert.masks import read_mask
from coactseg_cli.convert.patient import CONSENSUS, LesionMask, Patient, Source, Visit, dataset_of
from coactseg_cli.convert.splits import of_msseg2
from coactseg_cli.volumes import Volume, load, require_same_grid

SESSIONS = ("01", "02")
DEPTH = 3  # folders below SRC that are looked into
_IMAGES = (".nii.gz", ".nii")
_PATIENT_FILES = re.compile(r"(flair_time0\d.*|ground_truth(_expert\d+)?)\.nii(\.gz)?")
_NUMBER = re.compile(r"\d{2,4}")


class Scans(StrEnum):
    """Which images of a patient are taken."""

    MIDDLE = "middle"  # flair_time0N_on_middle_space: registered, the grid of the labels
    RAW = "raw"  # flair_time0N: as scanned, where a copy has them


_STEMS: Mapping[Scans, str] = {Scans.MIDDLE: "flair_time{session}_on_middle_space", Scans.RAW: "flair_time{session}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Msseg2Options:
    """How patients are read."""

    scans: Scans = Scans.MIDDLE
    experts: int = 4  # masks of single experts that every labelled patient must have
    unlabelled: bool = False  # a patient without any ground_truth file is taken too
    trust_array: bool = False  # take a label's array as on the scan's grid whatever its header says


def find(src: Path) -> list[Source]:
    """The patients below a folder, by name.

    Raises: NoInput; InvalidDataset where no folder looks like a patient's.
    """
    if not src.is_dir():
        msg = f"{src}: no such folder. Give the folder that holds training/ or 013/, 015/, ... of MSSEG-2."
        raise NoInput(msg)
    folders = [folder for folder in _folders(src, DEPTH) if _is_patient(folder)]
    if not folders:
        there = ", ".join(sorted(entry.name for entry in src.iterdir())[:8]) or "nothing"
        msg = (
            f"{src}: no patient of MSSEG-2 found. Wanted: folders such as 013 or training/013 that hold "
            f"flair_time01_on_middle_space.nii.gz; found: {there}. Unpack the archive, or give the folder above the patients."
        )
        raise InvalidDataset(msg)
    return [Source(folder, folder.name, of_msseg2(folder.name)) for folder in sorted(folders, key=lambda f: (f.name, f))]


def read(source: Source, options: Msseg2Options) -> Patient:
    """Read and check one patient.

    Raises: MissingScan, AmbiguousScan, GridMismatch, UnreadableImage, ConflictingGeometry.
    """
    paths = [_require(source.path, _STEMS[options.scans].format(session=session), "the scan") for session in SESSIONS]
    baseline, followup = (load(path) for path in paths)
    if options.scans is Scans.MIDDLE:
        require_same_grid(baseline, followup, str(paths[0]), str(paths[1]))
    lesions = _lesions(source.path, followup, paths[1], options)
    visits = []
    for session, path, scan in zip(SESSIONS, paths, (baseline, followup), strict=True):
        sidecar = {"SourceFile": f"{source.path.name}/{path.name}", "Description": _ABOUT[options.scans]}
        brain = _brain(source.path, path, scan, options)
        visits.append(Visit(session, path, sidecar, brain, lesions if session == SESSIONS[1] else ()))
    return Patient(source.label, source.split, tuple(visits))


_ABOUT: Mapping[Scans, str] = {
    Scans.MIDDLE: "FLAIR of MSSEG-2, resampled by its authors to the space halfway between the two visits",
    Scans.RAW: "FLAIR of MSSEG-2 on its own grid",
}


def _folders(root: Path, depth: int) -> Iterator[Path]:
    """A folder and those below it, hidden ones left out."""
    yield root
    if depth > 0:
        for entry in sorted(root.iterdir()):
            if entry.is_dir() and not entry.name.startswith("."):
                yield from _folders(entry, depth - 1)


def _is_patient(folder: Path) -> bool:
    """Whether a folder has a patient's number for a name and no folder inside, or holds a patient's file."""
    entries = list(folder.iterdir())
    numbered = _NUMBER.fullmatch(folder.name) is not None and not any(entry.is_dir() for entry in entries)
    return numbered or any(_PATIENT_FILES.fullmatch(entry.name) for entry in entries)


def _lesions(folder: Path, scan: Volume, scan_path: Path, options: Msseg2Options) -> tuple[LesionMask, ...]:
    """The consensus, then each expert."""
    if options.unlabelled and not any(entry.name.startswith("ground_truth") for entry in folder.iterdir()):
        return ()
    named = [("ground_truth", CONSENSUS, "the consensus of the experts")]
    named += [(f"ground_truth_expert{n}", dataset_of(n), f"expert {n} alone") for n in range(1, options.experts + 1)]
    paths = [_require(folder, stem, what) for stem, _, what in named]  # all of them, before the first is read
    return tuple(
        LesionMask(
            dataset,
            "new",
            read_mask(path, scan, scan_path, trust_array=options.trust_array),
            f"New lesions: present at the follow-up and absent at the baseline; {what}",
        )
        for path, (_, dataset, what) in zip(paths, named, strict=True)
    )


def _brain(folder: Path, scan_path: Path, scan: Volume, options: Msseg2Options) -> Volume | None:
    """A mask that HD-BET left beside the scan, else brain_mask; None where there is neither."""
    stem = scan_path.name.removesuffix(".gz").removesuffix(".nii")
    for name in (f"{stem}_bet_mask", "brain_mask"):
        path = _file(folder, name)
        if path is not None:
            return read_mask(path, scan, scan_path, trust_array=options.trust_array)
    return None


def _require(folder: Path, stem: str, what: str) -> Path:
    """The file of that name. Raises: MissingScan, AmbiguousScan."""
    path = _file(folder, stem)
    if path is None:
        there = ", ".join(sorted(entry.name for entry in folder.iterdir())) or "nothing"
        msg = f"{folder}: {what} is missing. Wanted: {stem}.nii.gz; found: {there}. Fetch it again{_WAY_OUT.get(stem[:6], '')}."
        raise MissingScan(msg)
    return path


_WAY_OUT = {
    "ground": ", pass --experts N where fewer experts were distributed, or --unlabelled for patients without any ground truth",
    "flair_": ", choose other images with --scans, or leave the patient out",
}


def _file(folder: Path, stem: str) -> Path | None:
    found = [path for path in (folder / (stem + extension) for extension in _IMAGES) if path.is_file()]
    if len(found) > 1:
        msg = f"{found[0]} and {found[1].name} are both there. Leave one."
        raise AmbiguousScan(msg)
    return found[0] if found else None
