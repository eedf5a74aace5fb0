"""Tables of the comparison: detectors ranked, against a baseline, beside collapse, and a guide drawn from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import pandas as pd

from ..checks import InputError
from .html import Html, card, cell, counted, csv_link, detector, folded, interval, p_value, small, stacked, table
from .results import settings

Names = Mapping[str, str]
DETECTOR = ["recipe", "scorer", "layer", "params"]
BEST = 4  # scorers that are named of the networks that a reader has
FIRST = 3  # detectors that are named where another measure ranks them
CLOSE = 0.01  # of AUROC: so near the first that which is better does not matter much
OUTCOMES = {"wins": "better", "loses": "worse", "open": "not clear"}
COLLAPSE = {
    "nc1": "NC1",
    "nc2_norm_means": "NC2, lengths of class means",
    "nc2_angle_means": "NC2, angles of class means",
    "nc2_norm_weights": "NC2, lengths of weights",
    "nc2_angle_weights": "NC2, angles of weights",
    "nc3": "NC3",
    "nc4": "NC4",
}


def ranking(summary: pd.DataFrame, names: Names | None = None, name: str = "detectors") -> Html:
    """Every objective with every scorer, best mean first, with cost beside quality.

    Args:
        summary: as `comparison.summary` gives it. Seconds of training belong to the objective: they are the same in
            each of its rows.
        names: recipe -> how to call it.
        name: of the CSV file.
    """
    alike, lines = len(set(summary["n"])) == 1, []
    cost = ["training (s)", "fit (s)", "score (µs an image)"]
    headers = ["rank", "objective", "scorer", "near and far", "near", "far", "natural sets", "FPR95", *cost]
    for place, found in enumerate(summary.to_dict("records"), 1):
        both = interval(found["both"], _finite(found["low"]), _finite(found["high"]), "percent")
        cells = [
            cell(str(place), place, css="number"),
            *_detector(found, names, alike),
            cell(stacked(both), found["both"], css="number"),
        ]
        cells += [_percent(found[name]) for name in ("near", "far", "natural", "fpr")]
        trained = found["train_seconds"]
        cells += [cell("", "") if pd.isna(trained) else cell(_seconds(trained), trained, css="number")]
        cells += [_number(found["fit_seconds"]), _number(found["score_microseconds"])]
        lines.append(card(cells, headers))
    grid = table(headers, lines, "Detectors by mean AUROC in per cent, with cost", "compact cards detectors")
    shown = folded(grid, len(lines), [f"AUROC in per cent, mean [95 % interval] over {counted(summary['n'])}"])
    return Html(f"<div>{shown}{csv_link(summary, name)}</div>", summary)


def anchor(printed: pd.DataFrame, where: str, summary: pd.DataFrame, recipe: str) -> Html:
    """Another system's printed AUROCs beside ours for the same scores: not a target, a check of the order of size.

    Below stand our accuracy, the order of the scores there and here, and how far the two orders agree.

    Args:
        printed: columns score, column (near or far) and value in per cent, as `claims.printed` gives them.
        where: the document that printed them.
        summary: as `comparison.summary` gives it.
        recipe: the objective whose detectors stand beside the printed ones, at default parameters and layer. Where a
            score was measured on another layer too, that follows in a row of its own, which no order counts.
    """
    own = summary[(summary["recipe"] == recipe) & (summary["params"] == "")]
    headers = ["score", "near, printed", "near, ours", "far, printed", "far, ours"]
    theirs = printed.pivot_table(index="score", columns="column", values="value", sort=False)
    lines, records = [], []
    for score, row_ in zip(map(str, theirs.index), theirs.to_dict("records"), strict=True):
        mine = own[own["scorer"] == score].sort_values("other_layer").to_dict("records")
        mine = mine if mine and not mine[0]["other_layer"] else [{"other_layer": ""}, *mine]
        for found in mine:
            layer = found["other_layer"]
            cells = [cell(escape(score) + small(_layer(layer)), tag="th")]
            record: dict[str, Any] = {"score": score}
            for group in ("near", "far"):
                value = 100 * float(found[group]) if group in found else None
                cells.append(cell("", "") if layer else cell(f"{row_[group]:.1f}", row_[group], css="number"))
                cells.append(cell("not run", "") if value is None else cell(f"{value:.1f}", value, css="number"))
                record |= {f"{group}_printed": None if layer else row_[group], f"{group}_ours": value}
            lines.append(card(cells, headers))
            records.append(record | {"other_layer": layer})
    grid = table(headers, lines, "Printed AUROC of another system beside ours, in per cent", "compact cards anchor")
    frame = pd.DataFrame(records)
    text = "".join(f"<p>{escape(line)}</p>" for line in [*_accuracy(own), *_orders(frame)])
    return Html(f"<div>{grid}{small(where)}{text}{csv_link(frame, 'anchor')}</div>", frame)


def _accuracy(own: pd.DataFrame) -> list[str]:
    """Test accuracy of the networks in one sentence, none where it is not known."""
    if own.empty or pd.isna(own.iloc[0]["accuracy"]):
        return []
    return [f"Test accuracy of ours: {100 * own.iloc[0]['accuracy']:.1f} %, mean over seeds (n = {own['n'].max()})."]


def _orders(frame: pd.DataFrame) -> list[str]:
    """By group, the scores in both orders and the rank correlation between them; none for fewer than three scores."""
    found = []
    for group in ("near", "far"):
        both = frame[frame["other_layer"] == ""].set_index("score")[[f"{group}_printed", f"{group}_ours"]]
        both = both.astype(float).dropna()
        if len(both) >= 3:
            theirs, ours = (" > ".join(both[name].sort_values(ascending=False).index) for name in both)
            rank = f"{both.corr('spearman').to_numpy()[0, 1]:+.2f}".replace("-", "−")
            found.append(f"Order on {group} sets, printed: {theirs}; ours: {ours}; rank correlation {rank}.")
    return found


def duels(against: pd.DataFrame, baseline: str, names: Names | None = None, name: str = "against-baseline") -> Html:
    """Every detector against one baseline: difference in points, Holm's p, and who wins.

    Args:
        against: as `comparison.against` gives it.
        baseline: how to call the baseline, for the table's label.
    """
    alike, lines = len(set(against["n"])) == 1, []
    headers = ["objective", "scorer", "difference", "near", "far", "p after Holm", "outcome"]
    for found in against.to_dict("records"):
        shown = interval(found["difference"], found["low"], found["high"], "points")
        p = p_value(found["p_holm"]).removeprefix("= ")
        cells = [*_detector(found, names, alike), cell(stacked(shown), found["difference"], css="number")]
        cells += [cell(_signed(found[group]), found[group], css="number") for group in ("near", "far")]
        cells += [cell(p, found["p_holm"], css="number"), cell(OUTCOMES[found["outcome"]], css="number")]
        lines.append(card(cells, headers))
    grid = table(headers, lines, f"Detectors against {baseline}, paired by seed", "compact cards detectors")
    shown = folded(grid, len(lines), [f"Difference in points [95 % interval] over {counted(against['n'])}"])
    return Html(f"<div>{shown}{csv_link(against, name)}</div>", against)


def with_collapse(
    associations: Mapping[str, pd.DataFrame], chosen: Names, name: str = "collapse-and-detection"
) -> Html:
    """Rank correlation of each collapse metric with detection, scale by scale: within objectives / over all networks.

    Args:
        associations: scale -> as `comparison.with_collapse` gives it; all of it is in the CSV file.
        chosen: scorer -> how to call it; the columns, each at its default layer and parameters.
        name: of the CSV file.
    Raises:
        InputError: none of the chosen scorers was measured.
    """
    frame = pd.concat([found.assign(scale=scale) for scale, found in associations.items()], ignore_index=True)
    own = frame[(frame["params"] == "") & (frame["other_layer"] == "") & frame["scorer"].isin(chosen)]
    if own.empty:
        raise InputError(f"scorers are {', '.join(chosen)}, expected one that was measured.\nName another.")
    headers = ["metric", "scale", *chosen.values()]
    lines = []
    for (scale, metric), part in own.groupby(["scale", "collapse"], sort=False):
        by_scorer = part.set_index("scorer").to_dict("index")
        counts = {_networks(found) for found in by_scorer.values()}
        alike = counts.pop() if len(counts) == 1 else ""
        cells = [cell(escape(COLLAPSE.get(str(metric), str(metric))), tag="th")]
        cells += [cell(escape(str(scale)) + small(alike), scale)]
        cells += [_associated(by_scorer.get(scorer), alike) for scorer in chosen]
        lines.append(card(cells, headers))
    label = "Rank correlation of collapse with mean AUROC, within objectives / over all"
    grid = table(headers, lines, label, "compact cards")
    return Html(f"<div>{grid}{csv_link(frame, name)}</div>", frame)


def _networks(found: Mapping[Any, Any]) -> str:
    return f"{found['networks']} networks, {found['objectives']} objectives"


def _associated(found: Mapping[Any, Any] | None, said: str) -> str:
    """Correlation within / over all, whether a clear sign turns between them, of what networks unless that is said."""
    if found is None:
        return cell("", "")
    counts = _networks(found) if _networks(found) != said else ""
    if pd.isna(found["pooled"]):
        return cell(small(f"constant, or too few{': ' if counts else ''}{counts}"), "")
    within = "none" if pd.isna(found["within"]) else f"{found['within']:+.2f}"
    clear = abs(found["within"]) > 2 * found["chance"]
    turned = " <strong>turns</strong>" if clear and found["within"] * found["pooled"] < 0 else ""
    return cell(
        f"{within} / {found['pooled']:+.2f}".replace("-", "−") + turned + small(counts), found["within"], css="number"
    )


def guide(
    summary: pd.DataFrame, against: pd.DataFrame, names: Names | None = None, about: str = "", have: str = ""
) -> Html:
    """What the measured table alone supports, in sentences: the best, those that cannot be told from it, the cheap.

    Args:
        summary, against: as `comparison.summary` and `comparison.against` give them.
        names: recipe -> how to call it.
        about: address that says what a scorer is when its name is added; "" for none.
        have: the recipe of a network that a reader has already, whose best scorers are named; "" for none.
    """
    best = summary.iloc[0].to_dict()
    own = summary.groupby("recipe", sort=False).head(1)
    wins = against[against["outcome"] == "wins"]
    loses = against[against["outcome"] == "loses"]
    over = "" if len(set(summary["n"])) == 1 else f" over {counted([best['n']])}"
    known = summary.iloc[1:].dropna(subset=["level"])
    level = _level(known["level"].astype(bool), known["behind"] >= -CLOSE, len(summary) - 1 - len(known))

    def called(found: Mapping[Any, Any]) -> str:
        return _called(found, names, about)

    items = [
        f"Best mean over near and far: {called(best)}, "
        f"{escape(interval(best['both'], _finite(best['low']), _finite(best['high']), 'percent'))}{over}. "
        f"{level}.",
        *_without_training(summary, against, names, about, have),
        "Best scorer of each objective: "
        + "; ".join(f"{called(found)} ({100 * found['both']:.1f})" for found in own.to_dict("records"))
        + ".",
        f"Against the baseline, after Holm's correction: {len(wins)} better{_behind_near(wins)}, {len(loses)} worse, "
        f"{len(against) - len(wins) - len(loses)} not clear, which may be for want of seeds.",
        *_otherwise(summary, called),
        *_training(own, names),
    ]
    far_best = summary.sort_values("far", ascending=False).iloc[0].to_dict()
    near_best = summary.sort_values("near", ascending=False).iloc[0].to_dict()
    items.append(
        f"Best on near sets alone: {called(near_best)} ({100 * near_best['near']:.1f}); on far sets alone: "
        f"{called(far_best)} ({100 * far_best['far']:.1f})."
    )
    text = "".join(f"<li>{item}</li>" for item in items)
    return Html(f'<ul class="guide">{text}</ul>', summary)


def _level(level: pd.Series[bool], close: pd.Series[bool], untold: int) -> str:
    """How many others are clearly worse than the first, and how many of the rest are near it."""
    rest = int(level.sum())
    worse = len(level) - rest
    told = f"Of {len(level)} others, {worse} {'is' if worse == 1 else 'are'} clearly worse (paired by seed, Holm)"
    if not rest:
        told = "All others are clearly worse (paired by seed, Holm)"
    elif near := int((level & close).sum()):
        told += f"; of the {rest} that are not, {near} {'is' if near == 1 else 'are'} within a point of it"
    else:
        told += "; of the rest none is within a point of it: there, seeds are too few to tell"
    return told + (f"; {untold} more share too few seeds with it" if untold else "")


def _behind_near(wins: pd.DataFrame) -> str:
    behind = int((wins["near"] < 0).sum())
    return f" ({behind} of them behind it on near sets)" if behind else ""


def _otherwise(summary: pd.DataFrame, called: Callable[[Mapping[Any, Any]], str]) -> list[str]:
    """The first by AUROC without artificial sets, and by FPR95, where they were measured."""
    told = []
    for name, text, ascending in (
        ("natural", "Without uniform noise and the sets in a black frame, whose look may give them away", False),
        ("fpr", "By FPR95, the share of OOD images let in where 95 % of ID images are (less is better)", True),
    ):
        first = summary.dropna(subset=[name]).sort_values(name, ascending=ascending, kind="stable").head(FIRST)
        each = "; ".join(f"{called(found)} ({100 * found[name]:.1f})" for found in first.to_dict("records"))
        told += [f"{text}: {each}."] if each else []
    return told


def _without_training(
    summary: pd.DataFrame, against: pd.DataFrame, names: Names | None, about: str, have: str
) -> list[str]:
    """The best scorers of one objective's networks in one sentence, and how far the first is from the baseline."""
    own = summary[summary["recipe"] == have].head(BEST)
    if own.empty:
        return []
    first, *_ = own.to_dict("records")
    named = "; ".join(f"{_scorer(found, about)} ({100 * found['both']:.1f})" for found in own.to_dict("records"))
    compared = against[(against[DETECTOR] == [first[name] for name in DETECTOR]).all(axis=1)].to_dict("records")
    over = [interval(found["difference"], found["low"], found["high"], "points") for found in compared]
    told = f". The first minus the baseline: {escape(over[0])}" if over else ""
    lowest = summary[summary["recipe"] == have].dropna(subset=["fpr"]).sort_values("fpr", kind="stable").head(BEST)
    low = "; ".join(f"{_scorer(found, about)} ({100 * found['fpr']:.1f})" for found in lowest.to_dict("records"))
    told += f". By FPR95: {low}" if low else ""
    return [f"With nothing trained again, the best scorers on {_objective(first, names)}: {named}{told}."]


