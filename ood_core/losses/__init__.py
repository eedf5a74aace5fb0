"""What pulls on the features: from one batch to a scalar, by name.

A loss is a class with `views` and a call; it is made from a recipe's `Loss` and listed in `_LOSSES`.
"""

from __future__ import annotations

from collections.abc import Callable

from ..checks import choice
from ..recipes.schema import Loss
from .batch import Batch, Objective, Step
from .collapse import Collapse
from .composite import Composite
from .contrastive import NTXent, SupCon
from .cross_entropy import CrossEntropy

__all__ = ["NAMES", "Batch", "Objective", "Step", "objective"]

_LOSSES: dict[str, Callable[[Loss], Objective]] = {
    "cross_entropy": lambda asked: Composite(asked) if asked.composite else CrossEntropy(asked),
    "supcon": SupCon,
    "nt_xent": NTXent,
    "collapse": Collapse,
}
NAMES = tuple(_LOSSES)


def objective(settings: Loss) -> Objective:
    """The loss that a recipe names, with its settings."""
    return _LOSSES[choice("loss", settings.name, NAMES)](settings)
