"""HD-BET in this process: its predictor on one array, its weights where they lie. Downloads nothing, runs no code out of a checkpoint."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

from coactseg_cli.errors import MissingWeights, WrongWeights
from coactseg_cli.volumes import Volume, to_ras

FOLD = "all"
CHECKPOINT = f"fold_{FOLD}/checkpoint_final.pth"
# What plans.json may name to be imported: networks and their layers.
_NETWORK = re.compile(r"dynamic_network_architectures\.architectures\.[a-z_]+\.[A-Z]\w*")
_LAYER = re.compile(r"torch\.nn(\.modules\.[a-z]+)?\.[A-Z]\w*")
_log = logging.getLogger(__name__)


def weights_folder(given: Path | None) -> Path:
    """The folder of the parameter files: the one given, else $COACTSEG_HD_BET_WEIGHTS, else HD-BET's own place in the home folder."""
    if given is not None:
        return given
    if folder := os.environ.get("COACTSEG_HD_BET_WEIGHTS"):
        return Path(folder)
    home = os.environ.get("HOME") or str(Path("~").expanduser())
    return Path(home) / "hd-bet_params" / "release_2.0.0"


def has_weights(folder: Path) -> bool:
    """Whether the folder holds an nnU-Net model."""
    return not missing_files(folder)


def missing_files(folder: Path) -> list[str]:
    """What an nnU-Net model folder must hold and this one does not."""
    wanted = ("plans.json", "dataset.json", CHECKPOINT)
    return [name for name in wanted if not (folder / name).is_file()]


def require_weights(folder: Path) -> None:
    """Raises: MissingWeights, naming the folder and the way out."""
    if missing := missing_files(folder):
        msg = (
            f"{folder}: HD-BET's weights are not there (missing: {', '.join(missing)}). Put the content of HD-BET's release there, "
            "name its folder with --hd-bet-weights, or choose --skull-strip builtin. Nothing is downloaded unasked."
        )
        raise MissingWeights(msg)


def find_brain(native: Volume, folder: Path, threads: int = 1) -> Volume:
    """The brain mask that the hd-bet command gives for the scan stored in RAS order, on the scan's own grid.

    On CUDA where there is one, with the mirrored passes that the command makes by default; on the CPU without them, as
    HD-BET recommends there (eight times as fast, slightly less accurate). Everything happens in this process: no workers,
    nothing on stdout, and torch's settings, sys.stdout and the environment are as before afterwards.

    Args:
        native: (X, Y, Z) the scan, any orientation.
        folder: HD-BET's parameter files. The checkpoint is a pickle; numbers, texts and tensors are read from it, code is refused.
        threads: for torch on the CPU.

    Returns: (X, Y, Z) bool, on the grid of `native`.

    Raises: MissingWeights, WrongWeights. Reference: Isensee et al. 2019, arXiv:1901.11341 (HD-BET 2, on nnU-Net v2).
    """
    require_weights(folder)
    ras = to_ras(native)
    image = np.ascontiguousarray(ras.data.transpose(2, 1, 0)[None], dtype=np.float32)  # (1, z, y, x), as SimpleITK reads a file
    with _settings_kept(threads):
        predictor = _load_predictor(_import_hd_bet(), folder, threads)
        with _quiet():
            labels = predictor.predict_single_npy_array(image, {"spacing": list(ras.spacing_mm[::-1])})
    ras_to_native = ornt_transform(axcodes2ornt("RAS"), io_orientation(native.affine))
    return native.like(apply_orientation(labels.transpose(2, 1, 0) > 0, ras_to_native))


def _load_predictor(hd_bet: Any, folder: Path, threads: int) -> Any:
    """HD-BET's nnU-Net predictor with the parameters in `folder`. Raises: WrongWeights."""
    import torch

    _require_json(folder / "dataset.json")
    _require_known_layers(_require_json(folder / "plans.json"), folder / "plans.json")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        with _quiet(), _parameters_at(hd_bet, folder), _no_code_from_checkpoints():
            predictor = hd_bet.get_hdbet_predictor(use_tta=device.type == "cuda", device=device)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        msg = (
            f"{folder / CHECKPOINT}: not a model that nnU-Net can load ({type(error).__name__}: {error}). Expected HD-BET's release 2.0.0: "
            "copy it again with its plans.json and dataset.json, or choose --skull-strip builtin."
        )
        raise WrongWeights(msg) from error
    predictor.allow_tqdm = False
    torch.set_num_threads(threads)  # HD-BET has just taken every core
    return predictor


