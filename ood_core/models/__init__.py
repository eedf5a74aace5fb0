"""Backbones by name: images (B, C, H, W) -> features (B, dim).

A family's file lists its networks in `NETWORKS`; here they come together.
"""

from __future__ import annotations

from ..checks import choice
from ..recipes.schema import Network
from . import mlp, resnet
from .architecture import Architecture, Backbone, ImageShape

__all__ = ["ARCHITECTURES", "NAMES", "Architecture", "Backbone", "backbone"]

ARCHITECTURES: dict[str, Architecture] = {**resnet.NETWORKS, **mlp.NETWORKS}
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
