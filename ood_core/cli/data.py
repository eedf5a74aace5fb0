"""Image sets: list, fetch, check, show, record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np

from .. import data as image_sets
from .. import paths
from ..checks import InputError
from .options import as_json, show

SHOWN_CLASSES = 20


@click.group("data")
def data_command() -> None:
    """Image sets: list them, fetch what can be downloaded, check them, show one.

    A set is written NAME, which means all of its splits, or NAME/SPLIT.

    \b
    Examples:
      python -m ood_core data list
      python -m ood_core data check digits
      OOD_DATA=~/ood-data python -m ood_core data fetch cifar10
      OOD_DATA=~/ood-data python -m ood_core data show cifar10/test --sheet cifar10.png
    """


@data_command.command("list", short_help="List registered sets: what each is, and where it is read from.")
@as_json
def data_list(as_json: bool) -> None:
    """Registered sets: size, licence, where each would be read from, and what to do for one that is missing.

    \b
    Example: python -m ood_core data list --json
    """
    table = []
    for name, split in image_sets.splits():
        entry, facts = image_sets.entry(name), image_sets.known(name, split)
        place = image_sets.where(name, split)
        table.append(
            {
                "set": name,
                "split": split,
                "images": facts["count"],
                "shape": "x".join(map(str, entry["shape"])),
                "licence": entry["licence"],
                "digest known": "yes" if facts.get("digest") else "no",
                "from": place,
                "to do": _to_do(name, split, entry) if place == "missing" else "",
            }
        )
    show(table, as_json)
    if not as_json:
        folder = paths.data()
        there = "" if folder is None or folder.is_dir() else " (no such folder)"
        click.echo(f"OOD_DATA: {folder or 'not set'}{there}", err=True)


def _to_do(name: str, split: str, entry: Mapping[str, Any]) -> str:
    """What brings a set that is missing, and how large that is."""
    if entry["source"] == "derived":
        return f"made from {entry['derived']['from']}"
    size = f"{image_sets.megabytes(name, split)} MB"
    return f"fetch, {size} by torchvision" if entry["source"] == "torchvision" else f"bring {name}-{split}.npz, {size}"


@data_command.command("fetch", short_help="Download sets into $OOD_DATA and check them.")
@click.argument("sets", nargs=-1, required=True)
def data_fetch(sets: tuple[str, ...]) -> None:
    """Download sets into $OOD_DATA with torchvision and check them; a download that broke off is gone on with.

    \b
    Examples:
      OOD_DATA=~/ood-data python -m ood_core data fetch cifar10
      OOD_DATA=~/ood-data python -m ood_core data fetch svhn/test10k mnist/test3k
    """
    for name in sets:
        for found in image_sets.fetch(*_asked(name)):
            click.echo(f"{found.name}/{found.split}: {len(found)} images, digest {found.digest[:16]}")


@data_command.command("check", short_help="Compare sets with their digests, and with each other.")
@click.argument("sets", nargs=-1)
@click.option("--against", multiple=True, metavar="NAME/SPLIT", help="Count images that this set has as well.")
@as_json
def data_check(sets: tuple[str, ...], against: tuple[str, ...], as_json: bool) -> None:
    """Load sets, all that are at hand if none is named, and compare each with its registered digest.

    With --against, images that both sets have, pixel by pixel, are counted and named by class.

    \b
    Examples:
      python -m ood_core data check digits
      OOD_DATA=~/ood-data python -m ood_core data check --against cifar10/train --against cifar10/test
    """
    others = [image_sets.load(*image_sets.parse(name)) for name in against]
    table, missing = [], []
    for name, split in _places(sets) or image_sets.splits():
        if not sets and image_sets.where(name, split) == "missing":
            missing.append(f"{name}/{split}")
            continue
        found = image_sets.load(name, split)
        registered = image_sets.known(name, split).get("digest") is not None
        row: dict[str, Any] = {"set": name, "split": split, "images": len(found), "different": len(set(found.ids))}
        for other in others:
            label = f"{other.name}/{other.split}"
            if not sets and not image_sets.fits(found, other.images.shape[1:]):
                row |= {f"in {label}": "", "which": row.get("which", "")}
                continue
            both = image_sets.compared(found, other)
            which = "itself" if found.digest == other.digest else both["pairs"]
            row |= {f"in {label}": both["shared"], "which": "; ".join(filter(None, (row.get("which", ""), which)))}
        row |= {"digest": found.digest, "registered": "the same" if registered else "none"}
        table.append(row)
    show(table, as_json)
    if missing:
        click.echo(f"not at hand: {', '.join(missing)}; see python -m ood_core data list", err=True)


@data_command.command("show", short_help="Say what a set is and holds, and what it looks like.")
@click.argument("name")
@click.option("--sheet", type=click.Path(dir_okay=False, path_type=Path), help="Write 24 images to this .png or .webp.")
@as_json
def data_show(name: str, sheet: Path | None, as_json: bool) -> None:
    """What a set is and holds: shape, classes, brightness, repeats, licence, digest; with --sheet, what it looks like.

    \b
    Examples:
      python -m ood_core data show photos
      OOD_DATA=~/ood-data python -m ood_core data show cifar10/test --sheet cifar10.png
    """
    kinds = {".png": "PNG", ".webp": "WEBP"}
    if sheet is not None and (sheet.suffix.lower() not in kinds or not sheet.parent.is_dir()):
        raise InputError(
            f"--sheet is {sheet}, expected a file .png or .webp in a folder that is there.\nName another file."
        )
    facts = []
    places = _places((name,))
    if sheet is not None and len(places) > 1:
        raise InputError(
            f"{name} has {len(places)} splits, expected one for a sheet.\n"
            f"Name one: {', '.join(f'{name}/{split}' for _, split in places)}."
        )
    for one, split in places:
        found = image_sets.load(one, split)
        facts.append(_facts(found))
        if sheet is not None:
            small = max(found.images.shape[1:3]) <= 16
            picture = image_sets.sheet(found, kinds[sheet.suffix.lower()], 8 if small else 3)
            try:
                sheet.write_bytes(picture)
            except OSError as error:
                raise InputError(f"{sheet} cannot be written ({error}).\nName a file in another folder.") from error
            click.echo(f"wrote {sheet}", err=True)
    if as_json:
        show(facts, as_json)
    else:
        for record in facts:
            show([{"fact": key, "value": value} for key, value in record.items()], as_json)


def _facts(found: image_sets.ImageSet) -> dict[str, Any]:
    """What `show` prints of a split."""
    known = image_sets.entry(found.name) if found.name in image_sets.names() else {}
    pixels = found.images.reshape(-1, found.images.shape[-1]).astype(np.float64) / 255
    counts = np.bincount(found.labels, minlength=len(found.classes)).tolist() if found.labels is not None else []
    each = [f"{name} {count}" for name, count in zip(found.classes, counts, strict=True)]
    more = [f"and {len(each) - SHOWN_CLASSES} more"] if len(each) > SHOWN_CLASSES else []
    return {
        "set": f"{found.name}/{found.split}",
        "title": known.get("title", "not registered"),
        "about": known.get("about", ""),
        "images": len(found),
        "shape": "x".join(map(str, found.images.shape[1:])),
        "classes": ", ".join([*each[:SHOWN_CLASSES], *more]) or "no labels",
        "different images": len(set(found.ids)),
        "mean by channel": ", ".join(f"{value:.4f}" for value in pixels.mean(axis=0)),
        "standard deviation by channel": ", ".join(f"{value:.4f}" for value in pixels.std(axis=0)),
        "licence": found.licence,
        "digest": found.digest,
        "from": image_sets.where(found.name, found.split),
    }


@data_command.command("record", short_help="Write what the book shows of real sets.")
def data_record() -> None:
    """Write what the book shows of real sets to book/results/sets/: small pictures and the table of duplicates.

    Every registered set with a known digest must be at hand; commit the files by hand.

    \b
    Example: OOD_DATA=~/ood-data python -m ood_core data record
    """
    from .. import reference  # draws: no other command needs matplotlib

    for path in reference.record_sets():
        click.echo(str(path))


def _asked(text: str) -> tuple[str, str | None]:
    """NAME or NAME/SPLIT; None means every split."""
    name, _, split = text.partition("/")
    return name, split or None


def _places(sets: tuple[str, ...]) -> list[tuple[str, str]]:
    """Name and split of every set that was asked for.

    Raises:
        InputError: no such set, or one of your own without a split.
    """
    places = []
    for text in sets:
        name, split = _asked(text)
        own = [] if split or name in image_sets.names() else _own(name)
        if own:
            raise InputError(
                f"{name} is not registered, expected a split with it: your own set needs one.\n"
                f"Name one: {', '.join(f'{name}/{one}' for one in own)}."
            )
        splits = [split] if split else list(image_sets.entry(name)["splits"])
        places += [(name, one) for one in splits]
    return places


def _own(name: str) -> list[str]:
    """Splits that lie under $OOD_DATA for a name, as `NAME-SPLIT.npz` or folders `NAME/SPLIT`."""
    root = paths.data()
    if root is None or not root.is_dir():
        return []
    entries = list(root.iterdir())
    named = [(*entry.stem.rpartition("-"), entry.suffix) for entry in entries]
    splits = {split for before, _, split, suffix in named if (before, suffix) == (name, ".npz")}
    inside = [part for entry in entries if entry.name == name and entry.is_dir() for part in entry.iterdir()]
    return sorted(splits | {part.name for part in inside if part.is_dir() and not part.name.startswith(".")})
