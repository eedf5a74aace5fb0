"""python -m ood_core: recipes, plan, run, record, verify, score, data. One file a command."""

from __future__ import annotations

from typing import Any

import click

from ..checks import InputError
from ..runs import own_version
from ..train import InterruptedTraining, TrainingError
from .data import data_command
from .plan import plan_command
from .recipes import recipes_command
from .record import record_command
from .run import run_command
from .score import score_command
from .verify import verify_command

__all__ = ["main"]


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


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(own_version())
def main() -> None:
    """Train, measure and check the runs behind the book.

    \b
    Runs live in $OOD_RUNS (default: runs/ at the repository root),
    real image sets in $OOD_DATA. Nothing is downloaded without being asked.
    """


for _command in (
    recipes_command,
    plan_command,
    run_command,
    record_command,
    verify_command,
    score_command,
    data_command,
):
    main.add_command(_command)
