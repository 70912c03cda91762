"""Which participants are complete, and from what and how their results were made.

    OUT/logs/complete/sub-XX.json       from what, how, and what was written with which content: written last, makes a participant complete
    OUT/logs/begun/sub-XX/record.json   what the run that is at work, or died at work, makes (begun.py)

What is complete is decided from what files hold, not from times or names: clocks go wrong, and copies get new times.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bids_app.cases import PreparedTimeline, Timeline
from bids_app.errors import BidsAppError, MadeDifferently
from bids_app.files import read_json, write_json
from bids_app.inheritance import metadata_of
from bids_app.intervals import days_since_first
from coactseg_cli import __version__, config_file
from coactseg_cli.config import Inference, Pairing, SegmentConfig

if TYPE_CHECKING:
    from coactseg_cli.config import PrepConfig
    from coactseg_cli.network.model_file import ModelFile

# Options that change no map: how fast, on which CPUs, from which folder, what is checked besides.
_NO_CHOICE = frozenset({"omp-nthreads", "device", "hd-bet-weights", "model", "self-check"})
_UNSET = ("threshold-all", "threshold-new", "tile", "noise-mm3", "noise-share", "min-overlap")  # None is a choice too: the default
SIZES = frozenset({"--threshold-all", "--threshold-new", "--min-lesion-mm3"})  # what makes masks of probabilities
RULES = frozenset({"--noise-mm3", "--noise-share", "--min-overlap"})  # what makes fates of masks


@dataclass(frozen=True, slots=True)
class Record:
    """What a participant's results were made from, and how."""

    subject: str
    inputs: str  # fingerprint of the scans, labels and masks
    choices: dict[str, str]  # option to value as JSON; the model by its sha256
    outputs: Mapping[str, str]  # files below OUT, name to sha256
    summary: str = ""  # what was found
    report: str = ""  # page below OUT
    run: str = ""  # name of the run's folder in OUT/logs
    finished: str = ""  # date and time
    corrected: bool = False  # from masks corrected by hand, which computing again would lose
    done: bool = True  # False: of a run that has not come to its end


def choices(prep: PrepConfig | None, segment: SegmentConfig | None = None, model: ModelFile | None = None) -> dict[str, str]:
    """Every option that decides a map, with its value as JSON, the version and the model's hash.

    Args:
        prep: None where prepared scans were given.
        segment: None where a run only prepares.
        model: of segment.
    """
    table = config_file.settings(*(config for config in (prep, segment) if config is not None))
    found = {f"--{key}": json.dumps(value, sort_keys=True) for key, value in table.items() if key not in _NO_CHOICE}
    if segment is not None:
        found |= {f"--{key}": found.get(f"--{key}", "null") for key in _UNSET}
        unused = ("--patch-size", "--stride") if segment.inference is Inference.FAST else ("--tile",)
        found = {key: value for key, value in found.items() if key not in unused}
    if model is not None:
        found["--model"] = json.dumps(model.sha256)
    return found | {"version": json.dumps(__version__)}


def fingerprint(timeline: Timeline | PreparedTimeline, root: Path) -> str:
    """Hash of everything that a participant's results are made from, in temporal order.

    Names below root and contents of scans, labels, masks and transforms; times and days of the visits; metadata of the scans. A data set
    that is mounted at another place, or copied with new times of change, keeps its fingerprint. Raises: OSError.
    """
    facts = [repr(timeline.subject), *(f"{below(path, root)} {content_hash(path)}" for path in _paths(timeline))]
    facts += [f"{visit.session} {visit.time}" for visit in timeline.visits]
    facts += [json.dumps(metadata, sort_keys=True) for metadata in _metadata(timeline)]
    return hashlib.sha256("\n".join([*facts, _days(timeline, root)]).encode()).hexdigest()


def content_hash(path: Path) -> str:
    """SHA-256 of a file. Raises: OSError, also for what is none: opening a pipe would wait for ever."""
    if not path.is_file():
        raise OSError(errno.ENOENT, "no such file", str(path))
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def input_files(timeline: Timeline | PreparedTimeline) -> set[Path]:
    """The files that a participant's results are made from, with the JSON files beside them, as absolute paths."""
    paths = [path.absolute() for path in _paths(timeline)]
    return {*paths, *(path.with_name(path.name.partition(".")[0] + ".json") for path in paths)}


