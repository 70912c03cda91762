"""Which device and number format the network uses, and how the C library keeps its memory."""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from coactseg_cli.config import Precision
from coactseg_cli.errors import InvalidConfig

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h


def choose_device(name: str) -> torch.device:
    """'auto', 'cpu', 'cuda' or 'cuda:N' to a device. Raises: InvalidConfig where it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        msg = f"--device must be auto, cpu, cuda or cuda:N; got {name!r}"
        raise InvalidConfig(msg) from error
    if device.type not in ("cpu", "cuda"):
        msg = f"--device must be auto, cpu, cuda or cuda:N; got {name!r}"
        raise InvalidConfig(msg)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        msg = f"--device {name}: torch {torch.__version__} sees {torch.cuda.device_count()} CUDA devices. Use --device cpu."
        raise InvalidConfig(msg)
    return device


def choose_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """bfloat16 where it was asked for, or under 'auto' where the processor computes with it; else float32."""
    if precision is Precision.FP32:
        return torch.float32
    if precision is Precision.BF16 or _has_bf16(device):
        return torch.bfloat16
    return torch.float32


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@contextmanager
def turn_on(device: torch.device) -> Iterator[None]:
    """Wait for the GPU, and leave it empty; on a CPU nobody waits.

    Participants that are worked on at once use it one after the other, so that its memory holds one pass, while the others go on
    with what the processor does. Counts for the processes of one user that share a folder for temporary files. A process that
    dies gives its turn back.
    """
    if device.type != "cuda":
        yield
        return
    path = Path(tempfile.gettempdir()) / f"coactseg-{os.getuid()}-cuda{device.index or 0}.lock"
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)  # no link of somebody else's in a shared folder
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
        torch.cuda.empty_cache()  # does nothing where CUDA was never started
    finally:
        os.close(file)


def keep_large_allocations() -> None:
    """Let glibc keep freed memory, so that large activations are not paged in again and again (2 to 3 times faster training).

    Does nothing where the C library is another.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(M_MMAP_THRESHOLD, 1 << 30)
    mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
