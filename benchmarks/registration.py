"""How far registration misses known rigid motions of real scans, whether it repeats itself, and how long it takes.

Each case moves a FLAIR by a known rigid motion (6 to 12 degrees, 5 to 15 mm) onto the grid of the participant's other visit, adds
noise and a bias field, and asks for the motion back. The brain masks are those of the two visits, each carried on its own.

    python benchmarks/registration.py [--ants] [--data ../shared/data/open-ms-longitudinal]
    python benchmarks/registration.py --random 20             up to 15 degrees and 20 mm, slices of 1 to 5 mm along any axis
    python benchmarks/registration.py --random 20 --turn 30 60    further than it can find: is every failure flagged?
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from coactseg_cli.errors import ImplausibleRegistration
from coactseg_cli.preprocessing.alignment import align
from coactseg_cli.preprocessing.bias import correct_bias
from coactseg_cli.preprocessing.quality import Rule
from coactseg_cli.preprocessing.registration import RigidResult, rigid
from coactseg_cli.preprocessing.registration_checks import ASYMMETRY, OVERLAP, RESIDUAL, SIMILARITY
from coactseg_cli.preprocessing.resampling import Grid, Interpolation, grid_of, resample
from coactseg_cli.preprocessing.transforms import apply, read_itk, translation
from coactseg_cli.volumes import Volume, load, save

SUBJECTS = ("long01", "long03")
SESSIONS = ("01", "02")
NOISE = 0.03  # of the brain's mean
BIAS = 0.2
TURN_DEG, SHIFT_MM = (6.0, 12.0), (5.0, 15.0)
RANDOM_TURN_DEG, RANDOM_SHIFT_MM = (0.0, 15.0), (0.0, 20.0)
RANDOM_NOISE, RANDOM_BIAS = (0.02, 0.08), (0.1, 0.4)
RANDOM_SLICE_MM, RANDOM_IN_PLANE_MM = (1.0, 5.0), (0.7, 1.2)
BAD_MM = 1.0  # a registration with a point of the brain further off is a failure
CHECK_MM = 1.0  # voxels of the grid that the flags are judged on


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """Two scans and the motion between them."""

    name: str
    fixed: Volume
    fixed_mask: np.ndarray
    moving: Volume
    moving_mask: np.ndarray
    truth: np.ndarray  # (4, 4) fixed points to moving points, RAS mm

    def errors_mm(self, found: np.ndarray) -> np.ndarray:
        """Distance between the true and the found place of brain points, (N,)."""
        points = apply(self.fixed.affine, np.argwhere(self.fixed_mask)[::97])
        return np.asarray(np.linalg.norm(apply(found, points) - apply(self.truth, points), axis=1))


def read(data: Path, subject: str, session: str) -> tuple[Volume, np.ndarray, np.ndarray]:
    """A FLAIR, its brain mask on its own grid, and flair_from_common."""
    name = f"sub-{subject}_ses-{session}"
    folder = Path(f"sub-{subject}") / f"ses-{session}" / "anat"
    flair = load(data / folder / f"{name}_FLAIR.nii.gz")
    labels = data / "derivatives" / "labels" / folder
    transform = read_itk(labels / f"{name}_from-FLAIR_to-common_mode-image_xfm.txt")
    mask = load(labels / f"{name}_space-common_desc-brain_mask.nii.gz")
    return flair, resample(mask, grid_of(flair), np.linalg.inv(transform), Interpolation.MASK).data, transform


def make_cases(data: Path, repeats: int = 2) -> list[Case]:
    """Per subject, direction and repeat one case; the same every time."""
    cases = []
    for subject in SUBJECTS:
        scans = {session: read(data, subject, session) for session in SESSIONS}
        for here, other in (SESSIONS, SESSIONS[::-1]):
            for repeat in range(repeats):
                rng = np.random.default_rng([SUBJECTS.index(subject), int(here), repeat])
                cases.append(make_case(f"{subject} ses-{here} #{repeat}", scans[here], scans[other], rng))
    return cases


def make_case(
    name: str, here: tuple[Volume, np.ndarray, np.ndarray], other: tuple[Volume, np.ndarray, np.ndarray], rng: np.random.Generator
) -> Case:
    """Move the scan `here` onto the grid of `other`."""
    (flair, mask, from_common), (grid, other_mask, other_from_common) = here, other
    motion = draw_motion(rng, centre_mm(grid, other_mask), TURN_DEG, SHIFT_MM)
    truth = motion @ rigid_part(other_from_common @ np.linalg.inv(from_common))
    moved = resample(flair, grid_of(grid), np.linalg.inv(truth), Interpolation.CUBIC)
    moved_mask = resample(grid.like(other_mask.astype(np.float32)), grid_of(grid), np.linalg.inv(motion), Interpolation.MASK).data
    return Case(name, flair, mask, disturbed(moved, flair, mask, rng, NOISE, BIAS), moved_mask, truth)


def random_cases(data: Path, n: int, turn_deg: tuple[float, float] = RANDOM_TURN_DEG, seed: int = 20) -> list[Case]:
    """Scans in turn, each moved and scanned anew: other slices, noise and bias; the same every time."""
    scans = {(subject, session): read(data, subject, session) for subject in SUBJECTS for session in SESSIONS}
    keys = list(scans)
    cases = []
    for number in range(n):
        subject, session = keys[number % len(keys)]
        other = scans[subject, SESSIONS[1 - SESSIONS.index(session)]]
        rng = np.random.default_rng([seed, number, *(round(t) for t in turn_deg)])
        cases.append(random_case(f"{subject} ses-{session} #{number}", scans[subject, session], other, rng, turn_deg))
    return cases


def random_case(
    name: str,
    here: tuple[Volume, np.ndarray, np.ndarray],
    other: tuple[Volume, np.ndarray, np.ndarray],
    rng: np.random.Generator,
    turn_deg: tuple[float, float],
) -> Case:
    """Move the scan `here`, and scan it with slices of its own along any axis; the moved brain mask is that of `other`."""
    (flair, mask, from_common), (scan, other_mask, other_from_common) = here, other
    motion = draw_motion(rng, centre_mm(scan, other_mask), turn_deg, RANDOM_SHIFT_MM)
    truth = motion @ rigid_part(other_from_common @ np.linalg.inv(from_common))
    edges, axis = np.full(3, rng.uniform(*RANDOM_IN_PLANE_MM)), int(rng.integers(3))
    edges[axis] = rng.uniform(*RANDOM_SLICE_MM)
    planes = int(np.ceil(edges[axis]))
    fine_edges = edges.copy()
    fine_edges[axis] /= planes
    fine = grid_around(scan, fine_edges, axis, planes)
    moved = resample(flair, fine, np.linalg.inv(truth), Interpolation.CUBIC)
    moved_mask = resample(scan.like(other_mask.astype(np.float32)), fine, np.linalg.inv(motion), Interpolation.LINEAR)
    sliced, sliced_mask = (in_slices(volume, axis, planes) for volume in (moved, moved_mask))
    noisy = disturbed(sliced, flair, mask, rng, rng.uniform(*RANDOM_NOISE), rng.uniform(*RANDOM_BIAS))
    what = f"{name}, slices {edges[axis]:.1f} mm along {axis}"
    return Case(what, flair, mask, noisy, sliced_mask.data >= 0.5, truth)


def grid_around(scan: Volume, edges_mm: np.ndarray, axis: int, planes: int) -> Grid:
    """The field of a scan in voxels of `edges_mm`, a multiple of `planes` of them along `axis`."""
    factor = edges_mm / np.array(scan.spacing_mm)
    shape = np.floor(np.array(scan.shape) / factor).astype(int)
    shape[axis] -= shape[axis] % planes
    affine = scan.affine @ np.diag([*factor, 1.0])
    affine[:3, 3] = apply(scan.affine, (factor[None] - 1) / 2)[0]
    x, y, z = shape.tolist()
    return Grid((x, y, z), affine)


def in_slices(fine: Volume, axis: int, planes: int) -> Volume:
    """Planes averaged into slices."""
    shape = list(fine.shape)
    data = fine.data.reshape([*shape[:axis], shape[axis] // planes, planes, *shape[axis + 1 :]]).mean(axis=axis + 1)
    affine = fine.affine.copy()
    affine[:3, 3] += (planes - 1) / 2 * affine[:3, axis]
    affine[:3, axis] *= planes
    return Volume(data, affine)


def disturbed(moved: Volume, scan: Volume, brain: np.ndarray, rng: np.random.Generator, noise: float, bias: float) -> Volume:
    """Noise, as a share of the brain's mean, and a bias field."""
    level = float(scan.data[brain].mean())
    noisy = moved.data * draw_bias(rng, moved.shape, bias) + rng.normal(0, noise * level, moved.shape)
    return moved.like(np.maximum(noisy, 0).astype(np.float32))


