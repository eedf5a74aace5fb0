"""Backbones by name: images (B, C, H, W) -> features (B, dim)."""

from __future__ import annotations

from ..checks import InputError, choice
from .resnet import ResNet

__all__ = ["NAMES", "ResNet", "backbone"]

_BLOCKS = {
    "resnet8": (1, 1, 1),
    "resnet14": (2, 2, 2),
    "resnet20": (3, 3, 3),
    "resnet110": (18, 18, 18),
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
}
NAMES = tuple(_BLOCKS)


def backbone(name: str, width: int, image_shape: tuple[int, int, int]) -> ResNet:
    """Build a backbone for images of one shape.

    Args:
        name: one of `NAMES`.
        width: channels of the first stage.
        image_shape: (H, W, C) of the images.
    Returns:
        a module with `dim`, the number of features.
    Raises:
        InputError: an unknown name, or images too small for the network's halvings.
    """
    blocks = _BLOCKS[choice("network", name, NAMES)]
    height, wide, channels = image_shape
    least = 2 ** (len(blocks) - 1)
    if min(height, wide) < least:
        raise InputError(
            f"{name} got images of {height}x{wide}, expected at least {least}x{least} pixels.\n"
            "Choose a network with fewer stages."
        )
    return ResNet(blocks, width, channels)
