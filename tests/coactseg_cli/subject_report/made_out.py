"""A small OUT of three visits written by hand: five lesions whose numbers were worked out on paper.

lesion   ses-01   ses-02      ses-03         voxels of 8 mm3 on the grid where the visits meet
1        8        8 stable    8 stable       every lesion is a box that starts at the same corner
2        4        8 enlarging 8 stable
3        2        resolved
4                 4 new       2 shrinking
5                             3 new
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bids_app.cases import PreparedScan, PreparedTimeline
from bids_app.derivatives import Derivatives
from bids_app.entities import Entities
from bids_app.files import write_json
from bids_app.tables import Column, write_table
from coactseg_cli.volumes import Volume, save

SHAPE = (14, 18, 12)
AFFINE = np.array([[2.0, 0, 0, -13], [0, 2.0, 0, -17], [0, 0, 2.0, -11], [0, 0, 0, 1]])
VOXEL_MM3 = 8.0
CORNERS = {1: (4, 4, 4), 2: (9, 4, 4), 3: (4, 12, 4), 4: (9, 12, 4), 5: (6, 8, 8)}
SIZES = {1: {1: (2, 2, 2), 2: (2, 2, 1), 3: (2, 1, 1)}, 2: {1: (2, 2, 2), 2: (2, 2, 2), 4: (2, 2, 1)}}
SIZES[3] = {1: (2, 2, 2), 2: (2, 2, 2), 4: (2, 1, 1), 5: (3, 1, 1)}
DAYS = {1: 0.0, 2: 365.25, 3: 730.5}
FATES = {
    1: {1: "baseline", 2: "baseline", 3: "baseline"},
    2: {1: "stable", 2: "enlarging", 3: "resolved", 4: "new"},
    3: {1: "stable", 2: "stable", 4: "shrinking", 5: "new"},
}
LATEST = {1: "stable", 2: "stable", 3: "resolved", 4: "shrinking", 5: "new"}
PLACES = {1: "periventricular", 2: "deep_white_matter", 3: "unclassified", 4: "juxtacortical", 5: "infratentorial"}
NAN = float("nan")


@dataclass(frozen=True, slots=True)
class MadeOut:
    """Where it lies."""

    tree: Derivatives
    prepared: PreparedTimeline

    def table(self, name: str) -> Path:
        """OUT/sub-01/sub-01_name.tsv."""
        return self.tree.subject_path("01", f"sub-01_{name}.tsv")


def box(lesion: int, visit: int) -> np.ndarray:
    """(X, Y, Z) bool: a lesion at a visit, empty where it is not there."""
    mask = np.zeros(SHAPE, bool)
    if size := SIZES[visit].get(lesion):
        mask[tuple(slice(c, c + n) for c, n in zip(CORNERS[lesion], size, strict=True))] = True
    return mask


def voxels(lesion: int, visit: int) -> int:
    """How many voxels a lesion has at a visit."""
    return int(box(lesion, visit).sum())


def union(lesions: list[int], visit: int) -> np.ndarray:
    """(X, Y, Z) bool: some lesions at a visit."""
    return np.logical_or.reduce([np.zeros(SHAPE, bool), *(box(i, visit) for i in lesions)])


def make_out(root: Path, n_visits: int = 3, *, followed: bool = True, sessions: bool = True) -> MadeOut:
    """Write it.

    Args:
        root: folder to be.
        n_visits: 1 to 3.
        followed: with the tables of followed lesions, flags and self-check; else as an older version leaves it.
        sessions: False, for one visit only: a data set without session labels.
    """
    tree = Derivatives(root)
    visits = tuple(_visit(tree, v, sessions=sessions) for v in range(1, n_visits + 1))
    for v in range(1, n_visits + 1):
        _map(tree, visits[v - 1], "all", union([1, 2, 3, 4, 5], v))
        if v > 1:
            _map(tree, visits[v - 1], "new", union([i for i, f in FATES[v].items() if f == "new"], v))
            if followed:
                _map(tree, visits[v - 1], "resolved", union([i for i, f in FATES[v].items() if f == "resolved"], v - 1))
    if sessions:
        _sessions(tree, n_visits, followed=followed)
    if followed:
        _followed(tree, n_visits, sessions=sessions)
        _flags(tree, sessions=sessions)
        _selfcheck(tree, sessions=sessions)
    return MadeOut(tree, PreparedTimeline("01", visits[0].image, visits))


def _visit(tree: Derivatives, v: int, *, sessions: bool) -> PreparedScan:
    source = Entities(subject="01", session=f"0{v}" if sessions else None, suffix="FLAIR", extension=".nii.gz", datatype="anat")
    rng = np.random.default_rng(v)
    brain = np.zeros(SHAPE, bool)
    brain[2:12, 2:16, 2:10] = True
    image = np.where(brain, rng.normal(0, 1, SHAPE), 0.0) + 4.0 * union([1, 2, 3, 4, 5], v)
    paths = {}
    for space, name, data in (
        ("individual", "preproc_FLAIR", image),
        ("orig", "preproc_FLAIR", image * 50 + 300),
        ("individual", "brain_mask", brain),
        ("orig", "brain_mask", brain),
    ):
        desc, suffix = name.split("_")
        path = tree.path(source.with_(space=space, desc=desc, suffix=suffix))
        save(Volume(data.astype(np.float32), AFFINE), path)
        tree.sidecar(path, {"BrainExtraction": "hd-bet", "BiasFieldCorrection": "N4", "Normalization": "zscore", **PREPARED})
        paths[space, name] = path
    none = tree.xfm_path(source, "orig", "individual")
    brains = paths["orig", "brain_mask"], paths["individual", "brain_mask"]
    return PreparedScan(
        source, None, paths["orig", "preproc_FLAIR"], brains[0], paths["individual", "preproc_FLAIR"], brains[1], none, none
    )


PREPARED = {"SubjectAnatomicalReference": "unbiased", "ProcessingVersions": {"SimpleITK": "2.5"}}
FACTS = {
    "Threshold": 0.5,
    "Model": {"Name": "tiny", "SHA256": "ab" * 32, "Source": "made up"},
    "MinLesionVolume": 3.0,
    "CoactSegVersion": "0.1.0",
}


def _map(tree: Derivatives, scan: PreparedScan, desc: str, mask: np.ndarray) -> None:
    """Mask on the common grid and the table of its boxes: the scan's own grid is the same grid."""
    source = scan.entities.source().with_(desc=desc, datatype="anat")
    save(
        Volume(mask.astype(np.float32), AFFINE), tree.path(source.with_(space="individual", label="L", suffix="mask", extension=".nii.gz"))
    )
    dseg = source.with_(space="orig", suffix="dseg")
    found = [i for i, corner in CORNERS.items() if mask[corner]]
    rows = []
    for rank, i in enumerate(found, start=1):
        n = int(mask[tuple(slice(c, c + 3) for c in CORNERS[i])].sum())  # lesions lie further apart
        names = ("index", "name", "volume_mm3", "voxels", "x_mm", "y_mm", "z_mm", "mean_probability", "max_probability")
        rows.append(dict(zip(names, (rank, f"{desc}-{rank}", n * VOXEL_MM3, n, i + 0.25, -i, 2.0 * i, 0.75, 0.9), strict=True)))
    columns = {
        name: Column(name)
        for name in ("index", "name", "volume_mm3", "voxels", "x_mm", "y_mm", "z_mm", "mean_probability", "max_probability")
    }
    write_table(tree.path(dseg.with_(extension=".tsv")), rows, columns, dictionary=False)
    write_json(tree.path(dseg.with_(extension=".json")), {**FACTS, "Pass": "single scan (x, x, 0)"})


