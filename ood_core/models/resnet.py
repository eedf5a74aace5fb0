"""Residual networks for small images: the CIFAR family (8, 14, 20, 110) and the wide-stage family (18, 34, 50).

Source: He et al. 2016, arXiv 1512.03385, section 4.2 (CIFAR family) and table 1 (18, 34, 50), the latter with the 3x3
stem and no max pooling that CIFAR code uses, and the stride of a bottleneck on its 3x3 convolution. Departure: the
shortcuts that change shape are 1x1 convolutions in both families by default; `shortcut: pad` has those that the CIFAR
family was published with, without parameters (ResNet-110 with ten classes: 1,727,962 parameters against 1,730,714; the
paper prints 1.7M). The other options are those of DDU (Mukhoti et al. 2023, arXiv 2102.11582).
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from torch import Tensor, nn
from torch.nn import functional as F

from ..checks import InputError
from ..recipes.schema import Network
from .architecture import Architecture, Backbone, ImageShape
from .spectral import SpectralConv2d

Size = list[int]  # (H, W) of a layer's input

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,  # slope 0.01
    "gelu": F.gelu,
}


class BasicBlock(nn.Module):
    """act(conv-bn-act-conv-bn(x) + shortcut(x)), shape (B, in, H, W) -> (B, out, H/stride, W/stride)."""

    expansion = 1

    def __init__(self, inputs: int, outputs: int, stride: int, settings: Network, size: Size) -> None:
        super().__init__()
        after = _after(size, stride)
        self.conv1 = _conv(inputs, outputs, 3, stride, settings, size)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = _conv(outputs, outputs, 3, 1, settings, after)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = _shortcut(inputs, outputs, stride, settings, size)
        self.act = ACTIVATIONS[settings.activation]

    def forward(self, x: Tensor) -> Tensor:
        out = self.act(self.bn1(self.conv1(x)))
        return self.act(self.bn2(self.conv2(out)) + self.shortcut(x))


class Bottleneck(nn.Module):
    """act(1x1-bn-act-3x3-bn-act-1x1-bn(x) + shortcut(x)), a quarter of `outputs` channels within."""

    expansion = 4

    def __init__(self, inputs: int, outputs: int, stride: int, settings: Network, size: Size) -> None:
        super().__init__()
        within, after = outputs // self.expansion, _after(size, stride)
        self.conv1 = _conv(inputs, within, 1, 1, settings, size)
        self.bn1 = nn.BatchNorm2d(within)
        self.conv2 = _conv(within, within, 3, stride, settings, size)
        self.bn2 = nn.BatchNorm2d(within)
        self.conv3 = _conv(within, outputs, 1, 1, settings, after)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.shortcut = _shortcut(inputs, outputs, stride, settings, size)
        self.act = ACTIVATIONS[settings.activation]

    def forward(self, x: Tensor) -> Tensor:
        out = self.act(self.bn1(self.conv1(x)))
        out = self.act(self.bn2(self.conv2(out)))
        return self.act(self.bn3(self.conv3(out)) + self.shortcut(x))


class PoolShortcut(nn.Module):
    """Average pooling over stride x stride, then channels of zeros: (B, in, H, W) -> (B, out, H/stride, W/stride).

    Windows that reach beyond an odd edge average the pixels that are there.
    """

    kind = "pool"

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        if outputs < inputs:
            raise InputError(
                f"shortcut is '{self.kind}' from {inputs} to {outputs} channels, "
                "expected no fewer than before: it adds zeros.\nRaise network.features, or use shortcut: conv."
            )
        self.more, self.stride = outputs - inputs, stride

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(self.smaller(x), (0, 0, 0, 0, 0, self.more))

    def smaller(self, x: Tensor) -> Tensor:
        """The image at the resolution of the block's output."""
        return F.avg_pool2d(x, self.stride, ceil_mode=True)


