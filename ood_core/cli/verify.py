"""Check what is stored."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import click
from tqdm import tqdm

from .. import recipes, study
from ..checks import InputError
from ..recipes import Recipe
from ..runs import train_key
from ..store import Store
from ..verify import Finding, readable, verify_index, verify_recorded
from ..verify import verify as verify_runs
from .options import PAGE, PAGES, SCALE, as_json, show


@click.command("verify", epilog=PAGES)
@click.argument("page", type=PAGE, required=False, metavar="[PAGE]")
@click.option("--scale", type=SCALE, help="Only runs of this scale.")
@click.option("--recorded", "in_git", is_flag=True, help="The runs in book/results/ in place of those in the store.")
@click.option("--again", is_flag=True, help="With --recorded: measure the recorded weights once more. Takes minutes.")
@as_json
def verify_command(page: str | None, scale: str | None, in_git: bool, again: bool, as_json: bool) -> None:
    """Check runs: every file by checksum, and every OOD metric again from the scores, where these are kept.

    Exits with 1 if any run is damaged, disagrees with itself, or was measured by an older version of the code. Recorded
    runs are also held against the index of their scale, whatever page is named: one that is missing, changed or not
    listed is a problem.

    \b
    Examples:
      python -m ood_core verify
      python -m ood_core verify l2-norm --scale tiny
      python -m ood_core verify --recorded --again
    """
    if again and not in_git:
        raise click.UsageError("--again belongs to --recorded")
    study.setup()
    if in_git:
        scales = [scale] if scale else list(recipes.SCALES)
        chosen = [page] if page else recipes.pages()
        found = [f for s in scales for f in verify_index(s)]
        _report([*found, *(f for p in chosen for s in scales for f in verify_recorded(p, s, again))], as_json)
        return
    store = Store()
    runs, damaged = readable(store)  # of a damaged record nobody knows the scale
    runs = [run for run in runs if scale in (None, run.info["recipe"]["scale"])]
    if page:
        every = [recipe for s in recipes.page(page).scales for recipe in recipes.load(page, s).values()]
        known = _keys(every, {int(run.info["seed"]) for run in runs})
        runs = [run for run in runs if run.key in known]
        known |= _keys(every, range(1000)) if damaged else set()  # of a damaged record nobody knows the seed
        damaged = [finding for finding in damaged if finding.run in known]
    if not runs and not damaged:
        raise InputError(f"no stored run matches in {store.folder}.\nMake some first: python -m ood_core run --all")
    _report([*verify_runs(tqdm(runs, unit="run", disable=None)), *damaged], as_json)


def _keys(every: Iterable[Recipe], seeds: Collection[int]) -> set[str]:
    """Keys of these recipes' runs."""
    return {train_key(recipe, seed) for recipe in every for seed in seeds}


def _report(findings: list[Finding], as_json: bool) -> None:
    told = [{name: "unknown" if value is None else value for name, value in f.__dict__.items()} for f in findings]
    table = [{**row, "problem": row["problem"] or "none"} for row in told]
    show(table, as_json)
    bad = sum(bool(f.problem) for f in findings)
    numbers = sum(f.numbers for f in findings)
    click.echo(f"{len(findings)} runs, {numbers} numbers computed again, {bad} with problems", err=True)
    if bad:
        raise click.exceptions.Exit(1)
