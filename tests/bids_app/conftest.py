"""Small BIDS trees; images are a few voxels, only their names and sidecars matter here."""

from pathlib import Path

import numpy as np
import pytest

from bids_app.derivatives import Derivatives, start, write_participants
from bids_app.entities import Entities, parse
from bids_app.files import write_json, write_text
from bids_app.sidecars import dseg_sidecar, image_sidecar, mask_sidecar, probseg_sidecar, xfm_sidecar
from bids_app.tables import Column, write_table
from coactseg_cli.volumes import Volume, save

LESION_COLUMNS = {
    "index": Column("Number of the lesion in the image."),
    "name": Column("Name of the lesion."),
    "volume_mm3": Column("Volume.", "mm3"),
}
IDENTITY = "\n".join(
    (
        "#Insight Transform File V1.0",
        "#Transform 0",
        "Transform: Euler3DTransform_double_3_3",
        "Parameters: 0 0 0 0 0 0",
        "FixedParameters: 0 0 0 0",
        "",
    )
)


def put_image(path: Path, dtype=np.float32) -> Path:
    data = np.zeros((4, 5, 6))
    data[1:3, 2:4, 2:5] = 1
    save(Volume(data, np.diag([1.0, 1.5, 3.0, 1.0])), path, dtype)
    return path


def make_raw(root: Path, scans: dict[str, str] | list[str], **description) -> Path:
    """A raw data set; scans are file names, put where BIDS wants them."""
    write_json(root / "dataset_description.json", {"Name": "tiny", "BIDSVersion": "1.9.0", "License": "CC0", **description})
    for name in scans:
        put_image(Derivatives(root).path(parse(name)))
    return root


def write_visit(out: Derivatives, raw: Path, *, prep_only: bool = False) -> None:
    """Everything that belongs to one visit."""
    source = parse(raw.name).with_(extension=".nii.gz")
    reference = out.uri(out.root / f"sub-{source.subject}/anat/sub-{source.subject}_desc-reference_FLAIR.nii.gz")
    native = source.with_(space="orig", desc="preproc")
    spaces = {"orig": out.uri(raw), "individual": reference}
    for space, at in spaces.items():
        image = put_image(out.path(native.with_(space=space)))
        out.sidecar(
            image, image_sidecar(description="A FLAIR.", sources=[out.uri(raw)], skull_stripped=space != "orig", spatial_reference=at)
        )
        brain = put_image(out.path(native.with_(space=space, desc="brain", suffix="mask")), np.uint8)
        out.sidecar(
            brain, mask_sidecar(description="Brain.", type_="Brain", sources=[out.uri(image)], spatial_reference=at, BrainExtraction="x")
        )
    for from_, to in (("orig", "individual"), ("individual", "orig")):
        xfm = out.xfm_path(source, from_, to)
        write_text(xfm, IDENTITY)
        out.sidecar(xfm, xfm_sidecar(description="Rigid.", sources=[out.uri(raw)], from_=spaces[from_], to=spaces[to]))
    if not prep_only:
        write_lesions(out, source, "all", spaces)


def write_lesions(out: Derivatives, source: Entities, desc: str, spaces: dict[str, str], **extra) -> None:
    for space, at in spaces.items():
        lesions = source.with_(space=space, label="L", desc=desc)
        seen = [out.uri(out.path(source.with_(space="individual", desc="preproc")))]
        probability = put_image(out.path(lesions.with_(suffix="probseg")))
        out.sidecar(probability, probseg_sidecar(description="P.", sources=seen, spatial_reference=at, Model="m", **extra))
        mask = put_image(out.path(lesions.with_(suffix="mask")), np.uint8)
        made_of = [out.uri(probability)]
        out.sidecar(
            mask, mask_sidecar(description="M.", type_="Lesion", sources=made_of, spatial_reference=at, Model="m", Threshold=0.5, **extra)
        )
    if desc in {"all", "new"}:
        write_dseg(out, source.with_(space="orig", desc=desc), out.uri(mask), spaces["orig"])


