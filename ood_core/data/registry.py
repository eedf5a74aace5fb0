"""The registry of image sets: what is known about each without reading an image."""

from __future__ import annotations

import math
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ..checks import InputError, choice


@cache
def registry() -> dict[str, dict[str, Any]]:
    """Every entry by name."""
    return dict(yaml.safe_load((Path(__file__).parent / "registry.yml").read_text(encoding="utf-8")))


def names() -> list[str]:
    """Registered names."""
    return list(registry())


def splits() -> list[tuple[str, str]]:
    """Name and split of every registered set."""
    return [(name, split) for name in names() for split in registry()[name]["splits"]]


def entry(name: str) -> dict[str, Any]:
    """The registry's entry: title, source, licence, about, classes, shape, splits, overlaps.

    `source` is `embedded` in a library, `derived` from another set, `torchvision`, which distributes it, or `npz`:
    nobody distributes it in this form. `overlaps` names, for an ID set, its classes that mean the same as some of this.

    Raises:
        InputError: no such set.
    """
    return registry()[choice("image set", name, registry())]


def known(name: str, split: str) -> dict[str, Any]:
    """What the registry says about a split: count, digest; empty for what is not registered."""
    return dict(registry().get(name, {}).get("splits", {}).get(split, {}))


def parse(text: str) -> tuple[str, str]:
    """`name` or `name/split` as recipes write it -> name and split; the split is `test` if left out."""
    name, _, split = text.partition("/")
    return name, split or "test"


def well_formed(name: str, split: str) -> None:
    """Refuse names that could lead out of the folder of image sets.

    Raises:
        InputError: other characters than small letters, digits and hyphens.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name) or not re.fullmatch(r"[a-z0-9]+", split):
        raise InputError(
            f"image set {name!r}, split {split!r}: expected names of small letters, digits and hyphens.\n"
            f"Pick a registered one ({', '.join(names())}) or the NAME-SPLIT of a file under $OOD_DATA."
        )


def megabytes(name: str, split: str) -> int:
    """What has to be downloaded for a split, or how large its `.npz` is where nothing can be."""
    if entry(name)["source"] == "torchvision":
        return int(known(name, split).get("megabytes", entry(name)["torchvision"]["megabytes"]))
    return math.ceil(int(known(name, split)["count"]) * math.prod(map(int, entry(name)["shape"])) / 1e6)
