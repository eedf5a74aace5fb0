"""A score of networks against what else was measured on them."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ..checks import InputError
from .scatter import scatter
from .svg import Figure

NETWORK = ["run", "params"]  # what a number on each axis must share to make a dot


def against(
    x: pd.DataFrame,
    panels: Mapping[str, pd.DataFrame],
    *,
    series: str,
    xlabel: str,
    alt: str,
    caption: str,
    names: Mapping[str, str] | None = None,
    pooled: bool = False,
) -> Figure:
    """AUROC in per cent over another number, a dot for each run and setting of the scorer, one panel a title.

    Args:
        x: tidy rows of one metric; of several classes the median is taken.
        panels: title -> tidy rows of AUROC of one scorer, with the `run` and `params` of `x`; of several OOD sets the
            mean is taken (a mean of AUROCs).
        series: the column of `panels` that tells the groups apart, such as recipe or params.
        xlabel: what `x` is, which has a logarithmic axis.
        names: value of `series` -> how to call it; only these are drawn, in this order.
        pooled: write the rank correlation over all dots of each panel below it: of groups that differ in many things.
        alt, caption: as for every figure; empty ones are refused.
    Raises:
        InputError: nothing to draw, a number that is there twice, or a run without a number to draw it over.
    """
    below = _one_each(x, "class", "median").rename("x")
    drawn = {}
    for title, rows in panels.items():
        found = rows if names is None else rows[rows[series].isin(list(names))]
        level = _one_each(found, "ood_set", "mean").mul(100).rename("y")
        groups = found.drop_duplicates(NETWORK).set_index(NETWORK, drop=False)[series].rename("group")
        drawn[title] = pd.concat([level, groups], axis=1).join(below).reset_index()
    note = ""
    if pooled:
        rhos = {title: f"{made['x'].corr(made['y'], method='spearman'):+.2f}" for title, made in drawn.items()}
        told = ", ".join(f"{title} {rho.replace('-', '−')}" for title, rho in rhos.items())
        note = f" Rank correlation over all dots: {told}."
    labels = {"xlabel": xlabel, "ylabel": "AUROC (%)", "alt": alt, "caption": caption + note}
    return scatter(drawn, x="x", y="y", series="group", names=names, log=("x",), alike=False, chance=True, **labels)


def _one_each(rows: pd.DataFrame, over: str, how: str) -> pd.Series[float]:
    twice = rows[rows.duplicated([*NETWORK, over])]
    if len(twice):
        raise InputError(
            f"rows hold two or more numbers for run {twice.iloc[0]['run']} and {over} {twice.iloc[0][over]!r}, "
            "expected one.\nChoose one metric, scorer, layer and epoch first."
        )
    numbers: pd.Series[float] = rows.groupby(NETWORK, sort=False)["value"].agg(how)
    return numbers