def _write(path: Path, rows: list[dict[str, object]], description: str = "Made up.") -> None:
    write_table(
        path, rows, {name: Column(f"What {name} is.", "mm^3" if "mm3" in name else None) for name in rows[0]}, description=description
    )


def _sessions(tree: Derivatives, n_visits: int, *, followed: bool) -> None:
    rows: list[dict[str, object]] = []
    for v in range(1, n_visits + 1):
        new = [i for i, f in FATES[v].items() if f == "new"]
        gone = [i for i, f in FATES[v].items() if f == "resolved"]
        row: dict[str, object] = {
            "session_id": f"ses-0{v}",
            "all_lesions": len(SIZES[v]),
            "all_volume_mm3": sum(voxels(i, v) for i in SIZES[v]) * VOXEL_MM3,
            "baseline_session_id": f"ses-0{v - 1}" if v > 1 else None,
            "new_lesions": len(new) if v > 1 else None,
            "new_volume_mm3": sum(voxels(i, v) for i in new) * VOXEL_MM3 if v > 1 else None,
            "brain_mask_volume_mm3": 10 * 14 * 8 * VOXEL_MM3,
        }
        if followed:
            row |= {"resolved_lesions": len(gone), "resolved_volume_mm3": sum(voxels(i, v - 1) for i in gone) * VOXEL_MM3} if v > 1 else {}
            row |= {"days": DAYS[v], "nullpair_lesions": v, "nullpair_volume_mm3": 4.5 * v}
            names = (
                "new_outside_followup",
                "new_inside_baseline",
                "resolved_outside_baseline",
                "resolved_inside_followup",
                "new_and_resolved",
            )
            row |= {f"{name}_mm3": 1.5 * k + v for k, name in enumerate(names)} if v > 1 else {}
        rows.append(row)
    rows = [{name: row.get(name) for name in rows[-1]} for row in rows]
    _write(tree.subject_path("01", "sub-01_sessions.tsv"), rows)