def centre_mm(scan: Volume, brain: np.ndarray) -> np.ndarray:
    """Centre of the brain in RAS mm, (3,)."""
    centre: np.ndarray = apply(scan.affine, np.argwhere(brain).mean(axis=0)[None])[0]
    return centre


def draw_motion(rng: np.random.Generator, centre: np.ndarray, turn_deg: tuple[float, float], shift_mm: tuple[float, float]) -> np.ndarray:
    """A rotation about the brain's centre and a shift, in any direction."""
    axis, direction = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec(axis * np.radians(rng.uniform(*turn_deg))).as_matrix()
    motion: np.ndarray = translation(centre + direction * rng.uniform(*shift_mm)) @ turn @ translation(-centre)
    return motion


def rigid_part(matrix: np.ndarray) -> np.ndarray:
    """The nearest rotation in place of the 3 x 3 part."""
    u, _, vt = np.linalg.svd(matrix[:3, :3])
    clean = matrix.copy()
    clean[:3, :3] = u @ vt
    return clean


def draw_bias(rng: np.random.Generator, shape: tuple[int, int, int], most: float) -> np.ndarray:
    """A smooth field (X, Y, Z) around one."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij", sparse=True)
    a = rng.normal(size=6)
    field = a[0] * x + a[1] * y + a[2] * z + a[3] * x * y + a[4] * y * z + a[5] * (x**2 - z**2)
    return np.asarray(1 + most * field / np.abs(field).max())


def register_ours(case: Case) -> np.ndarray:
    """The project's own registration."""
    return rigid(case.fixed, case.moving, case.fixed_mask, case.moving_mask).matrix


