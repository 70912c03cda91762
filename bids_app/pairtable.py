"""A table of mask pairs, one row per case, for masks whose names follow no rule."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bids_app.cases import LabelKind, MaskPair
from bids_app.errors import InvalidDataset, NothingMatched
from bids_app.lesionmasks import kind_of, stem
from bids_app.tables import read_table

COLUMNS = ("predicted", "reference", "case", "subject", "session", "kind", "site", "probability", "background", "method")
_KINDS = {"all": LabelKind.ALL, "new": LabelKind.NEW}


def read_pair_table(
    path: Path, kind: LabelKind | None = None, participant_labels: frozenset[str] = frozenset()
) -> dict[str | None, tuple[MaskPair, ...]]:
    """Read a TSV with the columns `predicted` and `reference` and, if wanted, the others of COLUMNS; paths are relative to the table.

    Args:
        path: the table.
        kind: takes the rows of this kind only; rows without one are of this kind, else as the file names say, else NEW.
        participant_labels: without 'sub-'; empty: all.

    Returns: method (None without that column) to its pairs, in the order of the table.
    Raises: NoInput; InvalidDataset for an unknown or missing column, a case that occurs twice, or a kind other than all and new.
    """
    rows = read_table(path)
    if not rows:
        msg = f"{path}: the table has no row. Write one line per case below {', '.join(COLUMNS[:2])}."
        raise NothingMatched(msg)
    _check_columns(path, rows[0])
    found: dict[str | None, dict[tuple[str, LabelKind], MaskPair]] = {}
    for line, row in enumerate(rows, start=2):
        pair = _pair(path, line, {name: text for name, text in row.items() if text not in {"", "n/a"}}, kind)
        patient = (pair.patient or pair.case.partition("_")[0]).removeprefix("sub-")
        if kind not in {None, pair.kind} or (participant_labels and patient not in participant_labels):
            continue
        pairs = found.setdefault(row.get("method"), {})
        if (pair.case, pair.kind) in pairs:
            msg = f"{path}: row {line} is a second row of the case {pair.case}, kind {pair.kind}. Give each case one row, or name it apart."
            raise InvalidDataset(msg)
        pairs[pair.case, pair.kind] = pair
    return {method: tuple(pairs.values()) for method, pairs in found.items()}


def _check_columns(path: Path, row: Mapping[str, str]) -> None:
    if lacking := [name for name in COLUMNS[:2] if name not in row]:
        msg = f"{path}: the column {lacking[0]!r} is missing; found {list(row)}. Needed: predicted, reference, tab between them."
        raise InvalidDataset(msg)
    if unknown := [name for name in row if name not in COLUMNS]:
        msg = f"{path}: unknown columns {unknown}. Known: {', '.join(COLUMNS)}."
        raise InvalidDataset(msg)


def _pair(path: Path, line: int, row: Mapping[str, str], kind: LabelKind | None) -> MaskPair:
    predicted, reference, probability, background = (
        path.parent / row[name] if name in row else None for name in ("predicted", "reference", "probability", "background")
    )
    named = predicted or reference
    if named is None:
        msg = f"{path}: row {line} names neither a predicted nor a reference mask."
        raise InvalidDataset(msg)
    if row.get("kind", "all") not in _KINDS:
        msg = f"{path}: row {line}: kind must be all or new; got {row['kind']!r}."
        raise InvalidDataset(msg)
    told = (kind_of(mask) for mask in (predicted, reference) if mask is not None)
    shown = _KINDS[row["kind"]] if "kind" in row else kind or next((k for k in told if k), LabelKind.NEW)
    subject = f"sub-{row['subject'].removeprefix('sub-')}" if "subject" in row else None
    visit = None if subject is None else subject + (f"_ses-{row['session'].removeprefix('ses-')}" if "session" in row else "")
    return MaskPair(row.get("case") or visit or stem(named), shown, predicted, reference, subject, row.get("site"), probability, background)
