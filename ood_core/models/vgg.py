"""Plain convolutional networks: 3x3 convolutions with batch norm and ReLU, max pooling between stages, no shortcuts.

Source: Simonyan and Zisserman 2015, arXiv 1409.1556, table 1, column D. Departures: batch norm; global average pooling
and one linear layer instead of three, as is usual for 32x32 images. The shallow one is ours: as deep and as wide as
`resnet8`, at the same cost, without its shortcuts.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from ..recipes.schema import Network
from .architecture import Architecture, Backbone, ImageShape

MOST = 8  # channels of the widest stage, in those of the first


class VGG(Backbone):
    """Stages of conv-bn-relu, each with 2x2 max pooling behind it, global average pooling.

    Args:
        layers: convolutions in each stage.
        settings: `width` is the channels of the first stage; each later one doubles it, up to 8 times.
        image_shape: (H, W, C) of the images.
    """

    def __init__(self, layers: tuple[int, ...], settings: Network, image_shape: ImageShape) -> None:
        super().__init__()
        stages, inputs = [], image_shape[2]
        for index, count in enumerate(layers):
            outputs = settings.width * min(2**index, MOST)
            stage: list[nn.Module] = []
            for _ in range(count):
                stage += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
                inputs = outputs
            stages.append(nn.Sequential(*stage, nn.MaxPool2d(2)))
        self.stages = nn.Sequential(*stages)
        self.dim = inputs

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.stages(x)
        return out.mean(dim=(2, 3))  # (B, dim)


NETWORKS = {
    "vgg8": Architecture(
        partial(VGG, (2, 2, 3)),
        width=32,
        least=8,
        options=(),
        source="ours, after Simonyan and Zisserman 2015, arXiv 1409.1556",
    ),
    "vgg16": Architecture(
        partial(VGG, (2, 2, 3, 3, 3)),
        width=64,
        least=32,
        options=(),
        source="Simonyan and Zisserman 2015, arXiv 1409.1556, table 1, column D, with batch norm and one linear layer",
    ),
}
