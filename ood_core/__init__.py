"""OOD detection that can be checked: scorers, metrics, collapse, geometry and statistics for any torch network.

from ood_core import Outputs, extract, scorers, metrics, collapse, geometry, stats
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import collapse, geometry, metrics, scorers, stats
from .outputs import Outputs

if TYPE_CHECKING:
    from .features import extract

__all__ = ["Outputs", "collapse", "extract", "geometry", "metrics", "scorers", "stats"]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})  # with `extract`, which is no global before it is asked for


def __getattr__(name: str) -> Any:
    if name == "extract":  # found when asked for: it brings in the networks, which scores and metrics do without
        from .features import extract

        return extract
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
