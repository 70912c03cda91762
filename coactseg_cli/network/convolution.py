"""3x3x3 convolutions over some rows of a volume, in two ways: as the library does them, and with half of the products.

Rows lie along X. A caller that holds rows with their neighbours asks for no zeros around them (before = after = 0) and gets two rows
less; at an end of the volume it asks for the zeros that a padded convolution has there.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

LEAST_CHANNELS = 16  # with fewer the sums of Winograd's way cost more than the products it saves
PIECE = 1 << 22  # numbers of a result that are made at a time: what they are made from takes half as much again
ALL = slice(None)
_ONES = (1, 1, 1)
_ONE_DNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


class Direct(nn.Module):
    """The library's convolution."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = _fixed(weight)
        self.bias = None if bias is None else _fixed(bias)

    def forward(self, x: Tensor, before: int = 1, after: int = 1, out: slice = ALL) -> Tensor:
        """(B, C, rows, Y, Z) -> (B, C', rows - 2 + before + after, Y, Z); before and after: 0 or 1 row of zeros; out: which of the C'."""
        zeros = max(before, after)
        y = _convolve(x, self.weight[out], None if self.bias is None else self.bias[out], zeros)
        return y[:, :, zeros - before : y.shape[2] + after - zeros]


class Winograd(nn.Module):
    """The same with six products for four rows where a convolution has twelve, for float32; Winograd's F(4, 3) along X.

    Four rows of the result need six rows d of the input, and per output row three slices g of the kernel along X:

        m0 = (4 d0 - 5 d2 + d4) g0 / 4                             y0 = m0 + m1 + m2 + m3 + m4
        m1 = (d4 - 4 d2 + (d3 - 4 d1)) (-g0 - g1 - g2) / 6         y1 = m1 - m2 + 2 (m3 - m4)
        m2 = (d4 - 4 d2 - (d3 - 4 d1)) (-g0 + g1 - g2) / 6         y2 = m1 + m2 + 4 (m3 + m4)
        m3 = (d4 - d2 + 2 (d3 - d1)) (g0 + 2 g1 + 4 g2) / 24       y3 = m1 - m2 + 8 (m3 - m4) + m5
        m4 = (d4 - d2 - 2 (d3 - d1)) (g0 - 2 g1 + 4 g2) / 24
        m5 = (4 d1 - 5 d3 + d5) g2

    where each product is a 1x3x3 convolution by the library. One to three rows that are left over are done directly. Rounding differs
    from the direct way by as much as it does itself from exact arithmetic (1e-6 of a probability; tests).
    Reference: Lavin and Gray 2016, CVPR, Sec. 4.1 and 5.1.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.direct = Direct(weight, bias)
        g0, g1, g2 = torch.split(weight.double(), 1, dim=2)
        ones = -(g0 + g1 + g2) / 6, -(g0 - g1 + g2) / 6
        twos = (g0 + 2 * g1 + 4 * g2) / 24, (g0 - 2 * g1 + 4 * g2) / 24
        self.kernels = nn.ParameterList(_fixed(kernel.to(weight.dtype)) for kernel in (g0 / 4, *ones, *twos, g2))

    def forward(self, x: Tensor, before: int = 1, after: int = 1, out: slice = ALL) -> Tensor:
        """As Direct.forward."""
        rows = x.shape[2] - 2 + before + after
        most = rows // 4 * 4
        if not most:
            return self.direct(x, before, after, out)  # type: ignore[no-any-return]
        shape = (x.shape[0], self.kernels[0][out].shape[0], rows, *x.shape[3:])
        y = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last_3d)
        step = max(PIECE // (y.numel() // rows) // 4 * 4, 4)
        for start in range(0, most, step):
            stop = min(start + step, most)
            piece = x[:, :, max(start - before, 0) : stop + 2 - before]
            self._by_fours(piece, before if start == 0 else 0, out, y[:, :, start:stop])
        if most < rows:
            y[:, :, most:] = self.direct(x[:, :, most - before :], 0, after, out)
        return y

    def _by_fours(self, x: Tensor, before: int, out: slice, y: Tensor) -> None:
        """Fill y, whose rows are a multiple of four. A row of zeros before the first one or behind the last one is left out of the sums."""
        n = y.shape[2] // 4
        d1, d2, d3, d4 = (x[:, :, i - before :: 4][:, :, :n] for i in (1, 2, 3, 4))
        y0, y1, y2, y3 = (y[:, :, i::4] for i in range(4))
        even, odd = torch.sub(d4, d2, alpha=4), torch.sub(d3, d1, alpha=4)
        m1, m2 = self._product(1, even + odd, out), self._product(2, even.sub_(odd), out)
        torch.sub(d4, d2, out=even)
        torch.sub(d3, d1, out=odd)
        m3, m4 = self._product(3, torch.add(even, odd, alpha=2), out), self._product(4, even.sub_(odd, alpha=2), out)
        sum_1, difference_1 = m1 + m2, m1.sub_(m2)
        sum_2, difference_2 = torch.add(m3, m4, out=m2), m3.sub_(m4)
        torch.add(sum_1, sum_2, out=y0)
        torch.add(difference_1, difference_2, alpha=2, out=y1)
        torch.add(sum_1, sum_2, alpha=4, out=y2)
        torch.add(difference_1, difference_2, alpha=8, out=y3)
        del m1, m2, m3, m4, sum_1, sum_2, difference_1, difference_2
        first, last = torch.sub(d4, d2, alpha=5, out=even), torch.mul(d1, 4, out=odd).sub_(d3, alpha=5)
        d0 = x[:, :, 3 if before else 0 :: 4][:, :, : n - before]  # without the first, where that is zeros
        first[:, :, before:].add_(d0, alpha=4)
        d5 = x[:, :, 5 - before :: 4][:, :, :n]  # without the last, where that is zeros
        last[:, :, : d5.shape[2]].add_(d5)
        y0 += self._product(0, first, out)
        y3 += self._product(5, last, out)

    def _product(self, i: int, d: Tensor, out: slice) -> Tensor:
        bias = self.direct.bias[out] if i == 1 and self.direct.bias is not None else None  # m1 is in every row once
        return _convolve(d, self.kernels[i][out], bias, 0)


class Visits(nn.Module):
    """The first convolution, over (x_b, x_fu, x_fu - x_b), from the channels given: those three, the two visits, or a visit that is both.

    With fewer channels the difference is taken by the weights.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        baseline, followup, change = torch.split(weight, 1, dim=1)
        weights = baseline + followup, torch.cat((baseline - change, followup + change), dim=1), weight
        self.ways = nn.ModuleList(Direct(_channels_last(w), bias) for w in weights)

    def forward(self, x: Tensor, before: int = 1, after: int = 1) -> Tensor:
        """(B, 1 to 3, rows, Y, Z) -> (B, C', rows - 2 + before + after, Y, Z)."""
        return self.ways[x.shape[1] - 1](x, before, after)  # type: ignore[no-any-return]


def arranged(weight: Tensor, bias: Tensor | None, *, float32_on_cpu: bool) -> Direct | Winograd:
    """The faster way for a kernel (C', C, 3, 3, 3)."""
    narrow = min(weight.shape[:2]) < LEAST_CHANNELS
    return Winograd(weight, bias) if float32_on_cpu and not narrow else Direct(weight, bias)


def is_float32_on_cpu(x: Tensor) -> bool:
    """Where the library has slow ways for some layers."""
    return x.dtype is torch.float32 and x.device.type == "cpu"


def _fixed(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach().clone(), requires_grad=False)


def _channels_last(weight: Tensor) -> Tensor:
    """The same in that order, which strides tell even where there is one channel: the order of a result follows it."""
    return torch.empty_like(weight, memory_format=torch.channels_last_3d).copy_(weight)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, zeros: int) -> Tensor:
    """With one sample in float32, functional.conv3d takes small inputs to a slow way of torch's own, past oneDNN."""
    if _ONE_DNN and is_float32_on_cpu(x):
        return torch.mkldnn_convolution(x, weight, bias, (zeros, 1, 1), _ONES, _ONES, 1)
    return functional.conv3d(x, weight, bias, padding=(zeros, 1, 1))
