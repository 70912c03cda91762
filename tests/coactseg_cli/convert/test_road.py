"""What the converters write is valid BIDS, and prep and train take it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from coactseg_cli.__main__ import main as coactseg
from coactseg_cli.convert.__main__ import main
from tests.coactseg_cli.convert.conftest import head, write

TINY = ["--preset", "paper", "--iterations", "2", "--base-filters", "2", "--patch-size", "16", "--pairs-per-batch", "2"]
VALIDATOR = shutil.which("bids-validator-deno", path=str(Path(sys.executable).parent)) or shutil.which("bids-validator-deno")


def _errors(root: Path) -> list[dict[str, object]]:
    import bidsschematools

    schema = (Path(bidsschematools.__file__).parent / "data" / "schema.json").as_uri()
    env = {**os.environ, "BIDS_SCHEMA": schema}
    done = subprocess.run([str(VALIDATOR), str(root), "--json"], capture_output=True, text=True, env=env, check=False)
    issues = json.loads(done.stdout)["issues"]["issues"]
    unknown = {"SIDECAR_KEY_RECOMMENDED", "JSON_KEY_RECOMMENDED"}  # what the sources do not say, such as the scanner
    return [issue for issue in issues if issue["code"] not in unknown]


@pytest.mark.skipif(VALIDATOR is None, reason="bids-validator-deno is not installed")
@pytest.mark.parametrize("layout", ["msseg2", "h5"])
def test_the_validator_finds_nothing_but_unknown_scanners(request, tmp_path, layout):
    src = request.getfixturevalue({"msseg2": "msseg2", "h5": "h5_files"}[layout])
    if layout == "msseg2":
        write(src / "training/013/brain_mask.nii.gz", (head(0) > 0).astype("uint8"))
    out = tmp_path / "bids"
    assert main([layout, str(src), str(out)]) == 0
    roots = [out, *sorted((out / "derivatives").iterdir())]
    assert [root.name for root in roots if root.name in {"labels", "masks"}] == ["labels", "masks"]
    assert {str(root): _errors(root) for root in roots} == {str(root): [] for root in roots}


def test_prep_and_train_take_the_pairs_of_one_expert(msseg2, tmp_path):
    bids, prepared, model = (tmp_path / name for name in ("bids", "prepared", "model"))
    assert main(["msseg2", str(msseg2), str(bids)]) == 0
    labels = ["-d", f"labels={bids}/derivatives/labels-expert2"]
    how = ["--preregistered", "--spacing", "3", "--skull-strip", "none", "--no-n4"]
    assert coactseg(["prep", str(bids), str(prepared), "participant", *labels, *how]) == 0
    assert len(list(prepared.rglob("*_label-L_desc-new_mask.nii.gz"))) == 3
    assert coactseg(["train", str(prepared), str(model), *TINY, "--singles-per-batch", "0"]) == 0
    assert (model / "model.safetensors").exists()


def test_prep_and_train_take_pairs_and_single_scans_of_the_h5_files(h5_files, tmp_path):
    bids, prepared, model = (tmp_path / name for name in ("bids", "prepared", "model"))
    assert main(["h5", str(h5_files), str(bids), "--pair-spacing", "2.5,3,3", "--single-spacing", "3.2,3.2,3.2"]) == 0
    given = ["-d", f"labels={bids}/derivatives/labels", f"masks={bids}/derivatives/masks"]
    how = ["--preregistered", "--spacing", "2.5,3,3", "--no-n4"]
    assert coactseg(["prep", str(bids), str(prepared), "participant", *given, *how]) == 0
    assert coactseg(["train", str(prepared), str(model), *TINY, "--singles-per-batch", "2"]) == 0
    assert (model / "model.safetensors").exists()


def test_it_runs_as_a_module_and_loads_nothing_heavy(msseg2, tmp_path, project_root):
    code = """
import runpy, sys
sys.argv = ["convert", *sys.argv[1:]]
try:
    runpy.run_module("coactseg_cli.convert", run_name="__main__")
except SystemExit as end:
    print(end.code, [m for m in ("torch", "ants", "SimpleITK", "typer", "bids") if m in sys.modules])
"""
    command = [sys.executable, "-c", code, "msseg2", str(msseg2), str(tmp_path / "bids")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=project_root)
    assert done.stdout.splitlines()[-1] == "0 []"
    assert "3 participant(s)" in done.stdout