def flags(case: Case, found: RigidResult) -> list[str]:
    """Names of the quality flags that the answer raises (docs/quality-flags.md); those of the motion's size are left out."""
    fixed = grid_around(case.fixed, np.full(3, CHECK_MM), 2, 1)
    images, brains = [], []
    for scan, brain, matrix in ((case.fixed, case.fixed_mask, np.eye(4)), (case.moving, case.moving_mask, found.matrix)):
        images.append(resample(correct_bias(scan, brain), fixed, matrix, Interpolation.CUBIC).data)
        brains.append(resample(scan.like(brain.astype(np.float32)), fixed, matrix, Interpolation.MASK).data)
    how = align(images[0], images[1], brains[0], brains[1], (CHECK_MM,) * 3)
    judged: list[tuple[Rule, float]] = [
        (ASYMMETRY, found.asymmetry_mm),
        (SIMILARITY, how.similarity),
        (RESIDUAL, how.residual_mm),
        (OVERLAP, how.overlap),
    ]
    return [check.name for rule, value in judged for check in rule.judge(value, None) if check.flagged]


def measure_random(cases: list[Case]) -> None:
    """One line per case, then how often it failed and whether that was flagged."""
    middle, worst, seconds, raised = [], [], [], []
    for case in cases:
        start = time.perf_counter()
        try:
            found = rigid(case.fixed, case.moving, case.fixed_mask, case.moving_mask)
        except ImplausibleRegistration as error:
            print(f"{case.name}: refused: {error}", flush=True)
            continue
        seconds.append(time.perf_counter() - start)
        errors = case.errors_mm(found.matrix)
        middle.append(float(np.median(errors)))
        worst.append(float(errors.max()))
        raised.append(flags(case, found))
        print(
            f"{case.name}: median {middle[-1]:.3f} mm, worst {worst[-1]:.3f} mm, {seconds[-1]:.1f} s; flags: {raised[-1] or 'none'}",
            flush=True,
        )
    bad = [bool(names) for mm, names in zip(worst, raised, strict=True) if mm > BAD_MM]
    good = [bool(names) for mm, names in zip(worst, raised, strict=True) if mm <= BAD_MM]
    print(f"{len(cases)} cases, {len(cases) - len(worst)} refused; {np.median(seconds):.1f} s each")
    print(f"median of medians {np.median(middle):.3f} mm, worst point {max(worst):.2f} mm; {len(bad)} off by more than {BAD_MM:g} mm")
    print(f"flagged: {sum(bad)} of {len(bad)} of those, {sum(good)} of the {len(good)} others")


