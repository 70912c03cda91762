"""An output folder in which one file is broken or missing, and what reads it: group, segment again, prep= and the readings again."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

from tests.fuzz import texts
from tests.fuzz.cases import Case, Expect, Kind
from tests.fuzz.damage import DAMAGES, put
from tests.fuzz.nifti_bytes import unpacked
from tests.fuzz.world import World


def kinds() -> list[Kind]:
    """By who reads the folder."""
    readers = {
        "group": (lambda raw, out, made: (raw, out, "group")),
        "--from-probabilities": (lambda raw, out, made: (raw, out, "participant", "--from-probabilities", *_CPUS)),
        "--reports-only": (lambda raw, out, made: (raw, out, "participant", "--reports-only", *made)),
        "prep=OUT": (lambda raw, out, made: (raw, out + "-2", "participant", "-d", f"prep={out}", *made[2:])),
        "segment again": (lambda raw, out, made: (raw, out, "participant", *made, "--force")),
    }
    weights = {"group": 24, "--from-probabilities": 10, "--reports-only": 8, "prep=OUT": 10, "segment again": 5}
    return [Kind(f"output: {name}", _build(argv), weights[name]) for name, argv in readers.items()]


_CPUS = ("--nprocs", "1", "--omp-nthreads", "1")


def _build(argv):
    def build(rng: Random, folder: Path, world: World) -> Case:
        two = rng.random() < 0.5 and world.out_two.is_dir()
        out = Path(shutil.copytree(world.out_two if two else world.out, folder / "out"))
        path, how = break_one(rng, out)
        made = ("--skull-strip", "none", *world.network_flags) if two else world.flags()
        words = argv(str(world.two if two else world.one), str(out), made)
        names = (path.name, path.name.partition(".")[0], *(("sub-01: ", "no segmented") if how == "removed" else ()))
        return Case(tuple(words), Expect.EITHER, names, Path(words[1]), what=f"{path.relative_to(out)}: {how}", spoilt=path)

    return build


def break_one(rng: Random, out: Path) -> tuple[Path, str]:
    """Break or remove one file of the folder. Returns: the file, and how."""
    files = sorted(path for path in out.rglob("*") if path.is_file() and "figures" not in path.parts)
    likely = [path for path in files if path.suffix in {".json", ".tsv", ".txt"}]
    path = rng.choice(likely if rng.random() < 0.7 else files)
    if rng.random() < 0.15:
        path.unlink()
        return path, "removed"
    if path.name.endswith(".nii.gz"):
        damage = rng.choice(DAMAGES)
        put(damage, rng, path, unpacked(path))
        return path, damage.name
    return path, texts.spoil(rng, path)
