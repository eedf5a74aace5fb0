"""OOD detection that can be checked: scorers, metrics, collapse, geometry and statistics for any torch network.

from ood_core import Outputs, extract, scorers, metrics, collapse, geometry, stats
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import collapse, geometry, metrics, scorers, stats
    from .features import extract
    from .outputs import Head, Outputs

__all__ = ["Head", "Outputs", "collapse", "extract", "geometry", "metrics", "scorers", "stats"]

_WITHIN = {"Head": ".outputs", "Outputs": ".outputs", "extract": ".features"}  # the others are modules themselves


def __getattr__(name: str) -> Any:
    """Each name is found when asked for: help of a command does without torch, and scores without networks."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return (
        getattr(import_module(_WITHIN[name], __name__), name)
        if name in _WITHIN
        else import_module(f".{name}", __name__)
    )


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
