"""What lies beside a lesion mask: the probability map that it was made from, and a scan to show it on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from bids_app.cases import MaskPair
from bids_app.entities import Entities, try_parse
from bids_app.lesionmasks import NATIVE, is_image, stem
from bids_app.supplied import IMAGES, files_of

_BEHIND = ("_0000", "_FLAIR", "_flair", "")  # nnU-Net's first channel; scan names in plain folders


def with_companions(pairs: Iterable[MaskPair], backgrounds: Path | None = None) -> tuple[MaskPair, ...]:
    """Give each pair the probability map and the scan that lie beside its masks, where it has none yet.

    Args:
        pairs: as read_mask_pairs gives them.
        backgrounds: BIDS tree or folder with scans; None: the folders of the two masks.
    """
    scans_in = cache(_scans_in)
    return tuple(
        replace(
            pair,
            probability=pair.probability or (probability_beside(pair.predicted) if pair.predicted else None),
            background=pair.background or _background(pair, backgrounds, scans_in),
        )
        for pair in pairs
    )


def probability_beside(mask: Path) -> Path | None:
    """The probseg with the same entities in the same folder; None where there is none."""
    entities = try_parse(mask.name)
    if entities is None or entities.suffix not in {"mask", "dseg"}:
        return None
    names = (entities.with_(suffix="probseg", extension=extension).name() for extension in IMAGES)
    return next((path for name in names if (path := mask.with_name(name)).is_file()), None)


def _background(pair: MaskPair, folder: Path | None, scans_in: Callable[[Path], Sequence[Path]]) -> Path | None:
    masks = [mask for mask in (pair.predicted, pair.reference) if mask is not None]
    if folder is None:
        return next((scan for mask in masks if (scan := _scan(scans_in(mask.parent), mask)) is not None), None)
    for mask in masks:
        entities = try_parse(mask.name)
        visit = _tree_files(folder, entities) if entities is not None and entities.subject is not None else []
        scan = _scan(visit, mask) or _scan_named(folder, (pair.case, stem(mask)))
        if scan is not None:
            return scan
    return None


def _tree_files(root: Path, entities: Entities) -> Sequence[Path]:
    return [file.path for file in files_of(root, str(entities.subject))]


def _scans_in(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted(folder.glob("*_FLAIR.*")))


def _scan(files: Iterable[Path], mask: Path) -> Path | None:
    """The FLAIR of the visit of a mask, best on the same grid: same space, then without a space; preprocessed first."""
    wanted = try_parse(mask.name)
    if wanted is None:
        return None
    found = []
    for path in files:
        entities = try_parse(path.name)
        if entities is None or entities.suffix != "FLAIR" or entities.extension not in IMAGES or not path.is_file():
            continue
        if entities.subject == wanted.subject and entities.session == wanted.session:
            found.append((_distance(entities, wanted), str(path), path))
    return min(found)[2] if found else None


def _distance(scan: Entities, mask: Entities) -> tuple[bool, bool]:
    return (scan.space or NATIVE) != (mask.space or NATIVE), scan.desc is None


def _scan_named(folder: Path, names: Sequence[str]) -> Path | None:
    """In a plain folder: case, case_0000 (nnU-Net) or case_FLAIR."""
    paths = (folder / f"{name}{behind}{extension}" for name in names for behind in _BEHIND for extension in IMAGES)
    return next((path for path in paths if is_image(path)), None)
