"""Backbones by name: images (B, C, H, W) -> features (B, dim).

A family's file lists its networks in `NETWORKS`; here they come together.
"""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..checks import choice
from ..recipes.schema import Network
from . import densenet, mlp, resnet, transformer, vgg, wide_resnet
from .architecture import Architecture, Backbone, ImageShape

__all__ = ["ARCHITECTURES", "NAMES", "Architecture", "Backbone", "backbone", "cost"]

ARCHITECTURES: dict[str, Architecture] = {
    **resnet.NETWORKS,
    **wide_resnet.NETWORKS,
    **vgg.NETWORKS,
    **densenet.NETWORKS,
    **transformer.NETWORKS,
    **mlp.NETWORKS,
}
NAMES = tuple(ARCHITECTURES)


def backbone(settings: Network, image_shape: ImageShape) -> Backbone:
    """Build a backbone for images of one shape.

    Args:
        settings: the `network` of a recipe; its name is one of `NAMES`.
        image_shape: (H, W, C) of the images.
    Returns:
        a module with `dim`, the number of features; `networks.initialise` fills it.
    Raises:
        InputError: an unknown name, or an option, a width or a size of images that the network does not take.
    """
    architecture = ARCHITECTURES[choice("network", settings.name, NAMES)]
    architecture.check(settings, image_shape)
    return architecture.build(settings, image_shape)


def cost(settings: Network, image_shape: ImageShape) -> tuple[int, int]:
    """Parameters of a backbone, and multiply-adds of its forward pass on one image.

    Counted by `torch.utils.flop_counter` without computing anything: convolutions and matrix products, attention's
    included; not normalisation, activations and pooling, and not the estimate of spectral norms.

    Returns:
        (parameters, multiply-adds); a head of C classes comes on top.
    """
    height, wide, channels = image_shape
    settings = settings.model_copy(update={"spectral": None})
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        net = backbone(settings, image_shape).eval()
        net(torch.empty(1, channels, height, wide))
    return sum(p.numel() for p in net.parameters()), counter.get_total_flops() // 2
