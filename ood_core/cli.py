"""python -m ood_core: recipes, run, verify, data."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
import pandas as pd
from tabulate import tabulate
from tqdm import tqdm

from . import data as image_sets
from . import paths, recipes, study
from .checks import InputError
from .store import Store
from .train import InterruptedTraining, TrainingError
from .verify import verify as verify_runs


class _Group(click.Group):
    """Turns a user's mistake into a message and exit code 1, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (InputError, TrainingError) as error:
            raise click.ClickException(str(error)) from error
        except InterruptedTraining as stopped:
            click.echo(f"\n{stopped}. Run the same command again to go on from there.", err=True)
            ctx.exit(130)


PAGE = click.Choice(recipes.pages())
SCALE = click.Choice(recipes.SCALES)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs instead of a table.")


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="ood-core")
def main() -> None:
    """Train, measure and check the runs behind the book.

    \b
    Runs live in $OOD_RUNS (default: runs/ at the repository root),
    real image sets in $OOD_DATA. Nothing is downloaded without being asked.
    """
    study.setup()


@main.command("recipes")
@click.argument("page", type=PAGE, required=False)
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
    for name in [page] if page else _pages_at(scale):
        planned = study.plan(name, scale, seeds or _page_seeds(name, scale))
        for recipe in recipes.load(name, scale).values():
            own = [p for p in planned if p.recipe.id == recipe.id]
            table.append(
                {
                    "page": name,
                    "recipe": recipe.id,
                    "title": recipe.title,
                    "data": recipe.data.id_set,
                    "network": f"{recipe.network.name} x{recipe.network.width}",
                    "head": recipe.head.name,
                    "epochs": recipe.epochs,
                    "minutes a run": recipe.minutes,
                    "seeds": len(own),
                    "stored": sum(p.state == "stored" for p in own),
                }
            )
    _print(table, as_json)


def _pages_at(scale: str) -> list[str]:
    found = [name for name in recipes.pages() if scale in recipes.page(name).scales]
    if not found:
        raise InputError(f"no page has recipes at scale {scale!r} yet.\nTry --scale tiny.")
    return found


def _page_seeds(page: str, scale: str) -> int:
    recipes.load(page, scale)  # says so where the page has no recipes at this scale
    return next(count for name, count in recipes.page(page).seeds.items() if name == scale)


@main.command("run")
@click.argument("page", type=PAGE, required=False)
@click.option("--all", "every", is_flag=True, help="Every page that has recipes at this scale.")
@click.option("--scale", type=SCALE, default="tiny", show_default=True)
@click.option("--seeds", type=click.IntRange(1, 1000), help="Seeds a recipe.  [default: the page's own]")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--jobs", type=click.IntRange(1, 256), help="Processes of one thread each.  [default: all cores; GPU: 1]")
@as_json
def run_command(
    page: str | None, every: bool, scale: str, seeds: int | None, device: str, jobs: int | None, as_json: bool
) -> None:
    """Train and measure what a page needs; stored runs are kept, interrupted ones go on.

    Ctrl-C ends after the current epoch and leaves a checkpoint; press it twice to stop at once.

    \b
    Examples:
      python -m ood_core run l2-norm
      python -m ood_core run l2-norm --scale tiny --seeds 10 --jobs 1
      python -m ood_core run --all
    """
    if bool(page) == every:
        raise click.UsageError("name one page, or pass --all for every page")
    done: list[dict[str, Any]] = []
    for name in [page] if page else _pages_at(scale):
        count = seeds or _page_seeds(name, scale)
        request = study.Request.check(page=name, scale=scale, seeds=count, device=device)
        workers = jobs or (1 if request.torch_device.type == "cuda" else os.cpu_count() or 1)
        planned = study.plan(name, scale, count)
        todo = [p for p in planned if p.state != "stored"]
        minutes = sum(p.recipe.minutes for p in todo if p.state == "to train") / min(workers, max(1, len(todo)))
        click.echo(
            f"{name} at {scale}: {len(planned)} runs, {len(planned) - len(todo)} stored, {len(todo)} to do"
            + (f", about {minutes:.1f} minutes with {workers} at a time" if minutes else ""),
            err=True,
        )
        with _Bars(len(todo)) as bars, _graceful_stop() as stop:
            results = study.run_or_load(
                name, scale=scale, seeds=count, device=device, jobs=workers, progress=bars, stop=stop
            )
        done += [
            {"page": name, "scale": scale, **{str(column): value for column, value in row.items()}}
            for row in results.runs.to_dict("records")
        ]
    kept = ("page", "scale", "recipe", "seed", "run", "seconds", "loaded")
    _print(done if as_json else [{column: row[column] for column in kept} for row in done], as_json)


