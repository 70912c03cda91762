"""Which participants are complete: OUT/logs/complete/sub-XX.json says from what, how, and what was written."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bids_app.cases import PreparedTimeline, Timeline
from bids_app.errors import BidsAppError, MadeDifferently
from bids_app.files import read_json, require_tree_inside, write_json
from coactseg_cli import __version__, config_file
from coactseg_cli.config import Inference, Pairing, SegmentConfig

if TYPE_CHECKING:
    from coactseg_cli.config import PrepConfig
    from coactseg_cli.network.checkpoint import Model
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
    outputs: tuple[str, ...]  # files below OUT
    summary: str = ""  # what was found
    report: str = ""  # page below OUT
    run: str = ""  # name of the run's folder in OUT/logs
    finished: str = ""  # date and time
    corrected: bool = False  # from masks corrected by hand, which computing again would lose


def choices(prep: PrepConfig | None, segment: SegmentConfig | None = None, model: Model | ModelFile | None = None) -> dict[str, str]:
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
    """Hash of what a participant's results are made from: names below root, sizes and times of change, in temporal order.

    A data set that is mounted at another place keeps its fingerprint.
    """
    facts = [repr(timeline.subject), *(_facts(path, root) for path in _paths(timeline))]
    if isinstance(timeline, Timeline):
        facts += [f"{scan.session} {scan.time}" for scan in timeline.visits]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def _paths(timeline: Timeline | PreparedTimeline) -> list[Path]:
    labels = [path for label in timeline.labels for path in (label.path, label.transform)]
    if isinstance(timeline, PreparedTimeline):
        visits = [path for v in timeline.visits for path in (v.native, v.native_brain_mask, v.image, v.brain_mask, v.to_native)]
        return [path for path in (timeline.reference, *visits, *labels) if path is not None]
    masks = [path for mask in timeline.brain_masks for path in (mask.path, mask.transform)]
    return [path for path in (*(scan.path for scan in timeline.visits), *labels, *masks) if path is not None]


def _facts(path: Path, root: Path) -> str:
    status = path.stat()
    return f"{below(path, root)} {status.st_size} {status.st_mtime_ns}"


def below(path: Path, root: Path) -> str:
    """The path as seen from root; its name alone where it lies elsewhere."""
    inner, outer = Path(os.path.normpath(path.absolute())), Path(os.path.normpath(root.absolute()))
    return inner.relative_to(outer).as_posix() if inner.is_relative_to(outer) else path.name


def read(out_dir: Path, subject: str) -> Record | None:
    """The participant's record; None where there is none that can be used."""
    path = _path(out_dir, subject)
    try:
        content = read_json(path)
        return Record(**{**content, "outputs": tuple(content["outputs"])})
    except (BidsAppError, KeyError, TypeError):
        return None


def write(out_dir: Path, record: Record) -> None:
    """Write the record: from now on the participant is complete. Raises: CannotCreate."""
    write_json(_path(out_dir, record.subject), {**asdict(record), "finished": f"{datetime.now().astimezone():%Y-%m-%dT%H:%M:%S%z}"})


def is_complete(out_dir: Path, record: Record | None, inputs: str, wanted: Mapping[str, str]) -> bool:
    """Whether a record was made from these inputs, in this way, and every file it names is there."""
    if record is None or record.inputs != inputs or any(record.choices.get(key) != value for key, value in wanted.items()):
        return False
    return all((out_dir / name).is_file() for name in record.outputs)


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
    """One output folder is made one way.

    Args:
        out_dir: OUT.
        wanted: choices of this run.
        but: participants that this run makes again anyway.

    Raises: MadeDifferently, naming each option whose value differs from what the records in OUT say.
    """
    for path in sorted((out_dir / "logs" / "complete").glob("sub-*.json")):
        if path.stem.removeprefix("sub-") in but:
            continue
        record = read(out_dir, path.stem.removeprefix("sub-"))
        before = record.choices if record is not None else {}
        differing = [f"{key} was {before[key]}, now {wanted[key]}" for key in wanted if before.get(key, wanted[key]) != wanted[key]]
        if differing:
            msg = (
                f"{out_dir} holds results made with other choices ({path.stem}: {'; '.join(differing)}). "
                "Give the same options, another output folder, or --force to compute again."
            )
            raise MadeDifferently(msg)


def begin(out_dir: Path, subject: str) -> None:
    """The participant is no longer complete; what a killed run left half written is removed.

    Raises: CannotCreate where a link in OUT would lead what is written elsewhere.
    """
    require_tree_inside(out_dir / f"sub-{subject}", out_dir)
    _path(out_dir, subject).unlink(missing_ok=True)
    for path in sorted((out_dir / f"sub-{subject}").rglob(".tmp-*")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def outputs(out_dir: Path, subject: str) -> tuple[str, ...]:
    """Every file of the participant below OUT."""
    files = [path for path in (out_dir / f"sub-{subject}").rglob("*") if path.is_file()]
    page = out_dir / f"sub-{subject}.html"
    return tuple(sorted(path.relative_to(out_dir).as_posix() for path in (*files, page) if path.is_file()))


def _path(out_dir: Path, subject: str) -> Path:
    return out_dir / "logs" / "complete" / f"sub-{subject}.json"


def summary_of(record: Record) -> str:
    """What was found, as it was said when the participant was done."""
    return f"{record.summary or 'prepared'} (complete since {record.finished})"
