"""The published way of inference, written out: one window of 80^3 at a time, every 20 voxels, fp32, twice. No trick of ours.

Its answers are checked against those of the published code itself (../shared/vectors/network, where they are) before it is timed.
Reference: Wu et al. 2023, Sec. 3, and its public code.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from coactseg_cli.network.model import VNet

PATCH, STRIDE = 80, 20
TOLERANCE = 1e-5
VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors" / "network"
HEADS = ("all_baseline", "all_followup", "new")


def both_passes(network: VNet, baseline: np.ndarray, followup: np.ndarray) -> dict[str, np.ndarray]:
    """Pass 1 over the pair, pass 2 (x, x, 0) over the follow-up: three maps (X, Y, Z) float32."""
    pair = slide(network, baseline, followup)
    single = slide(network, followup, followup)
    return {"all_baseline": pair["all_baseline"], "all_followup": single["all_followup"], "new": pair["new"]}


def slide(network: VNet, baseline: np.ndarray, followup: np.ndarray, patch: int = PATCH, stride: int = STRIDE) -> dict[str, np.ndarray]:
    """Means of the probabilities of all windows; the last window along an axis is moved back to the border."""
    pad = [max(patch - n, 0) for n in baseline.shape]
    width = [(p // 2, p - p // 2) for p in pad]
    b, f = np.pad(baseline, width), np.pad(followup, width)
    total = {head: np.zeros(b.shape, np.float32) for head in HEADS}
    count = np.zeros(b.shape, np.float32)
    starts = [[min(i * stride, n - patch) for i in range(-(-(n - patch) // stride) + 1)] for n in b.shape]
    for corner in product(*starts):
        box = tuple(slice(a, a + patch) for a in corner)
        with torch.no_grad():
            logits = network(_input(b[box], f[box]))
            for head, values in zip(HEADS, logits, strict=True):
                total[head][box] += torch.softmax(values, dim=1)[0, 1].numpy()
        count[box] += 1
    inner = tuple(slice(low, low + n) for (low, _), n in zip(width, baseline.shape, strict=True))
    return {head: (sum_ / count)[inner] for head, sum_ in total.items()}


def _input(baseline: np.ndarray, followup: np.ndarray) -> Tensor:
    return torch.from_numpy(np.stack([baseline, followup, followup - baseline])[None].astype(np.float32))


def check(folder: Path = VECTORS) -> str:
    """Compare with the published code's own answers. Returns: a sentence. Raises: AssertionError where they differ."""
    if not folder.is_dir():
        return f"not checked against the published code: {folder} is not there"
    stored, windows = np.load(folder / "network.npz"), np.load(folder / "sliding_window.npz")
    network = VNet(int(stored["base_filters"])).eval()
    state = {k.removeprefix("state/"): torch.from_numpy(stored[k]) for k in stored.files if k.startswith("state/")}
    network.load_state_dict(state)
    with torch.no_grad():
        logits = network(torch.from_numpy(stored["input"]))
    worst = max(float(np.abs(found.numpy() - stored[f"head{i}"]).max()) for i, found in enumerate(logits, start=1))
    maps = slide(network, windows["baseline"], windows["followup"], int(windows["patch"]), int(windows["stride"]))
    worst = max(worst, *(float(np.abs(maps[head] - windows[f"prob_{head}"]).max()) for head in HEADS))
    if worst > TOLERANCE:
        msg = f"the published way, as written out here, differs from the published code by {worst:.1e}"
        raise AssertionError(msg)
    return f"checked against the published code's own answers: they differ by {worst:.1e} at most"
