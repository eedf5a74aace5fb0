"""One figure for the two numbers that papers call FPR95."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure as Drawing
from numpy.typing import ArrayLike

from .svg import COLOURS, INK, Figure, figure


def fpr_conventions(
    id_scores: ArrayLike,
    ood_scores: ArrayLike,
    accept: float,
    detect: float,
    *,
    titles: tuple[str, str],
    alt: str,
    caption: str,
) -> Figure:
    """Every score as a dot, twice: with the threshold that accepts ID, and with the one that detects OOD.

    Args:
        id_scores, ood_scores: (N,) and (M,), few enough to be counted.
        accept: the first panel's threshold; OOD at or above it are errors.
        detect: the second panel's threshold; ID at or below it are errors.
        titles: of the two panels.
        alt, caption: as for every figure; empty ones are refused.
    """
    rows = {"ID": np.asarray(id_scores, dtype=float), "OOD": np.asarray(ood_scores, dtype=float)}
    marks = {"ID": ("o", COLOURS[0]), "OOD": ("s", COLOURS[1])}
    errors = {"OOD": rows["OOD"] >= accept}, {"ID": rows["ID"] <= detect}

    def draw(drawing: Drawing, narrow: bool) -> None:
        grid = drawing.subplots(2, 1, sharex=True)
        for axes, threshold, title, wrong in zip(grid, (accept, detect), titles, errors, strict=True):
            for place, (name, values) in enumerate(rows.items()):
                marker, colour = marks[name]
                false = wrong.get(name, np.zeros(len(values), dtype=bool))
                for part, fill in ((values[~false], "none"), (values[false], "full")):
                    style = {"marker": marker, "color": colour, "fillstyle": fill, "markersize": 6, "linestyle": ""}
                    axes.plot(part, np.full(len(part), -place), **style)
            axes.axvline(threshold, color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
            axes.set_yticks([0, -1], list(rows))
            axes.set_ylim(-1.6, 0.6)
            axes.tick_params(axis="y", length=0)
            axes.set_title(title, pad=4)
        grid[-1].set_xlabel(f"score: larger = more in-distribution;{chr(10) if narrow else ' '}dashed: threshold")

    return figure(draw, (3.3, 3.5), alt, caption)
