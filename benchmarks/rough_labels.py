"""All-lesion labels for scans that have none, by rule: surely lesion, surely not, and nobody knows. For training the packaged model only.

    python benchmarks/rough_labels.py PREPARED OUT

OUT becomes a copy of the prepared data set with `desc-all` and `desc-ignoreall` masks on the common grid. Lesions are compact spots in
deep tissue that stand out from the level of the tissue around by more than CORE; what stands out by MAYBE, or is thin and lies at a
ventricle, is unknown; the rest, bright cortex and choroid plexus included, is lesion-free. The thresholds were set by eye on pictures of
the five 2D patients of Lesjak et al. 2016 (docs/model-card.md). These labels teach; they never score.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

if not __package__:  # started as a script
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bids_app.cases import LabelKind, PreparedScan, PreparedTimeline
from bids_app.dataset import read_prepared
from bids_app.derivatives import Derivatives
from bids_app.sidecars import mask_sidecar
from coactseg_cli.components import label, sizes
from coactseg_cli.volumes import load, save, to_ras

CORE, EDGE, MAYBE = 1.75, 1.05, 0.95  # SD of the brain above the level of the tissue around
CORE_VOXELS, LEAST_VOXELS = 6, 12
CORTEX_MM, SURFACE_MM = 5.0, 4.0  # from the brain's border or a sulcus: lesions begin; unknown begins
VENTRICLE_MM = 24.0  # fluid deeper than this, on average, is no sulcus
RIM_MM, THIN_MM = 2.5, 2.2  # a bright line at a ventricle: nearer than this, half as thick as this at most
PLEXUS = (0.45, 0.6)  # share of fluid around a spot from which it is unknown, and from which it is choroid plexus
LEVEL_MM = 12.0


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """What the rules look at, (X, Y, Z) each."""

    contrast: np.ndarray  # SD above the tissue around
    ventricles: np.ndarray  # bool
    below_cortex_mm: np.ndarray  # from the brain's border or a sulcus
    brain: np.ndarray  # bool


def read_anatomy(image: np.ndarray, brain: np.ndarray) -> Anatomy:
    """Level of tissue, ventricles and depth, on a 1 mm grid; image: z-scored FLAIR."""
    tissue = (brain & (image > -1.0)).astype(np.float32)
    smooth = ndimage.gaussian_filter(image, 0.6)
    weight = ndimage.gaussian_filter(tissue, LEVEL_MM)
    level = ndimage.gaussian_filter(np.clip(image, -0.6, 0.8) * tissue, LEVEL_MM) / np.maximum(weight, 0.02)
    fluid = brain & (smooth < -1.3)
    depth = _depth(brain)
    ventricles = _ventricles(fluid, depth)
    sulci = fluid & ~ventricles & (depth < 30)
    below = np.minimum(depth, ndimage.distance_transform_edt(~sulci))
    return Anatomy(np.where(brain, smooth - level, -9.0), ventricles, below, brain)


def _depth(brain: np.ndarray) -> np.ndarray:
    pad = 8
    closed = ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(brain, pad), iterations=6))
    depth: np.ndarray = ndimage.distance_transform_edt(closed)[pad:-pad, pad:-pad, pad:-pad]
    return depth


def _ventricles(fluid: np.ndarray, depth: np.ndarray) -> np.ndarray:
    labels, n = label(fluid)
    number = np.arange(1, n + 1)
    deep = (ndimage.mean(depth, labels, number) > VENTRICLE_MM) & (sizes(labels, n) > 60)
    found = np.concatenate([[False], deep])[labels] | (fluid & (depth > 30))
    opened: np.ndarray = ndimage.binary_opening(found) | (found & (depth > 30))
    return opened


def rough_label(image: np.ndarray, brain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Surely lesion and nobody knows, (X, Y, Z) bool each; what is in neither is lesion-free."""
    anatomy = read_anatomy(image, brain)
    unknown = brain & (anatomy.contrast > MAYBE) & (anatomy.below_cortex_mm > SURFACE_MM)
    lesion = np.zeros_like(brain)
    labels, _ = label(brain & (anatomy.contrast > EDGE) & (anatomy.below_cortex_mm > CORTEX_MM))
    to_ventricle = ndimage.distance_transform_edt(~anatomy.ventricles)
    for i, box in enumerate(ndimage.find_objects(labels), start=1):
        if np.count_nonzero(labels[box] == i) < LEAST_VOXELS:
            continue
        wide = tuple(slice(max(s.start - 4, 0), s.stop + 4) for s in box)
        spot = labels[wide] == i
        what = _judge(spot, anatomy.contrast[wide], anatomy.ventricles[wide], to_ventricle[wide])
        lesion[wide] |= spot & (what == "lesion")
        unknown[wide] = np.where(spot, what == "unknown", unknown[wide])
    return lesion, unknown & ~lesion


def _judge(spot: np.ndarray, contrast: np.ndarray, ventricles: np.ndarray, to_ventricle: np.ndarray) -> str:
    """lesion, unknown or nothing."""
    shell = ndimage.binary_dilation(spot, iterations=3) & ~ndimage.binary_dilation(spot)
    fluid = float(ventricles[shell].mean())
    if np.count_nonzero(contrast[spot] > CORE) < CORE_VOXELS:
        return "unknown"
    if fluid > PLEXUS[0]:
        return "nothing" if fluid > PLEXUS[1] else "unknown"
    thin = float(ndimage.distance_transform_edt(spot).max()) < THIN_MM
    return "unknown" if thin and float(to_ventricle[spot].min()) < RIM_MM else "lesion"


def label_participant(prepared: PreparedTimeline, tree: Derivatives) -> list[str]:
    """Write the labels of visits that have none. Returns: a line per visit."""
    labelled = {one.session for one in prepared.labels if one.kind is LabelKind.ALL}
    return [_label_visit(prepared, visit, tree) for visit in prepared.visits if visit.session not in labelled]


def _label_visit(prepared: PreparedTimeline, visit: PreparedScan, tree: Derivatives) -> str:
    scan, brain = load(visit.image), load(visit.brain_mask)
    lesion, unknown = rough_label(to_ras(scan).data, to_ras(brain).data > 0.5)
    for one in prepared.labels:  # a lesion that is new or growing at this visit is one of its lesions
        if one.kind is LabelKind.NEW and one.session == visit.session:
            lesion |= to_ras(load(one.path)).data > 0.5
    source = visit.entities.source().with_(space="individual", label="L", suffix="mask", extension=".nii.gz", datatype="anat")
    for desc, mask in (("all", lesion), ("ignoreall", unknown & ~lesion)):
        path = tree.path(source.with_(desc=desc))
        text = "Rough labels by rule (benchmarks/rough_labels.py), for training only."
        facts = {"sources": [tree.uri(visit.image)], "spatial_reference": tree.uri(prepared.reference)}
        save(to_ras(scan).like(mask), path, np.uint8)
        tree.sidecar(path, mask_sidecar(description=text, type_="Lesion", **facts))
    ml = lesion.sum() * scan.voxel_mm3 / 1000, unknown.sum() * scan.voxel_mm3 / 1000
    return f"sub-{prepared.subject} ses-{visit.session}: {ml[0]:.1f} ml lesion, {ml[1]:.1f} ml unknown"


def main() -> None:
    """Copy the prepared data set and add labels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    shutil.copytree(options.prepared, options.out)
    for timeline in read_prepared(options.out).timelines:
        print("\n".join(label_participant(timeline, Derivatives(options.out))))


if __name__ == "__main__":
    main()
