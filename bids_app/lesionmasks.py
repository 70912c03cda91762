"""Where the lesion masks of a folder lie and which visit each shows: a BIDS tree, a plain folder, or a template of paths."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field, fields
from pathlib import Path

from bids_app.cases import LabelKind
from bids_app.entities import KEYS, Entities, try_parse
from bids_app.errors import InvalidDataset
from bids_app.patterns import find
from bids_app.sessions import natural
from bids_app.supplied import IMAGES, LESION_LABELS, files_of

FREESURFER = ".mgz"  # SAMSEG writes it
NATIVE = "orig"  # the scan's own grid, also where a name has no space-
_KINDS = {None: LabelKind.ALL, "all": LabelKind.ALL, "new": LabelKind.NEW}
_ENTITY_FIELDS = {**{key: name for name, key in KEYS.items()}, **{f.name: f.name for f in fields(Entities)}}


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskSource:
    """A place with masks, and how they are found in it."""

    path: Path  # file, folder or BIDS tree
    pattern: str | None = None  # template of the paths below it (bids_app.patterns)
    filters: Mapping[str, str] = field(default_factory=dict)  # entity to value, of BIDS names; '': the entity is absent
    suffix: str = "mask"  # probseg for probability maps

    @property
    def is_file(self) -> bool:
        """Whether it is one mask."""
        return self.path.is_file()

    @property
    def is_tree(self) -> bool:
        """Whether its masks are found by BIDS names in sub-* folders."""
        return self.pattern is None and bool(subjects(self.path))

    @property
    def is_plain(self) -> bool:
        """Whether its masks are the files of one folder, told apart by their names."""
        return self.pattern is None and not self.is_tree


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionMask:
    """A mask and what its name says."""

    path: Path
    visit: str  # sub-01, or another name of the case
    session: str | None = None  # without ses-
    kind: LabelKind | None = None  # None: the name does not say
    space: str = NATIVE


def lesion_masks(source: MaskSource, participants: Set[str] = frozenset()) -> list[LesionMask]:
    """List the masks of a place; `participants` are labels without 'sub-', empty: all.

    Raises: InvalidDataset for a template or a filter that cannot be.
    """
    for name in source.filters:
        if name not in _ENTITY_FIELDS:
            msg = f"{name!r} is no BIDS entity. Filter by, for instance, desc=..., label=..., space=..., suffix=... ."
            raise InvalidDataset(msg)
    found: Iterable[LesionMask] = (
        _by_template(source) if source.pattern is not None else _in_tree(source) if source.is_tree else _in_folder(source)
    )
    return [mask for mask in found if not participants or mask.visit.removeprefix("sub-") in participants]


def kind_of(path: Path) -> LabelKind | None:
    """What a mask shows by its name: desc-new; desc-all, or a lesion label without desc; None: the name does not say."""
    entities = try_parse(path.name)
    return None if entities is None else _kind(entities)


def subjects(root: Path) -> list[str]:
    """Labels of the sub-* folders."""
    return sorted((folder.name[4:] for folder in root.glob("sub-*") if folder.is_dir()), key=natural)


def images(folder: Path) -> list[Path]:
    """Images that lie in a folder itself."""
    return sorted(path for path in folder.iterdir() if is_image(path))


def is_image(path: Path) -> bool:
    """Whether a file is a NIfTI image by its name, or a volume of FreeSurfer."""
    return path.is_file() and path.name.endswith((*IMAGES, FREESURFER)) and not path.name.startswith(".")


def stem(path: Path) -> str:
    """File name without .nii, .nii.gz or .mgz."""
    return path.name.removesuffix(".gz").removesuffix(".nii").removesuffix(FREESURFER)


def _kind(entities: Entities) -> LabelKind | None:
    return None if entities.desc is None and entities.label not in LESION_LABELS else _KINDS.get(entities.desc)


def _in_tree(source: MaskSource) -> Iterator[LesionMask]:
    for subject in subjects(source.path):
        for file in files_of(source.path, subject):
            if file.entities.extension in IMAGES and _wanted(file.entities, source):
                yield _named(file.path, file.entities, f"sub-{subject}", file.entities.session)


def _wanted(entities: Entities, source: MaskSource) -> bool:
    """By the filters; without any, a lesion label with desc-all, desc-new or no desc."""
    wanted = {_ENTITY_FIELDS[name]: value for name, value in source.filters.items()}
    if not wanted:
        return entities.suffix == source.suffix and entities.label in LESION_LABELS and entities.desc in _KINDS
    wanted.setdefault("suffix", source.suffix)
    return all((getattr(entities, name) or "") == value for name, value in wanted.items())


def _in_folder(source: MaskSource) -> Iterator[LesionMask]:
    """By the names: what holds sub-01 and ses-02 is that visit, any other name is a case of its own."""
    for path in images(source.path):
        visit, session = _visit_in(stem(path)) or (stem(path), None)
        yield _named(path, try_parse(path.name), visit, session)


def _by_template(source: MaskSource) -> Iterator[LesionMask]:
    assert source.pattern is not None
    for match in find(source.path, source.pattern):
        if not is_image(match.path):
            continue
        relative = match.path.relative_to(source.path).as_posix()
        if match.subject is not None:
            visit, session = f"sub-{match.subject}", match.session
        else:
            visit, session = _visit_in(match.case or relative) or _visit_in(relative) or (match.case or stem(match.path), None)
            session = match.session or session
        yield _named(match.path, try_parse(match.path.name), visit, session)


def _visit_in(text: str) -> tuple[str, str | None] | None:
    """('sub-01', '02') of a text with sub-01 and ses-02 in it; None without sub-."""
    subject = re.search(r"(?<![0-9A-Za-z])sub-([0-9A-Za-z+]+)", text)
    session = re.search(r"(?<![0-9A-Za-z])ses-([0-9A-Za-z+]+)", text)
    return None if subject is None else (f"sub-{subject[1]}", session[1] if session else None)


def _named(path: Path, entities: Entities | None, visit: str, session: str | None) -> LesionMask:
    if entities is None:
        return LesionMask(path=path, visit=visit, session=session)
    return LesionMask(path=path, visit=visit, session=session, kind=_kind(entities), space=entities.space or NATIVE)
