"""How far registration misses known rigid motions of real scans, whether it repeats itself, and how long it takes.

Each case moves a FLAIR by a known rigid motion (up to 12 degrees and 15 mm) onto the grid of the participant's other visit, adds
noise and a bias field, and asks for the motion back. The brain masks are those of the two visits, each carried on its own.
Run from the project: python benchmarks/registration.py [--ants] [--data ../shared/data/open-ms-longitudinal]
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

from coactseg_cli.preprocessing.registration import rigid
from coactseg_cli.preprocessing.resampling import Interpolation, grid_of, resample
from coactseg_cli.preprocessing.transforms import apply, read_itk, translation
from coactseg_cli.volumes import Volume, load, save

SUBJECTS = ("long01", "long03")
SESSIONS = ("01", "02")
NOISE = 0.03  # of the brain's mean
BIAS = 0.2


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
    centre = apply(grid.affine, np.argwhere(other_mask).mean(axis=0)[None])[0]
    motion = draw_motion(rng, centre)
    truth = motion @ rigid_part(other_from_common @ np.linalg.inv(from_common))
    moved = resample(flair, grid_of(grid), np.linalg.inv(truth), Interpolation.CUBIC)
    moved_mask = resample(grid.like(other_mask.astype(np.float32)), grid_of(grid), np.linalg.inv(motion), Interpolation.MASK).data
    level = float(flair.data[mask].mean())
    noisy = moved.data * draw_bias(rng, grid.shape) + rng.normal(0, NOISE * level, grid.shape)
    return Case(name, flair, mask, moved.like(np.maximum(noisy, 0).astype(np.float32)), moved_mask, truth)


def draw_motion(rng: np.random.Generator, centre_mm: np.ndarray) -> np.ndarray:
    """A rotation of 6 to 12 degrees about the brain's centre and a shift of 5 to 15 mm."""
    axis, direction = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec(axis * np.radians(rng.uniform(6, 12))).as_matrix()
    return translation(centre_mm + direction * rng.uniform(5, 15)) @ turn @ translation(-centre_mm)


def rigid_part(matrix: np.ndarray) -> np.ndarray:
    """The nearest rotation in place of the 3 x 3 part."""
    u, _, vt = np.linalg.svd(matrix[:3, :3])
    clean = matrix.copy()
    clean[:3, :3] = u @ vt
    return clean


def draw_bias(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """A smooth field (X, Y, Z) around one."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij", sparse=True)
    a = rng.normal(size=6)
    field = a[0] * x + a[1] * y + a[2] * z + a[3] * x * y + a[4] * y * z + a[5] * (x**2 - z**2)
    return np.asarray(1 + BIAS * field / np.abs(field).max())


def register_ours(case: Case) -> np.ndarray:
    """The project's own registration."""
    return rigid(case.fixed, case.moving, case.fixed_mask, case.moving_mask).matrix


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
    arguments = parser.parse_args()
    cases = make_cases(arguments.data, arguments.repeats)
    measure("ours", register_ours, cases)
    if arguments.ants:
        measure("ANTs", register_ants, cases)


if __name__ == "__main__":
    main()
