"""Which scan is meant: fMRIPrep's filter file (key 'flair') to a query, and the query against what a file name says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from bids_app.entities import KEYS, Entities
from bids_app.errors import InvalidDataset
from bids_app.files import read_json

ANY = "*"
DEFAULTS: dict[str, tuple[str | None, ...]] = {
    "suffix": ("FLAIR",),
    "datatype": ("anat",),
    "extension": (".nii.gz", ".nii"),
    "part": (None, "mag"),
}
# Names that PyBIDS, and so fMRIPrep's users, give to entities.
_ALIASES = {
    **{key: field for field, key in KEYS.items()},
    "inv": "inversion",
    "proc": "processing",
    "staining": "stain",
    "description": "desc",
}
_FIELDS = frozenset(field.name for field in fields(Entities))
_QUERIES = frozenset(
    {"flair", "t1w", "t2w", "t2star", "bold", "sbref", "fmap", "dwi", "asl", "m0scan", "pet", "roi", "xfm", "mp2rage", "megre", "mese"}
)  # of fMRIPrep and its siblings: one file serves all


@dataclass(frozen=True, slots=True)
class Query:
    """Field of Entities to the values it may have; None: absent, '*': any. A field that is not named may be anything."""

    wanted: Mapping[str, tuple[str | None, ...]]
    given: bool = False  # whether the user chose

    def matches(self, entities: Entities) -> bool:
        """Whether every named field has one of its values."""
        return all(_allowed(getattr(entities, field), values) for field, values in self.wanted.items())


def read_query(path: Path | None) -> Query:
    """The query for FLAIR scans, changed by a filter file: {"flair": {"acquisition": "3D", "run": null}}.

    Raises: NoInput; InvalidDataset for broken JSON or a name that is not known.
    """
    if path is None:
        return Query(DEFAULTS)
    content = read_json(path)
    if unknown := sorted(set(content) - _QUERIES):
        msg = f'{path}: unknown key {", ".join(map(repr, unknown))}; expected \'flair\', as in {{"flair": {{"acquisition": "3D"}}}}.'
        raise InvalidDataset(msg)
    chosen = content.get("flair", {})
    if not isinstance(chosen, dict):
        msg = f"{path}: 'flair' must be an object {{...}}; got {chosen!r}."
        raise InvalidDataset(msg)
    changes = {_field(key, path): _values(key, value, path) for key, value in chosen.items()}
    return Query({**DEFAULTS, **changes}, given=bool(changes))


def _field(key: str, path: Path) -> str:
    field = _ALIASES.get(key, key)
    if field not in _FIELDS:
        known = ", ".join(sorted(field.rstrip("_") for field in _FIELDS))
        msg = f"{path}: 'flair' names {key!r}, which is no BIDS entity. Known: {known}."
        raise InvalidDataset(msg)
    return field


def _values(key: str, value: object, path: Path) -> tuple[str | None, ...]:
    values = value if isinstance(value, list) else [value]
    wrong = [one for one in values if isinstance(one, (bool, float, dict, list))]
    if wrong or not values:
        msg = f'{path}: {key!r} must be text, a number, null (absent), "*" (any) or a list of these; got {value!r}.'
        raise InvalidDataset(msg)
    prefix = f"{KEYS.get(_field(key, path), key)}-"
    return tuple(None if one is None else _text(key, str(one).removeprefix(prefix)) for one in values)


def _text(key: str, value: str) -> str:
    return f".{value}" if key == "extension" and not value.startswith(".") and value != ANY else value


def _allowed(found: str | None, values: tuple[str | None, ...]) -> bool:
    return any(_same(found, value) for value in values)


def _same(found: str | None, wanted: str | None) -> bool:
    if wanted == ANY:
        return found is not None
    if found is None or wanted is None:
        return found is wanted
    return found == wanted or (found.isdecimal() and wanted.isdecimal() and int(found) == int(wanted))  # run-01 and 1
