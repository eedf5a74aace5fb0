"""From tidy rows to one number per seed, refusing every selection that could mean two things."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..checks import InputError
from ..recipes import ALL
from .rules import ROUNDING

NEEDED = (
    *("recipe", "scale", "seed", "id_set", "ood_set", "ood_group", "split", "epoch", "layer", "scorer"),
    *("params", "protocol", "class", "metric", "value", "n"),
)
# entries of a selector that do not choose rows by equality
NO_COLUMNS = ("recipe", "across", "epoch", "form", "minus", "without")
FIXED = ("id_set", "ood_group", "split", "layer", "scorer", "params", "protocol", "class", "metric")


class NotRecorded(Exception):  # noqa: N818 (not an error of the caller's: the part becomes "not run")
    """The rows hold nothing, or nothing finite, for a selector; the message is the reason a page prints."""


@dataclass(frozen=True)
class Series:
    """One number per seed, or one per seed and epoch, with the OOD sets it is the mean of."""

    values: dict[int, Any]  # seed -> float, or {epoch: float} for epoch: all
    sets: tuple[str, ...]
    absent: tuple[int, ...]  # seeds of the recipe without this number


class Table:
    """Tidy rows of one scale as arrays, text as codes: a page's claims make hundreds of selections from them.

    Attributes:
        seed, epoch, value, n: the columns of these names, (N,).
    """

    def __init__(self, rows: pd.DataFrame) -> None:
        self.seed, self.epoch = rows["seed"].to_numpy(dtype=np.int64), rows["epoch"].to_numpy(dtype=np.int64)
        self.value, self.n = rows["value"].to_numpy(dtype=float), rows["n"].to_numpy(dtype=float)
        self._text: dict[str, tuple[np.ndarray, list[str]]] = {}
        for column in ("recipe", "ood_set", *FIXED):
            codes, values = pd.factorize(rows[column])
            self._text[column] = codes, [str(value) for value in values]
        codes, names = self._text["recipe"]
        self._places = {name: np.flatnonzero(codes == code) for code, name in enumerate(names)}

    def has(self, recipe: str) -> bool:
        """Whether there is a row of a recipe."""
        return recipe in self._places

    def of(self, recipe: str) -> np.ndarray:
        """Places of a recipe's rows. Raises NotRecorded where there is none."""
        if recipe not in self._places:
            what = "not all runs that are ranked together are" if recipe == ALL else f"no run of recipe {recipe} is"
            raise NotRecorded(f"{what} recorded")
        return self._places[recipe]

    def values(self, column: str, at: np.ndarray) -> list[str]:
        """The values of a column of text at some places, each once, in the order in which the table names them."""
        return self.coded(column, at)[0]

    def coded(self, column: str, at: np.ndarray) -> tuple[list[str], np.ndarray]:
        """`values`, and for each place which of them it has."""
        codes, names = self._text[column]
        found, which = np.unique(codes[at], return_inverse=True)
        return [names[code] for code in found], which

    def matching(self, at: np.ndarray, selector: Mapping[str, Any]) -> np.ndarray:
        """Those of some places that have every value a selector asks for. Raises NotRecorded where none has."""
        for column, wanted in selector.items():
            if column in NO_COLUMNS:
                continue
            codes, names = self._text[column]
            if column == "params" and isinstance(wanted, dict):
                asked = [code for code, text in enumerate(names) if text and json.loads(text) == wanted]
            else:
                listed = wanted if isinstance(wanted, list) else [wanted]
                asked = [code for code, text in enumerate(names) if text in listed]
            narrower = at[np.isin(codes[at], asked)]
            if not len(narrower):
                have = sorted(value or "(empty)" for value in self.values(column, at))
                shown = ", ".join(have[:8]) + (", ..." if len(have) > 8 else "")
                raise NotRecorded(f"nothing is recorded with {column} {wanted!r}; there is: {shown}")
            at = narrower
        return self._without(at, selector["without"]) if "without" in selector else at

    def _without(self, at: np.ndarray, names: list[str]) -> np.ndarray:
        """Places of other OOD sets than those named, of which there must be one, and another."""
        codes, sets = self._text["ood_set"]
        left = at[~np.isin(codes[at], [code for code, name in enumerate(sets) if name in names])]
        if len(left) in (0, len(at)):
            have = ", ".join(sorted(self.values("ood_set", at)))
            raise NotRecorded(f"nothing is left out by {', '.join(names)}, or all is; there is: {have}")
        return left


