"""Objectives against scorers: who detects best, by how much, at what cost, and what goes with collapse.

Every function takes tidy rows of one scale with a `recipe` column (a recipe is a training objective) and looks at the
last epoch. A *detector* is a recipe with a scorer, its layer and its parameters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from . import scorers, stats
from .checks import InputError

DETECTOR = ["recipe", "scorer", "layer", "params"]
GROUPS = ("near", "far")
PROBE = "linear_probe"
ARTIFICIAL = ("noise", "noise-32", "mnist", "mnist/test3k", "fashion-mnist")  # drawn, or in a black frame
SHOWN = ("nc1", "nc2_norm_means", "nc2_angle_means", "nc3", "nc4")  # of collapse, beside accuracy
COLLAPSE = ("nc1", "nc2_norm_means", "nc2_angle_means", "nc2_norm_weights", "nc2_angle_weights", "nc3", "nc4")


def by_seed(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a detector and seed: the mean over the near sets, over the far sets, and of these two (`both`).

    They are means of AUROCs, not AUROCs of pooled sets, and near and far weigh the same however many sets each has.
    `other_layer` is "" where a scorer reads the layer that it reads by default, and the layer's name elsewhere.

    Raises:
        InputError: no AUROC at all, or a detector without near or without far sets.
    """
    table = _by_group(final(rows), "auroc")
    if table.empty:
        raise InputError("rows hold no AUROC of a near or far set, expected some.\nMeasure both groups.")
    if table["both"].isna().any():
        raise InputError("some detector has no near or no far set, expected both.\nMeasure the other group as well.")
    return _with_other_layer(table.reset_index())


def _by_group(last: pd.DataFrame, metric: str, without: Collection[str] = ()) -> pd.DataFrame:
    """By detector and seed near, far and both, of all sets but some; NaN where a group has no set left."""
    kept = (last["metric"] == metric) & last["ood_group"].isin(GROUPS) & ~last["ood_set"].isin(without)
    table = last[kept].pivot_table(index=[*DETECTOR, "seed"], columns="ood_group", values="value", aggfunc="mean")
    table = table.reindex(columns=list(GROUPS)).rename_axis(columns=None)
    return table.assign(both=table.mean(axis=1, skipna=False))


def training_seconds(runs: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, float]:
    """What training a network of each recipe took, mean over runs: processor seconds, or those of the clock on a GPU.

    Of the runs on the kind of machine that most of them had: seconds of two kinds do not compare, and a recipe that ran
    on others alone is left out. Processor seconds do not count what else the machine did meanwhile. A run of which they
    are not known counts by the clock.

    Args:
        runs: recipe and provenance (`run.info`) of each run.
    """
    every = list(runs)
    usual = _usual_machine(info for _, info in every)
    found: dict[str, list[float]] = {}
    for recipe, info in every:
        if _machine(info) == usual:
            found.setdefault(recipe, []).append(_taken(info))
    return {recipe: float(np.mean(taken)) for recipe, taken in found.items()}