class _Bars(study.Progress):
    """One bar over all runs and one for each run in work; none where stderr is not a terminal."""

    def __init__(self, total: int) -> None:
        self.overall = tqdm(total=total, unit="run", disable=None, desc="all runs")
        self.current: dict[str, tqdm[Any]] = {}

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *_: object) -> None:
        for bar in (*self.current.values(), self.overall):
            bar.close()

    def epoch(self, planned: study.Planned, epoch: int, loss: float) -> None:
        if planned.key not in self.current:
            name = f"{planned.recipe.id}, seed {planned.seed}"
            self.current[planned.key] = tqdm(
                total=planned.recipe.epochs, unit="epoch", disable=None, desc=name, leave=False
            )
        bar = self.current[planned.key]
        bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
        bar.update(epoch - bar.n)

    def done(self, planned: study.Planned) -> None:
        if planned.key in self.current:
            self.current.pop(planned.key).close()
        self.overall.update()


@contextmanager
def _graceful_stop() -> Iterator[Callable[[], bool]]:
    """Within, the first Ctrl-C asks training to stop after the current epoch; the second one stops at once."""
    asked = False

    def note(_: int, __: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        tqdm.write("stopping after this epoch; press Ctrl-C again to stop at once", file=sys.stderr)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


@main.command("verify")
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
    _print(table, as_json)
    bad = sum(bool(f.problem) for f in findings)
    numbers = sum(f.numbers for f in findings)
    click.echo(f"{len(findings)} runs, {numbers} numbers computed again, {bad} with problems", err=True)
    if bad:
        raise click.exceptions.Exit(1)


@main.group("data")
def data_command() -> None:
    """Image sets: list them, check them, fetch what can be downloaded.

    \b
    Examples:
      python -m ood_core data list
      python -m ood_core data check digits
      OOD_DATA=~/ood-data python -m ood_core data fetch cifar10
    """


@data_command.command("list")
@as_json
def data_list(as_json: bool) -> None:
    """Registered sets: size, licence, and where each would be read from.

    \b
    Example: python -m ood_core data list --json
    """
    table = []
    for name in image_sets.names():
        entry = image_sets.entry(name)
        for split, facts in entry["splits"].items():
            table.append(
                {
                    "set": name,
                    "split": split,
                    "images": facts["count"],
                    "shape": "x".join(map(str, entry["shape"])),
                    "licence": entry["licence"],
                    "from": image_sets.where(name, split),
                }
            )
    _print(table, as_json)
    if not as_json:
        click.echo(f"OOD_DATA: {paths.data() or 'not set'}", err=True)


@data_command.command("check")
@click.argument("name")
@as_json
def data_check(name: str, as_json: bool) -> None:
    """Load every split of a set and compare it with the registered digest.

    \b
    Example: python -m ood_core data check digits
    """
    table = []
    for split in image_sets.entry(name)["splits"]:
        found = image_sets.load(name, split)
        table.append({"set": name, "split": split, "images": len(found), "digest": found.digest})
    _print(table, as_json)


@data_command.command("fetch")
@click.argument("name")
def data_fetch(name: str) -> None:
    """Download a set into $OOD_DATA with torchvision and check it.

    \b
    Example: OOD_DATA=~/ood-data python -m ood_core data fetch cifar10
    """
    for found in image_sets.fetch(name):
        click.echo(f"{found.name}/{found.split}: {len(found)} images, digest {found.digest[:16]}")


def _print(table: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(table, indent=1))
    else:
        frame = pd.DataFrame(table)
        click.echo(tabulate(frame, headers="keys", showindex=False, floatfmt=".2f"))  # type: ignore[arg-type]
