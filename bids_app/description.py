"""dataset_description.json of an output data set: what made it, from what, under which licence."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bids_app.errors import BidsAppError
from bids_app.files import read_json

BIDS_VERSION = "1.11.1"
CODE_URL = "https://github.com/ycwu1997/CoactSeg"


def describe(
    root: Path,
    raw: Path | None,
    *,
    version: str,
    links: Mapping[str, Path],
    command_name: str,
    title: str,
) -> dict[str, Any]:
    """Content of dataset_description.json; DatasetLinks that are there already are kept."""
    parent = _read_or_empty(raw)
    known = {**links, **({"raw": raw} if raw is not None else {})}
    old = _read_or_empty(root).get("DatasetLinks")
    new_links = {name: link_to(root, folder) for name, folder in known.items()}
    content = {
        "Name": title,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "License": str(parent.get("License", "n/a")),
        "Authors": _authors(parent, command_name),
        "GeneratedBy": [generated_by(command_name, version)],
        "SourceDatasets": [_source(parent, new_links)],
        "DatasetLinks": dict(sorted({**(old if isinstance(old, dict) else {}), **new_links}.items())),
    }
    return {key: value for key, value in content.items() if value not in ({}, [{}])}


def generated_by(command_name: str, version: str) -> dict[str, Any]:
    """Entry for GeneratedBy; the container, if any, says which it is in COACTSEG_DOCKER_TAG or COACTSEG_APPTAINER_URI."""
    entry: dict[str, Any] = {"Name": command_name, "Version": version, "CodeURL": CODE_URL}
    if tag := os.environ.get("COACTSEG_DOCKER_TAG"):
        entry["Container"] = {"Type": "docker", "Tag": tag}
    elif uri := os.environ.get("COACTSEG_APPTAINER_URI"):
        entry["Container"] = {"Type": "apptainer", "URI": uri}
    return entry


def link_to(root: Path, folder: Path) -> str:
    """URI of another data set: relative where one holds the other (they move together), else file://."""
    root, folder = Path(root).absolute(), Path(folder).absolute()
    if root.is_relative_to(folder) or folder.is_relative_to(root):
        return Path(os.path.relpath(folder, root)).as_posix()
    return folder.as_uri()


def _authors(parent: Mapping[str, Any], command_name: str) -> list[str]:
    """Who gave the raw data, and the program: the validator warns of fewer than two."""
    named = parent.get("Authors")
    return [
        *(map(str, named) if isinstance(named, list) and named else ["n/a (the raw data set names none)"]),
        f"{command_name} (software)",
    ]


def _source(parent: Mapping[str, Any], links: Mapping[str, str]) -> dict[str, str]:
    """Entry for the raw data set in SourceDatasets."""
    doi = {"DOI": str(parent["DatasetDOI"])} if "DatasetDOI" in parent else {}
    return ({"URL": links["raw"]} if "raw" in links else {}) | doi


def _read_or_empty(folder: Path | None) -> dict[str, Any]:
    if folder is None:
        return {}
    try:
        return read_json(folder / "dataset_description.json")
    except BidsAppError:
        return {}
