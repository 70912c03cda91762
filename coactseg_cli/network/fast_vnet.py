"""The network arranged for inference: folded, only the heads that are wanted, the finest level slab by slab.

At full resolution a map of 16 features is the largest thing in memory, and a pass made ten of them. Here they exist for a slab of
the volume at a time: some rows along X, with the neighbours that the convolutions reach into, so that the numbers are those of the
whole volume. That takes less than half of the memory, and less time too: fresh memory is slow (docs/performance.md).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from coactseg_cli.network.convolution import Visits, arranged, is_float32_on_cpu
from coactseg_cli.network.model import Decoder, VNet

SLAB_VOXELS = 1 << 20  # of the finest level, computed at a time: two windows of 80^3
LEAST_ROWS = 8  # of a slab: each needs two more on either side


class Head(StrEnum):
    """One map of a pass."""

    ALL_BASELINE = "all_baseline"
    ALL_FOLLOWUP = "all_followup"
    NEW = "new"


class FastVNet(nn.Module):
    """The same function as VNet in evaluation mode: batch norm folded, two-class softmax as a sigmoid, only the heads that are wanted.

    Agreement with VNet is checked in the tests (1e-5 in float32).
    """

    def __init__(self, network: VNet, *, float32_on_cpu: bool = True, slab_voxels: int = SLAB_VOXELS) -> None:
        super().__init__()
        folded = copy.deepcopy(network).eval()
        _fold(folded)
        self.head_features = _HeadFeatures(folded.decoder, float32_on_cpu=float32_on_cpu)
        self.new_lesions = _NewLesionBlock(cast("nn.Conv3d", folded.decoder.block_c2f.conv[0]), float32_on_cpu=float32_on_cpu)
        first = cast("nn.Conv3d", folded.encoder.block_one.conv[0])
        _arrange(folded, float32_on_cpu=float32_on_cpu)
        folded.encoder.block_one.conv[0] = Visits(first.weight, first.bias)
        self.encoder, self.decoder = folded.encoder, folded.decoder
        self.out_1, self.out_2, self.out_3 = (_difference(getattr(folded.decoder, f"out_conv_{i}")) for i in (1, 2, 3))
        self.slab_voxels = slab_voxels

    def forward(self, x: Tensor, wanted: frozenset[Head]) -> dict[Head, Tensor]:
        """Per wanted head the probabilities (B, 1, X, Y, Z), float32.

        Args:
            x: (B, 3, X, Y, Z) baseline, follow-up and follow-up minus baseline; in float32 also (B, 2, ...) the visits, or (B, 1, ...) one
                that is both.
            wanted: the heads; others are not computed.
        """
        volume, slabs = _Rows(x, 0, x.shape[2]), self._slabs(x)
        one, two = self._fine_levels(volume, slabs)
        eight = self._coarse_levels(two)
        del two
        maps = {h: torch.empty((x.shape[0], 1, *x.shape[2:]), device=x.device) for h in sorted(wanted)}
        for start, stop in slabs:
            first, last = _with_neighbours(start, stop, volume.total) if Head.NEW in wanted else (start, stop)
            low, high = max(first - 1, 0) // 2 * 2, min(last + 2, volume.total) // 2 * 2
            if len(slabs) > 1:  # it is faster made again than kept
                one = self._level_one(volume, low, high)
            shared = _Rows(self.decoder.block_eight_up(eight[:, :, low // 2 : high // 2]).add_(one.data), low, volume.total)
            for head, logit in self._heads(shared, (first, last), (start, stop), wanted).items():
                torch.sigmoid(logit.float(), out=maps[head][:, :, start:stop])
        return maps

    def _slabs(self, x: Tensor) -> list[tuple[int, int]]:
        """First row of each slab and the row after its last; multiples of four, slabs of one size but for the last."""
        rows = x.shape[2]
        most = max(self.slab_voxels * rows // (x.numel() // x.shape[1]), 1)
        step = -(-max(LEAST_ROWS, -(-rows // -(-rows // most))) // 4) * 4
        return [(start, min(start + step, rows)) for start in range(0, rows, step)]

    def _fine_levels(self, volume: _Rows, slabs: list[tuple[int, int]]) -> tuple[_Rows, Tensor]:
        """Features of the finest level in the last slab, and of all of the next, (B, 2 F, X/2, Y/2, Z/2)."""
        one = self._level_one(volume, *slabs[0])
        part = self.encoder.block_one_dw(one.data)
        if len(slabs) == 1:
            return one, part
        shape = (*part.shape[:2], volume.total // 2, *part.shape[3:])
        two = torch.empty(shape, dtype=part.dtype, device=part.device, memory_format=torch.channels_last_3d)
        two[:, :, : part.shape[2]] = part
        for start, stop in slabs[1:]:
            one = self._level_one(volume, start, stop)
            two[:, :, start // 2 : stop // 2] = self.encoder.block_one_dw(one.data)
        return one, two

    def _level_one(self, volume: _Rows, start: int, stop: int) -> _Rows:
        """Features of the finest level of the encoder, (B, F, rows, Y, Z)."""
        x, before, after = volume.around(start, stop)
        return _Rows(self.encoder.block_one.conv[0](x, before, after).relu_(), start, volume.total)

    def _coarse_levels(self, two: Tensor) -> Tensor:
        """Levels 2 to 5 and back: (B, 2 F, X/2, Y/2, Z/2) -> the same."""
        encoder, decoder = self.encoder, self.decoder
        two = encoder.block_two(two)
        three = encoder.block_three(encoder.block_two_dw(two))
        four = encoder.block_four(encoder.block_three_dw(three))
        five = encoder.block_five(encoder.block_four_dw(four))
        x = decoder.block_six(decoder.block_five_up(five).add_(four))
        x = decoder.block_seven(decoder.block_six_up(x).add_(three))
        return decoder.block_eight(decoder.block_seven_up(x).add_(two))  # type: ignore[no-any-return]

    def _heads(self, shared: _Rows, wide: tuple[int, int], slab: tuple[int, int], wanted: frozenset[Head]) -> dict[Head, Tensor]:
        """Logits (B, 1, rows, Y, Z) of a slab; `wide` are the rows of its features that they need."""
        features = _Rows(self.head_features(*shared.around(*wide), wanted), wide[0], shared.total)
        logits = {}
        for head, out in ((Head.ALL_BASELINE, self.out_1), (Head.ALL_FOLLOWUP, self.out_2)):
            if head in wanted:
                logits[head] = _one_channel(out, self.head_features.of(head, features.cut(*slab), wanted))
        if Head.NEW in wanted:
            logits[Head.NEW] = _one_channel(self.out_3, self.new_lesions(*features.around(*slab)))
        return logits


def _with_neighbours(start: int, stop: int, total: int) -> tuple[int, int]:
    """Rows of a slab and what a 3x3x3 convolution reaches into, as far as the volume goes."""
    return max(start - 1, 0), min(stop + 1, total)


class _HeadFeatures(nn.Module):
    """f1, f2 and f3 of the decoder, as far as they are needed, side by side as the channels of one convolution."""

    def __init__(self, decoder: Decoder, *, float32_on_cpu: bool) -> None:
        super().__init__()
        convolutions = [cast("nn.Conv3d", block.conv[0]) for block in (decoder.block_nine_1, decoder.block_nine_2, decoder.block_nine_3)]
        self.width = convolutions[0].out_channels
        weight, bias = (torch.cat([c.state_dict()[name] for c in convolutions]) for name in ("weight", "bias"))
        self.convolution = arranged(weight, bias, float32_on_cpu=float32_on_cpu)

    def forward(self, x: Tensor, before: int, after: int, wanted: frozenset[Head]) -> Tensor:
        """(B, F, rows, Y, Z) -> (B, 1 to 3 times F, rows - 2 + before + after, Y, Z)."""
        first, last = self._needed(wanted)
        return self.convolution(x, before, after, slice(first * self.width, last * self.width)).relu_()  # type: ignore[no-any-return]

    def of(self, head: Head, features: Tensor, wanted: frozenset[Head]) -> Tensor:
        """Those of one head among what forward gave: (B, F, rows, Y, Z)."""
        place = list(Head).index(head) - self._needed(wanted)[0]
        return features[:, place * self.width : (place + 1) * self.width]

    @staticmethod
    def _needed(wanted: frozenset[Head]) -> tuple[int, int]:
        """First of the heads whose features are needed, and the one after the last; the new lesions need all three."""
        if Head.NEW in wanted:
            return 0, 3
        places = [i for i, head in enumerate(Head) if head in wanted]
        return places[0], places[-1] + 1


class _NewLesionBlock(nn.Module):
    """Decoder.refine over some rows of f1, f2 and f3 side by side.

    In float32 the difference f2 - f1 is taken by the weights. In bf16 it is taken before it is rounded away.
    """

    def __init__(self, convolution: nn.Conv3d, *, float32_on_cpu: bool) -> None:
        super().__init__()
        weight = convolution.weight
        self.by_weights = float32_on_cpu
        if float32_on_cpu:
            change, first, third = torch.chunk(weight, 3, dim=1)
            weight = torch.cat((first - change, change, third), dim=1)
        self.convolution = arranged(weight, convolution.bias, float32_on_cpu=float32_on_cpu)

    def forward(self, features: Tensor, before: int, after: int) -> Tensor:
        """(B, 3 F, rows, Y, Z) -> (B, F, rows - 2 + before + after, Y, Z)."""
        if not self.by_weights:
            f1, f2, f3 = torch.chunk(features, 3, dim=1)
            features = torch.cat((f2 - f1, f1, f3), dim=1)
        return self.convolution(features, before, after).relu_()  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """The rows along X from `start` on, of a feature map with `total` rows."""

    data: Tensor  # (B, C, rows, Y, Z)
    start: int
    total: int

    def cut(self, start: int, stop: int) -> Tensor:
        """From row `start` to before row `stop`."""
        return self.data[:, :, start - self.start : stop - self.start]

    def around(self, start: int, stop: int) -> tuple[Tensor, int, int]:
        """What a 3x3x3 convolution needs for these rows, and how many rows of zeros come before and after: 1 at an end of the volume."""
        low, high = max(start - 1, 0), min(stop + 1, self.total)
        return self.cut(low, high), int(low == start), int(high == stop)


def _one_channel(out: nn.Conv3d, features: Tensor) -> Tensor:
    """A 1x1x1 convolution to one channel, (B, F, X, Y, Z) -> (B, 1, X, Y, Z); as a product with a vector where that is faster."""
    if not is_float32_on_cpu(features):
        return out(features)  # type: ignore[no-any-return]
    return functional.linear(features.movedim(1, -1), out.weight.flatten(1), out.bias).movedim(-1, 1)


def _fold(module: nn.Module) -> None:
    """Fold every BatchNorm3d into the convolution before it, in place."""
    for child in module.children():
        _fold(child)
    if isinstance(module, nn.Sequential):
        layers = list(module)
        for i in range(len(layers) - 1):
            norm = layers[i + 1]
            if isinstance(norm, nn.BatchNorm3d):
                convolution = cast("nn.Conv3d | nn.ConvTranspose3d", layers[i])
                module[i] = fuse_conv_bn_eval(convolution, norm, transpose=isinstance(convolution, nn.ConvTranspose3d))
                module[i + 1] = nn.Identity()


def _arrange(module: nn.Module, *, float32_on_cpu: bool) -> None:
    """Put the faster way in the place of every 3x3x3 convolution."""
    for name, child in module.named_children():
        if isinstance(child, nn.Conv3d) and child.kernel_size == (3, 3, 3):
            setattr(module, name, arranged(child.weight, child.bias, float32_on_cpu=float32_on_cpu))
        else:
            _arrange(child, float32_on_cpu=float32_on_cpu)


def _difference(out: nn.Conv3d) -> nn.Conv3d:
    """1x1x1 convolution to two classes -> to one: softmax of two logits is the sigmoid of their difference."""
    single = nn.Conv3d(out.in_channels, 1, 1)
    weights, wanted = out.state_dict(), single.state_dict()  # views: copying into them changes the module
    for name in ("weight", "bias"):
        wanted[name].copy_(weights[name][1:] - weights[name][:1])
    return single
