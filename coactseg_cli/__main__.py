"""The program `coactseg`: words of the command line in, exit code out."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from bids_app import errors as bids
from coactseg_cli import errors

# First match wins; whatever else a user can mend gives 1.
EXIT_CODES: tuple[tuple[type[Exception], int], ...] = (
    (errors.InvalidConfig, 2),
    (bids.MadeDifferently, 2),
    (bids.InvalidDataset, 16),
    (errors.UnknownLevel, 17),
    (bids.NothingMatched, 18),
    (errors.MissingWeights, 66),
    (bids.NoInput, 66),
    (bids.CannotCreate, 73),
    (errors.Stopped, 75),
    (bids.BidsAppError, 1),
    (ConnectionError, 75),
    (TimeoutError, 75),
    (BlockingIOError, 75),
    (InterruptedError, 75),
    (FileNotFoundError, 66),
    (OSError, 74),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns: the exit code."""
    from coactseg_cli.argv import expand
    from coactseg_cli.cli import command, forms

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)  # a scheduler's warning: leave no half-written file
    _ensure_home()
    root = command()
    try:
        words = expand(sys.argv[1:] if argv is None else argv, forms(root))
        code = root.main(args=words, prog_name="coactseg", standalone_mode=False)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    except Exception as error:
        return _say(error)
    return code if isinstance(code, int) else 0


def _ensure_home() -> None:
    """Libraries ask for a home folder at import; a container's foreign user may have none."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = tempfile.gettempdir()


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _say(error: Exception) -> int:
    """One line on stderr for what a user can mend; what nobody expected is raised again.

    Typer's own usage errors know their exit code and message.
    """
    code, message = getattr(error, "exit_code", None), getattr(error, "format_message", None)
    if code is not None and message is not None:
        context = getattr(error, "ctx", None)
        hint = f" See {context.command_path} --help." if context is not None else ""
        print(f"coactseg: {' '.join(message().split())}{hint}", file=sys.stderr)
        return int(code)
    if isinstance(error, RuntimeError) and str(error).startswith("Symlink loop from "):  # pathlib up to Python 3.12
        error = bids.NoInput(f"{str(error).removeprefix('Symlink loop from ')}: the link leads to itself. Repair it, or name the file.")
    for kind, number in EXIT_CODES:
        if isinstance(error, kind):
            from coactseg_cli.logs import printable

            print(f"coactseg: {printable(' '.join(str(error).split()))}", file=sys.stderr)
            return number
    raise error


if __name__ == "__main__":
    sys.exit(main())
