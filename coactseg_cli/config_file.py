"""Options as a TOML file: read for --config-file, written beside each run's results."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_app.cases import LabelKind
from bids_app.errors import InvalidDataset, NoInput
from bids_app.files import read_text
from coactseg_cli.errors import InvalidConfig

if TYPE_CHECKING:
    from coactseg_cli.config import DatasetConfig, PrepConfig, RunConfig, SegmentConfig

# Fields whose option has another name; None where no option repeats the field: arguments, one-off switches, and
# `threads`, which is `omp_threads` again.
_OPTION_OF = {
    "bids_dir": None,
    "out_dir": None,
    "dry_run": None,
    "as_json": None,
    "force": None,
    "reports_only": None,
    "from_probabilities": None,
    "from_masks": None,
    "verbose": None,
    "threads": None,
    "work_dir": None,
    "participant_labels": "participant-label",
    "session_labels": "session-label",
    "spacing_mm": "spacing",
    "anatomical": "subject-anatomical-reference",
    "omp_threads": "omp-nthreads",
    "mem_mb": "mem",
}
_NOT_IN_FILE = frozenset({"config-file", "help", "version", "dry-run", "json"})
_KIND_NAMES: dict[Enum, str] = {LabelKind.IGNORE_ALL: "ignore-all", LabelKind.IGNORE_NEW: "ignore-new"}


def defaults(path: Path, params: Iterable[Any]) -> dict[str, Any]:
    """The file's values by parameter name, in the form in which the command line would give them.

    Args:
        path: TOML file; keys are option names without '--', with hyphens or underscores.
        params: the command's Typer parameters.

    Raises: NoInput where the file does not exist, InvalidConfig where it is no TOML or has an unknown key.
    """
    known = {name: param for param in params for name in _names(param)}
    table: dict[str, Any] = {}
    for key, value in _load(path).items():
        param = known.get(key.replace("_", "-"))
        if param is None:
            raise InvalidConfig(_unknown(path, key, known))
        table[param.name] = _as_given(value, param, f"{path}, key {key!r}")
    return table


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(path))
    except NoInput as error:
        msg = f"--config-file: {path} does not exist"
        raise NoInput(msg) from error
    except (ValueError, RecursionError, InvalidDataset) as error:
        msg = f"--config-file: {path} is not TOML: {error}"
        raise InvalidConfig(msg) from error


def _names(param: Any) -> list[str]:
    """Long option names without '--'; none for an argument or what a file cannot set."""
    if param.param_type_name != "option":
        return []
    return [name[2:] for name in param.opts if name.startswith("--") and name[2:] not in _NOT_IN_FILE]


def _unknown(path: Path, key: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(key.replace("_", "-"), known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known))}"
    return f"--config-file: {path} has the unknown key {key!r}{hint}"


def _as_given(value: Any, param: Any, where: str) -> Any:
    """A TOML value as the text that stands on a command line; booleans and counts stay what they are."""
    if getattr(param, "is_flag", False):
        if not isinstance(value, bool):
            msg = f"--config-file: {where} must be true or false; got {value!r}"
            raise InvalidConfig(msg)
        return value
    if param.multiple:
        if isinstance(value, dict):
            return [f"{name}={item}" for name, item in value.items()]
        return [str(item) for item in value] if isinstance(value, list) else [str(value)]
    if isinstance(value, dict):
        msg = f"--config-file: {where} must be one value; got a table"
        raise InvalidConfig(msg)
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def settings(*configs: DatasetConfig | PrepConfig | SegmentConfig | RunConfig) -> dict[str, Any]:
    """Option names and values as TOML has them; what an option's absence says is left out."""
    table: dict[str, Any] = {}
    for config in configs:
        for item in fields(config):
            option = _OPTION_OF.get(item.name, item.name.replace("_", "-"))
            value = _plain(getattr(config, item.name), item.name)
            if option is not None and value not in (None, [], {}):
                table[option] = value
    return table


def _plain(value: Any, field: str) -> Any:
    """A field's value as TOML has it."""
    if field == "spacing_mm" and value is None:
        return "native"
    if field == "output_probabilities":
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return {name: _plain(item, field) for name, item in value.items()}
    if isinstance(value, Enum):
        return _KIND_NAMES.get(value, value.value)
    return str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value


def dumps(table: Mapping[str, Any], comments: Iterable[str] = ()) -> str:
    """A flat table as TOML, after its comment lines."""
    lines = [f"# {line}" for comment in comments for line in comment.splitlines()]
    lines += [f"{key} = {_toml(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_toml(str(key))} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)  # JSON's strings, numbers and booleans are TOML's
