"""What OUT holds of one participant: maps, tables, sidecars, as values. What an older OUT lacks is empty, None or NaN."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bids_app.cases import Pair, PreparedScan, desc_of
from bids_app.derivatives import Derivatives
from bids_app.errors import InvalidDataset
from bids_app.fates import FATES, LesionMap
from bids_app.files import read_json
from bids_app.tables import number, read_table
from coactseg_cli.volumes import Volume, load, to_ras

Row = Mapping[str, str]

# Columns without which a table says nothing.
OF_MAP = ("index", "name", "volume_mm3")
OF_LESIONS = ("index", "fate", "location")
OF_TIMELINE = ("lesion_id", "session_id", "volume_mm3", "fate")
WORDS = frozenset(  # columns of lesions that hold words; all others hold numbers
    {"name", "lesion_id", "session_id", "first_session", "last_session", "fate", "location", "merged_into", "split_from"}
)
OF_FLAGS = ("session_id", "name", "value", "units", "low", "high", "flagged", "reason")


@dataclass(frozen=True, slots=True, eq=False)
class LesionMask:
    """One kind of lesion map of one visit."""

    rows: Sequence[Row]  # of the dseg.tsv, the scan's own grid
    mask: np.ndarray  # bool, reference grid
    facts: Mapping[str, Any]  # sidecar of the dseg

    @property
    def volume_mm3(self) -> float:
        """Volume of all of them, on the scan's own grid."""
        return sum(number(r["volume_mm3"]) for r in self.rows)


@dataclass(frozen=True, slots=True, eq=False)
class Visit:
    """One visit, its arrays in RAS order."""

    scan: PreparedScan
    image: Volume  # reference grid
    brain: np.ndarray  # bool, reference grid
    native: Volume  # the scan with its skull, on its own grid
    native_brain: Volume  # bool
    brain_facts: Mapping[str, Any]  # sidecar of the brain mask
    lesions: LesionMask

    @property
    def name(self) -> str:
        """As a reader knows it."""
        return f"ses-{self.scan.session}" if self.scan.session else "the only visit"

    @property
    def session_id(self) -> str:
        """As the tables name it."""
        return f"ses-{self.scan.session}" if self.scan.session else "n/a"

    @property
    def origin_mm(self) -> tuple[float, float, float]:
        """Scanner place of voxel 0 of the reference grid."""
        x, y, z = self.image.affine[:3, 3]
        return float(x), float(y), float(z)


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """The tables of a participant; empty or None where OUT has none."""

    sessions: Mapping[str, Row] = field(default_factory=dict)  # session_id to its row
    lesions: Sequence[Row] = ()  # a row per lesion ever seen
    timeline: Sequence[Row] = ()  # a row per lesion and visit
    flags: Sequence[Row] | None = None
    selfcheck: Sequence[Row] = ()
    selfcheck_facts: Mapping[str, Any] = field(default_factory=dict)
    tracking_facts: Mapping[str, Any] = field(default_factory=dict)  # sidecar of the dseg of all lesions

    def at(self, session_id: str, *fates: str) -> list[Row]:
        """Rows of the timeline at a visit, of these fates; no fates: all."""
        return [r for r in self.timeline if r["session_id"] == session_id and (not fates or r["fate"] in fates)]

    def counts(self, session_id: str) -> dict[str, int]:
        """Fate to number of lesions at a visit, in the reader's order."""
        found = [r["fate"] for r in self.at(session_id)]
        return {look.word: found.count(look.word) for look in FATES}

    def seen(self, lesion_id: str, session_id: str) -> Row | None:
        """What is known of a lesion at a visit."""
        return next((r for r in self.at(session_id) if r["lesion_id"] == lesion_id), None)


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """The maps that compare two visits."""

    pair: Pair
    new: LesionMask
    resolved: LesionMask | None  # None: not looked for

    @property
    def followed(self) -> bool:
        """Whether the timeline tells this comparison: it compares each visit with the visit before."""
        return self.pair.followup - self.pair.baseline == 1


def read_change(tree: Derivatives, visits: Sequence[Visit], pair: Pair) -> Change:
    """Read what compares two visits; it lies at the follow-up. Raises: NoInput, InvalidDataset, UnreadableImage."""
    scan, before = visits[pair.followup].scan, visits[pair.baseline].scan.session
    new = read_mask(tree, scan, desc_of(pair, before))
    assert new is not None
    return Change(pair, new, read_mask(tree, scan, desc_of(pair, before).replace("new", "resolved"), needed=False))


