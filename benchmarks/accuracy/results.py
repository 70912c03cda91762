"""What was found in one case, kept as one JSON file; a case that is finished is not computed again. Counts nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.accuracy.candidates import Histogram, Method, Piece, pieces_of
from bids_app.files import read_json, write_text

FORMAT = 2  # raised where older files can no longer be read


@dataclass(frozen=True, slots=True)
class Target:
    """A true lesion."""

    number: int
    fate: str  # new, stable, resolved; all for a lesion of an all-lesion label
    volume_mm3: float
    contrast: float | None = None  # of painted ones, drawn and measured
    seen: float | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Everything that one method marked in one case, at all of its thresholds."""

    method: str
    wanted: str  # fate of the lesions that it should mark: new or all
    thresholds: tuple[float, ...]
    targets: tuple[Target, ...]
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case and one model."""

    name: str
    kind: str  # pair, null, real, reversed or same
    model: str  # A, B, ...
    sha256: str  # of the model file
    subject: str
    found: tuple[Found, ...]
    histograms: Mapping[str, Histogram] = field(default_factory=dict)  # new, all: of the voxels of the brain

    def of(self, method: str) -> Found | None:
        """What a method found, None where it was not run."""
        return next((f for f in self.found if f.method == method), None)


def found_by(method: Method, wanted: str, reference: Any, targets: Sequence[Target]) -> Found:
    """Run a method at all of its thresholds."""
    return Found(method.name, wanted, method.thresholds, tuple(targets), tuple(pieces_of(method, reference)))


def write_result(path: Path, result: CaseResult) -> None:
    """One JSON file, written under a temporary name and renamed."""
    about = {"format": FORMAT, **{k: getattr(result, k) for k in ("name", "kind", "model", "sha256", "subject")}}
    found = [
        {
            "method": f.method,
            "wanted": f.wanted,
            "thresholds": f.thresholds,
            "targets": [[t.number, t.fate, t.volume_mm3, t.contrast, t.seen] for t in f.targets],
            "pieces": [[p.threshold, p.volume_mm3, p.unknown_mm3, [[k, v] for k, v in p.hits.items()], p.peak] for p in f.pieces],
        }
        for f in result.found
    ]
    counts = {name: {"voxels": list(h.voxels), "lesion": list(h.lesion)} for name, h in result.histograms.items()}
    write_text(path, json.dumps({**about, "found": found, "histograms": counts}, allow_nan=False) + "\n")


def read_result(path: Path) -> CaseResult:
    """What write_result wrote. Raises: NoInput, InvalidDataset; SystemExit for a file of an older program."""
    content = read_json(path)
    if content.get("format") != FORMAT:
        msg = f"{path}: expected format {FORMAT}; found {content.get('format')}. Delete it: it will be computed again."
        raise SystemExit(msg)
    found = tuple(
        Found(
            f["method"],
            f["wanted"],
            tuple(f["thresholds"]),
            tuple(Target(*t) for t in f["targets"]),
            tuple(Piece(t, v, {int(k): s for k, s in hits}, u, peak) for t, v, u, hits, peak in f["pieces"]),
        )
        for f in content["found"]
    )
    counts = {name: Histogram(h["voxels"], h["lesion"]) for name, h in content["histograms"].items()}
    return CaseResult(content["name"], content["kind"], content["model"], content["sha256"], content["subject"], found, counts)


def is_done(path: Path, sha256: str) -> bool:
    """Whether the case was finished with this very model file."""
    if not path.is_file():
        return False
    content = read_json(path)
    return content.get("format") == FORMAT and content.get("sha256") == sha256


def read_results(folder: Path) -> list[CaseResult]:
    """Every case of a folder, by name. Raises: SystemExit where there is none; as read_result."""
    paths = sorted(folder.glob("*.json"))
    if not paths:
        msg = f"{folder}: no result of a case. Run the benchmark into it first."
        raise SystemExit(msg)
    return [read_result(path) for path in paths]
