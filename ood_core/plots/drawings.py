"""The figures of a page, each a function of arrays or tidy rows."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.figure import Figure as Drawing
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray
from scipy.stats import mannwhitneyu

from .. import stats
from ..checks import InputError
from .svg import COLOURS, DASHES, INK, MARKERS, Figure, figure

BINS = 40
Names = Mapping[str, str]


def score_histograms(
    scores: Mapping[str, Mapping[str, ArrayLike]],
    *,
    alt: str,
    caption: str,
    xlabel: str = "score",
    names: Names | None = None,
    aurocs: Mapping[tuple[str, str], float] | None = None,
    unfamiliar: str = "low",
) -> Figure:
    """ID test scores against each OOD set: one column of panels per training, one row per set, on one axis for all.

    Args:
        scores: column title -> set name -> scores (N,); the set "" is ID test. One or two columns with the same sets.
        xlabel: what the score is, with its unit if it has one.
        names: set name -> how to call it.
        aurocs: (column title, set name) -> AUROC as a fraction, as it was measured; printed in that panel.
        unfamiliar: the side on which the score wants OOD images, `low` or `high`.
        alt, caption: as for every figure; empty ones are refused.
    Returns:
        densities over the same bins everywhere; the ID set filled, OOD sets as lines.
    Raises:
        InputError: no ID set, no OOD set, different sets, more than two columns, NaN or infinity; an AUROC that is not
            that of the scores in its panel, which are then scores of something else.
    """
    columns = list(scores)
    sets = _checked_sets(scores)
    measured = aurocs or {}
    for (title, name), value in measured.items():
        if title in columns and name in sets:
            _checked_auroc(scores[title][""], scores[title][name], value, unfamiliar, f"{name!r} in {title!r}")

    def draw(drawing: Drawing) -> None:
        grid = drawing.subplots(len(sets), len(columns), sharex=True, squeeze=False)
        pooled = np.concatenate([np.asarray(x, dtype=float) for found in scores.values() for x in found.values()])
        edges = np.linspace(min(0.0, pooled.min()), pooled.max() * 1.02 or 1.0, BINS + 1)
        for j, title in enumerate(columns):
            arrays = {name: np.asarray(values, dtype=float) for name, values in scores[title].items()}
            for i, name in enumerate(sets):
                axes = grid[i, j]
                axes.hist(arrays[""], edges, density=True, color=COLOURS[0], alpha=0.4, histtype="stepfilled")
                axes.hist(arrays[""], edges, density=True, color=COLOURS[0], linewidth=1, histtype="step")
                axes.hist(arrays[name], edges, density=True, color=COLOURS[1], linewidth=1.8, histtype="step")
                axes.set_yticks([])
                axes.spines["left"].set_visible(False)
                axes.xaxis.set_major_locator(MaxNLocator(4))
                called = (names or {}).get(name, name)
                note = f", AUROC {100 * measured[title, name]:.1f}" if (title, name) in measured else ""
                axes.set_title((f"{title}\n{called}" if i == 0 else called) + note, pad=3)
            grid[-1, j].set_xlabel(xlabel)
        known = (names or {}).get("", "ID test")
        handles = [
            Patch(facecolor=(COLOURS[0], 0.4), edgecolor=COLOURS[0], label=known),
            Line2D([], [], color=COLOURS[1], label="OOD set"),
        ]
        drawing.legend(handles=handles, loc="outside lower center", ncols=2)

    return figure(draw, 1.0 + 1.05 * len(sets), alt, caption)


def auroc_by_seed(
    rows: pd.DataFrame,
    *,
    alt: str,
    caption: str,
    series: str = "recipe",
    names: Names | None = None,
    sets: Names | None = None,
) -> Figure:
    """Every seed's AUROC as a dot, with mean and 95 % t interval, by OOD set and series, beside the line of chance.

    Args:
        rows: tidy rows of AUROC, one per seed, OOD set and value of `series`.
        series: the column that tells the groups apart, such as recipe or scorer.
        names: value of `series` -> how to call it; only these are drawn, in this order.
        sets: OOD set -> how to call it; only these are drawn, in this order.
        alt, caption: as for every figure; empty ones are refused.
    Raises:
        InputError: nothing to draw, or a number that is there twice.
    """
    groups = _groups(rows, series, names)
    wanted = sets or {name: name for name in dict.fromkeys(rows["ood_set"])}
    _once(rows[rows[series].isin(list(groups))], [series, "ood_set", "seed"])
    step = 0.8 / len(groups)

    def draw(drawing: Drawing) -> None:
        axes = drawing.subplots()
        axes.axvline(50, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        for k, (group, label) in enumerate(groups.items()):
            style: dict[str, Any] = {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)]}
            for place, name in enumerate(wanted):
                chosen = rows[(rows[series] == group) & (rows["ood_set"] == name)].sort_values("seed")
                values = 100 * chosen["value"].to_numpy(dtype=float)
                if not len(values):
                    continue
                y = place + (k - (len(groups) - 1) / 2) * step
                axes.plot(values, np.full(len(values), y), linestyle="", markersize=4, fillstyle="none", **style)
                _draw_mean(axes, values, y + step * 0.3, style)
            axes.plot([], [], label=label, linewidth=2, markersize=6.5, **style)
        axes.set_yticks(range(len(wanted)), list(wanted.values()))
        axes.set_ylim(len(wanted) - 0.45, -0.55)
        axes.set_xlabel("AUROC (%); dashed line: chance")
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
        _legend(drawing, axes)

    return figure(draw, 1.2 + len(wanted) * (0.22 + 0.26 * len(groups)), alt, caption)


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
        percent: titles of panels whose fractions are shown in per cent.
        alt, caption: as for every figure; empty ones are refused.
    Raises:
        InputError: no panel, nothing to draw, a title in `log` or `percent` that no panel has, a number there twice.
    """
    for title in (*log, *percent):
        if title not in panels:
            raise InputError(f"{title!r} names no panel, expected one of: {', '.join(panels)}.\nCorrect the title.")
    if not panels:
        raise InputError("panels are empty, expected at least one title with rows.\nPass what to draw.")
    tables = {title: _by_epoch(rows, series) for title, rows in panels.items()}
    groups = _groups(pd.concat(list(panels.values())), series, names)
    hidden = sum(int((tables[title]["value"] <= 0).sum()) for title in log)
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)

    def draw(drawing: Drawing) -> None:
        grid = drawing.subplots(lines, columns, squeeze=False).ravel()
        for axes, (title, table) in zip(grid, tables.items(), strict=False):
            factor = 100 if title in percent else 1
            for k, group in enumerate(groups):
                at = table[table[series] == group].groupby("epoch")["value"]
                mean, low, high = (factor * f() for f in (at.mean, at.min, at.max))
                style = {"color": COLOURS[k % len(COLOURS)], "linestyle": DASHES[k % len(DASHES)]}
                axes.plot(mean.index, mean, marker=MARKERS[k % len(MARKERS)], markersize=4, **style)
                axes.fill_between(mean.index, low, high, color=style["color"], alpha=0.2, linewidth=0)
            _dress(axes, title + (" (%)" if title in percent else ""), title in log)
        for axes in grid[len(panels) :]:
            axes.remove()
        for k, label in enumerate(groups.values()):
            style = {"color": COLOURS[k % len(COLOURS)], "linestyle": DASHES[k % len(DASHES)]}
            grid[0].plot([], [], marker=MARKERS[k % len(MARKERS)], markersize=4, label=label, **style)
        _legend(drawing, grid[0])

    lost = f" {hidden} values of 0 or less lie below the logarithmic axis." if hidden else ""
    return figure(draw, 0.75 + 1.75 * lines, alt, caption + lost)


