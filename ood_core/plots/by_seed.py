"""Every seed of every group, panel by panel: what a loss costs and brings, side by side."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pandas as pd
from matplotlib.figure import Figure as Drawing

from ..checks import InputError
from . import words
from .layout import (
    CHANCE,
    dots,
    line_at,
    lines_of,
    panels_of,
    past_percent,
    round_ticks,
    side_of_chance,
    title_of,
    within_percent,
)
from .rows import Names, are_aurocs, groups_of, once, spread
from .svg import Figure, figure


def by_seed(
    panels: Mapping[str, pd.DataFrame],
    *,
    alt: str,
    caption: str,
    series: str = "recipe",
    names: Names | None = None,
    percent: Collection[str] = (),
    alike: Collection[str] | bool = False,
) -> Figure:
    """Groups below each other: a dot a seed, the mean, its 95 % t interval; each panel has an axis of its own.

    Args:
        panels: title -> tidy rows of one metric; several OOD sets are averaged per seed (a mean of AUROCs).
        series: the column that tells the groups apart.
        names: value of `series` -> how to call it; only these are drawn, in this order.
        percent: titles of panels whose fractions are shown in per cent; AUROCs have the line of chance if it is near.
        alike: titles of panels that are to be compared with each other, or True for all; they share one axis.
        alt, caption: as for every figure; empty ones are refused. The caption goes on with the panels in which a group
            lies above or below the first, the alternative text with all means.
    Raises:
        InputError: no panel, nothing to draw, a title in `percent` or `alike` that no panel has, a number that is there
            twice.
    """
    together = (list(panels) if alike else []) if isinstance(alike, bool) else list(alike)
    if not panels or not {*percent, *together} <= set(panels):
        raise InputError(
            f"panels are {', '.join(panels) or 'empty'} and percent names {', '.join(percent) or 'none'}, alike "
            f"{', '.join(together) or 'none'}, expected at least one panel and titles of panels.\nCorrect the titles."
        )
    groups = groups_of(pd.concat(list(panels.values())), series, names)
    found: dict[str, dict[str, pd.Series[float]]] = {}
    for title, rows in panels.items():
        part = rows[rows[series].isin(list(groups))]
        once(part, [series, "ood_set", "seed"])
        means = part.groupby([series, "seed"])["value"].mean() * (100 if title in percent else 1)
        found[title] = {group: means[group] for group in groups if group in means.index.get_level_values(0)}
    sides = _sides(panels, found, percent, together)
    columns = len(panels) if len(panels) < 4 else 2

    def draw(drawing: Drawing, narrow: bool) -> None:
        grid = panels_of(drawing, len(panels), 1 if narrow else columns, sharey=True)
        shared = [axes for axes, title in zip(grid, found, strict=True) if title in together]
        for axes in shared[1:]:
            axes.sharex(shared[0])
        for axes, (title, values) in zip(grid, found.items(), strict=True):
            for k, group in enumerate(groups):
                if group in values:
                    dots(axes, values[group].to_numpy(dtype=float), k - 0.12, 0.32, k)
            if sides.get(title) == 0:
                line_at(axes, CHANCE, "x")
        for axes, title in zip(grid, found, strict=True):
            if title in percent:
                within_percent(axes)
            title_of(axes, title + (" (%)" if title in percent else ""), 1 if narrow else columns)
            round_ticks(axes.xaxis, 3)
            axes.grid(axis="x")
            axes.tick_params(axis="y", length=0)
        grid[0].set_yticks(range(len(groups)), list(groups.values()))
        grid[0].set_ylim(len(groups) - 0.4, -0.6)

    every = {
        title: {groups[g]: words.short(x, title in percent) for g, x in values.items()}
        for title, values in found.items()
    }
    spans = [spread(x.to_numpy(dtype=float)) for title in percent for x in found[title].values()]
    wide, phone = (0.25 + (0.5 + 0.42 * len(groups)) * lines_of(len(panels), n) for n in (columns, 1))
    return figure(
        draw,
        (wide, phone),
        (alt, "Means. " + words.numbers(every)),
        (
            caption,
            words.against_first(found, groups, "panels"),
            words.chance(sides.values()),
            past_percent(spans) if spans else "",
        ),
    )


def _sides(
    panels: Mapping[str, pd.DataFrame],
    found: Mapping[str, Mapping[str, pd.Series[float]]],
    percent: Collection[str],
    alike: Collection[str],
) -> dict[str, int]:
    """Where chance lies for each panel of AUROCs, one answer for panels that share an axis."""
    measured = [title for title in percent if are_aurocs(panels[title]) and found[title]]
    sides = {}
    for title in measured:
        together = [other for other in measured if other in alike] if title in alike else [title]
        sides[title] = side_of_chance(pd.concat([x for other in together for x in found[other].values()]))
    return sides
