"""A backbone with a head, filled by seed, and the preprocessing that both training and extraction apply."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .checks import InputError
from .data import ImageSet
from .heads import head
from .models import backbone
from .recipes import Recipe
from .rng import generator


class Network(nn.Module):
    """images uint8 (B, H, W, C) or preprocessed float (B, C, H, W) -> logits (B, C).

    `prepare` scales pixels to 0..1 and standardises them by the ID training images' channel means and deviations,
    for ID and OOD images alike.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, recipe: Recipe, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.backbone = backbone(recipe.network, image_shape)
        self.head = head(recipe.head, self.backbone.dim, classes)
        self.register_buffer("mean", torch.zeros(image_shape[2]))
        self.register_buffer("std", torch.ones(image_shape[2]))

    def prepare(self, images: Tensor) -> Tensor:
        """uint8 (B, H, W, C) -> standardised float32 (B, C, H, W), channels last in memory."""
        x = images.to(self.mean.device).float().div_(255).sub_(self.mean).div_(self.std)
        return x.permute(0, 3, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.backbone(x)))


def network(recipe: Recipe, train: ImageSet, seed: int, device: torch.device) -> Network:
    """A network with every parameter drawn from (seed, its name), and the constants of `train`.

    The head's shape follows the classes of `train`; two recipes that differ in the head share the backbone's start.
    """
    shape = cast(tuple[int, int, int], train.images.shape[1:])
    net = Network(recipe, shape, len(train.classes))
    initialise(net, seed)
    mean, std = channel_constants(train.images)
    net.mean.copy_(torch.from_numpy(mean))
    net.std.copy_(torch.from_numpy(std))
    net.to(device)
    for parameter in net.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return net


@torch.no_grad()
def initialise(net: nn.Module, seed: int) -> None:
    """Fill every parameter with a generator of its own, drawn from (seed, its name).

    Convolutions: Kaiming normal, fan-out. Other matrices (C, D): uniform +-1/sqrt(D). Embeddings: normal, deviation
    0.02. Biases: 0. Scalars and vectors, such as the weights of batch or layer norm: 1.
    A module that wants another start for its own parameters (not those of modules in it) has a method
    `fill(name, parameter, draw)`, called for each of them with the generator `draw`.

    Raises:
        InputError: a parameter of another kind in a module without such a method.
    """
    _fill(net, "", seed)


def _fill(module: nn.Module, prefix: str, seed: int) -> None:
    own = getattr(module, "fill", None)
    for name, parameter in module.named_parameters(recurse=False):
        draw = generator(seed, "init", prefix + name)
        if own is not None:
            own(name, parameter, draw)
        elif name.endswith("bias"):
            parameter.zero_()
        elif isinstance(module, nn.Embedding):
            parameter.normal_(0, 0.02, generator=draw)
        elif parameter.ndim == 4:
            fan_out = parameter.shape[0] * parameter.shape[2] * parameter.shape[3]
            parameter.normal_(0, math.sqrt(2 / fan_out), generator=draw)
        elif parameter.ndim == 2:
            bound = 1 / math.sqrt(parameter.shape[1])
            parameter.uniform_(-bound, bound, generator=draw)
        elif parameter.ndim < 2:
            parameter.fill_(1)
        else:
            raise InputError(
                f"{prefix}{name} has shape {tuple(parameter.shape)}, "
                "expected a convolution, a matrix, a vector or a scalar.\n"
                f"Give {type(module).__name__} a method fill(name, parameter, draw)."
            )
    for name, child in module.named_children():
        _fill(child, f"{prefix}{name}.", seed)


def channel_constants(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of each channel on the 0..1 scale, exact integer sums; shape (C,) each."""
    flat = images.reshape(-1, images.shape[-1])
    count = len(flat)
    values = np.arange(256, dtype=np.float64) / 255
    means, stds = [], []
    for channel in range(flat.shape[1]):
        share = np.bincount(flat[:, channel], minlength=256) / count
        mean = float(share @ values)
        means.append(mean)
        stds.append(math.sqrt(float(share @ (values - mean) ** 2)) or 1.0)
    return np.array(means, np.float32), np.array(stds, np.float32)
