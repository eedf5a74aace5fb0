"""One number of a network against another."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pandas as pd
from matplotlib.figure import Figure as Drawing

from ..checks import InputError
from . import words
from .layout import CHANCE, legend, line_at, lines_of, log_ticks, look, panels_of, round_ticks, side_of_chance
from .rows import Names, groups_of
from .svg import Figure, figure


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
    names: Names | None = None,
    log: Collection[str] = (),
    alike: bool = True,
    chance: bool = False,
) -> Figure:
    """A dot a row, one panel a title, colour and marker by group; several groups keep their look in every panel.

    Args:
        panels: title -> rows with the columns `x`, `y` and `series`.
        x, y: columns of numbers. series: the column that tells the groups apart.
        xlabel, ylabel: what the numbers are, with their units.
        names: value of `series` -> how to call it; only these are drawn, in this order, and named where they are.
        log: `x`, `y` or both, for logarithmic axes; their numbers must be above 0.
        alike: one x axis for all panels.
        chance: `y` is an AUROC in per cent; the line of chance is drawn where it is near.
        alt, caption: as for every figure; empty ones are refused. The alternative text goes on with the medians of each
            group.
    Raises:
        InputError: nothing to draw, numbers that are not finite, or not above 0 on a logarithmic axis.
    """
    whole = pd.concat(list(panels.values())) if panels else pd.DataFrame(columns=[x, y, series])
    groups = groups_of(whole, series, names)
    whole = whole[whole[series].isin(list(groups))]
    numbers = whole[[x, y]].to_numpy(dtype=float)
    if not (abs(numbers) < float("inf")).all():
        raise InputError(f"{x} or {y} is missing or not finite, expected numbers to draw.\nLook at the rows.")
    for axis, column in (("x", x), ("y", y)):
        if axis in log and (whole[column] <= 0).any():
            raise InputError(f"{column} holds {whole[column].min()}, expected above 0.\nLeave {axis!r} out of log.")
    drawn = {title: rows[rows[series].isin(list(groups))] for title, rows in panels.items()}
    sides = {title: side_of_chance(rows[y]) for title, rows in drawn.items() if chance and len(rows)}
    columns = min(2, len(panels))

    def draw(drawing: Drawing, narrow: bool) -> None:
        across = 1 if narrow else columns
        grid = panels_of(drawing, len(panels), across)
        for place, (axes, (title, rows)) in enumerate(zip(grid, drawn.items(), strict=True)):
            if alike and place:
                axes.sharex(grid[0])
            for k, group in enumerate(groups):
                part = rows[rows[series] == group]
                axes.plot(part[x], part[y], linestyle="", markersize=5, fillstyle="none", **look(k))
            if sides.get(title) == 0:
                line_at(axes, CHANCE, "y")
            axes.set_title(title)
            axes.set_xlabel(xlabel if across == 1 else "")
            axes.set_ylabel(ylabel if place % across == 0 else "")
            axes.grid()
        for axes in grid:
            for axis, name in ((axes.xaxis, "x"), (axes.yaxis, "y")):
                if name in log:
                    getattr(axes, f"set_{name}scale")("log")
                    log_ticks(axis)
                else:
                    round_ticks(axis)
        if across > 1:
            drawing.supxlabel(xlabel)
        # one label below all panels takes the legend's place there
        legend(drawing, grid[0], groups, narrow, narrow or across > 1, linestyle="", markersize=5, fillstyle="none")

    medians = {
        title: {
            groups[str(group)]: f"{words.digits(part[y].median())} at {words.digits(part[x].median())}"
            for group, part in rows.groupby(series, sort=False)
        }
        for title, rows in drawn.items()
    }
    wide, phone = (0.9 + height * lines_of(len(panels), n) for height, n in ((2.1, columns), (2.4, 1)))
    told = f"Medians, {ylabel} at {xlabel}. {words.numbers(medians)}"
    return figure(draw, (wide, phone), (alt, told), (caption, words.chance(sides.values())))
