"""What a fault did: OUT right after it and after a rerun, against the OUT of a run that nothing disturbed. Changes nothing.

Compared byte for byte: everything but logs/, whose names and lines hold times. Of logs/ the records are read: a participant that is
recorded complete has to have the files that the record names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

Tree = Mapping[str, bytes]  # path below OUT to content


class Verdict(StrEnum):
    OK = "ok"
    LOST = "lost"  # a file or a participant that the rerun does not bring back
    HALF = "half-written"  # a file with a final name and a part of its content, or what is left of a temporary file
    WRONG = "wrong"  # other content, a surplus file, a record that does not hold


@dataclass(frozen=True)
class Finding:
    verdict: Verdict
    why: str = ""


OK = Finding(Verdict.OK)


def tree_of(out: Path) -> dict[str, bytes]:
    """Every file below OUT outside logs/."""
    files = (path for path in out.rglob("*") if path.is_file())
    return {name: path.read_bytes() for path in files if not (name := path.relative_to(out).as_posix()).startswith("logs/")}


def after_fault(out: Path, versions: Sequence[Tree]) -> Finding:
    """Right after a fault every file with a final name is a whole version of it (the old, the new, that of prep), and records hold."""
    for name, content in tree_of(out).items():
        known = [version[name] for version in versions if name in version]
        if name.endswith("_sessions.tsv"):
            known += [_of_prep(whole) for whole in known]
        if ".tmp-" in name or content in known or _is_error_page(name, content):
            continue
        if any(_is_part(content, whole) for whole in known):
            return Finding(Verdict.HALF, f"{name} has {len(content)} bytes after the fault")
        return Finding(Verdict.WRONG, f"{name} is neither old nor new after the fault")
    return _records(out)


def after_rerun(out: Path, expected: Tree, code: int, said: Path) -> Finding:
    """After the rerun all is as it would have been."""
    if code != 0:
        last = [line for line in said.read_text(errors="replace").splitlines() if line][-3:]
        return Finding(Verdict.LOST, f"the rerun ended with {code}: {' | '.join(last)}")
    found = tree_of(out)
    for name, content in expected.items():
        if name not in found:
            return Finding(Verdict.LOST, f"{name} is missing")
        if found[name] != content:
            part = _is_part(found[name], content)
            return Finding(Verdict.HALF if part else Verdict.WRONG, f"{name} differs")
    if surplus := sorted(set(found) - set(expected)):
        return Finding(Verdict.HALF if ".tmp-" in surplus[0] else Verdict.WRONG, f"{', '.join(surplus[:3])}: left behind")
    recorded = {path.stem for path in (out / "logs" / "complete").glob("sub-*.json")}
    if missing := {name.split("/")[0] for name in expected if name.startswith("sub-") and "/" in name} - recorded:
        return Finding(Verdict.LOST, f"{', '.join(sorted(missing))}: not recorded complete")
    left = [path for folder in ("begun", "running") for path in (out / "logs" / folder).glob("*")]
    if left:
        return Finding(Verdict.WRONG, f"{left[0].relative_to(out)} is left behind")
    return _records(out)


def _is_part(content: bytes, whole: bytes) -> bool:
    return len(content) < len(whole) and whole.startswith(content)


def _of_prep(table: bytes) -> bytes:
    """The sessions table as prep writes it, before segment adds what it found: sessions and times."""
    return b"".join(b"\t".join(line.split(b"\t")[:2]) + b"\n" for line in table.splitlines())


def _is_error_page(name: str, content: bytes) -> bool:
    return "/" not in name and name.startswith("sub-") and b"Not done: " in content and content.rstrip().endswith(b"</html>")


def _records(out: Path) -> Finding:
    """Every record in its place can be read and holds."""
    for path in sorted((out / "logs" / "complete").glob("sub-*.json")):
        try:
            outputs = json.loads(path.read_bytes())["outputs"]
        except (ValueError, KeyError):
            return Finding(Verdict.HALF, f"logs/complete/{path.name} is broken")
        for name, digest in outputs.items():
            file = out / name
            if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != digest:
                return Finding(Verdict.WRONG, f"{path.stem} is recorded complete, but {name} is not as recorded")
    return OK
