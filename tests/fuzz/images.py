"""Damaged images in every place where a command reads one: scans, masks, labels, maps, what was prepared. Builds cases, runs none."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np

from tests.fuzz.cases import Case, Expect, Kind
from tests.fuzz.damage import DAMAGES, SPECIAL, Damage, put, sound_bytes
from tests.fuzz.nifti_bytes import VOXELS, pack, patch, unpacked
from tests.fuzz.world import BRAIN, LABEL, SCAN, World, brain, head, lesions

QUICK = ("--no-report", "--no-curves", "--nprocs", "1")


def kinds() -> list[Kind]:
    """A kind per damage; each case draws the place."""
    return [*(Kind(f"image: {damage.name}", _build(damage), weight=2) for damage in DAMAGES), Kind("image: larger than --mem", build_large)]


def build_large(rng: Random, folder: Path, world: World) -> Case:
    """A scan of 216 million voxels, in a file of a few hundred kB, with --mem 1GB: refused before it is unpacked."""
    bids = _raw(folder, world)
    header = patch(patch(patch(sound_bytes(head(), np.int16)[:VOXELS], "dim", 3, 600, 600, 600, 1, 1, 1, 1), "datatype", 2), "bitpix", 8)
    (bids / SCAN).write_bytes(pack(header + bytes(600**3)))
    argv = ("prep", str(bids), str(folder / "out"), "participant", "--mem", "1GB", "--nprocs", "1", "--omp-nthreads", "1")
    return Case(argv, Expect.REFUSED, (Path(SCAN).name,), folder / "out", what="--mem 1GB")


def _build(damage: Damage) -> Callable[[Random, Path, World], Case]:
    def build(rng: Random, folder: Path, world: World) -> Case:
        return rng.choice(PLACES)(damage, rng, folder, world)

    return build


def _name(rng: Random, path: str) -> str:
    """The path, sometimes without .gz."""
    return path if rng.random() < 0.6 else path.removesuffix(".gz")


def _raw(folder: Path, world: World) -> Path:
    return Path(shutil.copytree(world.one, folder / "bids"))


def as_scan(damage: Damage, rng: Random, folder: Path, world: World) -> Case:
    """The scan of `segment` or `prep`."""
    bids = _raw(folder, world)
    (bids / SCAN).unlink()
    path = bids / _name(rng, SCAN)
    put(damage, rng, path, sound_bytes(head(), np.int16))
    how = rng.choice([("--skull-strip", "none"), ("-d", f"masks={world.masks}"), ("--skull-strip", "builtin")])
    out = folder / "out"
    if rng.random() < 0.5:
        argv = ("prep", str(bids), str(out), "participant", *how, "--no-n4", "--spacing", "5", "--nprocs", "1", "--omp-nthreads", "1")
    else:
        argv = (str(bids), str(out), "participant", *how, "--no-n4", *world.network_flags)
    names = (path.name, "sub-01 has no FLAIR") if damage.name in SPECIAL else (path.name,)
    return Case(argv, damage.as_scan, names, out, what=f"scan, {' '.join(how[:2])}")


def as_mask_of_user(damage: Damage, rng: Random, folder: Path, world: World) -> Case:
    """Brain mask or lesion label of -d."""
    masks = Path(shutil.copytree(world.masks, folder / "masks"))
    name, data = rng.choice([(BRAIN, brain()), (LABEL, lesions())])
    (masks / name).unlink()
    path = masks / _name(rng, name)
    put(damage, rng, path, sound_bytes(data, np.uint8))
    out = folder / "out"
    tail = ("--spacing", "5", "--no-n4", "--nprocs", "1", "--omp-nthreads", "1")
    argv = ("prep", str(world.one), str(out), "participant", "-d", f"masks={masks}", *tail)
    return Case(argv, _of_mask(damage, passed_over=True), (path.name,), out, what=path.name)


def as_compared(damage: Damage, rng: Random, folder: Path, world: World) -> Case:
    """Either side of `evaluate`: two files, two folders, or a BIDS tree."""
    side = rng.choice(["predicted", "reference"])
    places = {name: folder / name / _name(rng, "case-1.nii.gz") for name in ("predicted", "reference")}
    for name, path in places.items():
        sound = sound_bytes(lesions(int(name == "predicted")), np.uint8)
        path.parent.mkdir()
        if name == side:
            put(damage, rng, path, sound)
        else:
            path.write_bytes(pack(sound) if path.suffix == ".gz" else sound)
    files = rng.random() < 0.5
    given = [str(path if files else path.parent) for path in places.values()]
    out = folder / "out"
    extra = rng.choice([(), ("--resample",), ("--threshold", "0.5"), ("--predicted-values", "1")])
    argv = ("evaluate", *given, str(out), *QUICK, *extra)
    return Case(
        argv,
        _of_mask(damage, passed_over=not files),
        (places[side].name, f"/{side}"),
        out,
        what=f"{side}, {'files' if files else 'folders'}",
    )


def as_probability(damage: Damage, rng: Random, folder: Path, world: World) -> Case:
    """The probability map beside a prediction."""
    names = {suffix: f"sub-01/anat/sub-01_label-L_desc-all_{suffix}.nii.gz" for suffix in ("mask", "probseg")}
    for tree in ("predicted", "reference"):
        path = folder / tree / names["mask"]
        path.parent.mkdir(parents=True)
        path.write_bytes(pack(sound_bytes(lesions(int(tree == "predicted")), np.uint8)))
    path = folder / "predicted" / names["probseg"]
    put(damage, rng, path, sound_bytes(lesions(), np.uint8))
    out = folder / "out"
    argv = ("evaluate", str(folder / "predicted"), str(folder / "reference"), str(out), "--no-report", "--nprocs", "1")
    return Case(argv, _of_mask(damage, passed_over=True), (path.name,), out, what="probability map")


def as_prepared(damage: Damage, rng: Random, folder: Path, world: World) -> Case:
    """A file that prep wrote, for segment -d prep=."""
    prepared = Path(shutil.copytree(world.out, folder / "prep", ignore=shutil.ignore_patterns("*.html", "logs", "*label-L*", "*dseg*")))
    anat = prepared / "sub-01/anat"
    names = ("space-individual_desc-preproc_FLAIR", "space-individual_desc-brain_mask", "space-orig_desc-brain_mask")
    path = anat / f"sub-01_{rng.choice(names)}.nii.gz"
    put(damage, rng, path, unpacked(path))
    out = folder / "out"
    argv = (str(world.one), str(out), "participant", "-d", f"prep={prepared}", *world.network_flags)
    names_ = (path.name, "prep")  # what is passed over as no file is missing
    return Case(argv, Expect.EITHER if damage.as_mask is Expect.EITHER else Expect.REFUSED, names_, out, what=path.name)


def as_output(damage: Damage, rng: Random, folder: Path, world: World) -> Case:
    """A map or mask of OUT that is read again."""
    out = Path(shutil.copytree(world.out, folder / "out"))
    option = rng.choice([("--from-probabilities",), ("--from-masks", str(folder / "corrected"))])
    name = f"sub-01_space-{rng.choice(['individual', 'orig'])}_label-L_desc-all_mask.nii.gz"
    if option[0] == "--from-probabilities":
        path = out / "sub-01/anat" / f"sub-01_space-individual_label-L_desc-{rng.choice(['all', 'nullpair'])}_probseg.nii.gz"
    else:
        path = folder / "corrected/sub-01/anat" / name
    put(damage, rng, path, unpacked(world.out / path.relative_to(folder / ("out" if option[0] == "--from-probabilities" else "corrected"))))
    argv = (str(world.one), str(out), "participant", *option, "--nprocs", "1", "--omp-nthreads", "1")
    return Case(argv, _of_mask(damage, passed_over=True), (path.name,), out, what=f"{option[0]}: {path.name}", spoilt=path)


def _of_mask(damage: Damage, *, passed_over: bool) -> Expect:
    """What is no file may be passed over where files are looked for."""
    return Expect.EITHER if passed_over and damage.name in SPECIAL else damage.as_mask


PLACES = (as_scan, as_scan, as_mask_of_user, as_compared, as_compared, as_compared, as_compared, as_probability, as_prepared, as_output)
