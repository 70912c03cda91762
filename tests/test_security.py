"""What is hostile and must stay harmless, over the whole program: labels, links in OUT, patient data, code in files."""

from __future__ import annotations

import ast
import gc
import gzip
import json
import os
import shutil
import stat
import tempfile
from pathlib import Path

import nibabel as nib
import pytest

from bids_app.errors import CannotCreate
from bids_app.files import require_tree_inside
from coactseg_cli.__main__ import main
from coactseg_cli.logs import RunLog, to_stderr
from coactseg_cli.participant import message_of
from coactseg_cli.workers import temporary_files

PACKAGES = ("bids_app", "coactseg_cli")


# ---- what the sources may not do


PICKLES = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "yaml"}
BANNED = {"eval", "exec", "os.system", "os.popen", "pickle.load", "pickle.loads", "yaml.load", "marshal.loads", "torch.jit.load"}


@pytest.fixture(scope="module")
def nodes(project_root: Path) -> list[ast.AST]:
    """Everything in the sources of the installed packages."""
    paths = [path for package in PACKAGES for path in sorted((project_root / package).rglob("*.py"))]
    gc.disable()  # CPython 3.11 loses count of its depth where the collector runs code while it parses
    try:
        return [node for path in paths for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path)))]
    finally:
        gc.enable()


def test_no_call_runs_code_from_data_or_starts_a_shell(nodes):
    for call in (node for node in nodes if isinstance(node, ast.Call)):
        name, options = ast.unparse(call.func), {keyword.arg: keyword.value for keyword in call.keywords}
        assert name not in BANNED, ast.unparse(call)
        assert "shell" not in options, ast.unparse(call)
        if name == "torch.load":
            assert ast.unparse(options["weights_only"]) == "True", ast.unparse(call)
        if name == "np.load":
            assert ast.unparse(options["allow_pickle"]) == "False", ast.unparse(call)


def test_no_module_imports_pickle(nodes):
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    assert not PICKLES & {name.split(".")[0] for name in names}


# ---- labels


HOSTILE_LABELS = ["../../x", "..", "sub-../x", "/etc", "01/../../x", "01\n02", "01\x00", "$(touch x)", "`id`", "a b", "*", "01;ls", "é"]


@pytest.mark.parametrize("label", HOSTILE_LABELS)
@pytest.mark.parametrize("option", ["--participant-label", "--session-label"])
def test_a_label_that_is_none_is_refused_and_nothing_is_written(label, option, tmp_path, capsys):
    raw = tmp_path / "raw"
    (raw / "sub-01" / "anat").mkdir(parents=True)
    (raw / "sub-01" / "anat" / "sub-01_FLAIR.nii.gz").touch()
    (raw / "dataset_description.json").write_text(json.dumps({"Name": "x", "BIDSVersion": "1.8.0"}))
    before = sorted(tmp_path.rglob("*"))
    assert main([str(raw), str(tmp_path / "out"), "participant", f"{option}={label}", "--nprocs", "1"]) in {2, 18}
    assert sorted(tmp_path.rglob("*")) == before
    assert option in capsys.readouterr().err


def test_a_label_from_a_config_file_is_no_better(tmp_path, capsys):
    (tmp_path / "a.toml").write_text('participant-label = ["../../x"]\n')
    (tmp_path / "raw").mkdir()
    assert main([str(tmp_path / "raw"), str(tmp_path / "out"), "participant", "--config-file", str(tmp_path / "a.toml")]) == 2
    assert "--participant-label must be a BIDS label" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../x", "a/b", "a:b", "..", "", "a\nb"])
def test_a_name_of_a_derivative_is_no_path(name, tmp_path, capsys):
    (tmp_path / "raw").mkdir()
    assert main([str(tmp_path / "raw"), str(tmp_path / "out"), "participant", "-d", f"{name}={tmp_path}"]) == 2
    assert "--derivatives takes NAME=PATH" in capsys.readouterr().err


def test_folders_with_hostile_names_are_no_participants(tmp_path, capsys):
    raw = tmp_path / "raw"
    for name in ("sub-01", "sub-$(touch pwned)", "sub-a b", "sub-'x'", "sub-..", "sub-<script>"):
        (raw / name / "anat").mkdir(parents=True)
        (raw / name / "anat" / f"{name}_FLAIR.nii.gz").touch()
    (raw / "dataset_description.json").write_text(json.dumps({"Name": "x", "BIDSVersion": "1.8.0"}))
    assert main([str(raw), str(tmp_path / "out"), "participant", "--dry-run", "--json"]) == 0
    assert [entry["participant"] for entry in json.loads(capsys.readouterr().out)["participants"]] == ["sub-01"]


# ---- links in OUT


def test_a_link_that_leaves_the_output_is_refused(tmp_path):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    (out / "sub-01" / "ses-1").mkdir(parents=True)
    (out / "sub-02").mkdir()
    elsewhere.mkdir()
    (out / "sub-01" / "ses-1" / "anat").symlink_to(elsewhere)
    (out / "sub-03").symlink_to("../elsewhere")
    (out / "sub-04").symlink_to("sub-02")  # stays inside
    for name in ("sub-01", "sub-03"):
        with pytest.raises(CannotCreate, match="outside of the output"):
            require_tree_inside(out / name, out)
    for name in ("sub-02", "sub-04", "sub-05"):
        require_tree_inside(out / name, out)
    (tmp_path / "link").symlink_to(out)  # OUT itself may be a link
    require_tree_inside(tmp_path / "link" / "sub-02", tmp_path / "link")


