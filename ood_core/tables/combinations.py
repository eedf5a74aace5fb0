"""Which combination of training, clusters, distance and threshold wins where."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from math import isnan, nan
from typing import Any

import pandas as pd

from ..checks import InputError
from .html import Html, card, cell, csv_link, p_value, row, small, table

Names = Mapping[str, str]
CENTRES = {"class_means": "class means", "kmeans": "k-means"}


def rank_table(
    ranks: pd.DataFrame, names: Names | None = None, top: int | None = None, p: float = nan, critical: float = nan
) -> Html:
    """Combinations by mean rank, best first, with the share of blocks won, mean AUROC and regret.

    Args:
        ranks: index training, scorer, layer, params; columns rank, won, mean, regret, as `rankings.ranks` gives them.
        names: training -> how to call it.
        top: how many to show; the CSV has all.
        p, critical: of Friedman's test, and the least clear difference of mean ranks; shown where they are numbers.
    Returns:
        the table; won and AUROC in per cent, regret in points of AUROC.
    """
    if ranks.empty:
        raise InputError("there are no ranks, expected at least one combination.\nScore all trainings alike.")
    frame = ranks.reset_index()
    headers = ["place", "combination", "mean rank", "won (%)", "AUROC (%)", "regret"]
    lines = []
    for place, found in enumerate(frame.to_dict("records")[:top], 1):
        cells = [cell(str(place), place, css="number"), _combination(found, names)]
        cells += [cell(f"{found['rank']:.1f}", found["rank"], css="number")]
        shown = ((name, 100 * found[name]) for name in ("won", "mean", "regret"))
        cells += [
            cell(f"{value:.0f}" if name == "won" else f"{value:.1f}", value, css="number") for name, value in shown
        ]
        lines.append(card(cells, headers))
    grid = table(headers, lines, "Combinations by mean rank over blocks", "compact cards ranks")
    texts = [f"{len(frame)} combinations."]
    texts += [] if isnan(p) else [f"Friedman's test that all are equal: p {p_value(p)}."]
    texts += [] if isnan(critical) else [f"Nemenyi: mean ranks {critical:.0f} or more apart differ clearly."]
    note = f'<p class="how">{escape(" ".join(texts))}</p>'
    return Html(f"<div>{grid}{note}{csv_link(frame, 'ranks')}</div>", frame)


def chosen_table(chosen: pd.DataFrame, names: Names | None = None) -> Html:
    """The detectors that validation OOD sets chose, with their AUROC there.

    Args:
        chosen: training, scorer, layer, params, validation, as `rankings.chosen` gives it.
        names: training -> how to call it.
    """
    lines = []
    for found in chosen.to_dict("records"):
        cells = [_combination(found, names, f"{found['layer']}, ")]
        lines.append(row([*cells, cell(f"{100 * found['validation']:.1f}", found["validation"], css="number")]))
    headers = ["detector", "AUROC (%), validation"]
    grid = table(headers, lines, "Detectors chosen on shuffled ID validation images", "compact chosen")
    return Html(f"<div>{grid}{csv_link(chosen, 'chosen')}</div>", chosen)


def winners_table(values: pd.DataFrame, names: Names | None = None, networks: Names | None = None) -> Html:
    """The best combination of every block, beside the one that is best on average.

    Args:
        values: index network, ood_set; columns training, scorer, layer, params; AUROC, as `rankings.blocks` gives it.
        names: training -> how to call it.
        networks: network -> how to call it.
    """
    if values.empty:
        raise InputError("there are no blocks, expected at least one.\nScore all trainings alike.")
    average = int(values.to_numpy(dtype=float).mean(axis=0).argmax())
    headers = ["network", "OOD set", "combination", "AUROC (%)", "best on average (%)"]
    lines, records = [], []
    kinds = [str(name) for name in values.columns.names]
    for (network, ood_set), numbers in zip(values.index, values.to_numpy(dtype=float), strict=True):
        best = dict(zip(kinds, values.columns[int(numbers.argmax())], strict=True))
        record: dict[str, Any] = {"network": network, "ood_set": ood_set, **best}
        record |= {"auroc": numbers.max(), "best_on_average": numbers[average]}
        records.append(record)
        cells = [escape((networks or {}).get(str(network), str(network))), escape(str(ood_set))]
        cells = [cell(text, css="number") for text in cells]
        cells += [_combination(best, names)]
        cells += [
            cell(f"{100 * record[name]:.1f}", record[name], css="number") for name in ("auroc", "best_on_average")
        ]
        lines.append(card(cells, headers))
    frame = pd.DataFrame(records)
    grid = table(headers, lines, "The best combination of each block", "compact cards winners")
    return Html(f"<div>{grid}{csv_link(frame, 'winners')}</div>", frame)


def _combination(found: Mapping[Any, Any], names: Names | None, layer: str = "") -> str:
    """A cell: the training, and below it centres, distance and threshold in words."""
    called = (names or {}).get(str(found["training"]), str(found["training"]))
    about = layer + "; ".join(_described(found))
    return cell(f"<strong>{escape(called)}</strong>" + small(about), f"{called} {about}", "th")


def _described(found: Mapping[Any, Any]) -> list[str]:
    """Centres, distance and threshold of a scorer in words."""
    given = json.loads(found["params"]) if found["params"] else {}
    scorer = str(found["scorer"])
    if scorer == "ssd":
        return ["one centre", "Mahalanobis", "one threshold"]
    if scorer == "mahalanobis":
        return ["class means", "Mahalanobis, shared", "one threshold"]
    centres = CENTRES.get(str(given.get("centres", "class_means")), str(given.get("centres")))
    if given.get("centres") == "kmeans":
        centres += f", K = {given['clusters']}" if given.get("clusters") else ", K = C"
    distance = str(given.get("distance", "euclidean")).replace("euclidean", "Euclidean").replace("maha", "Maha")
    return [centres, distance, "a threshold each" if "threshold" in given else "one threshold"]
