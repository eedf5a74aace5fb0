"""What is measured on a network: jobs with keys, and the tidy rows they make.

A measure is a `Measure` in the `MEASURES` of a module listed here; recipes name the ones they want.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ..checks import choice
from ..recipes import Recipe
from . import activity, clusters, cost, covariances, detection, embedding, hidden, latency, posteriors, standard
from .detection import CORRECT
from .job import COLUMNS, SLOT, Job, Measure, Moment, Passed, Seen, Sets, ood_sets, parse_score_name, score_name

__all__ = [
    "COLUMNS",
    "CORRECT",
    "MEASURES",
    "SLOT",
    "Job",
    "Measure",
    "Moment",
    "Passed",
    "Seen",
    "Sets",
    "jobs",
    "names",
    "ood_sets",
    "parse_score_name",
    "rows",
    "score_name",
    "slots",
]

_MODULES = (standard, detection, cost, hidden, activity, clusters, posteriors, latency, covariances, embedding)
MEASURES = {measure.name: measure for module in _MODULES for measure in module.MEASURES}


def names() -> list[str]:
    """Measures a recipe may name in `evaluate.measures`; `ood` follows from its scores and needs no naming."""
    return [name for name in MEASURES if name != "ood"]


def jobs(recipe: Recipe, epoch: int) -> list[Job]:
    """Everything to measure at one epoch; scorers not followed through training are measured at the last one only.

    Raises:
        InputError: a measure that is not there.
    """
    at = Moment(recipe, epoch)
    asked = [MEASURES[choice("measure", name, names())] for name in recipe.evaluate.measures]
    return [replace(job, version=m.version) for m in (*asked, MEASURES["ood"]) for job in m.plan(at)]


def slots(recipe: Recipe, train_key: str) -> dict[str, tuple[str, str]]:
    """Key and slot of everything that a recipe measures on one of its runs, at all epochs that it records."""
    return {job.key(train_key): job.slot for epoch in recipe.recorded_epochs() for job in jobs(recipe, epoch)}


def rows(seen: Seen, todo: Iterable[Job], train_key: str) -> list[dict[str, Any]]:
    """Tidy rows of some jobs on one network, each with the `key` and `identity` of its job."""
    recipe = seen.recipe
    common = {"run": train_key, "scale": recipe.scale, "seed": seen.seed, "id_set": recipe.data.id_set}
    found = []
    for job in todo:
        own = {name: getattr(job, name) for name in ("epoch", "ood_set", "ood_group", "layer", "scorer", "params")}
        marks = {"key": job.key(train_key), "identity": job.identity}
        made = MEASURES[job.measure].rows(seen, job)
        found += [{**dict.fromkeys(COLUMNS, ""), **common, **own, **row, **marks} for row in made]
    return found
