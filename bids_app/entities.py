"""BIDS file names to values and back; pure strings, nothing here touches the disk."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import Any

# Field of Entities -> key in a file name, in the order of BIDS 1.11 (schema rules.entities). BIDS has no place for
# from, to and mode of a transform: they follow the entities of the source, as in fMRIPrep.
KEYS: dict[str, str] = {
    "subject": "sub",
    "session": "ses",
    "sample": "sample",
    "task": "task",
    "acquisition": "acq",
    "nucleus": "nuc",
    "volume": "voi",
    "ceagent": "ce",
    "tracer": "trc",
    "stain": "stain",
    "reconstruction": "rec",
    "direction": "dir",
    "run": "run",
    "modality": "mod",
    "echo": "echo",
    "flip": "flip",
    "inversion": "inv",
    "mtransfer": "mt",
    "part": "part",
    "processing": "proc",
    "hemisphere": "hemi",
    "from_": "from",
    "to": "to",
    "mode": "mode",
    "space": "space",
    "cohort": "cohort",
    "split": "split",
    "chunk": "chunk",
    "atlas": "atlas",
    "segmentation": "seg",
    "scale": "scale",
    "resolution": "res",
    "density": "den",
    "label": "label",
    "desc": "desc",
}
_FIELDS = {key: field for field, key in KEYS.items()}
_DATATYPES = frozenset({"anat", "dwi", "fmap", "func", "perf", "pet", "figures"})
_LABEL = re.compile(r"[0-9a-zA-Z+]+")
# What a derivative adds to the name of its source.
_DERIVED = ("from_", "to", "mode", "space", "cohort", "segmentation", "scale", "resolution", "density", "label", "desc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entities:
    """What a BIDS file name says; values without their prefix ('01', not 'sub-01')."""

    subject: str | None = None
    session: str | None = None
    sample: str | None = None
    task: str | None = None
    acquisition: str | None = None
    nucleus: str | None = None
    volume: str | None = None
    ceagent: str | None = None
    tracer: str | None = None
    stain: str | None = None
    reconstruction: str | None = None
    direction: str | None = None
    run: str | None = None
    modality: str | None = None
    echo: str | None = None
    flip: str | None = None
    inversion: str | None = None
    mtransfer: str | None = None
    part: str | None = None
    processing: str | None = None
    hemisphere: str | None = None
    from_: str | None = None
    to: str | None = None
    mode: str | None = None
    space: str | None = None
    cohort: str | None = None
    split: str | None = None
    chunk: str | None = None
    atlas: str | None = None
    segmentation: str | None = None
    scale: str | None = None
    resolution: str | None = None
    density: str | None = None
    label: str | None = None
    desc: str | None = None
    suffix: str | None = None
    extension: str | None = None  # with its dot, '.nii.gz'
    datatype: str | None = None  # the folder, 'anat'; not part of the name

    def name(self) -> str:
        """Give the file name: entities in BIDS order, then suffix and extension.

        Raises: ValueError for a value that no BIDS name can hold, or without a suffix.
        """
        if not self.suffix:
            msg = f"a BIDS file name needs a suffix; got {self}"
            raise ValueError(msg)
        pairs = [(key, getattr(self, field)) for field, key in KEYS.items()]
        parts = [f"{key}-{_checked(key, value)}" for key, value in pairs if value is not None]
        return "_".join([*parts, self.suffix]) + (self.extension or "")

    def with_(self, **changes: str | None) -> Entities:
        """Copy with other values; None takes an entity out."""
        return replace(self, **changes)

    def source(self) -> Entities:
        """Copy with what the raw scan's name holds only: no space, res, label, desc, from, to."""
        return replace(self, **dict.fromkeys(_DERIVED))

    def visit(self) -> str:
        """'sub-01_ses-02', or 'sub-01' where there is no session."""
        return f"sub-{self.subject}" + (f"_ses-{self.session}" if self.session is not None else "")

    def asdict(self) -> dict[str, str]:
        """Field to value, without what is absent."""
        pairs = ((f.name, getattr(self, f.name)) for f in fields(self))
        return {name: value for name, value in pairs if value is not None}


def parse(name: str) -> Entities:
    """Read a BIDS file name, or a path whose folder then gives the datatype.

    Raises: ValueError where the name is not a BIDS name (a part without '-', an unknown or a doubled key).
    """
    *folders, file = name.split("/")
    stem, dot, extension = file.partition(".")
    *parts, suffix = stem.split("_")
    found: dict[str, Any] = {}
    for part in parts:
        key, _, value = part.partition("-")
        if key not in _FIELDS or _FIELDS[key] in found or not _LABEL.fullmatch(value):
            msg = f"{file}: {part!r} is not a BIDS entity. Expected, for instance, sub-01_ses-01_FLAIR.nii.gz."
            raise ValueError(msg)
        found[_FIELDS[key]] = value
    if not _LABEL.fullmatch(suffix):
        msg = f"{file}: {suffix!r} is not a BIDS suffix. Expected, for instance, sub-01_ses-01_FLAIR.nii.gz."
        raise ValueError(msg)
    datatype = folders[-1] if folders and folders[-1] in _DATATYPES else None
    return Entities(**found, suffix=suffix, extension=dot + extension or None, datatype=datatype)


def try_parse(name: str) -> Entities | None:
    """As parse, None where the name is not a BIDS name."""
    try:
        return parse(name)
    except ValueError:
        return None


def xfm_name(source: Entities, from_: str, to: str) -> str:
    """File name of an ITK text transform between two spaces of a scan: ..._from-orig_to-individual_mode-image_xfm.txt."""
    return source.source().with_(from_=from_, to=to, mode="image", suffix="xfm", extension=".txt").name()


def strip_prefix(label: str, key: str) -> str:
    """'sub-01' or '01' to '01' for the key 'sub'."""
    return label.removeprefix(f"{key}-")


def _checked(key: str, value: str) -> str:
    if not _LABEL.fullmatch(value):
        msg = f"{key}-{value} is not a BIDS entity: expected letters and digits only"
        raise ValueError(msg)
    return value
