"""Output folders of segment without its network: the tables, sidecars, records and logs that `group` reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

MODEL = {"Name": "tiny", "SHA256": "ab" * 32, "Version": "1"}
TODAY = ("session_id", "acq_time", "all_lesions", "all_volume_mm3", "baseline_session_id", "new_lesions", "new_volume_mm3")
RESEARCH = "Research use only; model trained on 1 pair."


def write(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def table(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    names = list(rows[0])
    return write(path, "\n".join(["\t".join(names), *("\t".join(str(row[name]) for name in names) for row in rows)]) + "\n")


def out_folder(root: Path, raw: Path | None = None) -> Path:
    """An output folder without participants; raw: its raw data set."""
    links = {} if raw is None else {"DatasetLinks": {"raw": raw.as_uri()}}
    write(root / "dataset_description.json", json.dumps({"Name": "CoactSeg", "BIDSVersion": "1.11.1", **links}))
    return root


def raw_folder(root: Path, *subjects: str) -> Path:
    for subject in subjects:
        (root / f"sub-{subject}" / "anat").mkdir(parents=True)
    return root


def dseg(out: Path, subject: str, session: str | None, desc: str, volumes: Sequence[float], **facts: object) -> None:
    """A table of lesions and its sidecar."""
    stem = f"sub-{subject}" + (f"_ses-{session}" if session else "") + f"_space-orig_desc-{desc}_dseg"
    anat = out / f"sub-{subject}" / (f"ses-{session}" if session else "") / "anat"
    lines = [f"{i}\t{desc}-{i}\t{volume:g}" for i, volume in enumerate(volumes, start=1)]
    write(anat / f"{stem}.tsv", "\n".join(["index\tname\tvolume_mm3", *lines]) + "\n")
    about = {"Threshold": 0.5, "Model": MODEL, "CoactSegVersion": "0.1.0", "MinLesionVolume": 3.0, "Precision": "bfloat16"}
    write(anat / f"{stem}.json", json.dumps({**about, "IntendedUse": RESEARCH, **facts}))


def brain(out: Path, subject: str, session: str | None, method: str = "builtin", **facts: object) -> None:
    """Sidecars of the brain mask and of the prepared scan."""
    stem = f"sub-{subject}" + (f"_ses-{session}" if session else "")
    anat = out / f"sub-{subject}" / (f"ses-{session}" if session else "") / "anat"
    write(anat / f"{stem}_space-orig_desc-brain_mask.json", json.dumps({"BrainExtraction": method}))
    content = {"BrainExtraction": method, "Normalization": "zscore", "Flags": [], **facts}
    write(anat / f"{stem}_space-individual_desc-preproc_FLAIR.json", json.dumps(content))


def done(out: Path, subject: str) -> None:
    """The record of a finished run, and the page."""
    content = {"subject": subject, "inputs": "x", "choices": {}, "outputs": [], "summary": "", "report": "", "run": "", "finished": ""}
    write(out / "logs" / "complete" / f"sub-{subject}.json", json.dumps(content))
    write(out / f"sub-{subject}.html", "<!doctype html><title>x</title>")


def two_visits(out: Path, subject: str, volumes: tuple[float, float] = (1000.0, 1250.0), new: Sequence[float] = (30.5, 20.0)) -> None:
    """A participant as version 0.1.0 writes it: visits half a year apart, brain masks of 1 200 000 and 1 212 000 mm3."""
    rows: list[dict[str, object]] = [
        {"session_id": "ses-01", "acq_time": "2020-01-01T10:00:00", "all_lesions": 4, "all_volume_mm3": f"{volumes[0]:g}"},
        {"session_id": "ses-02", "acq_time": "2020-07-01T10:00:00", "all_lesions": 5, "all_volume_mm3": f"{volumes[1]:g}"},
    ]
    rows[0] |= {"baseline_session_id": "n/a", "new_lesions": "n/a", "new_volume_mm3": "n/a", "brain_mask_volume_mm3": 1_200_000}
    rows[1] |= {
        "baseline_session_id": "ses-01",
        "new_lesions": len(new),
        "new_volume_mm3": f"{sum(new):g}",
        "brain_mask_volume_mm3": 1_212_000,
    }
    table(out / f"sub-{subject}" / f"sub-{subject}_sessions.tsv", rows)
    for session in ("01", "02"):
        dseg(out, subject, session, "all", [100.0] * 4)
        brain(out, subject, session)
    dseg(out, subject, "02", "new", new, Threshold=0.4, BaselineSession="01", FollowUpSession="02")
    done(out, subject)
