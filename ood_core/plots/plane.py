"""Images as points of a plane: classes by their numbers, OOD sets by marks."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure as Drawing
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

from ..checks import InputError
from .layout import panels_of
from .svg import COLOURS, INK, Figure, figure

MARKS = ("x", "+", "1", "2", "3", "4")
HEIGHTS = (5.2, 3.4, 2.7)  # by the number of panels side by side, so that each is about square


def plane(
    panels: Mapping[str, pd.DataFrame],
    *,
    alt: str,
    caption: str,
    sets: Mapping[str, str],
) -> Figure:
    """Panels side by side: ID images as the numbers of their classes in colour, OOD images as marks in the text's ink.

    Args:
        panels: title -> columns set ("" for ID), x, y, label; at most three panels.
        sets: OOD set -> how to call it; only these are drawn.
        alt, caption: as for every figure; empty ones are refused.
    Raises:
        InputError: no panel or more than three, no ID images, a set that is not there, or numbers that are not finite.
    """
    if not 1 <= len(panels) <= 3:
        raise InputError(f"there are {len(panels)} panels, expected one to three.\nDraw a second figure for more.")
    for title, rows in panels.items():
        missing = {"", *sets} - set(rows["set"])
        numbers = rows[["x", "y"]].to_numpy(dtype=float)
        if missing or not (abs(numbers) < float("inf")).all():
            raise InputError(
                f"{title!r} lacks the sets {sorted(missing)} or holds numbers that are not finite, expected ID ('') "
                f"and {', '.join(sets)}.\nLook at the run."
            )

    def draw(drawing: Drawing, narrow: bool) -> None:
        grid = panels_of(drawing, len(panels), 1 if narrow else len(panels))
        for axes, (title, rows) in zip(grid, panels.items(), strict=True):
            known = rows[rows["set"] == ""]
            for label, part in known.groupby("label"):
                colour, marker = COLOURS[int(str(label)) % len(COLOURS)], _number(int(str(label)))
                dots = axes.plot(part["x"], part["y"], linestyle="", markersize=4.5, color=colour, marker=marker)
                dots[0].set_markeredgewidth(0.2)
            for mark, name in zip(MARKS, sets, strict=False):
                part = rows[rows["set"] == name]
                axes.plot(part["x"], part["y"], mark, color=INK, markersize=4, alpha=0.6, markeredgewidth=0.7)
            axes.set_title(title)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_aspect("equal", adjustable="datalim")
        handles = [Line2D([], [], color=COLOURS[0], linestyle="", marker=_number(0), label="ID test, by class")]
        handles += [
            Line2D([], [], color=INK, linestyle="", markersize=5, marker=mark, label=label)
            for mark, label in zip(MARKS, sets.values(), strict=False)
        ]
        drawing.legend(handles=handles, loc="outside lower center", ncols=min(3, len(handles)))

    return figure(draw, (HEIGHTS[len(panels) - 1], 0.6 + 3.7 * len(panels)), alt, caption)


def _number(label: int) -> MarkerStyle:
    """A class number as a mark, centred; its outline is drawn, because text between dollars stays text here."""
    outline = TextPath((0, 0), str(label), size=10)
    box = outline.get_extents()
    return MarkerStyle(outline.transformed(Affine2D().translate(-box.x0 - box.width / 2, -box.y0 - box.height / 2)))
