"""Copy stored runs to where git keeps them."""

from __future__ import annotations

import click

from .. import study
from ..checks import InputError
from .options import PAGE, PAGES, as_json, page_seeds, show


@click.command("record", epilog=PAGES)
@click.argument("page", type=PAGE, metavar="PAGE")
@click.option("--scale", type=click.Choice(["small", "paper"]), default="small", show_default=True)
@click.option("--seeds", type=click.IntRange(1, 1000), help="Seeds a recipe.  [default: the page's own]")
@click.option("--recipe", "only", multiple=True, help="Only this recipe of the page; can be given several times.")
@as_json
def record_command(page: str, scale: str, seeds: int | None, only: tuple[str, ...], as_json: bool) -> None:
    """Write the stored runs of a page to book/results/, as small tables with provenance; commit them by hand.

    With seed 0 go the scores that figures need, and the scale's index.csv lists each run. Runs that are not stored, or
    not measured whole, are left out.

    \b
    Examples:
      python -m ood_core record l2-norm
      python -m ood_core record l2-norm --scale paper --recipe ce --recipe l2
    """
    study.setup()
    found = study.record(page, scale, seeds or page_seeds(page, scale), only)
    if not found:
        raise InputError(
            f"no whole run of {page} at {scale} is stored.\n"
            f"Make some first: python -m ood_core run {page} --scale {scale}"
        )
    table = [
        {
            "recipe": run.info["recipe"]["id"],
            "seed": run.info["seed"],
            "run": run.key,
            "rows": len(run.rows()),
            "kilobytes": sum(path.stat().st_size for path in run.folder.iterdir()) // 1000,
        }
        for run in found
    ]
    show(table, as_json)
