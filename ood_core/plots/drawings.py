"""AUROC seed by seed, and numbers through training."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from ..checks import InputError
from . import words
from .layout import (
    CHANCE,
    dots,
    legend,
    line_at,
    lines_of,
    log_ticks,
    look,
    panels_of,
    past_percent,
    round_ticks,
    side_of_chance,
    within_percent,
)
from .rows import Names, are_aurocs, by_epoch, groups_of, once, spread
from .svg import Figure, figure

TALL = 5.0  # inches; from there on a legend below would be out of sight


def auroc_by_seed(
    rows: pd.DataFrame,
    *,
    alt: str,
    caption: str,
    series: str = "recipe",
    names: Names | None = None,
) -> Figure:
    """Every seed's AUROC as a dot, with mean and 95 % t interval, by OOD set and series.

    Args:
        rows: tidy rows of AUROC, one per seed, OOD set and value of `series`.
        series: the column that tells the groups apart, such as recipe or scorer.
        names: value of `series` -> how to call it; only these are drawn, in this order.
        alt, caption: as for every figure; empty ones are refused. The caption goes on with the sets on which a group
            lies above or below the first, the alternative text with the range of each group's means.
    Returns:
        dots, bars and, where they come near it, the line of chance.
    Raises:
        InputError: nothing to draw, or a number that is there twice.
    """
    groups = groups_of(rows, series, names)
    drawn = rows[rows[series].isin(list(groups))]
    once(drawn, [series, "ood_set", "seed"])
    places: dict[str, dict[str, pd.Series[float]]] = {name: {} for name in dict.fromkeys(rows["ood_set"])}
    for (name, group), part in drawn.groupby(["ood_set", series], sort=False):
        places[str(name)][str(group)] = 100 * part.set_index("seed")["value"].sort_index().astype(float)
    values = [values.to_numpy() for found in places.values() for values in found.values()]
    side = side_of_chance(np.concatenate(values))
    step = 0.8 / len(groups)
    height = 1.2 + len(places) * (0.22 + 0.26 * len(groups))

    def draw(drawing: Drawing, narrow: bool) -> None:
        axes = drawing.subplots()
        for place, found in enumerate(places.values()):
            for k, group in enumerate(groups):
                if group in found:
                    y = place + (k - (len(groups) - 1) / 2) * step
                    dots(axes, found[group].to_numpy(), y, step * 0.3, k)
        if side == 0:
            line_at(axes, CHANCE, "x")
        within_percent(axes)
        axes.set_yticks(range(len(places)), list(places))
        axes.set_ylim(len(places) - 0.45, -0.55)
        axes.set_xlabel("AUROC (%)")
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
        legend(drawing, axes, groups, narrow, narrow or height > TALL, linestyle="-", linewidth=2, markersize=6.5)

    means = {place: {group: float(x.mean()) for group, x in found.items()} for place, found in places.items()}
    told = words.against_first(places, groups, "sets")
    notes = (words.chance([side]), past_percent([spread(x) for x in values]))
    return figure(
        draw,
        (height, height + 0.4),
        (alt, words.ranges(means, groups)),
        (caption, told, *notes),
    )


def through_training(
    panels: Mapping[str, pd.DataFrame],
    *,
    alt: str,
    caption: str,
    series: str = "recipe",
    names: Names | None = None,
    log: Collection[str] = (),
    percent: Collection[str] = (),
) -> Figure:
    """Numbers by epoch: the line is the mean over seeds, the band reaches from the smallest to the largest seed.

    Args:
        panels: title -> tidy rows of one metric; several OOD sets are averaged per seed (a mean of AUROCs).
        series: the column that tells the lines apart.
        names: value of `series` -> how to call it; only these are drawn, in this order.
        log: titles of panels with a logarithmic axis; numbers of 0 or less count in the mean, and the caption says that
            they lie below the axis.
        percent: titles of panels whose fractions are shown in per cent; AUROCs have the line of chance if it is near.
        alt, caption: as for every figure; empty ones are refused. The caption goes on with the panels in which a group
            ends above or below the first, the alternative text with the means at both ends.
    Raises:
        InputError: no panel, nothing to draw, a title in `log` or `percent` that no panel has, a number there twice.
    """
    for title in (*log, *percent):
        if title not in panels:
            raise InputError(f"{title!r} names no panel, expected one of: {', '.join(panels)}.\nCorrect the title.")
    if not panels:
        raise InputError("panels are empty, expected at least one title with rows.\nPass what to draw.")
    groups = groups_of(pd.concat(list(panels.values())), series, names)
    drawn = {title: by_epoch(rows[rows[series].isin(list(groups))], series) for title, rows in panels.items()}
    hidden = sum(int((drawn[title]["value"] <= 0).sum()) for title in log)
    for title in percent:
        drawn[title] = drawn[title].assign(value=100 * drawn[title]["value"])
    sides = {
        title: side_of_chance(drawn[title]["value"])
        for title, rows in panels.items()
        if title in percent and are_aurocs(rows) and len(drawn[title])
    }
    columns = min(2, len(panels))

    def draw(drawing: Drawing, narrow: bool) -> None:
        grid = panels_of(drawing, len(panels), 1 if narrow else columns)
        for axes, (title, table) in zip(grid, drawn.items(), strict=True):
            for k, group in enumerate(groups):
                at = table[table[series] == group].groupby("epoch")["value"]
                mean, low, high = at.mean(), at.min(), at.max()
                style = look(k, dashed=True)
                axes.plot(mean.index, mean, markersize=4, **style)
                axes.fill_between(mean.index, low, high, color=style["color"], alpha=0.2, linewidth=0)
            if sides.get(title) == 0:
                line_at(axes, CHANCE, "y")
            _dress(axes, title + (" (%)" if title in percent else ""), title in log)
        legend(drawing, grid[0], groups, narrow, narrow, markersize=4)

    lost = f"{hidden} values of 0 or less lie below the logarithmic axis." if hidden else ""
    first, last = _ends(drawn, series)
    told = words.against_first(last, groups, "panels")
    from_to = {
        title: {
            groups[g]: f"{words.short(first[title][g], title in percent)} to {words.short(x, title in percent)}"
            for g, x in found.items()
        }
        for title, found in last.items()
    }
    wide, phone = (0.75 + height * lines_of(len(panels), n) for height, n in ((1.75, columns), (1.85, 1)))
    return figure(
        draw,
        (wide, phone),
        (alt, "Means from the first epoch to the last. " + words.numbers(from_to)),
        (caption, told.replace("Against", "At the end, against", 1), words.chance(sides.values()), lost),
    )


def _ends(
    drawn: Mapping[str, pd.DataFrame], series: str
) -> tuple[dict[str, dict[str, pd.Series[float]]], dict[str, dict[str, pd.Series[float]]]]:
    """Panel -> group -> numbers by seed, at the first epoch of each group and at its last."""
    both: tuple[dict[str, dict[str, pd.Series[float]]], ...] = ({}, {})
    for title, table in drawn.items():
        epochs = table.groupby(series)["epoch"]
        for found, end in zip(both, (epochs.transform("min"), epochs.transform("max")), strict=True):
            at = table[table["epoch"] == end]
            found[title] = {str(g): part.set_index("seed")["value"] for g, part in at.groupby(series, sort=False)}
    return both[0], both[1]


def _dress(axes: Axes, title: str, log: bool) -> None:
    axes.set_title(title)
    axes.set_xlabel("epoch")
    round_ticks(axes.xaxis, integer=True)
    axes.grid()
    if log:
        axes.set_yscale("log")
        log_ticks(axes.yaxis)
    else:
        round_ticks(axes.yaxis)
