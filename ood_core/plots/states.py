"""Two numbers of a network through training, one against the other."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure as Drawing

from ..checks import InputError
from . import words
from .layout import CHANCE, legend, line_at, lines_of, look, panels_of, round_ticks
from .rows import Names, groups_of, once
from .svg import Figure, figure


def paths(
    x: pd.DataFrame,
    panels: Mapping[str, pd.DataFrame],
    *,
    xlabel: str,
    ylabel: str,
    alt: str,
    caption: str,
    names: Names | None = None,
) -> Figure:
    """Two numbers of the same networks through training: a path of the means over seeds, a large dot where it ends.

    Args:
        x: tidy rows of one metric, one a seed and epoch.
        panels: title -> tidy rows of another metric, fractions shown in per cent; several OOD sets are averaged.
        xlabel, ylabel: what the two are.
        names: recipe -> how to call it; only these are drawn, in this order.
        alt, caption: as for every figure; empty ones are refused. The caption goes on with whose number rises and whose
            falls, the alternative text with the means at both ends.
    Raises:
        InputError: no panel, nothing to draw, a number that is there twice.
    """
    if not panels:
        raise InputError("panels are empty, expected at least one title with rows.\nPass what to draw.")
    groups = groups_of(x, "recipe", names)
    keys = ["recipe", "seed", "epoch"]
    once(x[x["recipe"].isin(list(groups))], keys)
    joined, each = {}, {}
    for title, rows in panels.items():
        mine = rows[rows["recipe"].isin(list(groups))]
        once(mine, [*keys, "ood_set"])
        level = mine.groupby(keys)["value"].mean().mul(100).rename("y")
        both = x.set_index(keys)["value"].rename("x").to_frame().join(level, how="inner")
        if both.empty:
            raise InputError(f"{title!r} shares no recipe, seed and epoch with x, expected some.\nPass the same runs.")
        joined[title], each[title] = both.groupby(["recipe", "epoch"]).mean(), both

    def draw(drawing: Drawing, narrow: bool) -> None:
        columns = 1 if narrow else len(joined)
        grid = panels_of(drawing, len(joined), columns, sharex=True, sharey=True)
        for place, (axes, (title, table)) in enumerate(zip(grid, joined.items(), strict=True)):
            for k, name in enumerate(groups):
                if name not in table.index.get_level_values(0):
                    continue
                path = table.loc[name].sort_index()
                axes.plot(path["x"], path["y"], markersize=3.5, fillstyle="none", linewidth=1.2, **look(k, dashed=True))
                axes.plot(path["x"].iloc[-1], path["y"].iloc[-1], markersize=8, linestyle="", **look(k))
            line_at(axes, CHANCE, "y")
            axes.set_title(title)
            axes.set_xlabel(xlabel if columns == 1 else "")
            axes.set_ylabel(ylabel if place % columns == 0 else "")
            axes.tick_params(labelbottom=True)
            axes.grid()
            for axis in (axes.xaxis, axes.yaxis):
                round_ticks(axis)
        if columns > 1:
            drawing.supxlabel(xlabel)
        # one label below all panels takes the legend's place there
        legend(drawing, grid[0], groups, narrow, narrow or columns > 1, markersize=6)

    moves = {
        title: {groups[g]: _ends(both.loc[g]["y"]) for g in groups if g in both.index.get_level_values(0)}
        for title, both in each.items()
    }
    means = {
        title: {name: f"{start.mean():.1f} to {end.mean():.1f}" for name, (start, end) in found.items()}
        for title, found in moves.items()
    }
    lines = lines_of(len(joined), len(joined))
    heights = (3.0 * lines + 0.18 * len(groups), 0.6 + 2.7 * len(joined) + 0.18 * len(groups))
    return figure(
        draw,
        heights,
        (alt, f"{ylabel} from the first epoch to the last. " + words.numbers(means)),
        (caption, words.ends(moves, ylabel.partition(" (")[0]), words.chance([0])),
    )


def _ends(values: pd.Series[float]) -> tuple[pd.Series[float], pd.Series[float]]:
    """Numbers by seed at the first epoch and at the last."""
    epochs = values.index.get_level_values("epoch")
    return values.xs(epochs.min(), level="epoch"), values.xs(epochs.max(), level="epoch")