def register_ants(case: Case) -> np.ndarray:
    """ANTs' rigid registration with its defaults and a seed."""
    import ants

    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / "fixed.nii.gz", Path(folder) / "moving.nii.gz"]
        for volume, path in zip((case.fixed, case.moving), paths, strict=True):
            save(volume, path)
        fixed, moving = (ants.image_read(str(path)) for path in paths)
        found = ants.registration(fixed, moving, type_of_transform="Rigid", random_seed=1)
        transform = ants.read_transform(found["fwdtransforms"][0])
        flip = np.diag([-1.0, -1.0, 1.0])
        points = np.vstack([np.zeros(3), np.eye(3)])
        sent = np.array([flip @ transform.apply_to_point(list(flip @ p)) for p in points])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = (sent[1:] - sent[0]).T, sent[0]
    return matrix


def measure(name: str, method: Callable[[Case], np.ndarray], cases: list[Case]) -> None:
    """Print one line per case and one in all."""
    medians, worst, gaps, seconds = [], [], [], []
    for case in cases:
        start = time.perf_counter()
        found = method(case)
        seconds.append(time.perf_counter() - start)
        errors = case.errors_mm(found)
        points = apply(case.fixed.affine, np.argwhere(case.fixed_mask)[::97])
        gaps.append(float(np.linalg.norm(apply(found, points) - apply(method(case), points), axis=1).max()))
        medians.append(float(np.median(errors)))
        worst.append(float(errors.max()))
        text = f"median {medians[-1]:.3f} mm, worst {worst[-1]:.3f} mm, {seconds[-1]:.1f} s, repeat {gaps[-1]:.2g} mm"
        print(f"{name} {case.name}: {text}", flush=True)
    print(
        f"| {name} | {np.median(medians):.2f} ({min(medians):.2f}-{max(medians):.2f}) | {max(worst):.2f} | "
        f"{max(gaps):.2g} | {np.median(seconds):.1f} |"
    )


def main() -> None:
    """Run the cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/open-ms-longitudinal"))
    parser.add_argument("--ants", action="store_true", help="also ANTs with its defaults (slow)")
    parser.add_argument("--repeats", type=int, default=2, help="motions per scan")
    parser.add_argument("--random", type=int, metavar="N", help="instead: N random motions with slices, noise and bias of their own")
    parser.add_argument("--turn", type=float, nargs=2, default=RANDOM_TURN_DEG, metavar=("LEAST", "MOST"), help="degrees, with --random")
    arguments = parser.parse_args()
    if arguments.random:
        measure_random(random_cases(arguments.data, arguments.random, tuple(arguments.turn)))
        return
    cases = make_cases(arguments.data, arguments.repeats)
    measure("ours", register_ours, cases)
    if arguments.ants:
        measure("ANTs", register_ants, cases)


if __name__ == "__main__":
    main()
