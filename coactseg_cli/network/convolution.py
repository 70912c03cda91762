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
        half = (x.shape[2] - 2 + before + after) // 2
        d1, d2 = x[:, :, 1 - before :: 2][:, :, :half], x[:, :, 2 - before :: 2][:, :, :half]
        m1, m2 = self._product(1, d1 + d2, out), self._product(2, d2 - d1, out)
        y = torch.empty((*m1.shape[:2], 2 * half, *m1.shape[3:]), dtype=x.dtype, device=x.device, memory_format=torch.channels_last_3d)
        even, odd = y[:, :, 0::2], y[:, :, 1::2]
        torch.add(m1, m2, out=even)
        torch.sub(m1, m2, out=odd)
        del m1, m2
        even += self._product(0, _less_the_next(d2) if before else x[:, :, 0::2][:, :, :half] - d2, out)
        odd -= self._product(3, _less_the_next(d1, last=True) if after else d1 - x[:, :, 3 - before :: 2][:, :, :half], out)
        return y

    def _product(self, i: int, d: Tensor, out: slice) -> Tensor:
        bias = self.direct.bias[out] if i == 1 and self.direct.bias is not None else None
        return _convolve(d, self.kernels[i][out], bias, 0)


def _less_the_next(x: Tensor, *, last: bool = False) -> Tensor:
    """Each row less the row after it. At an end of the volume a row of zeros stands before the first one, or behind the last one."""
    y = torch.empty_like(x)
    if last:
        torch.sub(x[:, :, :-1], x[:, :, 1:], out=y[:, :, :-1])
        y[:, :, -1:] = x[:, :, -1:]
    else:
        torch.neg(x[:, :, :1], out=y[:, :, :1])
        torch.sub(x[:, :, :-1], x[:, :, 1:], out=y[:, :, 1:])
    return y


def arranged(weight: Tensor, bias: Tensor | None, *, float32_on_cpu: bool) -> Direct | Winograd:
    """The faster way for a kernel (C', C, 3, 3, 3)."""
    narrow = min(weight.shape[:2]) < LEAST_CHANNELS
    return Winograd(weight, bias) if float32_on_cpu and not narrow else Direct(weight, bias)


def is_float32_on_cpu(x: Tensor) -> bool:
    """Where the library has slow ways for some layers."""
    return x.dtype is torch.float32 and x.device.type == "cpu"


def _fixed(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach().clone(), requires_grad=False)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, zeros: int) -> Tensor:
    """With one sample in float32, functional.conv3d takes small inputs to a slow way of torch's own, past oneDNN."""
    if _ONE_DNN and is_float32_on_cpu(x):
        return torch.mkldnn_convolution(x, weight, bias, (zeros, 1, 1), _ONES, _ONES, 1)
    return functional.conv3d(x, weight, bias, padding=(zeros, 1, 1))
