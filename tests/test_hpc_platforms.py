"""What platforms read: the Boutiques descriptor, the bill of materials, the BABS configuration."""

from __future__ import annotations

import importlib.util
import json
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from coactseg_cli.__main__ import main
from coactseg_cli.argv import expand
from coactseg_cli.cli import bids_exec_spec, command, forms

HPC = Path(__file__).resolve().parents[1] / "hpc"
DESCRIPTOR = HPC / "boutiques/coactseg.json"
INVOCATION = HPC / "boutiques/invocation.json"


def _load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- Boutiques


@pytest.fixture(scope="module")
def descriptor() -> dict:
    return json.loads(DESCRIPTOR.read_text())


def test_the_committed_descriptor_is_that_of_the_options():
    assert DESCRIPTOR.read_text() == bids_exec_spec(), "run make boutiques, and commit hpc/boutiques/coactseg.json"


def test_bids_exec_spec_prints_it(capsys):
    assert main(["--bids-exec-spec"]) == 0
    assert capsys.readouterr().out == DESCRIPTOR.read_text()


def test_every_option_of_segment_is_an_input_but_those_of_the_cluster(descriptor):
    program = command().commands["segment"]
    known = {name for entry in descriptor["inputs"] for name in [entry.get("command-line-flag")] if name}
    missing = [p.name for p in program.params if p.param_type_name == "option" and not known & {*p.opts, *p.secondary_opts}]
    assert sorted(missing) == ["executor", "slurm", "slurm_array_parallelism", "wait"]


def test_the_identifiers_are_those_of_the_draft_execution_specification(descriptor):
    found = {entry["id"]: entry for entry in descriptor["inputs"]}
    assert {"InputDataset", "OutputLocation", "AnalysisLevel", "SubjectLabel", "SessionLabel", "Help", "ToolVersion"} <= set(found)
    assert [name for name, entry in found.items() if not entry["optional"]] == ["InputDataset", "OutputLocation", "AnalysisLevel"]
    assert found["AnalysisLevel"]["value-choices"] == ["participant", "group"]
    assert descriptor["custom"] == {"BIDSApplicationVersion": "1.0"}
    assert {entry["code"] for entry in descriptor["error-codes"]} == {1, 2, 16, 17, 18, 66, 73, 74, 75, 130}


def test_no_key_is_a_part_of_another_and_each_stands_once_in_the_command_line(descriptor):
    keys = [entry["value-key"] for entry in descriptor["inputs"]]
    ids = [entry["id"] for entry in descriptor["inputs"]] + [entry["id"] for entry in descriptor["output-files"]]
    assert len(set(ids)) == len(ids)
    assert descriptor["command-line"].split() == ["coactseg", "segment", *keys]
    assert not [(a, b) for a in keys for b in keys if a != b and a in b]


def _rendered(descriptor: dict, invocation: dict) -> list[str]:
    """The command line of an invocation, as Boutiques substitutes it."""
    line = descriptor["command-line"]
    for entry in descriptor["inputs"]:
        value = invocation.get(entry["id"])
        words: list[str] = []
        if value is not None and value is not False:
            values = [] if value is True else [str(v) for v in (value if isinstance(value, list) else [value])]
            words = [*([entry["command-line-flag"]] if "command-line-flag" in entry else []), *map(shlex.quote, values)]
        line = line.replace(entry["value-key"], " ".join(words))
    return shlex.split(line)


def _parsed(words: list[str]) -> dict:
    program = command()
    name, *rest = expand(words[1:], forms(program))
    with program.commands[name].make_context(name, rest) as context:
        return dict(context.params)


def test_a_command_line_made_from_the_descriptor_is_understood(descriptor):
    params = _parsed(_rendered(descriptor, json.loads(INVOCATION.read_text())))
    assert params["bids_dir"] == Path("/data/my study/bids")
    assert params["level"] == "participant"
    assert list(params["participant_label"]) == ["01", "02"]
    assert list(params["derivatives"]) == ["labels=/data/labels"]
    assert (params["n4"], params["threshold_new"], params["nprocs"], params["verbose"]) == (False, 0.4, 4, 1)
    assert params["pairs"].value == "all"


