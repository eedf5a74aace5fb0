"""What commands share: options, printing, the pages of a scale, networks by name."""

from __future__ import annotations

import json
from typing import Any

import click
import pandas as pd

from .. import recipes
from ..checks import InputError
from ..recipes import Recipe

PAGE = click.Choice(recipes.pages())
PAGES = f"Pages: {', '.join(recipes.pages())}."  # the last line of help
SCALE = click.Choice(recipes.SCALES)
pages = click.argument("pages", type=PAGE, nargs=-1, metavar="[PAGE]...")
every = click.option("--all", "every", is_flag=True, help="Every page that has recipes at this scale.")
seeds = click.option("--seeds", type=click.IntRange(1, 1000), help="Seeds a recipe.  [default: the page's own]")
only = click.option(
    "--recipe", "only", multiple=True, help="Only this recipe of the pages; can be given several times."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs instead of a table.")


def pages_at(scale: str) -> list[str]:
    """Pages that have recipes at a scale; there must be one."""
    found = [name for name in recipes.pages() if scale in recipes.page(name).scales]
    if not found:
        raise InputError(f"no page has recipes at scale {scale!r} yet.\nTry --scale tiny.")
    return found


def page_seeds(page: str, scale: str) -> int:
    """How many seeds a page asks for by default."""
    recipes.load(page, scale)  # says so where the page has no recipes at this scale
    return next(count for name, count in recipes.page(page).seeds.items() if name == scale)


def network(recipe: Recipe) -> str:
    """The network's name, its width, and the options that are not at their default."""
    options = recipe.network.model_dump(exclude_defaults=True, exclude={"name", "width"})
    return " ".join(
        [
            f"{recipe.network.name} x{recipe.network.width}",
            *(f"{option}={value}" for option, value in options.items()),
        ]
    )


def show(table: list[dict[str, Any]], as_json: bool, floats: str = ".2f") -> None:
    """Print a table for people, its floats in the format `floats`, or JSON for programs."""
    if as_json:
        click.echo(json.dumps(table, indent=1))
    else:
        from tabulate import tabulate  # training for programs does without

        frame = pd.DataFrame(table)
        click.echo(tabulate(frame, headers="keys", showindex=False, floatfmt=floats))  # type: ignore[arg-type]