class PadShortcut(PoolShortcut):
    """Every stride-th pixel, then channels of zeros, as published for the CIFAR family (its option A)."""

    kind = "pad"

    def smaller(self, x: Tensor) -> Tensor:
        return x[:, :, :: self.stride, :: self.stride]


class ResNet(Backbone):
    """Stem, stages of residual blocks, global average pooling: images (B, C, H, W) -> features (B, dim).

    Args:
        blocks: blocks in each stage; the first stage keeps the resolution, each later one halves it.
        settings: `width` is the channels of the first stage; each later one doubles them, so that
            dim = width * 2^(stages - 1) (four times that with bottlenecks) unless `features` says otherwise;
            `activation` replaces every ReLU; `shortcut: pool` or `pad` replaces 1x1 convolutions on shortcuts;
            `spectral` bounds every convolution, the stem included.
        image_shape: (H, W, C) of the images; with `spectral` the network fits this size alone.
        block: the kind of block.
    Raises:
        InputError: `features` that the last stage cannot have.
    """

    def __init__(
        self,
        blocks: tuple[int, ...],
        settings: Network,
        image_shape: ImageShape,
        block: type[BasicBlock] | type[Bottleneck] = BasicBlock,
    ) -> None:
        super().__init__()
        *here, channels = image_shape
        self.conv1 = _conv(channels, settings.width, 3, 1, settings, here)
        self.bn1 = nn.BatchNorm2d(settings.width)
        stages, inputs = [], settings.width
        for index, count in enumerate(blocks):
            outputs = settings.width * 2**index * block.expansion
            if index == len(blocks) - 1:
                outputs = _last(settings.features or outputs, block)
            layers: list[nn.Module] = []
            for place in range(count):
                stride = 2 if place == 0 and index > 0 else 1
                layers.append(block(inputs, outputs, stride, settings, here))
                inputs, here = outputs, _after(here, stride)
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        self.act = ACTIVATIONS[settings.activation]
        self.dim = inputs

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.bn1(self.conv1(x)))
        out: Tensor = self.stages(x)
        return out.mean(dim=(2, 3))  # (B, dim)


def _last(features: int, block: type[BasicBlock] | type[Bottleneck]) -> int:
    if features % block.expansion:
        raise InputError(
            f"network.features is {features}, expected a multiple of {block.expansion} with bottlenecks.\nRound it."
        )
    return features


def _conv(inputs: int, outputs: int, kernel: int, stride: int, settings: Network, size: Size) -> nn.Module:
    if settings.spectral is not None:
        return SpectralConv2d(inputs, outputs, kernel, stride, size, settings.spectral)
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


def _shortcut(inputs: int, outputs: int, stride: int, settings: Network, size: Size) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    if settings.shortcut != "conv":
        return {"pool": PoolShortcut, "pad": PadShortcut}[settings.shortcut](inputs, outputs, stride)
    return nn.Sequential(_conv(inputs, outputs, 1, stride, settings, size), nn.BatchNorm2d(outputs))


def _after(size: Size, stride: int) -> Size:
    """What a convolution of this stride, padded by half its kernel, leaves of (H, W)."""
    return [ceil(n / stride) for n in size]


def _named(*blocks: int, width: int, block: type[BasicBlock] | type[Bottleneck] = BasicBlock) -> Architecture:
    return Architecture(
        lambda settings, image_shape: ResNet(blocks, settings, image_shape, block),
        width=width,
        least=2 ** (len(blocks) - 1),
        options=("features", "activation", "shortcut", "spectral"),
        source="He et al. 2016, arXiv 1512.03385",
    )


NETWORKS = {
    "resnet8": _named(1, 1, 1, width=16),
    "resnet14": _named(2, 2, 2, width=16),
    "resnet20": _named(3, 3, 3, width=16),
    "resnet110": _named(18, 18, 18, width=16),
    "resnet18": _named(2, 2, 2, 2, width=64),
    "resnet34": _named(3, 4, 6, 3, width=64),
    "resnet50": _named(3, 4, 6, 3, width=64, block=Bottleneck),
}
