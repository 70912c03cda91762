"""Files: text and JSON read with a clear error, everything written under a temporary name and then renamed."""

from __future__ import annotations

import errno
import json
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from bids_app.errors import CannotCreate, InvalidDataset, NoInput

MOST_TEXT_BYTES = 200_000_000  # a table of a million rows has half of it

DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG})


_NO_SYNC = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})  # what a file system answers that cannot bring a file to the disk
_NAME_KEPT = 50  # characters of a file's name that its temporary name ends with
_placed: ContextVar[set[Path] | None] = ContextVar("placed", default=None)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path` to write to; brought to the disk and renamed at the end, removed where the block fails.

    A reader, and whoever comes after a crash or a power cut, finds the former file or the whole new one. The folder must be there.
    Raises: CannotCreate where a folder has the name.
    """
    temporary = path.with_name(f".tmp-{secrets.token_hex(6)}-{path.name[-_NAME_KEPT:]}")
    try:
        yield temporary
        _to_disk(temporary)
        temporary.replace(path)
    except IsADirectoryError as error:
        msg = f"{path}: cannot be written (a folder has its name). Move it away."
        raise CannotCreate(msg) from error
    finally:
        temporary.unlink(missing_ok=True)
    placed = _placed.get()
    if placed is not None:
        placed.add(path.absolute())


@contextmanager
def noting_placed() -> Iterator[set[Path]]:
    """Note every file that `replacing` puts in its place within the block, as absolute paths."""
    placed: set[Path] = set()
    token = _placed.set(placed)
    try:
        yield placed
    finally:
        _placed.reset(token)


def remove_leftovers(path: Path) -> None:
    """Remove temporary files that a killed run left where it was about to write `path`; nobody else may be at it."""
    ending = f"-{path.name[-_NAME_KEPT:]}"
    for left in path.parent.glob(".tmp-*"):
        if left.name.endswith(ending):
            left.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    """Bring a file's content to the disk. Raises: OSError where the disk has no room or fails."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text under a temporary name, then rename it; folders are made.

    Raises: CannotCreate where the folder cannot be made or written to; other OSErrors (a full disk) as they are.
    """
    make_folder(path.parent)
    try:
        with replacing(path) as temporary, temporary.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as error:
        if error.errno not in DENIED:
            raise
        msg = f"{path}: cannot be written ({error.strerror}). Choose a folder that you may write to."
        raise CannotCreate(msg) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes under a temporary name, then rename; folders are made. OSErrors come as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("xb") as file:
        file.write(content)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents. Raises: CannotCreate."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno not in DENIED:
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
        _require_regular(path)
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


def _require_regular(path: Path) -> None:
    """Raises: InvalidDataset for a pipe, which would be waited for, a folder or a device, and for a file too large to be text."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        msg = f"{path}: expected a file; it is a folder, a pipe or a device. Put the file itself there."
        raise InvalidDataset(msg)
    if status.st_size > MOST_TEXT_BYTES:
        msg = f"{path}: {status.st_size:,} bytes of text; expected at most {MOST_TEXT_BYTES:,}. Is it the right file?"
        raise InvalidDataset(msg)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises: NoInput, InvalidDataset where it is broken or no object."""
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:  # ValueError: JSON that is none, and a number of thousands of digits
        msg = f"{path}: broken JSON ({error}). Repair the file."
        raise InvalidDataset(msg) from error
    if not isinstance(content, dict):
        msg = f"{path}: expected a JSON object {{...}}; got {type(content).__name__}. Repair the file."
        raise InvalidDataset(msg)
    return content
