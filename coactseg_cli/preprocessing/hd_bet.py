"""HD-BET in this process: its predictor on one array, its weights where they lie. Downloads nothing."""

from __future__ import annotations

import os
from pathlib import Path

from coactseg_cli.errors import MissingWeights
from coactseg_cli.volumes import Volume

FOLD = "all"


def weights_folder(given: Path | None) -> Path:
    """The folder of the parameter files: the one given, else HD-BET's own place in the home folder."""
    home = os.environ.get("HOME") or str(Path("~").expanduser())
    return given if given is not None else Path(home) / "hd-bet_params" / "release_2.0.0"


def has_weights(folder: Path) -> bool:
    """Whether the folder holds an nnU-Net model."""
    return not missing_files(folder)


def missing_files(folder: Path) -> list[str]:
    """What an nnU-Net model folder must hold and this one does not."""
    wanted = ("plans.json", "dataset.json", f"fold_{FOLD}/checkpoint_final.pth")
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
    """To be written."""
    raise NotImplementedError