def _dress(axes: Axes, title: str, log: bool) -> None:
    axes.set_title(title)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.grid()
    if log:
        axes.set_yscale("log")
        log_ticks(axes.yaxis)
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4))


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


def _legend(drawing: Drawing, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    longest = max(map(len, labels))
    drawing.legend(handles, labels, loc="outside lower center", ncols=3 if longest < 14 else 2 if longest < 26 else 1)


def _draw_mean(axes: Axes, values: NDArray[np.float64], y: float, style: Mapping[str, Any]) -> None:
    """The mean of a group's seeds at the height y, on its 95 % t interval; one seed has none."""
    if len(values) > 1 and np.isfinite(values).all():
        found = stats.t_interval(values)
        axes.plot([found.low, found.high], [y] * 2, color=style["color"], linewidth=2)
    axes.plot(values.mean(), y, markersize=6.5, linestyle="", **style)


def _groups(rows: pd.DataFrame, series: str, names: Names | None) -> dict[str, str]:
    """Values of `series` to draw, in order, with what to call them."""
    if series not in rows.columns:
        raise InputError(f"rows have no column {series!r}, expected one of: {', '.join(rows.columns)}.\nName another.")
    present = list(dict.fromkeys(map(str, rows[series])))
    groups = {
        name: label for name, label in (names or dict(zip(present, present, strict=True))).items() if name in present
    }
    if not groups:
        raise InputError(
            f"{series} holds {', '.join(present) or 'nothing'}, expected some of: {', '.join(names or ['any'])}.\n"
            "Pass rows of what is to be drawn."
        )
    return groups


def _by_epoch(rows: pd.DataFrame, series: str) -> pd.DataFrame:
    """One number per series, seed and epoch: the mean over OOD sets where there are several."""
    keys = [series, "seed", "epoch"]
    _once(rows, [*keys, *(["ood_set"] if "ood_set" in rows.columns else [])])
    return rows.groupby(keys, sort=False)["value"].mean().reset_index()


def _once(rows: pd.DataFrame, keys: list[str]) -> None:
    twice = rows[rows.duplicated(keys)]
    if len(twice):
        what: Any = twice.iloc[0][keys].to_dict()
        raise InputError(
            f"rows hold {len(twice) + 1} or more numbers for {what}, expected one.\n"
            "Choose one scorer, layer, metric, split and epoch first."
        )


def _checked_sets(scores: Mapping[str, Mapping[str, ArrayLike]]) -> list[str]:
    if not 1 <= len(scores) <= 2:
        raise InputError(f"scores have {len(scores)} columns, expected one or two.\nDraw a second figure for more.")
    first = next(iter(scores.values()))
    for title, column in scores.items():
        if "" not in column or len(column) < 2 or set(column) != set(first):
            raise InputError(
                f"{title!r} holds the sets {sorted(column)}, expected '' (ID test) and the same OOD sets in every "
                "column.\nPass scores of the same sets."
            )
        for name, values in column.items():
            array = np.asarray(values, dtype=float)
            if array.ndim != 1 or not len(array) or not np.isfinite(array).all():
                raise InputError(
                    f"scores of {name or 'ID test'!r} in {title!r} have shape {array.shape} or are not finite, "
                    "expected (N,) finite numbers.\nLook at the run that made them."
                )
    return [name for name in first if name]


def _checked_auroc(inside: ArrayLike, outside: ArrayLike, value: float, unfamiliar: str, where: str) -> None:
    """Refuse an AUROC that is not that of the scores beside it, to the digit that is printed."""
    drawn = float(mannwhitneyu(inside, outside).statistic) / (np.size(inside) * np.size(outside))
    drawn = drawn if unfamiliar == "low" else 1 - drawn
    if not abs(drawn - value) < 5e-4:
        raise InputError(
            f"scores of {where} have an AUROC of {drawn:.4f}, expected the {value:.4f} that is to be printed there.\n"
            "Pick scores and number of the same scorer, layer, params and seed."
        )
