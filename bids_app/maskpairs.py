"""Predicted and reference lesion masks of the same case: from two files, two folders, two BIDS trees, or one of each kind of place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bids_app.cases import LabelKind, MaskPair
from bids_app.entities import strip_prefix
from bids_app.errors import AmbiguousScan, InvalidDataset, NoInput
from bids_app.lesionmasks import NATIVE, LesionMask, MaskSource, kind_of, lesion_masks, stem
from bids_app.sessions import natural


@dataclass(frozen=True, slots=True, order=True)
class _Case:
    visit: str  # sub-01, or another name
    session: str | None
    kind: LabelKind

    @property
    def name(self) -> str:
        return self.visit + (f"_ses-{self.session}" if self.session is not None else "")


_Masks = Mapping[_Case, Mapping[str, Path]]  # case to space to file


def read_mask_pairs(
    predicted: MaskSource, reference: MaskSource, kind: LabelKind | None = None, participant_labels: Sequence[str] = ()
) -> tuple[MaskPair, ...]:
    """Pair the masks of two places; what only one of them has is paired with None.

    Args:
        predicted: a file, a folder of files, a BIDS tree (sub-*/[ses-*/]anat) with lesion masks, or a folder with a template.
        reference: as predicted.
        kind: ALL or NEW; None: both. Where a name tells no kind: this, else the kind of its counterpart, else NEW.
        participant_labels: with or without 'sub-'; empty: all. Two files are taken as they are.

    Raises: NoInput; InvalidDataset where a file meets a folder, or a kind cannot be told; AmbiguousScan where two masks answer.
    """
    for source in (predicted, reference):
        if not source.path.exists():
            msg = f"{source.path}: no such file or folder."
            raise NoInput(msg)
    if predicted.is_file and reference.is_file:
        told = kind or kind_of(predicted.path) or kind_of(reference.path) or LabelKind.NEW
        return (MaskPair(stem(predicted.path), told, predicted.path, reference.path),)
    if predicted.is_file or reference.is_file:
        msg = f"expected two files or two folders; got {predicted.path} and {reference.path}."
        raise InvalidDataset(msg)
    labels = {strip_prefix(label, "sub") for label in participant_labels}
    if predicted.is_plain and reference.is_plain:
        return _pair_folders(lesion_masks(predicted, labels), lesion_masks(reference, labels), kind)
    return _pair_visits(lesion_masks(predicted, labels), lesion_masks(reference, labels), kind)


def _pair_folders(predicted: Sequence[LesionMask], reference: Sequence[LesionMask], kind: LabelKind | None) -> tuple[MaskPair, ...]:
    """By equal names; .nii and .nii.gz are the same name."""
    sides = [_by_stem(mask.path for mask in masks) for masks in (predicted, reference)]
    pairs = []
    for case in sorted(sides[0] | sides[1], key=natural):
        told = kind_of(Path(f"{case}.nii"))
        if kind is None or told in {None, kind}:
            pairs.append(MaskPair(case, kind or told or LabelKind.NEW, sides[0].get(case), sides[1].get(case)))
    return tuple(pairs)


def _by_stem(paths: Iterable[Path]) -> dict[str, Path]:
    """Raises: AmbiguousScan for a.nii beside a.nii.gz."""
    found: dict[str, Path] = {}
    for path in paths:
        if stem(path) in found:
            msg = f"{found[stem(path)]} and {path} are both the mask of {stem(path)}. Leave one."
            raise AmbiguousScan(msg)
        found[stem(path)] = path
    return found


def _pair_visits(predicted: Sequence[LesionMask], reference: Sequence[LesionMask], kind: LabelKind | None) -> tuple[MaskPair, ...]:
    """By visit and kind. Raises: InvalidDataset, AmbiguousScan."""
    mine = _by_case(_of_kind(predicted, reference, kind))
    theirs = _by_case(_of_kind(reference, predicted, kind))
    theirs = _with_sessions_of(mine, theirs)
    mine = _with_sessions_of(theirs, mine)
    cases = sorted(mine.keys() | theirs.keys(), key=lambda case: (natural(case.visit), natural(case.session or ""), case.kind))
    return tuple(MaskPair(case.name, case.kind, *_in_one_space(mine.get(case, {}), theirs.get(case, {}))) for case in cases)


def _of_kind(masks: Sequence[LesionMask], others: Sequence[LesionMask], kind: LabelKind | None) -> list[tuple[_Case, LesionMask]]:
    """The masks of a kind under the case they show. Raises: InvalidDataset where a name tells no kind and its counterparts have both."""
    everywhere: set[LabelKind | None] = {other.kind for other in others if other.kind is not None}
    cases = []
    for mask in masks:
        told: set[LabelKind | None] = {mask.kind or kind} - {None}
        if not told:
            told = {other.kind for other in others if _meet(mask, other)} - {None}
        if not told:  # no counterpart, or one whose name tells none either
            told = everywhere if len(everywhere) == 1 else {LabelKind.NEW}
        if len(told) > 1:
            msg = (
                f"{mask.path}: the name does not say whether it shows all lesions or new ones, and its counterparts show both. Give --kind."
            )
            raise InvalidDataset(msg)
        cases += [(_Case(mask.visit, mask.session, shown), mask) for shown in told if shown is not None and kind in {None, shown}]
    return cases


def _meet(mask: LesionMask, other: LesionMask) -> bool:
    return mask.visit == other.visit and (mask.session == other.session or None in {mask.session, other.session})


def _by_case(masks: Iterable[tuple[_Case, LesionMask]]) -> _Masks:
    """Case to space to file. Raises: AmbiguousScan."""
    found: dict[_Case, dict[str, Path]] = {}
    for case, mask in masks:
        spaces = found.setdefault(case, {})
        if mask.space in spaces:
            msg = f"{spaces[mask.space]} and {mask.path} are both the {case.kind} mask of one visit ({case.name}). Leave one, or filter."
            raise AmbiguousScan(msg)
        spaces[mask.space] = mask.path
    return found


def _with_sessions_of(model: _Masks, masks: _Masks) -> _Masks:
    """Give a mask without a session that of the other side, where the other side has one visit."""
    named: dict[_Case, Mapping[str, Path]] = {}
    for case, files in masks.items():
        sessions = [other.session for other in model if (other.visit, other.kind) == (case.visit, case.kind)]
        alone = case.session is None and len(sessions) == 1
        named[_Case(case.visit, sessions[0], case.kind) if alone else case] = files
    return named


def _in_one_space(mine: Mapping[str, Path], theirs: Mapping[str, Path]) -> tuple[Path | None, Path | None]:
    """The scan's own grid where both have it, else a space that both have, else each side's best."""
    shared = mine.keys() & theirs.keys()
    spaces = [shared or mine.keys(), shared or theirs.keys()]
    best = [min(names, key=lambda space: (space != NATIVE, space), default="") for names in spaces]
    return mine.get(best[0]), theirs.get(best[1])