def _machine(info: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(info["hardware"].get(name) for name in ("device", "name", "bfloat16"))


def _usual_machine(infos: Iterable[Mapping[str, Any]]) -> tuple[Any, ...]:
    """The one that most runs had; of no run, one without a name."""
    return next((machine for machine, _ in Counter(map(_machine, infos)).most_common(1)), ("", "", ""))


def _taken(info: Mapping[str, Any]) -> float:
    """Seconds of training: of the processor on a CPU, if they are known, else of the clock."""
    seconds, on_processor = info["seconds"], info["hardware"]["device"] == "cpu"
    return float(seconds.get("train_cpu", seconds["train"]) if on_processor else seconds["train"])


def summary(rows: pd.DataFrame, training: Mapping[str, float] | None = None) -> pd.DataFrame:
    """One row a detector, best mean first: means over seeds with the 95 % t interval of `both`, n, and cost.

    Args:
        rows: tidy rows of one scale.
        training: recipe -> seconds, see `training_seconds`.
    Returns:
        the detector, near, far, both, low, high (NaN for one seed), n; natural, `both` without the sets of
        `ARTIFICIAL`; fpr, the mean of near and far FPR95 (`fpr_at_tpr`); fit_seconds, score_microseconds (medians over
        seeds), train_seconds, accuracy (on ID test images, of the network's own decisions, mean over seeds), each NaN
        where it is not known; other_layer as in `by_seed`; behind, the difference from the first, paired by seed; and
        `level`: whether the detector is not clearly worse than the first, paired by seed, at 5 % after Holm's
        correction over all of them; missing where they share fewer than two seeds. The first is.
    """
    last, seeds = final(rows), by_seed(rows)
    lines = []
    for key, part in seeds.groupby(DETECTOR, sort=False):
        found = stats.t_interval(part["both"].to_numpy(copy=True))
        means = part[["near", "far", "both"]].mean().to_dict()
        lines.append(
            dict(zip(DETECTOR, key, strict=True)) | means | {"low": found.low, "high": found.high, "n": found.n}
        )
    table = pd.DataFrame(lines).replace([np.inf, -np.inf], np.nan)
    for name, groups in (("natural", _by_group(last, "auroc", ARTIFICIAL)), ("fpr", _by_group(last, "fpr_at_tpr"))):
        table = table.join(groups["both"].groupby(DETECTOR).mean().rename(name), on=DETECTOR)
    for name in ("fit_seconds", "score_microseconds"):
        cost = last[last["metric"] == name].groupby(DETECTOR)["value"].median().rename(name)
        table = table.join(cost, on=DETECTOR)
    own = last[(last["metric"] == "accuracy") & (last["split"] == "test") & (last["protocol"] == "")]
    table["train_seconds"] = table["recipe"].map(dict(training or {})).astype(float)
    table["accuracy"] = table["recipe"].map(own.groupby("recipe")["value"].mean()).astype(float)
    table = table.sort_values("both", ascending=False, kind="stable", ignore_index=True)
    first = (seeds[DETECTOR] == table.loc[0, DETECTOR]).all(axis=1)
    others = _paired(seeds[~first], seeds[first]).set_index(DETECTOR)
    level = (others["p_holm"] >= 0.05) | (others["difference"] > 0)
    table = table.join(level.rename("level").astype("boolean"), on=DETECTOR)
    table = table.join(others["difference"].rename("behind"), on=DETECTOR)
    table.loc[0, ["level", "behind"]] = True, 0.0
    return _with_other_layer(table)


def objectives(rows: pd.DataFrame, runs: Iterable[tuple[str, Mapping[str, Any]]] = ()) -> pd.DataFrame:
    """One row a recipe: accuracy on ID test images, collapse of raw training features, cost; means over seeds.

    Args:
        rows: tidy rows of one scale.
        runs: recipe and provenance (`run.info`) of each run.
    Returns:
        recipe, n (seeds), accuracy (of the network's own decisions), linear_probe (of a linear classifier fitted to
        features, for networks that were trained without classes), nc1, nc2_norm_means, nc2_angle_means, nc3, nc4, each
        with its standard deviation as NAME_sd; train_seconds on the kind of machine that most runs of this recipe had,
        and the machine's name. NaN, or "", where a recipe has none. Recipes stand in the order of the rows.
    """
    last = final(rows)
    decided = (last["metric"] == "accuracy") & (last["split"] == "test") & last["protocol"].isin(("", PROBE))
    collapse = last["metric"].isin(SHOWN) & (last["layer"] == "features") & (last["split"] == "train")
    own = last[decided | collapse]
    of = own["metric"].where(own["protocol"] != PROBE, PROBE).rename("of")
    known = dict(iter(own.groupby(["recipe", of])["value"]))
    by_recipe: dict[str, list[Mapping[str, Any]]] = {}
    for recipe, info in runs:
        by_recipe.setdefault(recipe, []).append(info)
    lines = []
    for recipe in rows["recipe"].unique():
        line = {"recipe": recipe, "n": last.loc[last["recipe"] == recipe, "seed"].nunique()}
        for name in ("accuracy", PROBE, *SHOWN):
            values = known.get((recipe, name), pd.Series(dtype=float))
            line |= {name: values.mean(), f"{name}_sd": values.std()}
        infos = by_recipe.get(recipe, [])
        seconds = training_seconds((recipe, info) for info in infos).get(recipe, np.nan)
        lines.append(line | {"train_seconds": seconds, "machine": _usual_machine(infos)[1]})
    return pd.DataFrame(lines)


def against(rows: pd.DataFrame, recipe: str, scorer: str) -> pd.DataFrame:
    """Every detector against one baseline, paired by seed: mean difference of `both`, 95 % t interval, p and Holm's p.

    `near` and `far` are the mean differences on these sets alone, which nothing tests. Holm's correction runs over all
    detectors of the table; `wins`, `loses` and `open` go by it at 5 %.

    Args:
        recipe, scorer: the baseline; the scorer at its default layer and parameters.
    Raises:
        InputError: no such baseline.
    """
    seeds = by_seed(rows)
    at = (seeds["recipe"] == recipe) & (seeds["scorer"] == scorer) & (seeds["params"] + seeds["other_layer"] == "")
    base = seeds.loc[at, "seed"]
    if base.empty or base.duplicated().any():
        raise InputError(f"{recipe}/{scorer} is there {len(base)} times a seed, expected once.\nName another baseline.")
    table = _paired(seeds[~at], seeds[at])
    better = np.where(table["difference"] > 0, "wins", "loses")
    table["outcome"] = np.where(table["p_holm"] < 0.05, better, "open")
    return table.sort_values("difference", ascending=False, kind="stable", ignore_index=True)


def _paired(others: pd.DataFrame, one: pd.DataFrame) -> pd.DataFrame:
    """Each of some detectors minus one, by seed: mean, 95 % t interval, p, and p after Holm's correction over all."""
    measured = ["both", *GROUPS]
    base, lines = one.set_index("seed")[measured], []
    for key, part in others.groupby(DETECTOR, sort=False):
        pair = part.set_index("seed")[measured].join(base.add_suffix("_base"), how="inner")
        own_, base_ = (pair[name].to_numpy(copy=True) for name in ("both", "both_base"))
        found = stats.paired(own_, base_) if len(pair) else None
        if found is not None and found.n > 1:
            own = {
                "difference": found.mean,
                "low": found.low,
                "high": found.high,
                "n": found.n,
                "p": stats.p_of_mean(found),
                **{group: float((pair[group] - pair[f"{group}_base"]).mean()) for group in GROUPS},
            }
            lines.append(dict(zip(DETECTOR, key, strict=True)) | own)
    table = pd.DataFrame(lines, columns=[*DETECTOR, "difference", "low", "high", "n", "p", *GROUPS])
    table["p_holm"] = stats.holm(table["p"].to_numpy(copy=True)) if len(table) else []
    return table


def with_collapse(rows: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation of the metrics of `COLLAPSE` with `both`, scorer by scorer, over trained networks.

    `within` is the mean over objectives of the correlation over seeds, where there are at least three; `objectives`
    counts them, and `chance` is its standard deviation if nothing were correlated, sqrt(sum 1 / (n - 1)) / objectives.
    `pooled` is over all networks at once. They can differ in sign: objectives differ in both numbers at
    once (Simpson's paradox), so that only `within` speaks of collapse itself. An association, not a cause. A network
    counts where it has both numbers: one without a last layer has no nc3.

    Returns:
        one row a metric and scorer: collapse, scorer, layer, params, within, chance, objectives, pooled, networks,
        and other_layer as in `by_seed`.
    """
    last, seeds, lines = final(rows), by_seed(rows), []
    own = last[(last["layer"] == "features") & (last["split"] == "train")]
    for metric in COLLAPSE:
        per_network = own[own["metric"] == metric].groupby(["recipe", "seed"])["value"].mean().rename("collapse")
        known = seeds.join(per_network, on=["recipe", "seed"]).dropna(subset=["collapse"])
        for key, part in known.groupby([*DETECTOR[1:], "other_layer"], sort=False):
            each = [(_spearman(group), len(group)) for _, group in part.groupby("recipe") if len(group) >= 3]
            finite = [value for value, _ in each if not np.isnan(value)]
            free = [1 / (n - 1) for value, n in each if not np.isnan(value)]
            lines.append(
                {"collapse": metric, **dict(zip([*DETECTOR[1:], "other_layer"], key, strict=True))}
                | {"within": float(np.mean(finite)) if finite else np.nan, "objectives": len(finite)}
                | {"chance": float(np.sqrt(sum(free))) / len(free) if free else np.nan}
                | {"pooled": _spearman(part) if len(part) >= 3 else np.nan, "networks": len(part)}
            )
    columns = ["collapse", *DETECTOR[1:], "within", "chance", "objectives", "pooled", "networks", "other_layer"]
    return pd.DataFrame(lines, columns=columns)


def final(rows: pd.DataFrame) -> pd.DataFrame:
    """Those rows of each recipe that are of its last epoch."""
    return rows[rows["epoch"] == rows.groupby("recipe")["epoch"].transform("max")]


def _with_other_layer(table: pd.DataFrame) -> pd.DataFrame:
    known = set(scorers.names()) & set(table["scorer"])
    own = table["scorer"].map({name: scorers.describe(name)["layer"] for name in known}).fillna(table["layer"])
    return table.assign(other_layer=table["layer"].where(table["layer"] != own, ""))


def _spearman(part: pd.DataFrame) -> float:
    a, b = part["collapse"].to_numpy(copy=True), part["both"].to_numpy(copy=True)
    return float("nan") if np.ptp(a) == 0 or np.ptp(b) == 0 else float(stats.spearman(a, b))
