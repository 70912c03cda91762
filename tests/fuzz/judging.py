"""What a run should have ended with, and whether it did. Runs nothing."""

from __future__ import annotations

import re
from pathlib import Path

import nibabel as nib
import numpy as np

from coactseg_cli.__main__ import EXIT_CODES
from tests.fuzz.cases import Case, Expect
from tests.fuzz.running import LIMIT_BYTES, Ran

DOCUMENTED = frozenset({0, 1, *(code for _, code in EXIT_CODES)})
_UNEXPECTED = re.compile(r"unexpected \w+(Error|Exception|Warning)?\b")


def failures(case: Case, ran: Ran) -> list[str]:
    """What is wrong with the end of a run; empty where nothing is."""
    said = f"{ran.stdout}\n{ran.stderr}"
    if ran.code is None:
        return [f"hang: killed after {ran.seconds:.0f} s"]
    if ran.code < 0:
        return [f"killed by signal {-ran.code}"]
    found = [f"memory: {ran.peak_bytes / 1e6:.0f} MB"] if ran.peak_bytes > LIMIT_BYTES else []
    if "Traceback (most recent call last)" in said:
        found.append(f"traceback: {_last_line(ran.stderr)}")
    elif match := _UNEXPECTED.search(said):
        found.append(f"undocumented: {said[match.start() : match.start() + 200]}")
    if ran.code not in DOCUMENTED:
        found.append(f"exit code {ran.code}")
    found += _half_written(case.out, case.spoilt)
    if found:
        return found
    return _right(case, ran) if ran.code == 0 else _refusal(case, ran, said)


def _refusal(case: Case, ran: Ran, said: str) -> list[str]:
    if case.expect is Expect.RIGHT:
        return [f"refused with exit code {ran.code}: {_last_line(ran.stderr) or _last_line(ran.stdout)}"]
    if not any(name in said for name in case.names):
        return [f"the message names none of {', '.join(case.names)}: {_last_line(ran.stderr)}"]
    return []


def _right(case: Case, ran: Ran) -> list[str]:
    if case.expect is Expect.REFUSED:
        return ["taken for sound"]
    problem = "" if case.check is None else case.check(ran.stdout)
    return [problem] if problem else []


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "nothing was said"


def _half_written(out: Path, spoilt: Path | None) -> list[str]:
    """Temporary files, and images that cannot be read or are not finite: OUT holds whole files or none."""
    if not out.is_dir():
        return []
    left = [f"left behind: {path.name}" for path in out.rglob(".tmp-*")]
    problems = [(path.name, _image_problem(path)) for path in sorted(out.rglob("*.nii.gz")) if path != spoilt]
    return [*left, *(f"{name}: {problem}" for name, problem in problems if problem)][:3]


def _image_problem(path: Path) -> str:
    try:
        data = np.asanyarray(nib.load(path).dataobj)
    except Exception as error:  # any reason is a finding
        return f"cannot be read ({type(error).__name__}: {error})"
    if data.dtype.kind == "f" and not np.isfinite(data).all():
        return "not finite"
    if "probseg" in path.name and (data.min() < 0 or data.max() > 1):
        return f"no probability: {data.min():g} to {data.max():g}"
    return ""
