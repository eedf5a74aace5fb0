"""Tables of the comparison: detectors ranked, against a baseline, beside collapse, and a guide drawn from them."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import pandas as pd

from ..checks import InputError
from .html import Html, cell, csv_link, interval, row, small, table
from .results import settings

Names = Mapping[str, str]
DETECTOR = ["recipe", "scorer", "layer", "params"]


def ranking(summary: pd.DataFrame | None, names: Names | None = None, name: str = "detectors") -> Html:
    """Every objective with every scorer, best mean first, with cost beside quality.

    Args:
        summary: as `comparison.summary` gives it; None where nothing was run, which the page then says.
        names: recipe -> how to call it.
        name: of the CSV file.
    """
    if summary is None:
        return Html("<p>Not run yet.</p>", pd.DataFrame())
    lines = []
    for place, found in enumerate(summary.to_dict("records"), 1):
        both = interval(found["both"], _finite(found["low"]), _finite(found["high"]), "percent")
        cells = [cell(str(place), place), *_detector(found, names), cell(escape(both), found["both"], css="number")]
        cells += [cell(f"{100 * found[group]:.1f}", found[group], css="number") for group in ("near", "far")]
        cells += [_number(found["fit_seconds"], ".2g"), _number(found["score_microseconds"], ".2g")]
        lines.append(row([*cells, cell(str(found["n"]), found["n"])]))
    headers = ["rank", "objective", "scorer", "near and far", "near", "far", "fit (s)", "score (µs an image)", "seeds"]
    grid = table(headers, lines, "Detectors by mean AUROC in per cent, with cost", "ranking")
    return Html(f"<div>{grid}{csv_link(summary, name)}</div>", summary)


def anchor(printed: pd.DataFrame, where: str, summary: pd.DataFrame | None, recipe: str) -> Html:
    """Another system's printed AUROCs beside ours for the same scores: not a target, a check of the order of size.

    Args:
        printed: columns score, column (near or far) and value in per cent, as `claims.printed` gives them.
        where: the document that printed them.
        summary: as `comparison.summary` gives it, or None where nothing was run.
        recipe: the objective whose detectors stand beside the printed ones, at default layer and parameters.
    """
    own = pd.DataFrame(columns=[*DETECTOR, "near", "far", "n", "other_layer"]) if summary is None else summary
    own = own[(own["recipe"] == recipe) & (own["params"] == "") & (own["other_layer"] == "")].set_index("scorer")
    theirs = printed.pivot_table(index="score", columns="column", values="value", sort=False)
    lines, records = [], []
    for score, row_ in theirs.iterrows():
        mine: Any = own.loc[str(score)] if score in own.index else None
        cells, record = [cell(escape(str(score)), tag="th")], {"score": score}
        for group in ("near", "far"):
            value = None if mine is None else 100 * float(mine[group])
            cells.append(cell(f"{row_[group]:.1f}", row_[group], css="number"))
            cells.append(cell("not run", "") if value is None else cell(f"{value:.1f}", value, css="number"))
            record |= {f"{group}_printed": row_[group], f"{group}_ours": value}
        lines.append(row(cells))
        records.append(record)
    headers = ["score", "near, printed", "near, ours", "far, printed", "far, ours"]
    grid = table(headers, lines, "Printed AUROC of another system beside ours, in per cent", "anchor")
    frame = pd.DataFrame(records)
    return Html(f"<div>{grid}{small(where)}{csv_link(frame, 'anchor')}</div>", frame)


def duels(against: pd.DataFrame, baseline: str, names: Names | None = None, name: str = "against-baseline") -> Html:
    """Every detector against one baseline: difference in points, Holm's p, and who wins.

    Args:
        against: as `comparison.against` gives it.
        baseline: how to call the baseline, for the table's label.
    """
    lines = []
    for found in against.to_dict("records"):
        shown = interval(found["difference"], found["low"], found["high"], "points")
        p = "< 0.001" if found["p_holm"] < 0.001 else f"{found['p_holm']:.3f}"
        cells = [*_detector(found, names), cell(escape(shown), found["difference"], css="number")]
        lines.append(
            row([*cells, cell(p, found["p_holm"], css="number"), cell(found["outcome"]), cell(str(found["n"]))])
        )
    headers = ["objective", "scorer", "difference", "p after Holm", "outcome", "seeds"]
    grid = table(headers, lines, f"Detectors against {baseline}, paired by seed", "duels")
    return Html(f"<div>{grid}{csv_link(against, name)}</div>", against)


def with_collapse(associations: pd.DataFrame, name: str = "collapse-and-detection") -> Html:
    """Rank correlation of collapse with detection, scorer by scorer: within objectives, and over all networks.

    Args:
        associations: as `comparison.with_collapse` gives it.
    """
    lines = []
    for found in associations.to_dict("records"):
        turned = found["within"] * found["pooled"] < 0
        cells = [_scorer(found), _number(found["within"], "+.2f"), _number(found["pooled"], "+.2f")]
        cells += [cell("yes" if turned else "no"), cell(str(found["objectives"])), cell(str(found["networks"]))]
        lines.append(row(cells))
    headers = ["scorer", "within objectives", "over all networks", "sign turns", "objectives", "networks"]
    grid = table(headers, lines, "Rank correlation of collapse with mean AUROC", "associations")
    return Html(f"<div>{grid}{csv_link(associations, name)}</div>", associations)


def guide(summary: pd.DataFrame, against: pd.DataFrame, names: Names | None = None) -> Html:
    """What the measured table alone supports, in sentences: the best, those that cannot be told from it, the cheap.

    Args:
        summary, against: as `comparison.summary` and `comparison.against` give them.
    Raises:
        InputError: nothing was measured.
    """
    if summary.empty:
        raise InputError("the summary is empty, expected at least one detector.\nRun the page first.")
    best = summary.iloc[0].to_dict()
    tied = summary[summary["high"] >= best["low"]] if _finite(best["low"]) is not None else summary.iloc[:1]
    own = summary.groupby("recipe", sort=False).head(1)
    wins = against[against["outcome"] == "wins"]
    loses = against[against["outcome"] == "loses"]
    items = [
        f"Best mean over near and far: {_called(best, names)}, "
        f"{escape(interval(best['both'], _finite(best['low']), _finite(best['high']), 'percent'))}. "
        f"{len(tied)} of {len(summary)} detectors have an interval that reaches as far.",
        "Best scorer of each objective: "
        + "; ".join(f"{_called(found, names)} ({100 * found['both']:.1f})" for found in own.to_dict("records"))
        + ".",
        f"Against the baseline, after Holm's correction: {len(wins)} better, {len(loses)} worse, "
        f"{len(against) - len(wins) - len(loses)} open.",
    ]
    free = summary[summary["fit_seconds"].fillna(0) < 0.05]
    if len(free):
        items.append(
            f"Best of those that fit in under 0.05 s: {_called(free.iloc[0].to_dict(), names)} "
            f"({100 * free.iloc[0]['both']:.1f})."
        )
    far_best = summary.sort_values("far", ascending=False).iloc[0].to_dict()
    near_best = summary.sort_values("near", ascending=False).iloc[0].to_dict()
    items.append(
        f"Best on near sets alone: {_called(near_best, names)} ({100 * near_best['near']:.1f}); on far sets alone: "
        f"{_called(far_best, names)} ({100 * far_best['far']:.1f})."
    )
    text = "".join(f"<li>{item}</li>" for item in items)
    return Html(f'<ul class="guide">{text}</ul>', summary)


def _detector(found: Mapping[Any, Any], names: Names | None) -> list[str]:
    return [cell(escape((names or {}).get(found["recipe"], found["recipe"])), tag="th"), _scorer(found)]


def _scorer(found: Mapping[Any, Any]) -> str:
    about = f"{found['layer']} {settings(found['params'])}".strip()
    return cell(escape(found["scorer"]) + small(about), f"{found['scorer']} {found['layer']} {found['params']}")


def _called(found: Mapping[Any, Any], names: Names | None) -> str:
    recipe = (names or {}).get(found["recipe"], found["recipe"])
    layer = {"features": "raw features", "unit": "unit features"}.get(found["other_layer"], found["other_layer"])
    about = ", ".join(text for text in (layer, settings(found["params"])) if text)
    return f"{escape(recipe)} with <code>{escape(found['scorer'])}</code>" + (f" ({escape(about)})" if about else "")


def _number(value: float, form: str) -> str:
    return cell("", "") if pd.isna(value) else cell(f"{value:{form}}", value, css="number")


def _finite(value: float) -> float | None:
    return None if pd.isna(value) else value
