"""A bound image by image: what share of it is used."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure as Drawing
from numpy.typing import ArrayLike, NDArray

from ..checks import InputError
from .layout import legend, line_at, look, panels_of, round_ticks
from .svg import Figure, figure
from .words import numbers

BINS = 50
SLACK = 1e-6  # rounding of single precision


def bounded(
    panels: Mapping[str, Mapping[str, tuple[ArrayLike, ArrayLike]]],
    *,
    ratio: str,
    number: str,
    alt: str,
    caption: str,
) -> Figure:
    """Numbers over their bounds, which decides, beside the numbers: nothing may lie right of the line at 1.

    Args:
        panels: title -> group -> the numbers and their bounds, (N,) each, the bounds above 0 or, with the number, 0.
        ratio, number: what to call number over bound, and the number.
        alt, caption: as for every figure; empty ones are refused. The caption goes on with the largest ratio and how
            many lie outside 0 to 1, the alternative text with medians.
    Returns:
        histograms of all images, a pair of panels a title.
    Raises:
        InputError: nothing to draw, lengths that differ, numbers that are not finite.
    """
    groups = {name: name for panel in panels.values() for name in panel}
    if not groups:
        raise InputError("panels are empty, expected at least one group of numbers.\nPass what to draw.")
    drawn = {
        title: {name: _pair(title, name, *pair) for name, pair in panel.items()} for title, panel in panels.items()
    }
    kinds = {ratio: 0, number: 1}
    tops = [max(float(both[place].max()) for panel in drawn.values() for both in panel.values()) for place in (0, 1)]
    tops[0] = max(tops[0], 1.0)

    def draw(drawing: Drawing, narrow: bool) -> None:
        grid = panels_of(drawing, 2 * len(drawn), 1 if narrow else 2)
        for axes, (title, label) in zip(grid, [(t, k) for t in drawn for k in kinds], strict=True):
            place = kinds[label]
            low = min(0.0, *(float(both[place].min()) for panel in drawn.values() for both in panel.values()))
            edges = list(np.linspace(low, 1.02 * tops[place], BINS + 1))
            for k, name in enumerate(groups):
                if name in drawn[title]:
                    style = look(k, dashed=True)
                    style.pop("marker")
                    axes.hist(drawn[title][name][place], edges, density=True, histtype="step", linewidth=1.8, **style)
            if place == 0:
                line_at(axes, 1.0, "x")
            axes.set_title(title)
            axes.set_xlabel(label + ("; dashed: the largest allowed" if place == 0 else ""))
            axes.set_yticks([])
            axes.spines["left"].set_visible(False)
            round_ticks(axes.xaxis)
        legend(drawing, grid[0], groups, narrow, narrow, marker="", linewidth=1.8)

    every = [both[0] for panel in drawn.values() for both in panel.values()]
    outside = sum(int(((values < -SLACK) | (values > 1 + SLACK)).sum()) for values in every)
    count = sum(map(len, every))
    told = f"The largest {ratio} is {max(float(values.max()) for values in every):.2f}; " + (
        f"{outside:,} of {count:,} lie outside 0 to 1." if outside else f"all {count:,} lie between 0 and 1."
    )
    medians = {
        f"{title}, {label}": {name: f"{np.median(both[place]):.2g}" for name, both in panel.items()}
        for title, panel in drawn.items()
        for label, place in kinds.items()
    }
    heights = (0.7 + 1.6 * len(drawn), 0.9 + 3.0 * len(drawn))
    return figure(draw, heights, (alt, "Medians. " + numbers(medians), told), (caption, told))


def _pair(title: str, name: str, values: ArrayLike, bounds: ArrayLike) -> tuple[NDArray[np.float64], ...]:
    """The ratios of numbers to bounds, and the numbers."""
    both = [np.asarray(given, dtype=float) for given in (values, bounds)]
    if both[0].ndim != 1 or not both[0].size or both[0].shape != both[1].shape or not np.isfinite(both).all():
        raise InputError(
            f"{name!r} of {title!r} holds numbers {both[0].shape} and bounds {both[1].shape}, expected as many of "
            "each, one or more, all finite.\nLook at the run that made them."
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where((both[0] == 0) & (both[1] == 0), 0.0, both[0] / both[1])
    if not np.isfinite(ratios).all():
        raise InputError(f"a bound of {name!r} of {title!r} is 0 and its number is not.\nLook at the run.")
    return ratios, both[0]
