"""Locks between runs that write to one place, on one machine or several; they guard nothing but what asks for them.

A lock is a small file that stays. Who holds it has the kernel's lock on it (flock, which a dead process loses at once) and its name in
it; the name is taken out at the end. A name that is left in a file that nobody holds is that of a dead run. Between machines the
kernel's lock may not be seen (a network mount with local locks), so the holder also touches the file every few seconds: a name of another
machine counts until the file has not been touched for SILENT_S, told by the clock of the file server.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from bids_app.errors import BidsAppError, CannotCreate
from bids_app.files import DENIED, make_folder

TOUCH_S = 15.0
SILENT_S = 120.0  # a holder on another machine that has been silent for so long is dead
POLL_S = 0.25  # while somebody waits
_NO_LOCKS = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL})  # what a file system without locks answers


class Held(BidsAppError):
    """Another run holds a lock; the message says which."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock."""

    about: Mapping[str, str] = field(default_factory=dict)  # what it wants to say of itself
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    machine: str = ""  # the running kernel: the same in each of its containers
    since: str = field(default_factory=lambda: f"{datetime.now().astimezone():%Y-%m-%dT%H:%M:%S%z}")
    token: str = field(default_factory=lambda: secrets.token_hex(8))

    def __str__(self) -> str:
        """For a message."""
        run = f"run {self.about['run']}, " if "run" in self.about else ""
        return f"{run}process {self.pid} on {self.host}, since {self.since}"


@contextmanager
def locked(
    path: Path, about: Mapping[str, str] | None = None, *, wait: bool = True, waiting: Callable[[Holder | None], None] | None = None
) -> Iterator[None]:
    """Hold a lock within the block.

    Args:
        path: the lock's file; it and its folder are made.
        about: what others read of the holder, for instance the name of the run.
        wait: for as long as it takes; else Held is raised where another has it.
        waiting: told once, before the waiting, who has it.

    Raises: Held, CannotCreate; OSErrors (a full disk) as they are.
    """
    make_folder(path.parent)
    me, told = Holder(dict(about or {}), machine=_machine()), False
    while (descriptor := _take(path, me)) is None:
        holder = holder_of(path)
        if not wait:
            msg = f"another run is at work there ({holder or 'it has just begun'})"
            raise Held(msg)
        if waiting is not None and not told:
            waiting(holder)
        told = True
        time.sleep(POLL_S)
    done = threading.Event()
    thread = threading.Thread(target=_touch, args=(descriptor, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
        os.close(descriptor)


def is_free(path: Path) -> bool:
    """Whether nobody alive holds the lock of a file that is there; whoever died with it is forgotten. A file that is not there is free."""
    try:
        with locked(path, wait=False):
            return True
    except Held:
        return False


def holder_of(path: Path) -> Holder | None:
    """Who wrote its name into a lock, alive or dead; None where nobody did, or where the name is not readable."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        holder = Holder(**content)
    except (OSError, ValueError, TypeError):
        return None
    return holder if isinstance(holder.about, dict) and isinstance(holder.pid, int) else None


def _take(path: Path, me: Holder) -> int | None:
    """The open file of a lock that is now held; None where another has it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno not in DENIED:
            raise
        msg = f"{path}: cannot be written ({error.strerror}). Choose a folder that you may write to."
        raise CannotCreate(msg) from error
    try:
        if not _take_open(path, descriptor, me):
            os.close(descriptor)
            return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _take_open(path: Path, descriptor: int, me: Holder) -> bool:
    kernel = True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        kernel = False
    other = holder_of(path)
    if other is not None and _may_live(path, other, kernel=kernel):
        return False
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(asdict(me)).encode(), 0)
    if kernel:
        return True
    time.sleep(POLL_S)  # without the kernel's help: whoever wrote last has it
    now = holder_of(path)
    return now is not None and now.token == me.token


def _may_live(path: Path, other: Holder, *, kernel: bool) -> bool:
    """Whether the name in a lock may be that of a run that is still at work."""
    if other.machine == _machine():
        return not kernel and Path(f"/proc/{other.pid}").exists()
    return abs(_server_time(path.parent) - path.stat().st_mtime) < SILENT_S


def _server_time(folder: Path) -> float:
    """Now, by the clock that stamps the files of a folder."""
    probe = folder / f".tmp-{secrets.token_hex(6)}-clock"
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _touch(descriptor: int, done: threading.Event) -> None:
    """Say again and again that the holder lives."""
    while not done.wait(TOUCH_S):
        with suppress(OSError):
            os.utime(descriptor)


@lru_cache(maxsize=1)
def _machine() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()
