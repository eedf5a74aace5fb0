"""Residual networks for small images: the CIFAR family (8, 14, 20, 110) and the wide-stage family (18, 34).

Source: He et al. 2016, arXiv 1512.03385, section 4.2 (CIFAR family) and table 1 (18, 34), the latter with the 3x3 stem
and no max pooling that CIFAR code uses. Departure: shortcuts that change shape are 1x1 convolutions in both families.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from ..recipes.schema import Network
from .architecture import Architecture, Backbone, ImageShape


class BasicBlock(nn.Module):
    """relu(conv-bn-relu-conv-bn(x) + shortcut(x)), shape (B, in, H, W) -> (B, out, H/stride, W/stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                nn.BatchNorm2d(outputs),
            )

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class ResNet(Backbone):
    """Stem, stages of basic blocks, global average pooling: images (B, C, H, W) -> features (B, dim).

    Args:
        blocks: blocks in each stage; the first stage keeps the resolution, each later one halves it.
        settings: `width` is the channels of the first stage; each later one doubles it, so
            dim = width * 2^(stages - 1).
        image_shape: (H, W, C).
    """

    def __init__(self, blocks: tuple[int, ...], settings: Network, image_shape: ImageShape) -> None:
        super().__init__()
        width = settings.width
        self.conv1 = nn.Conv2d(image_shape[2], width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        stages, inputs = [], width
        for index, count in enumerate(blocks):
            outputs = width * 2**index
            layers = [BasicBlock(inputs, outputs, stride=1 if index == 0 else 2)]
            layers += [BasicBlock(outputs, outputs, stride=1) for _ in range(count - 1)]
            stages.append(nn.Sequential(*layers))
            inputs = outputs
        self.stages = nn.Sequential(*stages)
        self.dim = inputs

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        out: Tensor = self.stages(x)
        return out.mean(dim=(2, 3))  # (B, dim)


_OPTIONS: tuple[str, ...] = ()
_SMALL = "He et al. 2016, arXiv 1512.03385, section 4.2"
_LARGE = "He et al. 2016, arXiv 1512.03385, table 1, with a 3x3 stem and no max pooling"
NETWORKS = {
    "resnet8": Architecture(partial(ResNet, (1, 1, 1)), 16, 4, _OPTIONS, _SMALL),
    "resnet14": Architecture(partial(ResNet, (2, 2, 2)), 16, 4, _OPTIONS, _SMALL),
    "resnet20": Architecture(partial(ResNet, (3, 3, 3)), 16, 4, _OPTIONS, _SMALL),
    "resnet110": Architecture(partial(ResNet, (18, 18, 18)), 16, 4, _OPTIONS, _SMALL),
    "resnet18": Architecture(partial(ResNet, (2, 2, 2, 2)), 64, 8, _OPTIONS, _LARGE),
    "resnet34": Architecture(partial(ResNet, (3, 4, 6, 3)), 64, 8, _OPTIONS, _LARGE),
}
