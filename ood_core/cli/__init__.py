"""python -m ood_core: recipes, plan, run, record, verify, score, data. One file a command, imported when named."""

from __future__ import annotations

from importlib import import_module, metadata
from typing import Any

import click

__all__ = ["main"]

# What the help of all of them says, so that it imports none: each in one line of 80 columns.
SUMMARIES = {
    "data": "List, fetch, check and show image sets.",
    "plan": "Say what `run` would train, how long, and what is stored.",
    "recipes": "List what there is to run.",
    "record": "Copy stored runs to book/results/, where git keeps them.",
    "run": "Train and measure what pages need.",
    "score": "Score images with a trained network, your own among them.",
    "verify": "Check runs by checksum, and their metrics by their scores.",
}


class _Commands(dict[str, click.Command]):
    """Commands by name, each imported when it is first asked for."""

    def __missing__(self, name: str) -> click.Command:
        if name not in SUMMARIES:
            raise KeyError(name)
        self[name] = getattr(import_module(f".{name}", __name__), f"{name}_command")
        return self[name]


class _Group(click.Group):
    """Imports no command but the one that is named, and turns a user's mistake into a message and exit code 1."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(SUMMARIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        return self.commands[cmd_name] if cmd_name in SUMMARIES else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(SUMMARIES.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            from ..checks import InputError  # brings in torch, as has every command that could raise it

            if isinstance(error, InputError):
                raise click.ClickException(str(error)) from error
            raise


def _version() -> str:
    """As a run's record has it; the module for that brings in all of training."""
    try:
        return metadata.version("ood-core")
    except metadata.PackageNotFoundError:
        return "not installed"


@click.group(
    cls=_Group,
    commands=_Commands(),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(_version())
def main() -> None:
    """Train, measure and check the runs behind the book.

    \b
    Runs live in $OOD_RUNS (default: runs/ at the repository root),
    real image sets in $OOD_DATA. Nothing is downloaded without being asked.
    """
