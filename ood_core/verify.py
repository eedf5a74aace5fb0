"""Whether runs still say what they said: checksums, metrics computed again from stored scores or recorded weights."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from . import files, recorded
from .checks import ArtifactError
from .measure import COLUMNS, CORRECT, MEASURES, jobs, parse_score_name
from .recipes import Recipe
from .recorded import RecordedRun, agree, evaluated, split
from .runs import measured
from .store import Run, Scores, Store
from .study import recorded_runs


@dataclass(frozen=True)
class Finding:
    """The outcome for one run: how many numbers were computed again, and what is wrong ("" for nothing).

    A run whose record is damaged has neither recipe nor seed.
    """

    run: str
    recipe: str | None
    seed: int | None
    numbers: int
    problem: str


def verify(runs: Iterable[Run]) -> list[Finding]:
    """Check every file of each run against its checksum and every OOD metric against the stored scores.

    Each image set that rows are of must have its digest in `run.json`. A metric agrees if it differs by less than 1e-9;
    of a restored run, whose scores are rounded, by less than `recorded.ROUNDING`.
    """
    return [_verify(run) for run in runs]


def readable(store: Store) -> tuple[list[Run], list[Finding]]:
    """All runs of a store whose record can be read, and a finding for each other one."""
    runs, damaged = [], []
    for key in store.keys():  # noqa: SIM118
        try:
            run = store.get(key)
        except ArtifactError as error:
            damaged.append(Finding(key, None, None, 0, str(error).partition("\n")[0]))
            continue
        if run is not None:
            runs.append(run)
    return runs, damaged


def verify_index(scale: str) -> list[Finding]:
    """A finding for each recorded run of a scale that is missing, not listed in its index, or listed otherwise.

    A run's `run.json` has the checksums of its files, and the index that of each `run.json`.
    """
    try:
        listed = recorded.index(scale)
    except ArtifactError as error:
        return [Finding("index.csv", None, None, 0, str(error).partition("\n")[0])]
    there = {place.name: files.read(place, "run.json") for place in recorded.folders(scale)}
    found = []
    for key in sorted({*listed, *there}):
        problem = ""
        if key not in there:
            problem = "index.csv lists it, and it is not there: check it out again, or record it again"
        elif key not in listed:
            problem = "index.csv does not list it: record it again, or delete it"
        elif (digest := hashlib.sha256(there[key]).hexdigest()) != listed[key]["sha256"]:
            problem = f"run.json has SHA-256 {digest[:16]}..., index.csv lists {listed[key]['sha256'][:16]}...: "
            problem += "check it out again, or record it again"
        if problem:
            line = listed.get(key, {})
            seed = int(line["seed"]) if line else None
            found.append(Finding(key, line.get("recipe"), seed, 0, problem))
    return found


def verify_recorded(page: str, scale: str, again: bool = False) -> list[Finding]:
    """Check a page's recorded runs: files by checksum, digests of sets, no measurement older than the code, metrics.

    Metrics that the page asks for are computed again from the scores, where these are recorded; they agree if they
    differ by less than `recorded.ROUNDING`. Whether a run is missing, `verify_index` tells.

    Args:
        again: measure the recorded weights once more, where the image sets are at hand, and compare every number of the
            last epoch but times. Numbers agree if they differ by less than 1e-4, or than 1e-4 of their size: the
            arithmetic of another processor moves single images past each other.
    """
    return [_verify_recorded(run, recipe, again) for recipe, run in recorded_runs(page, scale)]


def _verify_recorded(run: RecordedRun, recipe: Recipe, again: bool) -> Finding:
    seed, count, wrong = int(run.info["seed"]), 0, []
    try:
        run.check()
        rows, stale = split(run, recipe)
    except ArtifactError as error:
        return Finding(run.key, recipe.id, seed, 0, str(error).partition("\n")[0])
    if stale:
        wrong.append(f"{stale} measurements are older than the code: run and record again")
    wrong += _untold(run.rows(), run.info["digests"], "run and record again")  # also those no page asks for
    scores = run.scores()
    if scores is not None:
        asked = set(rows[["scorer", "layer", "params", "ood_set"]].itertuples(index=False, name=None))
        asked |= {(*score, "") for *score, _ in asked}
        shown = {name: values for name, values in scores.items() if parse_score_name(name) in asked or name == CORRECT}
        count, differing = _computed_again(rows, shown, recorded.ROUNDING)
        wrong += differing
    weights = run.weights() if again else None
    if again and weights is None:
        wrong.append("no weights are recorded to measure again")
    elif again and weights is not None:
        here = set(rows["key"])
        todo = [j for j in jobs(recipe, recipe.epochs) if j.key(run.key) in here and MEASURES[j.measure].repeats]
        last = rows[rows["key"].isin({job.key(run.key) for job in todo})].reset_index(drop=True)
        fresh = measured(recipe, seed, run.key, weights, todo)
        found = last.merge(fresh, on=[name for name in COLUMNS if name not in ("value", "n")], suffixes=("", "_again"))
        count = max(count, len(found))  # what scores give is among them
        apart = ~np.isclose(found["value"], found["value_again"], rtol=1e-4, atol=1e-4, equal_nan=True)
        wrong += [
            f"{r.scorer} on {r.ood_set}: {r.metric} is {r.value}, not {r.value_again}"
            for r in found[apart].itertuples()
        ]
        if len(found) < len(last):
            wrong.append(f"{len(last) - len(found)} of {len(last)} numbers were not measured again")
    return Finding(run.key, recipe.id, seed, count, _few(wrong))


def _few(problems: list[str]) -> str:
    """The first three and how many more."""
    more = [f"and {len(problems) - 3} more"] if len(problems) > 3 else []
    return "; ".join([*problems[:3], *more])


def _verify(run: Run) -> Finding:
    recipe, seed = str(run.info["recipe"]["id"]), int(run.info["seed"])
    try:
        run.check()
        rows, scores = run.rows(), run.scores()
    except ArtifactError as error:
        return Finding(run.key, recipe, seed, 0, str(error).partition("\n")[0])
    count, wrong = _computed_again(rows, scores, recorded.ROUNDING if recorded.RESTORED in run.info else 1e-9)
    return Finding(run.key, recipe, seed, count, _few([*_untold(rows, run.info["digests"], "run again"), *wrong]))


def _untold(rows: pd.DataFrame, digests: Collection[str], advice: str) -> list[str]:
    """What is wrong where there are rows of image sets whose digests `run.json` does not say."""
    sets = sorted({*rows["ood_set"]} - {"", *digests})
    return [f"run.json has no digest of {', '.join(sets)}, and there are rows of it: {advice}"] if sets else []


def _computed_again(rows: pd.DataFrame, scores: Scores, tolerance: float) -> tuple[int, list[str]]:
    """How many OOD metrics the scores give, and which of them the rows of the last epoch do not have so."""
    last = rows[(rows["split"] == "test") & (rows["epoch"] == rows["epoch"].max())]
    columns = (last[name] for name in ("scorer", "layer", "params", "ood_set", "metric"))
    kept = dict(zip(zip(*columns, strict=True), last["value"], strict=True))
    found, wrong = evaluated(scores), []
    for which, value in found.items():
        was = kept.get(which)
        if was is None or not agree(was, value, tolerance):
            wrong.append(f"{which[0]} on {which[3]}: {which[4]} is {was}, the scores give {value}")
    return len(found), wrong
