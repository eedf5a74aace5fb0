"""Image sets: list, check, fetch."""

from __future__ import annotations

import click

from .. import data as image_sets
from .. import paths
from .options import as_json, show


@click.group("data")
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
    show(table, as_json)
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
    show(table, as_json)


@data_command.command("fetch")
@click.argument("name")
def data_fetch(name: str) -> None:
    """Download a set into $OOD_DATA with torchvision and check it.

    \b
    Example: OOD_DATA=~/ood-data python -m ood_core data fetch cifar10
    """
    for found in image_sets.fetch(name):
        click.echo(f"{found.name}/{found.split}: {len(found)} images, digest {found.digest[:16]}")
