"""Brain masks and lesion labels that the user gives beside the scans (-d NAME=PATH)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bids_app.cases import Label, LabelKind, Mask, Scan
from bids_app.entities import Entities, try_parse
from bids_app.errors import AmbiguousScan, InvalidDataset

IMAGES = (".nii.gz", ".nii")
LESION_LABELS = frozenset({"L", "lesion"})
KINDS: dict[str | None, LabelKind] = {None: LabelKind.ALL, **{str(kind): kind for kind in LabelKind}}
NATIVE = frozenset({None, "orig", "FLAIR"})  # spaces that are the scan's own grid
_COMPARED = ("acquisition", "ceagent", "reconstruction", "direction", "run", "echo", "part")


@dataclass(frozen=True, slots=True)
class Found:
    """A file of a derivative data set, and what its name says."""

    path: Path
    entities: Entities


def files_of(root: Path, subject: str) -> list[Found]:
    """What lies in the anat folders of a participant under BIDS names; folders and other names are passed over."""
    folders = [root / f"sub-{subject}" / "anat", *sorted((root / f"sub-{subject}").glob("ses-*/anat"))]
    paths = (path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir()) if path.is_file())
    parsed = ((path, try_parse(path.name)) for path in paths)
    return [Found(path, entities) for path, entities in parsed if entities is not None and entities.subject == subject]


def labels_for(visits: Sequence[Scan], files: Sequence[Found], label_desc: Mapping[str, LabelKind]) -> tuple[Label, ...]:
    """Lesion labels of the visits of one participant.

    Args:
        visits: in temporal order.
        files: of every derivative data set that was named (files_of).
        label_desc: desc of further labels to what they show.

    Returns: at most one label per visit and kind; on the scan's own grid where there is a choice.
    Raises: AmbiguousScan for two labels of one visit, kind and kind of space; InvalidDataset for a label without a session where
        there are several visits.
    """
    kinds = KINDS | dict(label_desc)
    lesions = [file for file in files if _is_mask(file.entities) and file.entities.label in LESION_LABELS and file.entities.desc in kinds]
    labels = []
    for place, visit in enumerate(visits):
        candidates = [file for file in lesions if _belongs(file, visits, place, kinds)]
        for kind in LabelKind:
            chosen = _choose([file for file in candidates if kinds[file.entities.desc] == kind], f"{visit.entities.visit()} ({kind} label)")
            if chosen is not None:
                labels.append(Label(chosen.path, kind, visit.session, *_place(chosen, files)))
    return tuple(labels)


def masks_for(visits: Sequence[Scan], sources: Iterable[Sequence[Found]]) -> tuple[Mask, ...]:
    """Brain masks of the visits of one participant: for each visit that of the first data set in `sources` that has one.

    Raises: AmbiguousScan for two masks of one visit in one data set.
    """
    masks: dict[str | None, Mask] = {}
    for files in sources:
        brains = [file for file in files if _is_mask(file.entities) and file.entities.label is None and file.entities.desc == "brain"]
        for visit in visits:
            mine = [file for file in brains if _same_visit(file.entities, visit, alone=len(visits) == 1)]
            chosen = _choose(mine, f"{visit.entities.visit()} (brain mask)")
            if chosen is not None:
                masks.setdefault(visit.session, Mask(chosen.path, visit.session, *_place(chosen, files)))
    return tuple(masks[visit.session] for visit in visits if visit.session in masks)


def _is_mask(entities: Entities) -> bool:
    return entities.suffix == "mask" and entities.extension in IMAGES


def _belongs(file: Found, visits: Sequence[Scan], place: int, kinds: Mapping[str | None, LabelKind]) -> bool:
    """Whether a label shows the visit at `place`. Raises: InvalidDataset where that cannot be told."""
    if file.entities.session is None and len(visits) > 1:
        about_new = kinds[file.entities.desc] in {LabelKind.NEW, LabelKind.IGNORE_NEW}
        if not (about_new and len(visits) == 2):
            names = ", ".join(str(visit.session) for visit in visits)
            msg = f"{file.path}: the label names no session, but there are the visits {names}. Put ses- into its name."
            raise InvalidDataset(msg)
        return place == 1 and _same_source(file.entities, visits[place])
    return _same_visit(file.entities, visits[place], alone=len(visits) == 1)


def _same_visit(entities: Entities, visit: Scan, *, alone: bool) -> bool:
    session = entities.session == visit.session or (alone and entities.session is None)
    return session and _same_source(entities, visit)


def _same_source(entities: Entities, visit: Scan) -> bool:
    """Whether acq-, run- and the like agree with the scan's, where the file names them."""
    return all(getattr(entities, field) in {None, getattr(visit.entities, field)} for field in _COMPARED)


def _choose(files: Sequence[Found], what: str) -> Found | None:
    """One file: on the scan's own grid if there is one. Raises: AmbiguousScan."""
    native = [file for file in files if file.entities.space in NATIVE]
    best = native or list(files)
    if len(best) > 1:
        names = ", ".join(str(file.path) for file in best)
        msg = f"{what}: {len(best)} files answer: {names}. Leave one, or give another folder with --derivatives."
        raise AmbiguousScan(msg)
    return best[0] if best else None


def _place(chosen: Found, files: Sequence[Found]) -> tuple[str | None, Path | None]:
    """Space of a label (None: the scan's own grid) and the transform from the scan to it, if there is one beside it."""
    space = chosen.entities.space
    if space in NATIVE:
        return None, None
    beside = (file for file in files if file.path.parent == chosen.path.parent and _leads_to(file.entities, space))
    return space, next((file.path for file in beside), None)


def _leads_to(entities: Entities, space: str | None) -> bool:
    """Whether a file is a transform from the scan to a space."""
    return (entities.suffix, entities.extension, entities.to) == ("xfm", ".txt", space) and entities.from_ in {"FLAIR", "orig"}
