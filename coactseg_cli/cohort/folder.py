"""One output folder of segment: who should be in it, who is done, and why the others are not. Reads no results."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

from bids_app.errors import BidsAppError, NoInput
from bids_app.files import read_json, read_text
from coactseg_cli.cohort.columns import Status

_LINE = re.compile(r"\S+ sub-([0-9A-Za-z]+):? ?(.*)")  # of coactseg.log: time, participant, what was said
_FAILED = re.compile(r"failed in (\w+): (.*?)(?: Traceback: \S.*)?", re.IGNORECASE)
_ON_PAGE = re.compile(r"Not done: (\w+) failed\s*</h3>\s*<p>(.*?)</p>", re.DOTALL)
LONGEST_REASON = 400  # letters


@dataclass(frozen=True, slots=True)
class Folder:
    """An output folder, looked through once."""

    root: Path
    subjects: tuple[str, ...]  # labels without 'sub-' that the folder knows, in any state
    raw_subjects: tuple[str, ...] | None  # of the raw data set; None where it cannot be reached
    complete: frozenset[str] | None  # who has a record of a finished run; None where the folder of records is missing
    problems: tuple[str, ...] = ()  # what could not be read


@dataclass(frozen=True, slots=True)
class State:
    """What became of a participant, and why."""

    status: Status
    reason: str = ""


def look(root: Path, raw: Path | None = None) -> Folder:
    """Look through an output folder.

    Args:
        root: the folder.
        raw: the raw data set, where the link in dataset_description.json leads nowhere.

    Raises: NoInput where the folder is not there.
    """
    if not root.is_dir():
        msg = f"{root}: no such folder; run 'coactseg segment BIDS {root} participant' first"
        raise NoInput(msg)
    records = root / "logs" / "complete"
    complete = frozenset(_label(path) for path in records.glob("sub-*.json")) if records.is_dir() else None
    known = {_label(path) for path in root.glob("sub-*") if path.is_dir() or path.suffix == ".html"} | (complete or frozenset())
    found, problems = _raw_subjects(root, raw)
    return Folder(root, tuple(sorted(known)), found, complete, problems)


def _label(path: Path) -> str:
    return path.name.removeprefix("sub-").partition(".")[0]


def _raw_subjects(root: Path, fallback: Path | None) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """Participants of the first raw data set that can be reached and has some."""
    try:
        description = read_json(root / "dataset_description.json")
        problems: tuple[str, ...] = ()
    except NoInput:
        description, problems = {}, ()
    except BidsAppError as error:
        description, problems = {}, (str(error),)
    for place in [*_raw_places(root, description), *([fallback] if fallback is not None else [])]:
        if place.is_dir() and place.resolve() != root.resolve():
            subjects = sorted(_label(path) for path in place.glob("sub-*") if path.is_dir())
            if subjects:
                return tuple(subjects), problems
    return None, problems


def _raw_places(root: Path, description: dict[str, object]) -> Iterator[Path]:
    links, sources = description.get("DatasetLinks"), description.get("SourceDatasets")
    named = [links.get("raw")] if isinstance(links, dict) else []
    named += [source.get("URL") for source in sources if isinstance(source, dict)] if isinstance(sources, list) else []
    for link in named:
        if isinstance(link, str) and (parsed := urlparse(link)).scheme in {"", "file"}:
            yield Path(unquote(parsed.path)) if parsed.scheme else root / unquote(link)


def states_without_record(folder: Folder, subjects: set[str], segmented: set[str]) -> dict[str, State]:
    """Why participants without a record of a finished run are not done; participants without a reason to be doubted are left out.

    Args:
        folder: where they are.
        subjects: whose state is asked for.
        segmented: those among them that have tables of lesions.
    """
    if folder.complete is None:
        subjects = subjects - segmented  # a copy without logs: what is there is taken as it is
    said = _last_words(folder.root, subjects)
    return {subject: _state(folder, subject, said.get(subject, ""), segmented=subject in segmented) for subject in sorted(subjects)}


def _state(folder: Folder, subject: str, said: str, *, segmented: bool) -> State:
    """The state of one participant from the last line about it in the logs, else from its page."""
    failure = _FAILED.fullmatch(said)
    if failure is None and not said:
        failure = _failure_on_page(folder.root / f"sub-{subject}.html")
    if failure is not None:
        return State(Status.FAILED, _short(f"{failure[1]}: {failure[2]}"))
    if segmented:
        return State(Status.INCOMPLETE, "there are results, but no record that a run was finished")
    if not (folder.root / f"sub-{subject}").is_dir():
        return State(Status.NOT_STARTED, "no run has begun it")
    return State(Status.INCOMPLETE, _short(f"begun and not finished; last said: {said}" if said else "begun and not finished"))


def _failure_on_page(page: Path) -> re.Match[str] | None:
    try:
        text = _ON_PAGE.search(read_text(page))
    except BidsAppError:
        return None
    return None if text is None else _FAILED.fullmatch(f"failed in {text[1]}: {' '.join(html.unescape(text[2]).split())}")


def _last_words(root: Path, subjects: set[str]) -> dict[str, str]:
    """The last line about each participant in the logs of all runs; the names of runs begin with their time."""
    missing, found = set(subjects), dict[str, str]()
    for path in sorted((root / "logs").glob("*/coactseg.log"), reverse=True):
        if not missing:
            break
        last = {match[1]: match[2].strip() for match in _lines(path) if match[1] in missing}
        found |= last
        missing -= last.keys()
    return found


def _lines(path: Path) -> Iterator[re.Match[str]]:
    if not path.is_file():
        return
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if match := _LINE.fullmatch(line.rstrip("\n")):
                    yield match
    except OSError:  # a log that cannot be read says nothing; the page may
        return


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_REASON else text[: LONGEST_REASON - 1] + "…"
