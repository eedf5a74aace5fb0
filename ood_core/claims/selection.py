"""From tidy rows to one number per seed, refusing every selection that could mean two things."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..checks import InputError
from .rules import ROUNDING

NEEDED = (
    *("recipe", "scale", "seed", "id_set", "ood_set", "ood_group", "split", "epoch", "layer", "scorer"),
    *("params", "protocol", "class", "metric", "value", "n"),
)
NO_COLUMNS = ("recipe", "across", "epoch", "form", "minus")  # entries of a selector that do not choose rows by equality
FIXED = ("id_set", "ood_group", "split", "layer", "scorer", "params", "protocol", "class", "metric")


class NotRecorded(Exception):  # noqa: N818 (not an error of the caller's: the part becomes "not run")
    """The rows hold nothing, or nothing finite, for a selector; the message is the reason a page prints."""


@dataclass(frozen=True)
class Series:
    """One number per seed, or one per seed and epoch, with the OOD sets it is the mean of."""

    values: dict[int, Any]  # seed -> float, or {epoch: float} for epoch: all
    sets: tuple[str, ...]
    absent: tuple[int, ...]  # seeds of the recipe without this number


def pick(rows: pd.DataFrame, selector: Mapping[str, Any]) -> Series:
    """Numbers by seed for one selector; per seed the mean over the OOD sets it matches (a mean of AUROCs).

    `form` takes of that mean x its natural `log`, its `logit` log(x / (1 - x)), or the `log_area`: the area under log x
    over epochs, from the first recorded to the last, divided by their distance. A share of exactly 0 or 1 of n images
    counts as half an image away from it. `minus: other` subtracts what that recipe gives, by seed.

    Of several recipes, `across` takes by seed their `mean`, their `range` (largest minus smallest), or the `slope` of
    the line through their numbers in the listed order, one step a recipe.

    Args:
        rows: tidy rows of one scale with a `recipe` column.
        selector: column -> value as in a claims file.
    Raises:
        NotRecorded: nothing matches, or a matching value is NaN or infinite.
        InputError: several scorers, layers, parameters or duplicates match, or seeds differ in sets or epochs.
    """
    if isinstance(selector["recipe"], list):
        return _across(rows, selector)
    if other := selector.get("minus"):
        alone = {key: wanted for key, wanted in selector.items() if key != "minus"}
        left, right = pick(rows, alone), pick(rows, {**alone, "recipe": other})
        together, a, b, _, _ = pairs(left, right)
        assert b is not None
        absent = (left.values.keys() ^ right.values.keys()) | {*left.absent, *right.absent}
        return Series(dict(zip(together, map(float, a - b), strict=True)), left.sets, tuple(sorted(absent)))
    whole = rows[rows["recipe"] == selector["recipe"]]
    if whole.empty:
        raise NotRecorded(f"no run of recipe {selector['recipe']} is recorded")
    found = _matching(whole, selector)
    form = selector.get("form", "")
    found = _at_epoch(found, whole, "all" if form == "log_area" else selector["epoch"])
    for column in FIXED:
        seen = sorted(map(str, found[column].unique()))
        if len(seen) > 1 and not isinstance(selector.get(column), list):
            raise InputError(
                f"selector {dict(selector)} matches several values of {column}: {', '.join(map(repr, seen))}, "
                f"expected one.\nAdd {column} to the selector."
            )
    bad = found[~np.isfinite(found["value"].to_numpy(dtype=float))]
    if len(bad):
        seeds = ", ".join(map(str, sorted(bad["seed"].unique())))
        raise NotRecorded(f"{selector['metric']} is NaN or infinite for seed {seeds} of recipe {selector['recipe']}")
    sets = _same_sets(found, selector)
    if form == "log_area":
        values = _log_areas(found)
    elif selector["epoch"] == "all":
        table = found.pivot_table(index="seed", columns="epoch", values="value", aggfunc="mean")
        values = {int(seed): table.loc[seed].dropna().to_dict() for seed in table.index}
    else:
        means = found.groupby("seed")["value"].mean()
        formed = _formed(means.to_numpy(dtype=float), form, found["n"].min())
        values = dict(zip(map(int, means.index), map(float, formed), strict=True))
    return Series(values, sets, tuple(sorted(set(map(int, whole["seed"])) - values.keys())))


def _across(rows: pd.DataFrame, selector: Mapping[str, Any]) -> Series:
    """One number a seed from several recipes; seeds that one of them lacks are left out."""
    alone = {key: wanted for key, wanted in selector.items() if key != "across"}
    found = [pick(rows, {**alone, "recipe": name}) for name in selector["recipe"]]
    if len({series.sets for series in found}) > 1:
        raise InputError(
            f"recipes {', '.join(selector['recipe'])} are scored on different OOD sets, expected the same.\n"
            "Score all of them on the same sets, or name the sets in the selector."
        )
    known = {seed for series in found for seed in (*series.values, *series.absent)}
    common = sorted(seed for seed in known if all(seed in series.values for series in found))
    if not common:
        raise NotRecorded(f"recipes {', '.join(selector['recipe'])} have no seed in common")
    table = np.array([[series.values[seed] for series in found] for seed in common])
    if selector["across"] == "slope":
        step = np.arange(len(found)) - (len(found) - 1) / 2
        numbers = table @ step / (step @ step)
    else:
        numbers = table.mean(axis=1) if selector["across"] == "mean" else np.ptp(table, axis=1)
    values = dict(zip(common, map(float, numbers), strict=True))
    return Series(values, found[0].sets, tuple(sorted(known - set(common))))


def sets_of(rows: pd.DataFrame, selector: Mapping[str, Any]) -> list[str]:
    """OOD sets a selector matches, in the order of the rows. Raises as `pick` where nothing matches."""
    names = selector["recipe"] if isinstance(selector["recipe"], list) else [selector["recipe"]]
    whole = rows[rows["recipe"].isin(names)]
    if whole.empty:
        raise NotRecorded(f"no run of recipe {selector['recipe']} is recorded")
    found = _matching(whole, selector)
    return [str(name) for name in found["ood_set"].unique()]


def pairs(a: Series, b: Series | None) -> tuple[list[int], np.ndarray, np.ndarray | None, list[float], str]:
    """Seeds in both groups, their numbers (n,) or (n, E) in seed order, the E epochs, a remark on seeds left out."""
    seeds = sorted(a.values if b is None else a.values.keys() & b.values.keys())
    alone = sorted({*a.absent, *b.absent, *(a.values.keys() ^ b.values.keys())} if b else a.absent)
    note = f"seeds left out, a number is missing: {', '.join(map(str, alone))}" if alone else ""
    if b is None:
        return seeds, np.array([a.values[s] for s in seeds]), None, [], note
    if not seeds:
        raise NotRecorded("the two groups have no seed in common")
    if a.sets != b.sets and "" not in (*a.sets, *b.sets):
        raise InputError(
            f"a averages over {', '.join(a.sets)} and b over {', '.join(b.sets)}, expected the same OOD sets.\n"
            "Score both recipes on the same sets, or name the sets in both selectors."
        )
    if isinstance(a.values[seeds[0]], dict):
        epochs = sorted(set.intersection(*({*g.values[s]} for g in (a, b) for s in seeds)))
        if len(epochs) < 3:
            raise NotRecorded(f"{len(epochs)} epochs are recorded for both, a rank correlation needs three")
        table = [np.array([[g.values[s][e] for e in epochs] for s in seeds]) for g in (a, b)]
        return seeds, table[0], table[1], epochs, note
    return seeds, np.array([a.values[s] for s in seeds]), np.array([b.values[s] for s in seeds]), [], note


def _formed(values: np.ndarray, form: str, n: float) -> np.ndarray:
    """`values` in the form a selector asks for; shares of exactly 0 or 1 as half of one of `n` away from it."""
    if not form:
        return values
    values = np.where(values > 0, values, 0.5 / n)
    if form == "logit":
        values = np.where(values < 1, values, 1 - 0.5 / n)
        return np.asarray(np.log(values / (1 - values)))
    return np.asarray(np.log(values))


def _log_areas(found: pd.DataFrame) -> dict[int, float]:
    table = found.pivot_table(index="seed", columns="epoch", values="value", aggfunc="mean")
    if table.isna().any(axis=None) or len(table.columns) < 2:
        raise NotRecorded("an area needs two epochs or more, the same for every seed")
    epochs = table.columns.to_numpy(dtype=float)
    logs = _formed(table.to_numpy(dtype=float), "log", found["n"].min())
    areas = np.trapezoid(logs, epochs, axis=1) / (epochs[-1] - epochs[0])
    return dict(zip(map(int, table.index), map(float, areas), strict=True))


def indexed(rows: pd.DataFrame) -> pd.DataFrame:
    """The same rows with text as categories: a page's claims make hundreds of selections from them."""
    return rows.astype(dict.fromkeys(("recipe", "ood_set", *FIXED), "category"))