def _require_json(path: Path) -> dict[str, Any]:
    """The file's content. Raises: WrongWeights where it is no JSON object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{path}: not readable as JSON ({error}). Copy HD-BET's release again."
        raise WrongWeights(msg) from error
    if not isinstance(content, dict):
        msg = f"{path}: expected a JSON object; got {type(content).__name__}. Copy HD-BET's release again."
        raise WrongWeights(msg)
    return content


def _require_known_layers(plans: Mapping[str, Any], path: Path) -> None:
    """nnU-Net imports and calls what plans.json names. Raises: WrongWeights where that is not a network or one of torch's layers."""
    try:
        architectures = [c["architecture"] for c in plans["configurations"].values() if "architecture" in c]
        networks = [a["network_class_name"] for a in architectures]
        layers = [a["arch_kwargs"][name] for a in architectures for name in a["_kw_requires_import"]]
    except (KeyError, TypeError, AttributeError) as error:
        msg = f"{path}: not the plans of an nnU-Net ({type(error).__name__}: {error}). Copy HD-BET's release again."
        raise WrongWeights(msg) from error
    odd = [name for name in networks if not _NETWORK.fullmatch(str(name))]
    odd += [name for name in layers if name is not None and not _LAYER.fullmatch(str(name))]
    if odd:
        msg = f"{path}: names {odd[0]!r:.100} as a part of the network; expected networks of nnU-Net and layers of torch.nn only."
        raise WrongWeights(msg)


@contextlib.contextmanager
def _no_code_from_checkpoints() -> Iterator[None]:
    """Inside, torch.load reads data only, also where its caller (nnU-Net) asks for weights_only=False: a pickle can run any command.

    Numbers of NumPy, under its names of before and since version 2, stand in the training log of a checkpoint: they are data too.
    """
    import torch

    arrays = importlib.import_module("numpy._core.multiarray")
    old = [(getattr(arrays, name), f"numpy.core.multiarray.{name}") for name in ("scalar", "_reconstruct")]
    kinds = [type(np.dtype(code)) for code in np.typecodes["AllInteger"] + np.typecodes["Float"] + "?"]
    before = torch.load

    def load_data(*args: Any, **options: Any) -> Any:
        return before(*args, **{**options, "weights_only": True})

    torch.load = load_data
    try:
        with torch.serialization.safe_globals([np.dtype, np.ndarray, arrays.scalar, arrays._reconstruct, *old, *kinds]):
            yield
    finally:
        torch.load = before


def _import_hd_bet() -> Any:
    """The module HD_BET.hd_bet_prediction; its import replaces sys.stdout, which is put back."""
    with _quiet():
        from HD_BET import hd_bet_prediction
    return hd_bet_prediction


@contextlib.contextmanager
def _parameters_at(hd_bet: Any, folder: Path) -> Iterator[None]:
    """HD-BET looks for its parameters in `folder`: it keeps the place in a global, copied when the module is imported."""
    before = hd_bet.folder_with_parameter_files
    hd_bet.folder_with_parameter_files = str(folder)
    try:
        yield
    finally:
        hd_bet.folder_with_parameter_files = before


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What is printed on stdout goes to the log instead, and sys.stdout is afterwards what it was."""
    printed = io.StringIO()
    before = sys.stdout
    sys.stdout = printed
    try:
        yield
    finally:
        sys.stdout = before
        if text := printed.getvalue().strip():
            _log.debug("HD-BET: %s", text)


@contextlib.contextmanager
def _settings_kept(threads: int) -> Iterator[None]:
    """`threads` for torch and nnU-Net inside; torch's and the environment's own settings afterwards.

    nnU-Net reads its two counts when it is first imported: the first would else be 8 threads for the export of a mask.
    """
    import torch

    counts = {"nnUNet_def_n_proc": str(threads), "nnUNet_n_proc_DA": "0"}
    environment = {name: os.environ.get(name) for name in (*counts, "nnUNet_compile")}
    threads_before, benchmark_before = torch.get_num_threads(), torch.backends.cudnn.benchmark
    os.environ.update(counts)
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads_before)
        torch.backends.cudnn.benchmark = benchmark_before
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
