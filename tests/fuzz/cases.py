"""One bad (or merely unusual) input as a value: how it is run, and what must come of it. Runs nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from random import Random

from tests.fuzz.world import World


class Expect(StrEnum):
    """What must come of an input."""

    REFUSED = "refused"  # a documented exit code and a message that names the file
    RIGHT = "right"  # exit code 0 and the result of the sound input
    EITHER = "either"  # refused as above, or exit code 0 and sound files


@dataclass(frozen=True, slots=True)
class Case:
    """One run of the program."""

    argv: tuple[str, ...]
    expect: Expect
    names: tuple[str, ...]  # a refusal must name one of them
    out: Path  # where it writes
    check: Callable[[str], str] | None = None  # standard output -> what is wrong with a result, '' for nothing
    what: str = ""  # the damage, in words
    hang_s: float = 20.0  # of the processor, after which a run counts as hanging
    spoilt: Path | None = None  # a file in `out` that is bad from the start


@dataclass(frozen=True, slots=True)
class Kind:
    """A family of inputs."""

    name: str
    build: Callable[[Random, Path, World], Case]  # draws one input and writes it into the folder
    weight: int = 1  # inputs of this kind per round
