"""Faults inside one process: what changes the disk below a folder is counted, and at the k-th call of a kind something happens.

Kinds: open (for writing), write (what reaches the kernel), fsync, rename, mkdir, unlink, and read (an input is opened).
Everything is patched in the process that calls `arm`; there is no way back, so call it in a child.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

KINDS = ("open", "write", "fsync", "rename", "mkdir", "unlink", "read")
ERRORS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EROFS": errno.EROFS, "EACCES": errno.EACCES, "ENOENT": errno.ENOENT}
STICKY = frozenset({"ENOSPC", "EROFS"})  # a full disk stays full
_PREP = re.compile(r"desc-(preproc|reference|brain)_|_xfm\.")


@dataclass(frozen=True)
class Point:
    """One call that changes the disk."""

    kind: str
    stage: str


@dataclass(frozen=True)
class Fault:
    """What happens at the k-th call of a kind in a stage (from 0): kill-before, kill-half, kill-after, memory, term, vanish, error."""

    kind: str
    stage: str
    k: int
    action: str


@dataclass
class Watch:
    """Counts calls, and lets the fault happen."""

    out: Path
    work: Path
    raw: Path
    fault: Fault | None = None
    journal: list[Point] = field(default_factory=list)
    broken: bool = False  # a sticky error has begun
    seen: int = 0

    def stage_of(self, path: str) -> str | None:
        """Where a file belongs; None: not watched."""
        if path.startswith(f"{self.raw}/"):
            return "input"
        if path.startswith(f"{self.work}"):
            return "work"
        if not path.startswith(f"{self.out}"):
            return None
        relative = path[len(str(self.out)) + 1 :]
        name = re.sub(r"^\.tmp-[0-9a-f]+-", "", relative.rpartition("/")[2])
        if relative.startswith("logs"):
            folder = relative.split("/")[1] if "/" in relative else ""
            return {"complete": "record", "begun": "begun", "locks": "lock", "running": "lock"}.get(folder, "log")
        if name.startswith(("group_", "participants.")):
            return "group"
        if relative.startswith("sub-") and "/" in relative:
            return "prep" if _PREP.search(name) else "maps"
        return "page" if name.startswith("sub-") and name.endswith(".html") else "tree"

    def at(self, kind: str, path: object) -> str | None:
        """Call before the operation. Returns: 'half' or 'after' where the process is to die then; raises what it is told to."""
        name = os.fspath(path) if isinstance(path, str | os.PathLike) else str(path)
        stage = self.stage_of(os.path.abspath(name))
        if stage is None or (kind == "read") != (stage == "input"):
            return None
        self.journal.append(Point(kind, stage))
        if self.broken and kind in {"write", "open", "mkdir"}:
            self._raise(name)
        fault = self.fault
        if fault is None or (fault.kind, fault.stage) != (kind, stage):
            return None
        self.seen += 1
        if self.seen != fault.k + 1:
            return None
        return self._happen(fault, name)

    def _happen(self, fault: Fault, name: str) -> str | None:
        if fault.action == "kill-before":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault.action == "term":
            os.kill(os.getpid(), signal.SIGTERM)
            return None
        if fault.action == "memory":
            raise MemoryError
        if fault.action == "vanish":
            os.rename(name, f"{name}.away")
            return None
        if fault.action in STICKY:
            self.broken = True
        if fault.action in ERRORS:
            if fault.kind == "write":
                return "half-error"
            self._raise(name)
        return fault.action.removeprefix("kill-")

    def _raise(self, name: str) -> None:
        assert self.fault is not None
        number = ERRORS[self.fault.action]
        raise OSError(number, os.strerror(number), name)

    def error(self, name: str) -> None:
        """Raise the fault's error, where half of a write is done."""
        self._raise(name)


def arm(watch: Watch) -> None:
    """Patch this process."""
    for name, kind in (("mkdir", "mkdir"), ("unlink", "unlink"), ("remove", "unlink"), ("rmdir", "unlink"), ("fsync", "fsync")):
        setattr(os, name, _watched(watch, kind, getattr(os, name)))
    for name in ("rename", "replace"):
        setattr(os, name, _watched(watch, "rename", getattr(os, name), argument=1))
    os.open = _watched_os_open(watch, os.open)  # type: ignore[assignment]
    for name in ("write", "pwrite", "ftruncate", "sendfile"):
        setattr(os, name, _watched(watch, "write", getattr(os, name)))
    opened = _open(watch, builtins.open)
    builtins.open = opened  # type: ignore[assignment]
    io.open = opened  # type: ignore[assignment]


def _die_after(what: str | None) -> None:
    if what in {"after", "half"}:
        os.kill(os.getpid(), signal.SIGKILL)


def _watched(watch: Watch, kind: str, function: Callable[..., Any], argument: int = 0) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any, **words: Any) -> Any:
        what = watch.at(kind, _path_of(args[argument] if len(args) > argument else args[0], words.get("dir_fd")))
        if what == "half-error":
            watch.error(str(args[0]))
        result = function(*args, **words)
        _die_after(what)
        return result

    return call


def _path_of(argument: object, folder: int | None = None) -> object:
    """The path behind a file descriptor, or of a name within an open folder."""
    if isinstance(argument, int):
        return os.readlink(f"/proc/self/fd/{argument}")
    if folder is not None:
        return f"{os.readlink(f'/proc/self/fd/{folder}')}/{os.fspath(argument)}"  # type: ignore[call-overload]
    return argument


def _watched_os_open(watch: Watch, function: Callable[..., int]) -> Callable[..., int]:
    @wraps(function)
    def call(path: Any, flags: int, *args: Any, **words: Any) -> int:
        what = watch.at("open", _path_of(path, words.get("dir_fd"))) if flags & (os.O_WRONLY | os.O_RDWR) else None
        descriptor = function(path, flags, *args, **words)
        _die_after(what)
        return descriptor

    return call


class _Raw(io.FileIO):
    """A file whose every write is counted."""

    watch: Watch

    def write(self, content: Any) -> int:
        what = self.watch.at("write", self.name)
        if what in {"half", "half-error"}:
            view = memoryview(content).cast("B")
            super().write(view[: len(view) // 2])
            if what == "half-error":
                self.watch.error(str(self.name))
            _die_after(what)
        written = super().write(content)
        _die_after(what)
        return written


def _open(watch: Watch, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(file: Any, mode: str = "r", buffering: int = -1, encoding: str | None = None, *args: Any, **words: Any) -> Any:
        if isinstance(file, int) or watch.stage_of(os.path.abspath(os.fspath(file))) is None:
            return function(file, mode, buffering, encoding, *args, **words)
        if not set(mode) & set("wxa+"):
            watch.at("read", file)
            return function(file, mode, buffering, encoding, *args, **words)
        what = watch.at("open", file)
        raw = _Raw(os.fspath(file), mode.replace("b", "").replace("t", ""))
        raw.watch = watch
        _die_after(what)
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)  # type: ignore[type-var]
        if "b" in mode:
            return buffered
        return io.TextIOWrapper(buffered, encoding, words.get("errors") or (args[0] if args else None), words.get("newline"))  # type: ignore[arg-type]

    return call