def pick(rows: Table, selector: Mapping[str, Any]) -> Series:
    """Numbers by seed for one selector; per seed the mean over the OOD sets it matches (a mean of AUROCs).

    `form` takes of that mean x its natural `log`, its `logit` log(x / (1 - x)), or the `log_area`: the area under log x
    over epochs, from the first recorded to the last, divided by their distance. A share of exactly 0 or 1 of n images
    counts as half an image away from it. `minus: other` subtracts what that recipe gives, by seed. `without` names OOD
    sets that are left out.

    Of several recipes, `across` takes by seed their `mean`, their `range` (largest minus smallest), or the `slope` of
    the line through their numbers in the listed order, one step a recipe.

    Args:
        rows: of one scale.
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
    whole = rows.of(selector["recipe"])
    form = selector.get("form", "")
    found = _at_epoch(
        rows, rows.matching(whole, selector), selector, "all" if form == "log_area" else selector["epoch"]
    )
    for column in FIXED:
        several = sorted(rows.values(column, found))
        if len(several) > 1 and not isinstance(selector.get(column), list):
            raise InputError(
                f"selector {dict(selector)} matches several values of {column}: {', '.join(map(repr, several))}, "
                f"expected one.\nAdd {column} to the selector."
            )
    bad = found[~np.isfinite(rows.value[found])]
    if len(bad):
        which = ", ".join(map(str, np.unique(rows.seed[bad])))
        raise NotRecorded(f"{selector['metric']} is NaN or infinite for seed {which} of recipe {selector['recipe']}")
    sets = _same_sets(rows, found, selector)
    seeds, at = np.unique(rows.seed[found], return_inverse=True)
    values: dict[int, Any]
    if form == "log_area" or selector["epoch"] == "all":
        epochs, when = np.unique(rows.epoch[found], return_inverse=True)
        table = _means(rows.value[found], at * len(epochs) + when, len(seeds) * len(epochs)).reshape(len(seeds), -1)
        if form == "log_area":
            rest = _log_areas(table, epochs, rows.n[found].min())
            values = dict(zip(seeds.tolist(), rest.tolist(), strict=True))
        else:
            values = {
                int(seed): {int(e): float(v) for e, v in zip(epochs, row, strict=True) if not np.isnan(v)}
                for seed, row in zip(seeds, table, strict=True)
            }
    else:
        formed = _formed(_means(rows.value[found], at, len(seeds)), form, rows.n[found].min())
        values = dict(zip(seeds.tolist(), formed.tolist(), strict=True))
    return Series(values, sets, tuple(sorted({*np.unique(rows.seed[whole]).tolist()} - values.keys())))


def _means(values: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """The mean of each group, NaN for one without values."""
    counts = np.bincount(group, minlength=groups)
    return np.asarray(np.bincount(group, values, groups) / np.where(counts, counts, np.nan))


def _across(rows: Table, selector: Mapping[str, Any]) -> Series:
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


def recipes_of(*selectors: Mapping[str, Any] | None) -> list[str]:
    """The recipes that some selectors name, each once."""
    named = [s[key] for s in selectors if s is not None for key in ("recipe", "minus") if key in s]
    return [*dict.fromkeys(name for one in named for name in (one if isinstance(one, list) else [one]))]


def sets_of(rows: Table, selector: Mapping[str, Any]) -> list[str]:
    """OOD sets a selector matches, in the order of the table. Raises as `pick` where nothing matches."""
    names = selector["recipe"] if isinstance(selector["recipe"], list) else [selector["recipe"]]
    whole = np.sort(np.concatenate([rows.of(name) for name in names]))
    return rows.values("ood_set", rows.matching(whole, selector))


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
    if (values < 0).any():
        raise NotRecorded(f"{values.min():g} is among the numbers, which has no {form.removesuffix('_area')}")
    values = np.where(values > 0, values, 0.5 / n)
    if form == "logit":
        values = np.where(values < 1, values, 1 - 0.5 / n)
        return np.asarray(np.log(values / (1 - values)))
    return np.asarray(np.log(values))


def _log_areas(table: np.ndarray, epochs: np.ndarray, n: float) -> np.ndarray:
    """The area under the log of each row's numbers over epochs, by their distance."""
    if np.isnan(table).any() or len(epochs) < 2:
        raise NotRecorded("an area needs two epochs or more, the same for every seed")
    logs = _formed(table, "log", n)
    return np.asarray(np.trapezoid(logs, epochs.astype(float), axis=1) / (epochs[-1] - epochs[0]))


