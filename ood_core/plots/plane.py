"""Images as points of a plane: classes by colour and by their numbers, OOD sets as marks below them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from ..checks import InputError
from .layout import lines_of, panels_of
from .svg import INK, PAPER, Figure, figure
from .words import listed

# Ten that stand out on white and on black alike, so they are about equally light: the numbers at the means tell which.
CLASSES = (
    *("#1f7fc9", "#d55e00", "#0b9a6d", "#b565b8", "#8a7d1a"),
    *("#d0487e", "#6a6fd8", "#a5603c", "#1590a0", "#5f9420"),
)
MARKS = ("x", "+", "1", "2", "3", "4")
MOST = 100  # images of a set: more hide each other
APART = 0.085  # of a panel's side, between two numbers


def plane(
    panels: Mapping[str, pd.DataFrame],
    *,
    alt: str,
    caption: str,
    sets: Mapping[str, str],
) -> Figure:
    """ID images as dots in the colour of their class, its number at its mean, OOD images as faint marks below them.

    Args:
        panels: title -> columns set ("" for ID), x, y, label; at most four panels.
        sets: OOD set -> how to call it; only these are drawn.
        alt, caption: as for every figure; empty ones are refused. Both go on with the share of ID images that lie
            nearest to the mean of their own class in this plane, the caption with how many images are drawn.
    Raises:
        InputError: no panel or more than four, no ID images, a set that is not there, or numbers that are not finite.
    """
    if not 1 <= len(panels) <= 4:
        raise InputError(f"there are {len(panels)} panels, expected one to four.\nDraw a second figure for more.")
    for title, rows in panels.items():
        missing = {"", *sets} - set(rows["set"])
        numbers = rows[["x", "y"]].to_numpy(dtype=float)
        if missing or not (abs(numbers) < float("inf")).all():
            raise InputError(
                f"{title!r} lacks the sets {sorted(missing)} or holds numbers that are not finite, expected ID ('') "
                f"and {', '.join(sets)}.\nLook at the run."
            )
    columns = min(2, len(panels))

    def draw(drawing: Drawing, narrow: bool) -> None:
        grid = panels_of(drawing, len(panels), 1 if narrow else columns)
        for axes, (title, rows) in zip(grid, panels.items(), strict=True):
            for mark, name in zip(MARKS, sets, strict=False):
                part = _some(rows[rows["set"] == name])
                axes.plot(part["x"], part["y"], mark, color=INK, markersize=4, alpha=0.38, markeredgewidth=0.7)
            known = rows[rows["set"] == ""]
            for label, part in _some(known).groupby("label"):
                axes.plot(part["x"], part["y"], "o", color=_colour(label), markersize=4.2, markeredgewidth=0)
            axes.set_title(title)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_aspect("equal", adjustable="datalim")
            _numbers(axes, known.groupby("label")[["x", "y"]].mean())
        handles = [Line2D([], [], color=CLASSES[0], linestyle="", markersize=5, marker="o", label="ID test, by class")]
        handles += [
            Line2D([], [], color=INK, linestyle="", markersize=5, alpha=0.6, marker=mark, label=label)
            for mark, label in zip(MARKS, sets.values(), strict=False)
        ]
        drawing.legend(handles=handles, loc="outside lower center", ncols=2 if narrow else 3)

    shares = [f"{100 * _own(rows[rows['set'] == '']):.0f} % ({title})" for title, rows in panels.items()]
    told = f"In this plane {listed(shares)} of the ID images lie nearest to the mean of their own class."
    most = max(int(rows["set"].value_counts()[["", *sets]].max()) for rows in panels.values())
    few = f"Of {most} images a set, {MOST} are drawn." if most > MOST else ""
    wide, phone = (0.6 + height * lines_of(len(panels), n) for height, n in ((2.75, columns), (3.7, 1)))
    return figure(draw, (wide, phone), (alt, told), (caption, told, few))


def _colour(label: object) -> str:
    return CLASSES[int(str(label)) % len(CLASSES)]


def _some(rows: pd.DataFrame) -> pd.DataFrame:
    """At most so many rows, evenly from the first to the last."""
    return rows.iloc[np.linspace(0, len(rows) - 1, min(MOST, len(rows))).round().astype(int)]


def _own(known: pd.DataFrame) -> float:
    """Share of points whose nearest class mean is that of their own class."""
    means = known.groupby("label")[["x", "y"]].mean()
    points = known[["x", "y"]].to_numpy(dtype=float)
    nearest = ((points[:, None] - means.to_numpy()) ** 2).sum(axis=2).argmin(axis=1)
    return float((means.index.to_numpy()[nearest] == known["label"].to_numpy()).mean())


def _numbers(axes: Axes, means: pd.DataFrame) -> None:
    """Each class's number on a disc at its mean; where means lie closer than numbers can, a line leads to the mean."""
    side = max(np.ptp(axes.get_xlim()), np.ptp(axes.get_ylim()))
    at = means.to_numpy(dtype=float)
    for label, mean, place in zip(means.index, at, _apart(at, APART * side), strict=True):
        colour = _colour(label)
        axes.plot(*zip(mean, place, strict=True), color=colour, linewidth=1, zorder=3)
        axes.plot(
            *place, "o", markersize=11.5, markerfacecolor=PAPER, markeredgecolor=colour, markeredgewidth=1.4, zorder=4
        )
        axes.text(
            place[0], place[1], str(label), fontweight="bold", ha="center", va="center_baseline", fontsize=11, zorder=5
        )


def _apart(points: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    """Points moved until no two are closer than `least`, each as little as a few rounds of pushing allow."""
    moved = points.copy()
    for _ in range(200):
        gaps = moved[:, None] - moved[None]
        far = np.hypot(gaps[..., 0], gaps[..., 1])
        np.fill_diagonal(far, np.inf)
        if far.min() >= least:
            break
        turned = np.arange(len(moved))[:, None] - np.arange(len(moved))[None]  # points in one place part by their order
        way = np.where(
            far[..., None] > 1e-9 * least, gaps / np.maximum(far, 1e-12)[..., None], np.sign(turned)[..., None]
        )
        moved += 0.3 * (way * np.clip(least - far, 0, None)[..., None]).sum(axis=1)
    return moved
