"""Densely connected networks with bottlenecks and compression: each layer sees the outputs of all before it.

Source: Huang et al. 2017, arXiv 1608.06993, section 3 and the settings for CIFAR (DenseNet-BC), without dropout.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..recipes.schema import Network
from .architecture import Architecture, Backbone, ImageShape


class _Layer(nn.Module):
    """x and, behind it, conv3x3(relu(bn(conv1x1(relu(bn(x)))))): (B, in, H, W) -> (B, in + growth, H, W)."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1(F.relu(self.bn1(x)))
        return torch.cat((x, self.conv2(F.relu(self.bn2(out)))), dim=1)


class _Transition(nn.Module):
    """Half the channels by a 1x1 convolution, half the resolution by averages."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, inputs // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.conv(F.relu(self.bn(x))), 2)


class DenseNet(Backbone):
    """Stem, three dense blocks with transitions between them, batch norm, ReLU, global average pooling.

    Args:
        layers: layers in each block, (depth - 4) / 6.
        settings: `width` is the growth rate k, the channels that each layer adds; the stem has 2 k.
        image_shape: (H, W, C) of the images.
    """

    def __init__(self, layers: int, settings: Network, image_shape: ImageShape) -> None:
        super().__init__()
        growth = settings.width
        self.conv1 = nn.Conv2d(image_shape[2], 2 * growth, 3, padding=1, bias=False)
        blocks: list[nn.Module] = []
        inputs = 2 * growth
        for index in range(3):
            if index:
                blocks.append(_Transition(inputs))
                inputs //= 2
            blocks.append(nn.Sequential(*(_Layer(inputs + i * growth, growth) for i in range(layers))))
            inputs += layers * growth
        self.blocks = nn.Sequential(*blocks)
        self.bn = nn.BatchNorm2d(inputs)
        self.dim = inputs

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.conv1(x))
        return F.relu(self.bn(x)).mean(dim=(2, 3))  # (B, dim)


NETWORKS = {
    "densenet100": Architecture(
        partial(DenseNet, 16),
        width=12,
        least=4,
        options=(),
        source="Huang et al. 2017, arXiv 1608.06993: DenseNet-BC with L = 100, k = 12, compression 0.5",
    )
}
