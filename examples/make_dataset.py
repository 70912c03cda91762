"""Write the example data set: `python examples/make_dataset.py OUT`. It downloads nothing and always writes the same bytes.

    OUT/sub-01/ses-01, ses-02     two visits in different head positions and slice thickness
        sub-02/ses-01             one visit with a session label
        sub-03                    one visit without
        derivatives/labels        the truth on each scan's own grid: brain, all lesions, new lesions

It writes the files itself rather than through `bids_app`, so that tests of `bids_app` do not read what it wrote.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

if not __package__:  # started as a script
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.cohort import COHORT, Participant, numbers_with, scan, scanning
from examples.phantom import Fate, Grid, Rendering

BIDS_VERSION = "1.10.0"
NAME = "CoactSeg example: a made-up head"
README = """# CoactSeg example: a made-up head

FLAIR scans of three made-up persons, computed from formulas by `examples/make_dataset.py` of the CoactSeg project. No person
was scanned. sub-01 has two visits in different head positions and with different slice thickness; between them lesions appear,
vanish, grow, shrink and stay. sub-02 and sub-03 have one visit each. The truth lies in derivatives/labels.
It shows that the software runs and where its results lie. It says nothing about accuracy in patients.
"""
DESCRIPTION: dict[str, object] = {
    "Name": NAME,
    "BIDSVersion": BIDS_VERSION,
    "DatasetType": "raw",
    "License": "CC0",
    "Authors": ["The CoactSeg developers", "The CoactSeg contributors"],
    "HEDVersion": "8.4.0",
    "SourceDatasets": [{"Version": "none: computed"}],
    "GeneratedBy": [{"Name": "CoactSeg example data", "Version": "1", "Description": "Computed, not measured"}],
}
SIDECAR = Path(__file__).with_name("FLAIR.json")  # every field that the validator recommends


def write_dataset(out: Path, coarseness: float = 1.0, participants: Sequence[Participant] = COHORT) -> Path:
    """Write a raw BIDS data set and its label derivative.

    Args:
        out: a folder that is absent, empty, or an earlier example.
        coarseness: multiplies every voxel edge; 3 or 4 is small and quick.
        participants: who is in it.

    Returns: the folder of the labels.

    Raises: FileExistsError where `out` holds something else.
    """
    description = out / "dataset_description.json"
    if out.exists() and any(out.iterdir()) and not _is_example(description):
        msg = f"{out} is not empty and not an example data set; name another folder."
        raise FileExistsError(msg)
    labels = out / "derivatives" / "labels"
    description.unlink(missing_ok=True)  # it is written last: its presence says that all is there
    for participant in participants:
        _write_participant(out, labels, participant, coarseness)
    _write_labels_description(labels)
    _write_tables(out, participants)
    shutil.copyfile(SIDECAR, out / SIDECAR.name)
    (out / "README.md").write_text(README)
    _write_json(description, DESCRIPTION)
    return labels


def _is_example(description: Path) -> bool:
    return description.is_file() and json.loads(description.read_text()).get("Name") == NAME


def stem(participant: Participant, visit: int) -> str:
    """Folder and first part of the file names of a visit: 'sub-01/ses-01/anat/sub-01_ses-01'."""
    session = participant.visits[visit].session
    subject = f"sub-{participant.label}"
    return f"{subject}/anat/{subject}" if session is None else f"{subject}/ses-{session}/anat/{subject}_ses-{session}"


@dataclass(frozen=True, slots=True)
class _TrueMask:
    entities: str
    mask: np.ndarray
    type: str  # one of the words BIDS has for masks
    description: str


def _write_participant(out: Path, labels: Path, participant: Participant, coarseness: float) -> None:
    for visit in range(len(participant.visits)):
        rendering = scan(participant, visit, coarseness)
        name = stem(participant, visit)
        source = f"bids:raw:{name}_FLAIR.nii.gz"
        _write_image(out / f"{name}_FLAIR.nii.gz", rendering.flair, rendering.grid)
        for true in _true_masks(participant, visit, rendering):
            path = labels / f"{name}_space-orig_{true.entities}_mask"
            _write_image(path.with_suffix(".nii.gz"), true.mask.astype(np.uint8), rendering.grid)
            sidecar = {"Type": true.type, "Description": true.description, "Sources": [source], "SpatialReference": source}
            _write_json(path.with_suffix(".json"), sidecar)


def _true_masks(participant: Participant, visit: int, rendering: Rendering) -> list[_TrueMask]:
    masks = [
        _TrueMask("desc-brain", rendering.brain, "Brain", "Brain with the fluid in sulci and ventricles"),
        _TrueMask("label-L_desc-all", rendering.lesions > 0, "Lesion", "Every lesion of this visit"),
    ]
    if visit > 0:
        new = np.isin(rendering.lesions, numbers_with(participant, Fate.NEW, visit - 1, visit))
        masks.append(_TrueMask("label-L_desc-new", new, "Lesion", "Lesions that the visit before does not have; growth is not in it"))
    return masks


def _write_image(path: Path, data: np.ndarray, grid: Grid) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(data, grid.affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(grid.affine, code=1)
    image.set_qform(grid.affine, code=1)
    nib.save(image, path)


def _write_labels_description(labels: Path) -> None:
    made_by = [{"Name": "CoactSeg example data", "Version": "1", "Description": "The formulas' own answer"}]
    description = DESCRIPTION | {
        "Name": f"{NAME}, true labels",
        "DatasetType": "derivative",
        "GeneratedBy": made_by,
        "DatasetLinks": {"raw": "../.."},
        "SourceDatasets": [{"URL": "../.."}],
    }
    _write_json(labels / "dataset_description.json", description)
    (labels / "README.md").write_text(README + "\nThe Description in each mask's sidecar says what the mask holds.\n")


def _write_tables(out: Path, participants: Sequence[Participant]) -> None:
    rows = [[f"sub-{p.label}", str(p.age), p.sex] for p in participants]
    _write_tsv(out / "participants.tsv", [["participant_id", "age", "sex"], *rows])
    columns: dict[str, object] = {
        "age": {"Description": "Age at the first visit", "Units": "year"},
        "sex": {"Description": "Sex", "Levels": {"F": "female", "M": "male"}},
    }
    _write_json(out / "participants.json", columns)
    for p in participants:
        times = [[f"ses-{v.session}", v.acq_time or "n/a"] for v in p.visits if v.session is not None]
        if times:
            path = out / f"sub-{p.label}" / f"sub-{p.label}_sessions.tsv"
            _write_tsv(path, [["session_id", "acq_time"], *times])
            _write_json(path.with_suffix(".json"), {"acq_time": {"Description": "When the visit's first scan began"}})


def _write_tsv(path: Path, rows: Sequence[Sequence[str]]) -> None:
    path.write_text("".join("\t".join(row) + "\n" for row in rows))


def _write_json(path: Path, value: Mapping[str, object]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def describe(participant: Participant, coarseness: float = 1.0) -> str:
    """One line about a participant: grids and planted lesions."""
    grids = ", ".join("x".join(map(str, scanning(v, coarseness).grid.shape)) for v in participant.visits)
    last = len(participant.visits) - 1
    fates = Counter(lesion.fate(0, last) for lesion in participant.lesions)
    counts = ", ".join(f"{fates[f]} {f}" for f in Fate if fates[f]) if last else f"{len(participant.lesions)} lesions"
    return f"sub-{participant.label}: {len(participant.visits)} visit(s) of {grids} voxels; planted: {counts}"


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns: the exit code."""
    parser = argparse.ArgumentParser(description="Write the BIDS example data set (computed, no downloads).")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--coarseness", type=float, default=1.0, help="multiplies every voxel edge (default 1: about 1 mm)")
    args = parser.parse_args(argv)
    try:
        labels = write_dataset(args.out, args.coarseness)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 73
    print("\n".join(describe(p, args.coarseness) for p in COHORT))
    print(f"Example data set: {args.out}   its true labels: {labels}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
