"""What a loss is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Batch:
    """One training step as a loss sees it.

    Attributes:
        forward: images (M, C, H, W) -> features (M, D) and the head's output (M, ...), under autocast where the recipe
            asks for it; what it returns from the head is float32.
        images: prepared images (views * B, C, H, W), all first views, then all second views.
        labels: int64 (B,).
        head: the head, for losses that pull on its weights.
        draw: a CPU generator for this epoch, for losses that mix images.
    """

    forward: Callable[[Tensor], tuple[Tensor, Tensor]]
    images: Tensor
    labels: Tensor
    head: nn.Module
    draw: torch.Generator


@dataclass(frozen=True)
class Step:
    """The loss (a scalar with a gradient), and how many of `counted` images were classified right (0 of 0: unknown)."""

    loss: Tensor
    right: Tensor
    counted: int


class Objective(Protocol):
    """A loss; `views` says how many augmented copies of each image it wants in a batch."""

    views: int

    def __call__(self, batch: Batch) -> Step: ...
