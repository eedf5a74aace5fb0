"""What `plan` and `run` say about the same runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import click

from .. import recipes, study
from ..checks import choice
from ..recipes import Recipe
from .options import page_seeds, pages_at


@dataclass(frozen=True)
class Outlook:
    """How much of some runs is done, each counted once although pages share it."""

    stored: int
    to_measure: int
    to_train: int
    minutes: float  # of the runs to train, measuring included, one run after the other
    recorded: int  # of those to train: git keeps a part of a run, which does not stand in for it
    scale: str

    @classmethod
    def of(cls, planned: Iterable[study.Planned]) -> Outlook:
        runs = study.merged(planned)
        states = [p.state for p in runs]
        left = [p for p in runs if p.state == "to train"]
        minutes = sum(p.recipe.minutes for p in left)
        known = sum(map(study.to_train_again, left))
        scale = runs[0].recipe.scale if runs else ""
        return cls(states.count("stored"), states.count("to measure"), states.count("to train"), minutes, known, scale)

    @property
    def runs(self) -> int:
        return self.stored + self.to_do

    @property
    def to_do(self) -> int:
        return self.to_measure + self.to_train

    @property
    def of_them_recorded(self) -> str:
        """How many of the runs to train have results in the repository, "" for none."""
        return f", {self.recorded} of them recorded in book/results/{self.scale}" if self.recorded else ""

    @property
    def expected(self) -> str:
        """How long the runs to train take, "" where there are none."""
        if not self.to_train:
            return ""
        return f", about {study.duration(self.minutes)} on {study.DEVICES[self.scale]}"


def asked(named: Iterable[str], every: bool, scale: str, only: Collection[str]) -> list[str]:
    """The pages named, each once, or with --all every page of the scale; exactly one of the two.

    Args:
        only: recipes that some of these pages have at the scale, by id; they go with named pages.
    """
    if only and every:
        raise click.UsageError("--recipe belongs to the pages that are named, and --all asks for every page")
    pages = [*dict.fromkeys(named)]
    if bool(pages) == every:
        names = ", ".join(recipes.pages())
        raise click.UsageError(f"name a page ({names}), or pass --all for every page; not both")
    if only:
        known = dict.fromkeys(name for page in pages for name in recipes.load(page, scale))
        for name in only:
            choice(f"recipe of {', '.join(pages)} at scale {scale}", name, known)
    return pages or pages_at(scale)


def planned(
    pages: Iterable[str], scale: str, seeds: int | None, only: Collection[str]
) -> Iterator[tuple[str, Recipe, list[study.Planned]]]:
    """(page, recipe, its runs) for every recipe of some pages; `seeds` of None is each page's own number.

    Args:
        only: recipes to take, by id, from the pages that have them; all if empty.
    """
    for name in pages:
        wanted = {key: recipe for key, recipe in recipes.load(name, scale).items() if not only or key in only}
        if wanted:
            runs = study.plan(name, scale, seeds or page_seeds(name, scale), only=[*wanted])
            for recipe in wanted.values():
                yield name, recipe, [p for p in runs if p.recipe.id == recipe.id]
