"""What `recipes`, `plan` and `run` say about the same runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import click

from .. import recipes, study
from ..recipes import Recipe
from .options import page_seeds, pages_at

DEVICES = {"tiny": "two CPU cores", "small": "two CPU cores", "paper": "one GPU"}  # what a recipe's minutes are about


@dataclass(frozen=True)
class Outlook:
    """How much of some runs is done, each counted once although pages share it."""

    stored: int
    to_measure: int
    to_train: int
    minutes: float  # of training alone, one run after the other

    @classmethod
    def of(cls, planned: Iterable[study.Planned]) -> Outlook:
        runs = study.merged(planned)
        states = [p.state for p in runs]
        minutes = sum(p.recipe.minutes for p in runs if p.state == "to train")
        return cls(states.count("stored"), states.count("to measure"), states.count("to train"), minutes)

    @property
    def runs(self) -> int:
        return self.stored + self.to_do

    @property
    def to_do(self) -> int:
        return self.to_measure + self.to_train


def asked(named: Iterable[str | None], every: bool, scale: str) -> list[str]:
    """The pages named, each once, or with --all every page of the scale; exactly one of the two."""
    pages = [*dict.fromkeys(page for page in named if page)]
    if bool(pages) == every:
        names = ", ".join(recipes.pages())
        raise click.UsageError(f"name a page ({names}), or pass --all for every page; not both")
    return pages or pages_at(scale)


def planned(pages: Iterable[str], scale: str, seeds: int | None) -> Iterator[tuple[str, Recipe, list[study.Planned]]]:
    """(page, recipe, its runs) for every recipe of some pages; `seeds` of None is each page's own number."""
    for name in pages:
        runs = study.plan(name, scale, seeds or page_seeds(name, scale))
        for recipe in recipes.load(name, scale).values():
            yield name, recipe, [p for p in runs if p.recipe.id == recipe.id]


def network(recipe: Recipe) -> str:
    """The network's name, its width, and the options that are not at their default."""
    options = recipe.network.model_dump(exclude_defaults=True, exclude={"name", "width"})
    return " ".join(
        [
            f"{recipe.network.name} x{recipe.network.width}",
            *(f"{option}={value}" for option, value in options.items()),
        ]
    )


def duration(minutes: float) -> str:
    """Minutes for people."""
    return f"{minutes:.1f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"
