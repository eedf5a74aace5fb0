"""What pulls on the features: functions of logits (B, C) and labels (B,) to a scalar."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from .checks import choice

LossFunction = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the batch of -log softmax(logits)[label], in nats and in the precision of the logits."""
    return F.cross_entropy(logits, labels)


_LOSSES: dict[str, LossFunction] = {"cross_entropy": cross_entropy}
NAMES = tuple(_LOSSES)


def loss(name: str) -> LossFunction:
    """A loss by name."""
    return _LOSSES[choice("loss", name, NAMES)]