def _training(own: pd.DataFrame, names: Names | None) -> list[str]:
    """What training took, in one sentence, which names those of which that is not known on the same machine."""
    known = own.dropna(subset=["train_seconds"]).sort_values("train_seconds").to_dict("records")
    if not known:
        return []
    each = "; ".join(f"{_objective(found, names)} {_seconds(found['train_seconds'])}" for found in known)
    rest = [_objective(found, names) for found in own[own["train_seconds"].isna()].to_dict("records")]
    left = f". On another kind of machine, which does not compare: {', '.join(rest)}" if rest else ""
    return [f"Seconds to train one network: {each}{left}."]


def _detector(found: Mapping[Any, Any], names: Names | None, alike: bool) -> list[str]:
    about = f"{found['layer']} {settings(found['params'])}".strip()
    called = (names or {}).get(found["recipe"], found["recipe"])
    key = f"{found['scorer']} {found['layer']} {found['params']}"
    return detector(called, found["scorer"], about, key, "" if alike else counted([found["n"]]))


def _objective(found: Mapping[Any, Any], names: Names | None) -> str:
    return escape((names or {}).get(found["recipe"], found["recipe"]))


def _called(found: Mapping[Any, Any], names: Names | None, about: str = "") -> str:
    return f"{_objective(found, names)} with {_scorer(found, about)}"


def _scorer(found: Mapping[Any, Any], about: str) -> str:
    """A scorer's name, linked where there is an address, with its layer and parameters where they are not the usual."""
    how = ", ".join(text for text in (_layer(found["other_layer"]), settings(found["params"])) if text)
    name = f"<code>{escape(found['scorer'])}</code>"
    if about:
        name = f'<a href="{escape(about + found["scorer"])}">{name}</a>'
    return name + (f" ({escape(how)})" if how else "")


def _layer(name: str) -> str:
    return {"features": "raw features", "unit": "unit features"}.get(name, name)


def _percent(value: float) -> str:
    return cell("", "") if pd.isna(value) else cell(f"{100 * value:.1f}", value, css="number")


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")


def _number(value: float) -> str:
    """Two digits, without a power of ten: 280, not 2.8e+02."""
    return cell("", "") if pd.isna(value) else cell(f"{float(f'{value:.2g}'):,g}", value, css="number")


def _seconds(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def _finite(value: float) -> float | None:
    return None if pd.isna(value) else value