def read_visit(tree: Derivatives, scan: PreparedScan) -> Visit:
    """Read a visit of OUT. Raises: NoInput, InvalidDataset, UnreadableImage."""
    facts = read_json(Path(str(scan.native_brain_mask).replace(".nii.gz", ".json")))
    lesions = read_mask(tree, scan, "all")
    assert lesions is not None
    native_brain = _binary(scan.native_brain_mask)
    return Visit(scan, to_ras(load(scan.image)), _binary(scan.brain_mask).data, to_ras(load(scan.native)), native_brain, facts, lesions)


def read_mask(tree: Derivatives, scan: PreparedScan, desc: str, *, needed: bool = True) -> LesionMask | None:
    """Read one lesion map of a visit; None where it is not needed and not there. Raises: NoInput, InvalidDataset."""
    source = scan.entities.source().with_(desc=desc, datatype="anat")
    mask = tree.path(source.with_(space="individual", label="L", suffix="mask", extension=".nii.gz"))
    dseg = source.with_(space="orig", suffix="dseg")
    table = tree.path(dseg.with_(extension=".tsv"))
    if not needed and not (mask.is_file() and table.is_file()):
        return None
    return LesionMask(_lesions(table, OF_MAP), _binary(mask).data, read_json(tree.path(dseg.with_(extension=".json"))))


def _binary(path: Path) -> Volume:
    mask = to_ras(load(path))
    return mask.like(mask.data > 0.5)


def read_tables(tree: Derivatives, subject: str) -> Tables:
    """Read the tables of a participant. Raises: InvalidDataset for a table that cannot be read."""
    stem = f"sub-{subject}"
    flags = tree.subject_path(subject, f"{stem}_desc-quality_flags.tsv")
    selfcheck = tree.subject_path(subject, f"{stem}_desc-selfcheck_table.tsv")
    lesions, timeline = lesions_path(tree, subject, ".tsv"), tree.subject_path(subject, f"{stem}_desc-lesions_timeline.tsv")
    return Tables(
        sessions={r["session_id"]: r for r in _rows(tree.subject_path(subject, f"{stem}_sessions.tsv"), ("session_id",))},
        lesions=_lesions(lesions, OF_LESIONS) if lesions.is_file() else (),
        timeline=_lesions(timeline, OF_TIMELINE) if timeline.is_file() else (),
        flags=_rows(flags, OF_FLAGS) if flags.is_file() else None,
        selfcheck=_rows(selfcheck),
        selfcheck_facts=_facts(selfcheck.with_suffix(".json")),
        tracking_facts=_facts(lesions.with_suffix(".json")),
    )


def lesions_path(tree: Derivatives, subject: str, extension: str) -> Path:
    """OUT/sub-XX/anat/sub-XX_space-individual_desc-lesions_dseg."""
    return tree.root / f"sub-{subject}" / "anat" / f"sub-{subject}_space-individual_desc-lesions_dseg{extension}"


def read_lesions(tree: Derivatives, subject: str, tables: Tables) -> LesionMap | None:
    """Read the map of every lesion ever seen, with the latest fates, in RAS order; None where OUT has none."""
    path = lesions_path(tree, subject, ".nii.gz")
    if not tables.lesions or not path.is_file():
        return None
    labels = to_ras(load(path)).data.round().astype(np.int32)
    return LesionMap(labels, {int(number(r["index"])): r["fate"] for r in tables.lesions})


def _lesions(path: Path, needed: Collection[str]) -> Sequence[Row]:
    """A table with a row per lesion, every number of which is one. Raises: NoInput, InvalidDataset."""
    rows = read_table(path, needed)
    for i, row in enumerate(rows, start=2):
        for name, text in row.items():
            try:
                if name not in WORDS:
                    number(text)
            except InvalidDataset as error:
                msg = f"{path}: row {i}, column {name}: {error}"
                raise InvalidDataset(msg) from error
    return rows


def _rows(path: Path, needed: Collection[str] = ()) -> Sequence[Row]:
    return read_table(path, needed) if path.is_file() else ()


def _facts(path: Path) -> Mapping[str, Any]:
    return read_json(path) if path.is_file() else {}


def value(row: Row | None, name: str) -> float:
    """Read a number of a row, NaN where row, column or value is missing."""
    return number(row.get(name, "n/a")) if row is not None else float("nan")
