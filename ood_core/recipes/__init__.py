"""Recipes: one YAML file per page, checked on load. The same recipe id exists at several scales."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..checks import InputError, choice
from .schema import SCALES, TRAIN_VERSION, TRAINING, Evaluate, Recipe, Scale, Score, digest_of

__all__ = [
    "ALL",
    "OOD",
    "SCALES",
    "TRAIN_VERSION",
    "Evaluate",
    "Page",
    "Recipe",
    "Scale",
    "Score",
    "digest_of",
    "every",
    "load",
    "page",
    "pages",
]

FOLDER = Path(__file__).parent
ALL = "all"  # in place of a recipe in rows that several recipes make together
OOD = {  # sets that a network is measured on where its recipe names no others, by its ID set
    "digits": {"near": ["digits-89"], "far": ["photos", "inverted", "noise"]},
    "cifar10": {
        "near": ["cifar100", "tiny-imagenet-32/val"],
        "far": ["svhn/test10k", "textures-32/dtd10", "eurosat-32", "fashion-mnist", "mnist/test3k", "noise-32"],
    },
}
Model = TypeVar("Model", bound=BaseModel)


class Page(BaseModel):
    """A page's file as written: settings by scale, and recipes that override them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seeds: dict[Scale, int] = Field(description="seeds a page asks for by default")
    scales: dict[Scale, dict[str, Any]] = Field(description="settings that all recipes of a scale share")
    recipes: dict[str, dict[str, Any]] = Field(
        description="what each recipe changes; `at` holds changes by scale, `same_as: page/recipe` trains like another,"
        " `scales` names those that have it where not all do"
    )


def pages() -> list[str]:
    """Pages that have recipes, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob("*.yml"))


@cache
def page(name: str) -> Page:
    """One page's recipe file.

    Raises:
        InputError: no page of that name, or a field that does not belong there.
    """
    choice("page", name, pages())
    return _checked(Page, yaml.safe_load((FOLDER / f"{name}.yml").read_text(encoding="utf-8")), f"recipes/{name}.yml")


def load(name: str, scale: str) -> dict[str, Recipe]:
    """All recipes of a page at one scale, by id.

    Raises:
        InputError: an unknown page or scale, or a field, name or type that a recipe does not have.
    """
    choice("scale", scale, SCALES)
    written = page(name)
    if scale not in written.scales:
        raise InputError(
            f"page {name} has no recipes at scale {scale!r}, expected one of: {', '.join(written.scales)}.\n"
            "Pick one of these."
        )
    found = {}
    for recipe_id, changes in written.recipes.items():
        where = f"scales of {name}/{recipe_id}: scale"
        only = [choice(where, one, written.scales) for one in changes.get("scales", ())]
        if only and scale not in only:
            continue
        own = {key: value for key, value in changes.items() if key not in ("at", "same_as", "scales")}
        settings = _merge(_merge(written.scales[scale], own), changes.get("at", {}).get(scale, {}))
        if "same_as" in changes:
            settings = settings | _trained_like(changes["same_as"], scale, f"{name}/{recipe_id}")
        usual = {"evaluate": OOD.get(settings.get("data", {}).get("id_set"), {})}
        settings = {**_merge(usual, settings), "id": recipe_id, "scale": scale}
        found[recipe_id] = _checked(Recipe, settings, f"recipes/{name}.yml, {recipe_id} at {scale}")
    return found


def every() -> Iterator[tuple[str, Recipe]]:
    """Page and recipe, of all pages at all of their scales."""
    for name in pages():
        for scale in page(name).scales:
            for recipe in load(name, scale).values():
                yield name, recipe


def _trained_like(text: str, scale: str, where: str) -> dict[str, Any]:
    """Training fields and minutes of the recipe that `page/recipe` names, at one scale."""
    page_name, _, recipe_id = text.partition("/")
    if "same_as" in page(page_name).recipes[choice(f"same_as of {where}: recipe", recipe_id, page(page_name).recipes)]:
        raise InputError(f"same_as of {where} is {text!r}, expected a recipe with settings of its own.\nName that one.")
    others = load(page_name, scale)
    return others[recipe_id].model_dump(mode="json", include=TRAINING | {"minutes"})


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` on top, mapping by mapping."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _checked(model: type[Model], raw: Any, where: str) -> Model:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        lines = [
            f"{'.'.join(map(str, e['loc'])) or 'file'}: got {e.get('input')!r}, {e['msg'][0].lower()}{e['msg'][1:]}"
            for e in error.errors()
        ]
        raise InputError(f"{where} is not a valid {model.__name__.lower()}:\n  " + "\n  ".join(lines)) from None
