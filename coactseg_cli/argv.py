"""The words of a command line as BIDS Apps take them -> the words Typer takes; pure lists of strings.

BIDS OUT participant --participant_label 01 02
-> segment BIDS OUT participant --participant-label 01 --participant-label 02
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

DEFAULT_COMMAND = "segment"

# What users of other BIDS Apps type -> our name. Underscores have become hyphens before this is looked up.
SYNONYMS = {
    "--subject-label": "--participant-label",
    "--session-id": "--session-label",
    "--nthreads": "--nprocs",
    "--n-cpus": "--nprocs",
    "--mem-mb": "--mem",
    "--work": "--work-dir",
}

# Options that take several words, as argparse's nargs="+" does.
LISTS = frozenset(
    {"--participant-label", "--session-label", "-d", "--derivatives", "--label-desc", "--exclude", "--validation", "--validation-prepared"}
    | {"--method", "--rater", "--merge", "--slurm"}
)


@dataclass(frozen=True, slots=True)
class CommandForm:
    """What has to be known of a command to take its words apart."""

    positionals: int  # arguments that it needs at least
    flags: frozenset[str]  # options that take no value


@dataclass(frozen=True, slots=True)
class _Part:
    """One argument, or one option with its values."""

    option: str | None
    values: tuple[str, ...]
    is_list: bool = False

    def words(self) -> list[str]:
        """The part as Typer takes it: a list option once per value."""
        if self.option is None:
            return list(self.values)
        if self.is_list and self.values:
            return [word for value in self.values for word in (self.option, value)]
        return [self.option, *self.values]


def expand(argv: Sequence[str], forms: Mapping[str, CommandForm]) -> list[str]:
    """Words of a command line with the command first, options under their own names, lists spelled out.

    A list option takes every word up to the next option. Words that are then missing as positional arguments are
    taken back from its end, so `--participant-label 01 BIDS OUT participant` means what it says.
    Without a command's name the command is `segment`, so that `coactseg BIDS OUT participant` runs it.
    """
    words = list(argv)
    options = words[: words.index("--")] if "--" in words else words
    if "--version" in options:
        return ["--version"]
    if not words or words[0] in {"-h", "--help", "--bids-exec-spec"}:
        return words
    command, words = _take_command(words, forms)
    form = forms[command]
    parts = _give_back(_parts(words, form), form)
    options = [word for part in parts if part.option is not None for word in part.words()]
    arguments = [word for part in parts if part.option is None for word in part.words()]
    if any(word.startswith("-") for word in arguments):  # they came after "--"
        options.append("--")
    return [command, *options, *arguments]


def _take_command(words: list[str], forms: Mapping[str, CommandForm]) -> tuple[str, list[str]]:
    """The command and the other words; flags may come before it (`-v segment ...`)."""
    for i, word in enumerate(words):
        if word in forms and all(before in forms[word].flags for before in words[:i]):
            return word, words[:i] + words[i + 1 :]
    return DEFAULT_COMMAND, words


def _parts(words: list[str], form: CommandForm) -> list[_Part]:
    parts: list[_Part] = []
    i = 0
    while i < len(words):
        if words[i] == "--":
            parts += [_Part(None, (word,)) for word in words[i + 1 :]]
            break
        part, i = _next_part(words, i, form)
        parts.append(part)
    return parts


def _next_part(words: list[str], i: int, form: CommandForm) -> tuple[_Part, int]:
    """The part that begins at word i, and where the next begins."""
    word = words[i]
    if not word.startswith("-") or word == "-":
        return _Part(None, (word,)), i + 1
    name, equals, value = _named(word)
    if equals or name in form.flags or not (name.startswith("--") or len(name) == 2):  # --x=1, --flag, -wDIR
        return _Part(f"{name}={value}" if equals else name, ()), i + 1
    end = i + 1
    last = len(words) if name in LISTS else i + 2
    while end < min(last, len(words)) and (not words[end].startswith("-") or name not in LISTS):
        end += 1
    return _Part(name, tuple(words[i + 1 : end]), is_list=name in LISTS), end


def _named(word: str) -> tuple[str, str, str]:
    """Option name under our spelling, '=' if there was one, and the value after it."""
    if not word.startswith("--"):
        return word, "", ""
    name, equals, value = word.partition("=")
    name = name.replace("_", "-")
    return SYNONYMS.get(name, name), equals, value


def _give_back(parts: list[_Part], form: CommandForm) -> list[_Part]:
    """The last list option's surplus words become the positional arguments that are missing."""
    missing = form.positionals - sum(len(part.values) for part in parts if part.option is None)
    for i in range(len(parts) - 1, -1, -1):
        part = parts[i]
        if missing > 0 and part.is_list and len(part.values) > missing:
            kept, freed = part.values[:-missing], part.values[-missing:]
            return [*parts[:i], replace(part, values=kept), *(_Part(None, (word,)) for word in freed), *parts[i + 1 :]]
    return parts
