"""The page of networks: one row a name, from the registry, the docstrings and a count."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

import pandas as pd
import torch

from .. import models, recipes, tables
from ..models import ARCHITECTURES
from ..recipes.schema import Network
from .docstrings import parse

SIZE = (32, 32, 3)  # of the images that work is counted for


def network_table() -> tables.Html:
    """One row a network: width as published, features, parameters, work on a 32x32 image, sizes, options, source."""
    records = []
    for name, about in ARCHITECTURES.items():
        settings = Network(name=name, width=about.width)
        parameters, work = models.cost(settings, SIZE)
        step = f", multiples of {about.step}" if about.step > 1 else ""
        records.append(
            {
                "network": f"`{name}`",
                "width": about.width,
                "features": _built(name).dim,
                "parameters": parameters,
                "multiply_adds": work,
                "sides": f"from {about.least}{step}",
                "options": ", ".join(f"`{option}`" for option in about.options),
                "source": about.source,
            }
        )
    return tables.network_table(pd.DataFrame(records))


def networks_in_use() -> tables.Html:
    """Which networks the recipes name at each scale, and which none does, in a list."""
    used: dict[str, set[str]] = {scale: set() for scale in recipes.SCALES}
    for _, recipe in recipes.every():
        used[recipe.scale].add(recipe.network.name)
    lines = [f"At <em>{scale}</em>: {_named(name for name in ARCHITECTURES if name in used[scale])}." for scale in used]
    idle = [name for name in ARCHITECTURES if not any(name in names for names in used.values())]
    lines += [f"In no recipe of this book: {_named(idle)}."] if idle else []
    frame = pd.DataFrame([(scale, name) for scale, names in used.items() for name in sorted(names)])
    return tables.Html(f"<ul>{''.join(f'<li>{line}</li>' for line in lines)}</ul>", frame)


def _named(names: Iterable[str]) -> str:
    return ", ".join(f"<code>{name}</code>" for name in names)


def network_families() -> tables.Html:
    """What each family is and what `width` means in it, from the docstrings of the classes."""
    records = []
    for family in dict.fromkeys(type(_built(name)) for name in ARCHITECTURES):
        doc, about = parse(family), inspect.getdoc(inspect.getmodule(family)) or ""
        own = [f"`{name}`" for name in ARCHITECTURES if type(_built(name)) is family]
        records.append(
            {
                "anchor": family.__name__,
                "call": family.__name__,
                "summary": doc.summary,
                "formula": doc.formula,
                "notes": (*about.split("\n\n"), f"Names: {', '.join(own)}."),
                "arguments": {"width": doc.arguments["settings"]},
                "returns": "",
                "raises": "",
                "source": doc.source,
            }
        )
    return tables.entries(pd.DataFrame(records))


def _built(name: str) -> models.Backbone:
    """The network at its published width, without memory behind its parameters."""
    with torch.device("meta"):
        return models.backbone(Network(name=name, width=ARCHITECTURES[name].width), SIZE)
