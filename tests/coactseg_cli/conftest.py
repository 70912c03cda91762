"""A tiny prepared cohort and a tiny random network, made once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from bids_app.cases import PreparedTimeline
from bids_app.dataset import read_timelines
from bids_app.derivatives import Derivatives, start
from coactseg_cli.config import PrepConfig
from coactseg_cli.network.checkpoint import CheckpointInfo, Model, save_model
from coactseg_cli.network.model import VNet
from coactseg_cli.prep import prepare
from tests.coactseg_cli.network.conftest import vectors


@dataclass(frozen=True, slots=True)
class Prepared:
    """What prep wrote for the tiny cohort."""

    tree: Derivatives
    timelines: tuple[PreparedTimeline, ...]


@pytest.fixture(scope="session")
def tiny_prepared(tiny_bids: Path, tiny_labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The tiny cohort at 3 mm with its labels (read only)."""
    links = {"labels": tiny_labels}
    tree = start(tmp_path_factory.mktemp("prepared") / "out", tiny_bids, version="test", readme="Research use only.", links=links)
    config = PrepConfig(spacing_mm=(3.0, 3.0, 3.0), n4=False)
    timelines = read_timelines(tiny_bids, derivatives=links).timelines
    return Prepared(tree, tuple(prepare(t, config, tree, lambda _: None) for t in timelines))


@pytest.fixture(scope="session")
def tiny_model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random network of two filters in our own format, for 3 mm voxels."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    info = CheckpointInfo(name="tiny", spacing_mm=(3.0, 3.0, 3.0), n_pairs=1, n_singles=2)
    save_model(VNet(2), info, path, half=False)
    return path


@pytest.fixture(scope="session")
def tiny_model(tiny_model_file: Path) -> Model:
    """The same, loaded."""
    from coactseg_cli.network.checkpoint import load_model

    return load_model(tiny_model_file)


@pytest.fixture(scope="session")
def published() -> tuple[VNet, dict[str, np.ndarray]]:
    """The network of the vectors with its stored input and outputs."""
    stored = vectors("network")
    network = VNet(int(stored["base_filters"]))
    network.load_state_dict({k.removeprefix("state/"): torch.from_numpy(v) for k, v in stored.items() if k.startswith("state/")})
    return network.eval(), stored
