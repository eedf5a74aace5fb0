"""A comparison that needs two groups, or a sentence where one is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape

import pandas as pd

from .rows import Names
from .svg import Figure
from .words import listed


@dataclass(frozen=True)
class Waiting:
    """What stands in place of a figure until there is something to compare."""

    text: str

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.text)}</p>"


def compared(
    rows: pd.DataFrame | None, names: Names, scale: str, draw: Callable[[], Figure], series: str = "recipe"
) -> Figure | Waiting:
    """The figure that `draw` makes, or one sentence where fewer than two of its groups have run.

    Args:
        rows: what has run; None for nothing.
        names: value of `series` -> how to call it, of the groups that are compared.
        scale: where, for the sentence.
        draw: makes the figure; called only where there are two groups or more.
    """
    present = set() if rows is None else set(rows[series])
    ran = [label for name, label in names.items() if name in present]
    if len(ran) > 1:
        return draw()
    return Waiting(f"At {scale} {f'only {listed(ran)}' if ran else 'none of them'} has run; the comparison is open.")
