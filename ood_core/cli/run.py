"""Train and measure what pages need, with bars and a graceful stop."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from .. import parallel, study
from ..train import InterruptedTraining, TrainingError
from . import tensorboard
from .options import PAGES, SCALE, as_json, every, only, page_seeds, pages, seeds, show
from .planning import Outlook, asked


@click.command("run", epilog=PAGES)
@pages
@every
@click.option("--scale", type=SCALE, default="tiny", show_default=True)
@seeds
@only
@click.option("--unrecorded", is_flag=True, help="Leave out runs whose results book/results/ has already.")
@click.option(
    "--restore",
    is_flag=True,
    help="Take runs from book/results/ where it has their weights; measure, not train.",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--jobs", type=click.IntRange(1, 256), help="Processes of one thread each.  [default: all cores; GPU: 1]")
@click.option(
    "--compile", "compiled", is_flag=True, help="Train through torch.compile; it takes minutes to begin with."
)
@click.option(
    "--tensorboard", "board", type=click.Path(file_okay=False, path_type=Path), help="Write the runs there as well."
)
@as_json
def run_command(
    pages: tuple[str, ...],
    every: bool,
    scale: str,
    seeds: int | None,
    only: tuple[str, ...],
    unrecorded: bool,
    restore: bool,
    device: str,
    jobs: int | None,
    compiled: bool,
    board: Path | None,
    as_json: bool,
) -> None:
    """Train and measure what pages need; stored runs are kept, interrupted ones go on.

    What several pages ask of one network is measured together, in one pass over the images. With --restore, a scorer or
    image set that a page asks for since its runs were recorded is measured on their weights, in minutes a run.

    Ctrl-C ends after the current epoch and leaves a checkpoint; press it twice to stop at once. Compiled networks pay
    on a GPU and in long training; all seeds of one network compile once in each process. Under torchrun all processes
    train each run together, on a part of every batch.

    \b
    Examples:
      python -m ood_core run l2-norm
      python -m ood_core run l2-norm --scale tiny --seeds 10 --jobs 1
      python -m ood_core run l2-norm --scale small --recipe ce --recipe l2
      python -m ood_core run l2-norm compare --recipe ce
      python -m ood_core run isomax compare --scale small --seeds 8 --unrecorded
      python -m ood_core run compare --scale small --recipe ce --restore
      python -m ood_core run --all
      torchrun --nproc_per_node 4 -m ood_core run l2-norm --scale small --recipe ce
    """
    if restore and unrecorded:
        raise click.UsageError("--restore takes recorded runs in, and --unrecorded leaves them out: give one of them")
    study.setup()
    names = asked(pages, every, scale, only)
    if board is not None:
        tensorboard.check()
    request = study.Request.check(page=names[0], scale=scale, device=device, jobs=jobs or 1, compiled=compiled)
    with _told(), parallel.processes(request.torch_device) as on:
        if parallel.size() > 1 and (jobs or 1) > 1:
            raise click.UsageError("--jobs trains several runs at once, and torchrun one run in several processes")
        workers = jobs or (1 if on.type == "cuda" or parallel.size() > 1 else os.cpu_count() or 1)
        own = {name: {"page": name, "seeds": seeds or page_seeds(name, scale)} for name in names}
        requests = [request.model_copy(update={**own[name], "jobs": workers}) for name in names]
        with _Bars(f"{', '.join(names)} at {scale}") as bars, _graceful_stop() as stop:
            found = study.run_or_load_all(
                requests, only=only, unrecorded=unrecorded, restore=restore, progress=bars, stop=stop
            )
        if parallel.rank() > 0:
            return
    if board is not None:
        tensorboard.write(
            ((recipe, seed, run) for results in found.values() for (recipe, seed), run in results.stored.items()), board
        )
    done = [
        {"page": name, "scale": scale, **{str(column): value for column, value in row.items()}}
        for name, results in found.items()
        for row in results.runs.to_dict("records")
    ]
    kept = ("page", "scale", "recipe", "seed", "run", "seconds", "loaded")
    show(done if as_json else [{column: row[column] for column in kept} for row in done], as_json)


@contextmanager
def _told() -> Iterator[None]:
    """Within, training that fails or is stopped ends the command with a message and an exit code."""
    try:
        yield
    except TrainingError as error:
        raise click.ClickException(str(error)) from error
    except InterruptedTraining as stopped:
        click.echo(f"\n{stopped}. Run the same command again to go on from there.", err=True)
        raise click.exceptions.Exit(130) from stopped


class _Bars(study.Progress):
    """A line before; a bar over all runs and one for each in work, where stderr is a terminal and in one process."""

    def __init__(self, names: str) -> None:
        self.names = names
        self.overall: tqdm[Any] | None = None
        self.current: dict[str, tqdm[Any]] = {}

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *_: object) -> None:
        for bar in (*self.current.values(), *([self.overall] if self.overall is not None else [])):
            bar.close()

    def begin(self, planned: Sequence[study.Planned]) -> None:
        outlook = Outlook.of(planned)
        if parallel.rank() == 0:
            click.echo(
                f"{self.names}: {outlook.runs} runs, {outlook.stored} stored, {outlook.to_do} to do"
                + outlook.of_them_recorded
                + outlook.expected,
                err=True,
            )
        self.overall = tqdm(total=outlook.to_do, unit="run", disable=True if parallel.rank() else None, desc="all runs")

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
        if self.overall is not None:
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
        if parallel.rank() == 0:
            tqdm.write("stopping after this epoch; press Ctrl-C again to stop at once", file=sys.stderr)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)