def _matching(rows: pd.DataFrame, selector: Mapping[str, Any]) -> pd.DataFrame:
    """Rows that have every value a selector asks for."""
    keep = np.ones(len(rows), dtype=bool)
    for column, wanted in selector.items():
        if column in NO_COLUMNS:
            continue
        if column == "params" and isinstance(wanted, dict):
            texts = rows["params"].unique()
            asked = [text for text in texts if text and json.loads(text) == wanted]
        else:
            asked = wanted if isinstance(wanted, list) else [wanted]
        narrower = keep & rows[column].isin(asked).to_numpy()
        if not narrower.any():
            have = sorted({str(value) or "(empty)" for value in rows[column][keep]})
            shown = ", ".join(have[:8]) + (", ..." if len(have) > 8 else "")
            raise NotRecorded(f"nothing is recorded with {column} {wanted!r}; there is: {shown}")
        keep = narrower
    return rows[keep]


def _at_epoch(found: pd.DataFrame, whole: pd.DataFrame, epoch: str | float) -> pd.DataFrame:
    """Rows at `last` (the last epoch of the recipe's runs), `first`, or the recorded epoch nearest to a fraction."""
    last = whole.groupby("seed")["epoch"].max()
    if last.min() < last.max():
        ends = ", ".join(f"seed {seed}: {end}" for seed, end in last.items())
        raise InputError(
            f"runs of recipe {whole['recipe'].iloc[0]} end at different epochs ({ends}), expected one last epoch.\n"
            "Finish the shorter runs, or leave their rows out."
        )
    if epoch == "all":
        return found
    recorded = np.sort(found["epoch"].unique())
    if epoch == "last":
        chosen = int(last.iloc[0])
        if chosen not in recorded:
            raise NotRecorded(f"nothing is recorded at the last epoch, {chosen}; there is: {recorded.tolist()}")
    elif epoch == "first":
        chosen = int(whole["epoch"].min())
        if chosen not in recorded or chosen == int(last.iloc[0]):
            raise NotRecorded(f"nothing is recorded at the first epoch of the runs; there is: {recorded.tolist()}")
    else:
        gaps = np.abs(recorded - float(epoch) * int(last.iloc[0]))
        chosen = int(recorded[gaps <= gaps.min() + ROUNDING][0])  # of two equally near, the earlier
    return found[found["epoch"] == chosen]


def _same_sets(found: pd.DataFrame, selector: Mapping[str, Any]) -> tuple[str, ...]:
    """The OOD sets, the same for every seed and epoch and each there once; a mean over fewer sets is another number."""
    keys = ["seed", "epoch"]
    names = sorted(map(str, found["ood_set"].unique()))
    places = len(found[keys].drop_duplicates())
    if len(found) == places * len(names) and not found.duplicated([*keys, "ood_set"]).any():
        return tuple(names)
    found = found.astype({"ood_set": str})
    counts = found.pivot_table(index=keys, columns="ood_set", values="value", aggfunc="size", fill_value=0)
    if (counts > 1).any(axis=None):
        seed = counts.index[(counts > 1).any(axis=1)][0][0]
        raise InputError(
            f"selector {dict(selector)} matches one number twice for seed {seed}, expected one row each.\n"
            "Remove rows of superseded runs."
        )
    row, column = np.argwhere(counts.to_numpy() == 0)[0]
    seed, name = counts.index[row][0], counts.columns[column]
    raise InputError(
        f"selector {dict(selector)} has no row of OOD set {name!r} for seed {seed}, expected the same sets for "
        "every seed.\nScore every seed on the same sets."
    )
