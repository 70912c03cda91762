"""Where each product of a run goes, and how the output names its sources; images are written elsewhere."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlparse

from bids_app.description import describe
from bids_app.entities import Entities, xfm_name
from bids_app.errors import BidsAppError, CannotCreate
from bids_app.files import make_folder, read_json, remove_leftovers, require_inside, write_json, write_text
from bids_app.tables import Column, read_table, write_table

__all__ = ["DESCRIPTIONS", "Derivatives", "start", "unresolved_sources", "write_json", "write_participants", "write_text"]

BIDSIGNORE = ("*.html", "figures", "*_xfm.*", "group_*", "*_timeline.*", "*_flags.*", "*_table.*")
# of every participant: no link there may lead elsewhere
_SHARED_FOLDERS = ("logs", "logs/complete", "logs/locks", "logs/begun", "logs/.ids", "logs/running")
DESCRIPTIONS = {  # every desc- label of the output tree
    "all": "Every lesion of one visit.",
    "brain": "Brain.",
    "ignoreall": "Voxels where the label of all lesions says nothing.",
    "ignorenew": "Voxels where the label of new lesions says nothing.",
    "lesions": "Every lesion of any visit of a participant, numbered once.",
    "new": "Lesions present at this visit and absent from the visit before.",
    "nullpair": "New-lesion probability for a visit paired with itself: what is found there is wrong.",
    "preproc": "Reoriented; bias field, brain extraction, intensities and resampling as the sidecar says.",
    "quality": "Quality checks of every visit.",
    "reference": "The grid on which the visits of a participant meet.",
    "resolved": "Lesions of the visit before that are absent from this one.",
    "selfcheck": "What the network can do on the participant's own scans.",
}


@dataclass(frozen=True, slots=True)
class Derivatives:
    """A derivative data set that is being written."""

    root: Path
    raw: Path | None = None  # the raw data set it is made from
    links: Mapping[str, Path] = field(default_factory=dict)  # names of further data sets (DatasetLinks), without 'raw'

    def path(self, entities: Entities) -> Path:
        """root/sub-XX[/ses-YY]/anat/name. Raises: ValueError without a subject or a suffix."""
        return self.folder(entities) / entities.name()

    def folder(self, entities: Entities) -> Path:
        """root/sub-XX[/ses-YY]/anat."""
        if entities.subject is None:
            msg = f"a derivative needs a subject; got {entities.asdict()}"
            raise ValueError(msg)
        visit = self.root / f"sub-{entities.subject}"
        if entities.session is not None:
            visit /= f"ses-{entities.session}"
        return visit / (entities.datatype or "anat")

    def xfm_path(self, source: Entities, from_: str, to: str) -> Path:
        """root/sub-XX[/ses-YY]/anat/..._from-orig_to-individual_mode-image_xfm.txt."""
        return self.folder(source) / xfm_name(source, from_, to)

    def subject_path(self, subject: str, name: str) -> Path:
        """root/sub-XX/name, for instance for sub-XX_sessions.tsv."""
        return self.root / f"sub-{subject}" / name

    def uri(self, path: Path) -> str:
        """BIDS URI of a file: bids::... of this data set, bids:NAME:... of a linked one, bids:raw:... of the raw one.

        Raises: ValueError for a file outside all of them.
        """
        places = [("", self.root), *self._by_depth()]
        for name, folder in places:
            relative = _inside(path, folder)
            if relative is not None:
                return f"bids:{name}:{quote(relative, safe='/:+')}"
        msg = f"{path} lies in none of {[str(folder) for _, folder in places]}: no BIDS URI"
        raise ValueError(msg)

    def _by_depth(self) -> list[tuple[str, Path]]:
        """Linked data sets, the deepest first: derivatives often lie inside the raw data set."""
        known = [*self.links.items(), *([("raw", self.raw)] if self.raw else [])]
        return sorted(known, key=lambda item: -len(_absolute(item[1]).parts))

    def sidecar(self, image: Path, content: Mapping[str, Any]) -> None:
        """Write the .json beside an image or transform."""
        write_json(image.with_name(image.name.partition(".")[0] + ".json"), content)


def start(
    root: Path,
    raw: Path | None,
    *,
    version: str,
    readme: str,
    links: Mapping[str, Path] | None = None,
    command_name: str = "coactseg",
    title: str = "CoactSeg: multiple sclerosis lesions on FLAIR MRI",
) -> Derivatives:
    """Make an output data set, or go on in one: description, README, .bidsignore, meaning of the desc- labels.

    A file that already says the same is left alone, so that many jobs can start in one folder, one after the other: where they may start
    at once, the caller holds a lock.

    Args:
        root: folder of the output.
        raw: the raw data set; None where a run reads derivatives only.
        version: of the program.
        readme: text of README.md, with what its reader must know ("Research use only ...").
        links: further data sets that Sources refer to, name to folder.
        command_name: program in GeneratedBy.
        title: name of the data set.

    Raises: CannotCreate where root cannot be made, is the raw data set or lies inside it outside derivatives/, or holds
        another data set.
    """
    refuse_foreign(root, raw, command_name)
    make_folder(root)
    known = {name: folder for name, folder in (links or {}).items() if name != "raw"}
    derivatives = Derivatives(root, raw, known)
    for name in ("dataset_description.json", ".bidsignore", "README.md", "descriptions.tsv", "descriptions.json"):
        remove_leftovers(root / name)
    description = describe(root, raw, version=version, links=known, command_name=command_name, title=title)
    if description != _read_description(root):
        write_json(root / "dataset_description.json", description)
    _write_if_new(root / ".bidsignore", "\n".join(BIDSIGNORE) + "\n")
    _write_if_new(root / "README.md", readme.rstrip("\n") + "\n")
    if not (root / "descriptions.tsv").exists() or len(read_table(root / "descriptions.tsv")) != len(DESCRIPTIONS):
        rows = [{"desc_id": f"desc-{label}", "description": text} for label, text in DESCRIPTIONS.items()]
        columns = {"desc_id": Column("desc- label of a file name."), "description": Column("What it marks.")}
        write_table(root / "descriptions.tsv", rows, columns, description="Meaning of the desc- labels.")
    return derivatives


def write_participants(derivatives: Derivatives, subjects: tuple[str, ...]) -> None:
    """participants.tsv and .json of the output, with what the raw data set's table says of these participants."""
    rows: list[dict[str, str]] = []
    table, dictionary = ({}, {}) if derivatives.raw is None else _raw_participants(derivatives.raw)
    names = list(next(iter(table.values()), {"participant_id": ""}))
    for subject in subjects:
        row = table.get(f"sub-{subject}", {})
        rows.append({**dict.fromkeys(names, "n/a"), **row, "participant_id": f"sub-{subject}"})
    columns = {name: _raw_column(name, dictionary) for name in names}
    write_table(derivatives.root / "participants.tsv", rows, columns, description="Participants with results here.")


