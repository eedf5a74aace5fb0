"""The page of recipes: what one may say, from the schema, and which there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import pandas as pd
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from .. import recipes, tables
from ..recipes.schema import TRAINING, Recipe, Score


def recipe_fields() -> tables.Html:
    """One row a field: its name within a recipe, what it means, its values, its default, and whether it trains anew."""
    return tables.facts_table(pd.DataFrame(_fields(Recipe)), "What a recipe says", "recipe-fields")


def recipe_list() -> tables.Html:
    """One row a recipe and page: what trains, with what loss, and at which scales."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for page, recipe in recipes.every():
        line = {"recipe": f"`{recipe.id}`", "page": page, "what": recipe.title, "scales": []}
        found.setdefault((page, recipe.id), line)["scales"].append(recipe.scale)
    lines = [{**line, "scales": ", ".join(line["scales"])} for line in found.values()]
    return tables.facts_table(pd.DataFrame(lines), "All recipes by page", "recipes")


def _fields(model: type[BaseModel], within: str = "", trains: bool = False) -> Iterator[dict[str, str]]:
    for name, field in model.model_fields.items():
        path, again = f"{within}{name}", trains or (not within and name in TRAINING)
        inner = _inner(name, field)
        if inner is not None:
            yield from _fields(inner, f"{path}.", again)
            continue
        yield {
            "field": f"`{path}`",
            "meaning": str(field.description),
            "values": _values(field),
            "default": "" if field.is_required() else _written(field.get_default()),
            "trains anew": "yes" if again else "no",
        }


def _inner(name: str, field: FieldInfo) -> type[BaseModel] | None:
    if name == "scores":
        return Score
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _values(field: FieldInfo) -> str:
    """Such as "conv, pool, pad" or "number, at least 0"."""
    kinds = [kind for kind in (get_args(field.annotation) or (field.annotation,)) if kind is not type(None)]
    if get_origin(field.annotation) is Literal:
        return ", ".join(map(str, kinds))
    if any(get_origin(kind) is Literal for kind in kinds):
        return ", ".join(str(value) for kind in kinds for value in get_args(kind))
    origin = get_origin(field.annotation)
    named = {int: "whole number", float: "number", bool: "true, false", str: "text"}
    text = "list" if origin is tuple else "mapping" if origin is dict else named.get(kinds[0], str(kinds[0]))
    limits = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    bounds = [
        f"{word} {getattr(limit, key):g}"
        for limit in field.metadata
        for key, word in limits.items()
        if hasattr(limit, key)
    ]
    return ", ".join([text, *bounds])


def _written(value: Any) -> str:
    if value is None or value in ((), {}):
        return "none"
    if isinstance(value, tuple):
        return ", ".join(f"{item:.3g}" if isinstance(item, float) else str(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
