"""Convolutions whose spectral norm is softly bounded, one power iteration a training step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["SpectralConv2d"]


class SpectralConv2d(nn.Conv2d):
    """A convolution with the weight W / max(1, sigma(W) / bound), no bias, padded by half its kernel.

    sigma is the largest singular value, estimated as u . A v with unit vectors u and v that follow the weight:

        v <- A^T u / ||A^T u||,  u <- A v / ||A v||     once for every forward pass in training mode

    For k x k kernels, A is the convolution itself, zero padding and stride included, on inputs of `size`: v has shape
    (1, in, H, W), and A^T is the transposed convolution. For 1 x 1 kernels, A is the matrix (out, in), whose bound is
    that of the convolution without its stride. In eval mode u and v stay as they are. Gradients flow through sigma with
    u and v held fixed. All in the weight's precision, also under autocast.

    The vectors are buffers: they are saved, restored and resumed with the weights.

    Args:
        inputs, outputs, kernel, stride: of the convolution; the kernel is odd.
        size: (H, W) of its input.
        bound: the coefficient; above it the weight is scaled down to it, below it nothing changes.
    Source: Gouk et al. 2021, arXiv 1804.04368, for the convolution as an operator; the soft bound as in DDU (Mukhoti et
        al. 2023, arXiv 2102.11582). Departure: u starts as A v / ||A v||, so that eval mode has a meaning before the
        first step.
    """

    u: Tensor
    v: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, size: Sequence[int], bound: float) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        self.bound = bound
        out = [math.ceil(n / stride) for n in size]
        self.register_buffer("v", torch.zeros(inputs) if kernel == 1 else torch.zeros(1, inputs, *size))
        self.register_buffer("u", torch.zeros(outputs) if kernel == 1 else torch.zeros(1, outputs, *out))

    @torch.no_grad()
    def fill(self, _: str, weight: Tensor, draw: torch.Generator) -> None:
        """The weight as any convolution's, from the same numbers; then v at random and u from both."""
        nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu", generator=draw)
        self.v.normal_(generator=draw)
        self.v.div_(self.v.norm())
        self.u.copy_(_unit(self._along(self.v)))

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            weight = self.weight / (self.sigma() / self.bound).clamp(min=1)
        return F.conv2d(x, weight, None, self.stride, self.kernel_size[0] // 2)

    def sigma(self) -> Tensor:
        """The estimate as a scalar with a gradient; in training mode after one more power iteration."""
        u, v = self.u, self.v
        if self.training:
            with torch.no_grad():
                v = _unit(self._back(u))
                u = _unit(self._along(v))
                self.u.copy_(u)
                self.v.copy_(v)
        # Training writes to the buffers while an earlier pass may still wait for its gradient.
        return (u.clone() * self._along(v.clone())).sum()

    def _along(self, v: Tensor) -> Tensor:
        """A v."""
        if v.ndim == 1:
            return self.weight.flatten(1) @ v
        return F.conv2d(v, self.weight, None, self.stride, self.kernel_size[0] // 2)

    def _back(self, u: Tensor) -> Tensor:
        """A^T u."""
        if u.ndim == 1:
            return self.weight.flatten(1).T @ u
        kernel, stride = self.kernel_size[0], self.stride[0]
        padding = kernel // 2
        # With a stride, inputs of several sizes give outputs of one: how much larger than the least the true one is.
        rest = [
            n - ((m - 1) * stride - 2 * padding + kernel) for n, m in zip(self.v.shape[2:], u.shape[2:], strict=True)
        ]
        return F.conv_transpose2d(u, self.weight, None, stride, padding, rest)


def _unit(vector: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(vector)
    return vector / length.clamp_min(1e-12)
