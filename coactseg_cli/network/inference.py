"""Maps from scans: the published sliding window, and a fast pass over the whole brain box with a network arranged for it.

Arrays here are prepared volumes (X, Y, Z) float32 in one grid; nothing is resampled, no file is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from coactseg_cli.config import Inference, SegmentConfig
from coactseg_cli.errors import OutOfMemory
from coactseg_cli.network.device import choose_device, choose_dtype, keep_large_allocations, turn_on
from coactseg_cli.network.fast_vnet import SLAB_VOXELS, FastVNet, Head
from coactseg_cli.network.inputs import stack, visits
from coactseg_cli.network.model import DIVISOR, VNet
from coactseg_cli.volumes import Box, box_of, uncrop

WINDOWS_AT_ONCE = 2  # 4 % faster than one; more are no faster
TILE_OVERLAP = 0.5  # of a tile's edge
CPU_SLAB_BYTES = 1 << 21  # of one feature of a slab, where a processor looks at a whole brain: fresh memory costs time


Maps = dict[Head, np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class Engine:
    """A network made ready for one kind of inference."""

    network: Callable[[Tensor, frozenset[Head]], dict[Head, Tensor]]  # (1, 1 to 3, X, Y, Z) -> (1, 1, X, Y, Z) probabilities
    config: SegmentConfig
    device: torch.device
    dtype: torch.dtype

    def run(self, baseline: np.ndarray, followup: np.ndarray, brain: np.ndarray, heads: Iterable[Head]) -> Maps:
        """Probabilities of the wanted heads for one pass.

        Args:
            baseline: (X, Y, Z) float32, normalised; zero outside the brain.
            followup: the same grid; the baseline itself gives the pass (x, x, 0).
            brain: (X, Y, Z) bool; fast inference looks at its box only, windows lie over all that is given, as the published code has them.
            heads: maps that are wanted; others are not computed.

        Returns: per head (X, Y, Z) float32, 0 to 1; in fast inference 0 outside the brain's box.
        Raises: OutOfMemory naming --tile.
        """
        wanted = frozenset(heads)
        if self.config.inference is Inference.WINDOWS:
            look, box = self._windows, Box((0, 0, 0), _triple(baseline))
        elif brain.any():
            look, box = self._whole, box_of(brain)
        else:
            return {h: np.zeros(baseline.shape, np.float32) for h in wanted}
        try:
            with turn_on(self.device):
                maps = look(self._input(baseline, followup, box), wanted)
        except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError) and "memory" not in str(error).lower():
                raise
            msg = f"a pass over {baseline.shape} voxels needs more memory than there is ({error}). Pass --tile 128, or --device cpu."
            raise OutOfMemory(msg) from error
        return {h: uncrop(p, box, _triple(baseline)) for h, p in maps.items()}

    def _input(self, baseline: np.ndarray, followup: np.ndarray, box: Box) -> Tensor:
        """The channels of a pass over a part of the volumes; bf16 would round a difference away that is not taken before."""

        def tensor(volume: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(volume[box.slices], dtype=np.float32)).to(self.device)[None, None]

        first = tensor(baseline)
        same = followup is baseline or np.array_equal(followup, baseline)  # a copy gives what the scan itself gives, bit by bit
        second = first if same else tensor(followup)
        return (visits if self.dtype is torch.float32 else stack)(first, second)

    def _windows(self, x: Tensor, wanted: frozenset[Head]) -> Maps:
        """The published way: windows every `stride` voxels, the last one moved back to the border, plain averages."""
        patch, stride = self.config.patch_size, self.config.stride
        overlap = tuple(max(p - s - 1e-3, 0.0) / p for p, s in zip(patch, stride, strict=True))
        x = x.contiguous(memory_format=torch.channels_last_3d)
        return _slide(x, patch, overlap, "constant", self.network, wanted, WINDOWS_AT_ONCE)

    def _whole(self, x: Tensor, wanted: frozenset[Head]) -> Maps:
        """Everything at once, or in Gaussian-weighted tiles."""
        shape = x.shape[2:]
        edges = [-(-n // DIVISOR) * DIVISOR for n in shape]
        x = functional.pad(x, [p for n, e in zip(reversed(shape), reversed(edges), strict=True) for p in (0, e - n)])
        x = x.contiguous(memory_format=torch.channels_last_3d)
        if self.config.tile is None:
            with torch.inference_mode():
                maps = {h: _numpy(p) for h, p in self.network(x.to(self.dtype), wanted).items()}
        else:
            tile = (min(self.config.tile, edges[0]), min(self.config.tile, edges[1]), min(self.config.tile, edges[2]))
            maps = _slide(x, tile, (TILE_OVERLAP,) * 3, "gaussian", lambda part, heads: self.network(part.to(self.dtype), heads), wanted)
        return {h: p[tuple(slice(0, n) for n in shape)] for h, p in maps.items()}


def _triple(array: np.ndarray) -> tuple[int, int, int]:
    x, y, z = array.shape
    return x, y, z


def _numpy(probability: Tensor) -> np.ndarray:
    return probability[0, 0].cpu().numpy()


def _slide(
    x: Tensor,
    patch: tuple[int, int, int],
    overlap: tuple[float, ...],
    mode: str,
    network: Callable[[Tensor, frozenset[Head]], dict[Head, Tensor]],
    wanted: frozenset[Head],
    at_once: int = 1,
) -> Maps:
    """MONAI's sliding window over x, float32: it adds up in the number format of x. Zero padding is centred where a volume is smaller."""
    order = sorted(wanted)

    def predict(window: Tensor) -> tuple[Tensor, ...]:
        maps = network(window, wanted)
        return tuple(maps[h] for h in order)

    with torch.inference_mode():
        found = _sliding_window()(x, patch, at_once, predict, overlap=overlap, mode=mode, padding_mode="constant")
    results = cast("tuple[Tensor, ...]", found if isinstance(found, tuple) else (found,))
    return {h: _numpy(r) for h, r in zip(order, results, strict=True)}


def _sliding_window() -> Callable[..., object]:
    from monai.inferers.utils import sliding_window_inference  # two seconds to import

    return sliding_window_inference


def make_engine(network: VNet, config: SegmentConfig) -> Engine:
    """Arrange a network for `config.inference`; the given network is not changed. Raises: InvalidConfig for a device that is not there."""
    device = choose_device(config.device)
    torch.set_num_threads(config.threads)
    keep_large_allocations()
    if config.inference is Inference.WINDOWS or config.tile is not None:
        _sliding_window()  # now, while a network is made ready
    dtype = torch.float32 if config.inference is Inference.WINDOWS else choose_dtype(config.precision, device)
    float32_on_cpu = dtype is torch.float32 and device.type == "cpu"
    fast = FastVNet(network, float32_on_cpu=float32_on_cpu, slab_voxels=_slab_voxels(config, device, dtype)).to(device=device, dtype=dtype)
    fast = fast.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return Engine(fast, config, device, dtype)


def _slab_voxels(config: SegmentConfig, device: torch.device, dtype: torch.dtype) -> int:
    if config.inference is Inference.WINDOWS or device.type != "cpu":
        return SLAB_VOXELS
    return CPU_SLAB_BYTES // dtype.itemsize
