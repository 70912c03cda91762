"""Data that tests share: the made-up head of examples/, coarse and full, and where the shared scans lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.cohort import COHORT, Participant
from examples.make_dataset import write_dataset

PROJECT = Path(__file__).resolve().parents[1]
TINY = 2.5  # coarseness: about 2.5 x 2.5 x 3.75 to 7.5 mm


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The folder of pyproject.toml."""
    return PROJECT


@pytest.fixture(scope="session")
def tiny_bids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BIDS data set of the made-up heads (read only: copy it before changing it): sub-01 two visits, sub-02, sub-03 one each."""
    out = tmp_path_factory.mktemp("tiny") / "bids"
    write_dataset(out, coarseness=TINY)
    return out


@pytest.fixture(scope="session")
def tiny_labels(tiny_bids: Path) -> Path:
    """The label derivative of tiny_bids, for -d labels=PATH."""
    return tiny_bids / "derivatives" / "labels"


@pytest.fixture(scope="session")
def example_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example data set as `make demo` writes it, about 1 mm (read only)."""
    out = tmp_path_factory.mktemp("example") / "bids"
    write_dataset(out)
    return out


@pytest.fixture(scope="session")
def two_visits() -> Participant:
    """The participant whose visits differ: what was planted is in its lesions."""
    return COHORT[0]


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder ../shared with reference values and scans; the test is skipped where it is absent."""
    path = PROJECT.parent / "shared"
    if not path.is_dir():
        pytest.skip("the folder ../shared is not there")
    return path
