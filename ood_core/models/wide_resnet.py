"""Wide residual networks: batch norm and ReLU before each convolution, few layers, many channels.

Source: Zagoruyko and Komodakis 2016, arXiv 1605.07146, table 1, without dropout. The IsoMax papers' code (arXiv
2105.14399) has biases in the convolutions and another momentum in the last batch norm; these are the original ones.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from ..recipes.schema import Network
from .architecture import Architecture, Backbone, ImageShape

STEM = 16  # channels of the first convolution, at every width


class _Block(nn.Module):
    """x + conv(relu(bn(conv(relu(bn(x)))))), (B, in, H, W) -> (B, out, H/stride, W/stride).

    Where the shape changes, x goes through batch norm, ReLU and a 1x1 convolution first.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        changes = stride != 1 or inputs != outputs
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(x))
        if self.shortcut is not None:
            x = self.shortcut(out)
        change: Tensor = self.conv2(F.relu(self.bn2(self.conv1(out))))
        return x + change


class WideResNet(Backbone):
    """Stem of 16 channels, three stages of pre-activation blocks, batch norm, ReLU, global average pooling.

    Args:
        blocks: blocks in each stage, (depth - 4) / 6.
        settings: `width` is the channels of the first stage, 16 times the widening factor; each later stage doubles it,
            so dim = 4 width.
        image_shape: (H, W, C) of the images.
    """

    def __init__(self, blocks: int, settings: Network, image_shape: ImageShape) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(image_shape[2], STEM, 3, padding=1, bias=False)
        stages, inputs = [], STEM
        for index in range(3):
            outputs = settings.width * 2**index
            layers = [_Block(inputs, outputs, stride=1 if index == 0 else 2)]
            layers += [_Block(outputs, outputs, stride=1) for _ in range(blocks - 1)]
            stages.append(nn.Sequential(*layers))
            inputs = outputs
        self.stages = nn.Sequential(*stages)
        self.bn = nn.BatchNorm2d(inputs)
        self.dim = inputs

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(self.conv1(x))
        return F.relu(self.bn(x)).mean(dim=(2, 3))  # (B, dim)


NETWORKS = {
    "wide_resnet28": Architecture(
        partial(WideResNet, 4),
        width=160,
        least=4,
        options=(),
        source="Zagoruyko and Komodakis 2016, arXiv 1605.07146, table 1: WRN-28-10",
    )
}