def _at_epoch(rows: Table, found: np.ndarray, selector: Mapping[str, Any], epoch: str | float) -> np.ndarray:
    """Places at `last` (the last epoch of the recipe's runs), `first`, or the recorded epoch nearest to a fraction."""
    whole = rows.of(selector["recipe"])
    seeds, at = np.unique(rows.seed[whole], return_inverse=True)
    last = np.zeros(len(seeds), dtype=np.int64)
    np.maximum.at(last, at, rows.epoch[whole])
    if last.min() < last.max():
        ends = ", ".join(f"seed {seed}: {end}" for seed, end in zip(seeds, last, strict=True))
        raise InputError(
            f"runs of recipe {selector['recipe']} end at different epochs ({ends}), expected one last epoch.\n"
            "Finish the shorter runs, or leave their rows out."
        )
    if epoch == "all":
        return found
    recorded = np.unique(rows.epoch[found])
    if epoch == "last":
        chosen = int(last[0])
        if chosen not in recorded:
            raise NotRecorded(f"nothing is recorded at the last epoch, {chosen}; there is: {recorded.tolist()}")
    elif epoch == "first":
        chosen = int(rows.epoch[whole].min())
        if chosen not in recorded or chosen == last[0]:
            raise NotRecorded(f"nothing is recorded at the first epoch of the runs; there is: {recorded.tolist()}")
    else:
        gaps = np.abs(recorded - float(epoch) * int(last[0]))
        chosen = int(recorded[gaps <= gaps.min() + ROUNDING][0])  # of two equally near, the earlier
    return np.asarray(found[rows.epoch[found] == chosen])


def _same_sets(rows: Table, found: np.ndarray, selector: Mapping[str, Any]) -> tuple[str, ...]:
    """The OOD sets, the same for every seed and epoch and each there once; a mean over fewer sets is another number."""
    names, which = rows.coded("ood_set", found)
    places, when = np.unique(np.stack([rows.seed[found], rows.epoch[found]]), axis=1, return_inverse=True)
    counts = np.bincount(when * len(names) + which, minlength=places.shape[1] * len(names)).reshape(-1, len(names))
    if (counts > 1).any():
        seed = places[0, (counts > 1).any(axis=1)][0]
        raise InputError(
            f"selector {dict(selector)} matches one number twice for seed {seed}, expected one row each.\n"
            "Remove rows of superseded runs."
        )
    if (counts == 0).any():
        place, name = np.argwhere(counts == 0)[0]
        raise InputError(
            f"selector {dict(selector)} has no row of OOD set {names[name]!r} for seed {places[0, place]}, expected "
            "the same sets for every seed.\nScore every seed on the same sets."
        )
    return tuple(sorted(names))
