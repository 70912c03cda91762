"""Broken JSON, TSV, TOML and transforms in every place where a command reads one. Builds cases, runs none."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.fuzz.cases import Case, Expect, Kind
from tests.fuzz.world import World

Spoil = Callable[[Random, Path, str], None]
LONG = 100_000


def _text(change: Callable[[Random, str], str], encoding: str = "utf-8") -> Spoil:
    return lambda rng, path, sound: path.write_bytes(change(rng, sound).encode(encoding, "surrogatepass"))


def _bytes(make: Callable[[Random, str], bytes]) -> Spoil:
    return lambda rng, path, sound: path.write_bytes(make(rng, sound))


def _instead(put: Callable[[Path], object]) -> Spoil:
    def spoil(_: Random, path: Path, __: str) -> None:
        path.unlink(missing_ok=True)
        put(path)

    return spoil


ANY: dict[str, Spoil] = {
    "empty": _text(lambda *_: ""),
    "blank": _text(lambda *_: " \n\t\r\n  \n"),
    "cut": _text(lambda rng, s: s[: rng.randrange(len(s))]),
    "UTF-16": _text(lambda _, s: s, "utf-16"),
    "byte order mark": _text(lambda _, s: s, "utf-8-sig"),
    "Latin-1": _bytes(lambda _, s: s.replace("0", "é").encode("latin-1", "replace")),
    "zero bytes": _bytes(lambda *_: bytes(1000)),
    "random bytes": _bytes(lambda rng, _: rng.randbytes(500)),
    "CRLF": _text(lambda _, s: s.replace("\n", "\r\n")),
    "CR": _text(lambda _, s: s.replace("\n", "\r")),
    "folder": _instead(lambda p: p.mkdir()),
    "pipe": _instead(os.mkfifo),
    "dangling link": _instead(lambda p: p.symlink_to("nowhere")),
    "link to itself": _instead(lambda p: p.symlink_to(p.name)),
    "huge": _text(lambda _, s: s + " " * 3_000_000),
}
JSON: dict[str, Spoil] = ANY | {
    "list": _text(lambda *_: "[1, 2]"),
    "text": _text(lambda *_: '"text"'),
    "number": _text(lambda *_: "3"),
    "null": _text(lambda *_: "null"),
    "deep": _text(lambda *_: '{"a":' * LONG + "1" + "}" * LONG),
    "deep list": _text(lambda *_: "[" * LONG),
    "huge number": _text(lambda *_: '{"EchoTime": ' + "9" * 6000 + "}"),
    "wrong types": _text(
        lambda rng, s: json.dumps({key: rng.choice([None, [], {}, [[]], True, "\0", 1e308, -1, ["x"], {"a": {}}]) for key in json.loads(s)})
    ),
    "NaN": _text(lambda rng, s: json.dumps({key: rng.choice([float("nan"), float("inf")]) for key in json.loads(s)})),
    "lone surrogate": _text(lambda _, s: '{"Name": "\\ud800", ' + s.lstrip()[1:]),
    "twice the same key": _text(lambda _, s: '{"Name": 1, ' + s.lstrip()[1:]),
    "comment": _text(lambda _, s: "// a comment\n" + s),
    "single quotes": _text(lambda _, s: s.replace('"', "'")),
}


def _rows(change: Callable[[Random, list[list[str]]], list[list[str]]]) -> Spoil:
    def spoil(rng: Random, path: Path, sound: str) -> None:
        rows = [line.split("\t") for line in sound.rstrip("\n").split("\n")]
        path.write_text("\n".join("\t".join(row) for row in change(rng, rows)) + "\n")

    return spoil


def _any_cell(rng: Random, rows: list[list[str]]) -> list[list[str]]:
    row = rng.choice(rows)
    row[rng.randrange(len(row))] = rng.choice(
        [
            "",
            "n/a",
            "x",
            "-1",
            "NaN",
            "inf",
            "1e400",
            "=1+1",
            "'",
            "sub-01",
            "é",
            "\0",
            "1" * 5000,
            "../../x",
            "<b>",
            "2020-02-30",
            "2020-01-01T00:00:00+25:00",
            "9999-12-31T23:59:59-12:00",
            "0001-01-01T00:00:00+12:00",
        ]
    )
    return rows


TSV: dict[str, Spoil] = ANY | {
    "ragged": _rows(lambda rng, rows: [*rows[:-1], rows[-1][: rng.randrange(1, max(2, len(rows[-1])))] + ["x"] * rng.choice([0, 5])]),
    "no header": _rows(lambda _, rows: rows[1:] or [[""]]),
    "header alone": _rows(lambda _, rows: rows[:1]),
    "a column twice": _rows(lambda _, rows: [[*row, row[0]] for row in rows]),
    "a row twice": _rows(lambda _, rows: [*rows, rows[-1]]),
    "no first column": _rows(lambda _, rows: [row[1:] or ["x"] for row in rows]),
    "columns renamed": _rows(lambda rng, rows: [[f"{name}x" if rng.random() < 0.4 else name for name in rows[0]], *rows[1:]]),
    "a cell": _rows(_any_cell),
    "many cells": _rows(lambda rng, rows: _any_cell(rng, _any_cell(rng, _any_cell(rng, rows)))),
    "commas": _text(lambda _, s: s.replace("\t", ",")),
    "a million rows": _text(lambda _, s: s + (s.rstrip("\n").split("\n")[-1] + "\n") * 20_000),
}


def spoil(rng: Random, path: Path) -> str:
    """Break a text file. Returns: how."""
    sound = path.read_text(errors="replace")
    ways = JSON if path.suffix == ".json" else TSV if path.suffix == ".tsv" else ANY
    try:
        json.loads(sound) if path.suffix == ".json" else None
    except ValueError:
        ways = ANY
    name = rng.choice(sorted(ways))
    ways[name](rng, path, sound)
    return name


# ---- places


def kinds() -> list[Kind]:
    """A kind per file that a user gives."""
    return [
        *(Kind(f"text: {name}", _in_raw(name, sound), 6) for name, sound in IN_RAW.items()),
        Kind("text: filter file", build_filter, 6),
        Kind("text: configuration file", build_config, 5),
        Kind("text: table of evaluate", build_pair_table, 10),
        Kind("text: sites of evaluate", build_sites, 6),
        Kind("text: transform of a mask", build_transform, 6),
    ]


IN_RAW = {
    "dataset_description.json": '{"Name": "fuzz", "BIDSVersion": "1.9.0"}',
    "participants.tsv": "participant_id\tage\nsub-01\t40\n",
    "participants.json": '{"age": {"Units": "year"}}',
    "FLAIR.json": '{"Manufacturer": "Siemens", "EchoTime": 0.1}',
    ".bidsignore": "extra\n*_T1w.nii.gz\n",
    "sub-01/sub-01_sessions.tsv": "session_id\tacq_time\nses-01\t2019-01-01T00:00:00\nses-02\t2020-01-01T00:00:00\n",
    "sub-01/ses-02/sub-01_ses-02_scans.tsv": "filename\tacq_time\nanat/sub-01_ses-02_FLAIR.nii.gz\t2020-01-01T00:00:00\n",
    "sub-01/ses-02/anat/sub-01_ses-02_FLAIR.json": '{"Manufacturer": "GE", "EchoTime": 0.1, "SliceThickness": 1}',
}
QUIET = ("--skull-strip", "none", "--no-n4", "--preregistered")


def _in_raw(name: str, sound: str) -> Callable[[Random, Path, World], Case]:
    def build(rng: Random, folder: Path, world: World) -> Case:
        two = "ses-" in sound or "ses-" in name
        bids = Path(shutil.copytree(world.two if two else world.one, folder / "bids"))
        path = bids / name
        path.write_text(sound)
        how = spoil(rng, path)
        run = ("--dry-run", "--nprocs", "1") if rng.random() < 0.7 else (*QUIET, *world.network_flags)
        out = folder / "out"
        argv = (str(bids), str(out), "participant", *run)
        return Case(argv, Expect.EITHER, (path.name,), out, what=how)

    return build


def build_filter(rng: Random, folder: Path, world: World) -> Case:
    """--bids-filter-file."""
    path = folder / "filter.json"
    path.write_text('{"flair": {"acquisition": null, "run": "*", "session": ["01", null]}}')
    how = spoil(rng, path)
    argv = (str(world.one), str(folder / "out"), "participant", "--dry-run", "--bids-filter-file", str(path))
    return Case(argv, Expect.EITHER, (path.name, "--bids-filter-file"), folder / "out", what=how)


def build_config(rng: Random, folder: Path, world: World) -> Case:
    """--config-file."""
    path = folder / "run.toml"
    path.write_text("[dataset]\nskip_bids_validation = false\n[segment]\nmin_lesion_mm3 = 3.0\n[run]\nnprocs = 1\n")
    how = spoil(rng, path)
    argv = (str(world.one), str(folder / "out"), "participant", "--dry-run", "--config-file", str(path))
    return Case(argv, Expect.EITHER, (path.name, "config"), folder / "out", what=how)


def build_pair_table(rng: Random, folder: Path, world: World) -> Case:
    """A table of pairs instead of two folders."""
    path = folder / "pairs.tsv"
    masks = world.root / "masks_of"
    path.write_text(f"predicted\treference\tcase\n{masks}/predicted/case-1.nii.gz\t{masks}/reference/case-1.nii.gz\tcase-1\n")
    how = spoil(rng, path)
    argv = ("evaluate", str(path), str(path), str(folder / "out"), "--no-report", "--no-curves", "--nprocs", "1")
    return Case(argv, Expect.EITHER, (path.name, "case-1"), folder / "out", what=how)


def build_sites(rng: Random, folder: Path, world: World) -> Case:
    """--participants with --site-column."""
    path = folder / "participants.tsv"
    path.write_text("participant_id\tsite\nsub-01\tA\nsub-02\tB\n")
    how = spoil(rng, path)
    masks = world.root / "masks_of"
    argv = (
        "evaluate",
        str(masks / "predicted"),
        str(masks / "reference"),
        str(folder / "out"),
        "--no-report",
        "--no-curves",
        "--nprocs",
        "1",
    )
    argv += ("--site-column", "site", "--participants", str(path))
    return Case(argv, Expect.EITHER, (path.name,), folder / "out", what=how)


def build_transform(rng: Random, folder: Path, world: World) -> Case:
    """The transform beside a brain mask in another space."""
    masks = Path(shutil.copytree(world.masks, folder / "masks"))
    anat = masks / "sub-01/anat"
    (anat / "sub-01_desc-brain_mask.nii.gz").rename(anat / "sub-01_space-T1w_desc-brain_mask.nii.gz")
    path = anat / "sub-01_from-FLAIR_to-T1w_mode-image_xfm.txt"
    numbers = "1 0 0 0 1 0 0 0 1 0 0 0"
    kind = "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3"
    path.write_text(f"{kind}\nParameters: {numbers}\nFixedParameters: 0 0 0\n")
    if rng.random() < 0.5:
        how = spoil(rng, path)
    else:
        values = numbers.split()
        values[rng.randrange(12)] = rng.choice(["nan", "inf", "1e300", "-1", "0", "x", "1 1", ""])
        path.write_text(path.read_text().replace(numbers, " ".join(values)))
        how = " ".join(values)
    tail = ("--spacing", "5", "--no-n4", "--nprocs", "1", "--omp-nthreads", "1")
    argv = ("prep", str(world.one), str(folder / "out"), "participant", "-d", f"masks={masks}", *tail)
    return Case(argv, Expect.EITHER, (path.name, "sub-01_space-T1w_desc-brain_mask"), folder / "out", what=how)
