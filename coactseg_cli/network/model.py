"""The V-Net of CoactSeg with its three heads; parameter names as in the published weights.

              16 filters            32             64             128            256
    x (3) -- block_one --- dw -- block_two - dw - three --- dw - four --- dw - five
                 |                  |               |             |              |
                 +------ add        +---- add       +--- add      +--- add       |
                          |                |              |             |        |
          features <- eight_up <---- seven/seven_up <- .. six_up <---- five_up <-+
             |
             +-- block_nine_1 = f1 -- out_conv_1 -> all lesions at baseline
             +-- block_nine_2 = f2 -- out_conv_2 -> all lesions at follow-up
             +-- block_nine_3 = f3 -- block_c2f(f2 - f1, f1, f3) -- out_conv_3 -> new lesions

Reference: Wu et al. 2023, Sec. 2.2, Fig. 2; Milletari et al. 2016 (V-Net).
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

DIVISOR = 16  # four halvings: every edge of an input is a multiple of this


class Heads(NamedTuple):
    """Logits (B, 2, X, Y, Z) of the three heads; class 1 is lesion."""

    all_baseline: Tensor
    all_followup: Tensor
    new: Tensor


class ConvBlock(nn.Module):
    """n times (3x3x3 convolution, batch norm, ReLU)."""

    def __init__(self, n: int, channels_in: int, channels_out: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(n):
            layers += [nn.Conv3d(channels_in if i == 0 else channels_out, channels_out, 3, padding=1)]
            layers += [nn.BatchNorm3d(channels_out), nn.ReLU(inplace=True)]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, X, Y, Z) -> (B, C_out, X, Y, Z)."""
        return self.conv(x)  # type: ignore[no-any-return]


class Down(nn.Module):
    """Halve the grid, double the channels: 2x2x2 convolution of stride 2, batch norm, ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv3d(channels, 2 * channels, 2, stride=2), nn.BatchNorm3d(2 * channels), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, X, Y, Z) -> (B, 2 C, X/2, Y/2, Z/2)."""
        return self.conv(x)  # type: ignore[no-any-return]


class Up(nn.Module):
    """Double the grid, halve the channels: 2x2x2 transposed convolution of stride 2, batch norm, ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv = nn.Sequential(nn.ConvTranspose3d(channels, half, 2, stride=2), nn.BatchNorm3d(half), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, X, Y, Z) -> (B, C/2, 2 X, 2 Y, 2 Z)."""
        return self.conv(x)  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """Five levels; returns the features of each, finest first."""

    def __init__(self, channels_in: int, filters: int, dropout: float) -> None:
        super().__init__()
        self.block_one = ConvBlock(1, channels_in, filters)
        self.block_one_dw = Down(filters)
        self.block_two = ConvBlock(2, 2 * filters, 2 * filters)
        self.block_two_dw = Down(2 * filters)
        self.block_three = ConvBlock(3, 4 * filters, 4 * filters)
        self.block_three_dw = Down(4 * filters)
        self.block_four = ConvBlock(3, 8 * filters, 8 * filters)
        self.block_four_dw = Down(8 * filters)
        self.block_five = ConvBlock(3, 16 * filters, 16 * filters)
        self.dropout = nn.Dropout3d(dropout)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, X, Y, Z) -> features of levels 1 to 5, (B, 2^(l-1) F, X/2^(l-1), ...)."""
        one = self.block_one(x)
        two = self.block_two(self.block_one_dw(one))
        three = self.block_three(self.block_two_dw(two))
        four = self.block_four(self.block_three_dw(three))
        five = self.dropout(self.block_five(self.block_four_dw(four)))
        return one, two, three, four, five


class Decoder(nn.Module):
    """Back to full resolution with added skips, then the three heads."""

    def __init__(self, filters: int, dropout: float) -> None:
        super().__init__()
        self.block_five_up = Up(16 * filters)
        self.block_six = ConvBlock(3, 8 * filters, 8 * filters)
        self.block_six_up = Up(8 * filters)
        self.block_seven = ConvBlock(3, 4 * filters, 4 * filters)
        self.block_seven_up = Up(4 * filters)
        self.block_eight = ConvBlock(2, 2 * filters, 2 * filters)
        self.block_eight_up = Up(2 * filters)
        self.block_nine_1 = ConvBlock(1, filters, filters)
        self.block_nine_2 = ConvBlock(1, filters, filters)
        self.block_nine_3 = ConvBlock(1, filters, filters)
        self.block_c2f = ConvBlock(1, 3 * filters, filters)
        self.out_conv_1 = nn.Conv3d(filters, 2, 1)
        self.out_conv_2 = nn.Conv3d(filters, 2, 1)
        self.out_conv_3 = nn.Conv3d(filters, 2, 1)
        self.dropout = nn.Dropout3d(dropout)

    def features(self, levels: tuple[Tensor, Tensor, Tensor, Tensor, Tensor]) -> Tensor:
        """What the three heads share: (B, F, X, Y, Z)."""
        one, two, three, four, five = levels
        x = self.block_six(self.block_five_up(five) + four)
        x = self.block_seven(self.block_six_up(x) + three)
        x = self.block_eight(self.block_seven_up(x) + two)
        return self.block_eight_up(x) + one  # type: ignore[no-any-return]

    def forward(self, levels: tuple[Tensor, Tensor, Tensor, Tensor, Tensor]) -> Heads:
        """Features of the five levels -> logits of the three heads."""
        shared = self.features(levels)
        f1 = self.dropout(self.block_nine_1(shared))
        f2 = self.dropout(self.block_nine_2(shared))
        f3 = self.dropout(self.refine(f1, f2, self.block_nine_3(shared), as_sum=shared.device.type == "cpu" and torch.is_grad_enabled()))
        return Heads(self.out_conv_1(f1), self.out_conv_2(f2), self.out_conv_3(f3))

    def refine(self, f1: Tensor, f2: Tensor, f3: Tensor, *, as_sum: bool) -> Tensor:
        """The new-lesion block over (f2 - f1, f1, f3); all (B, F, X, Y, Z).

        A convolution over channels put side by side is the sum of one over each. On a CPU the gradient for 48 -> 16 channels takes a
        slow path of the library where that for 16 -> 16 does not (docs/training.md).
        """
        if not as_sum:
            return self.block_c2f(torch.cat((f2 - f1, f1, f3), dim=1))  # type: ignore[no-any-return]
        convolution = cast("nn.Conv3d", self.block_c2f.conv[0])
        change, first, third = torch.chunk(convolution.weight, 3, dim=1)
        x = functional.conv3d(f2, change, padding=1)
        x += functional.conv3d(f1, first - change, padding=1)
        x += functional.conv3d(f3, third, convolution.bias, padding=1)
        return self.block_c2f.conv[1:](x)  # type: ignore[no-any-return]


class VNet(nn.Module):
    """CoactSeg's network F of Eq. 1: (x_b, x_fu, x_d) -> (p_al1, p_al2, p_nl), as logits."""

    def __init__(self, base_filters: int = 16, channels_in: int = 3, dropout: float = 0.5) -> None:
        super().__init__()
        self.base_filters = base_filters
        self.encoder = Encoder(channels_in, base_filters, dropout)
        self.decoder = Decoder(base_filters, dropout)

    def forward(self, x: Tensor) -> Heads:
        """Predict the three maps.

        Args:
            x: (B, 3, X, Y, Z), edges multiples of 16: baseline, follow-up, follow-up minus baseline.

        Returns: logits (B, 2, X, Y, Z) per head.
        """
        return self.decoder(self.encoder(x))  # type: ignore[no-any-return]
