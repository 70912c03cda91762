"""A command's options -> its Boutiques descriptor (schema 0.5), which platforms read; nothing here parses a command line or writes a file.

Identifiers of the arguments that BIDS Apps share are those of the draft BIDS execution specification (InputDataset, SubjectLabel, ...),
which also asks for the option --bids-exec-spec. The words of the levels stay those of BIDS Apps 1.0: participant and group.

Reference: Glatard et al. 2018, Boutiques: a flexible framework to integrate command-line applications in computing platforms.
GigaScience 7 (5).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

DESCRIPTION = (
    "Multiple sclerosis lesions on FLAIR MRI: all lesions of each visit, and those that are new since the visit before. "
    "Research use only; not for diagnosis."
)
_SHARED = {
    "bids_dir": "InputDataset",
    "out_dir": "OutputLocation",
    "level": "AnalysisLevel",
    "participant_label": "SubjectLabel",
    "session_label": "SessionLabel",
}
_LEVELS = ["participant", "group"]


@dataclass(frozen=True, slots=True)
class _Parameter:
    """One argument or option of a command's function."""

    name: str
    kind: type  # bool, int, float, str, Path or a StrEnum; of each value where there are several
    several: bool
    info: Any  # typer's ArgumentInfo or OptionInfo
    default: object

    @property
    def id(self) -> str:
        """What a platform calls it."""
        return _SHARED.get(self.name, self.name.strip("_"))

    @property
    def flags(self) -> tuple[str, ...]:
        """Long names as written: '--work-dir', or '--n4/--no-n4'; none for an argument."""
        words = (self.info.default, *(self.info.param_decls or ()))  # inside Annotated, typer keeps the first name as the default
        return tuple(word for word in words if isinstance(word, str) and word.startswith("--"))


def descriptor(
    function: Callable[..., None], version: str, exit_codes: Iterable[tuple[int, str]], leave_out: Iterable[str]
) -> dict[str, Any]:
    """The descriptor of `coactseg segment`.

    Args:
        function: the command; its annotations have the options.
        version: of coactseg.
        exit_codes: number and meaning, success left out.
        leave_out: panels of --help whose options mean nothing to a platform.
    """
    parameters = [p for p in _parameters(function) if getattr(p.info, "rich_help_panel", None) not in set(leave_out)]
    inputs = [entry for parameter in parameters for entry in _inputs(parameter)]
    inputs += [
        _flag("Help", "--help", "Show the help and stop."),
        _flag("ToolVersion", "--version", "Print the version and stop."),
    ]
    return {
        "name": "coactseg",
        "tool-version": version,
        "schema-version": "0.5",
        "description": DESCRIPTION,
        "command-line": " ".join(["coactseg", "segment", *(entry["value-key"] for entry in inputs)]),
        "inputs": inputs,
        "groups": _groups(parameters),
        "output-files": _outputs(),
        "error-codes": [{"code": code, "description": text} for code, text in exit_codes],
        "suggested-resources": {"cpu-cores": 4, "ram": 8, "walltime-estimate": 600},
        "tags": {"domain": ["neuroinformatics", "mri", "bids-app"]},
        "custom": {"BIDSApplicationVersion": "1.0"},
    }


def _parameters(function: Callable[..., None]) -> list[_Parameter]:
    hints = get_type_hints(function, include_extras=True)
    defaults = {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}
    found = []
    for name, hint in hints.items():
        if name == "return":
            continue
        inner, info = get_args(hint)[:2]
        kinds = [kind for kind in (get_args(inner) if get_origin(inner) is UnionType else (inner,)) if kind is not type(None)]
        several = get_origin(kinds[0]) is list
        found.append(_Parameter(name, get_args(kinds[0])[0] if several else kinds[0], several, info, defaults[name]))
    return found


def _inputs(parameter: _Parameter) -> list[dict[str, Any]]:
    """Entries of a parameter: one, and of an option with a negation ('--n4/--no-n4') two."""
    text = parameter.info.help
    if parameter.kind is bool or getattr(parameter.info, "count", False):
        names = parameter.flags[0].split("/")
        return [_flag(parameter.id if i == 0 else _identifier(name), name, text) for i, name in enumerate(names)]
    entry: dict[str, Any] = {"id": parameter.id, "name": parameter.id, "description": _described(text, parameter.default)}
    entry |= {"type": _type(parameter), "optional": parameter.default is not inspect.Parameter.empty}
    if parameter.flags:
        entry["command-line-flag"] = parameter.flags[0]
    if parameter.several:
        entry |= {"list": True, "min-list-entries": 1}
    if parameter.kind is int:
        entry["integer"] = True
    if getattr(parameter.info, "min", None) is not None:
        entry["minimum"] = parameter.info.min
    if issubclass(parameter.kind, StrEnum):
        entry["value-choices"] = [choice.value for choice in parameter.kind]
    if parameter.name == "level":
        entry["value-choices"] = _LEVELS
    return [{**entry, "value-key": _key(parameter.id)}]


def _flag(identifier: str, name: str, text: str) -> dict[str, Any]:
    entry = {"id": identifier, "name": identifier, "description": text, "type": "Flag", "optional": True, "command-line-flag": name}
    return {**entry, "value-key": _key(identifier)}


def _type(parameter: _Parameter) -> str:
    if parameter.kind in {int, float}:
        return "Number"
    return "File" if parameter.kind is Path else "String"


def _described(text: str, default: object) -> str:
    """The sentence of --help, with the default where it says none."""
    if default in (inspect.Parameter.empty, None) or "Default:" in text:
        return text
    return f"{text} Default: {default.value if isinstance(default, StrEnum) else default}."


def _identifier(name: str) -> str:
    return name.strip("-").replace("-", "_")


def _key(identifier: str) -> str:
    """A word that is no part of another: brackets see to that."""
    return f"[{re.sub(r'[^A-Z0-9]+', '_', identifier.upper())}]"


def _groups(parameters: Iterable[_Parameter]) -> list[dict[str, Any]]:
    """An option and its negation do not go together."""
    pairs = [(p.id, _identifier(p.flags[0].split("/")[1])) for p in parameters if p.kind is bool and "/" in p.flags[0]]
    return [
        {"id": f"{yes}_or_not", "name": f"{yes} or not", "members": [yes, no], "mutually-exclusive": True, "description": "One of them."}
        for yes, no in pairs
    ]


def _outputs() -> list[dict[str, Any]]:
    root = _key("OutputLocation")
    rows = (
        ("output_data_set", root, "BIDS derivative data set: masks, maps, tables, pages.", False),
        ("description", f"{root}/dataset_description.json", "What made it, from what.", False),
        ("reports", f"{root}/sub-*.html", "A page per participant.", True),
        ("group_table", f"{root}/group_lesions.tsv", "Lesions of the cohort: level 'group'.", True),
    )
    return [
        {"id": name, "name": name, "description": text, "path-template": path, "optional": optional, "list": "*" in path}
        for name, path, text, optional in rows
    ]
