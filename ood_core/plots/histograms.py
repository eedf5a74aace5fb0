"""Scores of ID test images against those of each OOD set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from matplotlib.figure import Figure as Drawing
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from ..checks import InputError
from .layout import round_ticks
from .svg import COLOURS, Figure, figure
from .words import digits, listed, numbers

BINS = 40
BEYOND = 0.001  # of the numbers lie beyond each end of an axis that is a column's own: one image would stretch it


def score_histograms(
    scores: Mapping[str, Mapping[str, ArrayLike]],
    *,
    alt: str,
    caption: str,
    xlabel: str = "score",
    aurocs: Mapping[tuple[str, str], float] | None = None,
    unfamiliar: str = "low",
    alike: bool = True,
) -> Figure:
    """ID test scores against each OOD set: one column of panels per training, one row per set.

    Args:
        scores: column title -> set name -> scores (N,); the set "" is ID test. One or two columns with the same sets.
        xlabel: what the score is, with its unit if it has one.
        aurocs: (column title, set name) -> AUROC as a fraction, as it was measured; printed in that panel.
        unfamiliar: the side on which the score wants OOD images, `low` or `high`.
        alike: one axis for all, from 0 to the largest number; False gives each column its own, where one scale would
            hide the other, over 99.8 % of its numbers, as the caption then says.
        alt, caption: as for every figure; empty ones are refused. The caption goes on with the sets whose AUROC lies
            below 50, the alternative text with medians.
    Returns:
        densities over the same bins along an axis; the ID set filled, OOD sets as lines.
    Raises:
        InputError: no ID set, no OOD set, different sets, more than two columns, NaN or infinity; an AUROC that is not
            that of the scores in its panel, which are then scores of something else.
    """
    columns = list(scores)
    sets = _checked_sets(scores)
    measured = {
        (title, name): value for (title, name), value in (aurocs or {}).items() if name in scores.get(title, {})
    }
    for (title, name), value in measured.items():
        _checked_auroc(scores[title][""], scores[title][name], value, unfamiliar, f"{name!r} in {title!r}")

    def draw(drawing: Drawing, narrow: bool) -> None:
        grid = drawing.subplots(len(sets), len(columns), sharex="all" if alike else "col", squeeze=False)
        for j, title in enumerate(columns):
            edges = _edges(scores.values(), 0.0) if alike else _edges([scores[title]], BEYOND)
            arrays = {name: np.asarray(values, dtype=float) for name, values in scores[title].items()}
            for i, name in enumerate(sets):
                axes = grid[i, j]
                axes.hist(arrays[""], edges, density=True, color=COLOURS[0], alpha=0.4, histtype="stepfilled")
                axes.hist(arrays[""], edges, density=True, color=COLOURS[0], linewidth=1, histtype="step")
                axes.hist(arrays[name], edges, density=True, color=COLOURS[1], linewidth=1.8, histtype="step")
                axes.set_yticks([])
                axes.spines["left"].set_visible(False)
                round_ticks(axes.xaxis)
                head = [title] if i == 0 else []
                head.append(name)
                if (title, name) in measured:
                    note = f"AUROC {100 * measured[title, name]:.1f}"
                    head[-1:] = [f"{head[-1]},", note] if narrow else [f"{head[-1]}, {note}"]
                axes.set_title("\n".join(head), pad=3)
        drawing.supxlabel(xlabel)
        handles = [
            Patch(facecolor=(COLOURS[0], 0.4), edgecolor=COLOURS[0], label="ID test"),
            Line2D([], [], color=COLOURS[1], label="OOD set"),
        ]
        drawing.legend(handles=handles, loc="outside upper center", ncols=2)

    medians = {
        title: {
            name or "ID test": digits(float(np.median(np.asarray(found[name], dtype=float)))) for name in ["", *sets]
        }
        for title, found in scores.items()
    }
    found = _wrong_ways(columns, measured)
    ends = "" if alike else "Each column has an axis of its own, which spans 99.8 % of its numbers."
    area = "All areas are the same, so that each panel has a height of its own."
    low = len(sets) > 4  # rows
    heights = (1.0 + (0.8 if low else 1.05) * len(sets), 1.3 + (1.1 if low else 1.25) * len(sets))
    return figure(draw, heights, (alt, "Medians. " + numbers(medians)), (caption, ends, area, found))


def _edges(columns: Iterable[Mapping[str, ArrayLike]], beyond: float) -> list[float]:
    """Bins over all numbers and 0, or over those between two quantiles."""
    pooled = np.concatenate([np.asarray(values, dtype=float) for found in columns for values in found.values()])
    low, high = np.quantile(pooled, [beyond, 1 - beyond])
    if beyond:
        return list(np.linspace(low, high if high > low else low + 1, BINS + 1))
    return list(np.linspace(min(0.0, low), high * 1.02 or 1.0, BINS + 1))


def _wrong_ways(columns: list[str], measured: Mapping[tuple[str, str], float]) -> str:
    """The sets on which the score ranks the wrong way, column by column."""
    told = []
    if measured and min(measured.values()) >= 0.5:
        return "No AUROC lies below 50, which would be the wrong way."
    for title in columns:
        here = {name: value for (column, name), value in measured.items() if column == title}
        wrong = [name for name, value in here.items() if value < 0.5]
        if here:
            told.append(f"{title} on {listed(wrong) or 'none'}")
    return f"AUROC below 50, the wrong way: {'; '.join(told)}." if told else ""


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
    drawn = float(scipy_stats.mannwhitneyu(inside, outside).statistic) / (np.size(inside) * np.size(outside))
    drawn = drawn if unfamiliar == "low" else 1 - drawn
    if not abs(drawn - value) < 5e-4:
        raise InputError(
            f"scores of {where} have an AUROC of {drawn:.4f}, expected the {value:.4f} that is to be printed there.\n"
            "Pick scores and number of the same scorer, layer, params and seed."
        )
