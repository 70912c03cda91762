"""Promises about the project as a whole: what start-up loads, how fast it is, and that its files agree with each other."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

HEAVY = ("torch", "ants", "SimpleITK", "monai", "nnunetv2", "HD_BET", "matplotlib", "scipy", "bids")
HELP = "import sys; sys.argv = ['coactseg', '--help']\nfrom coactseg_cli.__main__ import main\nmain()"
REPORT = f"\nimport sys; print('LOADED', *[m for m in {HEAVY!r} if m in sys.modules])"
HELP_CPU_S = 0.6  # half a second on an idle machine, and some for a busy one


def _loaded(code: str, cwd: Path, path: Path | None = None) -> list[str]:
    """Which heavy libraries a fresh interpreter has loaded after running `code`."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(str(p) for p in (path, cwd) if p)}
    done = subprocess.run([sys.executable, "-c", code + REPORT], capture_output=True, text=True, check=True, cwd=cwd, env=env)
    return done.stdout.splitlines()[-1].split()[1:]


def test_help_loads_nothing_heavy(project_root):
    assert _loaded(HELP, project_root) == []


@pytest.mark.parametrize("module", ["bids_app.entities", "bids_app.cases", "bids_app.tables", "bids_app.errors", "coactseg_cli.config"])
def test_importing_a_light_module_loads_nothing_heavy(project_root, module):
    assert _loaded(f"import {module}", project_root) == []


def test_bids_app_never_loads_torch_or_ants(project_root):
    modules = sorted(p.stem for p in (project_root / "bids_app").glob("*.py") if p.stem != "__init__")
    loaded = _loaded("\n".join(f"import bids_app.{m}" for m in modules), project_root)
    assert not {"torch", "ants", "SimpleITK", "monai", "nnunetv2", "HD_BET"} & set(loaded)


def test_the_probe_sees_a_heavy_import(project_root, tmp_path):
    """Without this, a probe that always says 'nothing' would pass the tests above."""
    (tmp_path / "torch.py").write_text("")
    (tmp_path / "sly.py").write_text("def work():\n    import torch\n")
    assert _loaded("import sly", project_root, tmp_path) == []
    assert _loaded("import sly; sly.work()", project_root, tmp_path) == ["torch"]


def test_help_is_quick(project_root):
    def cpu_s() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "coactseg_cli", "--help"], cwd=project_root, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(cpu_s() for _ in range(4)) < HELP_CPU_S


def test_every_dependency_is_pinned(project_root):
    project = tomllib.loads((project_root / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    names = {re.split(r"[\[<>=!~ ;]", d)[0] for d in wanted} - {project["name"]}
    lines = [line for line in (project_root / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines), "an exact version each, no local build"
    pinned = {_normal(line.split("==")[0]) for line in lines}
    assert {_normal(n) for n in names} <= pinned


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_import_is_declared(project_root):
    """A package that only another one brings can vanish with it."""
    project = tomllib.loads((project_root / "pyproject.toml").read_text())["project"]
    declared = {_normal(re.split(r"[\[<>=!~ ;]", d)[0]) for d in project["dependencies"]}
    optional = {"submitit", "h5py", "bids_validator_deno", "bidsschematools"}  # extras: imported where they are there
    owners = importlib.metadata.packages_distributions()
    files = [*project_root.glob("bids_app/**/*.py"), *project_root.glob("coactseg_cli/**/*.py")]
    imported = {name for path in files for name in _imports(path)} - set(sys.stdlib_module_names) - {"bids_app", "coactseg_cli"} - optional
    undeclared = {name for name in imported if not declared & {_normal(d) for d in owners.get(name, [name])}}
    assert undeclared == set()


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_versions_agree(project_root):
    from coactseg_cli import __version__

    assert f"\nversion: {__version__}\n" in (project_root / "CITATION.cff").read_text()
    assert f"## [{__version__}]" in (project_root / "CHANGELOG.md").read_text()


def test_both_containers_set_the_same_environment(project_root):
    docker = re.findall(r"^ENV ((?:.*\\\n)*.*)$", (project_root / "Dockerfile").read_text(), flags=re.MULTILINE)
    in_docker = dict(re.findall(r"(\w+)=(\S+)", "\n".join(docker)))
    recipe = (project_root / "Singularity.def").read_text().split("%environment")[1].split("%runscript")[0]
    in_apptainer = dict(re.findall(r"export (\w+)=(\S+)", recipe))
    own = {"HOME", "COACTSEG_DOCKER_TAG", "COACTSEG_APPTAINER_URI"}  # Apptainer brings HOME; each names its own image
    assert {k: v for k, v in in_docker.items() if k not in own} == {k: v for k, v in in_apptainer.items() if k not in own}
    assert in_docker["PYTHONNOUSERSITE"] == "1"


def test_every_file_that_the_installation_needs_is_in_both_images(project_root):
    allowed = {line[1:] for line in (project_root / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    files = (project_root / "Singularity.def").read_text().split("%files")[1].split("%post")[0]
    assert {line.split()[0] for line in files.strip().splitlines()} == allowed
    assert all((project_root / name).exists() for name in allowed)


def test_the_readme_says_that_it_is_for_research_only(project_root):
    assert "research use only" in (project_root / "README.md").read_text().lower()