def test_nothing_is_written_through_a_link_in_the_output(tiny_bids, tmp_path):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    out.mkdir()
    (elsewhere / ".tmp-mine").touch()  # looks like what a killed run leaves
    (out / "sub-03").symlink_to(elsewhere)
    words = ["--participant-label", "03", "--spacing", "4", "--no-n4", "--nprocs", "1"]
    assert main(["prep", str(tiny_bids), str(out), "participant", *words]) == 1
    assert [path.name for path in elsewhere.iterdir()] == [".tmp-mine"]
    assert "outside of the output" in (out / "sub-03.html").read_text()
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "logs").symlink_to(elsewhere)
    assert main(["prep", str(tiny_bids), str(tmp_path / "second"), "participant", *words]) == 73
    assert [path.name for path in elsewhere.iterdir()] == [".tmp-mine"]


# ---- patient data


SECRETS = {
    "PatientName": "DOE^JANE",
    "PatientID": "MRN0815",
    "PatientBirthDate": "19700101",
    "InstitutionName": "Saint Elsewhere",
    "Note": "x9y8z7",
}


def with_patient_data(raw: Path) -> None:
    """Put names into every place of sub-03's scan that can hold them: header, extension, sidecar."""
    path = raw / "sub-03" / "anat" / "sub-03_FLAIR.nii.gz"
    image = nib.load(path)
    changed = nib.Nifti1Image(image.get_fdata(), image.affine)
    changed.header["descrip"] = SECRETS["PatientName"].encode()
    changed.header["aux_file"] = SECRETS["PatientID"].encode()
    changed.header["intent_name"] = SECRETS["Note"].encode()
    changed.header.extensions.append(nib.nifti1.Nifti1Extension("comment", SECRETS["InstitutionName"].encode()))
    nib.save(changed, path)
    path.with_name("sub-03_FLAIR.json").write_text(json.dumps({**SECRETS, "MagneticFieldStrength": 3.0}))


def holding(folder: Path) -> list[str]:
    """Files below a folder, and what of a patient they hold."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            found += [f"{path.name}: {secret}" for secret in SECRETS.values() if secret.encode() in content]
    return found


@pytest.fixture
def raw(tiny_bids: Path, tmp_path: Path) -> Path:
    root = tmp_path / "raw"
    shutil.copytree(tiny_bids, root)
    with_patient_data(root)
    return root


def test_no_patient_data_reach_the_output_or_the_screen(raw, tmp_path, capfd):
    assert holding(raw / "sub-03")  # the probe finds them where they are
    words = ["--participant-label", "03", "--spacing", "4", "--no-n4", "--nprocs", "1", "-v"]
    assert main(["prep", str(raw), str(tmp_path / "out"), "participant", *words]) == 0
    assert holding(tmp_path / "out") == []
    said = "".join(capfd.readouterr())
    assert not [secret for secret in SECRETS.values() if secret in said]


@pytest.mark.parametrize("keep", [0.5, 400])
def test_no_patient_data_reach_the_page_and_the_crash_file_of_a_failure(raw, tmp_path, capfd, keep):
    path = raw / "sub-03" / "anat" / "sub-03_FLAIR.nii.gz"
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[: keep if keep > 1 else int(keep * len(content))]))
    words = ["--participant-label", "03", "--nprocs", "1", "-v"]
    assert main(["prep", str(raw), str(tmp_path / "out"), "participant", *words]) == 1
    assert list((tmp_path / "out" / "logs").rglob("crash-*.txt"))
    assert holding(tmp_path / "out") == []
    said = "".join(capfd.readouterr())
    assert not [secret for secret in SECRETS.values() if secret in said]


def test_temporary_files_are_the_users_alone(tmp_path):
    log = RunLog(tmp_path / "log")
    log.folder.mkdir()
    before = os.umask(0)
    try:
        with temporary_files(tmp_path / "work", log):
            folder = Path(tempfile.gettempdir())
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    finally:
        os.umask(before)
    assert not folder.exists()


# ---- training


def test_code_in_a_training_checkpoint_is_refused_and_not_run(tmp_path):
    import torch

    from coactseg_cli.errors import WrongWeights
    from coactseg_cli.training_state import _read

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch '{tmp_path / 'trace'}'",)

    torch.save({"config": "{}", "network": Evil()}, tmp_path / "checkpoint.pt")
    with pytest.raises(WrongWeights, match=r"checkpoint\.pt"):
        _read(tmp_path / "checkpoint.pt")
    assert not (tmp_path / "trace").exists()


# ---- the terminal


def test_text_from_data_does_not_steer_the_terminal(tmp_path, capsys):
    red = "\x1b[31mred\x07\x9b2J"
    log = RunLog(tmp_path)
    log.write(f"one {red}\ntwo", "01")
    to_stderr(f"three {red}")
    written = (tmp_path / "coactseg.log").read_text() + capsys.readouterr().err
    assert "one ?[31mred??2J" in written
    assert "three ?[31mred??2J" in written
    assert written.replace("\n", "").isprintable()
    assert message_of(CannotCreate(red)).isprintable()
    assert main(["segment", str(tmp_path / red), str(tmp_path / "out"), "participant"]) == 66
    assert capsys.readouterr().err.replace("\n", "").isprintable()
