"""What sits on the features: modules that turn h (B, D) into logits (B, C), in their own precision under autocast.

A head is a module with `formula()`, which gives the head as scorers take it (None where it gives no logits), listed in
`_HEADS`; its parameters are filled by `networks.initialise`.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from ..checks import choice
from ..recipes.schema import Head
from .distance import DisMaxHead, IsoMaxHead, IsoMaxPlusHead
from .linear import L2Head, LinearHead
from .projection import ProjectionHead

__all__ = ["NAMES", "DisMaxHead", "IsoMaxHead", "IsoMaxPlusHead", "L2Head", "LinearHead", "ProjectionHead", "head"]

_HEADS: dict[str, Callable[[Head, int, int], nn.Module]] = {
    "linear": LinearHead,
    "l2": L2Head,
    "isomax": IsoMaxHead,
    "isomax_plus": IsoMaxPlusHead,
    "dismax": DisMaxHead,
    "projection": ProjectionHead,
}
NAMES = tuple(_HEADS)


def head(settings: Head, dim: int, classes: int) -> nn.Module:
    """Build the head that a recipe names; its parameters are filled by `networks.initialise`."""
    return _HEADS[choice("head", settings.name, NAMES)](settings, dim, classes)
