"""Whether runs still say what they said: checksums, metrics computed again from stored scores or recorded weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isnan

import numpy as np

from . import metrics
from .checks import ArtifactError
from .measure import COLUMNS, CORRECT, MEASURES, jobs, parse_score_name
from .recipes import Recipe
from .recorded import Recorded, split
from .runs import measured
from .store import Run, Store
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

    A metric agrees if it differs by less than 1e-9.
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


def verify_recorded(page: str, scale: str, again: bool = False) -> list[Finding]:
    """Check a page's recorded runs: files by checksum, and that no measurement is older than the code.

    Args:
        again: measure the recorded weights once more, where the image sets are at hand, and compare every number of the
            last epoch but times. Numbers agree if they differ by less than 1e-4, or than 1e-4 of their size: the
            arithmetic of another processor moves single images past each other.
    """
    return [_verify_recorded(run, recipe, again) for recipe, run in recorded_runs(page, scale)]


def _verify_recorded(run: Recorded, recipe: Recipe, again: bool) -> Finding:
    seed, count, wrong = int(run.info["seed"]), 0, []
    try:
        run.check()
        rows, stale = split(run, recipe)
    except ArtifactError as error:
        return Finding(run.key, recipe.id, seed, 0, str(error).partition("\n")[0])
    if stale:
        wrong.append(f"{stale} measurements are older than the code: run and record again")
    weights = run.weights() if again else None
    if again and weights is None:
        wrong.append("no weights are recorded to measure again")
    elif again and weights is not None:
        here = set(rows["key"])
        todo = [j for j in jobs(recipe, recipe.epochs) if j.key(run.key) in here and MEASURES[j.measure].repeats]
        last = rows[rows["key"].isin({job.key(run.key) for job in todo})].reset_index(drop=True)
        fresh = measured(recipe, seed, run.key, weights, todo)
        found = last.merge(fresh, on=[name for name in COLUMNS if name not in ("value", "n")], suffixes=("", "_again"))
        count = len(found)
        apart = ~np.isclose(found["value"], found["value_again"], rtol=1e-4, atol=1e-4, equal_nan=True)
        wrong += [
            f"{r.scorer} on {r.ood_set}: {r.metric} is {r.value}, not {r.value_again}"
            for r in found[apart].itertuples()
        ]
        if count < len(last):
            wrong.append(f"{len(last) - count} of {len(last)} numbers were not measured again")
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
    last = rows[(rows["split"] == "test") & (rows["epoch"] == rows["epoch"].max())]
    columns = (last[name] for name in ("scorer", "layer", "params", "ood_set", "metric"))
    kept = dict(zip(zip(*columns, strict=True), last["value"], strict=True))
    count, wrong = 0, []
    correct = scores[CORRECT] > 0 if CORRECT in scores else None
    for name, ood in scores.items():
        *score, ood_set = parse_score_name(name)
        if not ood_set:
            continue
        again = metrics.evaluate(scores["|".join((*score, ""))], ood, correct=correct)
        count += len(again)
        for metric, value in again.items():
            was = kept.get((*score, ood_set, metric))
            if was is None or not (abs(was - value) < 1e-9 or (isnan(was) and isnan(value))):
                wrong.append(f"{score[0]} on {ood_set}: {metric} is {was}, the scores give {value}")
    return Finding(run.key, recipe, seed, count, _few(wrong))
