"""Tidy rows as figures take them: groups in order, one number where one is expected, intervals over seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from .. import stats
from ..checks import InputError

Names = Mapping[str, str]
AUROCS = frozenset({"auroc", "norm_auroc"})


def groups_of(rows: pd.DataFrame, series: str, names: Names | None) -> dict[str, str]:
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


def by_epoch(rows: pd.DataFrame, series: str) -> pd.DataFrame:
    """One number per series, seed and epoch: the mean over OOD sets where there are several."""
    keys = [series, "seed", "epoch"]
    once(rows, [*keys, *(["ood_set"] if "ood_set" in rows.columns else [])])
    return rows.groupby(keys, sort=False)["value"].mean().reset_index()


def once(rows: pd.DataFrame, keys: list[str]) -> None:
    """Refuse rows that hold two numbers where one is to be drawn."""
    twice = rows[rows.duplicated(keys)]
    if len(twice):
        what: Any = twice.iloc[0][keys].to_dict()
        raise InputError(
            f"rows hold {len(twice) + 1} or more numbers for {what}, expected one.\n"
            "Choose one scorer, layer, metric, split and epoch first."
        )


def spread(values: np.ndarray[Any, Any]) -> tuple[float, float]:
    """95 % t interval of a mean; the mean twice where it has none, of one number or of numbers that are not finite."""
    if len(values) < 2 or not np.isfinite(values).all():
        return float(values.mean()), float(values.mean())
    found = stats.t_interval(values)
    return found.low, found.high


def are_aurocs(rows: pd.DataFrame) -> bool:
    """Whether rows say that they hold AUROCs and nothing else."""
    return "metric" in rows.columns and len(rows) > 0 and set(rows["metric"]) <= AUROCS
