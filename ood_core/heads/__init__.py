"""What sits on the features: modules that turn h (B, D) into logits (B, C), in their own precision under autocast.

A head is a module with `formula()`, which gives the head as scorers take it (None where it gives no logits), listed in
`_HEADS`; its parameters are filled by `initialise`.
"""

from __future__ import annotations

from collections.abc import Callable

from ..checks import choice
from ..recipes.schema import Head
from .linear import L2Head, LinearHead

__all__ = ["NAMES", "L2Head", "LinearHead", "head"]

_HEADS: dict[str, Callable[[Head, int, int], LinearHead]] = {"linear": LinearHead, "l2": L2Head}
NAMES = tuple(_HEADS)


def head(settings: Head, dim: int, classes: int) -> LinearHead:
    """Build the head that a recipe names; its parameters are filled by `networks.initialise`."""
    return _HEADS[choice("head", settings.name, NAMES)](settings, dim, classes)
