"""One figure or table of two scales: recorded runs in sight, the page's own folded behind them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Protocol

from .shown import Shown


class Drawn(Protocol):
    """A figure or a table: whatever shows itself in a notebook."""

    def _repr_html_(self) -> str: ...


@dataclass(frozen=True)
class Both:
    """Two figures or tables of one form.

    Attributes:
        recorded: in sight.
        own: what opens behind it.
        summary: how to call that.
    """

    recorded: Drawn
    own: Drawn
    summary: str

    def _repr_html_(self) -> str:
        folded = f'<details class="scale"><summary>{escape(self.summary)}</summary>{self.own._repr_html_()}</details>'
        return self.recorded._repr_html_() + folded


def both(draw: Callable[[Shown], Drawn], recorded: Shown, own: Shown) -> Both:
    """What `draw` makes of recorded runs, and behind it what it makes of the runs that the page made."""
    return Both(draw(recorded), draw(own), f"The same at {own.scale}, run with this page")
