"""Model files: read ours (.safetensors with metadata) and the published state dict (.pth), write ours. Pickled code is never run."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor

from bids_app.files import write_bytes
from coactseg_cli import __version__
from coactseg_cli.errors import WrongWeights
from coactseg_cli.network.model import VNet
from coactseg_cli.network.model_file import (
    METADATA_KEY,
    SUFFIX,
    CheckpointInfo,
    ModelFile,
    check_content,
    require_plain_zip,
    size_of,
    state_dict_info,
)

__all__ = ["METADATA_KEY", "CheckpointInfo", "Model", "build", "load_model", "save_model"]

FIRST_WEIGHT = "encoder.block_one.conv.0.weight"
MAX_BASE_FILTERS = 256


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Model(ModelFile):
    """A network in evaluation mode with what its file says."""

    network: VNet


def load_model(path: Path) -> Model:
    """Read a model file.

    Args:
        path: .safetensors written by save_model, or a .pth / .pt state dict in the published layout (any width).

    Raises: MissingWeights, WrongWeights (truncated, foreign, wrong shapes; both values named).
    """
    size_of(path)
    content = path.read_bytes()  # once: what is hashed is what is loaded
    state, info = _read_safetensors(content, path) if path.suffix == SUFFIX else _read_pth(content, path)
    network = build(state, path)
    return Model(path, replace(info, base_filters=network.base_filters), hashlib.sha256(content).hexdigest(), network=network)


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
    if not 1 <= first.shape[0] <= MAX_BASE_FILTERS:
        msg = f"{path}: '{FIRST_WEIGHT}' has {first.shape[0]} filters; expected 1 to {MAX_BASE_FILTERS}. The file is of another network."
        raise WrongWeights(msg)
    with torch.device("meta"):  # shapes only: nothing is allocated for a file that does not fit
        wanted = VNet(base_filters=int(first.shape[0]))
    _check_keys(wanted, state, path)
    network = VNet(base_filters=wanted.base_filters)
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
        if state[name].is_floating_point() != value.is_floating_point():
            msg = f"{path}: '{name}' is of type {state[name].dtype}; expected {value.dtype}. The file is damaged or of another network."
            raise WrongWeights(msg)
        if state[name].layout != torch.strided or state[name].nbytes > state[name].untyped_storage().nbytes():
            msg = f"{path}: '{name}' claims {state[name].numel()} values that the file does not hold. The file is damaged."
            raise WrongWeights(msg)
        if not torch.isfinite(state[name].float()).all():
            msg = f"{path}: '{name}' holds values that are not finite. The file is damaged."
            raise WrongWeights(msg)


def _read_safetensors(content: bytes, path: Path) -> tuple[dict[str, Tensor], CheckpointInfo]:
    info = check_content(content, path)
    try:
        return from_safetensors(content), info
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        msg = f"{path}: not a readable safetensors file ({error}); {len(content)} bytes were found. Copy or download it again."
        raise WrongWeights(msg) from error


def _read_pth(content: bytes, path: Path) -> tuple[dict[str, Tensor], CheckpointInfo]:
    try:
        require_plain_zip(content)
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        why = next(iter(str(error).splitlines()), "")[:200]
        msg = (
            f"{path}: not a readable PyTorch state dict ({type(error).__name__} {why}); "
            f"{len(content)} bytes were found. Copy or download it again; files that need code to be run are refused."
        )
        raise WrongWeights(msg) from error
    for key in ("state_dict", "model_state_dict", "network"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in loaded.items()):
        msg = f"{path}: expected a state dict of tensors; found {type(loaded).__name__}."
        raise WrongWeights(msg)
    return {k.removeprefix("module."): v for k, v in loaded.items()}, state_dict_info(path)


def save_model(network: VNet, info: CheckpointInfo, path: Path, *, half: bool = True) -> None:
    """Write weights and metadata as .safetensors, in half precision unless told otherwise; written, then renamed."""
    state = {k: v.detach().cpu() for k, v in network.state_dict().items()}
    if half:
        state = {k: v.half() if v.is_floating_point() and "running" not in k else v for k, v in state.items()}
    info = replace(info, base_filters=network.base_filters, version=__version__)
    content = to_safetensors({k: v.contiguous() for k, v in state.items()}, {METADATA_KEY: json.dumps(asdict(info))})
    write_bytes(path, content)
