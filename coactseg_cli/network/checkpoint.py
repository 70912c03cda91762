"""Model files: read ours (.safetensors with metadata) and the published state dict (.pth), write ours. Pickled code is never run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from bids_app.files import write_bytes
from coactseg_cli import __version__
from coactseg_cli.errors import MissingWeights, WrongWeights
from coactseg_cli.network.model import VNet
from coactseg_cli.seen import SeenRanges, parse_ranges

METADATA_KEY = "coactseg"
FIRST_WEIGHT = "encoder.block_one.conv.0.weight"


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """What a model file says of itself; travels into every sidecar."""

    name: str = "unnamed"
    base_filters: int = 16
    patch_size: tuple[int, int, int] = (80, 80, 80)  # voxels, of training
    spacing_mm: tuple[float, float, float] | None = None  # of training; None: not recorded
    normalisation: str = "zscore"  # zscore (inside the brain mask) or none
    threshold_all: float = 0.5
    threshold_new: float = 0.5
    n_pairs: int | None = None  # real pairs with a label in training; None: not recorded
    n_singles: int | None = None  # real single scans with a label
    training_data: tuple[str, ...] = ()  # participants
    iterations: int | None = None
    seen: SeenRanges | None = None  # what the scans of training looked like; None: not recorded
    version: str = ""  # of coactseg that wrote it
    source: str = "coactseg train"  # or 'state dict' for a foreign .pth


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A network in evaluation mode with what its file says."""

    network: VNet
    info: CheckpointInfo
    path: Path
    sha256: str  # of the file

    @property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """Grid of training in mm, None where not recorded."""
        return self.info.spacing_mm

    @property
    def normalisation(self) -> str:
        """How the intensities of training were normalised."""
        return self.info.normalisation

    @property
    def research_line(self) -> str:
        """The line that stands on every page and README."""
        if self.info.n_pairs is None:
            return "Research use only; not for diagnosis. The model's file does not say on how many scans it was trained."
        pairs = f"{self.info.n_pairs} pair" + "s" * (self.info.n_pairs != 1)
        singles = f"{self.info.n_singles} single scan" + "s" * (self.info.n_singles != 1)
        return f"Research use only; model trained on {pairs} and {singles}."


def load_model(path: Path) -> Model:
    """Read a model file.

    Args:
        path: .safetensors written by save_model, or a .pth / .pt state dict in the published layout (any width).

    Raises: MissingWeights, WrongWeights (truncated, foreign, wrong shapes; both values named).
    """
    if not path.is_file():
        msg = f"{path}: no such model file. Give a file, a packaged name ('default') or 'miccai2023' to --model."
        raise MissingWeights(msg)
    content = path.read_bytes()
    state, info = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pth(path)
    network = build(state, path)
    return Model(network, replace(info, base_filters=network.base_filters), path, hashlib.sha256(content).hexdigest())


def build(state: dict[str, Tensor], path: Path) -> VNet:
    """A network in evaluation mode from a state dict; its width is read from the shapes. Raises: WrongWeights."""
    first = state.get(FIRST_WEIGHT)
    if first is None:
        some = ", ".join(sorted(state)[:3]) or "nothing"
        msg = f"{path}: expected a CoactSeg V-Net with '{FIRST_WEIGHT}'; found {some}, ... Give a model in the published layout."
        raise WrongWeights(msg)
    if first.ndim != 5 or first.shape[1] != 3:
        msg = f"{path}: expected '{FIRST_WEIGHT}' of shape (F, 3, 3, 3, 3): three input channels; found {tuple(first.shape)}."
        raise WrongWeights(msg)
    network = VNet(base_filters=int(first.shape[0]))
    _check_keys(network, state, path)
    network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    return network.eval()


def _check_keys(network: VNet, state: dict[str, Tensor], path: Path) -> None:
    wanted = network.state_dict()
    if wanted.keys() != state.keys():
        missing, surplus = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
        msg = f"{path}: not the layout of CoactSeg's V-Net: missing {missing[:3] or 'none'}, surplus {surplus[:3] or 'none'}."
        raise WrongWeights(msg)
    for name, value in wanted.items():
        if state[name].shape != value.shape:
            msg = (
                f"{path}: '{name}' has shape {tuple(state[name].shape)}; a network of {network.base_filters} base filters "
                f"wants {tuple(value.shape)}. The file is damaged or of another network."
            )
            raise WrongWeights(msg)
        if not torch.isfinite(state[name].float()).all():
            msg = f"{path}: '{name}' holds values that are not finite. The file is damaged."
            raise WrongWeights(msg)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], CheckpointInfo]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 - safe_open has no iterator
    except (SafetensorError, OSError, ValueError) as error:
        msg = f"{path}: not a readable safetensors file ({error}); {path.stat().st_size} bytes were found. Copy or download it again."
        raise WrongWeights(msg) from error
    return state, _parse_info(metadata.get(METADATA_KEY, "{}"), path)


def _parse_info(text: str, path: Path) -> CheckpointInfo:
    try:
        fields: dict[str, Any] = json.loads(text)
        known: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items() if k in CheckpointInfo.__slots__}
        seen = known.pop("seen", None)
        info = CheckpointInfo(**known, seen=None if seen is None else parse_ranges(seen))
        plausible = 0 < float(info.threshold_all) < 1 and 0 < float(info.threshold_new) < 1
        if info.spacing_mm is not None:
            plausible = plausible and len(info.spacing_mm) == 3 and all(0.1 <= float(s) <= 10 for s in info.spacing_mm)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        msg = f"{path}: the metadata of the model file cannot be used ({error}). Copy or download it again."
        raise WrongWeights(msg) from error
    if not plausible:
        msg = f"{path}: the metadata of the model file is not plausible: {text[:300]}. Copy or download it again."
        raise WrongWeights(msg)
    return info


def _read_pth(path: Path) -> tuple[dict[str, Tensor], CheckpointInfo]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        why = next(iter(str(error).splitlines()), "")[:200]
        msg = (
            f"{path}: not a readable PyTorch state dict ({type(error).__name__} {why}); "
            f"{path.stat().st_size} bytes were found. Copy or download it again; files that need code to be run are refused."
        )
        raise WrongWeights(msg) from error
    for key in ("state_dict", "model_state_dict", "network"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        msg = f"{path}: expected a state dict of tensors; found {type(content).__name__}."
        raise WrongWeights(msg)
    state = {k.removeprefix("module."): v for k, v in content.items()}
    return state, CheckpointInfo(name=path.stem, source="state dict")


def save_model(network: VNet, info: CheckpointInfo, path: Path, *, half: bool = True) -> None:
    """Write weights and metadata as .safetensors, in half precision unless told otherwise; written, then renamed."""
    state = {k: v.detach().cpu() for k, v in network.state_dict().items()}
    if half:
        state = {k: v.half() if v.is_floating_point() and "running" not in k else v for k, v in state.items()}
    info = replace(info, base_filters=network.base_filters, version=__version__)
    content = to_safetensors({k: v.contiguous() for k, v in state.items()}, {METADATA_KEY: json.dumps(asdict(info))})
    write_bytes(path, content)