def _session(v: int, *, sessions: bool) -> str | None:
    return f"ses-0{v}" if sessions else None


def _followed(tree: Derivatives, n_visits: int, *, sessions: bool) -> None:
    labels = np.zeros(SHAPE, np.float32)
    timeline: list[dict[str, object]] = []
    lesions: list[dict[str, object]] = []
    for i in range(1, 6):
        known = [v for v in range(1, n_visits + 1) if i in FATES[v]]
        if not known:
            continue
        present = [v for v in known if voxels(i, v)]
        first, last = present[0], known[-1]
        change = (voxels(i, last) - voxels(i, first)) * VOXEL_MM3 if last > first else NAN
        row: dict[str, object] = {
            "index": i,
            "name": f"lesion-{i}",
            "fate": FATES[last][i],
            "location": PLACES[i],
            "volume_last_mm3": voxels(i, last) * VOXEL_MM3,
            "change_mm3": change,
            "annualised_change_mm3_per_year": change * 365.25 / (DAYS[last] - DAYS[first]) if last > first else NAN,
            "mean_probability": 0.5 + 0.01 * i,
            "max_probability": 0.9 + 0.01 * i,
            "new_probability_max": 0.8 if first > 1 else NAN,
            "merged_into": None,
            "split_from": 2 if i == 5 else None,
        }
        lesions.append(row)
        for v in known:
            labels[box(i, v)] = i
            now, before = voxels(i, v) * VOXEL_MM3, (voxels(i, v - 1) if v > 1 else 0) * VOXEL_MM3
            timeline.append(
                {
                    "lesion_id": i,
                    "session_id": _session(v, sessions=sessions),
                    "days": DAYS[v],
                    "volume_mm3": now,
                    "fate": FATES[v][i],
                    "change_mm3": now - before if v > 1 else NAN,
                    "overlap_with_new": 1.0 if FATES[v][i] == "new" else 0.0,
                    "overlap_with_resolved": 0.75 if FATES[v][i] == "resolved" else 0.0,
                }
            )
    stem = tree.root / "sub-01" / "anat" / "sub-01_space-individual_desc-lesions_dseg.nii.gz"
    save(Volume(labels, AFFINE), stem, np.uint16)
    _write(Path(str(stem).replace(".nii.gz", ".tsv")), lesions)
    write_json(Path(str(stem).replace(".nii.gz", ".json")), {"TrackingRules": {"min_overlap": 0.1, "noise_mm3": 7.5}})
    _write(tree.subject_path("01", "sub-01_desc-lesions_timeline.tsv"), timeline)


def _flags(tree: Derivatives, *, sessions: bool) -> None:
    names = ("session_id", "name", "value", "units", "low", "high", "flagged", "reason")
    rows = [
        (_session(1, sessions=sessions), "slice-thickness", 3.0, "mm", None, 4.0, 0, "Thick slices hide small lesions."),
        (_session(1, sessions=sessions), "signal-to-noise", 0.01234567, None, 0.5, None, 1, "Noise; repeat the scan."),
        (_session(1, sessions=sessions), "brain-volume", 1310.873666, "ml", 800, 2000, 0, "Look at the brain mask."),
    ]
    _write(tree.subject_path("01", "sub-01_desc-quality_flags.tsv"), [dict(zip(names, row, strict=True)) for row in rows])


def _selfcheck(tree: Derivatives, *, sessions: bool) -> None:
    names = ("session_id", "check", "size_min_mm3", "injected", "sensitivity", "lesions", "unused")
    rows = [
        (_session(1, sessions=sessions), "null_pair", None, None, None, 2, None),
        (_session(1, sessions=sessions), "new_sensitivity", 3, 20, 0.35, None, None),
    ]
    path = tree.subject_path("01", "sub-01_desc-selfcheck_table.tsv")
    _write(path, [dict(zip(names, row, strict=True)) for row in rows])
    write_json(path.with_suffix(".json"), {"Reading": "Rely on 50 mm³ and more.", "check": {"Description": "What was checked."}})