def write_dseg(out: Derivatives, entities: Entities, made_of: str, at: str) -> None:
    image = put_image(out.path(entities.with_(suffix="dseg")), np.uint16)
    rows = [{"index": 1, "name": "lesion 1", "volume_mm3": 12.5}]
    write_table(out.path(entities.with_(suffix="dseg", extension=".tsv")), rows, LESION_COLUMNS, dictionary=False)
    out.sidecar(image, dseg_sidecar(description="Lesions.", sources=[made_of], spatial_reference=at, columns=LESION_COLUMNS))


def write_subject(out: Derivatives, scans: list[Path], *, prep_only: bool = False) -> None:
    """Everything of one participant, as prep and segment write it."""
    first = parse(scans[0].name)
    reference = put_image(out.root / f"sub-{first.subject}/anat/sub-{first.subject}_desc-reference_FLAIR.nii.gz")
    out.sidecar(reference, image_sidecar(description="Mean.", sources=[out.uri(scan) for scan in scans], skull_stripped=True))
    for scan in scans:
        write_visit(out, scan, prep_only=prep_only)
    if prep_only or len(scans) < 2:
        return
    spaces = {"orig": out.uri(scans[-1]), "individual": out.uri(reference)}
    for desc in ("new", "resolved"):
        write_lesions(out, parse(scans[-1].name).with_(extension=".nii.gz"), desc, spaces, BaselineSession="01", FollowUpSession="02")
    null = parse(scans[-1].name).with_(space="individual", label="L", desc="nullpair", suffix="probseg", extension=".nii.gz")
    out.sidecar(
        put_image(out.path(null)), probseg_sidecar(description="Null.", sources=[out.uri(scans[-1])], spatial_reference=out.uri(reference))
    )
    lesions = Entities(subject=first.subject, space="individual", desc="lesions", extension=".nii.gz")
    write_dseg(out, lesions, out.uri(reference), out.uri(reference))


def write_root(out: Derivatives, subjects: tuple[str, ...]) -> None:
    """Pages, logs and the tables of participants and cohort."""
    for subject in subjects:
        write_text(out.root / f"sub-{subject}.html", "<!doctype html><title>x</title>")
    write_participants(out, subjects)
    write_table(
        out.root / "group_lesions.tsv", [{"participant_id": "sub-01", "n": 1}], {"participant_id": Column("Who."), "n": Column("Count.")}
    )
    write_text(out.root / "group_lesions.html", "<!doctype html><title>x</title>")
    for name in ("CITATION.md", "20200101-000000_x/coactseg.toml", "20200101-000000_x/coactseg.log"):
        write_text(out.root / "logs" / name, "x\n")


@pytest.fixture
def raw(tmp_path):
    """Two visits; one visit without, one with a session label."""
    names = ["sub-01_ses-01_acq-3D_FLAIR.nii.gz", "sub-01_ses-02_FLAIR.nii", "sub-02_FLAIR.nii.gz", "sub-03_ses-02_run-1_FLAIR.nii.gz"]
    root = make_raw(tmp_path / "raw", names)
    write_text(root / "participants.tsv", "participant_id\tage\tsex\tms_type\nsub-01\t31\tF\tRR\nsub-02\tn/a\tM\tn/a\n")
    write_text(root / "participants.json", '{"age": {"Description": "Age.", "Units": "year"}}')
    return root


@pytest.fixture
def output(tmp_path, raw):
    """A complete output tree of segment."""
    out = start(tmp_path / "out", raw, version="0.1.0", readme="# CoactSeg\n\nResearch use only.\n" + "What the files are. " * 10)
    for subject in ("01", "02", "03"):
        write_subject(out, sorted(raw.glob(f"sub-{subject}/**/*.nii*")))
        rows = [{"session_id": f"ses-{s}", "acq_time": "2020-01-01T00:00:00", "lesion_count": 1} for s in ("01", "02")]
        if subject == "01":
            columns = {"session_id": Column("Visit."), "acq_time": Column("When."), "lesion_count": Column("Lesions.")}
            write_table(out.subject_path("01", "sub-01_sessions.tsv"), rows, columns)
    write_root(out, ("01", "02", "03"))
    return out
