"""Predicted and reference lesion masks of the same case, from two files, two plain folders or two BIDS trees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bids_app.cases import LabelKind, MaskPair
from bids_app.entities import strip_prefix, try_parse
from bids_app.errors import AmbiguousScan, InvalidDataset, NoInput
from bids_app.sessions import natural
from bids_app.supplied import IMAGES, LESION_LABELS, files_of

_KINDS = {None: LabelKind.ALL, "all": LabelKind.ALL, "new": LabelKind.NEW}


@dataclass(frozen=True, slots=True, order=True)
class _Case:
    subject: str
    session: str | None
    kind: LabelKind

    @property
    def name(self) -> str:
        return f"sub-{self.subject}" + (f"_ses-{self.session}" if self.session is not None else "")


def read_mask_pairs(
    predicted: Path, reference: Path, kind: LabelKind | None = None, participant_labels: Sequence[str] = ()
) -> tuple[MaskPair, ...]:
    """Pair the masks of two places; what only one of them has is paired with None.

    Args:
        predicted: a file, a folder of files, or a BIDS tree (sub-*/[ses-*/]anat) with lesion masks.
        reference: as predicted.
        kind: ALL or NEW; None: both. Of a file whose name tells no kind: NEW, unless this says otherwise.
        participant_labels: with or without 'sub-'; empty: all. BIDS trees only.

    Raises: NoInput; InvalidDataset where the two are not alike; AmbiguousScan where two masks answer.
    """
    for path in (predicted, reference):
        if not path.exists():
            msg = f"{path}: no such file or folder."
            raise NoInput(msg)
    if predicted.is_file() and reference.is_file():
        return (MaskPair(_stem(predicted), kind or kind_of(predicted) or kind_of(reference) or LabelKind.NEW, predicted, reference),)
    if predicted.is_file() or reference.is_file():
        msg = f"expected two files or two folders; got {predicted} and {reference}."
        raise InvalidDataset(msg)
    trees = [bool(_subjects(folder)) for folder in (predicted, reference)]
    if all(trees):
        labels = {strip_prefix(label, "sub") for label in participant_labels}
        return _pair_trees(predicted, reference, kind, labels)
    if any(trees):
        msg = f"expected two BIDS trees (sub-* folders) or two plain folders; got one of each: {predicted} and {reference}."
        raise InvalidDataset(msg)
    return _pair_folders(predicted, reference, kind)


def kind_of(path: Path) -> LabelKind | None:
    """What a mask shows by its name: desc-new; desc-all, or a lesion label without desc; None: the name does not say."""
    entities = try_parse(path.name)
    if entities is None or (entities.desc is None and entities.label not in LESION_LABELS):
        return None
    return _KINDS.get(entities.desc)


def _pair_folders(predicted: Path, reference: Path, kind: LabelKind | None) -> tuple[MaskPair, ...]:
    """By equal names; .nii and .nii.gz are the same name."""
    sides = [{_stem(path): path for path in sorted(folder.iterdir()) if _is_image(path)} for folder in (predicted, reference)]
    pairs = []
    for case in sorted(sides[0] | sides[1], key=natural):
        mine, theirs = sides[0].get(case), sides[1].get(case)
        told = kind_of(Path(f"{case}.nii"))
        if kind is None or told in {None, kind}:
            pairs.append(MaskPair(case, kind or told or LabelKind.NEW, mine, theirs))
    return tuple(pairs)


def _pair_trees(predicted: Path, reference: Path, kind: LabelKind | None, labels: set[str]) -> tuple[MaskPair, ...]:
    mine, theirs = (_masks(folder, kind, labels) for folder in (predicted, reference))
    theirs = _with_sessions_of(mine, theirs)
    mine = _with_sessions_of(theirs, mine)
    cases = sorted(mine.keys() | theirs.keys(), key=lambda case: (natural(case.subject), natural(case.session or ""), case.kind))
    return tuple(MaskPair(case.name, case.kind, *_in_one_space(mine.get(case, {}), theirs.get(case, {}))) for case in cases)


def _masks(root: Path, kind: LabelKind | None, labels: set[str]) -> dict[_Case, dict[str, Path]]:
    """Case to space to file. Raises: AmbiguousScan."""
    found: dict[_Case, dict[str, Path]] = {}
    for subject in _subjects(root):
        for file in files_of(root, subject) if not labels or subject in labels else ():
            entities = file.entities
            if entities.suffix != "mask" or entities.label not in LESION_LABELS or entities.extension not in IMAGES:
                continue
            what = _KINDS.get(entities.desc)
            if what is None or kind not in {None, what}:
                continue
            spaces = found.setdefault(_Case(subject, entities.session, what), {})
            space = entities.space or "orig"  # without space-: the scan's own grid
            if space in spaces:
                msg = f"{spaces[space]} and {file.path} are both the {what} mask of one visit. Leave one."
                raise AmbiguousScan(msg)
            spaces[space] = file.path
    return found


def _with_sessions_of(model: Mapping[_Case, dict[str, Path]], masks: Mapping[_Case, dict[str, Path]]) -> dict[_Case, dict[str, Path]]:
    """Give a mask without a session that of the other side, where the other side has one visit."""
    named: dict[_Case, dict[str, Path]] = {}
    for case, files in masks.items():
        sessions = [other.session for other in model if (other.subject, other.kind) == (case.subject, case.kind)]
        alone = case.session is None and len(sessions) == 1
        named[_Case(case.subject, sessions[0], case.kind) if alone else case] = files
    return named


def _in_one_space(mine: Mapping[str, Path], theirs: Mapping[str, Path]) -> tuple[Path | None, Path | None]:
    """The scan's own grid where both have it, else a space that both have, else each side's best."""
    shared = mine.keys() & theirs.keys()
    spaces = [shared or mine.keys(), shared or theirs.keys()]
    best = [min(names, key=lambda space: (space != "orig", space), default="") for names in spaces]
    return mine.get(best[0]), theirs.get(best[1])


def _subjects(root: Path) -> list[str]:
    return sorted((folder.name[4:] for folder in root.glob("sub-*") if folder.is_dir()), key=natural)


def _is_image(path: Path) -> bool:
    return path.is_file() and path.name.endswith(IMAGES) and not path.name.startswith(".")


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")
