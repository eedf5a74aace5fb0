"""What a page would train, how long that takes, and what is there already."""

from __future__ import annotations

from typing import Any

import click

from .. import data, models
from ..recipes import Recipe
from ..study import DEVICES
from .options import PAGES, SCALE, as_json, every, network, only, pages, seeds, show
from .planning import Outlook, asked, planned


@click.command("plan", epilog=PAGES)
@pages
@every
@click.option("--scale", type=SCALE, default="tiny", show_default=True)
@seeds
@only
@as_json
def plan_command(
    pages: tuple[str, ...], every: bool, scale: str, seeds: int | None, only: tuple[str, ...], as_json: bool
) -> None:
    """Say what `run` would do: networks with their parameters, minutes a run, and what is already stored.

    Nothing is trained and no image of a registered set is read. Parameters are those of the network without its head.
    Minutes are of training and measuring together. Runs that pages share are counted once in the last line.

    \b
    Examples:
      python -m ood_core plan l2-norm
      python -m ood_core plan l2-norm compare --scale small --recipe ce
      python -m ood_core plan --all --scale small --json
    """
    found = list(planned(asked(pages, every, scale, only), scale, seeds, only))
    table: list[dict[str, Any]] = []
    for name, recipe, runs in found:
        outlook = Outlook.of(runs)
        table.append(
            {
                "page": name,
                "recipe": recipe.id,
                "data": recipe.data.id_set,
                "network": network(recipe),
                "parameters": _parameters(recipe),
                "epochs": recipe.epochs,
                "minutes a run": recipe.minutes,
                "on": DEVICES[scale],
                "seeds": len(runs),
                "stored": outlook.stored,
                "to measure": outlook.to_measure,
                "to train": outlook.to_train,
            }
        )
    show(table, as_json)
    whole = Outlook.of(run for _, _, runs in found for run in runs)
    shared = sum(len(runs) for _, _, runs in found) - whole.runs
    click.echo(
        f"{whole.runs} runs"
        + (f" ({shared} more are shared)" if shared else "")
        + f": {whole.stored} stored, {whole.to_measure} to measure, {whole.to_train} to train"
        + whole.of_them_recorded
        + whole.expected,
        err=True,
    )


def _parameters(recipe: Recipe) -> int | None:
    """None where the images' shape is not registered, and so not known without reading them."""
    name = recipe.data.id_set
    if name not in data.names():
        return None
    height, wide, channels = data.entry(name)["shape"]
    return models.cost(recipe.network, (height, wide, channels))[0]
