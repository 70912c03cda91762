"""BIDS data sets with odd names, places and doubles. Builds cases, runs none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.fuzz.cases import Case, Expect, Kind
from tests.fuzz.world import BRAIN, SCAN, World

R, E, S = Expect.REFUSED, Expect.EITHER, Expect.RIGHT
ANAT = "sub-01/anat"
TEN_THOUSAND = 10_000
MANY = "tree: many participants"


def kinds() -> list[Kind]:
    """A kind per oddity."""
    every = [Kind(f"tree: {name}", _build(change, expect, names), 1) for name, (change, expect, names) in ODDITIES.items()]
    return [
        *every,
        Kind("tree: path of the data set", build_path, 3),
        Kind(MANY, build_many, 1),
        Kind("tree: options", build_options, 6),
    ]


Change = Callable[[Random, Path], None]


def _build(change: Change, expect: Expect, names: tuple[str, ...]) -> Callable[[Random, Path, World], Case]:
    def build(rng: Random, folder: Path, world: World) -> Case:
        bids = Path(shutil.copytree(world.one, folder / "bids"))
        change(rng, bids)
        out = folder / "out"
        argv = (str(bids), str(out), "participant")
        prepares = ("--skull-strip", "none", "--no-n4", *world.network_flags)
        run = ("--dry-run", "--nprocs", "1") if expect is S or rng.random() < 0.6 else prepares
        check = _lists(SCAN) if expect is S else None
        if run[0] == "--dry-run" and expect is R and names[0] != "bids":
            return Case((*argv, *run), E, names, out, _cannot(names))  # --dry-run says who cannot be done and ends with 0
        return Case((*argv, *run), expect, names, out, check)

    return build


def _lists(scan: str) -> Callable[[str], str]:
    return lambda stdout: "" if scan in stdout else f"{scan} is not listed: {stdout[-300:]}"


def _cannot(names: tuple[str, ...]) -> Callable[[str], str]:
    return lambda stdout: (
        "" if "cannot be done" in stdout and any(name in stdout for name in names) else f"taken for sound: {stdout[-300:]}"
    )


def _also(*names: str) -> Change:
    """Copies of the scan under other names in its folder."""

    def change(_: Random, bids: Path) -> None:
        for name in names:
            target = bids / name if "/" in name else bids / ANAT / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(bids / SCAN, target)

    return change


def _renamed(*names: str) -> Change:
    def change(rng: Random, bids: Path) -> None:
        _also(rng.choice(names))(rng, bids)
        (bids / SCAN).unlink()

    return change


def _put(path: str, make: Callable[[Path], object]) -> Change:
    def change(_: Random, bids: Path) -> None:
        (bids / path).parent.mkdir(parents=True, exist_ok=True)
        make(bids / path)

    return change


def _instead(path: str, make: Callable[[Path], object]) -> Change:
    def change(_: Random, bids: Path) -> None:
        target = bids / path
        shutil.rmtree(target) if target.is_dir() else target.unlink()
        make(target)

    return change


def _moved_out(rng: Random, bids: Path) -> None:
    """The scan lies elsewhere, a link leads to it."""
    shutil.move(bids / SCAN, bids.parent / "elsewhere.nii.gz")
    (bids / SCAN).symlink_to(bids.parent / "elsewhere.nii.gz" if rng.random() < 0.5 else Path("../../../elsewhere.nii.gz"))


def _linked_participant(_: Random, bids: Path) -> None:
    shutil.move(bids / "sub-01", bids.parent / "sub-01")
    (bids / "sub-01").symlink_to(bids.parent / "sub-01")


def _undecodable(_: Random, bids: Path) -> None:
    for name in (b"sub-01_acq-\xff_FLAIR.nii.gz", b"\xc3\x28.json", b"notes \xe9.txt"):
        Path(os.fsdecode(os.fsencode(bids / ANAT) + b"/" + name)).write_bytes(b"x")


def _inherited(rng: Random, bids: Path) -> None:
    for path in ("FLAIR.json", "sub-01/sub-01_FLAIR.json", f"{ANAT}/sub-01_FLAIR.json", "acq-x_FLAIR.json", "sub-02_FLAIR.json"):
        if rng.random() < 0.7:
            (bids / path).write_text('{"EchoTime": 0.1}' if rng.random() < 0.8 else '{"EchoTime": ')


def _words(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text)


ODDITIES: dict[str, tuple[Change, Expect, tuple[str, ...]]] = {
    "names that are no BIDS names beside the scan": (
        _also("my scan FLAIR.nii.gz", "sub-01_FLAIR (copy).nii.gz", "sub-01 FLAIR.nii.gz"),
        S,
        (),
    ),
    "names that are not ASCII beside the scan": (
        _also("sub-01_acq-größe_FLAIR.nii.gz", "日本語_FLAIR.nii.gz", "sub-01_FLAIR\n.nii.gz"),
        S,
        (),
    ),
    "names that are no UTF-8 beside the scan": (_undecodable, S, ()),
    "hidden files": (_also("._sub-01_FLAIR.nii.gz", ".sub-01_FLAIR.nii.gz"), S, ()),
    "another suffix": (_also("sub-01_T1w.nii.gz", "sub-01_FLASH.nii.gz", "sub-01_desc-x_mask.nii.gz"), S, ()),
    "entities in another order": (_renamed("acq-3D_sub-01_FLAIR.nii.gz", "sub-01_run-1_acq-3D_FLAIR.nii.gz"), E, ("sub-01",)),
    "an entity twice": (_renamed("sub-01_run-1_run-2_FLAIR.nii.gz", "sub-01_sub-01_FLAIR.nii.gz"), R, ("sub-01",)),
    "an entity without a value": (_renamed("sub-01_acq-_FLAIR.nii.gz", "sub-_FLAIR.nii.gz", "sub-01_acq_FLAIR.nii.gz"), R, ("sub-01",)),
    "a label with a dash or a dot": (_renamed("sub-01_acq-a-b_FLAIR.nii.gz", "sub-01_acq-a.b_FLAIR.nii.gz"), R, ("sub-01",)),
    "a folder sub-": (lambda _, b: (b / "sub-/anat").mkdir(parents=True), S, ()),
    "folders with odd labels": (
        lambda _, b: [(b / n / "anat").mkdir(parents=True) for n in ("sub-ä", "sub-a b", "sub-x_y", "sub-a-b", "SUB-01")] and None,
        S,
        (),
    ),
    "another participant's scan": (_renamed("sub-02_FLAIR.nii.gz"), R, ("sub-01",)),
    "another session's scan": (_also("sub-01/ses-01/anat/sub-01_ses-02_FLAIR.nii.gz"), E, ("sub-01",)),
    "with and without a session": (_also("sub-01/ses-01/anat/sub-01_ses-01_FLAIR.nii.gz"), R, ("sub-01",)),
    "two runs": (_also("sub-01_run-1_FLAIR.nii.gz", "sub-01_run-2_FLAIR.nii.gz"), R, ("sub-01",)),
    "two acquisitions": (_also("sub-01_acq-3D_FLAIR.nii.gz"), R, ("sub-01",)),
    "packed and not": (_also("sub-01_FLAIR.nii"), R, ("sub-01",)),
    "real and imaginary part": (_also("sub-01_part-phase_FLAIR.nii.gz", "sub-01_part-real_FLAIR.nii.gz"), S, ()),
    "two echoes": (_renamed("sub-01_echo-1_FLAIR.nii.gz"), E, ("sub-01",)),
    "the scan in func": (_renamed("sub-01/func/sub-01_FLAIR.nii.gz"), R, ("sub-01",)),
    "the scan beside anat": (_renamed("sub-01/sub-01_FLAIR.nii.gz"), R, ("sub-01",)),
    "the scan too deep": (_renamed("sub-01/ses-01/more/anat/sub-01_ses-01_FLAIR.nii.gz"), R, ("sub-01",)),
    "no scan": (lambda _, b: (b / SCAN).unlink(), R, ("sub-01",)),
    "no anat": (lambda _, b: shutil.rmtree(b / ANAT), R, ("sub-01",)),
    "an empty participant": (_instead("sub-01", lambda p: p.mkdir()), R, ("sub-01",)),
    "the participant is a file": (_instead("sub-01", _words("x")), R, ("bids",)),
    "anat is a file": (_instead(ANAT, _words("x")), R, ("sub-01",)),
    "a session that is a file": (_put("sub-01/ses-01", _words("x")), S, ()),
    "the scan is a folder": (_instead(SCAN, lambda p: p.mkdir()), R, ("sub-01",)),
    "the scan is a pipe": (_instead(SCAN, os.mkfifo), R, ("sub-01",)),
    "the scan is a dangling link": (_instead(SCAN, lambda p: p.symlink_to("nowhere")), R, ("sub-01",)),
    "the scan is a link": (_moved_out, S, ()),
    "the participant is a link": (_linked_participant, E, ("sub-01",)),
    "a link to the folder above": (_put(f"{ANAT}/up", lambda p: p.symlink_to("..")), S, ()),
    "links in a circle": (_put("sub-01/ses-x", lambda p: p.symlink_to("../sub-01")), E, ("sub-01",)),
    "a link to itself": (_put("sub-02", lambda p: p.symlink_to("sub-02")), S, ()),
    "a pipe beside the scan": (_put(f"{ANAT}/sub-01_T1w.json", os.mkfifo), S, ()),
    "the sidecar is a pipe": (_put(f"{ANAT}/sub-01_FLAIR.json", os.mkfifo), E, ("sub-01_FLAIR.json",)),
    "inheritance": (_inherited, E, ("FLAIR.json",)),
    "no description": (lambda _, b: (b / "dataset_description.json").unlink(), R, ("bids",)),
    "the description of a derivative": (
        _put("dataset_description.json", _words('{"Name": "x", "BIDSVersion": "1.9.0", "DatasetType": "derivative"}')),
        R,
        ("bids",),
    ),
    "a description without a name": (_put("dataset_description.json", _words('{"BIDSVersion": "1.9.0"}')), R, ("bids",)),
    "a long name": (_also("sub-01_acq-" + "x" * 200 + "_T1w.nii.gz"), S, ()),
    "a thousand files beside the scan": (
        lambda _, b: [(b / ANAT / f"sub-01_run-{i}_T1w.nii.gz").touch() for i in range(1000)] and None,
        S,
        (),
    ),
    "an empty data set": (lambda _, b: [shutil.rmtree(p) if p.is_dir() else p.unlink() for p in b.iterdir()] and None, R, ("bids",)),
}


def build_path(rng: Random, folder: Path, world: World) -> Case:
    """A data set and an output whose own paths are odd."""
    name = rng.choice(
        ["two words", "größe", "日本", "it's", "a&b;c", "$HOME", "-x", "tab\there", "x" * 200, "a=b", "[a]*", "%20", "new\nline"]
    )
    bids = Path(shutil.copytree(world.one, folder / name / "bids"))
    out = folder / name / "out"
    run = ("--dry-run",) if rng.random() < 0.5 else ("--skull-strip", "none", "--no-n4", *world.network_flags)
    check = _lists(SCAN) if run[0] == "--dry-run" else None
    return Case((str(bids), str(out), "participant", *run), S, (), out, check, repr(name))


def build_many(rng: Random, folder: Path, world: World) -> Case:
    """Ten thousand participants, none with a FLAIR."""
    bids = Path(shutil.copytree(world.one, folder / "bids"))
    shutil.rmtree(bids / "sub-01")
    for i in range(TEN_THOUSAND):
        (bids / f"sub-{i:05d}/anat").mkdir(parents=True)
        (bids / f"sub-{i:05d}/anat/sub-{i:05d}_T1w.nii.gz").touch()
    run = ("--dry-run",) if rng.random() < 0.5 else world.network_flags
    check = (lambda text: "" if text.count("cannot be done") == TEN_THOUSAND else "not all are listed") if run[0] == "--dry-run" else None
    return Case((str(bids), str(folder / "out"), "participant", *run), E, ("sub-00000",), folder / "out", check, run[0], hang_s=200.0)


def build_options(rng: Random, folder: Path, world: World) -> Case:
    """Options that name what is not there, is no folder, or is broken."""
    (folder / "file").write_text("x")
    (folder / "database").mkdir()
    (folder / "database/layout_index.sqlite").write_bytes(rng.choice([b"", b"x" * 5000, rng.randbytes(5000)]))
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe")
    double = folder / "double"
    for name in ("sub-01_desc-brain_mask.nii.gz", "sub-01_space-orig_desc-brain_mask.nii.gz"):
        (double / ANAT).mkdir(parents=True, exist_ok=True)
        shutil.copy(world.masks / BRAIN, double / ANAT / name)
    ways: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
        (("-d", f"masks={folder}/nowhere"), ("nowhere",)),
        (("-d", f"masks={folder}/file"), ("file",)),
        (("-d", f"masks={folder}/loop"), ("loop",)),
        (("-d", f"masks={folder}/pipe"), ("pipe",)),
        (("-d", f"masks={double}"), ("brain",)),
        (("-d", f"prep={folder}/database"), ("database", "prep")),
        (("--bids-database-dir", str(folder / "database")), ("database",)),
        (("--bids-database-dir", str(folder / "file")), ("file",)),
        (("--bids-database-dir", str(folder / "pipe")), ("pipe",)),
        (("--bids-filter-file", str(folder / "nowhere")), ("nowhere",)),
        (("--bids-filter-file", str(folder / "loop")), ("loop",)),
        (("--participant-label", "99"), ("99",)),
        (("--participant-label", "../x"), ("../x", "x")),
        (("--session-label", "99"), ("99",)),
        (("--model", str(folder / "file")), ("file",)),
        (("--model", str(folder / "pipe")), ("pipe",)),
        (("--model", str(folder / "loop")), ("loop",)),
        (("--config-file", str(folder / "pipe")), ("pipe",)),
        (("-w", str(folder / "file")), ("file",)),
    ]
    extra, names = rng.choice(ways)
    network = world.network_flags if extra[0] != "--model" else world.network_flags[2:]
    out = folder / rng.choice(["out", "out", "out", "file", "loop", "pipe"])
    names = (*names, out.name) if out.name != "out" else names
    return Case(
        (str(world.one), str(out), "participant", *extra, "--no-n4", *network),
        R,
        names,
        out,
        what=f"{extra[0]} {Path(extra[1]).name}, {out.name}",
    )
