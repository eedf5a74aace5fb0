"""What there is to run."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import click

from .. import recipes
from ..recipes import Recipe
from ..runs import train_key
from ..store import Store
from .options import PAGE, PAGES, SCALE, as_json, network, page_seeds, pages_at, seeds, show


@click.command("recipes", epilog=PAGES)
@click.argument("page", type=PAGE, required=False, metavar="[PAGE]")
@click.option("--scale", type=SCALE, default="tiny", show_default=True)
@seeds
@as_json
def recipes_command(page: str | None, scale: str, seeds: int | None, as_json: bool) -> None:
    """List recipes: data, network, epochs, expected minutes, and how many of their runs are stored.

    A stored run counts by its record alone, which takes no time; `plan` reads what each has measured, and says which
    of them lack something.

    \b
    Examples:
      python -m ood_core recipes
      python -m ood_core recipes l2-norm --scale tiny --seeds 3 --json
    """
    stored = set(Store().keys())
    table = []
    for name in [page] if page else pages_at(scale):
        asked = seeds or page_seeds(name, scale)
        table += [_row(name, recipe, asked, stored) for recipe in recipes.load(name, scale).values()]
    show(table, as_json)


def _row(page: str, recipe: Recipe, seeds: int, stored: Collection[str]) -> dict[str, Any]:
    return {
        "page": page,
        "recipe": recipe.id,
        "title": recipe.title,
        "data": recipe.data.id_set,
        "network": network(recipe),
        "head": recipe.head.name,
        "epochs": recipe.epochs,
        "minutes a run": recipe.minutes,
        "seeds": seeds,
        "stored": sum(train_key(recipe, seed) in stored for seed in range(seeds)),
    }
