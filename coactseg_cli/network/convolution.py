"""3x3x3 convolutions over some rows of a volume, in two ways: as the library does them, and with a third fewer products.

Rows lie along X. A caller that holds rows with their neighbours asks for no zeros around them (before = after = 0) and gets two rows
less; at an end of the volume it asks for the zeros that a padded convolution has there.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

LEAST_CHANNELS = 16  # with fewer the sums of Winograd's way cost more than the products it saves
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
    """The same with four products for two rows where a convolution has six, for float32; Winograd's F(2, 3) along X.

    Two rows of the result need four rows d of the input, and per output row three slices g of the kernel along X:

        m0 = (d0 - d2) g0        m1 = (d1 + d2) (g0 + g1 + g2) / 2
        m3 = (d1 - d3) g2        m2 = (d2 - d1) (g0 - g1 + g2) / 2
        y0 = m0 + m1 + m2        y1 = m1 - m2 - m3

    where each product is a 1x3x3 convolution by the library. Rounding differs from the direct way by as much as it does itself from
    exact arithmetic (1e-6 of a probability; tests). Reference: Lavin and Gray 2016, CVPR, Sec. 4.1.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.direct = Direct(weight, bias)
        g0, g1, g2 = torch.split(weight.double(), 1, dim=2)
        kernels = g0, (g0 + g1 + g2) / 2, (g0 - g1 + g2) / 2, g2
        self.kernels = nn.ParameterList(_fixed(kernel.to(weight.dtype)) for kernel in kernels)

    def forward(self, x: Tensor, before: int = 1, after: int = 1, out: slice = ALL) -> Tensor:
        """As Direct.forward; an odd number of rows is done directly."""
        if (x.shape[2] + before + after) % 2:
            return self.direct(x, before, after, out)  # type: ignore[no-any-return]
        bias = None if self.direct.bias is None else self.direct.bias[out]
        parts = zip(_spread(x, before, after), self.kernels, (None, bias, None, None), strict=True)
        return _joined(*(_convolve(d, kernel[out], b, 0) for d, kernel, b in parts))


def _spread(x: Tensor, before: int, after: int) -> list[Tensor]:
    """What is multiplied for m0 to m3: (B, C, half the rows of the result, Y, Z) each; the result's rows are even in number."""
    half = (x.shape[2] - 2 + before + after) // 2
    d1, d2 = x[:, :, 1 - before :: 2][:, :, :half], x[:, :, 2 - before :: 2][:, :, :half]
    if before:  # d0 is d2 one step on, and zero at first
        first = torch.empty_like(d2)
        torch.neg(d2[:, :, :1], out=first[:, :, :1])
        torch.sub(d2[:, :, :-1], d2[:, :, 1:], out=first[:, :, 1:])
    else:
        first = x[:, :, 0::2][:, :, :half] - d2
    if after:  # d3 is d1 one step back, and zero at last
        last = torch.empty_like(d1)
        torch.sub(d1[:, :, :-1], d1[:, :, 1:], out=last[:, :, :-1])
        last[:, :, -1:] = d1[:, :, -1:]
    else:
        last = d1 - x[:, :, 3 - before :: 2][:, :, :half]
    return [first, d1 + d2, d2 - d1, last]


def _joined(m0: Tensor, m1: Tensor, m2: Tensor, m3: Tensor) -> Tensor:
    """The rows of the result from the four products, which are used up: (B, C', rows, Y, Z)."""
    b, channels, half, *plane = m1.shape
    y = torch.empty((b, channels, 2 * half, *plane), dtype=m1.dtype, device=m1.device, memory_format=torch.channels_last_3d)
    torch.add(m0.add_(m1), m2, out=y[:, :, 0::2])
    torch.sub(m1.sub_(m2), m3, out=y[:, :, 1::2])
    return y


def arranged(weight: Tensor, bias: Tensor | None, *, float32_on_cpu: bool) -> Direct | Winograd:
    """The faster way for a kernel (C', C, 3, 3, 3)."""
    narrow = min(weight.shape[:2]) < LEAST_CHANNELS
    return Winograd(weight, bias) if float32_on_cpu and not narrow else Direct(weight, bias)


def _fixed(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach().clone(), requires_grad=False)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, zeros: int) -> Tensor:
    """With one sample in float32, functional.conv3d takes small inputs to a slow way of torch's own, past oneDNN."""
    if x.dtype is torch.float32 and x.device.type == "cpu" and _ONE_DNN:
        return torch.mkldnn_convolution(x, weight, bias, (zeros, 1, 1), _ONES, _ONES, 1)
    return functional.conv3d(x, weight, bias, padding=(zeros, 1, 1))
