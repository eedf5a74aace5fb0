"""Copy stored runs to where git keeps them."""

from __future__ import annotations

import click

from .. import recipes, recorded, study
from ..checks import InputError
from .options import PAGES, as_json, every, only, page_seeds, pages, seeds, show
from .planning import asked


@click.command("record", epilog=PAGES)
@pages
@every
@click.option("--scale", type=click.Choice(["small", "paper"]), default="small", show_default=True)
@seeds
@only
@as_json
def record_command(
    pages: tuple[str, ...], every: bool, scale: str, seeds: int | None, only: tuple[str, ...], as_json: bool
) -> None:
    """Write the stored runs of pages to book/results/, as small tables with provenance; commit them by hand.

    With seed 0 go the scores that figures need, and the scale's index.csv lists each run. Runs that are not stored, or
    not measured whole, are left out; what pages share is written once.

    \b
    Examples:
      python -m ood_core record l2-norm
      python -m ood_core record isomax compare --recipe dismax
      python -m ood_core record l2-norm --scale paper --recipe ce --recipe l2
    """
    study.setup()
    found: list[recorded.RecordedRun] = []
    named = asked(pages, every, scale, only)
    for page in named:
        own = [name for name in only if name in recipes.load(page, scale)]
        if own or not only:
            done = {run.key for run in found}
            found += study.record(page, scale, seeds or page_seeds(page, scale), own, known=done)
    if not found:
        said = " ".join(named)
        raise InputError(
            f"no whole run of {said} at {scale} is stored.\n"
            f"Make some first: python -m ood_core run {said} --scale {scale}"
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