def _paths(timeline: Timeline | PreparedTimeline) -> list[Path]:
    labels = [path for label in timeline.labels for path in (label.path, label.transform)]
    if isinstance(timeline, PreparedTimeline):
        images = [path for v in timeline.visits for path in (v.native, v.native_brain_mask, v.image, v.brain_mask)]
        transforms = [path for v in timeline.visits for path in (v.to_individual, v.to_native)]
        return [path for path in (timeline.reference, *images, *transforms, *labels) if path is not None]
    masks = [path for mask in timeline.brain_masks for path in (mask.path, mask.transform)]
    return [path for path in (*(scan.path for scan in timeline.visits), *labels, *masks) if path is not None]


def _metadata(timeline: Timeline | PreparedTimeline) -> list[dict[str, object]]:
    """What quality checks read of each visit beside its voxels."""
    if isinstance(timeline, Timeline):
        return [metadata_of(scan.path) for scan in timeline.visits]
    prepared = [metadata_of(visit.image) for visit in timeline.visits]
    return prepared + [{} if visit.raw is None else metadata_of(visit.raw) for visit in timeline.visits]


def _days(timeline: Timeline | PreparedTimeline, root: Path) -> str:
    """Days between the visits, or why they are not known: the stage that reads them says so."""
    try:
        return repr(days_since_first([v.session for v in timeline.visits], [v.time for v in timeline.visits], root, timeline.subject))
    except BidsAppError as error:
        return str(error)


def below(path: Path, root: Path) -> str:
    """The path as seen from root; its name alone where it lies elsewhere."""
    inner, outer = Path(os.path.normpath(path.absolute())), Path(os.path.normpath(root.absolute()))
    return inner.relative_to(outer).as_posix() if inner.is_relative_to(outer) else path.name


def read(out_dir: Path, subject: str) -> Record | None:
    """The participant's record, of a run that did not end where no other is there; None where there is none that can be used."""
    return read_complete(out_dir, subject) or _read(begun_folder(out_dir, subject) / "record.json")


def read_complete(out_dir: Path, subject: str) -> Record | None:
    """The record of a run that ended; None where there is none that can be used."""
    return _read(path_of(out_dir, subject))


def _read(path: Path) -> Record | None:
    try:
        record = Record(**read_json(path))
    except (BidsAppError, TypeError):
        return None
    texts = (record.subject, record.inputs, record.summary, record.report, record.run, record.finished)
    tables = (record.choices, record.outputs)
    flags = (record.corrected, record.done)
    sound = all(isinstance(v, str) for v in texts) and all(_is_table(v) for v in tables) and all(isinstance(v, bool) for v in flags)
    return record if sound else None


def _is_table(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(content, str) for content in value.values())


def write(out_dir: Path, record: Record) -> None:
    """Write the record: from now on the participant is complete. Raises: CannotCreate."""
    write_json(path_of(out_dir, record.subject), {**asdict(record), "finished": f"{datetime.now().astimezone():%Y-%m-%dT%H:%M:%S%z}"})


def write_begun(folder: Path, record: Record) -> None:
    """Write what a run is about to make into its folder (begun.py). Raises: CannotCreate."""
    write_json(folder / "record.json", asdict(replace(record, done=False)))


def is_complete(out_dir: Path, record: Record | None, inputs: str, wanted: Mapping[str, str], *, contents: bool = True) -> bool:
    """Whether a record is of a run that ended, from these inputs, in this way, and every file that it names is as it was written.

    Args:
        out_dir: OUT.
        record: of the participant.
        inputs: fingerprint.
        wanted: choices.
        contents: read every file; False: only see that it is there.
    """
    if record is None or not record.done or record.inputs != inputs or not fits(record, wanted):
        return False
    return all(is_as_written(out_dir / name, digest, contents=contents) for name, digest in record.outputs.items())


