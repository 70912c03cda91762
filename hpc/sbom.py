"""Software bill of materials of a Python environment, CycloneDX 1.6 JSON: sbom.py OUT.json [NAME]; needs nothing but Python.

Run it with the interpreter of the environment: `make sbom` for .venv; an image has its own in /opt/coactseg/sbom.cdx.json. It lists NAME
(coactseg-cli) and what this needs here, extras left out: version, licence, what each needs itself. Hashes are not in it, as pip keeps none;
nor are the system libraries of an image, which a scanner of images lists.
"""

from __future__ import annotations

import json
import re
import sys
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = "coactseg-cli"


def normalised(name: str) -> str:
    """A package's name as indices compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needs(package: Distribution) -> list[str]:
    """Installed packages that a package needs here, extras left out."""
    found = []
    for text in package.requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            found.append(normalised(requirement.name))
    return sorted({name for name in found if _installed(name) is not None})


def closure(root: str) -> dict[str, Distribution]:
    """A package and all it needs, by normalised name. Raises: PackageNotFoundError."""
    found: dict[str, Distribution] = {}
    waiting = [normalised(root)]
    distribution(root)
    while waiting:
        name = waiting.pop()
        package = _installed(name)
        if name not in found and package is not None:
            found[name] = package
            waiting += needs(package)
    return dict(sorted(found.items()))


def sbom(root: str, when: datetime, serial: uuid.UUID) -> dict[str, Any]:
    """The document."""
    packages = closure(root)
    first = normalised(root)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": serial.urn,
        "version": 1,
        "metadata": {
            "timestamp": f"{when:%Y-%m-%dT%H:%M:%SZ}",
            "component": {**_component(first, packages[first]), "type": "application"},
            "properties": [{"name": "python", "value": sys.version.split()[0]}, {"name": "platform", "value": sys.platform}],
        },
        "components": [_component(name, package) for name, package in packages.items() if name != first],
        "dependencies": [
            {"ref": _purl(name, package), "dependsOn": [_purl(other, packages[other]) for other in needs(package)]}
            for name, package in packages.items()
        ],
    }


def _component(name: str, package: Distribution) -> dict[str, Any]:
    component: dict[str, Any] = {"type": "library", "bom-ref": _purl(name, package), "name": name, "version": package.version}
    component["purl"] = component["bom-ref"]
    if licence := _licence(package):
        component["licenses"] = [{"license": {"name": licence}}]
    if summary := package.metadata.get("Summary"):
        component["description"] = summary
    return component


def _licence(package: Distribution) -> str:
    """What a package says of its licence: an expression, else a classifier, else its free text where that is short."""
    metadata = package.metadata
    classifiers = [text.split(" :: ")[-1] for text in metadata.get_all("Classifier") or () if text.startswith("License :: ")]
    free = (metadata.get("License") or "").strip()
    return metadata.get("License-Expression") or ", ".join(classifiers) or (free if free and len(free) < 100 and "\n" not in free else "")


def _purl(name: str, package: Distribution) -> str:
    return f"pkg:pypi/{name}@{package.version.replace('+', '%2B')}"


def _installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def main(words: Iterable[str]) -> int:
    """Write the document and say how much is in it. Returns: the exit code."""
    out, *more = words
    content = sbom(more[0] if more else ROOT, datetime.now(UTC), uuid.uuid4())
    Path(out).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(f"{len(content['components']) + 1} packages: {out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
