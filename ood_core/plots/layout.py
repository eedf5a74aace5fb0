"""What figures share: panels that stand below each other on a phone, legends, ticks, the line of chance."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from .rows import spread
from .svg import COLOURS, DASHES, INK, MARKERS

CHANCE = 50.0  # AUROC in per cent
NEAR = 0.75  # of the span of the numbers, or 10 points: from no further away than this the line of chance is drawn
DASHED = (0, (4, 3))
TITLE = 18  # letters over a panel that is one of three


def lines_of(count: int, columns: int) -> int:
    """How many lines of panels there are."""
    return -(-count // columns)


def panels_of(drawing: Drawing, count: int, columns: int, **share: Any) -> list[Axes]:
    """Axes side by side, `columns` to a line."""
    grid = drawing.subplots(lines_of(count, columns), columns, squeeze=False, **share).ravel()
    for axes in grid[count:]:
        axes.remove()
    return list(grid[:count])


def title_of(axes: Axes, text: str, columns: int) -> None:
    """A title that stays over its own panel where three stand side by side."""
    axes.set_title(textwrap.fill(text, TITLE, break_on_hyphens=False) if columns > 2 and len(text) > TITLE else text)


def look(k: int, dashed: bool = False) -> dict[str, Any]:
    """Colour and marker of the k-th group, with its dash if it is a line."""
    style: dict[str, Any] = {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)]}
    return style | ({"linestyle": DASHES[k % len(DASHES)]} if dashed else {})


def legend(drawing: Drawing, axes: Axes, labels: Mapping[str, str], narrow: bool, above: bool, **style: Any) -> None:
    """A legend outside, in as many columns as there is room for; above where the figure is long."""
    dashed = "linestyle" not in style
    for k, label in enumerate(labels.values()):
        axes.plot([], [], label=label, **{**look(k, dashed), **style})
    longest = max(map(len, labels.values()))
    columns = (2 if longest < 16 else 1) if narrow else 3 if longest < 14 else 2 if longest < 26 else 1
    handles, names = axes.get_legend_handles_labels()
    drawing.legend(handles, names, loc="outside upper center" if above else "outside lower center", ncols=columns)


def dots(axes: Axes, values: np.ndarray[Any, Any], y: float, below: float, k: int) -> None:
    """A dot a seed in the look of the k-th group, and below them the mean on its interval; one seed has none."""
    style = look(k)
    axes.plot(values, np.full(len(values), y), linestyle="", markersize=4, fillstyle="none", **style)
    if len(values) > 1:
        axes.plot(spread(values), [y + below] * 2, color=style["color"], linewidth=2)
    axes.plot(values.mean(), y + below, markersize=6.5, linestyle="", **style)


def side_of_chance(values: Iterable[float]) -> int:
    """0 where 50 is near what is drawn, 1 where all of it lies far above, -1 far below."""
    found = np.fromiter(values, dtype=float)
    low, high = float(found.min()), float(found.max())
    reach = max(NEAR * (high - low), 10.0)
    return 0 if low - reach <= CHANCE <= high + reach else 1 if low > CHANCE else -1


def line_at(axes: Axes, value: float, along: str) -> None:
    """A dashed line across the axis x or y, below what is drawn."""
    draw = axes.axvline if along == "x" else axes.axhline
    draw(value, color=INK, linewidth=1, linestyle=DASHED, zorder=0.5)


def within_percent(axes: Axes) -> None:
    """Cut an x axis in per cent a little beyond 0 and 100, where intervals may reach and numbers cannot."""
    low, high = axes.get_xlim()
    axes.set_xlim(max(low, -2.0), min(high, 102.0))


def past_percent(intervals: Sequence[tuple[float, float]]) -> str:
    """What is said of intervals in per cent that the axis cuts."""
    cut = ["0"] if min(low for low, _ in intervals) < -2 else []
    cut += ["100"] if max(high for _, high in intervals) > 102 else []
    return f"Intervals that reach past {' or '.join(cut)} are cut at the edge." if cut else ""


def round_ticks(axis: Axis, most: int = 4, integer: bool = False) -> None:
    """At most so many round numbers and one more."""
    axis.set_major_locator(MaxNLocator(most, integer=integer))


def log_ticks(axis: Axis) -> None:
    """Plain numbers at powers of ten, or at numbers between them where fewer than two powers are in sight."""
    low, high = axis.get_view_interval()
    if math.floor(math.log10(high)) > math.ceil(math.log10(low)):
        axis.set_major_locator(LogLocator(numticks=3 if isinstance(axis, XAxis) else 5))  # labels lie side by side on x
    else:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)) if high > 5 * low else MaxNLocator(3))
    # powers would be set in another font
    axis.set_major_formatter(FuncFormatter(lambda value, _: _plain(value)))
    axis.set_minor_formatter(NullFormatter())


def _plain(value: float) -> str:
    """A number as short as it can be: 0.001, 5000, 2e4, 1e10."""
    if 1e-4 < abs(value) < 1e4:
        return f"{value:g}"
    digits, _, power = f"{value:e}".partition("e")
    return f"{float(digits):g}e{int(power)}"
