"""The metadata of a raw scan: its JSON and those it inherits from folders above (BIDS inheritance principle). Reads no image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bids_app.errors import BidsAppError
from bids_app.files import read_json


def metadata_of(scan: Path) -> dict[str, Any]:
    """What the JSON files say of a scan, the nearest winning; {} where there is none. Broken JSON says nothing.

    A file applies that ends as the scan does (`_FLAIR.json`), lies in the scan's folder or in one above it within the data set, and has
    no entity that the scan lacks or has otherwise.

    Args:
        scan: a path within a BIDS data set, `sub-01/ses-01/anat/sub-01_ses-01_FLAIR.nii.gz`.

    Raises: NoInput, InvalidDataset for a file that is there and cannot be read.
    """
    fields: dict[str, Any] = {}
    for path in _applying(scan):
        fields |= _read(path)
    return fields


def _applying(scan: Path) -> Iterator[Path]:
    """The JSON files that apply, from the root of the data set down, in each folder those of fewer entities first."""
    *entities, suffix = _stem(scan).split("_")
    for folder in reversed(_folders(scan)):
        found = [path for path in folder.glob(f"*{suffix}.json") if _stem(path).split("_")[-1] == suffix]
        fitting = [path for path in found if set(_stem(path).split("_")[:-1]) <= set(entities)]
        yield from sorted(fitting, key=lambda path: (path.name.count("_"), path.name))


def _folders(scan: Path) -> list[Path]:
    """From the scan's folder up to the one that holds the participant's; the scan's own alone outside a data set."""
    folders = list(scan.parents)
    subject = next((i for i, folder in enumerate(folders[:3]) if folder.name.startswith("sub-")), None)
    return folders[:1] if subject is None else folders[: subject + 2]


def _stem(path: Path) -> str:
    return path.name.partition(".")[0]


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except BidsAppError as error:
        if isinstance(error.__cause__, OSError):  # it may say something, and say it the next time
            raise
        return {}
