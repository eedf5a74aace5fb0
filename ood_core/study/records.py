"""The recorded runs of a page: written from the store, and read as rows and scores."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property

import pandas as pd

from .. import data, recipes, recorded
from ..checks import InputError, choice
from ..measure import COLUMNS, detection
from ..runs import train_key
from ..store import Store
from .derived import together
from .running import plan
from .shown import Scores, Shown, on_own_sets


def record(
    page: str, scale: str, seeds: int, only: Collection[str] = (), known: Collection[str] = ()
) -> list[recorded.RecordedRun]:
    """Record those of a page's runs that are stored and whole, see `recorded`; the others are left out.

    Args:
        only: recipes to take, by id; all of the page's if left out.
        known: keys of runs to leave as they are, such as those that were recorded for another page just now.
    """
    found = Store()
    whole = [item for item in plan(page, scale, seeds, found, only) if item.state == "stored"]
    runs = [found.get(item.key) for item in whole if item.key not in known]
    followed = _followed(scale)
    return [recorded.put(run, followed.get(run.key, ())) for run in runs if run is not None]


def _followed(scale: str) -> dict[str, set[tuple[str, str, str]]]:
    """Scorer, layer and parameters that any page follows through training, by the run whose scores are recorded."""
    found: dict[str, set[tuple[str, str, str]]] = {}
    for recipe in (recipe for _, recipe in recipes.every() if recipe.scale == scale):
        scores = [score for score in recipe.evaluate.scores if score.through_training]
        own = {(score.scorer, *detection.canonical(score)) for score in scores}
        found.setdefault(train_key(recipe, recorded.SCORED), set()).update(own)
    return found


def recorded_runs(page: str, scale: str) -> list[tuple[recipes.Recipe, recorded.RecordedRun]]:
    """A page's recorded runs at one scale with their recipes, by recipe and seed; none where it has no such scale."""
    if page not in recipes.pages() or scale not in recipes.page(page).scales:
        return []
    by_key = {run.key: run for run in recorded.every(scale)}
    found = []
    for recipe in recipes.load(page, scale).values():
        for seed in sorted({int(run.info["seed"]) for run in by_key.values()}):
            run = by_key.get(train_key(recipe, seed))
            if run is not None:
                found.append((recipe, run))
    return found


def recorded_rows(page: str, scale: str) -> pd.DataFrame | None:
    """Rows of a page's recorded runs at one scale, `recipe` first, or None where nothing was recorded."""
    frames = [
        recorded.split(run, recipe)[0].assign(recipe=recipe.id)[["recipe", *COLUMNS]]
        for recipe, run in recorded_runs(page, scale)
    ]
    return together(page, frames) if frames else None


class Recorded(Shown):
    """What was recorded of a page at one scale, in the form in which `run_or_load` gives what it ran."""

    def __init__(self, page: str, scale: str) -> None:
        self.page, self._scale = page, scale

    @property
    def scale(self) -> str:
        """tiny, small or paper."""
        return self._scale

    @property
    def where(self) -> str:
        """The ID set and the scale, as a sentence for the beginning of a caption."""
        return f"{data.entry(self.rows['id_set'].iloc[0])['title']} at {self.scale}, from recorded runs. "

    @cached_property
    def rows(self) -> pd.DataFrame:
        """Tidy rows of this page's recipes, `recipe` first."""
        rows = recorded_rows(self.page, self.scale)
        if rows is None:
            raise InputError(f"nothing of {self.page} at {self.scale} is recorded.\nRecord its runs first.")
        return rows

    def scores(self, recipe: str, seed: int = 0) -> Scores:
        """As `Shown.scores`. Kept are those of seed 0 that some page follows through training, most as float32.

        Raises:
            InputError: no such recipe, or nothing kept of this run.
        """
        have = recipes.load(self.page, self.scale)
        asked = have[choice("recipe", recipe, have)]
        run = recorded.get(self.scale, train_key(asked, seed))
        scores = None if run is None else run.scores()
        if scores is None:
            raise InputError(
                f"no scores of {recipe}/{seed} are recorded at {self.scale}, "
                f"expected a recorded run of seed {recorded.SCORED}.\nRecord it, or draw another."
            )
        return on_own_sets(scores, asked)
