"""Sound but unusual files of one scan - order of axes, number format, byte order, scaling, packing - whose result must be the usual one.

The order of axes is a permutation with flips of the voxels, with the affine that keeps each in its place. The maps are compared
after undoing it: bit by bit where the affine is exact in single precision, else (a quaternion) within TOLERANCE, since the place
of the scan itself differs by some 1e-6 mm then.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform

from tests.fuzz.cases import Case, Expect, Kind
from tests.fuzz.nifti_bytes import Forms, encode, pack
from tests.fuzz.world import AFFINE, BRAIN, LABEL, OBLIQUE, SCAN, World, brain, head, lesions

TOLERANCE = 1e-3  # of a probability; a voxel of a mask may differ where its probability is this close to the threshold
ORDERS = tuple(
    "".join(pair[side] for pair, side in zip(axes, sides, strict=True))
    for axes in itertools.permutations(("LR", "PA", "IS"))
    for sides in itertools.product((0, 1), repeat=3)
)
DTYPES = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, np.float32, np.float64)
SCALINGS = ((0.5, 0.0), (2.0**-7, 3.0), (-1.0, 120.0), (-0.25, -7.0))  # exact; what is stored is a whole number in int16
FORMS = {"both": Forms(), "sform alone": Forms(1, 0), "qform alone": Forms(0, 1), "aligned": Forms(4, 2)}


def kinds() -> list[Kind]:
    """What is varied one by one, and all of it together."""
    return [
        Kind("same: order of axes", _build(lambda rng: {"order": rng.choice(ORDERS), "oblique": rng.random() < 0.4}), 8),
        Kind("same: number format", _build(lambda rng: {"dtype": rng.choice(DTYPES), "endian": rng.choice("<>")}), 4),
        Kind("same: scaling", _build(lambda rng: {"scaling": rng.choice(SCALINGS)}), 3),
        Kind("same: sform or qform", _build(lambda rng: {"forms": rng.choice(list(FORMS)), "order": rng.choice(ORDERS)}), 3),
        Kind("same: packing and version", _build(lambda rng: {"packed": rng.choice(PACKINGS), "version": rng.choice((1, 2))}), 3),
        Kind("same: everything", _build(_everything), 6),
        Kind("same: masks of evaluate", build_evaluate, 12),
    ]


PACKINGS = (".nii.gz", ".nii", "plain bytes named .nii.gz", "gzip named .nii")


def _everything(rng: Random) -> dict[str, object]:
    return {
        "order": rng.choice(ORDERS),
        "dtype": rng.choice(DTYPES),
        "endian": rng.choice("<>"),
        "forms": rng.choice(list(FORMS)),
        "packed": rng.choice(PACKINGS),
        "version": rng.choice((1, 2)),
    }


def turned(data: np.ndarray, order: str, affine: np.ndarray = AFFINE) -> tuple[np.ndarray, np.ndarray]:
    """The voxels with their axes in another order, and the affine that keeps each in its place."""
    ornt = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(order))
    return apply_orientation(data, ornt), affine @ inv_ornt_aff(ornt, data.shape)


def written(data: np.ndarray, path: Path, how: dict[str, object]) -> Path:
    """Write one of the many files of an image. Returns: its path, whose end may have changed."""
    values, affine = turned(data, str(how.get("order", "RAS")), OBLIQUE if how.get("oblique") else AFFINE)
    content = encode(
        values,
        affine,
        dtype=how.get("dtype", np.int16),  # type: ignore[arg-type]
        order=str(how.get("endian", "<")),
        scaling=how.get("scaling"),  # type: ignore[arg-type]
        forms=FORMS[str(how.get("forms", "both"))],
        version=int(how.get("version", 1)),  # type: ignore[call-overload]
    )
    packed = str(how.get("packed", ".nii.gz"))
    if packed.endswith(".nii"):
        path = path.with_name(path.name.removesuffix(".gz"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pack(content) if packed in {".nii.gz", "gzip named .nii"} else content)
    return path


def _build(draw: Callable[[Random], dict[str, object]]) -> Callable[[Random, Path, World], Case]:
    def build(rng: Random, folder: Path, world: World) -> Case:
        return segment_case(draw(rng), rng.random() < 0.5, folder, world)

    return build


def segment_case(how: dict[str, object], masks_too: bool, folder: Path, world: World) -> Case:
    """One scan, perhaps with its masks in the same order of axes, through segment with N4."""
    bids = Path(shutil.copytree(world.one, folder / "bids", ignore=shutil.ignore_patterns("*.nii.gz")))
    written(head(), bids / SCAN, how)
    masks = world.masks
    if masks_too or how.get("oblique"):
        masks = Path(shutil.copytree(world.masks, folder / "masks"))
        for name, data in ((BRAIN, brain()), (LABEL, lesions())):
            (masks / name).unlink()
            written(data.astype(np.uint8), masks / name, {key: how[key] for key in ("order", "oblique") if key in how})
    out = folder / "out"
    exact = how.get("forms", "both") != "qform alone" and not how.get("oblique")
    usual = world.out_oblique if how.get("oblique") else world.out

    def check(_: str) -> str:
        return difference(out, usual, str(how.get("order", "RAS")), exact=exact)

    words = ", ".join(str(getattr(value, "__name__", value)) for value in how.values())
    return Case((str(bids), str(out), "participant", *world.flags(masks)), Expect.RIGHT, (), out, check, words)


def difference(out: Path, usual_out: Path, order: str, *, exact: bool) -> str:
    """In what a run differs from that of the usual file; '' where in nothing."""
    problems = []
    usual = sorted(path.relative_to(usual_out) for path in usual_out.rglob("*.nii.gz"))
    found = sorted(path.relative_to(out) for path in out.rglob("*.nii.gz"))
    if usual != found:
        return f"other files: {sorted(map(str, {*usual} ^ {*found}))[:3]}"
    for name in usual:
        a, b = nib.load(usual_out / name), nib.load(out / name)
        data, affine = np.asanyarray(a.dataobj), a.affine
        if "space-orig" in str(name):
            data, affine = turned(data, order, a.affine)
        problem = _unlike(data, np.asanyarray(b.dataobj), str(name), exact=exact)
        if not problem and not np.allclose(affine, b.affine, atol=0 if exact else 1e-4):
            problem = f"affine {b.affine.tolist()}, expected {affine.tolist()}"
        problems += [f"{name.name}: {problem}"] if problem else []
    if exact:
        problems += [f"{name} differs" for name in TABLES if (usual_out / name).read_bytes() != (out / name).read_bytes()]
    return "; ".join(problems[:3])


TABLES = ("sub-01/sub-01_desc-quality_flags.tsv", "sub-01/anat/sub-01_space-individual_desc-lesions_dseg.tsv")


def _unlike(usual: np.ndarray, found: np.ndarray, name: str, *, exact: bool) -> str:
    if usual.shape != found.shape:
        return f"shape {found.shape}, expected {usual.shape}"
    if np.array_equal(usual, found):
        return ""
    if exact or "dseg" in name:
        n = int((usual != found).sum())
        return f"{n} voxels differ, by up to {np.abs(usual.astype(float) - found.astype(float)).max():.2g}" if exact else ""
    if "mask" in name:
        return "" if (usual != found).mean() < 1e-3 else f"{int((usual != found).sum())} voxels differ"
    scale = max(float(np.abs(usual).max()), 1.0)
    worst = float(np.abs(usual - found).max())
    return "" if worst <= TOLERANCE * scale else f"differs by up to {worst:.2g}"


def build_evaluate(rng: Random, folder: Path, world: World) -> Case:
    """The masks of evaluate, both in one order of axes, each in a format of its own."""
    order = rng.choice(ORDERS)
    places = []
    words = [order]
    for name, shift in (("reference", 0), ("predicted", 1)):
        how = {**_everything(rng), "order": order}
        path = folder / name / "case-1.nii.gz"
        places.append(written(lesions(shift).astype(np.uint8), path, how).parent)
        words.append(f"{how['dtype'].__name__} {how['forms']} {how['packed']}")  # type: ignore[attr-defined]
    out = folder / "out"
    argv = ("evaluate", str(places[1]), str(places[0]), str(out), "--no-report", "--no-curves", "--nprocs", "1")

    def check(_: str) -> str:
        found = (out / "per_case.tsv").read_text()
        usual = (world.root / "evaluated" / "per_case.tsv").read_text()
        columns = [line.split("\t") for line in (*usual.splitlines(), found.splitlines()[-1])]
        scores = [row for row in zip(*columns, strict=True) if row[0] not in {"predicted", "reference"}]  # those are paths
        return ", ".join(f"{name}: {value}, expected {known}" for name, known, value in scores if known != value)

    return Case(argv, Expect.RIGHT, (), out, check, ", ".join(words))