def test_every_input_can_be_given_by_itself(descriptor):
    base = {"InputDataset": "/bids", "OutputLocation": "/out", "AnalysisLevel": "participant"}
    stops = {"Help", "ToolVersion", "config_file"}
    for entry in descriptor["inputs"]:
        if entry["id"] in {*base, *stops}:
            continue
        value = (
            True
            if entry["type"] == "Flag"
            else entry.get("value-choices", [max(entry.get("minimum", 0), 1) if entry["type"] == "Number" else "x"])[0]
        )
        assert _parsed(_rendered(descriptor, {**base, entry["id"]: [value] if entry.get("list") else value}))["level"] == "participant"


def test_version_may_stand_anywhere(capsys):
    assert main(["/bids", "/out", "participant", "--version"]) == 0
    assert capsys.readouterr().out.startswith("coactseg ")


def test_boutiques_own_validator_has_nothing_to_say(tmp_path):
    bosh = pytest.importorskip("boutiques").bosh
    bosh(["validate", str(DESCRIPTOR)])
    bosh(["invocation", "-i", str(INVOCATION), str(DESCRIPTOR)])


# --- bill of materials


def test_the_bill_lists_what_is_needed_here_with_version_licence_and_needs(tmp_path):
    done = subprocess.run([sys.executable, HPC / "sbom.py", tmp_path / "bom.json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    bom = json.loads((tmp_path / "bom.json").read_text())
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.6")
    components = {component["name"]: component for component in bom["components"]}
    assert {"torch", "numpy", "antspyx", "nibabel"} <= set(components)
    assert not {"pytest", "ruff", "submitit"} & set(components)  # extras
    import numpy as np

    assert components["numpy"]["version"] == np.__version__
    assert components["numpy"]["purl"] == f"pkg:pypi/numpy@{np.__version__}"
    assert sum("licenses" in component for component in components.values()) > 0.9 * len(components)
    refs = {entry["ref"] for entry in bom["dependencies"]}
    assert all(set(entry["dependsOn"]) <= refs for entry in bom["dependencies"])
    assert bom["metadata"]["component"]["name"] == "coactseg-cli"


def test_the_bill_fits_the_schema_of_cyclonedx():
    validation = pytest.importorskip("cyclonedx.validation.json")
    from cyclonedx.schema import SchemaVersion

    content = _load(HPC / "sbom.py").sbom("coactseg-cli", datetime(2024, 2, 3, tzinfo=UTC), UUID(int=5))
    assert content["metadata"]["timestamp"] == "2024-02-03T00:00:00Z"
    assert validation.JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(content)) is None


# --- BABS

# Sections and keys of BABS' documentation, "Prepare a configuration YAML file for the BIDS App", and of its examples.
SECTIONS = {
    "input_datasets",
    "bids_app_args",
    "singularity_args",
    "all_results_in_one_zip",
    "zip_foldernames",
    "cluster_resources",
    "script_preamble",
    "job_compute_space",
    "alert_log_messages",
}
RESOURCES = {
    "interpreting_shell",
    "hard_memory_limit",
    "soft_memory_limit",
    "temporary_disk_space",
    "number_of_cpus",
    "hard_runtime_limit",
    "customized_text",
}


def test_the_babs_configuration_has_documented_keys_and_options_that_exist():
    config = pytest.importorskip("yaml").safe_load((HPC / "babs/coactseg.yaml").read_text())
    assert set(config) == SECTIONS
    assert set(config["cluster_resources"]) <= RESOURCES
    assert set(config["input_datasets"]["BIDS"]) == {"required_files", "is_zipped", "origin_url", "path_in_babs"}
    arguments = config["bids_app_args"]
    assert arguments.pop("$SUBJECT_SELECTION_FLAG") == "--participant-label"
    words = [word for name, value in arguments.items() for word in ([name, value] if value else [name])]
    params = _parsed(["coactseg", "/bids", "/out", "participant", *words, "--participant-label", "01"])
    assert str(params["work_dir"]) == "$BABS_TMPDIR"
    assert params["nprocs"] == int(config["cluster_resources"]["number_of_cpus"])


def test_versions_in_examples_are_this_version():
    from coactseg_cli import __version__

    config = (HPC / "babs/coactseg.yaml").read_text()
    assert f'coactseg: "{__version__.replace(".", "-")}"' in config
