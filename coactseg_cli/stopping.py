"""Signals that ask a long computation to stop at a good place; nothing here stops anything."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

from coactseg_cli.errors import Stopped


@dataclass(slots=True)
class StopFlag:
    """Whether a signal has asked this process to stop."""

    name: str | None = None  # of the signal

    def end(self, message: str) -> NoReturn:
        """Stop now. Raises: KeyboardInterrupt after Ctrl-C, else Stopped."""
        if self.name == signal.SIGINT.name:
            raise KeyboardInterrupt(message)
        raise Stopped(f"{self.name or 'another process'}: {message}")


@contextmanager
def stop_signals() -> Iterator[StopFlag]:
    """SIGUSR1 and SIGTERM (a scheduler's warnings) and Ctrl-C ask for a stop at a good place; a second Ctrl-C stops at once.

    What the process was started to ignore (Ctrl-C under nohup) stays ignored.
    """
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may listen
        yield flag
        return

    def ask(number: int, _frame: FrameType | None) -> None:
        flag.name = signal.Signals(number).name
        if signal.SIGINT in before:
            signal.signal(signal.SIGINT, before[signal.SIGINT])

    heard = [n for n in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, ask) for number in heard}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
