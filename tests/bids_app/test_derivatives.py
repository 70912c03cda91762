"""Where products go, how they name their sources, and that the whole is valid BIDS."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bids_app.derivatives import Derivatives, start, unresolved_sources, write_json, write_participants, write_text
from bids_app.entities import Entities, parse
from bids_app.errors import CannotCreate

from .conftest import make_raw, write_subject

VALIDATOR = shutil.which("bids-validator-deno") or str(Path(sys.executable).with_name("bids-validator-deno"))


def validate(root: Path, schema: str = "bidsschematools") -> list[str]:
    """Every issue that the BIDS validator finds, as 'severity code location'."""
    package = Path(pytest.importorskip("bidsschematools").__file__).parent
    if not Path(VALIDATOR).exists():
        pytest.skip("bids-validator-deno is not installed (extra 'validate')")
    chosen = {"BIDS_SCHEMA": (package / "data/schema.json").as_uri()} if schema == "bidsschematools" else {}
    done = subprocess.run(
        [VALIDATOR, "--format", "json", str(root)],
        env={**os.environ, **chosen, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.stdout.startswith("{"), done.stderr
    issues = json.loads(done.stdout)["issues"]["issues"]
    return [f"{i['severity']} {i['code']} {i.get('subCode', '')} {i.get('location', '')} {i.get('issueMessage', '')}" for i in issues]


@pytest.mark.parametrize("schema", ["bidsschematools", "built-in"])
def test_output_passes_the_validator(output, schema):
    assert validate(output.root, schema) == []


def test_the_validator_can_fail(output):
    sidecar = next(output.root.rglob("*space-orig_desc-preproc_FLAIR.json"))
    content = json.loads(sidecar.read_text())
    del content["SkullStripped"]
    write_json(sidecar, content)
    assert any("SkullStripped" in issue for issue in validate(output.root))


def test_every_source_resolves(output):
    assert unresolved_sources(output.root) == []
    next(output.root.rglob("sub-02_space-orig_desc-preproc_FLAIR.nii.gz")).unlink()
    mask, image = "sub-02/anat/sub-02_space-orig_desc-brain_mask.json", "bids::sub-02/anat/sub-02_space-orig_desc-preproc_FLAIR.nii.gz"
    assert unresolved_sources(output.root) == [f"{mask}: {image}"]


def test_pybids_gives_each_file_its_own_metadata(output):
    from bids import BIDSLayout

    layout = BIDSLayout(output.root, validate=False, is_derivative=True)
    images = [Path(f.path) for f in layout.get(extension=".nii.gz")]
    assert len(images) == len(list(output.root.rglob("*.nii.gz"))) > 40
    for image in images:
        assert layout.get_metadata(str(image)) == json.loads(Path(str(image).replace(".nii.gz", ".json")).read_text()), image


def test_description(output):
    content = json.loads((output.root / "dataset_description.json").read_text())
    assert content["GeneratedBy"][0]["Name"] == "coactseg"
    assert content["GeneratedBy"][0]["Version"] == "0.1.0"
    assert content["License"] == "CC0"
    assert content["DatasetType"] == "derivative"
    assert content["DatasetLinks"] == {"raw": output.raw.absolute().as_uri()}
    assert (output.root / ".bidsignore").read_text() == "*.html\nfigures\n*_xfm.*\ngroup_*\n*_timeline.*\n*_flags.*\n*_table.*\n"
    assert "Research use only" in (output.root / "README.md").read_text()


@pytest.mark.parametrize(
    ("name", "key", "kind"), [("COACTSEG_DOCKER_TAG", "Tag", "docker"), ("COACTSEG_APPTAINER_URI", "URI", "apptainer")]
)
def test_container(tmp_path, monkeypatch, name, key, kind):
    monkeypatch.setenv(name, "docker://coactseg:1")
    start(tmp_path / "out", None, version="1", readme="x")
    generated = json.loads((tmp_path / "out/dataset_description.json").read_text())["GeneratedBy"][0]
    assert generated["Container"] == {"Type": kind, key: "docker://coactseg:1"}


def test_paths(tmp_path):
    out = Derivatives(tmp_path)
    flair = parse("sub-01_ses-02_acq-3D_FLAIR.nii")
    name = "sub-01_ses-02_acq-3D_space-orig_desc-preproc_FLAIR.nii.gz"
    assert out.path(flair.with_(space="orig", desc="preproc", extension=".nii.gz")) == tmp_path / "sub-01/ses-02/anat" / name
    assert out.path(parse("sub-02_FLAIR.nii.gz")) == tmp_path / "sub-02/anat/sub-02_FLAIR.nii.gz"
    xfm = "sub-01_ses-02_acq-3D_from-orig_to-individual_mode-image_xfm.txt"
    assert out.xfm_path(flair, "orig", "individual") == tmp_path / "sub-01/ses-02/anat" / xfm
    assert out.subject_path("01", "sub-01_sessions.tsv") == tmp_path / "sub-01/sub-01_sessions.tsv"
    with pytest.raises(ValueError, match="subject"):
        out.path(Entities(suffix="mask"))


def test_uris(tmp_path):
    raw, labels = tmp_path / "raw", tmp_path / "raw/derivatives/labels"
    out = Derivatives(tmp_path / "raw/derivatives/coactseg", raw, {"labels": labels})
    assert out.uri(raw / "sub-01/anat/a.nii") == "bids:raw:sub-01/anat/a.nii"
    assert out.uri(labels / "sub-01/anat/a.nii") == "bids:labels:sub-01/anat/a.nii"
    assert out.uri(out.root / "sub-01/anat/a.nii") == "bids::sub-01/anat/a.nii"
    assert out.uri(out.root / "../coactseg/sub-01/a.nii") == "bids::sub-01/a.nii"
    with pytest.raises(ValueError, match="no BIDS URI"):
        out.uri(tmp_path / "elsewhere.nii")


def test_names_beyond_ascii_resolve(tmp_path):
    raw = make_raw(tmp_path / "Daten für Ä" / "raw", ["sub-01_FLAIR.nii.gz"])
    out = start(tmp_path / "aus gabe", raw, version="1", readme="x")
    write_subject(out, [raw / "sub-01/anat/sub-01_FLAIR.nii.gz"])
    assert unresolved_sources(out.root) == []


def test_links_inside_one_data_set_are_relative(raw):
    out = start(raw / "derivatives/coactseg", raw, version="1", readme="x", links={"labels": raw.parent / "labels"})
    content = json.loads((out.root / "dataset_description.json").read_text())
    assert content["DatasetLinks"] == {"labels": (raw.parent / "labels").as_uri(), "raw": "../.."}


def test_start_again_changes_nothing_and_keeps_links(tmp_path, raw):
    first = start(tmp_path / "out", raw, version="1", readme="x", links={"labels": tmp_path / "labels"})
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in first.root.iterdir()}
    start(tmp_path / "out", raw, version="1", readme="x")
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in first.root.iterdir()} == before


def test_output_must_not_mix_with_other_data(tmp_path, raw):
    for root in (raw, raw / "sub-01", raw / "out"):
        with pytest.raises(CannotCreate, match="mix with the raw data set"):
            start(root, raw, version="1", readme="x")
    with pytest.raises(CannotCreate, match="another data set"):
        start(make_raw(tmp_path / "other", []), raw, version="1", readme="x")
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotCreate, match="cannot be made"):
        start(tmp_path / "file/out", raw, version="1", readme="x")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/dataset_description.json").write_text("{")
    with pytest.raises(CannotCreate, match="broken JSON"):
        start(tmp_path / "broken", raw, version="1", readme="x")


def test_participants_keep_what_the_raw_table_says(tmp_path, raw):
    write_text(raw / "participants.tsv", "participant_id\tage\nsub-01\t31\nsub-09\t50\n")
    write_text(raw / "participants.json", '{"age": {"Description": "Age.", "Units": "year"}}')
    out = start(tmp_path / "out", raw, version="1", readme="x")
    write_participants(out, ("01", "02"))
    assert (out.root / "participants.tsv").read_text() == "participant_id\tage\nsub-01\t31\nsub-02\tn/a\n"
    assert json.loads((out.root / "participants.json").read_text())["age"] == {"Description": "Age.", "Format": "number", "Units": "year"}


def test_no_half_written_file(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": "ä"})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "b": 1,\n  "a": "ä"\n}\n'
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    with pytest.raises(CannotCreate):
        write_text(tmp_path / "a.json/b.json", "x")
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(CannotCreate, match=r"folder\.txt"):
        write_text(tmp_path / "folder.txt", "x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "folder.txt"]
