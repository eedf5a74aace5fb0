"""The runs of a page as tidy tables: rows, scores and provenance."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from .. import recipes
from ..checks import InputError
from ..measure import COLUMNS, slots
from ..store import Run
from .derived import together
from .request import Request
from .shown import Scores, Shown, on_own_sets


@dataclass(frozen=True)
class Results(Shown):
    """What a page shows.

    Attributes:
        request: page, scale, seeds, device.
        asked: the page's recipes, by id.
        stored: their runs, by (recipe, seed).
        fresh: those of them that were trained or measured by this call.
    """

    request: Request
    asked: dict[str, recipes.Recipe]
    stored: dict[tuple[str, int], Run]
    fresh: frozenset[tuple[str, int]]

    @property
    def scale(self) -> str:
        """tiny, small or paper."""
        return self.request.scale

    @property
    def where(self) -> str:
        """The scale, as a sentence for the beginning of a caption."""
        return f"At {self.scale}, run with this page. "

    @cached_property
    def rows(self) -> pd.DataFrame:
        """Tidy rows of this page's recipes, `recipe` first."""
        frames = []
        for (name, _), run in self.stored.items():
            rows, asked = run.rows(), slots(self.asked[name], run.key)
            frames.append(rows[rows["key"].isin(set(asked))].assign(recipe=name)[["recipe", *COLUMNS]])
        return together(self.request.page, frames)

    def scores(self, recipe: str, seed: int = 0) -> Scores:
        """As `Shown.scores`.

        Raises:
            InputError: no such run.
        """
        if (recipe, seed) not in self.stored:
            have = ", ".join(f"{r}/{s}" for r, s in self.stored)
            raise InputError(f"there is no run {recipe}/{seed}, expected one of: {have}.\nPick one of these.")
        return on_own_sets(self.stored[recipe, seed].scores(), self.asked[recipe])

    @property
    def runs(self) -> pd.DataFrame:
        """Provenance: one row a run."""
        return pd.DataFrame(
            {
                "recipe": recipe,
                "seed": seed,
                "run": run.key,
                "seconds": run.info["seconds"]["train"],
                "hardware": run.info["hardware"]["name"],
                "threads": run.info["hardware"]["threads"],
                "torch": run.info["versions"]["torch"],
                "ood_core": run.info["versions"]["ood-core"],
                "commit": run.info["commit"],
                "created": run.info["created"],
                "loaded": (recipe, seed) not in self.fresh,
            }
            for (recipe, seed), run in self.stored.items()
        )