def _raw_participants(raw: Path) -> tuple[dict[str, dict[str, str]], dict[str, Any]]:
    path = raw / "participants.tsv"
    rows = [row for row in read_table(path) if "participant_id" in row] if path.exists() else []
    dictionary = read_json(path.with_suffix(".json")) if path.with_suffix(".json").exists() else {}
    return {row["participant_id"]: row for row in rows}, dictionary


def _raw_column(name: str, dictionary: Mapping[str, Any]) -> Column:
    if name == "participant_id":
        return Column("Participant, as in the raw data set.")
    entry = dictionary.get(name)
    entry = entry if isinstance(entry, dict) else {}
    levels = entry.get("Levels")
    return Column(
        str(entry.get("Description", "As in the raw data set.")),
        str(entry["Units"]) if "Units" in entry else None,
        {str(key): str(value) for key, value in levels.items()} if isinstance(levels, dict) else None,
    )


def unresolved_sources(root: Path) -> list[str]:
    """Every BIDS URI in Sources, SpatialReference, FromFile or ToFile that names no file, as 'sidecar: URI'."""
    places = dataset_places(root)
    missing: list[str] = []
    for sidecar in sorted(root.rglob("sub-*.json")):
        content = read_json(sidecar)
        values = [content.get(key) for key in ("SpatialReference", "FromFile", "ToFile")] + list(content.get("Sources", []))
        uris = [value for value in values if isinstance(value, str) and value.startswith("bids:")]
        missing += [f"{sidecar.relative_to(root)}: {uri}" for uri in uris if not _resolves(uri, places)]
    return missing


def resolve(uri: str, places: Mapping[str, Path]) -> Path | None:
    """Give the file that a BIDS URI names; places: data set name to folder, '' for its own. None where the name is unknown."""
    _, name, relative = [*uri.split(":", 2), "", ""][:3]
    return places[name] / unquote(relative) if name in places else None


def dataset_places(root: Path) -> dict[str, Path]:
    """Folders of the data sets that a derivative's BIDS URIs can name. Raises: NoInput, InvalidDataset."""
    links = read_json(root / "dataset_description.json").get("DatasetLinks", {})
    return {"": root} | {str(name): _place(root, str(link)) for name, link in links.items()}


def _resolves(uri: str, places: Mapping[str, Path]) -> bool:
    path = resolve(uri, places)
    return path is not None and path.exists()


def _place(root: Path, link: str) -> Path:
    parsed = urlparse(link)
    return Path(unquote(parsed.path)) if parsed.scheme == "file" else root / unquote(link)


def refuse_foreign(root: Path, raw: Path | None, command_name: str = "coactseg") -> None:
    """Check that writing to root harms no data set. Raises: CannotCreate."""
    if raw is not None:
        relative = _inside(root.resolve(), raw.resolve())
        if relative is not None and relative.split("/")[0] != "derivatives":
            msg = f"{root}: the output would mix with the raw data set {raw}. Write to {raw / 'derivatives' / command_name}, or outside."
            raise CannotCreate(msg)
    content = _read_description(root)
    generators = content.get("GeneratedBy")
    names = [entry.get("Name") for entry in generators if isinstance(entry, dict)] if isinstance(generators, list) else []
    if content and command_name not in names:
        msg = f"{root}: the folder holds another data set ({content.get('Name', 'no name')!r}). Choose an empty folder for the output."
        raise CannotCreate(msg)
    for name in _SHARED_FOLDERS:
        require_inside(root / name, root)


def _read_description(root: Path) -> dict[str, Any]:
    path = root / "dataset_description.json"
    try:
        return read_json(path) if path.exists() else {}
    except BidsAppError as error:
        msg = f"{error} Or choose an empty folder for the output."
        raise CannotCreate(msg) from error


def _write_if_new(path: Path, text: str) -> None:
    if not path.is_file() or path.read_bytes() != text.encode():
        write_text(path, text)


def _absolute(path: Path) -> Path:
    return Path(os.path.normpath(path.absolute()))


def _inside(path: Path, folder: Path) -> str | None:
    """Path relative to a folder it lies in, with '/'; None elsewhere. Links count as they are named, then resolved."""
    for inner, outer in ((_absolute(path), _absolute(folder)), (path.resolve(), folder.resolve())):
        if inner.is_relative_to(outer):
            return inner.relative_to(outer).as_posix()
    return None
