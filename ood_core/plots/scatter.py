"""One number of a network against another."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pandas as pd
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import MaxNLocator

from ..checks import InputError
from .drawings import log_ticks
from .svg import COLOURS, MARKERS, Figure, figure


def scatter(
    panels: Mapping[str, pd.DataFrame],
    *,
    x: str,
    y: str,
    series: str,
    xlabel: str,
    ylabel: str,
    alt: str,
    caption: str,
    names: Mapping[str, str] | None = None,
    log: Collection[str] = (),
) -> Figure:
    """A dot a row, one panel a title, colour and marker by group; several groups keep their look in every panel.

    Args:
        panels: title -> rows with the columns `x`, `y` and `series`.
        x, y: columns of numbers. series: the column that tells the groups apart.
        xlabel, ylabel: what the numbers are, with their units.
        names: value of `series` -> how to call it; only these are drawn, in this order.
        log: `x`, `y` or both, for logarithmic axes; their numbers must be above 0.
        alt, caption: as for every figure; empty ones are refused.
    Raises:
        InputError: nothing to draw, numbers that are not finite, or not above 0 on a logarithmic axis.
    """
    whole = pd.concat(list(panels.values())) if panels else pd.DataFrame(columns=[x, y, series])
    groups = list(names) if names else list(dict.fromkeys(map(str, whole[series])))
    whole = whole[whole[series].isin(groups)]
    numbers = whole[[x, y]].to_numpy(dtype=float)
    if not len(numbers) or not (abs(numbers) < float("inf")).all():
        raise InputError(f"{x} or {y} is missing or not finite, expected numbers to draw.\nLook at the rows.")
    for axis, column in (("x", x), ("y", y)):
        if axis in log and (whole[column] <= 0).any():
            raise InputError(f"{column} holds {whole[column].min()}, expected above 0.\nLeave {axis!r} out of log.")
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)

    def draw(drawing: Drawing) -> None:
        grid = drawing.subplots(lines, columns, squeeze=False).ravel()
        for axes, (title, rows) in zip(grid, panels.items(), strict=False):
            for k, group in enumerate(groups):
                part = rows[rows[series] == group]
                style = {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)]}
                axes.plot(part[x], part[y], linestyle="", markersize=5, fillstyle="none", **style)
            axes.set_title(title)
            axes.set_xlabel(xlabel)
            axes.set_ylabel(ylabel)
            axes.grid()
            for axis, name in ((axes.xaxis, "x"), (axes.yaxis, "y")):
                if name in log:
                    getattr(axes, f"set_{name}scale")("log")
                    log_ticks(axis)
                else:
                    axis.set_major_locator(MaxNLocator(4))
        for axes in grid[len(panels) :]:
            axes.remove()
        for k, group in enumerate(groups):
            style = {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)]}
            label = (names or {}).get(group, group)
            grid[0].plot([], [], linestyle="", markersize=5, fillstyle="none", label=label, **style)
        handles, labels = grid[0].get_legend_handles_labels()
        drawing.legend(handles, labels, loc="outside lower center", ncols=3 if max(map(len, labels)) < 14 else 2)

    return figure(draw, 0.9 + 2.1 * lines, alt, caption)
