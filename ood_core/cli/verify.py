"""Check what is stored."""

from __future__ import annotations

import click
from tqdm import tqdm

from .. import recipes, study
from ..checks import InputError
from ..store import Store
from ..verify import verify as verify_runs
from .options import PAGE, SCALE, as_json, show


@click.command("verify")
@click.argument("page", type=PAGE, required=False)
@click.option("--scale", type=SCALE, help="Only runs of this scale.")
@as_json
def verify_command(page: str | None, scale: str | None, as_json: bool) -> None:
    """Check stored runs: every file by checksum, every OOD metric again from the stored scores.

    Exits with 1 if any run is damaged or disagrees with itself.

    \b
    Examples:
      python -m ood_core verify
      python -m ood_core verify l2-norm --scale tiny
    """
    store = Store()
    runs = [run for run in store.runs() if scale in (None, run.info["recipe"]["scale"])]
    if page:
        known = {p.key for s in recipes.page(page).scales for p in study.plan(page, s, 1000, store)}
        runs = [run for run in runs if run.key in known]
    if not runs:
        raise InputError(f"no stored run matches in {store.folder}.\nMake some first: python -m ood_core run --all")
    findings = verify_runs(tqdm(runs, unit="run", disable=None))
    table = [{**f.__dict__, "problem": f.problem or "none"} for f in findings]
    show(table, as_json)
    bad = sum(bool(f.problem) for f in findings)
    numbers = sum(f.numbers for f in findings)
    click.echo(f"{len(findings)} runs, {numbers} numbers computed again, {bad} with problems", err=True)
    if bad:
        raise click.exceptions.Exit(1)
