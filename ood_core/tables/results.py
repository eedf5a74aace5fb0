"""Results without a verdict: metrics by recipe, scorer and OOD set, and the runs behind them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from html import escape
from typing import Any

import pandas as pd

from ..checks import InputError
from .html import Html, card, cell, counted, csv_link, detector, folded, mean_sd, row, table

SHORT = 12  # characters of a run key; the CSV has it whole


def metrics_table(
    rows: pd.DataFrame, metric: str = "auroc", names: Mapping[str, str] | None = None, name: str = ""
) -> Html:
    """Mean ± standard deviation over seeds of one metric at the last epoch, in per cent: recipe x scorer x OOD set.

    Args:
        rows: tidy rows of one scale with a `recipe` column.
        metric: a fraction that has an OOD set, such as auroc or fpr_at_tpr.
        names: recipe -> how to call it.
        name: of the CSV file, that of the metric and the scale if left out.
    Returns:
        the table, best mean over near and far sets first, which says once above it how many seeds there are where all
        rows have as many; `frame` has a row per recipe, scorer and set with mean, sd (n - 1), n as fractions.
    Raises:
        InputError: nothing recorded, or a number that is there twice for one seed.
    """
    found = rows[(rows["metric"] == metric) & (rows["ood_set"] != "")]
    if found.empty:
        have = ", ".join(sorted(rows.loc[rows["ood_set"] != "", "metric"].unique()))
        raise InputError(f"metric is {metric!r}, expected one of: {have}.\nPick one that is recorded.")
    last = rows.groupby("recipe")["epoch"].transform("max")
    found = found[found["epoch"] == last[found.index]]
    keys = ["recipe", "scorer", "layer", "params", "ood_group", "ood_set"]
    twice = found[found.duplicated([*keys, "seed"])]
    if len(twice):
        raise InputError(
            f"{metric} of {'/'.join(map(str, twice.iloc[0][keys]))} is there twice for seed {twice.iloc[0]['seed']}, "
            "expected one number.\nChoose one id_set, split, protocol and class first."
        )
    grouped = found.groupby(keys, sort=False)["value"]
    frame = grouped.agg(mean="mean", sd="std", n="size").reset_index()
    sets = found[["ood_group", "ood_set"]].drop_duplicates().sort_values("ood_group", ascending=False, kind="stable")
    alike, lines = len(set(frame["n"])) == 1, []
    tested = frame.assign(mean=frame["mean"].where(frame["ood_group"] != "validation"))
    means = tested.groupby(keys[:4], sort=False)["mean"].mean().sort_values(ascending=metric.startswith("fpr"))
    parts = dict(iter(frame.groupby(keys[:4], sort=False)))
    headers = ["objective", "scorer", *(f"{ood} ({group})" for group, ood in sets.itertuples(index=False))]
    for recipe, scorer, layer, params in means.index:
        part = parts[recipe, scorer, layer, params]
        by_set = part.set_index("ood_set")
        called, about = (names or {}).get(str(recipe), str(recipe)), f"{layer} {settings(str(params))}".strip()
        own = "" if alike else counted(part["n"])
        cells = detector(called, str(scorer), about, f"{scorer} {layer} {params}", own)
        for ood in sets["ood_set"]:
            mean, sd = by_set.loc[ood, ["mean", "sd"]] if ood in by_set.index else (math.nan, math.nan)
            cells.append(mean_sd(float(mean), float(sd), 100, 1))
        lines.append(card(cells, headers))
    label = f"{metric} in per cent, mean ± standard deviation over seeds"
    grid = table(headers, lines, label, "compact cards detectors")
    said = [f"Each number is over {counted(frame['n'])}"]
    file = name or f"{metric}-{rows['scale'].iloc[0]}"
    return Html(f"<div>{folded(grid, len(lines), said)}{csv_link(frame, file)}</div>", frame)


def provenance_table(runs: pd.DataFrame) -> Html:
    """The runs behind a page's numbers, one row a run, in the columns that are given.

    Args:
        runs: `results.runs`. Times in seconds with one decimal; long keys are shortened here and whole in the CSV.
            A column in which all runs are alike is said once above the table.
    """
    records = runs.to_dict(orient="records")
    texts = {column: {_text(record[column]) for record in records} for column in runs.columns}
    alike = [column for column in runs.columns if len(records) > 1 and len(texts[column]) == 1]
    lines = [
        row(_provenance(column, value) for column, value in record.items() if column not in alike) for record in records
    ]
    headers = [_head(column) for column in runs.columns if column not in alike]
    said = [f"{_head(column)} {texts[column].pop()}" for column in alike]
    grid = table(headers, lines, "Runs behind the numbers", "compact provenance")
    grid = folded(grid, len(lines), ["All alike: " + "; ".join(said)] if said else [])
    return Html(f"<div>{grid}{csv_link(runs, 'runs')}</div>", runs.reset_index(drop=True))


def settings(params: str) -> str:
    """Canonical JSON as a reader writes it: {"p":1} is p=1."""
    return ", ".join(f"{name}={value}" for name, value in json.loads(params).items()) if params else ""


def _head(column: Any) -> str:
    return str(column).replace("_", " ")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, int):
        return f"{value:,}"
    return ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, dict) else str(value)


def _provenance(column: Any, value: Any) -> str:
    text, said = _text(value), f'data-column="{escape(_head(column))}"'  # on a phone, where there is no header
    if isinstance(value, float):
        return cell(text, value, css="number", extra=said)
    if column == "run" and len(text) > SHORT:
        return cell(f'<abbr title="{escape(text)}">{escape(text[:SHORT])}</abbr>', text, extra=said)
    return cell(escape(text), extra=said)
