"""What there is to run."""

from __future__ import annotations

import click

from .options import PAGE, PAGES, SCALE, as_json, pages_at, show
from .planning import Outlook, network, planned


@click.command("recipes", epilog=PAGES)
@click.argument("page", type=PAGE, required=False, metavar="[PAGE]")
@click.option("--scale", type=SCALE, default="tiny", show_default=True)
@click.option("--seeds", type=click.IntRange(1, 1000), help="Seeds a recipe.  [default: the page's own]")
@as_json
def recipes_command(page: str | None, scale: str, seeds: int | None, as_json: bool) -> None:
    """List recipes: data, network, epochs, expected minutes, and how many of their runs are stored.

    \b
    Examples:
      python -m ood_core recipes
      python -m ood_core recipes l2-norm --scale tiny --seeds 3 --json
    """
    table = []
    for name, recipe, runs in planned([page] if page else pages_at(scale), scale, seeds):
        table.append(
            {
                "page": name,
                "recipe": recipe.id,
                "title": recipe.title,
                "data": recipe.data.id_set,
                "network": network(recipe),
                "head": recipe.head.name,
                "epochs": recipe.epochs,
                "minutes a run": recipe.minutes,
                "seeds": len(runs),
                "stored": Outlook.of(runs).stored,
            }
        )
    show(table, as_json)
