"""Model names to files: packaged models, files of the user, and the published weights, which are downloaded once and verified."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from pathlib import Path

from bids_app.files import write_bytes
from coactseg_cli.errors import MissingWeights, WrongWeights

PACKAGED = Path(__file__).resolve().parent.parent / "models"
SUMS = "SHA256SUMS"  # beside the packaged models, as sha256sum writes it
PUBLISHED = "miccai2023"
PUBLISHED_URL = "https://raw.githubusercontent.com/ycwu1997/CoactSeg/Main/pretrained_pth/CoactSeg_reg/vnet/vnet_best_model.pth"
PUBLISHED_BLOB = "46b3c21c8075fa360a6e44cb4bafca8f77ae4e11"  # git blob id of that file on branch Main of the authors' repository
TIMEOUT_S = 60
MAX_BYTES = 500_000_000


def find_model(name: str) -> Path:
    """The file behind --model.

    Args:
        name: a packaged name ('default'), 'miccai2023' or a path.

    Raises: MissingWeights (offline, no such name or file), WrongWeights (a download that is not the published file).
    """
    if name == PUBLISHED:
        return published_model()
    path = find_local(name)
    if path is not None:
        return path
    known = ", ".join([*sorted(p.stem for p in PACKAGED.glob("*.safetensors")), PUBLISHED])
    msg = f"--model {name}: neither a packaged model ({known}) nor an existing file."
    raise MissingWeights(msg)


def find_local(name: str) -> Path | None:
    """The file behind --model where it is on this machine; nothing is downloaded."""
    if name == PUBLISHED:
        path = cache_dir() / f"{PUBLISHED}.pth"
        return path if path.is_file() else None
    packaged = PACKAGED / f"{name}.safetensors"
    if "/" not in name and packaged.is_file():
        return packaged
    path = Path(name)
    return path if path.is_file() else None


def is_as_packaged(path: Path, sha256: str) -> bool:
    """Whether a file is a packaged model, unchanged since it was packaged: then nothing is wrong with it."""
    try:
        lines = (PACKAGED / SUMS).read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return False
    return path.parent == PACKAGED and [sha256, path.name] in [line.split() for line in lines]


def cache_dir() -> Path:
    """$COACTSEG_MODEL_DIR, else $XDG_CACHE_HOME/coactseg, else ~/.cache/coactseg."""
    if folder := os.environ.get("COACTSEG_MODEL_DIR"):
        return Path(folder)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "coactseg"


def published_model() -> Path:
    """The weights of Wu et al. 2023 from the cache, downloaded and verified where they are not there.

    $COACTSEG_MODEL_URL names another server. Raises: MissingWeights, WrongWeights.
    """
    url = os.environ.get("COACTSEG_MODEL_URL", PUBLISHED_URL)
    path = cache_dir() / f"{PUBLISHED}.pth"
    if path.is_file():
        _verify(path.read_bytes(), str(path), "Delete the file and try again.")
        return path
    content = _download(url, path)
    _verify(content, url, "The download is damaged or another file; try again, or give the file by hand with --model FILE.")
    try:
        write_bytes(path, content)
    except OSError as error:
        msg = f"{path}: the model cannot be kept there ({error}). Name a writable folder in COACTSEG_MODEL_DIR."
        raise MissingWeights(msg) from error
    return path


def _download(url: str, path: Path) -> bytes:
    if not url.startswith(("https://", "http://")):
        msg = f"COACTSEG_MODEL_URL must start with https:// or http://; got {url}"
        raise MissingWeights(msg)
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310 - the scheme is checked above
            content: bytes = answer.read(MAX_BYTES)
    except (urllib.error.URLError, OSError, ValueError) as error:
        msg = (
            f"the published model cannot be downloaded from {url} ({error}). On a machine without a network, copy the file "
            f"by hand to {path}, or pass --model FILE, or use the packaged model (--model default)."
        )
        raise MissingWeights(msg) from error
    return content


def git_blob_id(content: bytes) -> str:
    """Git's name for a file: SHA-1 of 'blob <size>', a zero byte and the content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _verify(content: bytes, where: str, way_out: str) -> None:
    found = git_blob_id(content)
    if found != PUBLISHED_BLOB:
        msg = (
            f"{where}: expected the published weights (git blob {PUBLISHED_BLOB}); found git blob {found}, {len(content)} bytes. {way_out}"
        )
        raise WrongWeights(msg)
