"""Every seed of every group, panel by panel: what a loss costs and brings, side by side."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import MaxNLocator

from ..checks import InputError
from .drawings import Names, _draw_mean, _groups, _once
from .svg import COLOURS, MARKERS, Figure, figure


def by_seed(
    panels: Mapping[str, pd.DataFrame],
    *,
    alt: str,
    caption: str,
    series: str = "recipe",
    names: Names | None = None,
    percent: Collection[str] = (),
) -> Figure:
    """Groups below each other: a dot a seed, the mean, its 95 % t interval; each panel has an axis of its own.

    Args:
        panels: title -> tidy rows of one metric; several OOD sets are averaged per seed (a mean of AUROCs).
        series: the column that tells the groups apart.
        names: value of `series` -> how to call it; only these are drawn, in this order.
        percent: titles of panels whose fractions are shown in per cent.
        alt, caption: as for every figure; empty ones are refused.
    Raises:
        InputError: no panel, nothing to draw, a title in `percent` that no panel has, a number that is there twice.
    """
    if not panels or not set(percent) <= set(panels):
        raise InputError(
            f"panels are {', '.join(panels) or 'empty'} and percent names {', '.join(percent) or 'none'}, expected at "
            "least one panel and titles of panels.\nCorrect the titles."
        )
    groups = _groups(pd.concat(list(panels.values())), series, names)
    for rows in panels.values():
        _once(rows[rows[series].isin(list(groups))], [series, "ood_set", "seed"])

    def draw(drawing: Drawing) -> None:
        grid = drawing.subplots(1, len(panels), sharey=True, squeeze=False).ravel()
        for axes, (title, rows) in zip(grid, panels.items(), strict=True):
            factor = 100 if title in percent else 1
            for k, group in enumerate(groups):
                found = rows[rows[series] == group].groupby("seed")["value"].mean()
                values = factor * found.to_numpy(dtype=float)
                if not len(values):
                    continue
                style = {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)]}
                axes.plot(values, np.full(len(values), k - 0.12), linestyle="", markersize=4, fillstyle="none", **style)
                _draw_mean(axes, values, k + 0.2, style)
            axes.set_title(title + (" (%)" if title in percent else ""))
            axes.xaxis.set_major_locator(MaxNLocator(3 if len(panels) < 4 else 2))  # labels of four must not touch
            axes.grid(axis="x")
            axes.tick_params(axis="y", length=0)
        grid[0].set_yticks(range(len(groups)), list(groups.values()))
        grid[0].set_ylim(len(groups) - 0.4, -0.6)

    return figure(draw, 0.75 + 0.42 * len(groups), alt, caption)