def fits(record: Record, wanted: Mapping[str, str]) -> bool:
    """Whether a record was made with these choices."""
    return all(record.choices.get(key) == value for key, value in wanted.items())


def is_as_written(path: Path, digest: str, *, contents: bool = True) -> bool:
    """Whether a file has the content that a record names."""
    try:
        return content_hash(path) == digest if contents else path.is_file()
    except OSError:
        return False


def reread_choices(record: Record | None, wanted: Mapping[str, str], *, masks: bool) -> dict[str, str]:
    """What a participant's results rest on after they were read again: the record's choices with the new sizes and rules.

    Args:
        record: of the results that are read; None: not known.
        wanted: choices of this run, of segment alone.
        masks: masks are taken as they are, so that only the rules are new.

    Raises: MadeDifferently for an option, given other than by default, that only the network could follow, or that masks do not heed.
    """
    before, new = {} if record is None else record.choices, RULES if masks else SIZES | RULES
    default = choices(None, SegmentConfig())
    idle = [key for key, value in wanted.items() if key not in {*new, "version"} and value not in (default.get(key), before.get(key))]
    if idle:
        who = "masks are taken as they are" if masks else "the network is not run"
        msg = f"{', '.join(idle)}: nothing would change, because {who}. Leave it out; segment --force computes again."
        raise MadeDifferently(msg)
    return {**before, **{key: wanted[key] for key in new}, "version": wanted["version"]}


def reread_config(config: SegmentConfig, choices: Mapping[str, str]) -> SegmentConfig:
    """The configuration with the pairs, thresholds and sizes that a participant's choices name, where they name any."""
    known = {key.removeprefix("--").replace("-", "_"): json.loads(choices[key]) for key in (*SIZES, "--pairs") if key in choices}
    if "pairs" in known:
        known["pairs"] = Pairing(known["pairs"])
    return replace(config, **known)


def has_self_check(record: Record | None) -> bool:
    """Whether the network was checked on the participant's own scans."""
    return record is not None and any(name.endswith("_desc-selfcheck_table.tsv") for name in record.outputs)


def refuse_other_choices(out_dir: Path, wanted: Mapping[str, str], but: Collection[str] = ()) -> None:
    """One output folder is made one way: nobody may stay in it whose results were made otherwise.

    Args:
        out_dir: OUT.
        wanted: choices of this run.
        but: participants of this run: those with other choices are made again.

    Raises: MadeDifferently, naming each option whose value differs from what the records in OUT say.
    """
    for path in sorted((out_dir / "logs" / "complete").glob("sub-*.json")):
        if path.stem.removeprefix("sub-") in but:
            continue
        record = _read(path)
        before = record.choices if record is not None else {}
        differing = [f"{key} was {before[key]}, now {wanted[key]}" for key in wanted if before.get(key, wanted[key]) != wanted[key]]
        if differing:
            msg = (
                f"{out_dir} holds results made with other choices of participants that this run leaves out ({path.stem}: "
                f"{'; '.join(differing)}). Give the same options, run all participants, or name another output folder; --force mixes them."
            )
            raise MadeDifferently(msg)


def made_again(out_dir: Path, subjects: Collection[str], wanted: Mapping[str, str], *, segments: bool) -> frozenset[str]:
    """Of these participants, whom a run with these choices may make again unasked: all where it segments; `prep` not those with maps."""
    if segments:
        return frozenset(subjects)
    records = {subject: _read(path_of(out_dir, subject)) for subject in subjects}
    return frozenset(subject for subject, record in records.items() if record is None or record.choices.keys() <= wanted.keys())


def path_of(out_dir: Path, subject: str) -> Path:
    """The participant's record."""
    return out_dir / "logs" / "complete" / f"sub-{subject}.json"


def begun_folder(out_dir: Path, subject: str) -> Path:
    """Where a run keeps what it needs of the participant until it is done."""
    return out_dir / "logs" / "begun" / f"sub-{subject}"


def summary_of(record: Record) -> str:
    """What was found, as it was said when the participant was done."""
    return f"{record.summary or 'prepared'} (complete since {record.finished})"
