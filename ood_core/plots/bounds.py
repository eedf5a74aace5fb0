"""A bound image by image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from ..checks import InputError
from .layout import panels_of
from .svg import COLOURS, INK, MARKERS, Figure, figure

MOST = 300  # dots a group: more make a large file and hide each other


def bounded(
    panels: Mapping[str, Mapping[str, tuple[ArrayLike, ArrayLike]]],
    *,
    xlabel: str,
    ylabel: str,
    alt: str,
    caption: str,
) -> Figure:
    """A number of each image over the bound on it: every dot lies between the axis and the dashed line of equality.

    Args:
        panels: title -> group -> the numbers and their bounds, (N,) each; of more than 300 every so many are drawn, and
            the caption says so.
        xlabel, ylabel: what bound and number are.
        alt, caption: as for every figure; empty ones are refused.
    Raises:
        InputError: nothing to draw, lengths that differ, numbers that are not finite.
    """
    groups = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    drawn = {
        title: {name: _pair(title, name, *pair) for name, pair in panel.items()} for title, panel in panels.items()
    }
    if not groups:
        raise InputError("panels are empty, expected at least one group of numbers.\nPass what to draw.")
    count = max(len(numbers) for panel in drawn.values() for numbers, _ in panel.values())
    step = -(-count // MOST)

    def draw(drawing: Drawing, narrow: bool) -> None:
        grid = panels_of(drawing, len(drawn), 1 if narrow else len(drawn))
        far = max(float(bounds.max()) for panel in drawn.values() for _, bounds in panel.values())
        high = max(float(numbers.max()) for panel in drawn.values() for numbers, _ in panel.values())
        for axes, (title, panel) in zip(grid, drawn.items(), strict=True):
            axes.plot([0, high], [0, high], color=INK, linewidth=1, linestyle=(0, (4, 3)))
            for k, name in enumerate(groups):
                if name in panel:
                    numbers, bounds = (values[::step] for values in panel[name])
                    style: dict[str, Any] = {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)]}
                    axes.plot(bounds, numbers, linestyle="", markersize=3.5, fillstyle="none", **style)
            axes.set_title(title)
            axes.set_xlabel(xlabel)
            axes.set_xlim(0, 1.04 * far)
            axes.set_ylim(-0.02 * high, 1.06 * high)
            axes.grid()
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(MaxNLocator(4))
        grid[0].set_ylabel(ylabel)
        for k, name in enumerate(groups):
            style = {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)]}
            grid[0].plot([], [], linestyle="", markersize=5, fillstyle="none", label=name, **style)
        drawing.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=min(3, len(groups)))

    note = f" Of {count} images, one in {step} is drawn." if step > 1 else ""
    return figure(draw, (3.0, 0.6 + 2.7 * len(drawn)), alt, caption + note)


def _pair(title: str, name: str, numbers: ArrayLike, bounds: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    both = [np.asarray(values, dtype=float) for values in (numbers, bounds)]
    if both[0].ndim != 1 or not both[0].size or both[0].shape != both[1].shape or not np.isfinite(both).all():
        raise InputError(
            f"{name!r} of {title!r} holds numbers {both[0].shape} and bounds {both[1].shape}, expected as many of "
            "each, one or more, all finite.\nLook at the run that made them."
        )
    return both[0], both[1]
