"""Files: text and JSON read with a clear error, everything written under a temporary name and then renamed."""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bids_app.errors import CannotCreate, InvalidDataset, NoInput

_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG})


@contextmanager
def replacing(path: Path, extension: str = "") -> Iterator[Path]:
    """Give a temporary name beside `path` to write to; renamed at the end, removed where the block fails. The folder must be there."""
    temporary = path.with_name(f".tmp-{secrets.token_hex(6)}{extension}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text under a temporary name, then rename it; folders are made.

    Raises: CannotCreate where the folder cannot be made or written to; other OSErrors (a full disk) as they are.
    """
    make_folder(path.parent)
    try:
        with replacing(path) as temporary, temporary.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as error:
        if error.errno not in _DENIED:
            raise
        msg = f"{path}: cannot be written ({error.strerror}). Choose a folder that you may write to."
        raise CannotCreate(msg) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes under a temporary name, bring them to the disk, then rename; folders are made. OSErrors come as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def make_folder(folder: Path) -> None:
    """Make a folder and its parents. Raises: CannotCreate."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno not in _DENIED:
            raise
        msg = f"{folder}: the folder cannot be made ({error.strerror}). Choose a place that you may write to."
        raise CannotCreate(msg) from error


def require_inside(path: Path, root: Path) -> None:
    """A link inside an output must not lead what is written elsewhere; what does not exist passes.

    Args:
        path: root or below it.
        root: the output; it may be a link itself.

    Raises: CannotCreate where the path leaves root.
    """
    if not path.resolve().is_relative_to(root.resolve()):
        msg = f"{path}: leads to {path.resolve()}, outside of the output {root}; nothing is written through it. Remove the link."
        raise CannotCreate(msg)


def require_tree_inside(folder: Path, root: Path) -> None:
    """As require_inside, for a folder and every folder below it. Raises: CannotCreate."""
    require_inside(folder, root)
    for place, names, _ in os.walk(folder):
        for name in names:
            require_inside(Path(place, name), root)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON, keys in the order given, with a newline at the end. Raises: as write_text; ValueError for NaN."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_text(path: Path) -> str:
    """Read UTF-8 text, with or without a byte order mark. Raises: NoInput, InvalidDataset."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        msg = f"{path}: no such file."
        raise NoInput(msg) from error
    except UnicodeDecodeError as error:
        msg = f"{path}: not UTF-8 text ({error.reason} at byte {error.start}). Save it as UTF-8."
        raise InvalidDataset(msg) from error
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror}). Check that it is a file that you may read."
        raise InvalidDataset(msg) from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises: NoInput, InvalidDataset where it is broken or no object."""
    try:
        content = json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        msg = f"{path}: broken JSON ({error}). Repair the file."
        raise InvalidDataset(msg) from error
    if not isinstance(content, dict):
        msg = f"{path}: expected a JSON object {{...}}; got {type(content).__name__}. Repair the file."
        raise InvalidDataset(msg)
    return content
